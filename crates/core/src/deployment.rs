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

mod proof;
mod release;
mod status;

use crate::cause::Cause;
use crate::names::DeploymentId;

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
        /// The containers.
        new: Vec<Replica>,
    },
    /// The switch is about to begin: from here on, the way back is a rollback.
    SwitchStarted,
    /// The new container was started.
    Switched {
        /// How long no container of the service ran, in milliseconds.
        outage_ms: u64,
    },
    /// The new container is being watched.
    VerifyStarted {
        /// By what, for a person.
        checks: String,
    },
    /// The commit point: the new release is final.
    Committed {
        /// What was seen of the new containers.
        proof: Option<Proof>,
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
            Self::SwitchStarted => "switch_started",
            Self::Switched { .. } => "switched",
            Self::VerifyStarted { .. } => "verify_started",
            Self::Committed { .. } => "committed",
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
        (Status::Queued | Status::Pulling, Event::PullStarted { .. }) => Status::Pulling,
        (Status::Pulling, Event::ImagePinned(_)) => Status::Pulling,
        (Status::Pulling, Event::FoundUnchanged { .. }) => Status::Unchanged,
        (Status::Pulling, Event::StageStarted { .. }) => Status::Staging,
        (Status::Staging, Event::Staged { .. }) => Status::Staging,
        (Status::Staging, Event::SwitchStarted) => Status::Switching,
        (Status::Switching, Event::Switched { .. }) => Status::Switching,
        (Status::Switching, Event::VerifyStarted { .. }) => Status::Verifying,
        (Status::Verifying, Event::Committed { .. }) => Status::Committed,
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

/// A deployment, as its events tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// What was asked for.
    pub request: Request,
    status: Status,
    /// When it was requested.
    pub started_at: UnixMillis,
    /// When it ended.
    pub finished_at: Option<UnixMillis>,
    /// When the pull began, the start of `progress_deadline`.
    pub pull_started_at: Option<UnixMillis>,
    /// The reference that is pulled, once known.
    pub reference: Option<String>,
    /// The image, once pinned.
    pub image: Option<PinnedImage>,
    /// The containers that ran before, once looked at.
    pub old: Vec<Replica>,
    /// What stood in the env file in the tag's place, once looked at.
    pub tag_line: Option<TagLine>,
    /// The new containers, once they exist.
    pub new: Vec<Replica>,
    /// Previous containers in whose place others were created: they go, like the new ones.
    pub given_up: Vec<Replica>,
    /// How long no container of the service ran; after a rollback, how long the previous one did not; in
    /// milliseconds.
    pub outage_ms: Option<u64>,
    /// Whether a container was stopped or started on behalf of this deployment.
    pub switch_started: bool,
    /// Whether its release was final at some time.
    pub committed: bool,
    /// How long the switch itself left no container running, in milliseconds: `outage_ms` without the time that the new
    /// container took to answer.
    pub switch_ms: Option<u64>,
    /// What was seen of what runs now: of the new containers, or of the previous ones after a rollback.
    pub proof: Option<Proof>,
    /// Why the new release failed.
    pub failure: Option<Failure>,
    /// Why the rollback failed, and what runs.
    pub rollback_failure: Option<(Cause, String)>,
    /// Why it was cancelled.
    pub cancelled_why: Option<String>,
    /// How often a restarted daemon has taken it up.
    pub recoveries: u32,
    /// How many events it has.
    pub events: u64,
}

impl Deployment {
    /// A deployment of which only the request is known.
    #[must_use]
    pub fn requested(id: DeploymentId, request: Request, at: UnixMillis) -> Self {
        Self {
            id,
            request,
            status: Status::Queued,
            started_at: at,
            finished_at: None,
            pull_started_at: None,
            reference: None,
            image: None,
            old: Vec::new(),
            tag_line: None,
            new: Vec::new(),
            given_up: Vec::new(),
            outage_ms: None,
            switch_started: false,
            committed: false,
            switch_ms: None,
            proof: None,
            failure: None,
            rollback_failure: None,
            cancelled_why: None,
            recoveries: 0,
            events: 1,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// The outage ends when what runs is first seen to be in order.
    fn prove(&mut self, proof: Option<Proof>) {
        self.proof = proof;
        if let (Some(outage_ms), Some(proof)) = (&mut self.outage_ms, proof) {
            *outage_ms = outage_ms.saturating_add(proof.answered_after_ms);
        }
    }

    fn replace_old(&mut self, recreated: &Recreated) {
        let replaced = self
            .old
            .iter_mut()
            .find(|old| old.container == recreated.replaces);
        if let Some(old) = replaced {
            let given_up = std::mem::replace(old, recreated.replica.clone());
            self.given_up.push(given_up);
        }
    }

    /// Whether a container of the service ran when the deployment began.
    #[must_use]
    pub fn ran_before(&self) -> bool {
        self.old.iter().any(|old| old.condition.ran())
    }

    /// The cause that an answer names: of the failed rollback if it failed in the end, else of the failure.
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        match &self.rollback_failure {
            Some((cause, _)) if self.status == Status::RollbackFailed => Some(cause),
            _ => self.failure.as_ref().map(|failure| &failure.cause),
        }
    }

    /// Folds one more event in.
    ///
    /// # Errors
    /// [`IllegalEvent`] when the event cannot follow; nothing is changed then.
    pub fn apply(&mut self, event: &Event, at: UnixMillis) -> Result<(), IllegalEvent> {
        self.status = next_status(Some(self.status), event)?;
        self.events += 1;
        match event {
            Event::PullStarted { reference } => {
                self.pull_started_at.get_or_insert(at);
                self.reference = Some(reference.clone());
            }
            Event::ImagePinned(image) => self.image = Some(image.clone()),
            Event::StageStarted { old, tag_line } => {
                self.old.clone_from(old);
                self.tag_line.clone_from(tag_line);
            }
            Event::Staged { new } => self.new.clone_from(new),
            Event::Recreated(recreated) => self.replace_old(recreated),
            Event::SwitchStarted => self.switch_started = true,
            Event::Committed { proof } => {
                self.committed = true;
                self.prove(*proof);
            }
            Event::FoundUnchanged { proof, .. } | Event::RolledBack { proof, .. } => {
                self.prove(*proof);
            }
            // A rollback's outage began when the previous container was stopped: it contains the switch's.
            Event::Switched { outage_ms } => {
                self.outage_ms = Some(*outage_ms);
                self.switch_ms = self.outage_ms;
            }
            Event::Restored { outage_ms } => self.outage_ms = Some(*outage_ms),
            Event::Failed(failure) | Event::RollbackStarted(failure) => {
                self.failure = Some(failure.clone());
            }
            Event::RollbackFailed { cause, runs } => {
                self.rollback_failure = Some((cause.clone(), runs.clone()));
            }
            Event::Cancelled { why } => self.cancelled_why = Some(why.clone()),
            Event::RecoveryStarted => self.recoveries = self.recoveries.saturating_add(1),
            Event::Requested(_)
            | Event::VerifyStarted { .. }
            | Event::Succeeded
            | Event::Warned { .. } => {}
        }
        if self.status.is_end() {
            self.finished_at = Some(at);
        }
        Ok(())
    }
}
