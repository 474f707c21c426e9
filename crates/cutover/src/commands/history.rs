//! `cutover history`: past deployments, newest first.

use std::process::ExitCode;

use cutover_api::deployment::DeploymentPage;

use crate::arguments::{self, OperatorArgs};
use crate::commands::{Format, converse, operator_client};
use crate::exit::Exit;
use crate::render::text::clean;
use crate::render::time::Clock;
use crate::render::{self, Audience, history};

/// What `cutover history` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArgs {
    /// Only deployments of this service
    #[arg(value_name = "SERVICE", value_parser = arguments::name)]
    service: Option<String>,

    /// How many deployments, 1 to 100
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,

    /// Only deployments before this one, to read on where the last list ended
    #[arg(long, value_name = "DEPLOYMENT", value_parser = arguments::name)]
    before: Option<String>,

    #[command(flatten)]
    operator: OperatorArgs,
}

/// Prints one page of deployments.
///
/// # Errors
/// Wrong usage, a refusal, or why there is no answer.
pub(crate) fn run(args: HistoryArgs) -> anyhow::Result<ExitCode> {
    let client = operator_client(&args.operator)?;
    let format = Format::of(&args.operator.client);
    let audience = Audience::of_stdout();
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(args.service.clone().map(|service| ("service", service)));
    query.extend(args.before.map(|id| ("before", id)));
    converse(format, async {
        let answer = client
            .get::<DeploymentPage>(&["v1", "deployments"], &query)
            .await?;
        if format == Format::Json {
            render::print_body(&answer.body)?;
            return Ok(Exit::Done);
        }
        let page = answer.value;
        let clock = Clock::now(audience);
        render::print(&history::table(&page.deployments, audience, &clock))?;
        if let Some(id) = page.next_before {
            let service = args
                .service
                .map_or_else(String::new, |name| format!(" {name}"));
            render::tell(&format!(
                "older ones: cutover history{service} --before {}\n",
                clean(&id)
            ));
        }
        Ok(Exit::Done)
    })
}
