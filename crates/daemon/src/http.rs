//! The daemon's front: everything that HTTP knows, and nothing that it does not.
//!
//! ```text
//!   serve ──► gate ──► hyper ──► guard ──► route ──► extractor ──► handler ──► deployer, journal
//!   TLS,      whole     │        log,      404,      bounds the    glue
//!   seats     heads     │        panics    405       body, then
//!                                                    authenticates its bytes, then parses
//! ```
//!
//! A request is refused at the first of these that it does not pass, and the refusal is the same
//! wherever in a stage it happened. Routes that `document` does not list do not exist; the
//! OpenAPI document is made from the same list. Below this module nobody knows of HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use cutover_api::deploy::DeployAnswer;
use cutover_api::deployment::Deployment as Wire;
use cutover_core::admission::Refusal;
use cutover_core::deployment::Deployment;
use cutover_core::names::{DeploymentId, ServiceName};

use crate::deployer::{Deployer, Refused};
use crate::journal::{Journal, JournalError, Recorded};
use crate::metrics::Metrics;
use crate::settings::{Service, Settings};

mod answer;
mod auth;
mod body;
mod deploy;
mod deployments;
mod document;
mod error;
mod events;
mod gate;
mod guard;
mod head;
mod health;
mod json;
mod limits;
mod listen;
mod metrics;
mod request;
mod seats;
mod serve;
mod server;
mod services;
mod stall;
mod streams;
mod tls;
mod watch;
mod wire;

pub use answer::{REPLAYED_HEADER, status_of};
pub use error::{ApiError, RequestCode};
pub use limits::Limits;
pub use listen::{Listener, OperatorSocket, Peer, SOCKET_GROUP};
pub use serve::serve;
pub(crate) use server::why_not;
pub use server::{HttpError, Server};
pub use tls::{Identity, POLL_EVERY, Reload, TlsError};
pub use watch::{KEY_FILE, WatchKeyError, WatchTokens};

use auth::Access;
use body::BodyMemory;
use streams::EventStreams;

/// Events of one deployment that its view shows. A run records about fifteen; a recovery loop is
/// bounded far below this.
const EVENTS_SHOWN_MAX: u32 = 1000;

/// What the handlers ask and are told; cheap to clone.
#[derive(Debug, Clone)]
pub struct Front(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    deployer: Deployer,
    journal: Journal,
    access: Access,
    services: BTreeMap<ServiceName, Service>,
    metrics: Metrics,
    body_memory: BodyMemory,
    event_streams: EventStreams,
}

impl Front {
    /// A front for what `settings` allow.
    #[must_use]
    pub fn new(
        deployer: Deployer,
        journal: Journal,
        settings: &Settings,
        watch: WatchTokens,
        metrics: Metrics,
    ) -> Self {
        Self(Arc::new(Inner {
            deployer,
            journal,
            access: Access {
                keys: settings.keys.clone(),
                operator_tokens: settings.operator_tokens.clone(),
                watch,
            },
            services: settings.services.clone(),
            metrics,
            body_memory: BodyMemory::default(),
            event_streams: EventStreams::default(),
        }))
    }

    fn deployer(&self) -> &Deployer {
        &self.0.deployer
    }

    fn journal(&self) -> &Journal {
        &self.0.journal
    }

    fn access(&self) -> &Access {
        &self.0.access
    }

    fn services(&self) -> &BTreeMap<ServiceName, Service> {
        &self.0.services
    }

    fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn body_memory(&self) -> &BodyMemory {
        &self.0.body_memory
    }

    fn event_streams(&self) -> &EventStreams {
        &self.0.event_streams
    }

    fn watch_token(&self, id: &DeploymentId) -> String {
        self.access().watch.token(id)
    }

    /// The deployment with everything that was recorded of it.
    async fn view(&self, deployment: &Deployment) -> Result<Wire, ApiError> {
        let recorded = self.recorded(&deployment.id, 0).await?;
        Ok(wire::deployment(deployment, &recorded))
    }

    /// The same without what was recorded of it, if that cannot be read now: what became of an accepted
    /// request is known all the same, and is never answered as a refusal.
    async fn view_or_bare(&self, deployment: &Deployment) -> Wire {
        let recorded = self.recorded(&deployment.id, 0).await.unwrap_or_default();
        wire::deployment(deployment, &recorded)
    }

