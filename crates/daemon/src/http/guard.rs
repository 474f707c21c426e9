//! What surrounds every request: the log line, the counters, the answer to a panic, the headers of
//! every answer, and the refusal of what no route knows.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method};

use super::error::{AnswerCode, ApiError, RequestCode};
use super::listen::Peer;
use crate::metrics::Metrics;

/// The name of all addresses that do not exist, in the log and the metrics.
pub(super) const NO_ROUTE: &str = "none";

/// The name of all methods that are not HTTP's own, and of those that were not read.
pub(super) const OTHER_METHOD: &str = "other";

/// Puts the guard around `routes`, whose handlers ask `state`.
pub(super) fn around<S>(routes: Router<S>, state: S, metrics: Metrics) -> Router
where
    S: Clone + Send + Sync + 'static,
{
    routes
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(metrics, watch_over))
        .with_state(state)
}

async fn no_route() -> ApiError {
    ApiError::new(RequestCode::NotFound, "there is nothing at this address")
}

async fn no_method() -> ApiError {
    ApiError::new(
        RequestCode::MethodNotAllowed,
        "this resource does not have that method; nothing was changed",
    )
}

async fn watch_over(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = method_name(request.method());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let peer = request.extensions().get::<Peer>().copied();
    // No address needs percent-encoding. One that has it is a way to write another address twice.
    let response = if request.uri().path().contains('%') {
        no_route().await.into_response()
    } else {
        match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            Err(panic) => {
                ApiError::internal(format!("panic: {}", panic_words(&*panic))).into_response()
            }
        }
    };
    let response = with_headers(response);
    let status = response.status().as_u16();
    let code = response.extensions().get::<AnswerCode>().map(|code| code.0);
    metrics.answered(method, route, status);
    if let Some(code) = code {
        metrics.refused(code);
    }
    tracing::info!(
        method,
        route,
        status,
        code,
        peer = peer.map(Peer::show),
        duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "request answered"
    );
    response
}

/// The method's name where it is one of HTTP's own; anybody can invent others.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => OTHER_METHOD,
    }
}

fn panic_words(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::routing::get;
    use http::StatusCode;
    use http::header::CONTENT_TYPE;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    /// Status and code of the answer to a request for `path`.
    async fn ask(method: &str, path: &str) -> (StatusCode, String) {
        let routes = Router::new()
            .route("/fine", get(async || "fine"))
            .route("/broken", get(async || panic!("secret words") as &str));
        let metrics = Metrics::new();
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::empty()).expect("a request");
        let router = around(routes, (), metrics.clone());
        let response = router.oneshot(request).await.expect("never fails");
        let (head, body) = response.into_parts();
        assert_eq!(head.headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(head.headers[CACHE_CONTROL], "no-store");
        let counted = metrics.encode(&[]).expect("text");
        assert!(counted.contains(&format!("status=\"{}\"", head.status.as_u16())));
        if head.status == StatusCode::OK {
            return (head.status, String::new());
        }
        assert_eq!(head.headers[CONTENT_TYPE], "application/problem+json");
        if head.status == StatusCode::METHOD_NOT_ALLOWED {
            assert_eq!(head.headers["allow"], "GET,HEAD");
        }
        let body = body.collect().await.expect("a body").to_bytes();
        let text = std::str::from_utf8(&body).expect("text");
        assert!(!text.contains("secret words"), "{text}");
        let problem: cutover_api::problem::Problem = serde_json::from_str(text).expect("a problem");
        (head.status, problem.code)
    }

    #[tokio::test]
    async fn every_answer_that_is_not_a_handlers_is_a_problem() {
        for (method, path, status, code) in [
            ("GET", "/fine", StatusCode::OK, ""),
            (
                "GET",
                "/broken",
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
            ),
            (
                "PUT",
                "/fine",
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
            ),
            (
                "X-OWN",
                "/fine",
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
            ),
            ("GET", "/", StatusCode::NOT_FOUND, "not_found"),
            ("GET", "/fine/", StatusCode::NOT_FOUND, "not_found"),
            ("GET", "//fine", StatusCode::NOT_FOUND, "not_found"),
            ("GET", "/%66ine", StatusCode::NOT_FOUND, "not_found"),
            ("GET", "/x/../fine", StatusCode::NOT_FOUND, "not_found"),
            ("GET", "/FINE", StatusCode::NOT_FOUND, "not_found"),
        ] {
            let expected = (status, code.to_owned());
            assert_eq!(ask(method, path).await, expected, "{method} {path}");
        }
    }

    #[test]
    fn a_panics_words_are_found() {
        assert_eq!(panic_words(&"text"), "text");
        assert_eq!(panic_words(&"text".to_owned()), "text");
        assert_eq!(panic_words(&17), "without a message");
    }
}
