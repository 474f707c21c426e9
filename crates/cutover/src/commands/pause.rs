//! `cutover pause`: a service refuses deployments until it is resumed.

use std::process::ExitCode;

use cutover_api::deploy::PauseRequest;
use cutover_api::service::Service;
use reqwest::Method;

use crate::arguments::{self, OperatorArgs};
use crate::commands::{Format, converse, operator_client};
use crate::exit::Exit;
use crate::render;

/// What `cutover pause` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct PauseArgs {
    /// The configured service
    #[arg(value_name = "SERVICE", value_parser = arguments::name)]
    service: String,

    /// Why; shown to everyone whose request is refused
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,

    #[command(flatten)]
    operator: OperatorArgs,
}

/// Pauses the service.
///
/// # Errors
/// Wrong usage, a refusal, or why there is no answer.
pub(crate) fn run(args: PauseArgs) -> anyhow::Result<ExitCode> {
    let client = operator_client(&args.operator)?;
    let format = Format::of(&args.operator.client);
    converse(format, async {
        let service = &args.service;
        let request = PauseRequest { why: args.why };
        let answer = client
            .change::<Service>(
                Method::PUT,
                &["v1", "services", service, "pause"],
                Some(&request),
            )
            .await?;
        if format == Format::Json {
            render::print_body(&answer.body)?;
            return Ok(Exit::Done);
        }
        render::print(&format!(
            "{service} is paused: deployments are refused until `cutover resume {service}`\n"
        ))?;
        if let Some(current) = answer.value.and_then(|it| it.current) {
            render::tell(&format!(
                "deployment {} is under way and goes on\n",
                current.id
            ));
        }
        Ok(Exit::Done)
    })
}
