//! What is wrong with a request's signature, its JSON or its fields.

use cutover_api::signature::sign;
use serde_json::{Value, json};

use super::{Row, SHA, body, changed, right, rows};
use crate::daemon::{OTHER_SECRET, Request, SECRET, now, signed, signed_bytes};

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
    let a12 = vec![
        ("sha1 in its place", text(format!("sha1={}", &digits[..40]))),
        ("no prefix", with(digits.as_bytes())),
        ("another prefix", text(format!("SHA256={digits}"))),
        ("no digits", with(b"sha256=")),
        ("nothing", with(b"")),
    ];
    let a13 = vec![
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
    ];
    let a14 = vec![("two values", text(format!("{signature},{signature}")))];
    [
        rows("A12", 401, "unauthorized", a12),
        rows("A13", 401, "unauthorized", a13),
        rows("A14", 401, "unauthorized", a14),
        rows(
            "A16",
            404,
            "unknown_service",
            vec![("upper-case digits are fine", upper)],
        ),
    ]
    .concat()
}

pub(super) fn signatures() -> Vec<Row> {
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
    let a11 = vec![
        ("no signature", unsigned().to_bytes()),
        (
            "an operator's token instead",
            unsigned().by_operator().to_bytes(),
        ),
    ];
    let sha1 = unsigned().with("X-Hub-Signature", sha1).to_bytes();
    let a15 = vec![
        ("another secret", guessed.to_bytes()),
        ("an altered body", with_body(altered)),
        ("the same JSON, written otherwise", with_body(spaced)),
        ("a body that is not JSON either", with_body(b"{".to_vec())),
    ];
    [
        rows("A11", 401, "unauthorized", a11),
        rows("A12", 401, "unauthorized", vec![("sha1 only", sha1)]),
        rows(
            "A14",
            401,
            "unauthorized",
            vec![("two headers", twice.to_bytes())],
        ),
        rows("A15", 401, "unauthorized", a15),
        signature_values(),
    ]
    .concat()
}

pub(super) fn documents() -> Vec<Row> {
    let raw = |body: &[u8]| signed_bytes(SECRET, body.to_vec()).to_bytes();
    let text = body(&json!({})).to_string();
    let twice = text.replacen('{', &format!("{{\"image_sha\":\"{SHA}\","), 1);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let a20 = vec![
        ("no UTF-8", raw(b"{\"service\":\"\xff\"}")),
        (
            "a byte order mark",
            raw(format!("\u{feff}{text}").as_bytes()),
        ),
        ("a NUL byte", raw(format!("{text}\0").as_bytes())),
    ];
    let a21 = vec![
        ("a syntax error", raw(&text.as_bytes()[..text.len() - 1])),
        ("garbage behind", raw(format!("{text}x").as_bytes())),
        ("two documents", raw(format!("{text}{text}").as_bytes())),
    ];
    let a22 = vec![
        ("an array", raw(format!("[{text}]").as_bytes())),
        ("a string", raw(b"\"text\"")),
        ("a number", raw(b"17")),
        ("null", raw(b"null")),
    ];
    let one = |name, bytes| vec![(name, bytes)];
    [
        rows("A17", 400, "malformed_json", one("an empty body", raw(b""))),
        rows("A20", 400, "malformed_json", a20),
        rows("A21", 400, "malformed_json", a21),
        rows("A22", 422, "invalid_request", a22),
        rows(
            "A23",
            400,
            "malformed_json",
            one("10 000 levels", raw(deep.as_bytes())),
        ),
        rows(
            "A24",
            400,
            "duplicate_key",
            one("a field twice", raw(twice.as_bytes())),
        ),
    ]
    .concat()
}

/// Everything right but this field, for each of these values.
fn values(
    id: &'static str,
    status: u16,
    code: &'static str,
    field: &'static str,
    values: &[Value],
) -> Vec<Row> {
    let input = |value: &Value| (field, changed(&json!({ field: value })));
    rows(id, status, code, values.iter().map(input).collect())
}

pub(super) fn fields() -> Vec<Row> {
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
        &SHA.replace('f', "g"),
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
        rows("A26", 422, "missing_field", required.map(without).to_vec()),
        values("A27", 422, "invalid_type", "service", &[json!(1)]),
        values("A27", 422, "invalid_type", "image_sha", &[json!(null)]),
        values("A27", 422, "invalid_type", "delivery_id", &[json!({})]),
        values("A27", 422, "invalid_type", "timestamp", &[json!(null)]),
        values(
            "A30",
            422,
            "invalid_image_digest",
            "image_digest",
            &[json!("sha256:00")],
        ),
        values("A42", 422, "invalid_delivery_id", "delivery_id", &ids),
        values("A28", 422, "invalid_image_sha", "image_sha", &shas),
        values("A29", 422, "invalid_image_sha", "image_sha", &tags),
        values("A33", 422, "invalid_service", "service", &names),
        values("A38", 422, "invalid_timestamp", "timestamp", &times),
    ]
    .concat()
}

pub(super) fn policies() -> Vec<Row> {
    let others = signed_bytes(OTHER_SECRET, body(&json!({})).to_string().into_bytes());
    [
        values("A32", 404, "unknown_service", "service", &[json!("nosuch")]),
        values("A34", 403, "forbidden", "service", &[json!("blog")]),
        rows(
            "A34",
            403,
            "forbidden",
            vec![("another service's key", others.to_bytes())],
        ),
        values(
            "A36",
            401,
            "stale_request",
            "timestamp",
            &[json!(now() - 301)],
        ),
        // The clock goes on while the request is on its way.
        values(
            "A37",
            401,
            "stale_request",
            "timestamp",
            &[json!(now() + 330)],
        ),
    ]
    .concat()
}
