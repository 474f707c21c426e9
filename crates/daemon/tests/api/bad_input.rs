//! Every input that is refused, with its answer, in one table. Whatever is sent, what runs is not touched: the
//! same containers, started at the same time.
//!
//! Rows are numbered as in the list of bad inputs that the endpoint was designed with (A1 to A55; there is no
//! A43 and no A45), in the order in which a request is judged. Most are bytes that are sent as they are; the
//! rest need something to happen first.

mod heads;
mod bodies;
mod deployments;
mod images;

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::daemon::{Daemon, Request, now, signed};
use crate::wire::Answer;

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

/// One input and what is expected of its answer.
#[derive(Clone)]
struct Row {
    id: &'static str,
    name: &'static str,
    sent: Sent,
    status: u16,
    /// The problem's code; empty where the request is fine.
    code: &'static str,
}

/// How an input is sent.
#[derive(Clone)]
enum Sent {
    /// These bytes, on a connection of their own.
    Bytes(Vec<u8>),
    /// Whatever it takes; the answer, or none if the connection was ended without one.
    Scene(fn(&mut Daemon) -> BoxFuture<'_, Option<Answer>>),
}

/// A body in which everything is right, with `changes` laid over it.
pub(super) fn body(changes: &Value) -> Value {
    let mut body = json!({
        "service": "app", "image_sha": SHA, "delivery_id": "bad-input", "timestamp": now(),
    });
    for (field, value) in changes.as_object().expect("an object") {
        body[field] = value.clone();
    }
    body
}

/// A signed request in which everything is right but what `changes` say.
pub(super) fn changed(changes: &Value) -> Vec<u8> {
    signed(&body(changes)).to_bytes()
}

/// A signed request in which everything is right but a service that does not exist: who gets so far
/// has passed everything before.
pub(super) fn right() -> Request {
    signed(&body(&json!({"service": "nosuch"})))
}

/// Inputs that all get the same answer.
fn rows(
    id: &'static str,
    status: u16,
    code: &'static str,
    inputs: Vec<(&'static str, Vec<u8>)>,
) -> Vec<Row> {
    let row = |(name, bytes)| Row {
        id,
        name,
        sent: Sent::Bytes(bytes),
        status,
        code,
    };
    inputs.into_iter().map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_input_has_its_own_answer_and_touches_nothing() {
    let mut daemon = deployments::daemon().await;
    let before = daemon.containers();
    assert_eq!(before.len(), 1 + deployments::STRICT.len());
    let table = [
        heads::heads(),
        heads::sizes_and_types(),
        bodies::signatures(),
        bodies::documents(),
        bodies::fields(),
        bodies::policies(),
        deployments::rows(),
    ]
    .concat();
    let numbers = (1..=55).filter(|number| ![43, 45].contains(number));
    let wanted: BTreeSet<_> = numbers.map(|number| format!("A{number}")).collect();
    let found: BTreeSet<_> = table.iter().map(|row| row.id.to_owned()).collect();
    assert_eq!(found, wanted, "a row is missing, or is not of the list");
    let mut unauthorized = BTreeSet::new();
    for row in table {
        let what = format!("{} {}", row.id, row.name);
        let answer = match row.sent {
            Sent::Bytes(bytes) => Some(daemon.ask(&bytes).await),
            Sent::Scene(play) => play(&mut daemon).await,
        };
        match &answer {
            Some(answer) => expect(&what, answer, row.status, row.code),
            // There is no answer only where there is no way to give one.
            None => assert_eq!(row.id, "A1", "{what}"),
        }
        if row.code == "unauthorized" {
            unauthorized.extend(answer.map(|answer| answer.body));
        }
        assert_eq!(daemon.containers(), before, "{what}");
    }
    assert_eq!(
        unauthorized.len(),
        1,
        "the answer tells what was wrong: {unauthorized:#?}"
    );
}

#[track_caller]
fn expect(what: &str, answer: &Answer, status: u16, code: &str) {
    let found = (answer.status, answer.code());
    assert_eq!(found, (status, code.to_owned()), "{what}: {}", answer.body);
    if code.is_empty() {
        return;
    }
    let kind = answer.header("content-type");
    assert_eq!(kind, Some("application/problem+json"), "{what}");
    let problem = answer.json();
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(!detail.is_empty(), "{what}");
    if status == 405 {
        assert_eq!(answer.header("allow"), Some("POST"), "{what}");
    }
    if status == 401 {
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge, Some("X-Hub-Signature-256"), "{what}");
    }
    if [409, 503].contains(&status) {
        assert!(answer.header("retry-after").is_some(), "{what}");
    }
    let deployment = &problem["deployment"];
    if deployment["outcome"] == "failed" {
        assert_eq!(deployment["nothing_changed"], json!(true), "{what}");
        assert_eq!(deployment["cause"]["code"], code, "{what}");
        assert!(
            detail.ends_with("; nothing was changed"),
            "{what}: {detail}"
        );
    }
}
