//! What a terminal would obey and not show.

/// A line of foreign output without escape sequences, control characters and marks that turn the direction
/// of writing.
///
/// What begins another line on a terminal or in an editor becomes a space, so that one line stays one.
/// Tabs stay. A sequence that does not end on the line loses its beginning only: what follows may be the
/// last words of a program.
#[must_use]
pub fn printable(line: &str) -> String {
    let line = line.trim_end_matches(['\n', '\r']);
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\u{1b}' => rest = &rest[escape_len(rest)..],
            '\u{9b}' => rest = &rest[control_sequence_len(rest)..],
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => rest = &rest[string_len(rest)..],
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => shown.push(' '),
            '\t' => shown.push('\t'),
            _ if c.is_control() || turns_direction(c) => {}
            _ => shown.push(c),
        }
    }
    shown
}

/// How many bytes after an ESC belong to its sequence.
fn escape_len(rest: &str) -> usize {
    match rest.bytes().next() {
        Some(b'[') => 1 + control_sequence_len(&rest[1..]),
        Some(b']' | b'P' | b'X' | b'^' | b'_') => 1 + string_len(&rest[1..]),
        Some(b' '..=b'/') => {
            let len = len_while(rest, |b| matches!(b, b' '..=b'/'));
            len + usize::from(matches!(rest.as_bytes().get(len), Some(b'0'..=b'~')))
        }
        Some(b'0'..=b'~') => 1,
        _ => 0,
    }
}

/// Parameters and one final letter, for example `1;31m`.
fn control_sequence_len(rest: &str) -> usize {
    let len = len_while(rest, |b| matches!(b, b' '..=b'?'));
    len + usize::from(matches!(rest.as_bytes().get(len), Some(b'@'..=b'~')))
}

/// A text for the terminal itself, such as a window title, up to BEL or ST; nothing if it does not end.
fn string_len(rest: &str) -> usize {
    ["\u{7}", "\u{1b}\\", "\u{9c}"]
        .iter()
        .filter_map(|end| rest.find(end).map(|at| at + end.len()))
        .min()
        .unwrap_or(0)
}

fn len_while(text: &str, fits: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|&b| fits(b)).count()
}

/// Characters without a picture that make text appear in another order than it has.
fn turns_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
