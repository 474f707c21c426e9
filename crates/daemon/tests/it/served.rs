//! A listener with a few routes, to send bytes to.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use cutover_daemon::http::{Limits, Listener, serve};
use cutover_daemon::metrics::Metrics;
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::wire::{Answer, Raw};

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

    /// A connection to it from this address of the machine.
    pub(crate) async fn connect_from(&self, address: [u8; 4]) -> Raw<TcpStream> {
        let socket = TcpSocket::new_v4().expect("a socket");
        let any = SocketAddr::from((address, 0));
        socket.bind(any).expect("an address of this machine");
        Raw::new(socket.connect(self.address).await.expect("connects"))
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
