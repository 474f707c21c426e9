//! One file per command: what it takes and what it does, in order.

use std::process::ExitCode;

use crate::arguments::{ClientArgs, Command, OperatorArgs};
use crate::client::Client;
use crate::client::credentials::{self, TOKEN_VARIABLE};
use crate::client::endpoint::Endpoint;
use crate::client::failure::Failure;
use crate::exit::Exit;
use crate::render;

pub(crate) mod serve;
pub(crate) mod deploy;
pub(crate) mod rollback;
mod attend;
pub(crate) mod status;
pub(crate) mod history;
pub(crate) mod show;
pub(crate) mod logs;
pub(crate) mod cancel;
pub(crate) mod pause;
pub(crate) mod resume;
pub(crate) mod plan;
pub(crate) mod check;
pub(crate) mod init;
pub(crate) mod completions;
pub(crate) mod help;
pub(crate) mod man;

/// Runs a command to its end.
///
/// # Errors
/// Whatever kept it from doing what was asked; [`render::failure::report`] prints it.
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => serve::run(args),
        Command::Deploy(args) => deploy::run(args),
        Command::Rollback(args) => rollback::run(args),
        Command::Status(args) => status::run(args),
        Command::History(args) => history::run(args),
        Command::Show(args) => show::run(args),
        Command::Logs(args) => logs::run(args),
        Command::Cancel(args) => cancel::run(args),
        Command::Pause(args) => pause::run(args),
        Command::Resume(args) => resume::run(args),
        Command::Plan(args) => plan::run(args),
        Command::Check(args) => check::run(args),
        Command::Init(args) => init::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Help(args) => help::run(args),
        Command::Man(args) => man::run(args),
    }
}

/// What stdout shall hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// Text for people.
    Text,
    /// The daemon's answer as it came.
    Json,
}

impl Format {
    /// As asked for with `--json` or not.
    fn of(args: &ClientArgs) -> Self {
        Self::of_flag(args.json)
    }

    /// The same for a command that asks no daemon.
    fn of_flag(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// A client for an operator's command: over the network it needs a token.
fn operator_client(args: &OperatorArgs) -> Result<Client, Failure> {
    let endpoint = Endpoint::from_arguments(&args.client)?;
    let token = match &endpoint {
        Endpoint::Socket(_) => None,
        Endpoint::Network(_) => {
            let token = credentials::read(args.token_file.as_deref(), TOKEN_VARIABLE)?;
            Some(token.ok_or_else(|| {
                Failure::usage(
                    "this needs an operator token when it goes over the network",
                    format!("give --token-file FILE or set {TOKEN_VARIABLE}; on the server itself no token is needed"),
                )
            })?)
        }
    };
    Client::open(endpoint, token)
}

/// Waits for `work` on a runtime of its own.
fn block_on<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(work))
}

/// Runs the conversation of a command with the daemon. A refusal is printed to stdout too where the
/// answer was asked for as JSON.
fn converse(
    format: Format,
    conversation: impl Future<Output = anyhow::Result<Exit>>,
) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(conversation);
    // A name look-up that hangs must not hold the command back after its end.
    runtime.shutdown_background();
    if let (Format::Json, Err(error)) = (format, &ended)
        && let Some(Failure::Refused { body, .. }) = error.downcast_ref()
    {
        // Nobody may be reading any more. The refusal is what the exit code tells.
        drop(render::print_body(body));
    }
    ended.map(ExitCode::from)
}
