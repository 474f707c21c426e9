//! How a deployment that was accepted is answered: which status, which code, which words.
//!
//! | the deployment | status | `code` |
//! |---|---|---|
//! | succeeded, unchanged | 200 | |
//! | failed: nothing was changed | 4xx, 507 | that of its cause |
//! | cancelled | 409 | `cancelled` |
//! | rolled back | 500 | `rolled_back`; the reason is in `deployment.cause` |
//! | an operator is needed | 500 | `rollback_failed`, `no_rollback_target` |
//! | not ended: the daemon stopped in the middle of it | 500 | `not_ended` |
//!
//! Never 503 with a `Retry-After` once it has ended: a client that repeats the request as told would only get
//! the recorded answer, again and again. Never 502 or 504: those come from a proxy in front, and the two must not be confused.

use std::convert::Infallible;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use cutover_api::deploy::DeployAnswer;
use cutover_api::deployment::{Deployment as Wire, Outcome};
use cutover_core::cause::Code;
use cutover_core::deployment::Deployment;
use cutover_core::names::DeploymentId;
use http::header::LOCATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::Front;
use super::error::{AnswerCode, ApiError, RequestCode, location, problem, problem_response};
use crate::deployer::Accepted;

/// Says that an answer is the recorded one of an earlier request.
pub const REPLAYED_HEADER: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Says which preferences of the request were followed (RFC 7240).
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The request's preferences (RFC 7240).
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The one preference that is known.
const RESPOND_ASYNC: &str = "respond-async";

/// When a request wants its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// When the deployment has ended.
    Outcome,
    /// At once.
    Acceptance,
}

