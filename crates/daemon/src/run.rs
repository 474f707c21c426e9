//! The whole daemon: what `cutover serve` runs, and what the tests start in-process.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use cutover_core::compose_version::{ComposeVersion, MINIMUM};
use cutover_core::deployment::UnixMillis;
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::deployer::Deployer;
use crate::docker::{Docker, DockerError};
use crate::driver::command::Compose;
use crate::driver::{ComposeDriver, Driver};
use crate::files;
use crate::hold;
use crate::http::{self, HttpError};
use crate::journal::{Journal, JournalError, Opened, Retention};
use crate::program::ProgramError;
use crate::settings::Settings;
use crate::systemd;

/// The history grows by a few kilobytes a deployment: once a day is often enough.
const PRUNE_EVERY: Duration = Duration::from_secs(24 * 3600);

/// The daemon could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Compose is missing or cannot be run.
    #[error(transparent)]
    Compose(#[from] ProgramError),
    /// Compose is too old.
    #[error(
        "Compose {found} is too old: install version {MINIMUM} or newer (package docker-compose-plugin or docker-compose)"
    )]
    ComposeTooOld {
        /// What is installed.
        found: String,
    },
    /// Docker answers and is not one that cutover works with.
    #[error(transparent)]
    Docker(DockerError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The state directory cannot be used.
    #[error("the state directory {} cannot be used: {source}", path.display())]
    StateDirectory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A listener could not be opened.
    #[error(transparent)]
    Http(#[from] HttpError),
}

impl RunError {
    /// Whether every start ends in the same way until somebody changes the configuration or installs what is
    /// missing. Then it ends with 2, for people; the unit tries again all the same, and comes up when that is put
    /// right.
    #[must_use]
    pub fn stays(&self) -> bool {
        matches!(
            self,
            Self::Compose(ProgramError::NotFound { .. })
                | Self::ComposeTooOld { .. }
                | Self::Docker(DockerError::Unsupported { .. })
                | Self::Http(HttpError::Tls(_))
        )
    }
}

/// Runs until `shutdown` is done, then stops gracefully within the configured bound.
///
/// Docker need not answer at the start: requests are refused until it does.
///
/// # Errors
/// [`RunError`] when it cannot start; nothing was changed then.
pub async fn run(settings: Settings, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    leave_no_core_dumps();
    let compose = Compose::find(&settings.docker)?;
    let version = compose.version().await?;
    match version.parse::<ComposeVersion>() {
        Ok(found) if found >= MINIMUM => {}
        _ => return Err(RunError::ComposeTooOld { found: version }),
    }
    let docker = Docker::new(&settings.docker.socket);
    if let Err(error @ DockerError::Unsupported { .. }) = docker.version().await {
        return Err(RunError::Docker(error));
    }
    let directory = &settings.server.state_directory;
    let unusable = |source| RunError::StateDirectory {
        path: directory.clone(),
        source,
    };
    files::make_private(directory).map_err(unusable)?;
    let (journal, opened) = Journal::open(directory).await?;
    if let Opened::Replaced { broken } = &opened {
        ask_for_an_operator(&settings, &journal, broken).await?;
    }
    if let Err(error) = hold::remove_left_over().await {
        tracing::debug!(%error, "whether rules of an earlier hold are left is not known");
    }
    let driver = ComposeDriver::new(docker, compose, directory).map_err(unusable)?;
    let driver = Driver::Compose(driver);
    let deployer = Deployer::new(&settings, driver, journal.clone());

    let journal_to_prune = journal.clone();
    let server = http::Server::open(&settings, deployer.clone(), journal).await?;
    let recovering = tokio::spawn({
        let deployer = deployer.clone();
        async move { deployer.recover().await }
    });
    let retention = Retention {
        days: settings.server.history_days,
        ..Retention::default()
    };
    let pruning = tokio::spawn(prune_history(journal_to_prune, retention));
    systemd::ready();
    let watchdog = systemd::feed_watchdog();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        compose = version,
        services = settings.services.len(),
        "cutover is running"
    );

    shutdown.await;
    systemd::stopping();
    tracing::info!("stopping: no new deployments; those that have switched are finished first");
    deployer.shut_down(settings.server.shutdown_deadline).await;
    server.stop().await;
    recovering.abort();
    pruning.abort();
    watchdog.abort();
    Ok(())
}

/// Keeps the history within its bounds, from the start on.
async fn prune_history(journal: Journal, retention: Retention) {
    let mut rounds = tokio::time::interval(PRUNE_EVERY);
    loop {
        rounds.tick().await;
        let now = UnixMillis(jiff::Timestamp::now().as_millisecond());
        match journal.prune(retention, now).await {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, "old deployments were taken out of the history"),
            Err(error) => tracing::warn!(%error, "the history was not pruned"),
        }
    }
}

/// A core dump would hold the secrets. Programs that are started from here leave none either.
fn leave_no_core_dumps() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core dumps could not be switched off");
    }
}

/// The history is gone: nobody but a person can say whether what runs is what should run.
async fn ask_for_an_operator(
    settings: &Settings,
    journal: &Journal,
    broken: &std::path::Path,
) -> Result<(), JournalError> {
    let why = format!(
        "the journal was damaged and is kept as {}; a new one was begun: see what runs, then `cutover resume SERVICE`",
        broken.display()
    );
    tracing::error!("{why}");
    for service in settings.services.keys() {
        journal.set_needs_operator(service, Some(&why)).await?;
    }
    journal.acknowledge_replacement().await
}
