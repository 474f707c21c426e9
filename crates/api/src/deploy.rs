//! The body of `POST /deploy` and its answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::deployment::Deployment;

/// The path that accepts a signed deployment request.
pub const DEPLOY_PATH: &str = "/deploy";

/// The header that carries `sha256=<64 hex digits>`, the signature of the raw body.
pub const SIGNATURE_HEADER: &str = "x-hub-signature-256";

/// What a client sends to `POST /deploy`. Fields that are not listed here are ignored by the daemon;
/// what has no value is left out, for `null` is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeployRequest {
    /// The image tag to run: 40 or 64 lower-case hexadecimal digits, unless the service widens it.
    pub image_sha: String,
    /// The configured service; may be left out where only one is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub service: Option<String>,
    /// The idempotency key: 1 to 128 of `A-Za-z0-9._:-`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub delivery_id: Option<String>,
    /// When the request was made, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub timestamp: Option<i64>,
    /// The manifest digest that the tag must resolve to, `sha256:` and 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub image_digest: Option<String>,
    /// An operator's decision to go on although the previous release could not be brought back; ignored in a signed
    /// request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub no_way_back: Option<bool>,
    /// An operator's decision to make a new container although this release runs already; ignored in a signed request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub force: Option<bool>,
}

/// The answer of `200` and `202`: the deployment, and the token that reads it later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeployAnswer {
    /// The deployment as it stands at the time of the answer.
    pub deployment: Deployment,
    /// Reads this one deployment, as `Authorization: Bearer <token>`.
    pub watch_token: String,
}

/// The body of `POST /v1/services/{service}/rollback`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RollbackRequest {
    /// The deployment whose release shall run again; the one before the present release if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// The body of `PUT /v1/services/{service}/pause`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PauseRequest {
    /// Why deployments are refused, shown to everyone whose request is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}
