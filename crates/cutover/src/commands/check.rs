//! `cutover check`: validates the configuration and the machine.

use std::path::PathBuf;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use cutover_daemon::check::{Finding, Level, check};
use cutover_daemon::settings::{self, Ink, Mistakes};

use super::{Format, block_on};
use crate::exit::Exit;
use crate::render::Audience;
use crate::render::style::paint;
use crate::render::text::hang;

/// What `cutover check` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The configuration file
    #[arg(long, value_name = "PATH", default_value = settings::DEFAULT_PATH)]
    pub(crate) config: PathBuf,

    /// Print the findings as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Reports every finding, each with what to do about it; ends with 2 if a deployment would be refused.
///
/// # Errors
/// When the findings cannot be printed.
pub(crate) fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let settings = match settings::load(&args.config) {
        Ok(settings) => settings,
        Err(mistakes) => return refuse(&mistakes, Format::of_flag(args.json)),
    };
    let findings = block_on(check(&settings))?;
    if args.json {
        anstream::println!("{}", serde_json::to_string(&findings)?);
    } else {
        let columns = Audience::of_stdout().columns();
        for finding in &findings {
            anstream::println!("{}", line(finding, columns));
        }
        anstream::println!("{}", conclusion(&findings));
    }
    let exit = if count(&findings, Level::Mistake) > 0 {
        Exit::Usage
    } else {
        Exit::Done
    };
    Ok(exit.into())
}

/// Refuses a configuration with all its mistakes; on stdout as well, as `check` prints its findings, where
/// JSON was asked for.
///
/// # Errors
/// When they cannot be printed.
pub(super) fn refuse(mistakes: &Mistakes, format: Format) -> anyhow::Result<ExitCode> {
    anstream::eprintln!("{}", mistakes.render(Ink::Colored));
    if let Format::Json = format {
        let findings = Finding::of_configuration(mistakes);
        anstream::println!("{}", serde_json::to_string(&findings)?);
    }
    Ok(Exit::Usage.into())
}

/// A finding and, below it, what to do about it.
fn line(finding: &Finding, columns: Option<usize>) -> String {
    let (word, color) = match finding.level {
        Level::Fine => ("ok     ", AnsiColor::Green),
        Level::Warning => ("warning", AnsiColor::Yellow),
        Level::Mistake => ("mistake", AnsiColor::Red),
    };
    let word = paint(Style::new().fg_color(Some(color.into())), word);
    let found = format!("{}: {}", finding.subject, finding.found);
    let mut text = format!("{word}  {}", hang(&found, 9, 9, columns));
    if !finding.advice.is_empty() {
        text.push_str("\n           -> ");
        // An example takes several lines.
        text.push_str(&hang(&finding.advice, 14, 14, columns));
    }
    text
}

fn conclusion(findings: &[Finding]) -> String {
    match (
        count(findings, Level::Mistake),
        count(findings, Level::Warning),
    ) {
        (0, 0) => "Everything is in order.".to_owned(),
        (0, warnings) => format!("Deployments work; {warnings} warning(s) above are worth a look."),
        (mistakes, _) => format!("{mistakes} mistake(s) above would refuse deployments."),
    }
}

fn count(findings: &[Finding], level: Level) -> usize {
    findings
        .iter()
        .filter(|finding| finding.level == level)
        .count()
}
