//! What a request's head must be, judged on its raw bytes.
//!
//! hyper is lenient where two readers of one connection could disagree: it drops a Content-Length
//! beside a Transfer-Encoding, merges equal Content-Lengths and trims header values. Here such heads
//! are refused before hyper sees them, with the parser that hyper uses.

use super::body;
use super::error::{ApiError, RequestCode};
use super::limits::{HEAD_BYTES_MAX, HEADERS_MAX};

/// How the body after a head ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After this many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
}

/// The blank line that ends a head.
const END: &[u8] = b"\r\n\r\n";

/// The name of the signature's header with its colon, as it is looked for in a head.
const SIGNATURE_NAME: &[u8] = b"x-hub-signature-256:";

/// The largest Content-Length that hyper hands on; a larger one it refuses by itself, without a body that
/// says why.
const LENGTH_MAX: u64 = u64::MAX - 2;

/// The length of the head at the start of `bytes`, once it is complete; `from` bytes are known not to
/// hold its end.
pub(super) fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let from = from.saturating_sub(END.len() - 1);
    bytes
        .get(from..)?
        .windows(END.len())
        .position(|window| window == END)
        .map(|at| from + at + END.len())
}

/// Refuses a line that ends in a newline alone, where readers disagree about what ends a head; the
/// first `from` bytes are known to be fine.
pub(super) fn check_lines(bytes: &[u8], from: usize) -> Result<(), ApiError> {
    let bare =
        (from..bytes.len()).any(|at| bytes[at] == b'\n' && (at == 0 || bytes[at - 1] != b'\r'));
    if bare {
        Err(bad("its lines do not end as HTTP wants them to"))
    } else {
        Ok(())
    }
}

/// Judges one complete head.
pub(super) fn judge(head: &[u8]) -> Result<Framing, ApiError> {
    if head.len() > HEAD_BYTES_MAX {
        return Err(too_large());
    }
    check_lines(head, 0)?;
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(too_large()),
        Ok(_) | Err(_) => return Err(bad("its head cannot be read")),
    }
    // hyper refuses such an address by itself, without a body that says why.
    let address = request.path.unwrap_or_default();
    if http::Uri::try_from(address).is_err() {
        return Err(bad("its address cannot be read"));
    }
    only(request.headers, "host")?;
    let length = only(request.headers, "content-length")?;
    let encoding = only(request.headers, "transfer-encoding")?;
    match (length, encoding) {
        (Some(_), Some(_)) => Err(bad("it has both Content-Length and Transfer-Encoding")),
        (None, None) => Ok(Framing::Length(0)),
        (Some(digits), None) => length_of(digits).map(Framing::Length),
        (None, Some(b"chunked")) if request.version == Some(1) => Ok(Framing::Chunked),
        (None, Some(_)) => Err(bad("its Transfer-Encoding is not `chunked`")),
    }
}

/// The value of a header that may appear once.
fn only<'a>(headers: &[httparse::Header<'a>], name: &str) -> Result<Option<&'a [u8]>, ApiError> {
    let mut found = headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case(name));
    let value = found.next().map(|header| header.value);
    match found.next() {
        None => Ok(value),
        Some(_) => Err(bad(match name {
            "host" => "it has two Host headers",
            "content-length" => "it has two Content-Length headers",
            _ => "it has two Transfer-Encoding headers",
        })),
    }
}

fn length_of(digits: &[u8]) -> Result<u64, ApiError> {
    let wrong = || bad("its Content-Length is not a number");
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(wrong());
    }
    let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
    // Digits alone fail to be a number only by being too many.
    let length = digits.parse().ok();
    length
        .filter(|length| *length <= LENGTH_MAX)
        .ok_or_else(body::too_large)
}

/// Makes a signature that HTTP would trim or could not carry unmistakably malformed, so that whoever
/// checks signatures refuses it like any other wrong one.
pub(super) fn spoil_trimmed_signature(head: &mut [u8]) {
    for line in head.split_mut(|&byte| byte == b'\n') {
        let Some(name) = line.get(..SIGNATURE_NAME.len()) else {
            continue;
        };
        if !name.eq_ignore_ascii_case(SIGNATURE_NAME) {
            continue;
        }
        let value = &mut line[SIGNATURE_NAME.len()..];
        let value = match value {
            [rest @ .., b'\r'] => rest,
            all => all,
        };
        for byte in value.iter_mut().filter(|byte| **byte == 0) {
            *byte = b'?';
        }
        if let Some(last) = value.last_mut().filter(|byte| matches!(byte, b' ' | b'\t')) {
            *last = b'?';
        }
    }
}

