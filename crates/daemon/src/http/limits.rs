//! Every bound of the HTTP front, with its reason.

use std::time::Duration;

/// Headers of one request. Clients and proxies send about fifteen.
pub(super) const HEADERS_MAX: usize = 64;

/// Bytes of a request's head: the request line and all headers.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a request's body. A GitHub event payload may travel in it; the largest are some 100 KiB.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of each body that are not counted in [`BODY_BYTES_HELD_MAX`]. A request of ours has some 300
/// bytes, so that strangers who fill that memory do not keep it out. The seats bound the sum: 32 MiB for
/// each listener.
pub(super) const BODY_BYTES_FREE: usize = 64 * 1024;

/// Bytes of all bodies that are being held at once, without [`BODY_BYTES_FREE`] of each, so that
/// strangers cannot fill the memory with bodies that turn out to be signed by nobody.
pub(super) const BODY_BYTES_HELD_MAX: usize = 48 * 1024 * 1024;

/// Event streams open at once. Each holds a connection for as long as a deployment takes.
pub(super) const EVENT_STREAMS_MAX: usize = 64;

/// Event streams with one watch token: a CI run needs one, and one more while it comes back to where another ended.
pub(super) const EVENT_STREAMS_OF_WATCHER_MAX: usize = 8;

/// Event streams with one operator's token, or of one user of the machine.
pub(super) const EVENT_STREAMS_OF_OPERATOR_MAX: usize = 32;

/// How often an event stream says that it is alive; proxies cut what is silent for 60 s.
pub(super) const EVENT_COMMENT_EVERY: Duration = Duration::from_secs(15);

/// Deployments on one page of the history, unless the request says otherwise.
pub(super) const PAGE_LEN: u32 = 20;

/// Deployments on one page of the history at most.
pub(super) const PAGE_LEN_MAX: u32 = 100;

/// How far a request's timestamp may be from the server's clock, in seconds. CI machines keep time by
/// NTP; what is older may be a replay.
pub(super) const FRESHNESS_SECONDS: i64 = 300;

/// What a listener allows its peers. The defaults are right for production; tests shorten them.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From the accepted connection to the end of the TLS handshake.
    pub handshake_time: Duration,
    /// From the first byte of a request's head to its last.
    pub head_time: Duration,
    /// How long a connection may stay open between two requests.
    pub idle_time: Duration,
    /// From the end of a request's head to the end of its body.
    pub body_time: Duration,
    /// How long a peer may leave an answer unread while there is more to write.
    pub stall_time: Duration,
    /// Connections at once. A new one beyond it takes the place of one that has not proven who it is:
    /// the oldest of the origin that holds the most of these, so that a flood of silent connections
    /// pushes out itself and not the one that matters. Only many origins together can do that.
    pub connections_max: usize,
    /// How long a stopping listener waits for answers under way.
    pub stop_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_time: Duration::from_secs(10),
            head_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(60),
            body_time: Duration::from_secs(20),
            stall_time: Duration::from_secs(30),
            connections_max: 512,
            stop_time: Duration::from_secs(10),
        }
    }
}
