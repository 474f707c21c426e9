//! `cutover rollback`: asks for an earlier release to be deployed again and follows it to the end.

use std::process::ExitCode;
use std::time::Duration;

use cutover_api::deploy::RollbackRequest;

use crate::arguments::{self, OperatorArgs, PatienceArgs};
use crate::client::submission::Submission;
use crate::commands::{Format, attend, converse, operator_client};

/// What `cutover rollback` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct RollbackArgs {
    /// The configured service
    #[arg(value_name = "SERVICE", value_parser = arguments::name)]
    service: String,

    /// The deployment whose release shall run again; by default the one before the present release
    #[arg(long, value_name = "DEPLOYMENT", value_parser = arguments::name)]
    to: Option<String>,

    #[command(flatten)]
    operator: OperatorArgs,

    #[command(flatten)]
    patience: PatienceArgs,
}

/// Rolls back and follows.
///
/// # Errors
/// Wrong usage, a refusal, or that the end could not be learned.
pub(crate) fn run(args: RollbackArgs) -> anyhow::Result<ExitCode> {
    let client = operator_client(&args.operator)?;
    let format = Format::of(&args.operator.client);
    let give_up_after = Duration::from_secs(args.patience.give_up_after);
    let submission = Submission::Rollback {
        service: args.service,
        request: RollbackRequest { to: args.to },
    };
    converse(format, async {
        attend::attend(&client, submission, give_up_after, format).await
    })
}
