//! Why a request was refused: the stable words, their HTTP statuses and the problem body.
//!
//! These are refusals of a *request*; nothing was recorded then, but for `not_ended`, and for `shutting_down`
//! where it shows the deployment. How a *deployment* ended is told in [`super::answer`].

use std::borrow::Cow;
use std::error::Error;
use std::sync::LazyLock;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cutover_api::deployment::Deployment;
use cutover_api::problem::{PROBLEM_CONTENT_TYPE, Problem};
use http::header::{CONNECTION, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

macro_rules! request_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal, $status:ident, $hint:literal;)+) => {
        /// The stable word for why a request was refused, as listed in docs/api.md.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum RequestCode { $($(#[doc = $doc])+ $name,)+ }

        impl RequestCode {
            /// Every code, in the order of docs/api.md.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The word on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            /// What to do next, where the refusal itself does not know better.
            #[must_use]
            pub fn hint(self) -> &'static str {
                match self { $(Self::$name => $hint,)+ }
            }
        }
    };
}

request_codes! {
    /// Not one well-formed HTTP/1.1 request.
    BadRequest = "bad_request", BAD_REQUEST,
        "send one well-formed HTTP/1.1 request, with either Content-Length or chunked encoding";
    /// The body is not JSON.
    MalformedJson = "malformed_json", BAD_REQUEST,
        "send one JSON object in UTF-8, without a byte order mark; `jq . < body.json` shows where it breaks";
    /// A field appears twice.
    DuplicateKey = "duplicate_key", BAD_REQUEST,
        "send each field once";
    /// No valid signature or token.
    Unauthorized = "unauthorized", UNAUTHORIZED,
        "check that both sides use the same secret and that nothing changes the request on its way";
    /// The signature is valid, the timestamp is too far from the server's clock.
    StaleRequest = "stale_request", UNAUTHORIZED,
        "make the timestamp when the request is sent, and check both clocks (`timedatectl`)";
    /// Known, but not allowed to do this.
    Forbidden = "forbidden", FORBIDDEN,
        "use the key that lists this service under `services`, or an operator token";
    /// No such resource, or not one that this caller may know of.
    NotFound = "not_found", NOT_FOUND,
        "GET /openapi.json lists every resource";
    /// No such service is configured.
    UnknownService = "unknown_service", NOT_FOUND,
        "use a name under `[services]` of the server's configuration; `cutover status` lists them";
    /// The resource exists, the method does not.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED,
        "use a method that the Allow header lists";
    /// The request did not arrive in time.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT,
        "send the request in one go";
    /// The same delivery is still under way.
    InProgress = "in_progress", CONFLICT,
        "follow the deployment that Location names instead of sending the request again";
    /// Another deployment of the service is under way, and none may wait.
    DeploymentInProgress = "deployment_in_progress", CONFLICT,
        "send the request again when the deployment under way has ended, or set `when_busy = \"wait\"` for the service";
    /// An operator paused the service.
    Paused = "paused", CONFLICT,
        "wait for the operator, or run `cutover resume` for this service on the server";
    /// A rollback failed and nobody has looked yet.
    OperatorActionRequired = "operator_action_required", CONFLICT,
        "log in to the server: `cutover status` says what runs; `cutover resume` accepts deployments again";
    /// The deployment has switched or has ended.
    TooLate = "too_late", CONFLICT,
        "to take a release back, roll back to an earlier one (`cutover rollback`)";
    /// There is no release to go back to.
    NoRelease = "no_release", CONFLICT,
        "`cutover history` lists the releases; only those whose image is still on the machine can come back";
    /// The body's length is not given.
    LengthRequired = "length_required", LENGTH_REQUIRED,
        "send Content-Length, as curl does with --data-binary";
    /// The body is larger than 1 MiB.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE,
        "send only the fields that `cutover help api` and /openapi.json list";
    /// The body is not declared as JSON.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE,
        "send `Content-Type: application/json`";
    /// The body is compressed.
    UnsupportedEncoding = "unsupported_encoding", UNSUPPORTED_MEDIA_TYPE,
        "send the body uncompressed, without Content-Encoding";
    /// The body is JSON, but not an object.
    InvalidRequest = "invalid_request", UNPROCESSABLE_ENTITY,
        "send a JSON object with the fields that `cutover help api` and /openapi.json list";
    /// A required field is missing.
    MissingField = "missing_field", UNPROCESSABLE_ENTITY,
        "add the field; `cutover help api` says when each is required";
    /// A field has another JSON type.
    InvalidType = "invalid_type", UNPROCESSABLE_ENTITY,
        "`cutover help api` gives the type of each field; leave out what has no value instead of sending null";
    /// `image_sha` is not an allowed tag.
    InvalidImageSha = "invalid_image_sha", UNPROCESSABLE_ENTITY,
        "send the full commit sha that the image is tagged with, or set `tag_pattern` for the service";
    /// `service` cannot be the name of a service.
    InvalidService = "invalid_service", UNPROCESSABLE_ENTITY,
        "send a name under `[services]` of the server's configuration";
    /// `delivery_id` has a form that is not allowed.
    InvalidDeliveryId = "invalid_delivery_id", UNPROCESSABLE_ENTITY,
        "make the id of a run and its attempt, for example `1234567-1`";
    /// `timestamp` is not Unix seconds.
    InvalidTimestamp = "invalid_timestamp", UNPROCESSABLE_ENTITY,
        "send whole Unix seconds as a number, as `date +%s` prints them";
    /// `image_digest` is not a digest.
    InvalidImageDigest = "invalid_image_digest", UNPROCESSABLE_ENTITY,
        "send `sha256:` and 64 lower-case hexadecimal digits, or leave the field out";
    /// A parameter of the address is wrong.
    InvalidParameter = "invalid_parameter", UNPROCESSABLE_ENTITY,
        "`cutover help api` lists the parameters of each resource";
    /// The delivery id was used for another request.
    DeliveryIdReused = "delivery_id_reused", UNPROCESSABLE_ENTITY,
        "use a new delivery id for each request that is not a repetition";
    /// Too many or too long headers.
    HeadersTooLarge = "headers_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE,
        "send at most 64 headers and at most 16 KiB of them";
    /// A defect of cutover.
    Internal = "internal", INTERNAL_SERVER_ERROR,
        "look at `journalctl -u cutover`, and report this as a defect";
    /// The daemon stopped in the middle of an accepted deployment.
    NotEnded = "not_ended", INTERNAL_SERVER_ERROR,
        "follow the deployment that Location names once the daemon is back: its next start finishes it or rolls it back";
    /// The daemon is still putting right what it found at its start.
    Recovering = "recovering", SERVICE_UNAVAILABLE,
        "send the request again in a moment";
    /// The daemon is stopping.
    ShuttingDown = "shutting_down", SERVICE_UNAVAILABLE,
        "send the request again once the daemon is back";
    /// Docker does not answer.
    DockerUnavailable = "docker_unavailable", SERVICE_UNAVAILABLE,
        "check that Docker runs on the server (`systemctl status docker`), then send the request again";
    /// The journal cannot be written.
    JournalUnavailable = "journal_unavailable", SERVICE_UNAVAILABLE,
        "check permissions and file system of the state directory, then send the request again";
    /// The journal cannot be written because the disk is full.
    InsufficientStorage = "insufficient_storage", INSUFFICIENT_STORAGE,
        "free disk space on the server, then send the request again";
    /// Too much is going on at once.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE,
        "send the request again in a moment";
}