impl Wanted {
    /// What the request's `Prefer` headers ask for.
    fn of(headers: &HeaderMap) -> Self {
        let preferred = headers
            .get_all(PREFER)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|preference| preference.split(';').next().unwrap_or_default().trim())
            .any(|preference| preference.eq_ignore_ascii_case(RESPOND_ASYNC));
        if preferred {
            Self::Acceptance
        } else {
            Self::Outcome
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Wanted {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

/// The HTTP status of a deployment that ended with this cause before anything was changed.
///
/// 422: the request, its image or its project must change; 424: something that the deployment needs was not
/// there, and another one may succeed.
/// The codes of causes that only follow a switch are here for completeness: such a deployment is
/// answered by its outcome.
#[must_use]
pub fn status_of(code: Code) -> StatusCode {
    match code {
        Code::ImageNotFound
        | Code::PlatformMismatch
        | Code::DigestMismatch
        | Code::ImageTooLarge
        | Code::RevisionMismatch
        | Code::SignatureVerificationFailed
        | Code::PolicyViolation
        | Code::InvalidCompose
        | Code::UnsupportedStrategy
        | Code::StageFailed
        | Code::OutsideChange
        | Code::NoWayBack
        | Code::UnsetVariable
        | Code::ImageIncomplete
        | Code::JobFailed => StatusCode::UNPROCESSABLE_ENTITY,
        Code::RegistryDenied
        | Code::RegistryUnavailable
        | Code::DeadlineExceeded
        | Code::DockerUnavailable
        | Code::JournalUnavailable
        | Code::ShuttingDown
        | Code::Interrupted => StatusCode::FAILED_DEPENDENCY,
        Code::Cancelled | Code::Interfered => StatusCode::CONFLICT,
        Code::InsufficientStorage => StatusCode::INSUFFICIENT_STORAGE,
        Code::SwitchFailed
        | Code::ContainerExited
        | Code::Unhealthy
        | Code::RollbackFailed
        | Code::NoRollbackTarget => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The status and the code that a deployment with this outcome is answered with.
fn verdict(outcome: Outcome, cause: Option<Code>) -> (StatusCode, &'static str) {
    match (outcome, cause) {
        (Outcome::Succeeded | Outcome::Unchanged, _) => (StatusCode::OK, ""),
        (Outcome::RolledBack, _) => (StatusCode::INTERNAL_SERVER_ERROR, "rolled_back"),
        (Outcome::RollbackFailed, Some(Code::NoRollbackTarget)) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            Code::NoRollbackTarget.as_str(),
        ),
        (Outcome::RollbackFailed, _) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            Code::RollbackFailed.as_str(),
        ),
        (Outcome::Cancelled, _) => (status_of(Code::Cancelled), Code::Cancelled.as_str()),
        (Outcome::Failed, Some(code)) => (status_of(code), code.as_str()),
        (Outcome::Failed, None) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

/// Answers an accepted request, now or when its deployment has ended.
pub(super) async fn accepted(
    front: &Front,
    accepted: Accepted,
    wanted: Wanted,
) -> Result<Response, ApiError> {
    let (deployment, replayed) = match accepted {
        Accepted::Replayed(deployment) => (deployment, true),
        Accepted::Started(deployment) if wanted == Wanted::Acceptance => {
            return Ok(acceptance(front, &deployment).await);
        }
        Accepted::Started(deployment) => (ended(front, deployment).await?, false),
    };
    let mut response = outcome(front, &deployment).await?;
    if replayed {
        let headers = response.headers_mut();
        headers.insert(REPLAYED_HEADER, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Waits for the end. Should that fail, the caller still learns which deployment to look at.
async fn ended(front: &Front, deployment: Deployment) -> Result<Deployment, ApiError> {
    match front.deployer().ended(&deployment.id).await {
        Ok(ended) => Ok(ended),
        Err(error) => {
            tracing::error!(%error, deployment.id = %deployment.id, "how a deployment goes on cannot be read");
            let mut view = front.view_or_bare(&deployment).await;
            // It was so when it was accepted. Nobody can say that it still is.
            view.nothing_changed = false;
            Err(not_ended(
                front,
                view,
                "how this deployment goes on cannot be read from the journal; what runs may have been changed by now",
            ))
        }
    }
}

/// `202`: the deployment was recorded and will run.
async fn acceptance(front: &Front, deployment: &Deployment) -> Response {
    let view = front.view_or_bare(deployment).await;
    let mut response = with_location(StatusCode::ACCEPTED, &view, front.answer(view.clone()));
    let headers = response.headers_mut();
    headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static(RESPOND_ASYNC));
    response
}

/// That an accepted deployment has not ended, and that this daemon will not see its end.
fn not_ended(front: &Front, view: Wire, detail: &'static str) -> ApiError {
    let token = DeploymentId::new(&view.id).map(|id| front.watch_token(&id));
    ApiError::new(RequestCode::NotEnded, detail).with_deployment(view, token.ok())
}

/// The answer for a deployment that was left unfinished because the daemon stops.
fn unfinished(front: &Front, view: Wire) -> ApiError {
    if !view.nothing_changed {
        let detail = "the daemon stopped in the middle of this deployment, after the switch had begun; its next start finishes it or puts the previous release back";
        return not_ended(front, view, detail);
    }
    let detail = "the daemon is stopping and the deployment has not ended; nothing was changed so far, and the next start goes on with it";
    let token = DeploymentId::new(&view.id).map(|id| front.watch_token(&id));
    ApiError::new(RequestCode::ShuttingDown, detail)
        .with_hint("follow the deployment that Location names once the daemon is back")
        .with_deployment(view, token.ok())
}

/// The answer for a deployment that has ended.
async fn outcome(front: &Front, deployment: &Deployment) -> Result<Response, ApiError> {
    let view = front.view_or_bare(deployment).await;
    let Some(outcome) = view.outcome else {
        return Err(unfinished(front, view));
    };
    let cause = deployment.cause().map(|cause| cause.code);
    let (status, code) = verdict(outcome, cause);
    if status == StatusCode::OK {
        return Ok(with_location(status, &view, front.answer(view.clone())));
    }
    let (detail, hint) = words(outcome, &view);
    let retriable = view.cause.as_ref().is_some_and(|cause| cause.retriable);
    let mut problem = problem(status, code, detail, hint, retriable);
    problem.watch_token = Some(front.watch_token(&deployment.id));
    problem.deployment = Some(Box::new(view));
    let mut response = problem_response(&problem);
    response.extensions_mut().insert(AnswerCode(code));
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(location(deployment.id.as_str())) {
        headers.insert(LOCATION, location);
    }
    Ok(response)
}

/// What happened and what to do, for a deployment that did not succeed.
fn words(outcome: Outcome, view: &Wire) -> (String, String) {
    let (why, hint) = match &view.cause {
        Some(cause) => (cause.detail.as_str(), cause.hint.clone()),
        None => ("the reason was not recorded", String::new()),
    };
    let detail = match outcome {
        Outcome::Succeeded | Outcome::Unchanged => String::new(),
        Outcome::Failed => format!("{why}; nothing was changed"),
        Outcome::Cancelled => format!("cancelled: {why}; nothing was changed"),
        Outcome::RolledBack => format!("the new release failed: {why}; {}", put_back(view)),
        Outcome::RollbackFailed => {
            // This event says what runs now. What is tried behind the answer comes after it.
            let failed = view
                .events
                .iter()
                .rev()
                .find(|event| event.kind == "rollback_failed");
            let failed = failed.map(|event| event.message.clone());
            failed.unwrap_or_else(|| format!("{why}; an operator is needed"))
        }
    };
    (detail, hint)
}

/// What a rollback led to. A container that was not in order before is put back, not proven.
fn put_back(view: &Wire) -> String {
    match &view.previous {
        Some(previous) if !previous.verified_after_rollback() => format!(
            "the previous container is in the state it was in before: {}",
            previous.condition
        ),
        _ => "the previous release runs again and was verified".to_owned(),
    }
}

fn with_location(status: StatusCode, view: &Wire, answer: DeployAnswer) -> Response {
    let mut response = (status, Json(answer)).into_response();
    if let Ok(location) = HeaderValue::try_from(location(&view.id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

#[cfg(test)]
mod tests;
