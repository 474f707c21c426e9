//! `cutover serve`: runs the daemon.

use std::path::PathBuf;
use std::process::ExitCode;

/// What `cutover serve` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// The configuration file
    #[arg(long, value_name = "PATH", default_value = "/etc/cutover/cutover.toml")]
    pub(crate) config: PathBuf,
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// Always, for now.
pub(crate) fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet: serve --config {}", args.config.display())
}