impl RequestCode {
    /// Seconds after which the same request may fare better; given with every refusal by 409 and 503.
    #[must_use]
    pub fn retry_after(self) -> Option<u32> {
        match self {
            Self::InProgress | Self::Recovering | Self::Overloaded => Some(5),
            Self::ShuttingDown | Self::DockerUnavailable | Self::JournalUnavailable => Some(10),
            Self::InsufficientStorage => Some(60),
            _ if self.status() == StatusCode::CONFLICT => Some(60),
            _ => None,
        }
    }

    /// Whether the same request may succeed later although nobody changes anything.
    #[must_use]
    pub fn retriable(self) -> bool {
        matches!(
            self.status(),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::REQUEST_TIMEOUT
        )
    }

    /// Whether the rest of the connection cannot be trusted or is not worth reading.
    fn ends_connection(self) -> bool {
        matches!(
            self,
            Self::BadRequest
                | Self::RequestTimeout
                | Self::BodyTooLarge
                | Self::LengthRequired
                | Self::HeadersTooLarge
        )
    }
}

/// A refused request. The source goes to the log, never to the caller.
#[derive(Debug)]
pub struct ApiError {
    code: RequestCode,
    detail: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    source: Option<Box<dyn Error + Send + Sync>>,
    deployment: Option<Box<Deployment>>,
    watch_token: Option<String>,
    /// What the resource wants of whom it does not know or believe; goes with every 401. Nothing is added
    /// to a refusal by [`Self::unauthorized`], whose body is the same for all.
    challenge: Option<&'static str>,
}

