//! One connection of a client, and the one connection to Docker that it has.

use std::convert::Infallible;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, watch};

use super::plan::{Fault, Strike};
use super::{Shared, lock};

type Body = BoxBody<Bytes, hyper::Error>;

/// How long the answer to a call that changes something is read whose connection will break: a container's
/// grace period is part of it.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// The same for one that only reads: some answers, such as a stream of events, never end.
const READ_TIMEOUT: Duration = Duration::from_millis(500);

/// The connection to Docker. It ends with Docker's process.
struct Backend {
    sender: Mutex<SendRequest<Body>>,
    has_ended: watch::Receiver<bool>,
    /// How many calls have no answer yet.
    open_calls: watch::Sender<usize>,
    /// Whether the connection was handed over, as for the output of a program: it belongs to nobody's
    /// HTTP then.
    upgraded: watch::Sender<bool>,
}

pub(super) async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&shared)));
    }
}

/// Serves one client until it or Docker's process ends the connection.
async fn serve(stream: UnixStream, shared: Arc<Shared>) {
    // Where nothing listens, the client's connection ends at once.
    let Ok(backend) = Backend::connect(&shared.docker).await else {
        return;
    };
    let backend = &backend;
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move {
            backend.open_calls.send_modify(|count| *count += 1);
            let answered = answer(&shared, backend, request).await;
            backend.open_calls.send_modify(|count| *count -= 1);
            answered
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    // A broken connection is what some faults are about.
    tokio::select! {
        ended = connection.as_mut() => drop(ended),
        () = backend.is_done() => {
            if !*backend.upgraded.borrow() {
                connection.as_mut().graceful_shutdown();
            }
            drop(connection.await);
        }
    }
}

impl Backend {
    async fn connect(docker: &Path) -> Result<Self, Broken> {
        let stream = UnixStream::connect(docker).await.map_err(|_| Broken)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|_| Broken)?;
        let (ended, has_ended) = watch::channel(false);
        tokio::spawn(async move {
            drop(connection.with_upgrades().await);
            ended.send_replace(true);
        });
        Ok(Self {
            sender: Mutex::new(sender),
            has_ended,
            open_calls: watch::Sender::new(0),
            upgraded: watch::Sender::new(false),
        })
    }

    /// Waits for the end of the connection.
    async fn has_ended(&self) {
        // The sender's end says the same as its word.
        drop(self.has_ended.clone().wait_for(|ended| *ended).await);
    }

    /// Waits for the end of the connection and of what was being answered then.
    async fn is_done(&self) {
        self.has_ended().await;
        let mut open_calls = self.open_calls.subscribe();
        drop(open_calls.wait_for(|count| *count == 0).await);
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, Broken> {
        let mut sender = self.sender.lock().await;
        sender.ready().await.map_err(|_| Broken)?;
        sender.send_request(request).await.map_err(|_| Broken)
    }
}

async fn answer(
    shared: &Shared,
    backend: &Backend,
    request: Request<Incoming>,
) -> Result<Response<Body>, Broken> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let planned = lock(&shared.plan).next(method.as_str(), &path);
    let began = SystemTime::now();
    let mut what = format!("{method} {path}");
    let answered = match planned {
        None => forward(shared, backend, request).await,
        Some((fault, strike)) => {
            what = format!("{what} [{fault:?}]");
            let strike = strike.unwrap_or_else(|| Arc::clone(&shared.strike));
            struck(shared, backend, request, fault, strike).await
        }
    };
    let ended = match &answered {
        Ok(response) => response.status().as_u16().to_string(),
        Err(Broken) => "broken".to_owned(),
    };
    lock(&shared.log).push(began, what, ended);
    answered
}

