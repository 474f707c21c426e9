//! Keeps secrets and terminal tricks out of what cutover shows: logs, events, causes, answers.
//!
//! A container may print its own password, and Compose quotes lines of its files in errors. [`Mask`] knows
//! the values and takes them out in every form in which programs usually print them. [`printable`] removes
//! what would make a terminal do something. Where both are needed, `printable` comes first: escape
//! sequences between the letters of a secret would otherwise hide it from the mask, and removing them
//! would put it together again.
//!
//! A mask sees one text at a time, so lines must be whole when they are masked, or end with [`CUT`]: what the
//! cut has left of a secret is then covered as well.

use std::collections::HashMap;
use std::fmt;

mod forms;
mod recognize;
mod terminal;

pub use recognize::{looks_secret, secrets_in, secrets_in_arguments, secrets_of};
pub use terminal::printable;

/// What stands in place of a secret.
pub const MASKED: &str = "***";

/// Shorter values are not masked: they are found in any text, and the gaps would tell them.
pub const SECRET_LEN_MIN: usize = 4;

/// How a text ends that was cut; so does what is left of a secret at the place of the cut.
pub const CUT: char = '…';

/// The beginning of `text`, and [`CUT`] if it is longer than `chars_max`.
#[must_use]
pub fn beginning(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}{CUT}", &text[..end]),
        None => text.to_owned(),
    }
}

/// Takes the values of secrets out of texts.
#[derive(Clone, Default)]
pub struct Mask {
    /// What to look for, by its first bytes; each list begins with the longest.
    forms: HashMap<[u8; SECRET_LEN_MIN], Vec<String>>,
}

impl Mask {
    /// A mask for these values, in all their forms: as they are, each line of several, in hex, base32 and base64, and
    /// as they stand in URLs, JSON, HTML and between quotes.
    ///
    /// Values below [`SECRET_LEN_MIN`] bytes and ordinary words such as `true` and `enabled` are not masked. Bytes that
    /// are no UTF-8 are given as [`text_of`](crate::env_file::text_of) writes them.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut forms: HashMap<[u8; SECRET_LEN_MIN], Vec<String>> = HashMap::new();
        for form in secrets.into_iter().flat_map(|secret| forms::of(&secret)) {
            if let Some(first) = form.as_bytes().first_chunk() {
                forms.entry(*first).or_default().push(form);
            }
        }
        for list in forms.values_mut() {
            list.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
            list.dedup();
        }
        Self { forms }
    }

    /// The text with every occurrence of every secret replaced by [`MASKED`].
    ///
    /// Secrets that overlap in the text are replaced together, so that no part of either remains.
    #[must_use]
    pub fn apply(&self, text: &str) -> String {
        let mut masked = String::with_capacity(text.len());
        // The text up to here is in `masked`, as itself or as a mask.
        let mut done = 0;
        let mut in_mask = false;
        for at in 0..text.len() {
            let Some(len) = self.longest_at(&text.as_bytes()[at..]) else {
                continue;
            };
            if !in_mask || at > done {
                masked.push_str(&text[done..at]);
                masked.push_str(MASKED);
            }
            in_mask = true;
            done = done.max(at + len);
        }
        masked.push_str(&text[done..]);
        masked
    }

    /// The length of the longest secret that `text` begins with, or of the part of one that a cut has left.
    fn longest_at(&self, text: &[u8]) -> Option<usize> {
        let forms = self.forms.get(text.first_chunk()?)?;
        let whole = forms.iter().find(|form| text.starts_with(form.as_bytes()));
        // The first form is the longest: behind it, a cut has left nothing of any.
        let reach = forms.first()?.len() + CUT.len_utf8();
        let cut = CUT.encode_utf8(&mut [0; 4]).to_owned();
        let left = text[..text.len().min(reach)]
            .windows(cut.len())
            .position(|found| found == cut.as_bytes())
            .filter(|left| {
                let left = &text[..*left];
                forms.iter().any(|form| form.as_bytes().starts_with(left))
            });
        whole.map(String::len).max(left)
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: usize = self.forms.values().map(Vec::len).sum();
        write!(f, "Mask({count} forms)")
    }
}

#[cfg(test)]
mod tests;
