//! `/metrics`, in Prometheus' text format, for a listener of its own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue};

use super::error::RequestCode;
use super::{ApiError, Front, unreadable};
use crate::metrics::ServiceGauges;

/// The format that prometheus-client writes.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn routes() -> Router<Front> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(front): State<Front>, headers: HeaderMap) -> Result<Response, ApiError> {
    expect_loopback(&headers)?;
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

/// Refuses a request for a host that is not this machine itself: a page in a browser here can have a name of its own
/// point to this address (DNS rebinding), and would read what is answered.
fn expect_loopback(headers: &HeaderMap) -> Result<(), ApiError> {
    // Without a header, as in HTTP/1.0, no browser asks.
    let Some(host) = headers.get(HOST) else {
        return Ok(());
    };
    match host.to_str().is_ok_and(is_loopback) {
        true => Ok(()),
        false => Err(ApiError::new(
            RequestCode::Forbidden,
            "metrics are told to this machine only, and the Host header names another one",
        )
        .with_hint("ask for http://127.0.0.1 and the port of `metrics_listen`")),
    }
}

/// Whether a Host header names the loopback interface.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(address, _)| address),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_told_to_a_host_that_is_the_machine_itself() {
        for (host, fine) in [
            ("127.0.0.1:9090", true),
            ("127.0.0.53", true),
            ("localhost:9090", true),
            ("LOCALHOST", true),
            ("[::1]:9090", true),
            ("[::ffff:127.0.0.1]", true),
            ("rebound.example.com:9090", false),
            ("localhost.example.com", false),
            ("127.0.0.1.example.com", false),
            ("10.0.0.1", false),
            ("[2001:db8::1]:9090", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(host));
            assert_eq!(expect_loopback(&headers).is_ok(), fine, "{host}");
        }
        assert!(expect_loopback(&HeaderMap::new()).is_ok());
    }
}
