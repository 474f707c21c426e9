//! `cutover plan`: says what a deployment would do; touches nothing.

use std::path::PathBuf;
use std::process::ExitCode;

/// What `cutover plan` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {
    /// The configured service
    #[arg(value_name = "SERVICE")]
    pub(crate) service: String,

    /// The image tag that would be deployed
    #[arg(value_name = "SHA")]
    pub(crate) sha: String,

    /// The configuration file
    #[arg(long, value_name = "PATH", default_value = "/etc/cutover/cutover.toml")]
    pub(crate) config: PathBuf,

    /// Print the plan as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints the plan.
///
/// # Errors
/// Always, for now.
pub(crate) fn run(args: PlanArgs) -> anyhow::Result<ExitCode> {
    let _ = args.json;
    anyhow::bail!(
        "not built yet: plan {} {} --config {}",
        args.service,
        args.sha,
        args.config.display()
    )
}
