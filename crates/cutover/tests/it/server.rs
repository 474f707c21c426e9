//! A server whose every answer is scripted, on a unix socket and on a loopback port at once.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// What the server does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Answers.
    Reply {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// Answers 200 with a stream of events, and ends it like this.
    Stream(Vec<String>, End),
    /// Answers with this status and the beginning of a page that never ends.
    Stall(u16),
    /// Reads the request and closes the connection without an answer.
    Drop,
}

/// How a stream ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// Properly.
    Close,
    /// With the connection.
    Cut,
    /// Never.
    Hang,
}

impl Act {
    /// A JSON answer.
    pub(crate) fn json(status: u16, body: impl Into<String>) -> Self {
        let kind = if status < 400 {
            "application/json"
        } else {
            "application/problem+json"
        };
        Self::Reply {
            status,
            headers: vec![("content-type", kind.to_owned())],
            body: body.into(),
        }
    }

    /// A page for people, as proxies answer.
    pub(crate) fn page(status: u16, body: impl Into<String>) -> Self {
        Self::Reply {
            status,
            headers: vec![("content-type", "text/html".to_owned())],
            body: body.into(),
        }
    }

    /// The same answer with another header.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Reply { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

/// A request as it was received.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Method, path and query, as in `GET /v1/services`.
    pub(crate) line: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("text"))
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

#[derive(Debug, Default)]
struct Script {
    once: HashMap<String, VecDeque<Act>>,
    always: HashMap<String, Act>,
    seen: Vec<Seen>,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    script: Arc<Mutex<Script>>,
    directory: tempfile::TempDir,
    port: u16,
    stop: Option<oneshot::Sender<()>>,
}

impl Server {
    /// Starts one that speaks plain HTTP.
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    /// Starts one whose loopback port speaks TLS.
    pub(crate) fn start_with(tls: Option<Arc<ServerConfig>>) -> Self {
        let script = Arc::new(Mutex::new(Script::default()));
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("cutover.sock");
        let unix = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = tcp.local_addr().expect("bound").port();
        unix.set_nonblocking(true).expect("nonblocking");
        tcp.set_nonblocking(true).expect("nonblocking");
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&script);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let unix = UnixListener::from_std(unix).expect("a listener");
                let tcp = TcpListener::from_std(tcp).expect("a listener");
                tokio::select! {
                    () = serve(unix, tcp, tls.map(TlsAcceptor::from), shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            script,
            directory,
            port,
            stop: Some(stop),
        }
    }

    /// The unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("cutover.sock")
    }

    /// The loopback address.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The loopback address for TLS.
    pub(crate) fn tls_url(&self, host: &str) -> String {
        format!("https://{host}:{}", self.port)
    }

    /// Answers the next requests of this line, in order.
    pub(crate) fn on(&self, line: &str, acts: impl IntoIterator<Item = Act>) -> &Self {
        let mut script = self.script.lock().expect("the script");
        script.once.entry(line.to_owned()).or_default().extend(acts);
        drop(script);
        self
    }

    /// Answers every request of this line that is not answered otherwise.
    pub(crate) fn always(&self, line: &str, act: Act) -> &Self {
        let mut script = self.script.lock().expect("the script");
        script.always.insert(line.to_owned(), act);
        drop(script);
        self
    }

    /// The requests of this line so far.
    pub(crate) fn seen(&self, line: &str) -> Vec<Seen> {
        let script = self.script.lock().expect("the script");
        script
            .seen
            .iter()
            .filter(|seen| seen.line == line)
            .cloned()
            .collect()
    }

    /// The lines of all requests so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        let script = self.script.lock().expect("the script");
        script.seen.iter().map(|seen| seen.line.clone()).collect()
    }

    /// Waits until a request of this line has come.
    #[track_caller]
    pub(crate) fn wait_for(&self, line: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.seen(line).is_empty() {
            assert!(Instant::now() < deadline, "{line} was not requested");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).ok();
        }
    }
}

async fn serve(
    unix: UnixListener,
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    script: Arc<Mutex<Script>>,
) {
    loop {
        tokio::select! {
            Ok((stream, _)) = unix.accept() => converse(stream, Arc::clone(&script)),
            Ok((stream, _)) = tcp.accept() => match tls.clone() {
                Some(tls) => {
                    let script = Arc::clone(&script);
                    tokio::spawn(async move {
                        if let Ok(stream) = tls.accept(stream).await {
                            converse(stream, script);
                        }
                    });
                }
                None => converse(stream, Arc::clone(&script)),
            },
        }
    }
}

fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    script: Arc<Mutex<Script>>,
) {
    let answer = service_fn(move |request| answer(request, Arc::clone(&script)));
    tokio::spawn(
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
    );
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

async fn answer(
    request: Request<Incoming>,
    script: Arc<Mutex<Script>>,
) -> io::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let target = parts
        .uri
        .path_and_query()
        .map_or("", |target| target.as_str());
    let line = format!("{} {target}", parts.method);
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let act = {
        let mut script = script.lock().expect("the script");
        script.seen.push(Seen {
            line: line.clone(),
            headers: parts.headers,
            body,
        });
        let next = script.once.get_mut(&line).and_then(VecDeque::pop_front);
        next.or_else(|| script.always.get(&line).cloned())
    };
    match act {
        Some(Act::Reply {
            status,
            headers,
            body,
        }) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            let body = Full::from(body).map_err(|never: Infallible| match never {});
            Ok(response.body(body.boxed_unsync()).expect("a response"))
        }
        Some(Act::Stream(parts, end)) => {
            let head = Response::builder().header("content-type", "text/event-stream");
            Ok(stream_of(head, parts, end))
        }
        Some(Act::Stall(status)) => {
            let head = Response::builder().status(status);
            let parts = vec!["<html>".to_owned()];
            Ok(stream_of(head, parts, End::Hang))
        }
        Some(Act::Drop) => Err(io::Error::other("dropped as scripted")),
        None => {
            let body = Full::from(format!("not scripted: {line}"));
            let body = body.map_err(|never: Infallible| match never {});
            Ok(Response::builder()
                .status(418)
                .body(body.boxed_unsync())
                .expect("a response"))
        }
    }
}

fn stream_of(head: http::response::Builder, parts: Vec<String>, end: End) -> Response<Body> {
    let sent = parts
        .into_iter()
        .map(|part| Ok(Frame::data(Bytes::from(part))));
    let last = async move {
        // What was sent must be on its way before the connection is cut.
        tokio::task::yield_now().await;
        match end {
            End::Close => None,
            End::Cut => Some(Err(io::Error::other("cut as scripted"))),
            End::Hang => std::future::pending().await,
        }
    };
    let frames = stream::iter(sent).chain(stream::once(last).filter_map(std::future::ready));
    head.body(StreamBody::new(frames).boxed_unsync())
        .expect("a response")
}
