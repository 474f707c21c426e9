//! A Docker whose connection fails on request: a socket that forwards to the real Docker, except for
//! one call, counted among those that change something.
//!
//! It speaks Docker's wire, so that the daemon under test is the real one, and everything that is not the
//! fault is done by the real Docker. It can also claim to be an older Docker than it is.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;

type Body = BoxBody<Bytes, hyper::Error>;

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Docker answers an error and does nothing.
    Error,
    /// Docker does it, and the connection breaks before the answer.
    LoseAnswer,
    /// Docker is never asked, and the connection stays open without an answer.
    Hang,
    /// `strike` is called, then the connection breaks; Docker was not asked.
    StrikeBefore,
    /// Docker does it, then `strike` is called and the connection breaks.
    StrikeAfter,
}

type Strike = Box<dyn Fn() + Send + Sync>;

struct Shared {
    docker: PathBuf,
    plan: Mutex<Plan>,
    /// The newest version of the API that this Docker says it has, instead of its own.
    api: Mutex<Option<String>>,
    strike: Strike,
}

#[derive(Default)]
struct Plan {
    calls: Vec<String>,
    fault: Option<(Which, Fault)>,
    struck: usize,
}

/// Which of the changing calls get the fault.
enum Which {
    /// The one with this number.
    Nth(usize),
    /// Every one that this says of, as [`FaultyDocker::calls`] writes it.
    Matching(Box<dyn Fn(&str) -> bool + Send>),
}

/// The socket in front of Docker.
pub struct FaultyDocker {
    path: PathBuf,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

impl std::fmt::Debug for FaultyDocker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultyDocker")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl FaultyDocker {
    /// Opens the socket at `path`; `strike` is what the striking faults do, such as killing the daemon.
    ///
    /// # Errors
    /// If the socket cannot be opened.
    pub fn start(
        path: &Path,
        docker: &Path,
        strike: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let shared = Arc::new(Shared {
            docker: docker.to_owned(),
            plan: Mutex::default(),
            api: Mutex::default(),
            strike: Box::new(strike),
        });
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(path).with_context(|| format!("{}", path.display()))?
        };
        runtime.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            path: path.to_owned(),
            shared,
            _runtime: runtime,
        })
    }

    /// Where Docker is to be found with the fault in front of it.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.path
    }

    /// Forgets what was called; the `number`th changing call from now on (from 0) gets `fault`.
    pub fn arm(&self, number: usize, fault: Fault) {
        *self.plan() = Plan {
            fault: Some((Which::Nth(number), fault)),
            ..Plan::default()
        };
    }

    /// Forgets what was called; every changing call from now on that `matches`, written as
    /// [`Self::calls`] does, gets `fault`.
    pub fn arm_every(&self, matches: impl Fn(&str) -> bool + Send + 'static, fault: Fault) {
        *self.plan() = Plan {
            fault: Some((Which::Matching(Box::new(matches)), fault)),
            ..Plan::default()
        };
    }

    /// How many calls got the fault since it was armed.
    #[must_use]
    pub fn struck(&self) -> usize {
        self.plan().struck
    }

    /// Forgets what was called and lets everything pass.
    pub fn disarm(&self) {
        *self.plan() = Plan::default();
    }

    /// The changing calls since the last [`Self::arm`] or [`Self::disarm`], as `METHOD path`.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.plan().calls.clone()
    }

    /// Says from now on that `api` is the newest version of the API that it has. Docker keeps to the version
    /// in a call's path, so that clients which negotiate find a Docker of that age.
    pub fn become_api(&self, api: &str) {
        *lock(&self.shared.api) = Some(api.to_owned());
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        lock(&self.shared.plan)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let shared = Arc::clone(&shared);
                async move { answer(&shared, request).await }
            });
            // A broken connection is what some faults are about.
            drop(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades()
                    .await,
            );
        });
    }
}

/// The fault of this call, if it is the one.
fn fault_of(shared: &Shared, request: &Request<Incoming>) -> Option<Fault> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let mut plan = lock(&shared.plan);
    let call = format!("{} {}", request.method(), request.uri().path());
    let fault = match &plan.fault {
        Some((Which::Nth(number), fault)) if *number == plan.calls.len() => Some(*fault),
        Some((Which::Matching(matches), fault)) if matches(&call) => Some(*fault),
        _ => None,
    };
    plan.struck += usize::from(fault.is_some());
    plan.calls.push(call);
    fault
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Result<Response<Body>, Broken> {
    let fault = fault_of(shared, &request);
    match fault {
        None => forward(shared, request).await,
        Some(Fault::Error) => {
            let body = Full::from(r#"{"message":"injected fault"}"#)
                .map_err(never)
                .boxed();
            let mut response = Response::new(body);
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            Ok(response)
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::StrikeBefore) => {
            (shared.strike)();
            Err(Broken)
        }
        Some(Fault::LoseAnswer) => {
            whole(shared, request).await;
            Err(Broken)
        }
        Some(Fault::StrikeAfter) => {
            whole(shared, request).await;
            (shared.strike)();
            Err(Broken)
        }
    }
}

/// Lets Docker do it, to the end of its answer.
async fn whole(shared: &Shared, request: Request<Incoming>) {
    if let Ok(response) = forward(shared, request).await {
        drop(response.into_body().collect().await);
    }
}

async fn forward(
    shared: &Shared,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Broken> {
    let stream = UnixStream::connect(&shared.docker)
        .await
        .map_err(|_| Broken)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|_| Broken)?;
    tokio::spawn(connection.with_upgrades());
    let upgraded = hyper::upgrade::on(&mut request);
    let path = request.uri().path().to_owned();
    let mut response = sender.send_request(request).await.map_err(|_| Broken)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let docker = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            if let (Ok(client), Ok(docker)) = tokio::join!(upgraded, docker) {
                let (mut client, mut docker) = (TokioIo::new(client), TokioIo::new(docker));
                drop(tokio::io::copy_bidirectional(&mut client, &mut docker).await);
            }
        });
    }
    let api = lock(&shared.api).clone();
    match api {
        Some(api) => aged(&path, response, &api).await,
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
