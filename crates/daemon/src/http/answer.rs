//! How a deployment that was accepted is answered: which status, which code, which words.
//!
//! | the deployment | status | `code` |
//! |---|---|---|
//! | succeeded, unchanged | 200 | |
//! | failed: nothing was changed | 4xx, 503, 507 | that of its cause |
//! | cancelled | 409 | `cancelled` |
//! | rolled back | 500 | `rolled_back`; the reason is in `deployment.cause` |
//! | an operator is needed | 500 | `rollback_failed`, `no_rollback_target` |
//!
//! Never 502 or 504: those come from a proxy in front, and the two must not be confused.

use std::convert::Infallible;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use cutover_api::deploy::DeployAnswer;
use cutover_api::deployment::{Deployment as Wire, Outcome};
use cutover_core::cause::Code;
use cutover_core::deployment::Deployment;
use http::header::{LOCATION, RETRY_AFTER};
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

/// Seconds after which a deployment that failed for a passing reason is worth another request.
const RETRY_AFTER_FAILURE: u32 = 30;

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
/// 4xx: the request, its image or its project must change; 503: the same request may succeed later.
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
        | Code::OutsideChange => StatusCode::UNPROCESSABLE_ENTITY,
        Code::RegistryDenied | Code::RegistryUnavailable | Code::DeadlineExceeded => {
            StatusCode::FAILED_DEPENDENCY
        }
        Code::Cancelled | Code::Interfered => StatusCode::CONFLICT,
        Code::InsufficientStorage => StatusCode::INSUFFICIENT_STORAGE,
        Code::DockerUnavailable
        | Code::JournalUnavailable
        | Code::ShuttingDown
        | Code::Interrupted => StatusCode::SERVICE_UNAVAILABLE,
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
            return acceptance(front, &deployment).await;
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
        Err(refused) => {
            let view = front.view(&deployment).await?;
            let token = front.watch_token(&deployment.id);
            Err(front
                .refusal(refused)
                .await
                .with_deployment(view, Some(token)))
        }
    }
}

/// `202`: the deployment was recorded and will run.
async fn acceptance(front: &Front, deployment: &Deployment) -> Result<Response, ApiError> {
    let view = front.view(deployment).await?;
    let mut response = with_location(StatusCode::ACCEPTED, &view, front.answer(view.clone()));
    let headers = response.headers_mut();
    headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static(RESPOND_ASYNC));
    Ok(response)
}

/// The answer for a deployment that has ended.
async fn outcome(front: &Front, deployment: &Deployment) -> Result<Response, ApiError> {
    let view = front.view(deployment).await?;
    let Some(outcome) = view.outcome else {
        let detail =
            "the daemon is stopping and the deployment has not ended; the next start puts it right";
        return Err(ApiError::new(RequestCode::ShuttingDown, detail)
            .with_hint("follow the deployment that Location names once the daemon is back")
            .with_deployment(view, Some(front.watch_token(&deployment.id))));
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
    if matches!(
        status,
        StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE
    ) {
        headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_FAILURE));
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
            // The last event says what runs now; there is none after it.
            let last = view.events.last().map(|event| event.message.clone());
            last.unwrap_or_else(|| format!("{why}; an operator is needed"))
        }
    };
    (detail, hint)
}

/// What a rollback led to. A container that was not in order before is put back, not proven.
fn put_back(view: &Wire) -> String {
    match &view.previous {
        Some(previous) if !previous.verified_after_rollback() => format!(
            "the previous container is back as it was found, which is {}",
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
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_changed_nothing_is_never_a_500_or_a_proxys_status() {
        for &code in Code::ALL {
            let (status, word) = verdict(Outcome::Failed, Some(code));
            assert_eq!(word, code.as_str());
            assert!(
                ![StatusCode::BAD_GATEWAY, StatusCode::GATEWAY_TIMEOUT].contains(&status),
                "{code:?}"
            );
            assert!(!status.is_success(), "{code:?}");
            if code.retriable() {
                let passing = [
                    StatusCode::SERVICE_UNAVAILABLE,
                    StatusCode::FAILED_DEPENDENCY,
                ];
                assert!(passing.contains(&status), "{code:?}");
            }
        }
    }

    #[test]
    fn the_outcome_decides_before_the_cause() {
        for &code in Code::ALL {
            let cause = Some(code);
            assert_eq!(verdict(Outcome::Succeeded, cause).0, StatusCode::OK);
            assert_eq!(verdict(Outcome::Unchanged, cause).0, StatusCode::OK);
            let rolled_back = verdict(Outcome::RolledBack, cause);
            assert_eq!(
                rolled_back,
                (StatusCode::INTERNAL_SERVER_ERROR, "rolled_back")
            );
            let (status, word) = verdict(Outcome::RollbackFailed, cause);
            assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
            assert!(["rollback_failed", "no_rollback_target"].contains(&word));
            assert_eq!(
                verdict(Outcome::Cancelled, cause),
                (StatusCode::CONFLICT, "cancelled")
            );
        }
    }

    #[test]
    fn preferences_are_read_as_a_list() {
        let wanted = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(PREFER, HeaderValue::from_static(value));
            }
            Wanted::of(&headers)
        };
        for asks in [
            &["respond-async"][..],
            &["wait=10, Respond-Async"],
            &["wait=10", "respond-async; x=1"],
        ] {
            assert_eq!(wanted(asks), Wanted::Acceptance, "{asks:?}");
        }
        for does_not in [&[][..], &["respond-asynchronously"], &["wait=10"]] {
            assert_eq!(wanted(does_not), Wanted::Outcome, "{does_not:?}");
        }
    }
}
