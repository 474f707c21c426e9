//! Making foreign text harmless, and short.

use anstream::adapter::strip_str;

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

/// The tag in its short form: commit hashes are cut as Git cuts them.
pub(crate) fn short_tag(tag: &str) -> String {
    let hash = tag.strip_prefix("sha256:").unwrap_or(tag);
    let is_hash = matches!(hash.len(), 40 | 64) && hash.bytes().all(|b| b.is_ascii_hexdigit());
    if is_hash {
        hash[..8].to_owned()
    } else {
        clean(tag)
    }
}

/// At most `columns` characters, ending in `…` if any were left out.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(columns.saturating_sub(1)).collect();
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
        assert_eq!(short_tag(&"0123456789".repeat(4)), "01234567");
        assert_eq!(
            short_tag("v1.2.3-rc.1-with-a-long-name"),
            "v1.2.3-rc.1-with-a-long-name"
        );
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_550), "1.5 kB");
        assert_eq!(bytes(120_000_000), "120.0 MB");
        assert_eq!(bytes(2_340_000_000), "2.3 GB");
    }
}
