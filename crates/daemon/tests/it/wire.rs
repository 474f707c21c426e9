//! A client that sends bytes as they are, right or wrong, and a listener to send them to.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use cutover_daemon::http::{Limits, Listener, serve};
use cutover_daemon::metrics::Metrics;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// The longest that anything here may take; whoever waits longer waits in vain.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Bounds short enough to be reached in a test, long enough not to be reached by accident.
pub(crate) fn short_limits() -> Limits {
    Limits {
        handshake_time: Duration::from_millis(500),
        head_time: Duration::from_millis(500),
        idle_time: Duration::from_millis(500),
        body_time: Duration::from_millis(500),
        stall_time: Duration::from_millis(500),
        connections_max: 64,
        stop_time: Duration::from_millis(500),
    }
}

/// A listener with a few routes, until it is dropped.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Metrics,
    pub(crate) stop: CancellationToken,
    pub(crate) task: tokio::task::JoinHandle<()>,
}

impl Served {
    /// Serves `/` (answers `fine`), `/echo` (answers the body), `/slow` (answers after a second)
    /// and `/endless` (never stops answering) on plain HTTP.
    pub(crate) fn plain(limits: Limits) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::on(Listener::plain(any).expect("a port"), limits)
    }

    /// The same on any TCP listener.
    pub(crate) fn on(listener: Listener, limits: Limits) -> Self {
        let address = listener.address().expect("a TCP listener");
        let metrics = Metrics::new();
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let serving = serve(listener, routes(), limits, metrics.clone(), stopped);
        Self {
            address,
            metrics,
            stop,
            task: tokio::spawn(serving),
        }
    }

    /// A connection to it.
    pub(crate) async fn connect(&self) -> Raw<TcpStream> {
        Raw::new(TcpStream::connect(self.address).await.expect("connects"))
    }

    /// The answer to these bytes on a connection of their own.
    pub(crate) async fn ask(&self, bytes: &[u8]) -> Answer {
        let mut raw = self.connect().await;
        raw.send(bytes).await;
        raw.answer().await.expect("an answer")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn routes() -> Router {
    Router::new()
        .route("/", get(async || "fine"))
        .route("/echo", post(async |body: Bytes| body))
        .route(
            "/slow",
            get(async || {
                tokio::time::sleep(Duration::from_secs(1)).await;
                "slow"
            }),
        )
        .route(
            "/endless",
            get(async || {
                let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
                axum::body::Body::from_stream(futures_util::stream::repeat_with(move || {
                    Ok::<_, std::convert::Infallible>(chunk.clone())
                }))
            }),
        )
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Raw<IO> {
    pub(crate) io: IO,
    read: Vec<u8>,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header, if it is there.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body as JSON; null if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The body's `code`; empty if there is none.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Raw<IO> {
    pub(crate) fn new(io: IO) -> Self {
        Self {
            io,
            read: Vec::new(),
        }
    }

    /// Sends bytes; a peer that has hung up is noticed when its answer is read.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        drop(self.io.write_all(bytes).await);
        drop(self.io.flush().await);
    }

    /// Reads one answer; `None` if the connection ends without one.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        tokio::time::timeout(PATIENCE, self.read_answer())
            .await
            .expect("an answer or an end in time")
    }

    /// Whether nothing more comes.
    pub(crate) async fn ended(&mut self) -> bool {
        let mut byte = [0; 1];
        let read = tokio::time::timeout(PATIENCE, self.io.read(&mut byte));
        !matches!(read.await.expect("a byte or an end in time"), Ok(1))
    }

    async fn read_answer(&mut self) -> Option<Answer> {
        let head_len = loop {
            if let Some(at) = find(&self.read, b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&self.read[..head_len]).into_owned();
        self.read.drain(..head_len);
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let mut answer = Answer {
            status: status.expect("a status"),
            head,
            body: String::new(),
        };
        let body = match answer.header("content-length") {
            Some(len) => self.sized(len.parse().expect("a length")).await?,
            None => self.chunked().await?,
        };
        answer.body = String::from_utf8_lossy(&body).into_owned();
        Some(answer)
    }

    async fn sized(&mut self, len: usize) -> Option<Vec<u8>> {
        while self.read.len() < len {
            self.more().await?;
        }
        Some(self.read.drain(..len).collect())
    }

    async fn chunked(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let Some(at) = find(&self.read, b"\r\n") else {
                self.more().await?;
                continue;
            };
            let size = String::from_utf8_lossy(&self.read[..at]).into_owned();
            let size = usize::from_str_radix(size.trim(), 16).expect("a chunk's size");
            self.read.drain(..at + 2);
            let chunk = self.sized(size + 2).await?;
            if size == 0 {
                return Some(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    async fn more(&mut self) -> Option<()> {
        match self.io.read_buf(&mut self.read).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
