//! The accept loop: one task per connection, every phase of it bounded.
//!
//! `axum::serve` has no bounds on handshake, head and idle time, so the loop is our own, on hyper.
//! HTTP/1.1 only: nobody who deploys needs more, and HTTP/2 would bring its own family of floods.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::{HeaderValue, Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::error::{ApiError, RequestCode};
use super::gate::{Answering, AnsweringGuard, Gate, raw_answer};
use super::limits::{HEAD_BYTES_MAX, HEADERS_MAX, Limits};
use super::listen::{Accepted, Listener, Peer};
use super::seats::{Seat, Seats};
use super::stall::StallLimit;
use crate::metrics::Metrics;

/// How long the loop rests when the system has run out of something, file descriptors most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How long a connection that we end is read on, so that the peer sees our answer and not a reset.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// How much is read and thrown away in that time.
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Serves `router` on `listener` until `shutdown` is ready; then accepts nothing more, lets answers
/// under way finish for `limits.stop_time`, and cuts what is left.
pub async fn serve(
    listener: Listener,
    router: Router,
    limits: Limits,
    metrics: Metrics,
    shutdown: impl Future<Output = ()>,
) {
    let seats = Seats::new(limits.connections_max, metrics.clone());
    let context = Context {
        router,
        limits,
        metrics,
        stop: CancellationToken::new(),
        cut: CancellationToken::new(),
    };
    let tasks = TaskTracker::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => match seats.take(accepted.address()) {
                Some(seat) => {
                    tasks.spawn(context.clone().connection(accepted, seat));
                }
                None => tracing::warn!("connection turned away: all seats are taken"),
            },
            Err(error) if ended_before_accept(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections; trying again");
                seats.evict();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    context.stop.cancel();
    tasks.close();
    if tokio::time::timeout(context.limits.stop_time, tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            left = tasks.len(),
            "connections cut: their answers took too long"
        );
        context.cut.cancel();
        tasks.wait().await;
    }
}

/// Whether an error is about one connection and not about us.
fn ended_before_accept(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// What every connection of a listener shares.
#[derive(Debug, Clone)]
struct Context {
    router: Router,
    limits: Limits,
    metrics: Metrics,
    /// Answers under way may finish.
    stop: CancellationToken,
    /// Nothing may.
    cut: CancellationToken,
}

impl Context {
    /// One connection, from its handshake to its end.
    async fn connection(self, accepted: Accepted, seat: Seat) {
        let cut = self.cut.clone();
        tokio::select! {
            biased;
            () = cut.cancelled() => {}
            () = seat.evicted() => tracing::debug!("connection gave its seat to a newer one"),
            () = self.shake_hands(accepted, &seat) => {}
        }
    }

    async fn shake_hands(self, accepted: Accepted, seat: &Seat) {
        match accepted {
            Accepted::Plain(stream, peer) => {
                set_nodelay(&stream);
                self.converse(stream, Peer::Network(peer), seat).await;
            }
            Accepted::Operator(stream, uid) => {
                self.converse(stream, Peer::Local(uid), seat).await;
            }
            Accepted::Tls(stream, peer, identity) => {
                set_nodelay(&stream);
                let handshake = async {
                    if speaks_plain_http(&stream).await? {
                        return Ok(Secured::Not(stream));
                    }
                    let secured = TlsAcceptor::from(identity.config()).accept(stream);
                    secured.await.map(|stream| Secured::Yes(Box::new(stream)))
                };
                match tokio::time::timeout(self.limits.handshake_time, handshake).await {
                    Ok(Ok(Secured::Yes(stream))) => {
                        self.converse(*stream, Peer::Network(peer), seat).await;
                    }
                    Ok(Ok(Secured::Not(stream))) => {
                        self.metrics.handshake_failed();
                        tracing::debug!(peer = %peer.ip(), "plain HTTP on the port for HTTPS");
                        turn_away(stream).await;
                    }
                    Ok(Err(error)) => {
                        self.metrics.handshake_failed();
                        tracing::debug!(peer = %peer.ip(), %error, "TLS handshake failed");
                    }
                    Err(_) => {
                        self.metrics.handshake_failed();
                        tracing::debug!(peer = %peer.ip(), "TLS handshake took too long");
                    }
                }
            }
        }
    }

    /// Requests and answers until either side ends it.
    async fn converse<IO>(self, io: IO, peer: Peer, seat: &Seat)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let answering = Answering::default();
        let io = StallLimit::new(io, self.limits.stall_time);
        let io = Gate::new(io, &self.limits, answering.clone(), self.metrics.clone());
        let prover = seat.prover();
        let router = self.router.clone();
        let body_time = BodyTime(self.limits.body_time);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let guard = answering.guard();
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(prover.clone());
            request.extensions_mut().insert(body_time);
            // The gate cannot tell where chunks end, so it could not judge a request behind them.
            let last = request.headers().contains_key(TRANSFER_ENCODING);
            let answer = router.clone().oneshot(request.map(Body::new));
            Box::pin(async move {
                let mut response: Response<Body> = answer.await?;
                if last {
                    let headers = response.headers_mut();
                    headers.insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response.map(|body| Answer {
                    body,
                    _guard: guard,
                }))
            })
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // The gate refuses earlier and in words; these are for what it may have missed.
            .header_read_timeout(self.limits.idle_time + self.limits.head_time * 2)
            .max_headers(HEADERS_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(io), service);
        let mut stopping = false;
        let ended = loop {
            tokio::select! {
                ended = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)) => break ended,
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(peer = peer.show(), %error, "connection ended early");
        }
        linger(connection.into_parts().io.into_inner().into_inner()).await;
    }
}

