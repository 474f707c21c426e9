//! The forms in which a secret turns up in the output of programs.

use super::SECRET_LEN_MIN;
use crate::env_file::bytes_of;

/// A line of a secret of several lines is masked by itself from this length on.
const LINE_LEN_MIN: usize = 6;

/// Below this length the base64 or base32 of a secret could stand in a text by chance.
const ENCODED_LEN_MIN: usize = 6;

/// A longer secret is masked line by line: no program prints it as a whole in one line, and each form takes room.
const WHOLE_LEN_MAX: usize = 4096;

/// Values that variables with secret names often have and that are none.
const ORDINARY: [&str; 25] = [
    "true",
    "false",
    "null",
    "none",
    "yes",
    "enabled",
    "disabled",
    "required",
    "optional",
    "default",
    "auto",
    "basic",
    "bearer",
    "digest",
    "oauth",
    "oauth2",
    "ldap",
    "hs256",
    "hs512",
    "rs256",
    "es256",
    "plain",
    "login",
    "trust",
    "scram-sha-256",
];

const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// All forms of `secret`; the space around it, such as the end of line of a secret's file, is no part of it.
///
/// Bytes that are no UTF-8 stand in it as [`text_of`](crate::env_file::text_of) puts them there.
pub(super) fn of(secret: &str) -> Vec<String> {
    let secret = secret.trim();
    if ORDINARY
        .iter()
        .any(|word| secret.eq_ignore_ascii_case(word))
    {
        return Vec::new();
    }
    let lines = secret.lines().map(str::trim);
    let lines = lines.filter(|line| line.len() >= LINE_LEN_MIN && *line != secret);
    let mut forms: Vec<String> = lines.flat_map(of_one).collect();
    if secret.len() <= WHOLE_LEN_MAX {
        forms.extend(of_one(secret));
    }
    forms.retain(|form| form.len() >= SECRET_LEN_MIN);
    forms
}

fn of_one(secret: &str) -> Vec<String> {
    let bytes = bytes_of(secret);
    let mut forms = Vec::new();
    for text in texts(&bytes) {
        let json = in_json(&text);
        // .NET writes the digits in capitals, and `+` and `'` so as well.
        forms.extend(json.iter().map(|form| in_capitals(form)));
        forms.push(in_capitals(
            &Json {
                dotnet: true,
                ascii: true,
                html: true,
                ..Json::default()
            }
            .written(&text),
        ));
        forms.extend(json);
        forms.extend(in_quotes(&text));
        forms.extend(in_html(&text));
        forms.extend(out_of_url(&text));
        forms.push(text);
    }
    forms.extend(in_url(&bytes));
    forms.push(in_python(&bytes));
    forms.extend(in_hex(&bytes));
    if bytes.len() >= ENCODED_LEN_MIN {
        for before in 0..3 {
            let form = in_digits(&bytes, before, 6, BASE64);
            forms.push(form.replace('+', "-").replace('/', "_"));
            forms.push(form);
        }
        for before in 0..5 {
            let form = in_digits(&bytes, before, 5, BASE32);
            forms.push(form.to_ascii_lowercase());
            forms.push(form);
        }
    }
    forms
}

/// What programs read in these bytes: UTF-8, with the rest replaced, and Latin-1, also where they are UTF-8.
fn texts(bytes: &[u8]) -> Vec<String> {
    let mut texts = vec![String::from_utf8_lossy(bytes).into_owned()];
    if !bytes.is_ascii() {
        texts.push(bytes.iter().copied().map(char::from).collect());
    }
    texts
}

/// The digits of a base that are decided by `secret` alone when `before` other bytes stand before it, and any number
/// behind it. A digit of base64 has 6 bits, one of base32 has 5.
fn in_digits(secret: &[u8], before: usize, bits_of_digit: usize, digits: &[u8]) -> String {
    let bit = |at: usize| usize::from((secret[at / 8] >> (7 - at % 8)) & 1);
    let bits = secret.len() * 8;
    // The first digit that begins inside the secret.
    let first = (bits_of_digit - before * 8 % bits_of_digit) % bits_of_digit;
    (first..)
        .step_by(bits_of_digit)
        .take_while(|start| start + bits_of_digit <= bits)
        .map(|start| {
            let digit = (start..start + bits_of_digit).fold(0, |digit, at| digit << 1 | bit(at));
            char::from(digits[digit])
        })
        .collect()
}

