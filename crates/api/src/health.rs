//! Whether the daemon lives, and whether it can take work.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer of `GET /healthz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alive {
    /// Always true: a daemon that is not alive does not answer.
    pub alive: bool,
}

/// The answer of `GET /readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    /// Whether deployments are taken.
    pub ready: bool,
    /// Why not; in detail for an operator only.
    pub why: Option<String>,
    /// How many services need an operator.
    pub services_needing_operator: usize,
    /// Which; for an operator only, empty for others.
    pub needs_operator: Vec<String>,
}
