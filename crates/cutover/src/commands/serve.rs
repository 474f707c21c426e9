//! `cutover serve`: runs the daemon.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use cutover_daemon::settings;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::Format;
use super::check::refuse;
use crate::client::failure::Failure;
use crate::exit::Exit;

/// Deployments are mostly waiting: for Docker, a registry, a health check.
const WORKER_THREADS: usize = 2;

/// What to do where every start would end in the same way.
const NEXT: &str = "nothing was changed; `cutover check` says all that is wrong at once";

/// What `cutover serve` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// The configuration file
    #[arg(long, value_name = "PATH", default_value = settings::DEFAULT_PATH)]
    pub(crate) config: PathBuf,
}

/// Runs the daemon until it is told to stop by SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start; nothing was changed then. What only a change of the configuration or of the machine
/// can put right ends with 2.
pub(crate) fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let settings = match settings::load(&args.config) {
        Ok(settings) => settings,
        Err(mistakes) => return refuse(&mistakes, Format::Text),
    };
    start_logging();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .context("the runtime could not be started")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let ended = cutover_daemon::run::run(settings, shutdown).await;
        ended.map_err(|error| match error.stays() {
            true => anyhow::Error::from(Failure::usage(error.to_string(), NEXT)),
            false => error.into(),
        })
    })?;
    Ok(Exit::Done.into())
}

/// One line an event on stderr, where systemd's journal takes it; `RUST_LOG` chooses what.
fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        // journald adds the time itself.
        lines.without_time().with_ansi(false).init();
    } else {
        lines
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init();
    }
}
