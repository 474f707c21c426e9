//! `cutover logs`: what a deployment's new container wrote.
//!
//! The daemon keeps the last output of a container that failed; the output of one under way is live only.

use std::process::ExitCode;
use std::time::Duration;

use cutover_api::deployment::Deployment;

use crate::arguments::{self, OperatorArgs, PatienceArgs};
use crate::client::follow::{Follower, Sight};
use crate::client::{Client, pick};
use crate::commands::{Format, converse, operator_client};
use crate::exit::Exit;
use crate::render::text::{clean, clean_lines};
use crate::render::{self, words};

/// What `cutover logs` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct LogsArgs {
    /// The beginning of its id or of its sha, or a service, for its latest one; may be left out where only one
    /// service is configured
    #[arg(value_name = "DEPLOYMENT", value_parser = arguments::name)]
    deployment: Option<String>,

    /// Print output as it comes until the deployment has ended
    #[arg(short, long)]
    follow: bool,

    #[command(flatten)]
    operator: OperatorArgs,

    #[command(flatten)]
    patience: PatienceArgs,
}

/// Prints the output.
///
/// # Errors
/// Wrong usage, a refusal, or why there is no answer.
pub(crate) fn run(args: LogsArgs) -> anyhow::Result<ExitCode> {
    let client = operator_client(&args.operator)?;
    let format = Format::of(&args.operator.client);
    let give_up_after = Duration::from_secs(args.patience.give_up_after);
    converse(format, async {
        let id = pick::deployment(&client, args.deployment.as_deref()).await?;
        let answer = client
            .get::<Deployment>(&["v1", "deployments", &id], &[])
            .await?;
        if args.follow && answer.value.outcome.is_none() {
            return follow(&client, &id, give_up_after, format).await;
        }
        match format {
            Format::Text => print_kept(&answer.value)?,
            Format::Json => render::print_body(&answer.body)?,
        }
        Ok(Exit::Done)
    })
}

/// Prints lines as they come, as JSON one object a line; then, if none came, what the daemon kept.
async fn follow(
    client: &Client,
    id: &str,
    give_up_after: Duration,
    format: Format,
) -> anyhow::Result<Exit> {
    let mut lines: u64 = 0;
    let mut printed = Ok(());
    let answer = Follower::new(client, id, None)
        .follow(give_up_after, &mut |sight| match sight {
            Sight::Output(line, json) => {
                lines += 1;
                if printed.is_ok() {
                    printed = match format {
                        Format::Text => render::print(&format!("{}\n", clean(&line.line))),
                        Format::Json => render::print_body(format!("{json}\n").as_bytes()),
                    };
                }
            }
            Sight::Note(text) => render::tell(&format!("cutover: {}\n", clean(text))),
            Sight::Event(_) | Sight::Progress(_) => {}
        })
        .await?;
    printed?;
    if lines == 0 && format == Format::Text {
        print_kept(&answer.value)?;
    }
    render::tell(&format!(
        "cutover: deployment {id} ended: {}\n",
        words::status(answer.value.status)
    ));
    Ok(Exit::Done)
}

/// Prints the output that the daemon kept.
fn print_kept(deployment: &Deployment) -> std::io::Result<()> {
    if deployment.log.is_empty() {
        let why = match deployment.outcome {
            Some(_) => "no output is kept: only that of a container that failed is",
            None => "the deployment is under way: add -f to see its output as it comes",
        };
        render::tell(&format!("cutover: {why}\n"));
    }
    let lines = deployment.log.iter().flat_map(|line| clean_lines(line));
    render::print(&lines.map(|line| format!("{line}\n")).collect::<String>())
}
