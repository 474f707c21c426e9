//! `POST /deploy`: the signed request of a CI run.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{FromRequest, Request, State};
use axum::response::Response;
use cutover_api::deploy::{DeployAnswer, DeployRequest};
use cutover_core::admission::Asker;
use cutover_core::names::ServiceName;
use http::request::Parts;

use super::Front;
use super::answer::{self, Wanted};
use super::auth::{self, Access};
use super::body::{self, Presence};
use super::document::Refusals;
use super::error::ApiError;
use super::json::Fields;
use super::listen::Peer;
use super::request::{self, Asking};
use crate::deployer::NewDeployment;
use crate::settings::{Freshness, Service};

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
        (status = 200, description = "Succeeded, or unchanged because this very image already runs and is in order", body = DeployAnswer),
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
        let new = authenticated(&head, &body.bytes, front.access(), front.services())?;
        Ok(Self(new))
    }
}

/// The deployment that these bytes ask for, if whoever sent them may ask for it now. Only that proves the
/// connection: a signature alone may be a copy of an earlier one.
fn authenticated(
    head: &Parts,
    bytes: &[u8],
    access: &Access,
    services: &BTreeMap<ServiceName, Service>,
) -> Result<NewDeployment, ApiError> {
    let asking = match auth::peer(head)? {
        Peer::Network(_) => {
            let key = access.signer(&head.headers, bytes)?;
            tracing::info!(key = key.name, "request is signed");
            Asking {
                actor: key.name.clone(),
                asker: Asker::Client,
                freshness: key.freshness,
                allowed: Some(&key.services),
            }
        }
        Peer::Local(uid) => Asking {
            actor: auth::local_actor(&head.headers, head.version, uid)?,
            asker: Asker::Operator,
            freshness: Freshness::NotRequired,
            allowed: None,
        },
    };
    let fields = Fields::read(bytes)?;
    let new = request::new_deployment(&fields, asking, services, unix_seconds())?;
    auth::prove(head);
    Ok(new)
}

/// Now. A clock before 1970 makes every request stale, which is right: it is wrong.
fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::WatchTokens;
    use crate::http::seats::Seats;
    use crate::metrics::Metrics;
    use crate::settings::{HmacKey, Secret};
    use cutover_api::deploy::SIGNATURE_HEADER;
    use cutover_api::signature::sign;

    const SECRET: [u8; 32] = [1; 32];

    /// Whether a signed request with this body keeps the seat of its connection.
    fn keeps_its_seat(body: &str) -> bool {
        let dir = tempfile::tempdir().expect("a directory");
        let name = ServiceName::new("shop").expect("a name");
        let access = Access {
            keys: vec![HmacKey {
                name: "ci".to_owned(),
                secret: Secret::new(SECRET.to_vec()),
                services: [name.clone()].into(),
                freshness: Freshness::Required,
            }],
            operator_tokens: Vec::new(),
            watch: WatchTokens::load_or_create(dir.path()).expect("a key"),
        };
        let services = BTreeMap::from([(name.clone(), Service::new(name, Vec::new()))]);
        let seats = Seats::new(1, Metrics::new());
        let seat = seats.take(None).expect("a free seat");
        let request = http::Request::builder()
            .header(SIGNATURE_HEADER, sign(&SECRET, body.as_bytes()))
            .extension(Peer::Network(([192, 0, 2, 1], 1).into()))
            .extension(seat.prover());
        let (head, ()) = request.body(()).expect("a request").into_parts();
        let read = authenticated(&head, body.as_bytes(), &access, &services);
        let kept = seats.take(None).is_none();
        assert_eq!(read.is_ok(), kept, "{body}: {read:?}");
        kept
    }

    #[test]
    fn a_signature_keeps_the_seat_only_with_a_fresh_deployment() {
        let now = unix_seconds();
        let of = |timestamp: i64, sha: &str| {
            format!(
                r#"{{"service":"shop","image_sha":"{sha}","timestamp":{timestamp},"delivery_id":"1"}}"#
            )
        };
        let sha = "a".repeat(40);
        assert!(keeps_its_seat(&of(now, &sha)));
        assert!(!keeps_its_seat(&of(now - 3600, &sha)), "a copy");
        assert!(!keeps_its_seat(&of(now, "latest")), "no release");
        assert!(!keeps_its_seat("[]"), "no object");
    }
}
