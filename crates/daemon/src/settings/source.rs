//! The configuration file as text, and what the TOML parser says of it.

use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use toml::de::DeTable;

use super::files;
use super::mistakes::Mistakes;
use super::table::Found;

/// The longest configuration file; thousands of services fit in.
const FILE_LEN_MAX: u64 = 1024 * 1024;

/// Reads the text, unless somebody else could have written it.
pub(super) fn read(path: &Path) -> Result<String, Mistakes> {
    let refused = |message: String, help: &str| {
        Err(Mistakes::about_the_file(
            path,
            message,
            Some(help.to_owned()),
        ))
    };
    let file = match files::open(path) {
        Ok(file) => file,
        Err(error) => {
            let help = match error.kind() {
                std::io::ErrorKind::NotFound => {
                    "write one with `cutover init`, or name another with `--config`"
                }
                _ => "run this as the user of the daemon, or as root",
            };
            return refused(
                format!("cannot read the configuration: {}", files::cause(&error)),
                help,
            );
        }
    };
    if mode(&file).is_none_or(|mode| mode & 0o002 != 0) {
        return refused(
            "everybody on this machine may write this file".to_owned(),
            "check what it says, then run `chmod o-w` on it: it decides what runs here",
        );
    }
    if let Some(owner) = files::foreign_owner(&file) {
        return refused(
            format!("this file belongs to the user {owner}, who can change it"),
            "check what it says, then run `chown root` on it: it decides what runs here",
        );
    }
    let mut bytes = Vec::new();
    if let Err(error) = (&file).take(FILE_LEN_MAX + 1).read_to_end(&mut bytes) {
        return refused(
            format!("cannot read the configuration: {}", files::cause(&error)),
            "name a regular file",
        );
    }
    if bytes.len() as u64 > FILE_LEN_MAX {
        return refused(
            format!("the file is longer than {FILE_LEN_MAX} bytes"),
            "name a configuration file of cutover",
        );
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => refused(
            format!(
                "byte {} of the file is not UTF-8",
                error.utf8_error().valid_up_to()
            ),
            "TOML is always UTF-8; save the file in this encoding",
        ),
    }
}

/// The permission bits of an open file.
fn mode(file: &File) -> Option<u32> {
    file.metadata()
        .ok()
        .map(|metadata| metadata.permissions().mode())
}

/// Parses the text. A document comes back as long as what it says is beyond doubt: with a syntax error
/// anywhere the rest may mean something else, and mistakes found in it could be false ones.
pub(super) fn parse(text: &str) -> (Option<DeTable<'_>>, Found) {
    const DUPLICATE: &str = "duplicate key";
    let found = Found::default();
    let (document, errors) = DeTable::parse_recoverable(text);
    let only_duplicates = errors.iter().all(|error| error.message() == DUPLICATE);
    for error in &errors {
        let span = error.span().map(|span| keep_inside(span, text));
        if let Some(value) = span.clone().and_then(|span| sensitive(text, span)) {
            found.cover(value);
        }
        let (message, help) = match error.message() {
            DUPLICATE => (
                "this name is given twice".to_owned(),
                Some("keep one of the two".to_owned()),
            ),
            other => (
                format!("this is not TOML: {other}"),
                span.clone().and_then(|span| quotes_missing(text, span)),
            ),
        };
        found.note(span, "", message, help);
    }
    (only_duplicates.then(|| document.into_inner()), found)
}

/// The line around a place, and where it begins.
fn line_at(text: &str, place: usize) -> (usize, &str) {
    let start = text[..place].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    (start, line)
}

/// What to tell those who wrote a text as they would in YAML.
fn quotes_missing(text: &str, span: Range<usize>) -> Option<String> {
    let (_, line) = line_at(text, span.start);
    let (_, value) = line.split_once('=')?;
    let quoted = value.trim_start().starts_with(['"', '\'', '[', '{']);
    (!quoted).then(|| "texts are written in quotes, for example \"127.0.0.1:8443\"".to_owned())
}

/// The part of the line after `=`, or all of it, where it may hold a secret. A text that could not be parsed gives no
/// certainty about it, so the words around it decide.
fn sensitive(text: &str, span: Range<usize>) -> Option<Range<usize>> {
    const WORDS: [&str; 5] = ["auth", "environment", "secret", "token", "password"];
    let (line_start, line) = line_at(text, span.start);
    let section = text[..line_start]
        .lines()
        .rev()
        .find(|line| line.trim_start().starts_with('['))
        .unwrap_or_default();
    let mentions = |place: &str| {
        let place = place.to_ascii_lowercase();
        WORDS.iter().any(|word| place.contains(word))
    };
    if !mentions(section) && !mentions(line) {
        return None;
    }
    let value = match line.find('=') {
        Some(equals) => equals + 1,
        None if line.trim_start().starts_with('[') => return None,
        // An element of a list on a line of its own, or a secret alone.
        None => 0,
    };
    Some(line_start + value..line_start + line.len())
}

/// The parser may point behind the end, where nothing can be underlined.
fn keep_inside(span: Range<usize>, text: &str) -> Range<usize> {
    let end = span.end.min(text.len());
    span.start.min(end)..end
}
