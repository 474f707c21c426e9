//! `cutover init`: writes a configuration for the Compose project found here.

use std::path::PathBuf;
use std::process::ExitCode;

/// What `cutover init` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// Where the Compose project is
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,
}

/// Writes the configuration, a secret, a systemd unit and a workflow.
///
/// # Errors
/// Always, for now.
pub(crate) fn run(args: InitArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!(
        "not built yet: init --directory {}",
        args.directory.display()
    )
}
