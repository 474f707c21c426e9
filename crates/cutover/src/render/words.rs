//! The words for statuses, outcomes and steps, the same in every command.

use anstyle::Style;
use cutover_api::deployment::{Deployment, Outcome, Status};

use crate::render::style;
use crate::render::time::span;

/// An outcome as a person says it.
pub(crate) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Unchanged => "unchanged",
        Outcome::Failed => "failed",
        Outcome::RolledBack => "rolled back",
        Outcome::RollbackFailed => "rollback failed",
        Outcome::Cancelled => "cancelled",
    }
}

/// How many connections waited while the service was switched, and for how long; none where none did.
pub(crate) fn held(deployment: &Deployment) -> Option<String> {
    let longest = span(deployment.held_max_ms?);
    Some(match deployment.held {
        1 => format!("1 connection waited, for {longest}"),
        several => format!("{several} connections waited, none longer than {longest}"),
    })
}

/// The step that a status belongs to; for an end, its outcome.
pub(crate) fn step(status: Status) -> &'static str {
    match status {
        Status::Queued => "queue",
        Status::Pulling => "pull",
        Status::Staging => "stage",
        Status::Switching => "switch",
        Status::Verifying => "verify",
        Status::Committed => "commit",
        Status::RollingBack => "roll back",
        Status::Succeeded => "succeeded",
        Status::Unchanged => "unchanged",
        Status::Failed => "failed",
        Status::RolledBack => "rolled back",
        Status::RollbackFailed => "rollback failed",
        Status::Cancelled => "cancelled",
    }
}

/// What is going on in a status, or how it ended.
pub(crate) fn status(status: Status) -> &'static str {
    match status {
        Status::Queued => "queued",
        Status::Pulling => "pulling",
        Status::Staging => "staging",
        Status::Switching => "switching",
        Status::Verifying => "verifying",
        Status::Committed => "committed",
        Status::RollingBack => "rolling back",
        ended => step(ended),
    }
}

/// How a status looks.
pub(crate) fn style(status: Status) -> Style {
    match status.outcome() {
        None => style::ACTIVE,
        Some(Outcome::Succeeded) => style::GOOD,
        Some(Outcome::Unchanged | Outcome::Cancelled) => style::FAINT,
        Some(Outcome::Failed | Outcome::RolledBack) => style::WARNING,
        Some(Outcome::RollbackFailed) => style::BAD,
    }
}

/// How a container's condition looks.
pub(crate) fn condition_style(condition: &str) -> Style {
    match condition {
        "healthy" => style::GOOD,
        "running" => style::PLAIN,
        _ => style::BAD,
    }
}

/// The image that a deployment is about: its reference, or what was asked for.
pub(crate) fn image(deployment: &Deployment) -> &str {
    deployment.image.as_deref().unwrap_or(&deployment.image_sha)
}
