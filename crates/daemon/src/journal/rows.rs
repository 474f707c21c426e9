//! What is stored: the vocabulary of the journal's rows.
//!
//! It is neither the domain's nor the wire's, so that a change of one does not move the others;
//! `convert` translates. A field that is not known is passed over, a kind that is not known is damage. So
//! a field may be added with a default, but a new kind of event, code or word needs a new version of the
//! journal (a migration, even an empty one), or an older program would take it for a broken file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The largest event. Whoever makes events bounds them far below; this is what the ballast relies on.
pub(in crate::journal) const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// An event, as the JSON in `events.body`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(in crate::journal) enum EventRow {
    Requested(RequestRow),
    PullStarted {
        reference: String,
    },
    ImagePinned(ImageRow),
    FoundUnchanged {
        container: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<ProofRow>,
    },
    StageStarted(StageStartedRow),
    Staged(StagedRow),
    JobStarted {
        service: String,
    },
    JobEnded {
        service: String,
        code: i64,
    },
    DependentsRestarted {
        services: Vec<String>,
    },
    Held {
        connections: u64,
        longest_ms: u64,
    },
    SwitchStarted,
    Switched {
        #[serde(default, skip_serializing_if = "String::is_empty")]
        service: String,
        outage_ms: u64,
    },
    VerifyStarted {
        checks: String,
    },
    Committed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<ProofRow>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        proofs: BTreeMap<String, ProofRow>,
    },
    Succeeded,
    Failed(FailureRow),
    RollbackStarted(FailureRow),
    Restored {
        outage_ms: u64,
    },
    Recreated(RecreatedRow),
    RolledBack {
        #[serde(default)]
        condition: Option<ConditionRow>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<ProofRow>,
    },
    RollbackFailed {
        cause: CauseRow,
        runs: String,
    },
    Cancelled {
        why: String,
    },
    RecoveryStarted,
    Warned {
        what: String,
    },
}

/// What was seen of a container.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::journal) struct ProofRow {
    /// Whether a health check or a probe said so.
    pub(in crate::journal) checked: bool,
    pub(in crate::journal) for_ms: u64,
    pub(in crate::journal) answered_after_ms: u64,
}

/// What was asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::journal) struct RequestRow {
    pub(in crate::journal) service: String,
    pub(in crate::journal) tag: String,
    pub(in crate::journal) digest: Option<String>,
    pub(in crate::journal) actor: String,
    pub(in crate::journal) delivery_id: Option<String>,
    pub(in crate::journal) fingerprint: String,
    pub(in crate::journal) rollback_to: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::journal) no_way_back: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::journal) force: bool,
}

/// A pinned image.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::journal) struct ImageRow {
    pub(in crate::journal) reference: String,
    pub(in crate::journal) digest: Option<String>,
    pub(in crate::journal) id: String,
}

/// The containers that are replaced.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::journal) struct StageStartedRow {
    #[serde(default)]
    pub(in crate::journal) old: Vec<ReplicaRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::journal) tag_line: Option<TagLineRow>,
    /// The only one, as 0.1.0 wrote it.
    #[serde(default, skip_serializing)]
    pub(in crate::journal) previous: Option<ReplicaRow>,
}

/// What stood in the env file in the tag's place.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::journal) struct TagLineRow {
    pub(in crate::journal) file: String,
    pub(in crate::journal) variable: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::journal) digest: Option<String>,
    pub(in crate::journal) before: TagBeforeRow,
}

/// A value as it was written, or that there was none.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::journal) enum TagBeforeRow {
    Value(String),
    NoLine,
    NoFile,
}

/// The new containers.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::journal) struct StagedRow {
    #[serde(default)]
    pub(in crate::journal) new: Vec<ReplicaRow>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::journal) jobs: Vec<ReplicaRow>,
    /// The only one, as 0.1.0 wrote it: these three.
    #[serde(default, skip_serializing)]
    pub(in crate::journal) container: Option<String>,
    #[serde(default, skip_serializing)]
    pub(in crate::journal) name: Option<String>,
    #[serde(default, skip_serializing)]
    pub(in crate::journal) restart_policy: Option<RestartPolicyRow>,
}

/// One container of a service. What has a default was not recorded by 0.1.0.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::journal) struct ReplicaRow {
    #[serde(default)]
    pub(in crate::journal) project: String,
    #[serde(default)]
    pub(in crate::journal) service: String,
    #[serde(default = "first")]
    pub(in crate::journal) number: u32,
    pub(in crate::journal) container: String,
    pub(in crate::journal) name: String,
    pub(in crate::journal) image: String,
    pub(in crate::journal) image_id: String,
    pub(in crate::journal) restart_policy: RestartPolicyRow,
    #[serde(default)]
    pub(in crate::journal) aliases: BTreeMap<String, Vec<String>>,
    pub(in crate::journal) condition: ConditionRow,
}

fn first() -> u32 {
    1
}

/// A previous container that was created anew.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::journal) struct RecreatedRow {
    pub(in crate::journal) replaces: String,
    pub(in crate::journal) replica: ReplicaRow,
    pub(in crate::journal) from: OriginRow,
}

/// What it was made of.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::journal) enum OriginRow {
    SameConfiguration,
    PreviousImage,
}

/// How it was found.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::journal) enum ConditionRow {
    Healthy,
    Running,
    Starting,
    Unhealthy,
    Restarting,
    Stopped,
}

/// Docker's restart policy.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::journal) struct RestartPolicyRow {
    pub(in crate::journal) name: String,
    pub(in crate::journal) retries_max: i64,
}

/// Why the new release failed.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::journal) struct FailureRow {
    pub(in crate::journal) cause: CauseRow,
    pub(in crate::journal) log: Vec<String>,
}

/// A cause; `code` and `step` are the domain's stable words.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::journal) struct CauseRow {
    pub(in crate::journal) code: String,
    pub(in crate::journal) step: String,
    pub(in crate::journal) detail: String,
}