/// The body that everybody who is not known gets, whatever the resource. It is made once: strangers can
/// ask for it as often as they like.
static UNAUTHORIZED: LazyLock<Bytes> =
    LazyLock::new(|| body(&ApiError::unauthorized("").into_problem()));

impl ApiError {
    /// A refusal with what happened, as a sentence fragment for the caller.
    #[must_use]
    pub fn new(code: RequestCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            hint: None,
            source: None,
            deployment: None,
            watch_token: None,
            challenge: None,
        }
    }

    /// The one answer to whoever is not known, whatever the reason; `challenge` names what the
    /// resource wants.
    #[must_use]
    pub(super) fn unauthorized(challenge: &'static str) -> Self {
        let mut error = Self::new(
            RequestCode::Unauthorized,
            "the request carries no valid signature or token for this resource; nothing was changed",
        );
        error.challenge = Some(challenge);
        error
    }

    /// The refusal of a request whose signature is valid and whose time is not; `challenge` as in
    /// [`Self::unauthorized`].
    #[must_use]
    pub(super) fn stale(challenge: &'static str, detail: String) -> Self {
        let mut error = Self::new(RequestCode::StaleRequest, detail);
        error.challenge = Some(challenge);
        error
    }

    /// A defect of cutover, or of what it stands on; only the log says which.
    #[must_use]
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let mut error = Self::new(
            RequestCode::Internal,
            "cutover could not answer this; the server's log says why",
        );
        error.source = Some(source.into());
        error
    }

    /// Replaces the code's hint by a better one.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Shows the deployment that stands in the way, and the token that reads it.
    #[must_use]
    pub fn with_deployment(mut self, deployment: Deployment, watch_token: Option<String>) -> Self {
        self.deployment = Some(Box::new(deployment));
        self.watch_token = watch_token;
        self
    }

    /// The stable word.
    #[must_use]
    pub fn code(&self) -> RequestCode {
        self.code
    }

    /// The body.
    #[must_use]
    pub fn into_problem(self) -> Problem {
        let hint = self.hint.unwrap_or_else(|| Cow::Borrowed(self.code.hint()));
        Problem {
            deployment: self.deployment,
            watch_token: self.watch_token,
            ..problem(
                self.code.status(),
                self.code.as_str(),
                self.detail,
                hint,
                self.code.retriable(),
            )
        }
    }
}

/// The word that an answer's body carries as `code`, for the access log and the metrics.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnswerCode(pub(super) &'static str);

impl IntoResponse for ApiError {
    fn into_response(mut self) -> Response {
        if let Some(source) = self.source.take() {
            let error = source.as_ref();
            tracing::error!(
                error,
                code = self.code.as_str(),
                "request could not be answered"
            );
        }
        let code = self.code;
        let challenge = self.challenge;
        let location = self
            .deployment
            .as_ref()
            .and_then(|deployment| HeaderValue::try_from(location(&deployment.id)).ok());
        let body = match code {
            RequestCode::Unauthorized => UNAUTHORIZED.clone(),
            _ => body(&self.into_problem()),
        };
        let mut response = with_body(code.status(), body);
        response.extensions_mut().insert(AnswerCode(code.as_str()));
        let headers = response.headers_mut();
        if let Some(location) = location {
            headers.insert(LOCATION, location);
        }
        if let Some(challenge) = challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = code.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if code.ends_connection() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The address of a deployment.
pub(super) fn location(id: &str) -> String {
    format!("/v1/deployments/{id}")
}

/// A problem without a deployment.
pub(super) fn problem(
    status: StatusCode,
    code: &str,
    detail: impl Into<String>,
    hint: impl Into<String>,
    retriable: bool,
) -> Problem {
    Problem {
        kind: "about:blank".to_owned(),
        title: status.canonical_reason().unwrap_or_default().to_owned(),
        status: status.as_u16(),
        code: code.to_owned(),
        detail: detail.into(),
        hint: hint.into(),
        retriable,
        deployment: None,
        watch_token: None,
    }
}

/// A problem as an answer.
pub(super) fn problem_response(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    with_body(status, body(problem))
}

fn body(problem: &Problem) -> Bytes {
    serde_json::to_vec(problem).unwrap_or_default().into()
}

fn with_body(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(PROBLEM_CONTENT_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