/// As Python shows bytes: `\xc3` for what is no ASCII.
fn in_python(secret: &[u8]) -> String {
    let one = |byte: &u8| match byte {
        b'\\' => "\\\\".to_owned(),
        b'\'' => "\\'".to_owned(),
        0x20..0x7f => char::from(*byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    secret.iter().map(one).collect()
}

fn in_hex(secret: &[u8]) -> [String; 2] {
    let lower: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    [lower.to_ascii_uppercase(), lower]
}

/// Percent-encoded: all but what is never encoded, what JavaScript's `encodeURIComponent` and `encodeURI` leave as
/// well, what Python's `quote` does; with digits of either case, and the space of forms.
fn in_url(secret: &[u8]) -> Vec<String> {
    let mut forms = Vec::new();
    for left in ["-._~", "-._~/", "-_.!~*'()", "-_.!~*'();/?:@&=+$,#", "-_.*"] {
        let encoded = |digits: fn(u8) -> String| -> String {
            let one =
                |byte: &u8| match byte.is_ascii_alphanumeric() || left.as_bytes().contains(byte) {
                    true => char::from(*byte).to_string(),
                    false => digits(*byte),
                };
            secret.iter().map(one).collect()
        };
        let upper = encoded(|byte| format!("%{byte:02X}"));
        let lower = encoded(|byte| format!("%{byte:02x}"));
        forms.push(upper.replace("%20", "+"));
        forms.extend([upper, lower]);
    }
    forms
}

/// Percent-decoded, if that is a text.
fn out_of_url(secret: &str) -> Option<String> {
    let mut decoded = Vec::new();
    let mut rest = secret;
    while let Some((before, after)) = rest.split_once('%') {
        decoded.extend_from_slice(before.as_bytes());
        let digits = after.get(..2)?;
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &after[2..];
    }
    decoded.extend_from_slice(rest.as_bytes());
    String::from_utf8(decoded).ok()
}

/// As part of a JSON text, as JavaScript, Go (`<`, `>`, `&`), Python (ASCII only) and PHP (ASCII only, `\/`) write it;
/// and each of these as a text in JSON again, twice.
fn in_json(text: &str) -> Vec<String> {
    let mut forms = Vec::new();
    for style in [
        Json::default(),
        Json {
            html: true,
            ..Json::default()
        },
        Json {
            ascii: true,
            ..Json::default()
        },
        Json {
            slash: true,
            ..Json::default()
        },
        Json {
            ascii: true,
            slash: true,
            ..Json::default()
        },
    ] {
        let once = style.written(text);
        for again in [Json::default(), style] {
            let twice = again.written(&once);
            forms.push(again.written(&twice));
            forms.push(twice);
        }
        forms.push(once);
    }
    forms
}

/// How a program writes a text in JSON.
#[derive(Clone, Copy, Default)]
struct Json {
    /// Nothing but ASCII, the rest as `\u00e9`.
    ascii: bool,
    /// What means something in HTML, and line separators, as `\u003c`.
    html: bool,
    /// `/` as `\/`.
    slash: bool,
    /// `+`, `'` and a backtick as `\u002b`.
    dotnet: bool,
}

impl Json {
    fn written(self, text: &str) -> String {
        let mut json = String::new();
        for c in text.chars() {
            match c {
                '"' | '+' | '\'' | '`' if self.dotnet => escape(&mut json, c),
                '"' | '\\' => json.extend(['\\', c]),
                '/' if self.slash => json.push_str("\\/"),
                '\n' => json.push_str("\\n"),
                '\r' => json.push_str("\\r"),
                '\t' => json.push_str("\\t"),
                '\u{8}' => json.push_str("\\b"),
                '\u{c}' => json.push_str("\\f"),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if self.html => escape(&mut json, c),
                c if u32::from(c) < 0x20 || (self.ascii && !c.is_ascii()) => escape(&mut json, c),
                _ => json.push(c),
            }
        }
        json
    }
}

/// With capitals in the digits of `\u00e9`.
fn in_capitals(json: &str) -> String {
    let mut parts = json.split("\\u");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str("\\u");
        let (digits, rest) = part.split_at_checked(4).unwrap_or((part, ""));
        text.push_str(&digits.to_ascii_uppercase());
        text.push_str(rest);
    }
    text
}

fn escape(json: &mut String, c: char) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        json.push_str(&format!("\\u{unit:04x}"));
    }
}

/// Between quotes: of the shell, in both ways to write a single quote; of Python and of Rust, where the other quote
/// needs a backslash as well.
fn in_quotes(text: &str) -> [String; 4] {
    let slashed = text.replace('\\', "\\\\");
    [
        text.replace('\'', "'\\''"),
        text.replace('\'', "'\"'\"'"),
        slashed.replace('\'', "\\'"),
        slashed.replace('\'', "\\'").replace('"', "\\\""),
    ]
}

/// In HTML, with the names and numbers of its characters that libraries write.
fn in_html(text: &str) -> [String; 6] {
    let plain = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let quoted = |double: &str, single: &str| plain.replace('"', double).replace('\'', single);
    [
        quoted("&quot;", "&#39;"),
        quoted("&quot;", "&#x27;"),
        quoted("&#34;", "&#39;"),
        quoted("&quot;", "&apos;"),
        numbered(text, |c| format!("&#{};", u32::from(c))),
        numbered(text, |c| format!("&#x{:x};", u32::from(c))),
    ]
}

/// With a number for each character that means something in HTML.
fn numbered(text: &str, number: impl Fn(char) -> String) -> String {
    let one = |c: char| match c {
        '&' | '<' | '>' | '"' | '\'' => number(c),
        c => c.to_string(),
    };
    text.chars().map(one).collect()
}
