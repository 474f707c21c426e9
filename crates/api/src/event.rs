//! What `GET /v1/deployments/{id}/events` streams, as server-sent events.
//!
//! The `event:` field of the stream is the name given with each type below and `data:` is its JSON.
//! Only [`EventLine`](crate::deployment::EventLine)s have an `id:`, their `seq`; a client that was cut
//! off sends the last one as `Last-Event-ID` and gets everything recorded after it. Pull progress and
//! container output are live only and not repeated. The last event is always `outcome`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `event: journal`: an [`EventLine`](crate::deployment::EventLine).
pub const JOURNAL_EVENT: &str = "journal";
/// `event: progress`: a [`PullProgress`].
pub const PROGRESS_EVENT: &str = "progress";
/// `event: output`: an [`OutputLine`].
pub const OUTPUT_EVENT: &str = "output";
/// `event: outcome`: a [`DeployAnswer`](crate::deploy::DeployAnswer)-free [`Deployment`](crate::deployment::Deployment); the stream ends after it.
pub const OUTCOME_EVENT: &str = "outcome";

/// How far the pull is, over all layers known so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PullProgress {
    /// Bytes fetched.
    pub current_bytes: u64,
    /// Bytes to fetch, as far as the registry has said.
    pub total_bytes: u64,
    /// Layers that are complete.
    pub layers_done: u32,
    /// Layers known.
    pub layers: u32,
}

/// One line that the new container wrote, masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutputLine {
    /// `stdout` or `stderr`.
    pub stream: String,
    /// The line without its line break.
    pub line: String,
}