async fn struck(
    shared: &Shared,
    backend: &Backend,
    request: Request<Incoming>,
    fault: Fault,
    strike: Strike,
) -> Result<Response<Body>, Broken> {
    match fault {
        Fault::Error => {
            let body = Full::from(r#"{"message":"injected fault"}"#)
                .map_err(never)
                .boxed();
            let mut response = Response::new(body);
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            Ok(response)
        }
        Fault::Hang => {
            // Even a call without an answer ends with Docker's process.
            backend.has_ended().await;
            Err(Broken)
        }
        Fault::Twice => twice(shared, backend, request).await,
        Fault::StrikeBefore => {
            run(strike).await;
            Err(Broken)
        }
        Fault::LoseAnswer => {
            whole(shared, backend, request).await;
            Err(Broken)
        }
        Fault::StrikeAfter => {
            whole(shared, backend, request).await;
            run(strike).await;
            Err(Broken)
        }
        Fault::ActBefore => {
            run_while_alive(backend, strike).await?;
            forward(shared, backend, request).await
        }
        Fault::ActAfter => {
            let response = forward(shared, backend, request).await;
            run_while_alive(backend, strike).await?;
            response
        }
    }
}

/// A strike goes on although Docker dies of it; the call does not wait for its end then.
async fn run_while_alive(backend: &Backend, strike: Strike) -> Result<(), Broken> {
    let running = tokio::spawn(run(strike));
    tokio::select! {
        ended = running => ended.map_err(|_| Broken),
        () = backend.has_ended() => Err(Broken),
    }
}

/// A strike takes its time, in which other connections go on.
async fn run(strike: Strike) {
    drop(tokio::task::spawn_blocking(move || strike()).await);
}

/// Lets Docker do it, to the end of its answer.
async fn whole(shared: &Shared, backend: &Backend, request: Request<Incoming>) {
    let bound = timeout_of(request.method());
    let answered = async {
        if let Ok(response) = forward(shared, backend, request).await {
            drop(response.into_body().collect().await);
        }
    };
    drop(tokio::time::timeout(bound, answered).await);
}

fn timeout_of(method: &Method) -> Duration {
    match *method {
        Method::GET | Method::HEAD => READ_TIMEOUT,
        _ => CHANGE_TIMEOUT,
    }
}

/// Docker gets the call once more on the way: first over a connection of its own.
async fn twice(
    shared: &Shared,
    backend: &Backend,
    request: Request<Incoming>,
) -> Result<Response<Body>, Broken> {
    if request.headers().contains_key(header::UPGRADE) {
        // What follows the head is no call any more.
        return forward(shared, backend, request).await;
    }
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map_err(|_| Broken)?.to_bytes();
    let copy = || {
        Request::from_parts(
            parts.clone(),
            Full::from(bytes.clone()).map_err(never).boxed(),
        )
    };
    let first = async {
        let once = Backend::connect(&shared.docker).await?;
        let response = once.send(copy()).await?;
        drop(response.into_body().collect().await);
        Ok::<(), Broken>(())
    };
    drop(tokio::time::timeout(timeout_of(&parts.method), first).await);
    let path = parts.uri.path().to_owned();
    let response = backend.send(copy()).await?;
    as_its_age(shared, &path, response).await
}

async fn forward(
    shared: &Shared,
    backend: &Backend,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Broken> {
    let upgraded = hyper::upgrade::on(&mut request);
    let path = request.uri().path().to_owned();
    let mut response = backend.send(request.map(BodyExt::boxed)).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        backend.upgraded.send_replace(true);
        let docker = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            if let (Ok(client), Ok(docker)) = tokio::join!(upgraded, docker) {
                let (mut client, mut docker) = (TokioIo::new(client), TokioIo::new(docker));
                drop(tokio::io::copy_bidirectional(&mut client, &mut docker).await);
            }
        });
    }
    as_its_age(shared, &path, response).await
}

async fn as_its_age(
    shared: &Shared,
    path: &str,
    response: Response<Incoming>,
) -> Result<Response<Body>, Broken> {
    let api = lock(&shared.api).clone();
    match api {
        Some(api) => aged(path, response, &api).await,
        None => Ok(response.map(BodyExt::boxed)),
    }
}

/// The answer of a Docker whose newest version of the API is `api`, where an answer says which that is.
async fn aged(
    path: &str,
    mut response: Response<Incoming>,
    api: &str,
) -> Result<Response<Body>, Broken> {
    if let Some(version) = response.headers_mut().get_mut("api-version") {
        *version = api.parse().map_err(|_| Broken)?;
    }
    if !path.ends_with("/version") {
        return Ok(response.map(BodyExt::boxed));
    }
    let (mut parts, body) = response.into_parts();
    let bytes = body.collect().await.map_err(|_| Broken)?.to_bytes();
    let mut version: Value = serde_json::from_slice(&bytes).map_err(|_| Broken)?;
    version["ApiVersion"] = api.into();
    let bytes = Bytes::from(version.to_string());
    parts
        .headers
        .insert(header::CONTENT_LENGTH, bytes.len().into());
    let body = Full::from(bytes).map_err(never).boxed();
    Ok(Response::from_parts(parts, body))
}

fn never(never: Infallible) -> hyper::Error {
    match never {}
}

/// The connection ends without an answer.
#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken on request")
    }
}

impl std::error::Error for Broken {}
