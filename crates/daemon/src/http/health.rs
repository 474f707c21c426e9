//! `/healthz` and `/readyz`: whether the daemon lives, and whether it can take work.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use cutover_api::health::{Alive, Ready};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};

use super::auth::{self, Caller};
use super::{Front, unreadable};
use crate::deployer::Readiness;

/// Seconds after which a daemon that is not ready is worth another question.
const RETRY_AFTER_SECONDS: u32 = 5;

/// Says that the daemon lives.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "alive",
    tag = "health",
    responses((status = 200, description = "It lives", body = Alive)),
    security(()),
)]
pub(super) async fn alive() -> Json<Alive> {
    Json(Alive { alive: true })
}

/// Says whether the daemon can take work: Docker answers, and recovery is done.
///
/// Reasons and names are for callers who may know them: on the unix socket, or with an operator token.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "ready",
    tag = "health",
    responses(
        (status = 200, description = "It can", body = Ready),
        (status = 503, description = "It cannot", body = Ready),
    ),
    security(("operator_token" = []), ()),
)]
pub(super) async fn ready(
    State(front): State<Front>,
    parts: Parts,
) -> Result<Response, super::ApiError> {
    let insider = matches!(
        auth::caller(&parts, front.access()),
        Ok(Caller::Operator { .. })
    );
    let readiness = front.deployer().readiness().await;
    let mut needing = Vec::new();
    for name in front.services().keys() {
        let flags = front.journal().flags(name).await.map_err(unreadable)?;
        if flags.needs_operator.is_some() {
            needing.push(name.as_str().to_owned());
        }
    }
    let why = match &readiness {
        Readiness::Ready => None,
        Readiness::NotReady { why } if insider => Some(why.clone()),
        Readiness::NotReady { .. } => Some("the daemon cannot take work now".to_owned()),
    };
    let ready = Ready {
        ready: readiness == Readiness::Ready,
        why,
        services_needing_operator: needing.len(),
        needs_operator: if insider { needing } else { Vec::new() },
    };
    if ready.ready {
        return Ok(Json(ready).into_response());
    }
    let retry_after = [(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS))];
    Ok((StatusCode::SERVICE_UNAVAILABLE, retry_after, Json(ready)).into_response())
}
