//! What the daemon would answer: deployments, events and problems in their wire form.

use cutover_api::deploy::DeployAnswer;
use cutover_api::deployment::{Cause, Deployment, EventLine, Outcome, Previous, Status};
use cutover_api::event::{OutputLine, PullProgress};
use cutover_api::problem::Problem;

/// The id of the deployment in most tests.
pub(crate) const ID: &str = "0197a3b4-0000-7000-8000-00000000abcd";
/// Its tag.
pub(crate) const SHA: &str = "3f2a9c1b0d4e5f60718293a4b5c6d7e8f9012345";
/// The tag that ran before.
pub(crate) const OLD_SHA: &str = "1111111111111111111111111111111111111111";
/// Reads it.
pub(crate) const WATCH_TOKEN: &str = "watch-token-of-this-deployment";
/// Where its events are.
pub(crate) const EVENTS: &str = "GET /v1/deployments/0197a3b4-0000-7000-8000-00000000abcd/events";
/// Where its view is.
pub(crate) const VIEW: &str = "GET /v1/deployments/0197a3b4-0000-7000-8000-00000000abcd";

/// A deployment in this status.
pub(crate) fn deployment(status: Status) -> Deployment {
    let outcome = status.outcome();
    let ended = outcome.is_some();
    let touched = matches!(
        status,
        Status::Switching
            | Status::Verifying
            | Status::Committed
            | Status::RollingBack
            | Status::Succeeded
            | Status::RolledBack
            | Status::RollbackFailed
    );
    Deployment {
        id: ID.to_owned(),
        service: "app".to_owned(),
        image_sha: SHA.to_owned(),
        image: Some(format!("ghcr.io/acme/shop:{SHA}")),
        digest: Some(format!("sha256:{}", "d".repeat(64))),
        image_id: Some(format!("sha256:{}", "e".repeat(64))),
        status,
        outcome,
        nothing_changed: !touched,
        previous: Some(Previous {
            container: "c".repeat(64),
            image: format!("ghcr.io/acme/shop:{OLD_SHA}"),
            image_id: format!("sha256:{}", "f".repeat(64)),
            condition: "healthy".to_owned(),
        }),
        previous_replicas: Vec::new(),
        services: Vec::new(),
        jobs: Vec::new(),
        container: touched.then(|| "b".repeat(64)),
        replicas: Vec::new(),
        actor: "local".to_owned(),
        delivery_id: Some("delivery-1".to_owned()),
        rollback_to: None,
        started_at: "2026-01-02T03:04:05Z".parse().expect("a moment"),
        finished_at: ended.then(|| "2026-01-02T03:04:17.345Z".parse().expect("a moment")),
        duration_ms: ended.then_some(12_345),
        outage_ms: (ended && touched).then_some(240),
        switch_ms: (ended && touched).then_some(180),
        held: 0,
        held_max_ms: None,
        proof: match outcome {
            Some(Outcome::Succeeded | Outcome::Unchanged | Outcome::RolledBack) => {
                Some("healthy for 5 s".to_owned())
            }
            _ => None,
        },
        cause: cause(outcome),
        events: Vec::new(),
        log: Vec::new(),
    }
}

fn cause(outcome: Option<Outcome>) -> Option<Cause> {
    let (code, detail, hint, step) = match outcome? {
        Outcome::Succeeded | Outcome::Unchanged => return None,
        Outcome::Failed => (
            "image_not_found",
            "the image is not in the registry",
            "push it first",
            "pull",
        ),
        Outcome::RolledBack => (
            "unhealthy",
            "the new container was not healthy within 60 s",
            "see its output",
            "verify",
        ),
        Outcome::RollbackFailed => (
            "rollback_failed",
            "the previous container could not be started",
            "start it by hand",
            "roll back",
        ),
        Outcome::Cancelled => (
            "superseded",
            "a newer request took its place",
            "nothing is to be done",
            "queue",
        ),
    };
    Some(Cause {
        code: code.to_owned(),
        detail: detail.to_owned(),
        hint: hint.to_owned(),
        step: step.to_owned(),
        retriable: false,
    })
}

/// A first deployment that failed, so that there is nothing to go back to.
pub(crate) fn failed_first() -> Deployment {
    let mut first = deployment(Status::RollbackFailed);
    first.previous = None;
    first.outage_ms = None;
    let cause = first.cause.as_mut().expect("a cause");
    cause.code = "no_rollback_target".to_owned();
    cause.detail = "the new container exited, and there is nothing to go back to".to_owned();
    cause.hint = "fix the release and deploy again".to_owned();
    first
}

/// The answer of 200 and 202.
pub(crate) fn answer(deployment: &Deployment) -> String {
    let answer = DeployAnswer {
        deployment: deployment.clone(),
        watch_token: WATCH_TOKEN.to_owned(),
    };
    json(&answer)
}

/// A refusal.
pub(crate) fn refusal(status: u16, code: &str) -> Problem {
    Problem {
        kind: "about:blank".to_owned(),
        title: "Refused".to_owned(),
        status,
        code: code.to_owned(),
        detail: format!("refused because of {code}"),
        hint: format!("do something about {code}"),
        retriable: false,
        deployment: None,
        watch_token: None,
    }
}

/// A journal event as streamed.
pub(crate) fn journal(seq: u64, status: Status, message: &str) -> String {
    let line = event(seq, status, message);
    format!("id: {seq}\nevent: journal\ndata: {}\n\n", json(&line))
}

/// A journal event.
pub(crate) fn event(seq: u64, status: Status, message: &str) -> EventLine {
    EventLine {
        seq,
        at: "2026-01-02T03:04:06Z".parse().expect("a moment"),
        kind: "something".to_owned(),
        status,
        message: message.to_owned(),
    }
}

/// A line of container output as streamed.
pub(crate) fn output(line: &str) -> String {
    let line = OutputLine {
        stream: "stdout".to_owned(),
        line: line.to_owned(),
    };
    format!("event: output\ndata: {}\n\n", json(&line))
}

/// Pull progress as streamed.
pub(crate) fn progress(current_bytes: u64) -> String {
    let progress = PullProgress {
        current_bytes,
        total_bytes: 400_000_000,
        layers_done: 3,
        layers: 7,
    };
    format!("event: progress\ndata: {}\n\n", json(&progress))
}

/// The end as streamed.
pub(crate) fn outcome(deployment: &Deployment) -> String {
    format!("event: outcome\ndata: {}\n\n", json(deployment))
}

/// The wire form.
pub(crate) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("JSON")
}
