//! The forms in which a secret turns up in the output of programs.

use super::SECRET_LEN_MIN;

/// A line of a secret of several lines is masked by itself from this length on.
const LINE_LEN_MIN: usize = 6;

/// Below this length the base64 of a secret could stand in a text by chance.
const BASE64_LEN_MIN: usize = 8;

/// Values that variables with secret names often have and that are none.
const ORDINARY: [&str; 4] = ["true", "false", "null", "none"];

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// All forms of `secret`; the space around it, such as the end of line of a secret's file, is no part of it.
pub(super) fn of(secret: &str) -> Vec<String> {
    let secret = secret.trim();
    if ORDINARY
        .iter()
        .any(|word| secret.eq_ignore_ascii_case(word))
    {
        return Vec::new();
    }
    let mut forms = vec![secret.to_owned(), in_json(secret)];
    let lines = secret.lines().map(str::trim);
    forms.extend(
        lines
            .filter(|line| line.len() >= LINE_LEN_MIN)
            .map(str::to_owned),
    );
    forms.extend(in_url(secret));
    forms.extend(out_of_url(secret));
    if secret.len() >= BASE64_LEN_MIN {
        forms.extend((0..3).map(|before| in_base64(secret.as_bytes(), before)));
        let for_url = |form: &String| form.replace('+', "-").replace('/', "_");
        let for_urls: Vec<String> = forms[forms.len() - 3..].iter().map(for_url).collect();
        forms.extend(for_urls);
    }
    forms.retain(|form| form.len() >= SECRET_LEN_MIN);
    forms
}

/// The digits of base64 that are decided by `secret` alone when `before` other bytes stand before it, and
/// any number behind it. With 0 to 2 bytes before, every way in which it can be encoded is covered.
fn in_base64(secret: &[u8], before: usize) -> String {
    let bit = |at: usize| (secret[at / 8] >> (7 - at % 8)) & 1;
    let bits = secret.len() * 8;
    // The first digit that begins inside the secret.
    let first = (6 - before * 8 % 6) % 6;
    (first..)
        .step_by(6)
        .take_while(|start| start + 6 <= bits)
        .map(|start| {
            let digit = (start..start + 6).fold(0_u8, |digit, at| digit << 1 | bit(at));
            char::from(STANDARD[usize::from(digit)])
        })
        .collect()
}

/// Percent-encoded, with upper-case and lower-case digits, and the space of forms.
fn in_url(secret: &str) -> [String; 3] {
    let mut upper = String::new();
    let mut lower = String::new();
    for b in secret.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            upper.push(char::from(b));
            lower.push(char::from(b));
        } else {
            upper.push_str(&format!("%{b:02X}"));
            lower.push_str(&format!("%{b:02x}"));
        }
    }
    let form = upper.replace("%20", "+");
    [upper, lower, form]
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

/// As part of a JSON text.
fn in_json(secret: &str) -> String {
    let mut json = String::new();
    for c in secret.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            _ => json.push(c),
        }
    }
    json
}
