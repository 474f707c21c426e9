//! The view for a GitHub Actions log: a foldable group for each step, an annotation with the cause, and a
//! job summary. <https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions>
//!
//! The runner reads the log for commands: `::name::` at the beginning of a line after white space, and
//! the older `##[name]` anywhere in it. Container output is therefore printed between `::stop-commands::`
//! and a random token, and all else that came from the daemon is defused.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use cutover_api::deployment::{Deployment, Status};

use crate::client::failure::Failure;
use crate::client::follow::Sight;
use crate::exit::Exit;
use crate::render::conclusion::{changed, headline, last_lines, verdict};
use crate::render::plain::{Output, PROGRESS_EVERY, acceptance, amount};
use crate::render::text::{clean, clean_lines, cut, readable};
use crate::render::time::Clock;
use crate::render::view::{Conclusion, View};
use crate::render::{Audience, summary, words};

/// So many of the container's last lines stand under the cause in the annotation, which GitHub cuts at 4 KiB.
const ANNOTATION_LINES: usize = 10;

/// Of each line, so much.
const ANNOTATION_COLUMNS: usize = 200;

/// Whether this runs in GitHub Actions.
pub(crate) fn is_runner() -> bool {
    is_runner_by(&|name: &str| std::env::var(name).ok())
}

/// Whether the environment that `variable` reads is that of GitHub Actions.
pub(crate) fn is_runner_by(variable: &impl Fn(&str) -> Option<String>) -> bool {
    variable("GITHUB_ACTIONS").is_some_and(|value| value == "true")
}

/// Whether the runner acts on commands in the log at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Commands {
    Read,
    Stopped,
}

/// A log for GitHub's runner.
#[derive(Debug)]
pub(crate) struct GithubView<W: Write> {
    out: W,
    clock: Clock,
    token: String,
    summary: Option<PathBuf>,
    group: Option<&'static str>,
    commands: Commands,
    output: Output,
    progress_told: Option<Instant>,
}

impl<W: Write> GithubView<W> {
    /// The view for the runner that started this.
    pub(crate) fn for_runner(out: W) -> Self {
        let summary = std::env::var_os("GITHUB_STEP_SUMMARY")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
        Self::new(out, Clock::now(Audience::Pipe), random_token(), summary)
    }

    /// Writes to `out`; commands are stopped under `token`; the summary is appended to `summary`.
    pub(crate) fn new(out: W, clock: Clock, token: String, summary: Option<PathBuf>) -> Self {
        Self {
            out,
            clock,
            token,
            summary,
            group: None,
            commands: Commands::Read,
            output: Output::Unseen,
            progress_told: None,
        }
    }

    /// Prints a line that may hold anything but is not a command.
    fn line(&mut self, text: &str) {
        self.read_commands();
        writeln!(self.out, "{}", defused(text)).ok();
    }

    /// Prints a line of container output.
    fn output(&mut self, line: &str) {
        if self.commands == Commands::Read {
            writeln!(self.out, "::stop-commands::{}", self.token).ok();
            self.commands = Commands::Stopped;
        }
        self.output = Output::Shown;
        writeln!(self.out, "| {line}").ok();
    }

    /// Lets the runner act on commands again.
    fn read_commands(&mut self) {
        if self.commands == Commands::Stopped {
            writeln!(self.out, "::{}::", self.token).ok();
            self.commands = Commands::Read;
        }
    }

    /// Opens the group of a step unless it is open.
    fn open_group(&mut self, title: &'static str) {
        if self.group != Some(title) {
            self.close_group();
            writeln!(self.out, "::group::{title}").ok();
            self.group = Some(title);
        }
    }

    /// Closes the open group; the runner does not nest them.
    fn close_group(&mut self) {
        self.read_commands();
        if self.group.take().is_some() {
            writeln!(self.out, "::endgroup::").ok();
        }
    }

    /// Marks the run with an error.
    fn annotate(&mut self, title: &str, message: &str) {
        self.close_group();
        writeln!(
            self.out,
            "::error title={}::{}",
            escape_property(title),
            escape_message(message)
        )
        .ok();
    }

    /// Appends to the job summary, if the runner wants one.
    fn summarize(&mut self, markdown: &str) {
        let Some(path) = self.summary.clone() else {
            return;
        };
        let appended = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(markdown.as_bytes()));
        if let Err(error) = appended {
            self.line(&format!(
                "cutover: the job summary {} could not be written: {error}",
                path.display()
            ));
        }
    }
}

impl<W: Write> View for GithubView<W> {
    fn note(&mut self, text: &str) {
        let text = clean(text);
        self.line(&format!("cutover: {text}"));
    }

    fn accepted(&mut self, service: &str, sha: Option<&str>, id: &str) {
        self.note(&acceptance(service, sha, id));
    }

