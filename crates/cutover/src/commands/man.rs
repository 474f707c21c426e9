//! `cutover man`: the manual pages, made from the same text as `--help`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::arguments::Cli;
use crate::client::failure::Failure;
use crate::exit::Exit;
use crate::render;

/// What `cutover man` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// The page of this command; by default that of cutover itself
    #[arg(value_name = "COMMAND", conflicts_with = "directory")]
    command: Option<String>,

    /// Write all pages into this directory, for packages
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Prints a page, or writes all of them.
///
/// # Errors
/// An unknown command, or that the pages cannot be written.
pub(crate) fn run(args: ManArgs) -> anyhow::Result<ExitCode> {
    let mut cutover = Cli::command();
    if let Some(directory) = args.directory {
        std::fs::create_dir_all(&directory)?;
        clap_mangen::generate_to(cutover, &directory)?;
        return Ok(Exit::Done.into());
    }
    cutover.build();
    let command = match args.command {
        None => cutover,
        Some(name) => {
            let found = cutover.find_subcommand(&name).ok_or_else(|| {
                Failure::usage(
                    format!("there is no command `{name}`"),
                    "see `cutover --help` for all commands",
                )
            })?;
            found.clone()
        }
    };
    let mut page = Vec::new();
    let source = concat!("cutover ", env!("CARGO_PKG_VERSION"));
    Man::new(command).source(source).render(&mut page)?;
    render::print_body(&page)?;
    Ok(Exit::Done.into())
}
