//! Making foreign text harmless, short, and no wider than the terminal.

use anstream::adapter::strip_str;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// As many digits of a hash as people read.
const SHORT_SHA_LEN: usize = 12;

/// Text is not squeezed into fewer columns, however narrow the terminal is.
const WRAPPED_COLUMNS_MIN: usize = 16;

/// The text without anything that a terminal would act on, on one line.
///
/// Escape sequences, control characters, and characters that are invisible or change the direction of
/// writing are dropped; line breaks and tabs become spaces.
pub(crate) fn clean(text: &str) -> String {
    strip_str(text)
        .to_string()
        .chars()
        .filter_map(|c| match c {
            '\n' | '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
            c if c.is_control() || is_invisible(c) => None,
            c => Some(c),
        })
        .collect()
}

/// Each line of the text, cleaned.
pub(crate) fn clean_lines(text: &str) -> Vec<String> {
    text.lines().map(clean).collect()
}

/// Unicode's ignorable characters and its marks of direction: they show nothing and can deceive.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The tag of an image reference, or its digest if it has no tag, or the whole of it.
pub(crate) fn tag(image: &str) -> &str {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    let last = name.rsplit('/').next().unwrap_or(name);
    match (last.split_once(':'), digest) {
        (Some((_, tag)), _) => tag,
        (None, Some(digest)) => digest,
        (None, None) => image,
    }
}

/// The text with each hash in it (40 or 64 hexadecimal digits, as commits and digests have) cut to 12 digits.
pub(crate) fn short_shas(text: &str) -> String {
    let mut short = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.split(|c: char| !c.is_ascii_alphanumeric()).next();
        let word = word.unwrap_or_default();
        let is_hash = matches!(word.len(), 40 | 64) && word.bytes().all(|b| b.is_ascii_hexdigit());
        short.push_str(if is_hash {
            &word[..SHORT_SHA_LEN]
        } else {
            word
        });
        let mut behind = rest[word.len()..].chars();
        short.extend(behind.next());
        rest = behind.as_str();
    }
    short
}

/// Text of the daemon as people read it: harmless, with short hashes.
pub(crate) fn readable(text: &str) -> String {
    short_shas(&clean(text))
}

/// The tag in its short form: a commit's hash by its first digits, and so is a digest.
pub(crate) fn short_tag(tag: &str) -> String {
    let tag = readable(tag);
    match tag.strip_prefix("sha256:") {
        Some(digest) => digest.to_owned(),
        None => tag,
    }
}

/// The columns that the text takes; what colors it takes none.
pub(crate) fn width(text: &str) -> usize {
    strip_str(text).map(UnicodeWidthStr::width).sum()
}

/// The text for a place that begins in column `first`: its further lines, those of its own and those that it is
/// wrapped into at the end of a word, begin in column `indent`. Without `columns` it is not wrapped.
pub(crate) fn hang(text: &str, first: usize, indent: usize, columns: Option<usize>) -> String {
    let room = |before: usize| {
        columns.map(|columns| columns.saturating_sub(before).max(WRAPPED_COLUMNS_MIN))
    };
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let before = if lines.is_empty() { first } else { indent };
        lines.extend(wrap(line, room(before), room(indent)));
    }
    lines.join(&format!("\n{:indent$}", ""))
}

/// One line of foreign output behind a mark. Each line that it is wrapped into has the mark, so that none of them
/// begins with what the output says.
pub(crate) fn quoted(line: &str, mark: &str, columns: Option<usize>) -> Vec<String> {
    let room = columns
        .map(|columns| columns.saturating_sub(width(mark)))
        .map(|room| room.max(WRAPPED_COLUMNS_MIN));
    let lines = wrap(line, room, room);
    lines.iter().map(|line| format!("{mark}{line}")).collect()
}

/// Lines of at most `first` and then `others` columns, broken between words, and inside of a word that has no room
/// on a line of its own.
fn wrap(text: &str, first: Option<usize>, others: Option<usize>) -> Vec<String> {
    let (Some(mut room), Some(others)) = (first, others) else {
        return vec![text.to_owned()];
    };
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for piece in pieces(text) {
        let mut word = piece.trim_end_matches(' ');
        if used > 0 && used + width(word) > room {
            lines.push(std::mem::take(&mut line).trim_end().to_owned());
            (used, room) = (0, others);
        }
        // A word in color is one of ours, and short.
        while width(word) > room && !word.contains('\u{1b}') {
            let (start, end) = word.split_at(fitting(word, room));
            lines.push(start.to_owned());
            (word, room) = (end, others);
        }
        if used == 0 && !lines.is_empty() && word.is_empty() {
            continue;
        }
        line.push_str(word);
        used += width(word);
        if piece.ends_with(' ') {
            line.push(' ');
            used += 1;
        }
    }
    lines.push(line.trim_end().to_owned());
    lines
}

/// The text in pieces that are not broken: each a word with the spaces behind it, and a number with its unit.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces: Vec<&str> = Vec::new();
    let mut start = 0;
    let mut end = 0;
    for piece in text.split_inclusive(' ') {
        let unit = piece.trim_end_matches(|c: char| !c.is_ascii_alphabetic());
        let number = text[start..end].strip_suffix(' ');
        let is_number = number.is_some_and(|word| word.ends_with(|c: char| c.is_ascii_digit()));
        if !(is_number && matches!(unit, "s" | "ms" | "min" | "h" | "B" | "kB" | "MB" | "GB")) {
            pieces.push(&text[start..end]);
            start = end;
        }
        end += piece.len();
    }
    pieces.push(&text[start..end]);
    pieces
}

