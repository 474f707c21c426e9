//! What can be typed: the commands, and the options that several of them share.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands;

/// Shown below the help of `cutover` itself; the codes are those of [`crate::exit::Exit`].
const EXIT_CODES: &str = "\
Exit codes:
  0    succeeded, or unchanged because the release already runs
  1    failed and nothing was changed; also a refused request
  2    wrong usage or configuration
  3    rolled back: the new release failed, the previous one runs again
  4    needs an operator: rolling back failed; or there was nothing to go back to
  5    the daemon was not reachable or its answer was lost
  130  interrupted; a deployment under way goes on on the server";

/// Deploys Docker Compose services and never leaves them worse off than before
#[derive(Debug, Parser)]
#[command(name = "cutover", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
#[command(arg_required_else_help = true, infer_long_args = false)]
pub(crate) struct Cli {
    /// The command
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Every command; each has a file of the same name under `commands`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon
    Serve(commands::serve::ServeArgs),
    /// Deploy an image tag to a service and follow until it has ended
    Deploy(commands::deploy::DeployArgs),
    /// Deploy an earlier release again, from images on the machine
    Rollback(commands::rollback::RollbackArgs),
    /// Show what runs
    Status(commands::status::StatusArgs),
    /// List past deployments, newest first
    History(commands::history::HistoryArgs),
    /// Show one deployment in full
    Show(commands::show::ShowArgs),
    /// Print the output of a deployment's new container
    Logs(commands::logs::LogsArgs),
    /// Cancel a deployment that has not switched yet
    Cancel(commands::cancel::CancelArgs),
    /// Refuse deployments of a service until it is resumed
    Pause(commands::pause::PauseArgs),
    /// Accept deployments again, of a service that was paused or needed an operator
    Resume(commands::resume::ResumeArgs),
    /// Say what a deployment would do; touches nothing
    Plan(commands::plan::PlanArgs),
    /// Validate the configuration and the machine
    Check(commands::check::CheckArgs),
    /// Write a configuration for the Compose project found here
    Init(commands::init::InitArgs),
    /// Print a completion script for a shell
    Completions(commands::completions::CompletionsArgs),
    /// Print a document, such as operations or configuration, or the help of a command
    Help(commands::help::HelpArgs),
    /// Print the manual page
    Man(commands::man::ManArgs),
}

/// Where the daemon is and how its answer is printed. The variables are not read here: what is typed goes
/// before them, whichever option it is, and clap would take one for typed.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClientArgs {
    /// The daemon's address, https://… (plain http:// only to this machine); without it the local daemon's socket is used [env: CUTOVER_URL]
    #[arg(long, value_name = "URL")]
    #[arg(help_heading = "Connection")]
    pub(crate) url: Option<String>,

    /// The local daemon's unix socket, used when no URL is given [env: CUTOVER_SOCKET] [default: /run/cutover/cutover.sock]
    #[arg(long, value_name = "PATH", help_heading = "Connection")]
    pub(crate) socket: Option<PathBuf>,

    /// Print the daemon's answer as it came, as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// [`ClientArgs`] and the operator token that everything but `deploy` needs over the network.
#[derive(Debug, Clone, Args)]
pub(crate) struct OperatorArgs {
    /// Where the daemon is
    #[command(flatten)]
    pub(crate) client: ClientArgs,

    /// A file that holds an operator token, needed with a URL; or set CUTOVER_TOKEN
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    pub(crate) token_file: Option<PathBuf>,
}

/// How long a command that waits for a deployment goes on without contact.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct PatienceArgs {
    /// How long to keep trying while the daemon is busy, or after contact with it was lost; an address
    /// where it cannot be reached to begin with is tried for at most 30 s, a local socket once
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    #[arg(help_heading = "Connection")]
    pub(crate) give_up_after: u64,
}

/// Reads the name of a service or the id of a deployment: one plain path segment.
///
/// # Errors
/// Anything but 1 to 128 of `A-Za-z0-9._-`, beginning with a letter or digit.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let fine = text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if fine {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 128 of `A-Za-z0-9._-`, beginning with a letter or digit".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn names_cannot_leave_their_path_segment() {
        assert_eq!(name("shop-app_1.x"), Ok("shop-app_1.x".to_owned()));
        for wrong in [
            "", ".", "..", "../x", "a/b", "-x", "a b", "a\n", "ä", "a?b", "a%2f",
        ] {
            assert!(name(wrong).is_err(), "{wrong:?}");
        }
        assert!(name(&"a".repeat(129)).is_err());
    }
}
