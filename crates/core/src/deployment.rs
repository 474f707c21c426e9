//! A deployment is the fold of its events.
//!
//! ```text
//!  Requested                PullStarted            StageStarted          SwitchStarted
//! ───────────► queued ─────────────────► pulling ───────────────► staging ─────────────► switching
//!                 │                       │    │                     │                       │ VerifyStarted
//!      Cancelled  │  Failed, Cancelled    │    │ FoundUnchanged      │ Failed, Cancelled      ▼
//!                 ▼                       ▼    ▼                     ▼                   verifying
//!             cancelled              failed   unchanged        failed, cancelled             │ Committed
//!                                                                                            ▼
//!   rolled_back ◄── RolledBack ── rolling_back ◄── RollbackStarted ── switching,         committed
//!        ▲                               │                           verifying          │    │ Succeeded
//!        │ RolledBack                    │ RollbackFailed                               │    ▼
//!        └────────── rollback_failed ◄───┴────────────── RollbackFailed ────────────────┘ succeeded
//! ```
//!
//! `rollback_failed` is an end, with an answer; but the daemon goes on trying to have something running, and
//! what comes of that is recorded behind it.
//!
//! [`next_status`] is the only place that decides which event may follow; it is used when an event is
//! recorded and when the journal is read back after a crash. A status is never set.

mod fold;
mod proof;
mod release;
mod status;

use std::collections::BTreeMap;

use crate::cause::Cause;

pub use fold::{Deployment, JobRun};
pub use proof::{Proof, Witness};
pub use release::{
    Condition, Failure, IfUnchanged, Origin, PinnedImage, Recreated, Replica, Request,
    RestartPolicy, TagBefore, TagLine, WayBack,
};
pub use status::Status;

/// A moment, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// Milliseconds from `earlier` to this moment; 0 if the clock was set back between them.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

/// A fact about a deployment, in the past tense, in the order of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The request was accepted.
    Requested(Request),
    /// The pull is about to begin.
    PullStarted {
        /// What is pulled.
        reference: String,
    },
    /// The image is on the machine and is the one that was asked for.
    ImagePinned(PinnedImage),
    /// The service already runs this very image, with this configuration, and is healthy.
    FoundUnchanged {
        /// The running container.
        container: String,
        /// What was seen of it; not in the records of 0.1.0, as everywhere.
        proof: Option<Proof>,
    },
    /// Compose is about to create the new container.
    StageStarted {
        /// The containers that ran before; empty for the first deployment.
        old: Vec<Replica>,
        /// What the tag is about to take the place of in the env file; none where that could not be read.
        tag_line: Option<TagLine>,
    },
    /// The new containers exist and are not started.
    Staged {
        /// The containers that take over.
        new: Vec<Replica>,
        /// The containers of jobs, which run to their end before the switch.
        jobs: Vec<Replica>,
    },
    /// A job is about to run. What it does is not undone.
    JobStarted {
        /// Its Compose service.
        service: String,
    },
    /// A job ended.
    JobEnded {
        /// Its Compose service.
        service: String,
        /// The exit code of its process.
        code: i64,
    },
    /// The switch is about to begin: from here on, the way back is a rollback.
    SwitchStarted,
    /// The new container of a service was started.
    Switched {
        /// The Compose service; empty where only one is switched.
        service: String,
        /// How long no container of it ran, in milliseconds.
        outage_ms: u64,
    },
    /// Connections that had waited while the service was switched, or put back, went on.
    Held {
        /// How many.
        connections: u64,
        /// How long the one waited that waited longest, in milliseconds.
        longest_ms: u64,
    },
    /// New containers are being watched.
    VerifyStarted {
        /// By what, for a person.
        checks: String,
    },
    /// The commit point: the new release is final.
    Committed {
        /// What was seen of the new container of the configured service.
        proof: Option<Proof>,
        /// What was seen of each new container, by its Compose service; empty where there is only one.
        proofs: BTreeMap<String, Proof>,
    },
    /// Services that are not switched were restarted, because they are to be with one that was.
    DependentsRestarted {
        /// Their names in the Compose file.
        services: Vec<String>,
    },
    /// The deployment ended well.
    Succeeded,
    /// The deployment ended before anything was changed.
    Failed(Failure),
    /// The new release failed; the previous one is about to be put back.
    RollbackStarted(Failure),
    /// The previous container runs again, or was never stopped.
    Restored {
        /// How long the previous container did not run, in milliseconds.
        outage_ms: u64,
    },
    /// A previous container could not be started again and was created anew; it is not started yet.
    Recreated(Recreated),
    /// The previous containers run as they were found.
    RolledBack {
        /// The worst condition in which one of them was found, and is again; not in the records of 0.1.0.
        condition: Option<Condition>,
        /// What was seen of them; nothing where nothing could be proven.
        proof: Option<Proof>,
    },
    /// The previous release could not be put back; an operator is needed.
    RollbackFailed {
        /// Why.
        cause: Cause,
        /// What runs now, for a person.
        runs: String,
    },
    /// The deployment was given up before anything was changed.
    Cancelled {
        /// Why.
        why: String,
    },
    /// A restarted daemon took this deployment up again.
    RecoveryStarted,
    /// Something that an operator should know, and that does not change the outcome.
    Warned {
        /// What.
        what: String,
    },
}