/// An answer's body, which says when hyper has let go of it.
#[derive(Debug)]
struct Answer {
    body: Body,
    _guard: AnsweringGuard,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How long the body of a request may take, for whoever reads it.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyTime(pub(super) Duration);

fn set_nodelay(stream: &tokio::net::TcpStream) {
    // Only speed is lost if the system refuses.
    let _ = stream.set_nodelay(true);
}

/// What came of a handshake.
enum Secured {
    Yes(Box<TlsStream<TcpStream>>),
    /// The other side speaks plain HTTP.
    Not(TcpStream),
}

/// Whether the other side begins with a method of HTTP; a handshake of TLS begins with no letter.
async fn speaks_plain_http(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    let read = stream.peek(&mut first).await?;
    Ok(read == 1 && first[0].is_ascii_uppercase())
}

/// Tells one who speaks plain HTTP why nothing comes of that: the silence of a failed handshake is taken for an answer
/// that was lost, and a deployment that may be under way.
async fn turn_away(mut stream: TcpStream) {
    let what = "this port speaks HTTPS, and this is plain HTTP; nothing was accepted";
    let error = ApiError::new(RequestCode::BadRequest, what);
    let answer = raw_answer(error.with_hint("use https:// in the address"));
    // Whether it arrives or not, the connection is over.
    let _ = tokio::time::timeout(LINGER_TIME, stream.write_all(&answer)).await;
    linger(stream).await;
}

/// Ends our side and reads what the peer still sends: closing with bytes unread would reset the
/// connection, and the peer might lose an answer that says why.
async fn linger<IO: AsyncRead + AsyncWrite + Unpin>(mut io: IO) {
    let reading = async {
        io.shutdown().await?;
        let mut thrown_away = 0;
        let mut buffer = BytesMut::with_capacity(16 * 1024);
        while thrown_away < LINGER_BYTES_MAX {
            buffer.clear();
            match io.read_buf(&mut buffer).await? {
                0 => break,
                len => thrown_away += len,
            }
        }
        io::Result::Ok(())
    };
    // Whatever goes wrong here, the connection is over.
    let _ = tokio::time::timeout(LINGER_TIME, reading).await;
}
