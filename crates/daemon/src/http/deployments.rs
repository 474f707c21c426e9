//! `/v1/deployments`: what was deployed, and cancelling what has not switched yet.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use cutover_api::deployment::{Deployment, DeploymentPage};
use cutover_core::names::{DeploymentId, ServiceName};
use serde::Deserialize;
use utoipa::IntoParams;

use super::auth::{Caller, Operator, no_deployment};
use super::document::{Cancelling, Resource};
use super::error::{ApiError, RequestCode};
use super::limits::{PAGE_LEN, PAGE_LEN_MAX};
use super::{Front, request, unreadable, wire};

/// Shows one deployment.
#[utoipa::path(
    get,
    path = "/v1/deployments/{id}",
    operation_id = "show_deployment",
    tag = "deployments",
    params(("id" = String, Path, description = "The deployment's id")),
    responses((status = 200, description = "The deployment", body = Deployment), Resource),
    security(("watch_token" = []), ("operator_token" = []), ()),
)]
pub(super) async fn show(
    State(front): State<Front>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Deployment>, ApiError> {
    let id = DeploymentId::new(&id).map_err(|_| no_deployment())?;
    caller.may_read(&id)?;
    let found = front.journal().deployment(&id).await.map_err(unreadable)?;
    let found = found.ok_or_else(no_deployment)?;
    Ok(Json(front.view(&found).await?))
}

/// Cancels a deployment that has not switched yet.
///
/// Answers when the cancellation is recorded; nothing was changed then.
#[utoipa::path(
    delete,
    path = "/v1/deployments/{id}",
    operation_id = "cancel_deployment",
    tag = "deployments",
    params(("id" = String, Path, description = "The deployment's id")),
    responses((status = 200, description = "The cancelled deployment", body = Deployment), Cancelling),
    security(("operator_token" = []), ()),
)]
pub(super) async fn cancel(
    State(front): State<Front>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<Deployment>, ApiError> {
    let id = DeploymentId::new(&id).map_err(|_| no_deployment())?;
    match front.deployer().cancel(&id, &operator.actor).await {
        Ok(cancelled) => Ok(Json(front.view(&cancelled).await?)),
        Err(refused) => Err(front.refusal(refused).await),
    }
}

/// Which deployments a list shows.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Only those of this service.
    service: Option<String>,
    /// Only those older than this one, for the next page.
    before: Option<String>,
    /// How many, 1 to 100; 20 unless given.
    #[param(value_type = u32, required = false, minimum = 1, maximum = 100)]
    limit: Option<String>,
}

/// Lists deployments, newest first.
#[utoipa::path(
    get,
    path = "/v1/deployments",
    operation_id = "list_deployments",
    tag = "deployments",
    params(PageQuery),
    responses((status = 200, description = "One page", body = DeploymentPage), Resource),
    security(("operator_token" = []), ()),
)]
pub(super) async fn list(
    State(front): State<Front>,
    _operator: Operator,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<DeploymentPage>, ApiError> {
    let Query(query) = query.map_err(|error| parameter(error.body_text()))?;
    let page = Page::read(&query, &front)?;
    // One more than shown tells whether there is a next page.
    let journal = front.journal();
    let found = journal
        .page(page.service.as_ref(), page.before.as_ref(), page.limit + 1)
        .await
        .map_err(unreadable)?;
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    let deployments: Vec<Deployment> = found
        .iter()
        .take(limit)
        .map(|found| Deployment {
            log: Vec::new(),
            ..wire::deployment(found, &[])
        })
        .collect();
    let last = deployments.last().map(|deployment| deployment.id.clone());
    Ok(Json(DeploymentPage {
        next_before: last.filter(|_| more),
        deployments,
    }))
}

/// The same query, checked.
#[derive(Debug)]
struct Page {
    service: Option<ServiceName>,
    before: Option<DeploymentId>,
    limit: u32,
}

impl Page {
    /// Reads a query; a parameter without a value counts as left out.
    fn read(query: &PageQuery, front: &Front) -> Result<Self, ApiError> {
        let given = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
        let service = match given(&query.service) {
            None => None,
            Some(text) => Some(known_service(front, &text)?),
        };
        let before = match given(&query.before) {
            None => None,
            Some(text) => Some(
                DeploymentId::new(&text).map_err(|error| parameter(format!("before: {error}")))?,
            ),
        };
        let limit = match given(&query.limit) {
            None => PAGE_LEN,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=PAGE_LEN_MAX).contains(limit))
                .ok_or_else(|| parameter(format!("limit must be 1 to {PAGE_LEN_MAX}")))?,
        };
        Ok(Self {
            service,
            before,
            limit,
        })
    }
}

/// A service that is configured, for callers who may know which are.
pub(super) fn known_service(front: &Front, text: &str) -> Result<ServiceName, ApiError> {
    let name = ServiceName::new(text).ok();
    name.filter(|name| front.services().contains_key(name))
        .ok_or_else(|| request::unknown_service(text, front.services().keys()))
}

fn parameter(what: String) -> ApiError {
    ApiError::new(RequestCode::InvalidParameter, what)
}
