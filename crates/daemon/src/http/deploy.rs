//! `POST /deploy`: the signed request of a CI run.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{FromRequest, Request, State};
use axum::response::Response;
use cutover_api::deploy::{DeployAnswer, DeployRequest};
use cutover_core::admission::Asker;

use super::Front;
use super::answer::{self, Wanted};
use super::auth;
use super::body::{self, Presence};
use super::document::Refusals;
use super::error::ApiError;
use super::json::Fields;
use super::listen::Peer;
use super::request::{self, Asking};
use crate::deployer::NewDeployment;
use crate::settings::Freshness;

/// Deploys a release.
///
/// Over the network the raw body is signed with HMAC-SHA256 and the signature sent in
/// `X-Hub-Signature-256`; on the unix socket no signature is needed. The answer comes when the
/// deployment has ended, or at once with `Prefer: respond-async`.
#[utoipa::path(
    post,
    path = "/deploy",
    operation_id = "deploy",
    tag = "deploy",
    request_body = DeployRequest,
    params(
        ("X-Hub-Signature-256" = Option<String>, Header, description = "`sha256=` and the 64 hexadecimal digits of the body's HMAC-SHA256; required over the network"),
        ("Prefer" = Option<String>, Header, description = "`respond-async` to be answered as soon as the deployment is recorded"),
    ),
    responses(
        (status = 200, description = "Succeeded, or unchanged because this very image already runs and is healthy", body = DeployAnswer),
        (status = 202, description = "Recorded; follow the address in Location", body = DeployAnswer),
        Refusals,
    ),
    security(("signature" = []), ()),
)]
pub(super) async fn deploy(
    State(front): State<Front>,
    wanted: Wanted,
    Authentic(new): Authentic,
) -> Result<Response, ApiError> {
    match front.deployer().deploy(new).await {
        Ok(accepted) => answer::accepted(&front, accepted, wanted).await,
        Err(refused) => Err(front.refusal(refused).await),
    }
}

/// A deployment whose bytes were authenticated before they were parsed.
#[derive(Debug)]
pub(super) struct Authentic(NewDeployment);

impl FromRequest<Front> for Authentic {
    type Rejection = ApiError;

    async fn from_request(request: Request, front: &Front) -> Result<Self, ApiError> {
        let (head, body) = request.into_parts();
        let body = body::read_json(&head, body, front.body_memory(), Presence::Required).await?;
        let asking = match auth::peer(&head)? {
            Peer::Network(_) => {
                let key = front.access().signer(&head.headers, &body.bytes)?;
                tracing::info!(key = key.name, "request is signed");
                Asking {
                    actor: key.name.clone(),
                    asker: Asker::Client,
                    freshness: key.freshness,
                    allowed: Some(&key.services),
                }
            }
            Peer::Local(uid) => Asking {
                actor: auth::local_actor(&head.headers, uid)?,
                asker: Asker::Operator,
                freshness: Freshness::NotRequired,
                allowed: None,
            },
        };
        auth::prove(&head);
        let fields = Fields::read(&body.bytes)?;
        let new = request::new_deployment(&fields, asking, front.services(), unix_seconds())?;
        Ok(Self(new))
    }
}

/// Now. A clock before 1970 makes every request stale, which is right: it is wrong.
fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
