//! What is wrong with a request's head, its size or its type: refused before anybody looks who signed it.

use super::{Row, right, rows};
use crate::daemon::Request;

/// Everything right but the request line.
fn lines(id: &'static str, status: u16, code: &'static str, lines: &[&'static str]) -> Vec<Row> {
    let input = |line: &&'static str| {
        let mut request = right();
        (*line).clone_into(&mut request.line);
        (*line, request.to_bytes())
    };
    rows(id, status, code, lines.iter().map(input).collect())
}

pub(super) fn heads() -> Vec<Row> {
    let many = (0..65).fold(right(), |request, i| request.with(&format!("x-{i}"), "1"));
    let long = right().with("x", "a".repeat(17 * 1024));
    let len = right().body.len().to_string();
    let two_lengths = right().with("Content-Length", len);
    let both = right().with("Transfer-Encoding", "chunked");
    let http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    [
        lines(
            "A2",
            405,
            "method_not_allowed",
            &[
                "GET /deploy",
                "PUT /deploy",
                "DELETE /deploy",
                "PATCH /deploy",
                "BREW /deploy",
            ],
        ),
        lines(
            "A3",
            404,
            "not_found",
            &[
                "POST /deployment",
                "POST //deploy",
                "POST /deploy/",
                "POST /Deploy",
                "POST /%64eploy",
                "GET /v1/%64eployments",
                "POST /x%2f..%2fdeploy",
            ],
        ),
        lines(
            "A4",
            404,
            "not_found",
            &["GET /v1/../metrics", "GET /metrics"],
        ),
        rows(
            "A5",
            431,
            "headers_too_large",
            vec![("65 headers", many.to_bytes()), ("17 KiB", long.to_bytes())],
        ),
        rows(
            "A10",
            400,
            "bad_request",
            vec![
                ("two lengths", two_lengths.to_bytes()),
                ("a length and chunks", both.to_bytes()),
                ("http/2", http2),
            ],
        ),
    ]
    .concat()
}

/// A request that declares this length and sends nothing of its body.
fn declared(len: &str) -> Request {
    let request = right()
        .without("Content-Length")
        .with("Content-Length", len);
    Request {
        body: Vec::new(),
        ..request
    }
}

/// A request in chunks, with more of them than are allowed.
fn too_many_chunks() -> Vec<u8> {
    let request = right()
        .without("Content-Length")
        .with("Transfer-Encoding", "chunked");
    let head = Request {
        body: Vec::new(),
        ..request
    };
    let mut bytes = head.to_bytes();
    for _ in 0..17 {
        bytes.extend_from_slice(b"10000\r\n");
        bytes.resize(bytes.len() + 0x10000, b' ');
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

pub(super) fn sizes_and_types() -> Vec<Row> {
    let typed = |value: &str| {
        right()
            .without("Content-Type")
            .with("Content-Type", value)
            .to_bytes()
    };
    let chunked = right()
        .without("Content-Length")
        .with("Transfer-Encoding", "chunked");
    let large = declared("1048577");
    let asking = large.clone().with("Expect", "100-continue");
    [
        rows(
            "A8",
            413,
            "body_too_large",
            vec![
                ("a length beyond 1 MiB", large.to_bytes()),
                ("the same, asking first", asking.to_bytes()),
            ],
        ),
        rows(
            "A9",
            413,
            "body_too_large",
            vec![("chunks beyond 1 MiB", too_many_chunks())],
        ),
        rows(
            "A7",
            408,
            "request_timeout",
            vec![("no body comes", declared("1000").to_bytes())],
        ),
        rows(
            "A10",
            411,
            "length_required",
            vec![("no length", right().without("Content-Length").to_bytes())],
        ),
        rows(
            "A18",
            415,
            "unsupported_media_type",
            vec![
                (
                    "no content type",
                    right().without("Content-Type").to_bytes(),
                ),
                ("a form", typed("application/x-www-form-urlencoded")),
                ("text", typed("text/plain")),
            ],
        ),
        rows(
            "A19",
            415,
            "unsupported_encoding",
            vec![(
                "compressed",
                right().with("Content-Encoding", "gzip").to_bytes(),
            )],
        ),
        rows(
            "A10",
            400,
            "bad_request",
            vec![("no chunks", chunked.to_bytes())],
        ),
    ]
    .concat()
}