/// The refusal of a head that is too large.
pub(super) fn too_large() -> ApiError {
    ApiError::new(
        RequestCode::HeadersTooLarge,
        format!(
            "the request's head has more than {HEADERS_MAX} headers or {HEAD_BYTES_MAX} bytes; nothing was changed"
        ),
    )
}

fn bad(why: &str) -> ApiError {
    ApiError::new(
        RequestCode::BadRequest,
        format!("this is not a well-formed HTTP/1.1 request: {why}; nothing was changed"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(head: &str) -> Result<Framing, RequestCode> {
        judge(head.as_bytes()).map_err(|error| error.code())
    }

    #[test]
    fn framing_must_be_beyond_doubt() {
        let with = |headers: &str| {
            judged(&format!(
                "POST /deploy HTTP/1.1\r\nHost: a\r\n{headers}\r\n"
            ))
        };
        assert_eq!(with(""), Ok(Framing::Length(0)));
        assert_eq!(with("Content-Length: 12\r\n"), Ok(Framing::Length(12)));
        assert_eq!(with("transfer-encoding: chunked\r\n"), Ok(Framing::Chunked));
        for wrong in [
            "Content-Length: 12\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 12\r\nContent-Length: 12\r\n",
            "Content-Length: 12\r\nContent-Length: 13\r\n",
            "Content-Length: 12, 12\r\n",
            "Content-Length: +12\r\n",
            "Content-Length: \r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Host: b\r\n",
            "X: a\nY: b\r\n",
            "X: a\r\n folded\r\n",
            "X: a\rY: b\r\n",
            "X: \0\r\n",
        ] {
            assert_eq!(with(wrong), Err(RequestCode::BadRequest), "{wrong:?}");
        }
        assert_eq!(
            judged("POST /deploy HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Err(RequestCode::BadRequest)
        );
        for (large, expected) in [
            (LENGTH_MAX.to_string(), Ok(Framing::Length(LENGTH_MAX))),
            (u64::MAX.to_string(), Err(RequestCode::BodyTooLarge)),
            ("9".repeat(20), Err(RequestCode::BodyTooLarge)),
        ] {
            assert_eq!(with(&format!("Content-Length: {large}\r\n")), expected);
        }
        for address in ["/<x>", "/a`b", "http:///x", "a b"] {
            let head = format!("GET {address} HTTP/1.1\r\n\r\n");
            assert_eq!(judged(&head), Err(RequestCode::BadRequest), "{address}");
        }
        for address in ["/", "/x?y=%3C", "*", "http://a/x", "a:1", "//x"] {
            let head = format!("GET {address} HTTP/1.1\r\n\r\n");
            assert_eq!(judged(&head), Ok(Framing::Length(0)), "{address}");
        }
        assert_eq!(
            judged("PRI * HTTP/2.0\r\n\r\n"),
            Err(RequestCode::BadRequest)
        );
    }

    #[test]
    fn heads_are_bounded_in_number_and_size() {
        let many = |count: usize| {
            let headers: String = (0..count).map(|i| format!("x-{i}: 1\r\n")).collect();
            judged(&format!("GET / HTTP/1.1\r\n{headers}\r\n"))
        };
        assert_eq!(many(HEADERS_MAX), Ok(Framing::Length(0)));
        assert_eq!(many(HEADERS_MAX + 1), Err(RequestCode::HeadersTooLarge));
        let long = format!(
            "GET / HTTP/1.1\r\nx: {}\r\n\r\n",
            "a".repeat(HEAD_BYTES_MAX)
        );
        assert_eq!(judged(&long), Err(RequestCode::HeadersTooLarge));
    }

    #[test]
    fn the_end_of_a_head_is_found_wherever_reading_stopped() {
        let bytes = b"GET / HTTP/1.1\r\nx: 1\r\n\r\nbody\r\n\r\n";
        for from in 0..24 {
            assert_eq!(end_of_head(bytes, from), Some(24), "from {from}");
        }
        assert_eq!(end_of_head(&bytes[..23], 0), None);
    }

    #[test]
    fn a_signature_that_http_would_trim_is_spoiled() {
        let spoiled = |line: &str| {
            let mut head = format!("POST / HTTP/1.1\r\n{line}\r\n\r\n").into_bytes();
            spoil_trimmed_signature(&mut head);
            String::from_utf8(head).expect("still text").contains('?')
        };
        assert!(spoiled("X-Hub-Signature-256: sha256=00 "));
        assert!(spoiled("x-hub-signature-256:sha256=00\t"));
        assert!(spoiled("x-hub-signature-256: sha256=00\0"));
        assert!(!spoiled("X-Hub-Signature-256: \t sha256=00"));
        assert!(!spoiled("X-Other: sha256=00 "));
    }
}
