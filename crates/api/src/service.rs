//! The view of one service: what runs, and whether deployments are accepted.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::deployment::Deployment;

/// What Docker says of the service's container right now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Running {
    /// The container's id.
    pub container: String,
    /// The container's name.
    pub name: String,
    /// The image reference that it was created from.
    pub image: String,
    /// `healthy`, `running`, `starting`, `unhealthy`, `restarting` or `stopped`.
    pub condition: String,
    /// How often Docker has started it again because it had ended.
    #[serde(default)]
    pub restarts: u64,
    /// When it was started, as Docker says it.
    pub started_at: Option<String>,
}

/// One Compose service of a release, or one of its replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// Its name in the Compose file.
    pub service: String,
    /// The container that it has, running or not; absent when it has none.
    pub container: Option<Running>,
}

/// A service that refuses deployments for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Paused {
    /// Why, in the operator's words.
    pub why: Option<String>,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// One configured service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Service {
    /// Its name under `[services]`.
    pub name: String,
    /// The container that runs; absent when none does.
    pub running: Option<Running>,
    /// The container that the service has and that does not run; absent when one runs.
    #[serde(default)]
    pub stopped: Option<Running>,
    /// Why it is not known what runs, when Docker or the Compose project cannot be read; `running` is absent
    /// then.
    #[serde(default)]
    pub running_unknown: Option<String>,
    /// The Compose services of its release, in the order of a switch, once for each replica that runs; empty when it is not
    /// known what runs.
    #[serde(default)]
    pub services: Vec<Member>,
    /// Present while deployments are refused by an operator.
    pub paused: Option<Paused>,
    /// Why an operator is needed; absent when none is.
    pub needs_operator: Option<String>,
    /// The deployment under way.
    pub current: Option<Deployment>,
    /// The deployment that waits for it to end.
    pub waiting: Option<Deployment>,
    /// The last deployment that ended.
    pub last: Option<Deployment>,
}

/// All configured services, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceList {
    /// The services.
    pub services: Vec<Service>,
}
