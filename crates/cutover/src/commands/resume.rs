//! `cutover resume`: a service that was paused, or that needed an operator, accepts deployments again.

use std::process::ExitCode;

use cutover_api::service::Service;
use reqwest::Method;

use crate::arguments::{self, OperatorArgs};
use crate::commands::{Format, converse, operator_client};
use crate::exit::Exit;
use crate::render;

/// What `cutover resume` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct ResumeArgs {
    /// The configured service
    #[arg(value_name = "SERVICE", value_parser = arguments::name)]
    service: String,

    #[command(flatten)]
    operator: OperatorArgs,
}

/// Resumes the service.
///
/// # Errors
/// Wrong usage, a refusal, or why there is no answer.
pub(crate) fn run(args: ResumeArgs) -> anyhow::Result<ExitCode> {
    let client = operator_client(&args.operator)?;
    let format = Format::of(&args.operator.client);
    converse(format, async {
        let service = &args.service;
        let answer = client
            .change::<Service>(
                Method::DELETE,
                &["v1", "services", service, "pause"],
                None::<&()>,
            )
            .await?;
        match format {
            Format::Text => render::print(&format!("{service} accepts deployments again\n"))?,
            Format::Json => render::print_body(&answer.body)?,
        }
        Ok(Exit::Done)
    })
}
