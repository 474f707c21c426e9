//! `/v1/services`: what runs, and what an operator does about it.

use axum::Json;
use axum::extract::{FromRequest, Path, Request, State};
use axum::response::Response;
use cutover_api::deploy::{DeployAnswer, PauseRequest, RollbackRequest};
use cutover_api::service::{Service, ServiceList};
use cutover_core::names::DeploymentId;
use serde_json::Value;

use super::answer::{self, Wanted};
use super::auth::Operator;
use super::body::{self, Presence};
use super::deployments::known_service;
use super::document::{Change, Refusals, Resource};
use super::error::{ApiError, RequestCode};
use super::json::Fields;
use super::{Front, wire};
use crate::deployer::{Refused, ServiceView};

/// The longest reason for a pause; everybody whose request is refused reads it.
pub(super) const WHY_LEN_MAX: usize = 500;

/// Lists all configured services, by name.
#[utoipa::path(
    get,
    path = "/v1/services",
    operation_id = "list_services",
    tag = "services",
    responses((status = 200, description = "All services", body = ServiceList), Resource),
    security(("operator_token" = []), ()),
)]
pub(super) async fn list(
    State(front): State<Front>,
    _operator: Operator,
) -> Result<Json<ServiceList>, ApiError> {
    let mut services = Vec::new();
    for name in front.services().keys() {
        let view = front.deployer().service(name).await;
        services.push(viewed(&front, view).await?.0);
    }
    Ok(Json(ServiceList { services }))
}

/// Shows one service.
#[utoipa::path(
    get,
    path = "/v1/services/{service}",
    operation_id = "show_service",
    tag = "services",
    params(("service" = String, Path, description = "Its name in the configuration")),
    responses((status = 200, description = "The service", body = Service), Resource),
    security(("operator_token" = []), ()),
)]
pub(super) async fn show(
    State(front): State<Front>,
    _operator: Operator,
    Path(service): Path<String>,
) -> Result<Json<Service>, ApiError> {
    let service = known_service(&front, &service)?;
    let view = front.deployer().service(&service).await;
    viewed(&front, view).await
}

/// Deploys an earlier release again, from local images.
///
/// Answered like `POST /deploy`.
#[utoipa::path(
    post,
    path = "/v1/services/{service}/rollback",
    operation_id = "roll_back",
    tag = "services",
    request_body(content = RollbackRequest, description = "May be left out"),
    params(
        ("service" = String, Path, description = "Its name in the configuration"),
        ("Prefer" = Option<String>, Header, description = "`respond-async` to be answered as soon as the deployment is recorded"),
    ),
    responses(
        (status = 200, description = "Succeeded, or unchanged", body = DeployAnswer),
        (status = 202, description = "Recorded; follow the address in Location", body = DeployAnswer),
        Refusals,
    ),
    security(("operator_token" = []), ()),
)]
pub(super) async fn roll_back(
    State(front): State<Front>,
    operator: Operator,
    Path(service): Path<String>,
    wanted: Wanted,
    OptionalFields(fields): OptionalFields,
) -> Result<Response, ApiError> {
    let service = known_service(&front, &service)?;
    let to = match text(&fields, "to")? {
        None => None,
        Some(text) => Some(DeploymentId::new(&text).map_err(|error| {
            let detail = format!("`to` must be {}; nothing was changed", error.allowed);
            ApiError::new(RequestCode::InvalidParameter, detail)
        })?),
    };
    let deployer = front.deployer();
    match deployer.roll_back(&service, to, operator.actor).await {
        Ok(accepted) => answer::accepted(&front, accepted, wanted).await,
        Err(refused) => Err(front.refusal(refused).await),
    }
}

/// Refuses deployments of a service from now on; what runs or waits goes on.
#[utoipa::path(
    put,
    path = "/v1/services/{service}/pause",
    operation_id = "pause_service",
    tag = "services",
    request_body(content = PauseRequest, description = "May be left out"),
    params(("service" = String, Path, description = "Its name in the configuration")),
    responses((status = 200, description = "The service", body = Service), Change),
    security(("operator_token" = []), ()),
)]
pub(super) async fn pause(
    State(front): State<Front>,
    operator: Operator,
    Path(service): Path<String>,
    OptionalFields(fields): OptionalFields,
) -> Result<Json<Service>, ApiError> {
    let service = known_service(&front, &service)?;
    let why = text(&fields, "why")?.filter(|why| !why.is_empty());
    if why
        .as_ref()
        .is_some_and(|why| why.len() > WHY_LEN_MAX || why.contains(char::is_control))
    {
        let detail =
            format!("`why` must be one line of at most {WHY_LEN_MAX} bytes; nothing was changed");
        return Err(ApiError::new(RequestCode::InvalidParameter, detail));
    }
    tracing::info!(service.name = %service, actor = operator.actor, why, "service paused");
    let view = front.deployer().pause(&service, why).await;
    viewed(&front, view).await
}

/// Accepts deployments of a service again, and takes back that it needs an operator.
#[utoipa::path(
    delete,
    path = "/v1/services/{service}/pause",
    operation_id = "resume_service",
    tag = "services",
    params(("service" = String, Path, description = "Its name in the configuration")),
    responses((status = 200, description = "The service", body = Service), Resource),
    security(("operator_token" = []), ()),
)]
pub(super) async fn resume(
    State(front): State<Front>,
    operator: Operator,
    Path(service): Path<String>,
) -> Result<Json<Service>, ApiError> {
    let service = known_service(&front, &service)?;
    tracing::info!(service.name = %service, actor = operator.actor, "service resumed");
    let view = front.deployer().resume(&service).await;
    viewed(&front, view).await
}

async fn viewed(
    front: &Front,
    view: Result<ServiceView, Refused>,
) -> Result<Json<Service>, ApiError> {
    match view {
        Ok(view) => Ok(Json(wire::service(&view))),
        Err(refused) => Err(front.refusal(refused).await),
    }
}

/// The fields of a body that may be left out. Comes after [`Operator`] in a handler, so that nobody
/// unknown is read.
#[derive(Debug)]
pub(super) struct OptionalFields(Option<Fields>);

impl FromRequest<Front> for OptionalFields {
    type Rejection = ApiError;

    async fn from_request(request: Request, front: &Front) -> Result<Self, ApiError> {
        let (head, body) = request.into_parts();
        let body = body::read_json(&head, body, front.body_memory(), Presence::Optional).await?;
        if body.bytes.is_empty() {
            return Ok(Self(None));
        }
        Fields::read(&body.bytes).map(|fields| Self(Some(fields)))
    }
}

/// A field that is a string; an operator's client may send null for what is left out.
fn text(fields: &Option<Fields>, name: &str) -> Result<Option<String>, ApiError> {
    match fields.as_ref().and_then(|fields| fields.get(name)) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(ApiError::new(
            RequestCode::InvalidType,
            format!("`{name}` must be a string; nothing was changed"),
        )),
    }
}
