//! Changes one variable of a Compose `.env` file and leaves every other byte as it is.
//!
//! After a commit the tag is written to the project's env file, so that `docker compose up -d` by hand
//! keeps the release. The file belongs to its owner: order, comments, blank lines, line ends, indentation,
//! `export` and the quotes around the value stay. The text is read with the rules of Compose's own parser
//! (compose-go, `dotenv`): `=` or `:` separates; quoted values may span lines; ` #` begins a comment behind
//! an unquoted value; of several assignments the last counts. Lines that Compose would refuse are passed
//! over.

use std::ops::Range;

use crate::template::{Carries, TagVariable, without_tag};

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Where bytes that are no UTF-8 are put in a text: 256 characters of a private use area, which nothing prints.
const STRAY_FIRST: u32 = 0x0010_FF00;

/// The content of a file as a text in which bytes that are no UTF-8, as Latin-1 has them, keep their places;
/// [`bytes_of`] gives them back.
///
/// To Compose such a byte is neither a space nor part of a name, and so is the character in its place.
#[must_use]
pub fn text_of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match stray_byte(c) {
                // A character that stands for a byte, written by somebody else: it keeps its own bytes.
                Some(_) => text.extend(c.encode_utf8(&mut [0; 4]).bytes().map(in_place_of)),
                None => text.push(c),
            }
        }
        text.extend(chunk.invalid().iter().copied().map(in_place_of));
    }
    text
}

/// The bytes that [`text_of`] made this text of.
#[must_use]
pub fn bytes_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match stray_byte(c) {
            Some(stray) => bytes.push(stray),
            None => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    bytes
}

fn in_place_of(byte: u8) -> char {
    char::from_u32(STRAY_FIRST + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn stray_byte(c: char) -> Option<u8> {
    let byte = u8::try_from(u32::from(c).checked_sub(STRAY_FIRST)?).ok()?;
    (!byte.is_ascii()).then_some(byte)
}

/// The text with `name` set to `value`.
///
/// Changes the last assignment, the one that counts, and adds a line at the end where there is none. A
/// value that needs no quotes, as every tag, takes the place of the old one within its quotes; any other
/// is written in double quotes.
#[must_use]
pub fn set_variable(text: &str, name: &str, value: &str) -> String {
    let Some(Assignment { raw, slot, .. }) = last_assignment(text, name) else {
        return appended(text, name, value);
    };
    let (place, written) = match &raw {
        _ if !is_plain(value) => (slot, quoted(value)),
        Raw::Unquoted(_) => (slot, value.to_owned()),
        Raw::SingleQuoted(_) | Raw::DoubleQuoted(_) => {
            (slot.start + 1..slot.end - 1, value.to_owned())
        }
    };
    format!("{}{written}{}", &text[..place.start], &text[place.end..])
}

/// The text with `variable` set to its value for `tag`; none if it is so already.
///
/// Of a value that is an image, only tag and digest are replaced: what stands before them may be written with other
/// variables.
#[must_use]
pub fn set_tag(text: &str, variable: &TagVariable, tag: &str) -> Option<String> {
    let (name, value) = (&variable.name, variable.value(tag));
    let set = tag_replaced(text, variable, tag).unwrap_or_else(|| set_variable(text, name, &value));
    (set != text).then_some(set)
}

/// The text with another tag in the image that `variable` is set to; none where there is no image, or where it is known to
/// be another one than the value shall be.
fn tag_replaced(text: &str, variable: &TagVariable, tag: &str) -> Option<String> {
    let image = variable.carries() == Carries::Image;
    let Assignment { raw, slot, .. } = last_assignment(text, &variable.name).filter(|_| image)?;
    let written = raw.written();
    let repository = without_tag(written)?;
    let start = match raw {
        Raw::Unquoted(_) => slot.start,
        Raw::SingleQuoted(_) | Raw::DoubleQuoted(_) => slot.start + 1,
    };
    let (before, after) = (start + repository.len(), start + written.len());
    let set = format!("{}:{tag}{}", &text[..before], &text[after..]);
    let value = last_assignment(&set, &variable.name)?.raw.value();
    let is_right = value.is_none_or(|value| value == variable.value(tag));
    // As `${IMAGE}` alone does.
    let may_hide_a_tag =
        written == repository && written.starts_with('$') && !written.contains('/');
    (is_right && !may_hide_a_tag).then_some(set)
}

/// The value of `name`, if the text sets it.
///
/// `None` as well where the value refers to other variables: it is not known from this text alone.
#[must_use]
pub fn variable(text: &str, name: &str) -> Option<String> {
    last_assignment(text, name)?.raw.value()
}

/// The value of `name` as it is written, with its quotes, if the text sets it.
#[must_use]
pub fn written_value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    Some(&text[last_assignment(text, name)?.slot])
}

/// The text as it was before [`set_tag`] set `name` to `tag`, or to an image with this tag, with `before` as the value that
/// was written; none means that nothing set it. Where the variable is a digest, `tag` is the value of it that was set.
///
/// `None` if the text sets it to another value by now, or to the same one before: then there is nothing to take back.
#[must_use]
pub fn take_back(text: &str, name: &str, tag: &str, before: Option<&str>) -> Option<String> {
    let Assignment { raw, slot, .. } = last_assignment(text, name)?;
    let is_image = || {
        let image = raw.written().strip_suffix(tag);
        image.is_some_and(|image| image.ends_with(':'))
    };
    if raw.value().as_deref() != Some(tag) && !is_image() {
        return None;
    }
    let (place, written) = match before {
        Some(before) => (slot, before),
        None => (line_at(text, slot), ""),
    };
    let taken = format!("{}{written}{}", &text[..place.start], &text[place.end..]);
    (taken != text).then_some(taken)
}

/// The whole line of a value, as [`set_variable`] adds it: with the line end behind it, or, where it is the last and has
/// none, with the one before it.
fn line_at(text: &str, slot: Range<usize>) -> Range<usize> {
    let start = text[..slot.start]
        .rfind('\n')
        .map_or_else(|| first_line(text), |at| at + 1);
    match text[slot.end..].find('\n') {
        Some(len) => start..slot.end + len + 1,
        None => {
            let before = &text[..start];
            let before = before.strip_suffix('\n').unwrap_or(before);
            before.strip_suffix('\r').unwrap_or(before).len()..text.len()
        }
    }
}

fn last_assignment<'a>(text: &'a str, name: &str) -> Option<Assignment<'a>> {
    assignments(text)
        .filter(|assignment| assignment.name == name)
        .last()
}

