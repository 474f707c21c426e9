//! Stands between a connection and hyper and lets whole, judged request heads through.
//!
//! ```text
//!            complete head, judged fine          all of the body
//!   head ────────────────────────────────► body ───────────────► head …
//!    │  \                                   └─ chunked: to the end of the connection
//!    │   └─ too slow, too large, ambiguous ──► refuse: writes the answer, then ends
//!    └─ idle for too long ──► end
//! ```
//!
//! So a head that trickles in, does not end or could be read in two ways is answered with a problem
//! body like any other refusal, which hyper alone cannot do, and the time between two requests and the
//! time of a head have bounds of their own. hyper gets the same bytes, only later.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_util::io::poll_read_buf;

use super::error::{ApiError, RequestCode};
use super::guard::{NO_ROUTE, OTHER_METHOD};
use super::head::{self, Framing};
use super::limits::{HEAD_BYTES_MAX, Limits};
use crate::metrics::Metrics;

/// How much is read from the peer at once.
const READ_BYTES: usize = 8 * 1024;

/// Whether a request that was let through is still being answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Answering(Arc<AtomicBool>);

impl Answering {
    /// Until this is dropped, the peer's silence is no fault: it waits for us.
    pub(super) fn guard(&self) -> AnsweringGuard {
        AnsweringGuard(self.clone())
    }

    fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn under_way(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Ends the [`Answering`] when it is dropped.
#[derive(Debug)]
pub(super) struct AnsweringGuard(Answering);

impl Drop for AnsweringGuard {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

#[derive(Debug)]
enum Phase {
    /// Collecting a head; so many bytes of it are known not to hold its end.
    Head { searched: usize },
    /// So many bytes of the request are still to be handed over.
    Body { left: u64 },
    /// Everything is handed over; the connection carries no further request.
    Unframed,
    /// Writing an answer of our own.
    Refuse { answer: Bytes },
    /// Nothing more is read.
    Ended,
}

/// The connection as hyper sees it.
#[derive(Debug)]
pub(super) struct Gate<IO> {
    io: IO,
    /// Read from the peer and not yet handed over.
    buffer: BytesMut,
    phase: Phase,
    answering: Answering,
    /// Whether hyper has written something that the peer has not taken.
    unflushed: bool,
    timer: Pin<Box<Sleep>>,
    /// Whether the timer is that of an earlier phase and must begin anew before it is waited for. A head
    /// that comes in one piece is not waited for, and setting a timer costs more than looking at one.
    timer_stale: bool,
    head_time: Duration,
    idle_time: Duration,
    metrics: Metrics,
}

impl<IO> Gate<IO> {
    /// Guards `io`, a connection that has just been made.
    pub(super) fn new(io: IO, limits: &Limits, answering: Answering, metrics: Metrics) -> Self {
        Self {
            io,
            buffer: BytesMut::new(),
            phase: Phase::Head { searched: 0 },
            answering,
            unflushed: false,
            timer: Box::pin(tokio::time::sleep(limits.head_time)),
            head_time: limits.head_time,
            idle_time: limits.idle_time,
            timer_stale: false,
            metrics,
        }
    }

    /// The connection itself.
    pub(super) fn into_inner(self) -> IO {
        self.io
    }

    fn set_timer(&mut self, from_now: Duration) {
        self.timer.as_mut().reset(Instant::now() + from_now);
    }

    /// Begins to answer for hyper, unless its own answer is still on the way: then the connection just
    /// ends, because two answers must not mix.
    fn refuse(&mut self, error: ApiError) {
        let code = error.code();
        tracing::info!(
            code = code.as_str(),
            "request refused before it was complete"
        );
        self.metrics.refused(code.as_str());
        self.buffer.clear();
        if self.unflushed {
            self.phase = Phase::Ended;
            return;
        }
        self.metrics
            .answered(OTHER_METHOD, NO_ROUTE, code.status().as_u16());
        self.phase = Phase::Refuse {
            answer: raw_answer(error),
        };
    }

    /// Looks for a complete head in what has been read, and leaves this phase if there is one.
    fn try_release(&mut self) -> Progress {
        let Phase::Head { searched } = self.phase else {
            return Progress::Made;
        };
        if searched == 0 {
            // A blank line before a request is left over by old clients.
            while self.buffer.starts_with(b"\r\n") {
                self.buffer.advance(2);
            }
        }
        match head::end_of_head(&self.buffer, searched) {
            Some(len) => {
                head::spoil_trimmed_signature(&mut self.buffer[..len]);
                match head::judge(&self.buffer[..len]) {
                    Ok(framing) => {
                        self.answering.begin();
                        self.phase = match framing {
                            Framing::Length(body) => Phase::Body {
                                left: body.saturating_add(len as u64),
                            },
                            Framing::Chunked => Phase::Unframed,
                        };
                    }
                    Err(error) => self.refuse(error),
                }
                Progress::Made
            }
            None if self.buffer.len() > HEAD_BYTES_MAX => {
                self.refuse(head::too_large());
                Progress::Made
            }
            None => match head::check_lines(&self.buffer, searched) {
                Ok(()) => {
                    self.phase = Phase::Head {
                        searched: self.buffer.len(),
                    };
                    Progress::NeedsMore
                }
                Err(error) => {
                    self.refuse(error);
                    Progress::Made
                }
            },
        }
    }

    /// Hands over up to `left` bytes of the buffer; returns how many.
    fn hand_over(&mut self, out: &mut ReadBuf<'_>, left: u64) -> u64 {
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let len = self.buffer.len().min(out.remaining()).min(left);
        out.put_slice(&self.buffer[..len]);
        self.buffer.advance(len);
        len as u64
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Made,
    NeedsMore,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Gate<IO> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffer.reserve(READ_BYTES);
        poll_read_buf(Pin::new(&mut self.io), cx, &mut self.buffer)
    }

    /// Goes on with collecting a head; ready when the phase has changed.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // While an answer is under way, only the peer's hanging up is of interest; what it sends
        // already is kept until its turn comes.
        if self.answering.under_way() {
            while self.buffer.len() < HEAD_BYTES_MAX {
                if ready!(self.poll_fill(cx))? == 0 {
                    self.phase = Phase::Ended;
                    return Poll::Ready(Ok(()));
                }
            }
            return Poll::Pending;
        }
        loop {
            let began = !self.buffer.is_empty();
            if began && self.try_release() == Progress::Made {
                return Poll::Ready(Ok(()));
            }
            match self.poll_fill(cx)? {
                Poll::Ready(0) => {
                    self.phase = Phase::Ended;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(_) if !began => self.timer_stale = true,
                Poll::Ready(_) => {}
                Poll::Pending => {
                    if std::mem::take(&mut self.timer_stale) {
                        let time = if began {
                            self.head_time
                        } else {
                            self.idle_time
                        };
                        self.set_timer(time);
                    }
                    ready!(self.timer.as_mut().poll(cx));
                    if began {
                        self.refuse(ApiError::new(
                            RequestCode::RequestTimeout,
                            "the request's head did not arrive in time; nothing was changed",
                        ));
                    } else {
                        self.phase = Phase::Ended;
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// Writes our own answer.
    fn poll_refuse(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Phase::Refuse { answer } = &mut self.phase else {
            return Poll::Ready(Ok(()));
        };
        while !answer.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, answer))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            answer.advance(written);
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.phase = Phase::Ended;
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gate<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match this.phase {
                Phase::Head { .. } => ready!(this.poll_head(cx))?,
                Phase::Refuse { .. } => ready!(this.poll_refuse(cx))?,
                Phase::Ended => return Poll::Ready(Ok(())),
                Phase::Body { left: 0 } => {
                    this.phase = Phase::Head { searched: 0 };
                    this.timer_stale = true;
                }
                Phase::Body { .. } | Phase::Unframed => {
                    if this.buffer.is_empty() && ready!(this.poll_fill(cx))? == 0 {
                        this.phase = Phase::Ended;
                        continue;
                    }
                    let left = match this.phase {
                        Phase::Body { left } => left,
                        _ => u64::MAX,
                    };
                    let handed = this.hand_over(out, left);
                    if let Phase::Body { left } = &mut this.phase {
                        *left -= handed;
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gate<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.unflushed = true;
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// The answer to a head that hyper never sees.
pub(super) fn raw_answer(error: ApiError) -> Bytes {
    let problem = error.into_problem();
    let body = serde_json::to_string(&problem).unwrap_or_default();
    Bytes::from(format!(
        "HTTP/1.1 {} {}\r\n\
         content-type: {}\r\n\
         content-length: {}\r\n\
         cache-control: no-store\r\n\
         x-content-type-options: nosniff\r\n\
         connection: close\r\n\r\n{body}",
        problem.status,
        problem.title,
        cutover_api::problem::PROBLEM_CONTENT_TYPE,
        body.len(),
    ))
}
