//! `cutover rollback`: asks for an earlier release to be deployed again and follows it to the end.

use std::process::ExitCode;
use std::time::Duration;

use cutover_api::deploy::RollbackRequest;

use crate::arguments::{self, OperatorArgs, PatienceArgs};
use crate::client::pick;
use crate::client::submission::Submission;
use crate::commands::{Format, attend, converse, operator_client};

/// What `cutover rollback` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct RollbackArgs {
    /// The configured service; may be left out where there is only one
    #[arg(value_name = "SERVICE", value_parser = arguments::name)]
    service: Option<String>,

    /// The deployment whose release shall run again, by the beginning of its id or of its sha; by default the one
    /// before the present release. A second `cutover rollback` returns
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
    converse(format, async {
        let to = match &args.to {
            Some(to) => Some(pick::deployment(&client, Some(to)).await?),
            None => None,
        };
        let submission = Submission::Rollback {
            service: pick::service(&client, args.service.as_deref()).await?,
            request: RollbackRequest { to },
        };
        attend::attend(&client, submission, give_up_after, format).await
    })
}
