//! Docker, as this daemon sees it: a thin, typed client of the Docker Engine API.
//!
//! Three rules hold for everything below. Every call has a time bound of its own ([`Bounds`]). Every
//! effect is an *ensure*: it may be repeated, and when the answer is lost, Docker is asked what became of
//! it. And what Docker says in words reaches the reader, bounded, in a [`DockerError`] whose kind tells
//! the caller what to do next.
//!
//! Most calls go through bollard, over a transport of our own (`wire`) which sends the negotiated API
//! version and repairs the registry credentials; the endless answers (events, container output) are
//! read from the wire directly, so that an unknown word in one of them cannot end the stream.
//!
//! Absent on purpose: creating a container from anything but Docker's own description of one that existed.
//! New ones are created by Compose alone.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::BollardRequest;
use http_body_util::Either;

use self::wire::Wire;

pub mod announce;
pub mod container;
pub mod create;
pub mod credentials;
mod disk;
pub(crate) mod effects;
pub mod error;
pub mod events;
pub mod exec;
#[cfg(test)]
pub(crate) mod fake;
pub mod image;
pub mod output;
pub mod pull;
mod query;
mod remove;
mod version;
mod wire;

pub use self::container::Container;
pub use self::create::CreateConfiguration;
pub use self::error::DockerError;
pub use self::events::ContainerEvents;
pub use self::remove::AnonymousVolumes;
pub use self::version::{ApiVersion, DockerVersion};

/// How long each kind of call may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// A question or a change of a record: Docker answers within milliseconds; seconds are a disk that is
    /// busy with something else, more is a Docker that hangs.
    pub call: Duration,
    /// Starting a container: Docker mounts volumes, builds networks and runs hooks before it answers.
    pub start: Duration,
    /// What stopping may take beyond the grace period: after SIGKILL, Docker itself waits up to 12 s.
    pub stop_margin: Duration,
    /// Removing a container: a large writable layer is deleted file by file.
    pub remove: Duration,
    /// Asking the registry about a tag, which Docker does for us.
    pub manifest: Duration,
    /// How long a pull may stand still.
    pub pull_idle: Duration,
    /// How long an ensure waits for Docker to answer again before it gives up; a restart of Docker stops
    /// every container first, for which Docker allows itself 15 s.
    pub reconnect: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(30),
            start: Duration::from_secs(120),
            stop_margin: Duration::from_secs(30),
            remove: Duration::from_secs(120),
            manifest: Duration::from_secs(60),
            pull_idle: Duration::from_secs(60),
            reconnect: Duration::from_secs(60),
        }
    }
}

/// Switches bollard's own limit off (a year): it covers the head of an answer only, and every call here is
/// bounded as a whole.
const BOLLARD_TIMEOUT_S: u64 = 365 * 24 * 3600;

/// A handle on one Docker Engine; cheap to clone.
#[derive(Clone, Debug)]
pub struct Docker {
    wire: Arc<Wire>,
    bollard: bollard::Docker,
    bounds: Bounds,
}

impl Docker {
    /// A handle on the Docker that listens on `socket`. Nothing is opened yet.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self::with_bounds(socket, Bounds::default())
    }

    /// As [`Docker::new`], with other time bounds.
    #[must_use]
    pub fn with_bounds(socket: &Path, bounds: Bounds) -> Self {
        let wire = Arc::new(Wire::new(socket));
        let transport = {
            let wire = Arc::clone(&wire);
            move |request: BollardRequest| {
                let wire = Arc::clone(&wire);
                async move {
                    let (head, body) = request.into_parts();
                    let Either::Left(body) = body else {
                        return Err(
                            DockerError::unsupported("a request with a streamed body").into()
                        );
                    };
                    let request = http::Request::from_parts(head, body);
                    wire.send(request).await.map_err(Into::into)
                }
            }
        };
        let bollard = bollard::Docker::connect_with_custom_transport(
            transport,
            Some("http://docker"),
            BOLLARD_TIMEOUT_S,
            bollard::API_DEFAULT_VERSION,
        )
        .expect("a custom transport opens nothing, so nothing can fail");
        Self {
            wire,
            bollard,
            bounds,
        }
    }

    /// The socket that Docker listens on.
    #[must_use]
    pub fn socket(&self) -> &Path {
        self.wire.socket()
    }

    /// The time bounds of this handle's calls.
    #[must_use]
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Who answers, and which API version is spoken with it.
    ///
    /// # Errors
    /// [`DockerError::Unsupported`] when Docker is older than Engine 23 (API 1.42) or newer than anything that
    /// this client can speak; otherwise what kept Docker from answering.
    pub async fn version(&self) -> Result<DockerVersion, DockerError> {
        self.bounded(
            "asking for the version",
            self.bounds.call,
            self.wire.version(),
        )
        .await
    }

    /// Whether Docker answers.
    ///
    /// # Errors
    /// What kept it from answering.
    pub async fn ping(&self) -> Result<(), DockerError> {
        self.bounded("ping", self.bounds.call, async {
            self.bollard
                .ping()
                .await
                .map(drop)
                .map_err(DockerError::from)
        })
        .await
    }

    /// Awaits `call`, at most for `bound`.
    async fn bounded<T>(
        &self,
        what: &'static str,
        bound: Duration,
        call: impl Future<Output = Result<T, DockerError>>,
    ) -> Result<T, DockerError> {
        match tokio::time::timeout(bound, call).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(DockerError::TimedOut { what, bound }),
        }
    }
}
