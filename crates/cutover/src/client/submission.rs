//! A request for a deployment: the very same bytes each time it is sent, under one delivery id.

use std::time::{Duration, Instant};

use cutover_api::deploy::{DEPLOY_PATH, DeployRequest, RollbackRequest, SIGNATURE_HEADER};
use cutover_api::signature;
use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder};

use crate::client::Client;
use crate::client::credentials::Secret;
use crate::client::failure::Failure;

/// The daemon refuses a request older than 300 s; the same bytes are not sent later than this, so that
/// clocks may differ a little.
const FRESH_FOR: Duration = Duration::from_secs(240);

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Submission {
    /// An image tag.
    Deploy {
        /// The body; serializing it gives the same bytes each time.
        request: DeployRequest,
        /// Signs the body; absent on the unix socket.
        secret: Option<Secret>,
        /// When the timestamp was set.
        stamped: Instant,
    },
    /// An earlier release.
    Rollback {
        /// The configured service.
        service: String,
        /// The body.
        request: RollbackRequest,
    },
}

impl Submission {
    /// Asks for `request`, stamped now.
    pub(crate) fn deploy(mut request: DeployRequest, secret: Option<Secret>) -> Self {
        request.timestamp = Some(Timestamp::now().as_second());
        Self::Deploy {
            request,
            secret,
            stamped: Instant::now(),
        }
    }

    /// The idempotency key; without one a request must not be sent twice.
    pub(crate) fn delivery_id(&self) -> Option<&str> {
        match self {
            Self::Deploy { request, .. } => request.delivery_id.as_deref(),
            Self::Rollback { .. } => None,
        }
    }

    /// The service, for messages.
    pub(crate) fn service(&self) -> &str {
        match self {
            Self::Deploy { request, .. } => request.service.as_deref().unwrap_or("the service"),
            Self::Rollback { service, .. } => service,
        }
    }

    /// The image tag that is asked for.
    pub(crate) fn sha(&self) -> Option<&str> {
        match self {
            Self::Deploy { request, .. } => Some(&request.image_sha),
            Self::Rollback { .. } => None,
        }
    }

    /// Sets the timestamp anew if the daemon would soon take it for too old. That changes the bytes, but
    /// not which delivery the daemon recognizes them for.
    pub(crate) fn keep_fresh(&mut self) {
        if let Self::Deploy { stamped, .. } = self
            && stamped.elapsed() > FRESH_FOR
        {
            self.stamp_again();
        }
    }

    /// Sets the timestamp anew.
    pub(crate) fn stamp_again(&mut self) {
        if let Self::Deploy {
            request, stamped, ..
        } = self
        {
            request.timestamp = Some(Timestamp::now().as_second());
            *stamped = Instant::now();
        }
    }

    /// The HTTP request, to be answered as soon as it is accepted.
    ///
    /// # Errors
    /// Never in practice: that the body cannot be written as JSON.
    pub(crate) fn to_request(&self, client: &Client) -> Result<RequestBuilder, Failure> {
        let (body, request) = match self {
            Self::Deploy {
                request, secret, ..
            } => {
                let body = serde_json::to_vec(request).map_err(|error| unwritable(&error))?;
                let builder = client.request(Method::POST, &[DEPLOY_PATH.trim_start_matches('/')]);
                let builder = match secret {
                    Some(secret) => builder.header(
                        SIGNATURE_HEADER,
                        signature::sign(secret.reveal().as_bytes(), &body),
                    ),
                    None => builder,
                };
                (body, builder)
            }
            Self::Rollback { service, request } => (
                serde_json::to_vec(request).map_err(|error| unwritable(&error))?,
                client.request(Method::POST, &["v1", "services", service, "rollback"]),
            ),
        };
        Ok(request
            .header(CONTENT_TYPE, "application/json")
            .header("prefer", "respond-async")
            .body(body))
    }
}

/// A body that cannot be serialized.
fn unwritable(error: &serde_json::Error) -> Failure {
    Failure::usage(
        format!("the request cannot be written as JSON: {error}"),
        "nothing was sent",
    )
}
