//! `cutover check`: validates the configuration and the machine.

use std::path::PathBuf;
use std::process::ExitCode;

/// What `cutover check` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The configuration file
    #[arg(long, value_name = "PATH", default_value = "/etc/cutover/cutover.toml")]
    pub(crate) config: PathBuf,

    /// Print the findings as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Reports every finding, each with what to do about it.
///
/// # Errors
/// Always, for now.
pub(crate) fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let _ = args.json;
    anyhow::bail!("not built yet: check --config {}", args.config.display())
}
