//! `/metrics`, in Prometheus' text format, for a listener of its own.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use super::{ApiError, Front, unreadable};
use crate::metrics::ServiceGauges;

/// The format that prometheus-client writes.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn routes() -> Router<Front> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(front): State<Front>) -> Result<Response, ApiError> {
    let journal = front.journal();
    let mut unfinished: BTreeMap<String, usize> = BTreeMap::new();
    for deployment in journal.unfinished().await.map_err(unreadable)? {
        let service = deployment.request.service.as_str().to_owned();
        *unfinished.entry(service).or_default() += 1;
    }
    let mut services = Vec::new();
    for name in front.services().keys() {
        let flags = journal.flags(name).await.map_err(unreadable)?;
        services.push(ServiceGauges {
            service: name.as_str().to_owned(),
            unfinished: unfinished.get(name.as_str()).copied().unwrap_or(0),
            needs_operator: flags.needs_operator.is_some(),
            paused: flags.paused.is_some(),
        });
    }
    let text = front
        .metrics()
        .encode(&services)
        .map_err(ApiError::internal)?;
    Ok((
        [(CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS))],
        text,
    )
        .into_response())
}
