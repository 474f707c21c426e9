//! The staging socket: Compose plans, cutover holds the door.
//!
//! `docker compose up` throws the old container away before the new one has run. So the unmodified
//! Compose runs against a unix socket of ours, which forwards to Docker and changes three answers:
//!
//! | Compose sends | we do |
//! |---|---|
//! | create a container | forward it, adding labels and the restart policy `no` |
//! | stop and remove an old one, rename a new one | answer as Docker would, change nothing |
//! | start a new one | **hold the call**: this is the switch, and it is not Compose's to make |
//!
//! Everything else that would change something is refused, and the deployment fails with nothing changed.
//! What may pass is decided in [`view`]; bodies are changed in [`rewrite`]; bytes move in [`forward`].

pub(super) mod view;
pub(super) mod rewrite;
pub(super) mod bodies;
mod forward;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::rewrite::{Asked, Mark, NotCreated};
use self::view::{Call, Decision, NewContainer, View};

type Body = BoxBody<Bytes, hyper::Error>;

/// What Compose arrived at.
#[derive(Debug)]
pub(super) enum Arrival {
    /// It asks to start a new container; every one exists.
    Start,
    /// It was refused something that is not part of deploying the release.
    Refused {
        /// What it wanted, for a person.
        what: String,
    },
}

/// The open socket. Dropping it closes every connection and removes it.
#[derive(Debug)]
pub(super) struct StagingSocket {
    path: PathBuf,
    shared: Arc<Shared>,
    arrivals: mpsc::Receiver<Arrival>,
    /// The ids of the new containers that run. Compose's calls to start them are held until then; they are
    /// answered with an error when this is gone.
    started: Option<watch::Sender<BTreeSet<String>>>,
    connections: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    docker: PathBuf,
    mark: Mark,
    view: Mutex<View>,
    arrivals: mpsc::Sender<Arrival>,
    started: watch::Receiver<BTreeSet<String>>,
}

impl StagingSocket {
    /// Opens a socket at `path` for one deployment of which Compose gets to see this `view`.
    pub(super) fn open(
        path: &Path,
        docker: &Path,
        mark: Mark,
        view: View,
    ) -> std::io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Only this process's user can reach into the directory.
        let listener = UnixListener::bind(path)?;
        let (sender, arrivals) = mpsc::channel(4);
        let (started, known) = watch::channel(BTreeSet::new());
        let shared = Arc::new(Shared {
            docker: docker.to_owned(),
            mark,
            view: Mutex::new(view),
            arrivals: sender,
            started: known,
        });
        let mut connections = JoinSet::new();
        connections.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            path: path.to_owned(),
            shared,
            arrivals,
            started: Some(started),
            connections,
        })
    }

    /// The containers that Compose created so far.
    pub(super) fn created(&self) -> Vec<NewContainer> {
        lock(&self.shared).new_containers().to_vec()
    }

    /// Tells Compose that the new container with this id runs, now or when it asks for that.
    pub(super) fn started(&self, container: &str) {
        if let Some(started) = &self.started {
            started.send_modify(|started| {
                started.insert(container.to_owned());
            });
        }
    }

    /// Tells Compose that no other container is to be started.
    pub(super) fn start_no_more(&mut self) {
        self.started = None;
    }

    /// The next thing that Compose arrives at; `None` never comes while the socket is open.
    pub(super) async fn arrival(&mut self) -> Option<Arrival> {
        self.arrivals.recv().await
    }

    /// Where Compose finds it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StagingSocket {
    fn drop(&mut self) {
        self.connections.abort_all();
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "the staging socket was gone already");
        }
    }
}