    fn see(&mut self, sight: Sight<'_>) {
        match sight {
            Sight::Event(event) => {
                if event.status.outcome().is_some() {
                    self.close_group();
                } else {
                    self.open_group(group_title(event.status));
                }
                let text = format!(
                    "{}  {}",
                    self.clock.time(event.at),
                    readable(&event.message)
                );
                self.line(&text);
            }
            Sight::Progress(progress) => {
                let due = self
                    .progress_told
                    .is_none_or(|told| told.elapsed() >= PROGRESS_EVERY);
                if due {
                    self.progress_told = Some(Instant::now());
                    self.line(&format!("pulled {}", amount(progress)));
                }
            }
            Sight::Output(line, _) => self.output(&clean(&line.line)),
            Sight::Note(text) => self.note(text),
        }
    }

    fn ended(&mut self, deployment: &Deployment, _conclusion: Conclusion) {
        if self.output == Output::Unseen && !deployment.log.is_empty() {
            self.open_group("The new container's last output");
            for line in deployment.log.iter().flat_map(|line| clean_lines(line)) {
                self.output(&line);
            }
        }
        self.close_group();
        if Exit::of(deployment) != Exit::Done {
            let (word, _) = verdict(deployment);
            let title = format!("{}: {word}", clean(&deployment.service));
            let mut message = headline(deployment);
            for line in last_lines(deployment, ANNOTATION_LINES) {
                let line = format!("| {}", cut(&line, ANNOTATION_COLUMNS));
                write!(message, "\n{}", defused(&line)).ok();
            }
            write!(message, "\nchanged: {}", changed(deployment)).ok();
            if let Some(cause) = &deployment.cause {
                write!(message, "\nnext: {}", clean(&cause.hint)).ok();
            }
            self.annotate(&title, &message);
        }
        self.summarize(&summary::of_deployment(deployment));
    }

    fn failed(&mut self, service: &str, failure: &Failure) {
        self.close_group();
        let message = format!(
            "{}\nnext: {}",
            clean(&failure.to_string()),
            clean(failure.hint())
        );
        let what = match failure {
            // The daemon may have acted on it, or goes on without us.
            Failure::Lost { .. } | Failure::Interrupted { .. } => "outcome not known",
            _ => "not deployed",
        };
        self.annotate(&format!("{}: {what}", clean(service)), &message);
        self.summarize(&summary::of_failure(service, failure));
    }
}

impl<W: Write> Drop for GithubView<W> {
    fn drop(&mut self) {
        // Whatever ended the view: the log behind it must be read as usual again.
        self.close_group();
    }
}

/// The title of a step's group.
fn group_title(status: Status) -> &'static str {
    match status {
        Status::Queued => "Queue",
        Status::Pulling => "Pull",
        Status::Staging => "Stage",
        Status::Switching => "Switch",
        Status::Verifying => "Verify",
        Status::Committed => "Commit",
        Status::RollingBack => "Roll back",
        ended => words::step(ended),
    }
}

/// A token that container output cannot guess, to end a stretch without commands.
fn random_token() -> String {
    let mut bytes = [0; 16];
    // The time-ordered id keeps the token unique should the generator ever fail.
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => hex::encode(bytes),
        Err(_) => uuid::Uuid::now_v7().simple().to_string(),
    }
}

/// Text in which the runner finds no command. Where it has none anyway it stays as it is.
pub(crate) fn defused(text: &str) -> Cow<'_, str> {
    let harmless = !text.contains("##[") && !text.lines().any(begins_a_command);
    if harmless {
        return text.into();
    }
    text.split_inclusive('\n')
        .map(|line| {
            let line = line.replace("##[", "## [");
            if begins_a_command(&line) {
                format!("| {}", line.trim_start())
            } else {
                line
            }
        })
        .collect::<String>()
        .into()
}

/// Whether the runner reads a line as a command of the `::name::` form.
fn begins_a_command(line: &str) -> bool {
    line.trim_start().starts_with("::")
}

/// The message of a command.
fn escape_message(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A property of a command.
fn escape_property(text: &str) -> String {
    escape_message(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_in_foreign_text_are_defused() {
        for (foreign, harmless) in [
            ("fine: a::b\n", "fine: a::b\n"),
            ("x\n::error::y\n", "x\n| ::error::y\n"),
            (" \t::add-mask::y", "| ::add-mask::y"),
            ("a ##[set-output name=x]y", "a ## [set-output name=x]y"),
        ] {
            assert_eq!(defused(foreign), harmless, "{foreign:?}");
        }
    }

    #[test]
    fn messages_and_properties_are_escaped_as_the_runner_unescapes() {
        assert_eq!(escape_message("50% of a:b,\r\nc"), "50%25 of a:b,%0D%0Ac");
        assert_eq!(
            escape_property("50% of a:b,\r\nc"),
            "50%25 of a%3Ab%2C%0D%0Ac"
        );
    }

    #[test]
    fn tokens_are_never_the_same() {
        assert_ne!(random_token(), random_token());
        assert_eq!(random_token().len(), 32);
    }
}
