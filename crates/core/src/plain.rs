//! Errors of libraries in words: some of them show the names that their programmers use, as `HandshakeFailure` or
//! `DnsName("shop.example")`.

/// The text without such names: `HandshakeFailure` becomes `handshake failure`, of `DnsName("shop.example")` stays what
/// is in it, and of `Query { name: … }` nothing but `query`.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut after_word = false;
    while let Some(c) = rest.chars().next() {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric());
        let (word, behind) = rest.split_at(end.unwrap_or(rest.len()));
        let wrapped = behind
            .strip_prefix('(')
            .and_then(|inner| closed(inner, '(', ')'));
        let fields = behind
            .strip_prefix(" {")
            .and_then(|inner| closed(inner, '{', '}'));
        if word.is_empty() {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        } else if after_word || !is_name(word) {
            out.push_str(word);
            rest = behind;
        } else if let Some((inner, behind)) = wrapped {
            out.push_str(&plain(inner.trim_matches('"')));
            rest = behind;
        } else if let Some((_, behind)) = fields {
            out.push_str(&words(word));
            rest = behind;
        } else {
            out.push_str(&words(word));
            rest = behind;
        }
        // A name stands alone: what follows upon a dot, a dash or a letter that is not ASCII is a part of something else.
        after_word =
            out.ends_with(|c: char| !c.is_whitespace() && !matches!(c, '(' | '[' | '"' | ':'));
    }
    out
}

/// What stands before the bracket that closes, and what stands behind it.
fn closed(text: &str, open: char, close: char) -> Option<(&str, &str)> {
    let mut depth = 1_u32;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
        }
        if depth == 0 {
            return Some((&text[..at], &text[at + close.len_utf8()..]));
        }
    }
    None
}

/// Whether a word can be the name of a type: it begins with a capital letter and has small ones.
fn is_name(word: &str) -> bool {
    let mut letters = word.bytes();
    letters.next().is_some_and(|b| b.is_ascii_uppercase())
        && letters.next().is_some_and(|b| b.is_ascii_lowercase())
}

/// The words that a name is made of. One that is a single word is left alone: it may begin a sentence.
fn words(name: &str) -> String {
    let humps = name.bytes().filter(u8::is_ascii_uppercase).count();
    if humps < 2 {
        return name.to_owned();
    }
    let mut words = String::with_capacity(name.len() + humps);
    for (at, c) in name.char_indices() {
        if at > 0 && c.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_types_become_words() {
        for (debug, text) in [
            (
                "received fatal alert: HandshakeFailure",
                "received fatal alert: handshake failure",
            ),
            ("DnsName(\"shop.example\")", "shop.example"),
            (
                "is only valid for DnsName(\"a.example\") or IpAddress(10.0.0.1)",
                "is only valid for a.example or 10.0.0.1",
            ),
            (
                "invalid peer certificate: BadEncoding",
                "invalid peer certificate: bad encoding",
            ),
            (
                "Other(OtherError(CaUsedAsEndEntity))",
                "ca used as end entity",
            ),
            (
                "peer is incompatible: ServerDoesNotSupportTls12Or13",
                "peer is incompatible: server does not support tls12 or13",
            ),
            (
                "no records found for Query { name: Name(\"x.\"), query_type: AAAA }",
                "no records found for Query",
            ),
            (
                "UnsupportedSignatureAlgorithmContext { id: [1, 2], supported: [{ 3 }] } was found",
                "unsupported signature algorithm context was found",
            ),
        ] {
            assert_eq!(plain(debug), text, "{debug}");
        }
    }

    #[test]
    fn ordinary_text_is_left_alone() {
        for text in [
            "",
            "No such file or directory (os error 2)",
            "Connection refused; TLS and SSL_CERT_FILE (see the log)",
            "https://deploy.example.com/PathOf(x) is not reachable, Docker says",
            "äÖffnen é { unclosed (",
        ] {
            assert_eq!(plain(text), text);
        }
    }
}