/// How many bytes of the word fit into `room` columns; at least its first character, so that there is an end to it.
fn fitting(word: &str, room: usize) -> usize {
    let mut used = 0;
    for (at, c) in word.char_indices() {
        used += c.width().unwrap_or(0);
        if used > room && at > 0 {
            return at;
        }
    }
    word.len()
}

/// At most `columns` columns, ending in `…` if anything was left out.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut short = text[..fitting(text, columns.saturating_sub(1).max(1))].to_owned();
    short.push('…');
    short
}

/// A number of bytes for a person.
pub(crate) fn bytes(count: u64) -> String {
    let scales = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match scales.iter().find(|(_, scale)| count >= *scale) {
        Some((unit, scale)) => format!("{}.{} {unit}", count / scale, count % scale * 10 / scale),
        None => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_on_remains() {
        for (foreign, harmless) in [
            ("plain äöü 漢字", "plain äöü 漢字"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("a\r\nb\tc", "a b c"),
            ("bell\u{7}back\u{8}del\u{7f}", "bellbackdel"),
            ("c1\u{9b}31m", "c131m"),
            ("\u{202e}gpj.exe", "gpj.exe"),
            ("#\u{200b}#[error]", "##[error]"),
        ] {
            assert_eq!(clean(foreign), harmless, "{foreign:?}");
        }
        assert_eq!(clean_lines("a\u{1b}[1m\n b"), ["a", " b"]);
    }

    #[test]
    fn a_tag_is_found_in_any_reference() {
        for (image, expected) in [
            ("ghcr.io/acme/shop:1.2", "1.2"),
            ("localhost:5000/shop", "localhost:5000/shop"),
            ("localhost:5000/shop:x@sha256:aa", "x"),
            ("shop@sha256:aa", "sha256:aa"),
            ("shop", "shop"),
        ] {
            assert_eq!(tag(image), expected, "{image}");
        }
        assert_eq!(short_tag(&"0123456789".repeat(4)), "012345678901");
        assert_eq!(
            short_tag(&format!("sha256:{}", "ab".repeat(32))),
            "abababababab"
        );
        assert_eq!(
            short_tag("v1.2.3-rc.1-with-a-long-name"),
            "v1.2.3-rc.1-with-a-long-name"
        );
    }

    #[test]
    fn hashes_are_cut_wherever_they_stand_and_nothing_else_is() {
        let (commit, digest) = ("3f2a9c1b0d".repeat(4), "ab".repeat(32));
        for (text, short) in [
            (
                format!("ghcr.io/acme/shop:{commit}@sha256:{digest}; é {commit}"),
                "ghcr.io/acme/shop:3f2a9c1b0d3f@sha256:abababababab; é 3f2a9c1b0d3f".to_owned(),
            ),
            (commit.clone() + "0", commit.clone() + "0"),
            (format!("x{commit}"), format!("x{commit}")),
            ("g".repeat(40), "g".repeat(40)),
            (String::new(), String::new()),
        ] {
            assert_eq!(short_shas(&text), short, "{text}");
        }
    }

    #[test]
    fn text_is_wrapped_between_words_and_hangs() {
        let text = "a sentence of several words\nand a second line";
        assert_eq!(
            hang(text, 2, 4, Some(20)),
            "a sentence of\n    several words\n    and a second\n    line"
        );
        assert_eq!(hang(text, 2, 4, None), text.replace('\n', "\n    "));
        let long = format!("see {}", "0123456789".repeat(4));
        assert_eq!(
            hang(&long, 0, 2, Some(18)),
            "see\n  0123456789012345\n  6789012345678901\n  23456789"
        );
        let colored = "\u{1b}[31mnine char\u{1b}[0m and nine more";
        assert_eq!(
            hang(colored, 0, 0, Some(20)),
            "\u{1b}[31mnine char\u{1b}[0m and nine\nmore"
        );
        assert_eq!(
            hang("漢字漢字漢字漢字漢", 0, 0, Some(16)),
            "漢字漢字漢字漢字\n漢"
        );
        assert_eq!(hang("", 0, 2, Some(16)), "");
        assert_eq!(
            hang("healthy for it 5 s) and 10 min", 0, 0, Some(16)),
            "healthy for it\n5 s) and 10 min"
        );
    }

    #[test]
    fn no_line_of_wrapped_output_begins_with_what_it_says() {
        let line = format!("{} ::error::x ##[error]y", "x".repeat(18));
        for line in quoted(&line, "  | ", Some(22)) {
            assert!(line.starts_with("  | "), "{line}");
            assert!(width(&line) <= 22, "{line}");
        }
        assert_eq!(quoted("    at  f(x)", "| ", Some(80)), ["|     at  f(x)"]);
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_550), "1.5 kB");
        assert_eq!(bytes(120_000_000), "120.0 MB");
        assert_eq!(bytes(2_340_000_000), "2.3 GB");
    }
}
