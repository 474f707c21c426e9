//! Moves calls between Compose and Docker: as they are, or with a JSON body changed on the way.
//!
//! Each call gets a connection of its own: Docker is on the same machine, and a connection that is not
//! reused cannot be found dead.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use super::Body;

/// A container with a thousand inlined configuration files would still fit.
const JSON_BYTES_MAX: usize = 32 << 20;

/// A local socket that does not accept within this time has nobody behind it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A call could not be passed on.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForwardError {
    #[error("connecting to {0}: {1}")]
    Connect(String, std::io::Error),
    #[error("the connection broke: {0}")]
    Http(#[from] hyper::Error),
    #[error("a body was cut off or larger than {JSON_BYTES_MAX} bytes: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("a body was not JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Passes a call to Docker and the answer back, both as they are, following an upgrade if there is one.
pub(super) async fn pass(
    docker: &Path,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, ForwardError> {
    let from_compose = hyper::upgrade::on(&mut request);
    let mut response = send(docker, request.map(BodyExt::boxed)).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let from_docker = hyper::upgrade::on(&mut response);
        tokio::spawn(tunnel(from_compose, from_docker));
    }
    Ok(response.map(BodyExt::boxed))
}

/// Passes a call to Docker and changes the JSON of a successful answer.
pub(super) async fn pass_changed(
    docker: &Path,
    request: Request<Incoming>,
    change: impl FnOnce(&mut Value),
) -> Result<Response<Body>, ForwardError> {
    let response = send(docker, request.map(BodyExt::boxed)).await?;
    changed(response, change).await
}

/// Reads the JSON body of a call.
pub(super) async fn read_json(request: Request<Incoming>) -> Result<(Parts, Value), ForwardError> {
    let (parts, body) = request.into_parts();
    let bytes = collect(body).await?;
    Ok((parts, serde_json::from_slice(&bytes)?))
}

/// Sends a call with another body. The answer is not read: for some calls it is empty.
pub(super) async fn send_json(
    docker: &Path,
    mut parts: Parts,
    body: &Value,
) -> Result<Response<Incoming>, ForwardError> {
    let bytes = serde_json::to_vec(body)?;
    parts.headers.remove(header::TRANSFER_ENCODING);
    parts
        .headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    let body = Full::new(Bytes::from(bytes))
        .map_err(|never| match never {})
        .boxed();
    send(docker, Request::from_parts(parts, body)).await
}

/// An answer of our own.
pub(super) fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    let bytes = Bytes::from(body.to_string());
    let mut response = Response::new(Full::new(bytes).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

/// The answer with its JSON changed, if it is a successful one.
pub(super) async fn changed(
    response: Response<Incoming>,
    change: impl FnOnce(&mut Value),
) -> Result<Response<Body>, ForwardError> {
    if !response.status().is_success() {
        return Ok(response.map(BodyExt::boxed));
    }
    let status = response.status();
    let bytes = collect(response.into_body()).await?;
    let mut value = serde_json::from_slice(&bytes)?;
    change(&mut value);
    Ok(json_response(status, &value))
}

async fn collect(body: Incoming) -> Result<Bytes, ForwardError> {
    let limited = Limited::new(body, JSON_BYTES_MAX);
    Ok(limited
        .collect()
        .await
        .map_err(ForwardError::Body)?
        .to_bytes())
}

async fn send(docker: &Path, request: Request<Body>) -> Result<Response<Incoming>, ForwardError> {
    let connect = UnixStream::connect(docker);
    let stream = match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
        Ok(connected) => connected,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
    .map_err(|error| ForwardError::Connect(docker.display().to_string(), error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a forwarded connection to Docker ended early");
        }
    });
    Ok(sender.send_request(request).await?)
}

async fn tunnel(from_compose: OnUpgrade, from_docker: OnUpgrade) {
    let (Ok(compose), Ok(docker)) = tokio::join!(from_compose, from_docker) else {
        tracing::debug!("an upgraded connection was given up");
        return;
    };
    let (mut compose, mut docker) = (TokioIo::new(compose), TokioIo::new(docker));
    if let Err(error) = tokio::io::copy_bidirectional(&mut compose, &mut docker).await {
        tracing::debug!(%error, "an upgraded connection ended early");
    }
}
