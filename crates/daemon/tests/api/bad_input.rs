//! Every input that is refused, with its answer. Whatever is sent, the service that runs is not
//! touched: the same container, started at the same time.
//!
//! One table, in the order in which a request is judged.

use std::time::Duration;

use cutover_api::signature::sign;
use serde_json::{Value, json};

use crate::daemon::{Daemon, OTHER_SECRET, Request, SECRET, now, signed, signed_bytes};

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

/// One input: what it is, its bytes, and the expected status and code.
type Row = (&'static str, Vec<u8>, u16, &'static str);

/// A body in which everything is right, with `changes` laid over it.
fn body(changes: &Value) -> Value {
    let mut body = json!({
        "service": "app", "image_sha": SHA, "delivery_id": "bad-input", "timestamp": now(),
    });
    for (field, value) in changes.as_object().expect("an object") {
        body[field] = value.clone();
    }
    body
}

/// A signed request in which everything is right but what `changes` say.
fn changed(changes: &Value) -> Vec<u8> {
    signed(&body(changes)).to_bytes()
}

/// A signed request in which everything is right but a service that does not exist: who gets so far
/// has passed everything before.
fn right() -> Request {
    signed(&body(&json!({"service": "nosuch"})))
}

/// Inputs that all get the same answer.
fn rows(status: u16, code: &'static str, inputs: Vec<(&'static str, Vec<u8>)>) -> Vec<Row> {
    let row = |(name, bytes)| (name, bytes, status, code);
    inputs.into_iter().map(row).collect()
}

/// Everything right but the request line.
fn lines(status: u16, code: &'static str, lines: &[&'static str]) -> Vec<Row> {
    let input = |line: &&'static str| {
        let mut request = right();
        (*line).clone_into(&mut request.line);
        (*line, request.to_bytes())
    };
    rows(status, code, lines.iter().map(input).collect())
}

fn heads() -> Vec<Row> {
    let many = (0..65).fold(right(), |request, i| request.with(&format!("x-{i}"), "1"));
    let long = right().with("x", "a".repeat(17 * 1024));
    let len = right().body.len().to_string();
    let two_lengths = right().with("Content-Length", len);
    let both = right().with("Transfer-Encoding", "chunked");
    let http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    [
        lines(
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
                "GET /v1/../metrics",
                "GET /metrics",
            ],
        ),
        rows(
            431,
            "headers_too_large",
            vec![("65 headers", many.to_bytes()), ("17 KiB", long.to_bytes())],
        ),
        rows(
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

fn sizes_and_types() -> Vec<Row> {
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
            413,
            "body_too_large",
            vec![
                ("a length beyond 1 MiB", large.to_bytes()),
                ("the same, asking first", asking.to_bytes()),
                ("chunks beyond 1 MiB", too_many_chunks()),
            ],
        ),
        rows(
            408,
            "request_timeout",
            vec![("no body comes", declared("1000").to_bytes())],
        ),
        rows(
            411,
            "length_required",
            vec![("no length", right().without("Content-Length").to_bytes())],
        ),
        rows(
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
            415,
            "unsupported_encoding",
            vec![(
                "compressed",
                right().with("Content-Encoding", "gzip").to_bytes(),
            )],
        ),
        rows(400, "bad_request", vec![("no chunks", chunked.to_bytes())]),
    ]
    .concat()
}

/// Everything right but the value of the signature's header.
fn signature_values() -> Vec<Row> {
    let fine = right();
    let signature = sign(SECRET, &fine.body);
    let digits = &signature[7..];
    let with = |value: &[u8]| {
        let request = fine.clone().without("X-Hub-Signature-256");
        request.with("X-Hub-Signature-256", value).to_bytes()
    };
    let text = |value: String| with(value.as_bytes());
    let upper = text(format!("sha256={}", digits.to_uppercase()));
    let wrong = vec![
        ("sha1 in its place", text(format!("sha1={}", &digits[..40]))),
        ("no prefix", with(digits.as_bytes())),
        ("another prefix", text(format!("SHA256={digits}"))),
        ("no digits", with(b"sha256=")),
        ("nothing", with(b"")),
        ("63 digits", with(&signature.as_bytes()[..70])),
        ("65 digits", text(format!("{signature}0"))),
        (
            "no hexadecimal digit",
            text(format!("{}g", &signature[..70])),
        ),
        (
            "digits of another script",
            text(format!("sha256={}", "١".repeat(32))),
        ),
        ("a space at the end", text(format!("{signature} "))),
        ("a NUL at the end", text(format!("{signature}\0"))),
        ("two values", text(format!("{signature},{signature}"))),
    ];
    let mut rows = rows(401, "unauthorized", wrong);
    rows.push(("upper-case digits are fine", upper, 404, "unknown_service"));
    rows
}

