//! A Docker of a few lines for tests: answers on a unix socket as a test scripts it, and remembers what
//! it was asked. It serves for what a real Docker cannot be brought to do: lose an answer at a given
//! moment, hang, speak another API version.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{Bounds, Docker};

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Method, path and query, for example `GET /v1.51/_ping`.
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// What the test has Docker do.
pub(crate) enum Reply {
    /// Answer.
    Json(u16, serde_json::Value),
    /// Close the connection without an answer.
    Cut,
    /// Never answer.
    Hang,
    /// Answer piece by piece, until the sender is dropped; then cut the connection.
    Pieces(mpsc::Receiver<String>),
}

impl Reply {
    /// An answer without content.
    pub(crate) fn done() -> Self {
        Self::Json(204, serde_json::Value::Null)
    }

    /// An error in Docker's form.
    pub(crate) fn error(status: u16, message: &str) -> Self {
        Self::Json(status, serde_json::json!({ "message": message }))
    }
}

/// Runs until it is dropped.
pub(crate) struct FakeDocker {
    directory: tempfile::TempDir,
    asked: Arc<Mutex<Vec<Asked>>>,
    server: Option<AbortOnDropHandle<()>>,
    answer: Answer,
    api: Arc<Mutex<String>>,
}

type Answer = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

impl FakeDocker {
    /// A Docker of API 1.51 that answers `GET /version` and pings by itself, and the rest by `answer`. The
    /// version is left out of the lines that `answer` sees.
    pub(crate) fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let mut fake = Self {
            directory: tempfile::tempdir().expect("a directory"),
            asked: Arc::default(),
            server: None,
            answer: Arc::new(answer),
            api: Arc::new(Mutex::new("1.51".to_owned())),
        };
        fake.come_back();
        fake
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    /// A client that gives up only on what is out of order.
    pub(crate) fn client(&self) -> Docker {
        self.bounded_client(Duration::from_secs(10))
    }

    /// A client for a Docker that hangs, which a test has to wait for.
    pub(crate) fn impatient_client(&self) -> Docker {
        self.bounded_client(Duration::from_secs(1))
    }

    fn bounded_client(&self, bound: Duration) -> Docker {
        let bounds = Bounds {
            call: bound,
            start: bound,
            stop_margin: bound,
            remove: bound,
            manifest: bound,
            pull_idle: bound,
            reconnect: Duration::from_secs(10),
        };
        Docker::with_bounds(&self.socket(), bounds)
    }

    /// From now on it is a Docker of this API version.
    pub(crate) fn become_version(&self, api: &str) {
        *self.api.lock().expect("no panic") = api.to_owned();
    }

    /// Closes the socket and every connection.
    pub(crate) fn go_away(&mut self) {
        self.server = None;
        std::fs::remove_file(self.socket()).expect("the socket");
    }

    /// While it is away: waits until somebody asks for `part`, who gets no answer, as nobody else does.
    pub(crate) async fn asked_in_vain(&self, part: &str) {
        let listener = UnixListener::bind(self.socket()).expect("a free path");
        let asked = async {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut request = [0; 1024];
                let len = stream.read(&mut request).await.unwrap_or_default();
                if String::from_utf8_lossy(&request[..len]).contains(part) {
                    return;
                }
            }
        };
        let asked = tokio::time::timeout(Duration::from_secs(20), asked).await;
        assert!(asked.is_ok(), "nobody asks for {part}");
        std::fs::remove_file(self.socket()).expect("the socket");
    }

    /// Listens (again).
    pub(crate) fn come_back(&mut self) {
        let listener = UnixListener::bind(self.socket()).expect("a free path");
        let (asked, answer, api) = (
            Arc::clone(&self.asked),
            Arc::clone(&self.answer),
            Arc::clone(&self.api),
        );
        self.server = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (asked, answer, api) =
                    (Arc::clone(&asked), Arc::clone(&answer), Arc::clone(&api));
                let service = service_fn(move |request| {
                    let api = api.lock().expect("no panic").clone();
                    reply(request, Arc::clone(&asked), Arc::clone(&answer), api)
                });
                connections.spawn(async move {
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        })));
    }

    /// Every request so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }

    /// How often a request whose line contains `part` came.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.asked()
            .iter()
            .filter(|asked| asked.line.contains(part))
            .count()
    }
}

async fn reply(
    request: http::Request<Incoming>,
    asked: Arc<Mutex<Vec<Asked>>>,
    answer: Answer,
    api: String,
) -> Result<Response<UnsyncBoxBody<Bytes, std::io::Error>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map_err(std::io::Error::other)?
        .to_bytes();
    let mut now = Asked {
        line: format!("{} {}", head.method, head.uri),
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    asked.lock().expect("no panic").push(now.clone());
    let version = head
        .uri
        .path()
        .strip_prefix("/v")
        .and_then(|rest| rest.split('/').next());
    let spoken = version.filter(|version| version.contains('.'));
    let reply = match spoken {
        _ if head.uri.path() == "/version" => Reply::Json(
            200,
            serde_json::json!({
                "Version": "28.5.2", "ApiVersion": api, "MinAPIVersion": "1.24", "Os": "linux", "Arch": "amd64"
            }),
        ),
        Some(spoken) if newer(spoken, &api) => Reply::error(
            400,
            &format!("client version {spoken} is too new. Maximum supported API version is {api}"),
        ),
        Some(spoken) => {
            now.line = now.line.replacen(&format!("/v{spoken}"), "", 1);
            match now.line.as_str() {
                "GET /_ping" => Reply::Json(200, "OK".into()),
                _ => answer(&now),
            }
        }
        None => Reply::error(400, "the test expects a version in every path"),
    };
    let response = Response::builder().header("api-version", api);
    match reply {
        Reply::Json(status, value) => {
            let text = match value {
                serde_json::Value::Null => String::new(),
                value => value.to_string(),
            };
            let body = Full::new(Bytes::from(text)).map_err(|never| match never {});
            response
                .status(status)
                .header("content-type", "application/json")
                .body(body.boxed_unsync())
                .map_err(std::io::Error::other)
        }
        Reply::Cut => Err(std::io::Error::other("cut")),
        Reply::Hang => std::future::pending().await,
        Reply::Pieces(pieces) => {
            let frames = stream::unfold(pieces, |mut pieces| async {
                let frame = match pieces.recv().await {
                    Some(piece) => Ok(Frame::data(Bytes::from(piece))),
                    None => Err(std::io::Error::other("cut")),
                };
                Some((frame, pieces))
            });
            response
                .body(StreamBody::new(frames).boxed_unsync())
                .map_err(std::io::Error::other)
        }
    }
}

fn newer(spoken: &str, api: &str) -> bool {
    use super::version::ApiVersion;
    ApiVersion::parse(spoken) > ApiVersion::parse(api)
}

/// The answer to an inspection of a container, as far as tests care.
pub(crate) fn container_json(name: &str, running: bool) -> serde_json::Value {
    serde_json::json!({
        "Id": "c".repeat(64), "Name": format!("/{name}"), "Image": "sha256:aa",
        "State": {"Running": running, "StartedAt": "2026-11-22T21:00:00Z"},
        "HostConfig": {"RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}},
    })
}

/// Waits until `condition` holds, for a while.
#[track_caller]
pub(crate) fn eventually(
    what: &'static str,
    condition: impl Fn() -> bool,
) -> impl Future<Output = ()> {
    let location = std::panic::Location::caller();
    async move {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !condition() {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{location}: {what} did not happen"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A path at which nobody listens.
pub(crate) fn nowhere() -> &'static Path {
    Path::new("/nonexistent/docker.sock")
}
