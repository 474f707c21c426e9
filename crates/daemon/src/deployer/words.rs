//! What is asked of the deployer, and what it says.

use cutover_api::event::{OutputLine, PullProgress};
use cutover_api::service::{Member, Running};
use cutover_core::admission::{Asker, Refusal};
use cutover_core::deployment::{Deployment, IfUnchanged, WayBack};
use cutover_core::names::{DeliveryId, DeploymentId, ServiceName, Tag};

use crate::journal::JournalError;

/// An authenticated, parsed, not yet admitted deployment.
#[derive(Debug, Clone)]
pub struct NewDeployment {
    /// The configured service.
    pub service: ServiceName,
    /// The tag that shall run.
    pub tag: Tag,
    /// The manifest digest that the tag must resolve to, if the request demands one.
    pub digest: Option<String>,
    /// Who asked: the name of a key, `operator:<token name>`, or `local`.
    pub actor: String,
    /// With which rights.
    pub asker: Asker,
    /// Whether a way back must exist.
    pub way_back: WayBack,
    /// What is done where the release runs already.
    pub if_unchanged: IfUnchanged,
    /// The idempotency key.
    pub delivery_id: Option<DeliveryId>,
    /// SHA-256 of the request's meaning, in hexadecimal digits.
    pub fingerprint: String,
}

/// What became of a request that was not refused.
#[derive(Debug, Clone)]
pub enum Accepted {
    /// A new deployment was recorded; it runs or waits for its turn.
    Started(Deployment),
    /// This delivery has already ended: the recorded deployment, once more.
    Replayed(Deployment),
}

/// Why a request had no effect.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refused {
    /// No such service, deployment or release.
    #[error("not found")]
    NotFound {
        /// What was looked for, as a sentence fragment.
        what: String,
    },
    /// Admission refused it.
    #[error("refused")]
    Admission(Refusal),
    /// This delivery is still under way.
    #[error("in progress")]
    InProgress(Box<Deployment>),
    /// The delivery id was used for another request.
    #[error("delivery id reused")]
    DeliveryReused(DeploymentId),
    /// Too late: the deployment has switched or has ended.
    #[error("too late")]
    TooLate(Box<Deployment>),
    /// There is no release to go back to, or its image is gone.
    #[error("no release to go back to")]
    NoRelease {
        /// Why, as a sentence fragment.
        why: String,
    },
    /// Docker does not answer, so nothing is accepted.
    #[error("docker unavailable")]
    DockerUnavailable {
        /// What Docker or the system said.
        why: String,
    },
    /// The journal cannot be written, so nothing is accepted.
    #[error("journal unavailable")]
    JournalUnavailable {
        /// What the system said.
        why: String,
        /// Whether the disk is full.
        disk_full: bool,
    },
}

/// What those who watch a deployment are told while it runs.
#[derive(Debug, Clone)]
pub enum Live {
    /// An event was recorded: read the journal from your last position.
    Recorded,
    /// The pull went on.
    Progress(PullProgress),
    /// The new container wrote a line.
    Output(OutputLine),
}

/// Whether the daemon can take work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It can.
    Ready,
    /// It cannot, for this reason.
    NotReady {
        /// Why, as a sentence fragment.
        why: String,
    },
}

/// What a service looks like right now.
#[derive(Debug, Clone)]
pub struct ServiceView {
    /// Its name.
    pub name: ServiceName,
    /// What Docker says of its container; or why that is not known.
    pub container: Result<Option<Running>, String>,
    /// The same of each Compose service of its release; empty where that is not known.
    pub services: Vec<Member>,
    /// Present while deployments are refused by an operator.
    pub paused: Option<crate::journal::Paused>,
    /// Why an operator is needed.
    pub needs_operator: Option<String>,
    /// The deployment under way.
    pub current: Option<Deployment>,
    /// The deployment that waits for it to end.
    pub waiting: Option<Deployment>,
    /// The last deployment that ended.
    pub last: Option<Deployment>,
}

pub(super) fn unknown_service(service: &ServiceName) -> Refused {
    Refused::NotFound {
        what: format!("service `{service}`"),
    }
}

pub(super) fn journal_refused(error: JournalError) -> Refused {
    let disk_full = matches!(error, JournalError::Full);
    Refused::JournalUnavailable {
        why: error.to_string(),
        disk_full,
    }
}