fn signatures() -> Vec<Row> {
    let fine = right();
    let signature = sign(SECRET, &fine.body);
    let unsigned = || fine.clone().without("X-Hub-Signature-256");
    let sha1 = format!("sha1={}", &signature[7..47]);
    let twice = fine.clone().with("X-Hub-Signature-256", &signature);
    let with_body = |body: Vec<u8>| {
        let request = Request::new("POST /deploy");
        request
            .with("X-Hub-Signature-256", &signature)
            .body(body)
            .to_bytes()
    };
    let mut altered = fine.body.clone();
    altered[2] ^= 1;
    let spaced = [&fine.body[..fine.body.len() - 1], b" }"].concat();
    let guessed = signed_bytes(b"guessed", fine.body.clone());
    let wrong = vec![
        ("no signature", unsigned().to_bytes()),
        (
            "sha1 only",
            unsigned().with("X-Hub-Signature", sha1).to_bytes(),
        ),
        ("two headers", twice.to_bytes()),
        ("another secret", guessed.to_bytes()),
        ("an altered body", with_body(altered)),
        ("the same JSON, written otherwise", with_body(spaced)),
        (
            "an operator's token instead",
            unsigned().by_operator().to_bytes(),
        ),
        ("a body that is not JSON either", with_body(b"{".to_vec())),
    ];
    [rows(401, "unauthorized", wrong), signature_values()].concat()
}

fn documents() -> Vec<Row> {
    let raw = |body: &[u8]| signed_bytes(SECRET, body.to_vec()).to_bytes();
    let text = body(&json!({})).to_string();
    let twice = text.replacen('{', &format!("{{\"image_sha\":\"{SHA}\","), 1);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let malformed = vec![
        ("an empty body", raw(b"")),
        ("no UTF-8", raw(b"{\"service\":\"\xff\"}")),
        (
            "a byte order mark",
            raw(format!("\u{feff}{text}").as_bytes()),
        ),
        ("a NUL byte", raw(format!("{text}\0").as_bytes())),
        ("a syntax error", raw(&text.as_bytes()[..text.len() - 1])),
        ("garbage behind", raw(format!("{text}x").as_bytes())),
        ("two documents", raw(format!("{text}{text}").as_bytes())),
        ("10 000 levels", raw(deep.as_bytes())),
    ];
    let no_object = vec![
        ("an array", raw(format!("[{text}]").as_bytes())),
        ("a string", raw(b"\"text\"")),
        ("a number", raw(b"17")),
        ("null", raw(b"null")),
    ];
    [
        rows(400, "malformed_json", malformed),
        rows(422, "invalid_request", no_object),
        rows(
            400,
            "duplicate_key",
            vec![("a field twice", raw(twice.as_bytes()))],
        ),
    ]
    .concat()
}

/// Everything right but this field, for each of these values.
fn values(status: u16, code: &'static str, field: &'static str, values: &[Value]) -> Vec<Row> {
    let input = |value: &Value| (field, changed(&json!({ field: value })));
    rows(status, code, values.iter().map(input).collect())
}

