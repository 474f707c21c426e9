//! `cutover cancel`: stops a deployment that has not switched yet.

use std::process::ExitCode;

use cutover_api::deployment::Deployment;
use reqwest::Method;

use crate::arguments::{self, OperatorArgs};
use crate::client::pick;
use crate::commands::{Format, converse, operator_client};
use crate::exit::Exit;
use crate::render::{self, words};

/// What `cutover cancel` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct CancelArgs {
    /// The beginning of its id or of its sha, or a service, for its latest one; may be left out where only one
    /// service is configured
    #[arg(value_name = "DEPLOYMENT", value_parser = arguments::name)]
    deployment: Option<String>,

    #[command(flatten)]
    operator: OperatorArgs,
}

/// Asks for the deployment to be cancelled.
///
/// # Errors
/// Wrong usage, a refusal (for instance that it has switched), or why there is no answer.
pub(crate) fn run(args: CancelArgs) -> anyhow::Result<ExitCode> {
    let client = operator_client(&args.operator)?;
    let format = Format::of(&args.operator.client);
    converse(format, async {
        let id = &pick::deployment(&client, args.deployment.as_deref()).await?;
        let answer = client
            .change::<Deployment>(Method::DELETE, &["v1", "deployments", id], None::<&()>)
            .await?;
        match (format, answer.value) {
            (Format::Json, _) => render::print_body(&answer.body)?,
            (Format::Text, Some(deployment)) if deployment.outcome.is_none() => {
                render::print(&format!(
                    "deployment {id} is being cancelled; it is still {}\n",
                    words::status(deployment.status)
                ))?;
            }
            (Format::Text, _) => {
                render::print(&format!(
                    "deployment {id} is cancelled; nothing was changed\n"
                ))?;
            }
        }
        Ok(Exit::Done)
    })
}
