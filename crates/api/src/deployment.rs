//! The view of one deployment: the same wherever it is shown.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a deployment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Recorded, not begun.
    Queued,
    /// The image is being fetched.
    Pulling,
    /// Compose creates the new container; it is not started.
    Staging,
    /// The old container is being stopped and the new one started.
    Switching,
    /// The new container runs and is being watched.
    Verifying,
    /// The new release is final; only clean-up is left.
    Committed,
    /// The old container is being put back.
    RollingBack,
    /// Ended: the requested image runs.
    Succeeded,
    /// Ended: the requested image already ran.
    Unchanged,
    /// Ended: nothing was changed.
    Failed,
    /// Ended: the previous release runs again.
    RolledBack,
    /// Ended: an operator is needed.
    RollbackFailed,
    /// Ended before anything was changed.
    Cancelled,
}

/// How a deployment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The requested image runs, was healthy, and is recorded.
    Succeeded,
    /// It already ran.
    Unchanged,
    /// Nothing was changed.
    Failed,
    /// The new release failed; the previous one runs again and was verified.
    RolledBack,
    /// Needs an operator; the record says what runs.
    RollbackFailed,
    /// Never began to change anything.
    Cancelled,
}

/// Why a deployment did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cause {
    /// The stable word for it, for example `image_not_found`; docs/api.md lists all.
    pub code: String,
    /// What happened, for a person.
    pub detail: String,
    /// What to do next.
    pub hint: String,
    /// The step in which it happened: `pull`, `stage`, `switch`, `verify`, `roll back`, …
    pub step: String,
    /// Whether the same request may succeed later without a change.
    pub retriable: bool,
}

/// What ran before a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Previous {
    /// The container's id.
    pub container: String,
    /// The image reference that it was created from.
    pub image: String,
    /// The id of that image.
    pub image_id: String,
    /// `healthy`, `running`, `starting`, `unhealthy`, `restarting` or `stopped`, as found before anything was done.
    pub condition: String,
}

impl Previous {
    /// Whether a rollback verified it: one that was not in order before is put back as it was found, and nothing
    /// is proven.
    #[must_use]
    pub fn verified_after_rollback(&self) -> bool {
        matches!(self.condition.as_str(), "healthy" | "running")
    }
}

/// One container of a service that a deployment is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replica {
    /// The Compose service.
    pub service: String,
    /// Compose's number of the container within the service, from 1.
    pub number: u32,
    /// The container's id.
    pub container: String,
    /// The name under which it serves.
    pub name: String,
    /// The image reference that it was created from.
    pub image: String,
    /// The id of that image.
    pub image_id: String,
    /// As in `previous`; `stopped` of a new one, which was never started when it was recorded.
    pub condition: String,
}

/// One event of a deployment, as listed in its view. `GET …/events` streams the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventLine {
    /// Position in the deployment's journal, from 1.
    pub seq: u64,
    /// When it was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The kind of event, for example `pull_started`.
    pub kind: String,
    /// The status after this event.
    pub status: Status,
    /// What happened, as a sentence fragment for a person.
    pub message: String,
}

/// One deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deployment {
    /// Its id, a UUID.
    pub id: String,
    /// The configured service.
    pub service: String,
    /// The image tag that was asked for.
    pub image_sha: String,
    /// The image reference, once it is known.
    pub image: Option<String>,
    /// The manifest digest, once it is resolved.
    pub digest: Option<String>,
    /// The id of the image, once it is on the machine.
    pub image_id: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// How it ended; absent while it is under way.
    pub outcome: Option<Outcome>,
    /// True as long as no container was stopped or started on behalf of this deployment.
    pub nothing_changed: bool,
    /// What ran before, once it was looked at; absent for the first deployment of a service.
    pub previous: Option<Previous>,
    /// Every container that ran before; `previous` is the first of them.
    #[serde(default)]
    pub previous_replicas: Vec<Replica>,
    /// The new container's id, once it exists.
    pub container: Option<String>,
    /// Every new container; `container` is the first of them.
    #[serde(default)]
    pub replicas: Vec<Replica>,
    /// The services that are or were to be switched, in their order. One in which the release ran already is left alone
    /// and not in this list.
    #[serde(default)]
    pub services: Vec<ReleasedService>,
    /// The jobs that were started before the switch, in their order. What they did is not undone, whatever became of the
    /// deployment; `nothing_changed` speaks of containers.
    #[serde(default)]
    pub jobs: Vec<Job>,
    /// Who asked: the key's name, `operator`, or `local`.
    pub actor: String,
    /// The idempotency key of the request, if it had one.
    pub delivery_id: Option<String>,
    /// The deployment whose release this one brings back, for a rollback by hand.
    pub rollback_to: Option<String>,
    /// When the request was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// From the request to the end, in milliseconds.
    pub duration_ms: Option<u64>,
    /// How long the service did not answer, in milliseconds: from the old container's stop to the moment when the new
    /// one was first seen healthy, or was started where nobody says so. After a rollback, the same of the previous one.
    pub outage_ms: Option<u64>,
    /// Of it, how long the switch itself left no container running, by Docker's clock.
    #[serde(default)]
    pub switch_ms: Option<u64>,
    /// How many new connections to a published port waited while the service was switched, or put back.
    #[serde(default)]
    pub held: u64,
    /// How long the one waited that waited longest, in milliseconds; none where none did.
    #[serde(default)]
    pub held_max_ms: Option<u64>,
    /// What was seen of what runs now, for a person: `healthy for 5 s`, or `ran for 10 s; it has no health check`. Of
    /// the new container, or of the previous one after a rollback that could prove it.
    #[serde(default)]
    pub proof: Option<String>,
    /// Why it did not succeed.
    pub cause: Option<Cause>,
    /// What was recorded, in order.
    pub events: Vec<EventLine>,
    /// The last output of the container that failed, masked and bounded.
    pub log: Vec<String>,
}

/// One Compose service of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReleasedService {
    /// The Compose service.
    pub service: String,
    /// The id of the container that ran before; absent where there was none.
    pub previous: Option<String>,
    /// The new container's id, once it exists.
    pub container: Option<String>,
    /// As `outage_ms` of the deployment, which is the longest of its services.
    pub outage_ms: Option<u64>,
    /// What was seen of the new container, for a person.
    pub proof: Option<String>,
}

/// A job of a release that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// Its Compose service.
    pub service: String,
    /// The exit code of its process; absent as long as it runs, and where nobody saw its end.
    pub exit_code: Option<i64>,
}

/// One page of deployments, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeploymentPage {
    /// The deployments; their `events` and `log` are left empty.
    pub deployments: Vec<Deployment>,
    /// Give this as `before` to read on; absent on the last page.
    pub next_before: Option<String>,
}

impl Status {
    /// The outcome that this status is, if it is an end.
    #[must_use]
    pub fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Succeeded => Some(Outcome::Succeeded),
            Self::Unchanged => Some(Outcome::Unchanged),
            Self::Failed => Some(Outcome::Failed),
            Self::RolledBack => Some(Outcome::RolledBack),
            Self::RollbackFailed => Some(Outcome::RollbackFailed),
            Self::Cancelled => Some(Outcome::Cancelled),
            Self::Queued
            | Self::Pulling
            | Self::Staging
            | Self::Switching
            | Self::Verifying
            | Self::Committed
            | Self::RollingBack => None,
        }
    }
}