/// Every variable that the text sets, with its value as written, without its quotes, and as [`variable`]
/// reads it. A variable that is set twice comes twice: what a secret once was is no less secret.
pub fn variables(text: &str) -> impl Iterator<Item = (&str, &str, Option<String>)> {
    assignments(text).map(|assignment| {
        (
            assignment.name,
            assignment.raw.written(),
            assignment.raw.value(),
        )
    })
}

/// A line `name=value` behind the text, in the text's own kind of line ends.
fn appended(text: &str, name: &str, value: &str) -> String {
    let value = if is_plain(value) {
        value.to_owned()
    } else {
        quoted(value)
    };
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let empty = text.trim_start_matches(BYTE_ORDER_MARK).is_empty();
    if empty || text.ends_with('\n') {
        format!("{text}{name}={value}{line_end}")
    } else {
        format!("{text}{line_end}{name}={value}")
    }
}

/// Whether a value means itself with and without quotes; an empty one needs quotes before a comment.
fn is_plain(value: &str) -> bool {
    !value.is_empty()
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-/:@+,=".contains(&b))
}

fn quoted(value: &str) -> String {
    let mut quoted = String::from('"');
    for c in value.chars() {
        match c {
            '\\' | '"' | '$' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// What stands between double quotes with its escapes replaced; `$` stays doubled.
///
/// `None` for octal escapes, which nobody writes.
fn unescaped(value: &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some('a') => text.push('\u{7}'),
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('v') => text.push('\u{b}'),
            Some(c @ ('"' | '\\')) => text.push(c),
            Some('$') => text.push_str("$$"),
            Some('0') => return None,
            Some(other) => text.extend(['\\', other]),
            None => text.push('\\'),
        }
    }
    Some(text)
}

/// A value with `$$` replaced by `$`; `None` if it refers to a variable.
fn without_references(value: &str) -> Option<String> {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        text.push('$');
        rest = match after.chars().next() {
            Some('$') => &after[1..],
            Some(c) if c == '{' || c == '_' || c.is_ascii_alphabetic() => return None,
            _ => after,
        };
    }
    text.push_str(rest);
    Some(text)
}

/// A variable being set.
#[derive(Debug)]
struct Assignment<'a> {
    name: &'a str,
    raw: Raw<'a>,
    /// The bytes that a new value takes the place of, with the quotes if there are any.
    slot: Range<usize>,
}

