//! All listeners of the daemon together: opened before work begins, stopped after it has ended.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::limits::Limits;
use super::listen::Listener;
use super::tls::{Identity, POLL_EVERY, TlsError};
use super::watch::{WatchKeyError, WatchTokens};
use super::{Front, metrics_router, router, serve};
use crate::deployer::Deployer;
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::settings::Settings;

/// A listener that could not be opened; none is left open then.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The key of the watch tokens cannot be used.
    #[error(transparent)]
    WatchKey(#[from] WatchKeyError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {}", why_not(*address, source))]
    Address {
        /// Which address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The unix socket cannot be made.
    #[error("cannot make the socket `{}`: {source}", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system does not let us be told when to read the certificate again.
    #[error("cannot wait for SIGHUP: {0}")]
    Signal(std::io::Error),
}

/// The open listeners.
#[derive(Debug)]
pub struct Server {
    address: Option<SocketAddr>,
    metrics_address: Option<SocketAddr>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Opens every listener of `settings` and serves on them from now on.
    ///
    /// # Errors
    /// [`HttpError`] when one cannot be opened; nothing is served then.
    pub async fn open(
        settings: &Settings,
        deployer: Deployer,
        journal: Journal,
    ) -> Result<Self, HttpError> {
        Self::open_with(settings, deployer, journal, Limits::default()).await
    }

    /// [`Self::open`] with bounds of the caller's choice.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with(
        settings: &Settings,
        deployer: Deployer,
        journal: Journal,
        limits: Limits,
    ) -> Result<Self, HttpError> {
        let server = &settings.server;
        let watch = WatchTokens::load_or_create(&server.state_directory)?;
        let identity = match (&server.listen, &server.tls) {
            (Some(_), Some(files)) => Some(Identity::load(&files.cert, &files.key)?),
            _ => None,
        };
        let network = match (server.listen, &identity) {
            (None, _) => None,
            (Some(address), None) => Some(Listener::plain(address).map_err(at(address))?),
            (Some(address), Some(identity)) => {
                Some(Listener::tls(address, identity.clone()).map_err(at(address))?)
            }
        };
        let scrape = match server.metrics_listen {
            None => None,
            Some(address) => Some(Listener::plain(address).map_err(at(address))?),
        };
        let hangup = signal(SignalKind::hangup()).map_err(HttpError::Signal)?;
        let operator = Listener::operator(&server.socket).await;
        let operator = operator.map_err(|source| HttpError::Socket {
            path: server.socket.clone(),
            source,
        })?;

        let metrics = Metrics::new();
        let opened = Self {
            address: network.as_ref().and_then(Listener::address),
            metrics_address: scrape.as_ref().and_then(Listener::address),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        opened.spawn(count_endings(deployer.endings(), metrics.clone()));
        if let Some(identity) = identity {
            opened.spawn(watch_certificate(identity, hangup, metrics.clone()));
        }
        let front = Front::new(deployer, journal, settings, watch, metrics.clone());
        for listener in [network, Some(operator)].into_iter().flatten() {
            opened.listen(listener, router(front.clone()), &limits, &metrics);
        }
        if let Some(scrape) = scrape {
            opened.listen(scrape, metrics_router(front), &limits, &metrics);
        }
        tracing::info!(
            network = opened.address.map(tracing::field::display),
            socket = %server.socket.display(),
            metrics = opened.metrics_address.map(tracing::field::display),
            "listening"
        );
        Ok(opened)
    }

    /// The address of the network's listener, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The address of the metrics' listener, with the port that the system chose.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Accepts nothing more, lets answers under way finish for a while, and closes everything.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn listen(&self, listener: Listener, router: axum::Router, limits: &Limits, metrics: &Metrics) {
        let stop = self.stop.clone().cancelled_owned();
        self.tasks.spawn(serve(
            listener,
            router,
            limits.clone(),
            metrics.clone(),
            stop,
        ));
    }

    /// Runs `work` until the server is stopped.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(work).await;
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A server that nobody stops, because a test failed, must not go on by itself.
        self.stop.cancel();
    }
}

/// Why an address cannot be listened on, and what to do about it.
pub(crate) fn why_not(address: SocketAddr, error: &std::io::Error) -> String {
    let port = address.port();
    match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "another program listens there (`ss --listening --tcp --numeric --processes sport = :{port}` says which): stop it, or choose another port"
        ),
        std::io::ErrorKind::AddrNotAvailable => {
            format!(
                "this machine has no address {}: correct it, or use 0.0.0.0 for all",
                address.ip()
            )
        }
        std::io::ErrorKind::PermissionDenied => {
            format!(
                "only root may listen on a port below 1024, such as {port}: choose another, or run as root"
            )
        }
        _ => error.to_string(),
    }
}

fn at(address: SocketAddr) -> impl FnOnce(std::io::Error) -> HttpError {
    move |source| HttpError::Address { address, source }
}

/// Counts the deployments that end.
async fn count_endings(
    mut endings: broadcast::Receiver<cutover_core::deployment::Deployment>,
    metrics: Metrics,
) {
    loop {
        match endings.recv().await {
            Ok(deployment) => metrics.deployment_ended(&deployment),
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "deployments ended uncounted");
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Reads the certificate again when it changes, and at once when told so, changed or not.
async fn watch_certificate(
    identity: Identity,
    mut hangup: tokio::signal::unix::Signal,
    metrics: Metrics,
) {
    loop {
        // Ends by itself if the signal's stream ever ends: then the time alone decides.
        let told = async {
            if hangup.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
        };
        if tokio::time::timeout(POLL_EVERY, told).await.is_ok() {
            identity.forget_tried();
        }
        identity.reload_and_report(&metrics);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_hangup_has_the_certificate_read_again_though_its_files_look_the_same() {
        let dir = tempfile::tempdir().expect("a directory");
        let [cert, key] = ["tls.crt", "tls.key"].map(|name| dir.path().join(name));
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a pair");
        std::fs::write(&cert, pair.cert.pem()).expect("writes");
        std::fs::write(&key, pair.signing_key.serialize_pem()).expect("writes");
        let identity = Identity::load(&cert, &key).expect("a pair");
        let metrics = Metrics::new();
        // As after a failure whose reason does not show in the files.
        metrics.certificate_usable(false);
        let hangup = signal(SignalKind::hangup()).expect("a handler");
        let watch = tokio::spawn(watch_certificate(identity, hangup, metrics.clone()));
        let this = rustix::process::getpid();
        rustix::process::kill_process(this, rustix::process::Signal::HUP).expect("a signal");
        let usable = async {
            let line = "\ncutover_tls_certificate_usable 1\n";
            while !metrics.encode(&[]).expect("text").contains(line) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let read = tokio::time::timeout(Duration::from_secs(30), usable).await;
        read.expect("the files are read again");
        watch.abort();
    }
}
