//! What events speak of: the request, the image, the container that is replaced and the one that comes.

use std::collections::BTreeMap;

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
    /// Whether a way back must exist.
    pub way_back: WayBack,
    /// What is done where the release runs already.
    pub if_unchanged: IfUnchanged,
}

/// What a deployment does where the requested release runs already and is in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IfUnchanged {
    /// It ends as `unchanged`.
    #[default]
    LeaveAlone,
    /// An operator decided that a new container is made all the same.
    DeployAgain,
}

/// Whether a deployment may switch although the previous release could not be brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WayBack {
    /// It may not.
    #[default]
    Needed,
    /// An operator decided that it may.
    Waived,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Condition {
    /// It ran and its health check passed.
    Healthy,
    /// It ran and has no health check.
    Running,
    /// It ran and its health check had not come to a verdict.
    Starting,
    /// It ran and its health check did not pass.
    Unhealthy,
    /// Its process ended again and again: Docker was about to start it once more, or had done so a moment ago.
    Restarting,
    /// It did not run.
    #[default]
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
            Self::Restarting => "restarting",
            Self::Stopped => "stopped",
        }
    }

    /// Whether it was proven: only of a container like this does a rollback say that it was verified.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Healthy | Self::Running)
    }

    /// Whether the container ran.
    #[must_use]
    pub fn ran(self) -> bool {
        self != Self::Stopped
    }
}

/// Docker's restart policy of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct RestartPolicy {
    /// `no`, `always`, `unless-stopped` or `on-failure`; empty means `no`.
    pub name: String,
    /// For `on-failure`: how often; 0 means without end.
    pub retries_max: i64,
}

/// One container of one Compose service: one that a deployment replaces, or one that takes its place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replica {
    /// The Compose project; empty in the records of 0.1.0.
    pub project: String,
    /// The Compose service; empty in the records of 0.1.0.
    pub service: String,
    /// Compose's number of the container within the service, from 1.
    pub number: u32,
    /// The container's id.
    pub container: String,
    /// The name under which it serves: the one that it was found with, or gets at the switch.
    pub name: String,
    /// The image reference that it was created from.
    pub image: String,
    /// The id of that image.
    pub image_id: String,
    /// The restart policy with which it serves: the one that it was found with, or gets after the commit.
    pub restart_policy: RestartPolicy,
    /// The names under which each network knows it, by the network's name.
    pub aliases: BTreeMap<String, Vec<String>>,
    /// How it was found before anything was done; a new one was never started and is `Stopped`.
    pub condition: Condition,
}

/// A previous container that was gone, or could not be started again, and was created anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recreated {
    /// The id of the container in whose place it is.
    pub replaces: String,
    /// The new container, which is from here on the one to restore.
    pub replica: Replica,
    /// What it was made of.
    pub from: Origin,
}

/// What a container that is created again is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The recorded configuration of the container that is gone, and its image.
    SameConfiguration,
    /// The previous image in the present definition of the service, through Compose.
    PreviousImage,
}

/// What stood in the env file in the place that the tag of the new release takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagLine {
    /// The path of the file.
    pub file: String,
    /// The variable that is the tag.
    pub variable: String,
    /// What takes the place, if that is a digest: then nobody can tell it by the tag.
    pub digest: Option<String>,
    /// What was there.
    pub before: TagBefore,
}

/// What was in the env file before the tag of the new release was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagBefore {
    /// A value, as it was written.
    Value(String),
    /// Nothing sets the variable.
    NoLine,
    /// There was no file.
    NoFile,
}

/// Why the new release failed, with what its container wrote last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub cause: Cause,
    /// The last output of the new container, masked and bounded; empty if it never ran.
    pub log: Vec<String>,
}
