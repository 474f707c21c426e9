//! What events speak of: the request, the image, the container that is replaced and the one that comes.

use crate::cause::Cause;
use crate::names::{DeliveryId, DeploymentId, ServiceName, Tag};

/// What was asked for, as recorded before anything is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The configured service.
    pub service: ServiceName,
    /// The tag that shall run.
    pub tag: Tag,
    /// The manifest digest that the tag must resolve to, if the request demands one.
    pub digest: Option<String>,
    /// Who asked: the name of a key, `operator:<token name>`, or `local`.
    pub actor: String,
    /// The idempotency key, if there was one.
    pub delivery_id: Option<DeliveryId>,
    /// A fingerprint of the request's meaning, to tell a repetition from a reused key.
    pub fingerprint: String,
    /// For a rollback by hand: the deployment whose release comes back, from local images only.
    pub rollback_to: Option<DeploymentId>,
}

/// An image with no doubt left about which one it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedImage {
    /// Repository and tag, as given to Docker.
    pub reference: String,
    /// The manifest digest that the registry gave, `sha256:…`; none for an image that never had one.
    pub digest: Option<String>,
    /// Docker's id of the image, `sha256:…`.
    pub id: String,
}

/// How the previous container was found, before anything was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    /// It ran and its health check passed.
    Healthy,
    /// It ran and has no health check.
    Running,
    /// It ran and its health check had not come to a verdict.
    Starting,
    /// It ran and its health check did not pass.
    Unhealthy,
    /// It did not run.
    Stopped,
}

impl Condition {
    /// The word on the wire and in texts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Unhealthy => "unhealthy",
            Self::Stopped => "stopped",
        }
    }

    /// Whether it is in order: a container like this is worth keeping, and is verified after a rollback.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Healthy | Self::Running)
    }

    /// Whether it is verified when it is put back. What was unhealthy or stopped is put back as it was found:
    /// there was nothing to prove then either.
    #[must_use]
    pub fn is_verified_after_rollback(self) -> bool {
        self.is_good() || self == Self::Starting
    }

    /// Whether the container ran.
    #[must_use]
    pub fn ran(self) -> bool {
        self != Self::Stopped
    }
}

/// Docker's restart policy of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RestartPolicy {
    /// `no`, `always`, `unless-stopped` or `on-failure`; empty means `no`.
    pub name: String,
    /// For `on-failure`: how often; 0 means without end.
    pub retries_max: i64,
}

/// The container that a deployment replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previous {
    /// Its id.
    pub container: String,
    /// Its name.
    pub name: String,
    /// The image reference that it was created from.
    pub image: String,
    /// The id of that image.
    pub image_id: String,
    /// How it was found.
    pub condition: Condition,
    /// The restart policy that it had.
    pub restart_policy: RestartPolicy,
}

/// The container that Compose created for a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Its id.
    pub container: String,
    /// The name that it gets at the switch.
    pub name: String,
    /// The restart policy that the Compose file asks for; it gets it after the commit.
    pub restart_policy: RestartPolicy,
}

/// Why the new release failed, with what its container wrote last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub cause: Cause,
    /// The last output of the new container, masked and bounded; empty if it never ran.
    pub log: Vec<String>,
}
