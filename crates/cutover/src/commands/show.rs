//! `cutover show`: one deployment in full. Ends with 0 whenever it could be read.

use std::process::ExitCode;

use cutover_api::deployment::Deployment;

use crate::arguments::{self, OperatorArgs};
use crate::client::pick;
use crate::commands::{Format, converse, operator_client};
use crate::exit::Exit;
use crate::render::time::Clock;
use crate::render::{self, Audience, deployment};

/// What `cutover show` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// The beginning of its id or of its sha, or a service, for its latest one; may be left out where only one
    /// service is configured
    #[arg(value_name = "DEPLOYMENT", value_parser = arguments::name)]
    deployment: Option<String>,

    #[command(flatten)]
    operator: OperatorArgs,
}

/// Prints the deployment.
///
/// # Errors
/// Wrong usage, a refusal, or why there is no answer.
pub(crate) fn run(args: ShowArgs) -> anyhow::Result<ExitCode> {
    let client = operator_client(&args.operator)?;
    let format = Format::of(&args.operator.client);
    converse(format, async {
        let id = pick::deployment(&client, args.deployment.as_deref()).await?;
        let answer = client
            .get::<Deployment>(&["v1", "deployments", &id], &[])
            .await?;
        match format {
            Format::Text => {
                let audience = Audience::of_stdout();
                let clock = Clock::now(audience);
                render::print(&deployment::full(&answer.value, audience, &clock))?;
            }
            Format::Json => render::print_body(&answer.body)?,
        }
        Ok(Exit::Done)
    })
}