    async fn recorded(&self, id: &DeploymentId, after: u64) -> Result<Vec<Recorded>, ApiError> {
        let recorded = self.journal().events(id, after, EVENTS_SHOWN_MAX).await;
        recorded.map_err(unreadable)
    }

    fn answer(&self, deployment: Wire) -> DeployAnswer {
        let id = DeploymentId::new(&deployment.id);
        DeployAnswer {
            watch_token: id.map(|id| self.watch_token(&id)).unwrap_or_default(),
            deployment,
        }
    }

    /// A refusal by the deployer, in HTTP's words.
    async fn refusal(&self, refused: Refused) -> ApiError {
        match refused {
            Refused::NotFound { what } => {
                let detail = format!("there is no {what}; nothing was changed");
                ApiError::new(RequestCode::NotFound, detail)
            }
            Refused::Admission(refusal) => admission(refusal),
            Refused::InProgress(deployment) => {
                let detail = "this delivery is under way already; it runs once";
                self.about(&deployment, ApiError::new(RequestCode::InProgress, detail))
                    .await
            }
            Refused::DeliveryReused(_) => ApiError::new(
                RequestCode::DeliveryIdReused,
                "this delivery id was used for another request; nothing was changed",
            ),
            Refused::TooLate(deployment) => {
                let detail = format!(
                    "it is too late to cancel this deployment: its status is `{}`; this request changed nothing",
                    deployment.status().as_str()
                );
                self.about(&deployment, ApiError::new(RequestCode::TooLate, detail))
                    .await
            }
            Refused::NoRelease { why } => ApiError::new(
                RequestCode::NoRelease,
                format!("{why}; nothing was changed"),
            ),
            Refused::DockerUnavailable { why } => ApiError::new(
                RequestCode::DockerUnavailable,
                format!("Docker does not answer: {why}; nothing was changed"),
            ),
            Refused::JournalUnavailable { why, disk_full } => ApiError::new(
                if disk_full {
                    RequestCode::InsufficientStorage
                } else {
                    RequestCode::JournalUnavailable
                },
                format!("the journal cannot be written: {why}; nothing was changed"),
            ),
        }
    }

    /// Shows the deployment that a refusal is about. Whoever may be told so may also watch it.
    async fn about(&self, deployment: &Deployment, error: ApiError) -> ApiError {
        let view = self.view_or_bare(deployment).await;
        error.with_deployment(view, Some(self.watch_token(&deployment.id)))
    }
}

fn admission(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::Recovering => ApiError::new(
            RequestCode::Recovering,
            "the daemon has just started and is putting right what it found; nothing was changed",
        ),
        Refusal::ShuttingDown => ApiError::new(
            RequestCode::ShuttingDown,
            "the daemon is stopping; nothing was changed",
        ),
        Refusal::Paused(why) if why.is_empty() => ApiError::new(
            RequestCode::Paused,
            "an operator has paused this service; nothing was changed",
        ),
        Refusal::Paused(why) => ApiError::new(
            RequestCode::Paused,
            format!("an operator has paused this service: {why}; nothing was changed"),
        ),
        Refusal::NeedsOperator(why) => ApiError::new(
            RequestCode::OperatorActionRequired,
            format!("this service needs an operator: {why}; nothing was changed"),
        ),
        Refusal::Busy(current) => ApiError::new(
            RequestCode::DeploymentInProgress,
            format!(
                "deployment {current} of this service is under way; nothing was changed by this request"
            ),
        ),
    }
}

/// The journal could not be read.
fn unreadable(error: JournalError) -> ApiError {
    tracing::error!(%error, "journal could not be read");
    ApiError::new(
        RequestCode::JournalUnavailable,
        "the journal cannot be read; the server's log says why",
    )
}

/// Every route for the network and the operator's socket.
pub fn router(front: Front) -> Router {
    let metrics = front.metrics().clone();
    guard::around(document::routes(), front, metrics)
}

/// `/metrics`, for a listener of its own on the loopback interface.
pub fn metrics_router(front: Front) -> Router {
    let counted = front.metrics().clone();
    guard::around(metrics::routes(), front, counted)
}