/// A value as written, without its quotes.
#[derive(Debug)]
enum Raw<'a> {
    Unquoted(&'a str),
    SingleQuoted(&'a str),
    DoubleQuoted(&'a str),
}

impl<'a> Raw<'a> {
    fn written(&self) -> &'a str {
        match self {
            Self::Unquoted(value) | Self::SingleQuoted(value) | Self::DoubleQuoted(value) => value,
        }
    }

    /// What it means; `None` if it refers to other variables.
    fn value(&self) -> Option<String> {
        match self {
            Self::Unquoted(value) => without_references(value),
            Self::SingleQuoted(value) => Some(value.replace("\\'", "'")),
            Self::DoubleQuoted(value) => without_references(&unescaped(value)?),
        }
    }
}

/// All assignments in the order of the text.
fn assignments(text: &str) -> impl Iterator<Item = Assignment<'_>> {
    let mut at = first_line(text);
    std::iter::from_fn(move || {
        while at < text.len() {
            let (statement, end) = statement(text, at);
            at = end;
            if statement.is_some() {
                return statement;
            }
        }
        None
    })
}

/// Where the first line begins.
fn first_line(text: &str) -> usize {
    match text.starts_with(BYTE_ORDER_MARK) {
        true => BYTE_ORDER_MARK.len_utf8(),
        false => 0,
    }
}

/// Reads one blank, comment, assignment or unreadable line at `start`, and says where the next begins.
fn statement(text: &str, start: usize) -> (Option<Assignment<'_>>, usize) {
    let start = text.len() - text[start..].trim_start().len();
    let line_end = text[start..]
        .find('\n')
        .map_or(text.len(), |len| start + len + 1);
    let line = &text[start..line_end];
    if line.starts_with('#') {
        return (None, line_end);
    }
    let name_start = match line.strip_prefix("export") {
        Some(rest) if rest.starts_with(is_blank) => {
            line_end - rest.trim_start_matches(is_blank).len()
        }
        _ => start,
    };
    let Some(name_len) = text[name_start..line_end].find(['=', ':']) else {
        return (None, line_end);
    };
    let name = text[name_start..name_start + name_len].trim_end();
    if !name
        .chars()
        .all(|c| c.is_alphanumeric() || "_.-[]".contains(c) || is_blank(c))
    {
        return (None, line_end);
    }
    let separated = name_start + name_len + 1;
    let value_start = text.len() - text[separated..].trim_start_matches(is_blank).len();
    match text[value_start..].chars().next() {
        Some(quote @ ('\'' | '"')) => match closing_quote(&text[value_start..], quote) {
            Some(len) => {
                let inner = &text[value_start + 1..value_start + len];
                let raw = if quote == '"' {
                    Raw::DoubleQuoted(inner)
                } else {
                    Raw::SingleQuoted(inner)
                };
                let end = value_start + len + 1;
                (
                    Some(Assignment {
                        name,
                        raw,
                        slot: value_start..end,
                    }),
                    end,
                )
            }
            None => (None, line_end),
        },
        _ => (Some(unquoted(text, name, separated, line_end)), line_end),
    }
}

/// The assignment of an unquoted value, whose name ends at `separated` and whose line ends at `line_end`.
fn unquoted<'a>(text: &'a str, name: &'a str, separated: usize, line_end: usize) -> Assignment<'a> {
    let rest = &text[separated..line_end];
    let value = rest.trim_start_matches(is_blank);
    let start = line_end - value.len();
    let value = value
        .split_once(" #")
        .map_or(value, |(value, _)| value)
        .trim_end();
    let slot = if value.is_empty() {
        // Not behind the `\r` of a line that ends after the separator.
        let spaces = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        separated + spaces..separated + spaces
    } else if value.starts_with('#') && text[..start].ends_with(' ') {
        // Compose takes `TAG= # note` for the value `# note`. Whoever wrote it meant a comment, so it
        // stays one: the value goes before the space.
        separated..separated
    } else {
        start..start + value.len()
    };
    Assignment {
        name,
        raw: Raw::Unquoted(value),
        slot,
    }
}

/// Where the quote at the start of `text` is closed; a backslash before a quote makes it part of the value.
fn closing_quote(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return Some(at);
        }
        escaped = c == '\\' && !escaped;
    }
    None
}

/// Space that does not end a line, as compose-go defines it.
fn is_blank(c: char) -> bool {
    matches!(
        c,
        '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}'
    )
}

#[cfg(test)]
mod tests;
