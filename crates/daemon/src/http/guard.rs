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

use super::Front;
use super::error::{AnswerCode, ApiError, RequestCode};
use super::listen::Peer;

/// The name of all addresses that do not exist, in the log and the metrics.
const NO_ROUTE: &str = "none";

/// Puts the guard around `routes`.
pub(super) fn around(routes: Router<Front>, front: Front) -> Router {
    routes
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(front.clone(), watch_over))
        .with_state(front)
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

async fn watch_over(State(front): State<Front>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = method_name(request.method());
    let route = match request.extensions().get::<MatchedPath>() {
        Some(path) => path.as_str().to_owned(),
        None => NO_ROUTE.to_owned(),
    };
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
    front.metrics().answered(method, &route, status);
    if let Some(code) = code {
        front.metrics().refused(code);
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
        _ => "other",
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

    #[test]
    fn a_panics_words_are_found() {
        assert_eq!(panic_words(&"text"), "text");
        assert_eq!(panic_words(&"text".to_owned()), "text");
        assert_eq!(panic_words(&17), "without a message");
    }
}
