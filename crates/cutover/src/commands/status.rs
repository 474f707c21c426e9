//! `cutover status`: what runs. Ends with 0 whenever it could be read, whatever it is.

use std::process::ExitCode;

use cutover_api::service::{Service, ServiceList};

use crate::arguments::{self, OperatorArgs};
use crate::commands::{Format, converse, operator_client};
use crate::exit::Exit;
use crate::render::time::Clock;
use crate::render::{self, Audience, services};

/// What `cutover status` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Only this service, in full
    #[arg(value_name = "SERVICE", value_parser = arguments::name)]
    service: Option<String>,

    #[command(flatten)]
    operator: OperatorArgs,
}

/// Prints what runs.
///
/// # Errors
/// Wrong usage, a refusal, or why there is no answer.
pub(crate) fn run(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let client = operator_client(&args.operator)?;
    let format = Format::of(&args.operator.client);
    let audience = Audience::of_stdout();
    converse(format, async {
        let (text, body) = match &args.service {
            Some(name) => {
                let answer = client
                    .get::<Service>(&["v1", "services", name], &[])
                    .await?;
                (
                    services::full(&answer.value, audience, &Clock::now(audience)),
                    answer.body,
                )
            }
            None => {
                let answer = client.get::<ServiceList>(&["v1", "services"], &[]).await?;
                let clock = Clock::now(audience);
                (
                    services::table(&answer.value.services, audience, &clock),
                    answer.body,
                )
            }
        };
        match format {
            Format::Text => render::print(&text)?,
            Format::Json => render::print_body(&body)?,
        }
        Ok(Exit::Done)
    })
}
