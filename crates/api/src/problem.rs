//! Errors, as `application/problem+json` (RFC 9457).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::deployment::Deployment;

/// The content type of a [`Problem`].
pub const PROBLEM_CONTENT_TYPE: &str = "application/problem+json";

/// Why a request was refused or a deployment did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `about:blank`: the code below tells the kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable word for it, for example `unauthorized`; docs/api.md lists all.
    pub code: String,
    /// What happened, and what was and was not changed.
    pub detail: String,
    /// What to do next.
    pub hint: String,
    /// Whether the same request may succeed later without a change.
    pub retriable: bool,
    /// The deployment, once one exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<Box<Deployment>>,
    /// Reads that deployment, as `Authorization: Bearer <token>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_token: Option<String>,
}
