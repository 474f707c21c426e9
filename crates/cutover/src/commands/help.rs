//! `cutover help`: the documents, which are in the binary, so that a hint can name one that is on the server.

use std::process::ExitCode;

use clap::CommandFactory;

use crate::arguments::Cli;
use crate::client::failure::Failure;
use crate::exit::Exit;
use crate::render;

/// The documents by the names that are typed.
const TOPICS: [(&str, &str); 6] = [
    ("operations", include_str!("../../../../docs/operations.md")),
    (
        "configuration",
        include_str!("../../../../docs/configuration.md"),
    ),
    (
        "github-actions",
        include_str!("../../../../docs/github-actions.md"),
    ),
    ("api", include_str!("../../../../docs/api.md")),
    ("security", include_str!("../../../../docs/security.md")),
    ("proxies", include_str!("../../../../docs/proxies.md")),
];

/// What `cutover help` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct HelpArgs {
    /// operations, configuration, github-actions, api, security or proxies; or a command
    #[arg(value_name = "TOPIC")]
    topic: Option<String>,
}

/// Prints a document, or the help of a command.
///
/// # Errors
/// A topic that there is not, or that it cannot be printed.
pub(crate) fn run(args: HelpArgs) -> anyhow::Result<ExitCode> {
    let mut cutover = Cli::command();
    cutover.build();
    let text = match &args.topic {
        None => cutover.render_long_help().to_string(),
        Some(topic) => match TOPICS.iter().find(|(name, _)| name == topic) {
            Some((_, text)) => (*text).to_owned(),
            None => help_of(&mut cutover, topic)?,
        },
    };
    render::print(&text)?;
    Ok(Exit::Done.into())
}

fn help_of(cutover: &mut clap::Command, command: &str) -> Result<String, Failure> {
    let found = cutover.find_subcommand_mut(command);
    let found = found.map(|command| command.render_long_help().to_string());
    found.ok_or_else(|| {
        let topics = TOPICS.map(|(name, _)| name).join(", ");
        Failure::usage(
            format!("there is no topic and no command `{command}`"),
            format!("topics are {topics}; `cutover --help` lists the commands"),
        )
    })
}