async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    // Aborting this task drops the set and with it every connection.
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) if !is_own(&stream) => {
                tracing::warn!(
                    "another user's process connected to the staging socket; it was turned away"
                );
            }
            Ok((stream, _)) => {
                connections.spawn(connection(stream, Arc::clone(&shared)));
            }
            Err(error) => {
                tracing::warn!(%error, "the staging socket could not accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Whether Compose can be at the other end, which runs as the user of this process.
fn is_own(stream: &UnixStream) -> bool {
    let user = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == user)
}

async fn connection(stream: UnixStream, shared: Arc<Shared>) {
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of Compose ended early");
    }
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Response<Body> {
    let decision = {
        let path = unversioned(request.uri().path());
        let query = request.uri().query().unwrap_or_default();
        let call = Call {
            method: request.method().as_str(),
            path,
            query,
        };
        let decision = lock(shared).decide(call);
        tracing::debug!(method = call.method, path, ?decision, "Compose");
        decision
    };
    match act(shared, request, decision).await {
        Ok(response) => response,
        Err(error) => message(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("cutover could not reach Docker: {error}"),
        ),
    }
}

async fn act(
    shared: &Shared,
    request: Request<Incoming>,
    decision: Decision,
) -> Result<Response<Body>, forward::ForwardError> {
    let docker = shared.docker.as_path();
    match decision {
        Decision::Forward => forward::pass(docker, request).await,
        Decision::ForwardList => {
            forward::pass_changed(docker, request, |list| {
                rewrite::list(list, &lock(shared));
            })
            .await
        }
        Decision::ForwardInspectNew => {
            forward::pass_changed(docker, request, |new| {
                rewrite::inspect(new, &lock(shared));
            })
            .await
        }
        Decision::Create { name } => create(shared, request, &name).await,
        Decision::CreateExec => {
            forward::pass_changed(docker, request, |exec| {
                if let Some(id) = exec["Id"].as_str() {
                    lock(shared).exec_created(id);
                }
            })
            .await
        }
        Decision::NetworkConnect => connect(shared, request).await,
        Decision::VolumeCreate => create_volume(shared, request).await,
        Decision::Believed => Ok(empty(StatusCode::NO_CONTENT)),
        Decision::Gone { name } => Ok(message(
            StatusCode::NOT_FOUND,
            &format!("No such container: {name}"),
        )),
        Decision::Start { container } => Ok(start(shared, &container).await),
        Decision::Refuse { what } => Ok(refuse(shared, what)),
    }
}

async fn create(
    shared: &Shared,
    request: Request<Incoming>,
    name: &str,
) -> Result<Response<Body>, forward::ForwardError> {
    let (parts, mut body) = forward::read_json(request).await?;
    if let Some(key) = bodies::other_spelling(&body) {
        return Ok(refuse(shared, misspelled(&parts, &key)));
    }
    let asked = match rewrite::create_body(&mut body, &shared.mark, name) {
        Ok(created) => created,
        Err(NotCreated::Outside(what)) => return Ok(refuse(shared, what)),
        // As Docker answers a container that it cannot create: Compose ends and repeats this.
        Err(NotCreated::Policy(why)) => return Ok(message(StatusCode::BAD_REQUEST, &why)),
    };
    if !lock(shared).may_create(&asked.service, asked.replicas) {
        let Asked {
            service, replicas, ..
        } = asked;
        let what = format!(
            "create the container `{name}` of service `{service}` beside {replicas} that it has created"
        );
        return Ok(refuse(shared, what));
    }
    let mut parts = parts;
    let created_name = shared.mark.name_of(name);
    if created_name != name {
        parts.uri = renamed(&parts.uri, name, &created_name);
    }
    let answer = forward::send_json(&shared.docker, parts, &body).await?;
    forward::changed(answer, |created| {
        if let Some(id) = created["Id"].as_str() {
            lock(shared).created(NewContainer {
                restart_policy: asked.policy.clone(),
                aliases: asked.aliases.clone(),
                ..NewContainer::created(id, &asked.service, name)
            });
        }
    })
    .await
}

/// The address of a call that creates a container, with another name for it.
fn renamed(uri: &Uri, name: &str, created_name: &str) -> Uri {
    let text = uri.to_string();
    let changed = text.replace(&format!("name={name}"), &format!("name={created_name}"));
    changed.parse().unwrap_or_else(|_| uri.clone())
}

/// Older Compose, and any on Docker before API 1.44, connects the new container to its second network in a
/// call of its own, which Docker answers with nothing.
async fn connect(
    shared: &Shared,
    request: Request<Incoming>,
) -> Result<Response<Body>, forward::ForwardError> {
    let (parts, mut body) = forward::read_json(request).await?;
    if let Some(key) = bodies::other_spelling(&body) {
        return Ok(refuse(shared, misspelled(&parts, &key)));
    }
    let container = body["Container"].as_str().unwrap_or_default().to_owned();
    if !lock(shared).is_new(&container) {
        let what = format!(
            "{} {} for container {container}",
            parts.method,
            parts.uri.path()
        );
        return Ok(refuse(shared, what));
    }
    let path = unversioned(parts.uri.path());
    if let Some(network) = path.strip_prefix("/networks/")
        && let Some(network) = network.strip_suffix("/connect")
        && is_announced_later(shared, &container)
    {
        let aliases = rewrite::take_aliases(&mut body["EndpointConfig"]);
        lock(shared).connected(&container, network, aliases);
    }
    let answer = forward::send_json(&shared.docker, parts, &body).await?;
    Ok(answer.map(BodyExt::boxed))
}

fn is_announced_later(shared: &Shared, container: &str) -> bool {
    let service = lock(shared).service_of(container);
    let marked = service.and_then(|service| shared.mark.services.get(&service));
    marked.is_some_and(|marked| marked.is_announced_later)
}

/// What is refused of a body that Docker would read otherwise than it is read here.
fn misspelled(parts: &Parts, key: &str) -> String {
    let (method, path) = (&parts.method, parts.uri.path());
    format!("{method} {path} with the key {key:?}, which Docker takes for another one")
}

/// Creates a volume that the project declares.
async fn create_volume(
    shared: &Shared,
    request: Request<Incoming>,
) -> Result<Response<Body>, forward::ForwardError> {
    let (parts, body) = forward::read_json(request).await?;
    let refused = match bodies::other_spelling(&body) {
        Some(key) => Some(misspelled(&parts, &key)),
        None => bodies::undeclared_volume(&body, &shared.mark.volumes),
    };
    if let Some(what) = refused {
        return Ok(refuse(shared, what));
    }
    let answer = forward::send_json(&shared.docker, parts, &body).await?;
    Ok(answer.map(BodyExt::boxed))
}

/// Tells the deployment of the call, and answers it when the container runs.
async fn start(shared: &Shared, container: &str) -> Response<Body> {
    let service = lock(shared).service_of(container);
    let marked = service.and_then(|service| shared.mark.services.get(&service));
    if marked.is_some_and(|marked| marked.is_started_later) {
        return empty(StatusCode::NO_CONTENT);
    }
    // Once the first one is known, nobody waits for the others.
    let is_told = match shared.arrivals.try_send(Arrival::Start) {
        Err(mpsc::error::TrySendError::Closed(_)) => false,
        Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => true,
    };
    let mut started = shared.started.clone();
    let runs = started.wait_for(|started| started.contains(container));
    if is_told && runs.await.is_ok() {
        empty(StatusCode::NO_CONTENT)
    } else {
        message(
            StatusCode::CONFLICT,
            "cutover: the new container is not to be started: the deployment ended",
        )
    }
}

fn refuse(shared: &Shared, what: String) -> Response<Body> {
    let text = format!("cutover: not part of deploying this release, refused: {what}");
    // Compose gives up at the first refusal; if nobody listens any more, the text is all that is left.
    if let Err(error) = shared.arrivals.try_send(Arrival::Refused { what }) {
        tracing::debug!(%error, "a refusal was not reported");
    }
    message(StatusCode::FORBIDDEN, &text)
}

fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, View> {
    shared.view.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The path without `/v1.51`.
fn unversioned(path: &str) -> &str {
    let versioned = path
        .strip_prefix("/v")
        .and_then(|rest| rest.split_once('/'));
    match versioned {
        Some((version, _)) if version.bytes().all(|b| b.is_ascii_digit() || b == b'.') => {
            &path[2 + version.len()..]
        }
        _ => path,
    }
}

fn empty(status: StatusCode) -> Response<Body> {
    let body = http_body_util::Empty::new()
        .map_err(|never| match never {})
        .boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn message(status: StatusCode, text: &str) -> Response<Body> {
    forward::json_response(status, &json!({ "message": text }))
}

#[cfg(test)]
mod tests;