fn fields() -> Vec<Row> {
    let without = |field: &'static str| {
        let mut body = body(&json!({}));
        body.as_object_mut().expect("an object").remove(field);
        (field, signed(&body).to_bytes())
    };
    let required = ["service", "image_sha", "delivery_id", "timestamp"];
    let shas = [
        &SHA[1..],
        &format!("{SHA}0"),
        &SHA.to_uppercase(),
        &format!("{SHA}\n"),
    ]
    .map(Value::from);
    let tags = [
        "",
        "latest",
        "../../x",
        "--all-tags",
        "a;reboot",
        "$(id)",
        "`id`",
    ]
    .map(Value::from);
    let names = [
        "a/b",
        "..",
        "a..b",
        "-app",
        "аpp",
        "app\0",
        &"x".repeat(300),
    ]
    .map(Value::from);
    let times = [
        json!(-1),
        json!(1.5),
        json!("1700000000"),
        json!(10_i64.pow(18)),
    ];
    let ids = [json!("x".repeat(129)), json!(""), json!("a/b")];
    [
        rows(422, "missing_field", required.map(without).to_vec()),
        values(422, "invalid_type", "service", &[json!(1)]),
        values(422, "invalid_type", "image_sha", &[json!(null)]),
        values(422, "invalid_type", "delivery_id", &[json!({})]),
        values(422, "invalid_type", "timestamp", &[json!(null)]),
        values(
            422,
            "invalid_image_digest",
            "image_digest",
            &[json!("sha256:00")],
        ),
        values(422, "invalid_delivery_id", "delivery_id", &ids),
        values(422, "invalid_image_sha", "image_sha", &shas),
        values(422, "invalid_image_sha", "image_sha", &tags),
        values(422, "invalid_service", "service", &names),
        values(422, "invalid_timestamp", "timestamp", &times),
    ]
    .concat()
}

fn policies() -> Vec<Row> {
    let others = signed_bytes(OTHER_SECRET, body(&json!({})).to_string().into_bytes());
    [
        values(404, "unknown_service", "service", &[json!("nosuch")]),
        values(403, "forbidden", "service", &[json!("blog")]),
        rows(
            403,
            "forbidden",
            vec![("another service's key", others.to_bytes())],
        ),
        values(
            401,
            "stale_request",
            "timestamp",
            &[json!(now() - 301), json!(now() + 400)],
        ),
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_input_has_its_own_answer_and_touches_nothing() {
    let (daemon, _) = Daemon::deployed().await;
    let before = daemon.containers();
    assert_eq!(before.len(), 1);
    let rows = [
        heads(),
        sizes_and_types(),
        signatures(),
        documents(),
        fields(),
        policies(),
    ]
    .concat();
    let mut unauthorized = Vec::new();
    for (name, bytes, status, code) in rows {
        let answer = daemon.ask(&bytes).await;
        let found = (answer.status, answer.code());
        assert_eq!(found, (status, code.to_owned()), "{name}: {}", answer.body);
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{name}"
        );
        assert!(
            !answer.json()["detail"]
                .as_str()
                .unwrap_or_default()
                .is_empty(),
            "{name}"
        );
        if status == 405 {
            assert_eq!(answer.header("allow"), Some("POST"), "{name}");
        }
        if code == "unauthorized" {
            unauthorized.push(answer.body);
        }
        assert_eq!(daemon.containers(), before, "{name}");
    }
    unauthorized.dedup();
    assert_eq!(
        unauthorized.len(),
        1,
        "the answer tells what was wrong: {unauthorized:#?}"
    );
    let known = daemon.journal.page(None, None, 10).await.expect("a page");
    assert_eq!(
        known.len(),
        1,
        "nothing but the first deployment was recorded"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_trickles_in_is_given_up() {
    let (daemon, _) = Daemon::deployed().await;
    let bytes = right().to_bytes();
    let mut raw = daemon.connect().await;
    let (all_but_last, _) = bytes.split_at(bytes.len() - 1);
    let (first, rest) = all_but_last.split_at(bytes.len() - 20);
    raw.send(first).await;
    let mut trickle = tokio::time::interval(Duration::from_millis(250));
    let mut rest = rest.iter();
    let answer = loop {
        tokio::select! {
            answer = raw.answer() => break answer,
            _ = trickle.tick() => {}
        }
        match rest.next() {
            Some(byte) => raw.send(&[*byte]).await,
            None => break raw.answer().await,
        }
    };
    let answer = answer.expect("an answer");
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (408, "request_timeout")
    );
    assert!(raw.ended().await);
}