impl Event {
    /// The word for the kind of event, in the journal and on the wire.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Requested(_) => "requested",
            Self::PullStarted { .. } => "pull_started",
            Self::ImagePinned(_) => "image_pinned",
            Self::FoundUnchanged { .. } => "found_unchanged",
            Self::StageStarted { .. } => "stage_started",
            Self::Staged { .. } => "staged",
            Self::JobStarted { .. } => "job_started",
            Self::JobEnded { .. } => "job_ended",
            Self::SwitchStarted => "switch_started",
            Self::Switched { .. } => "switched",
            Self::Held { .. } => "held",
            Self::VerifyStarted { .. } => "verify_started",
            Self::Committed { .. } => "committed",
            Self::DependentsRestarted { .. } => "dependents_restarted",
            Self::Succeeded => "succeeded",
            Self::Failed(_) => "failed",
            Self::RollbackStarted(_) => "rollback_started",
            Self::Restored { .. } => "restored",
            Self::Recreated(_) => "recreated",
            Self::RolledBack { .. } => "rolled_back",
            Self::RollbackFailed { .. } => "rollback_failed",
            Self::Cancelled { .. } => "cancelled",
            Self::RecoveryStarted => "recovery_started",
            Self::Warned { .. } => "warned",
        }
    }
}

/// An event that cannot follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event `{event}` cannot follow status `{status}`")]
pub struct IllegalEvent {
    /// The status before; `none` for a deployment without events.
    pub status: &'static str,
    /// The kind of event.
    pub event: &'static str,
}

/// The status after `event`.
///
/// # Errors
/// [`IllegalEvent`] when the event cannot follow.
pub fn next_status(status: Option<Status>, event: &Event) -> Result<Status, IllegalEvent> {
    let illegal = || IllegalEvent {
        status: status.map_or("none", Status::as_str),
        event: event.kind(),
    };
    let Some(now) = status else {
        return match event {
            Event::Requested(_) => Ok(Status::Queued),
            _ => Err(illegal()),
        };
    };
    let next = match (now, event) {
        // A restarted daemon begins anew; one that had come to a job does so where the job may run again.
        (Status::Queued | Status::Pulling | Status::Staging, Event::PullStarted { .. }) => {
            Status::Pulling
        }
        (Status::Pulling, Event::ImagePinned(_)) => Status::Pulling,
        (Status::Pulling, Event::FoundUnchanged { .. }) => Status::Unchanged,
        (Status::Pulling, Event::StageStarted { .. }) => Status::Staging,
        (
            Status::Staging,
            Event::Staged { .. } | Event::JobStarted { .. } | Event::JobEnded { .. },
        ) => Status::Staging,
        (Status::Staging, Event::SwitchStarted) => Status::Switching,
        // Each service is proven before the next one is switched.
        (Status::Switching | Status::Verifying, Event::Switched { .. }) => Status::Switching,
        (Status::Switching, Event::VerifyStarted { .. }) => Status::Verifying,
        (Status::Verifying, Event::Committed { .. }) => Status::Committed,
        (Status::Committed, Event::JobStarted { .. } | Event::JobEnded { .. }) => Status::Committed,
        (Status::Committed | Status::RollingBack, Event::DependentsRestarted { .. }) => now,
        (Status::Switching | Status::Verifying | Status::RollingBack, Event::Held { .. }) => now,
        (Status::Committed, Event::Succeeded) => Status::Succeeded,
        (Status::Queued | Status::Pulling | Status::Staging, Event::Failed(_)) => Status::Failed,
        (Status::Queued | Status::Pulling | Status::Staging, Event::Cancelled { .. }) => {
            Status::Cancelled
        }
        (Status::Switching | Status::Verifying, Event::RollbackStarted(_)) => Status::RollingBack,
        (Status::RollingBack, Event::Restored { .. } | Event::Recreated(_)) => Status::RollingBack,
        // The committed container is gone, and what ran before comes back in its place.
        (Status::Committed, Event::Recreated(_)) => Status::Committed,
        (Status::RollingBack, Event::RolledBack { .. }) => Status::RolledBack,
        // The answer was given; what the daemon goes on trying is told behind it.
        (
            Status::RollbackFailed,
            Event::Restored { .. }
            | Event::Recreated(_)
            | Event::DependentsRestarted { .. }
            | Event::Warned { .. }
            | Event::RecoveryStarted,
        ) => Status::RollbackFailed,
        (Status::RollbackFailed, Event::RolledBack { .. }) => Status::RolledBack,
        (Status::RollingBack | Status::Committed, Event::RollbackFailed { .. }) => {
            Status::RollbackFailed
        }
        (now, Event::RecoveryStarted | Event::Warned { .. }) if !now.is_end() => now,
        _ => return Err(illegal()),
    };
    Ok(next)
}
