//! What is stored: the vocabulary of the journal's rows.
//!
//! It is neither the domain's nor the wire's, so that a change of one does not move the others;
//! `convert` translates. A field that is not known is passed over, a kind that is not known is damage. So
//! a field may be added with a default, but a new kind of event, code or word needs a new version of the
//! journal (a migration, even an empty one), or an older program would take it for a broken file.

use serde::{Deserialize, Serialize};

/// The largest event. Whoever makes events bounds them far below; this is what the ballast relies on.
pub(super) const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// An event, as the JSON in `events.body`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum EventRow {
    Requested(RequestRow),
    PullStarted { reference: String },
    ImagePinned(ImageRow),
    FoundUnchanged { container: String },
    StageStarted { previous: Option<PreviousRow> },
    Staged(StagedRow),
    SwitchStarted,
    Switched { outage_ms: u64 },
    VerifyStarted { checks: String },
    Committed,
    Succeeded,
    Failed(FailureRow),
    RollbackStarted(FailureRow),
    Restored { outage_ms: u64 },
    RolledBack,
    RollbackFailed { cause: CauseRow, runs: String },
    Cancelled { why: String },
    RecoveryStarted,
    Warned { what: String },
}

/// What was asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RequestRow {
    pub(super) service: String,
    pub(super) tag: String,
    pub(super) digest: Option<String>,
    pub(super) actor: String,
    pub(super) delivery_id: Option<String>,
    pub(super) fingerprint: String,
    pub(super) rollback_to: Option<String>,
}

/// A pinned image.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ImageRow {
    pub(super) reference: String,
    pub(super) digest: Option<String>,
    pub(super) id: String,
}

/// The container that is replaced.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PreviousRow {
    pub(super) container: String,
    pub(super) name: String,
    pub(super) image: String,
    pub(super) image_id: String,
    pub(super) condition: ConditionRow,
    pub(super) restart_policy: RestartPolicyRow,
}

/// How it was found.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ConditionRow {
    Healthy,
    Running,
    Starting,
    Unhealthy,
    Stopped,
}

/// Docker's restart policy.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RestartPolicyRow {
    pub(super) name: String,
    pub(super) retries_max: i64,
}

/// The new container.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StagedRow {
    pub(super) container: String,
    pub(super) name: String,
    pub(super) restart_policy: RestartPolicyRow,
}

/// Why the new release failed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FailureRow {
    pub(super) cause: CauseRow,
    pub(super) log: Vec<String>,
}

/// A cause; `code` and `step` are the domain's stable words.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CauseRow {
    pub(super) code: String,
    pub(super) step: String,
    pub(super) detail: String,
}
