//! The view for a terminal: lines as they happen above one live line, which is the pull's progress bar
//! or the step under way.

use std::io::Write;
use std::time::Duration;

use cutover_api::deployment::{Deployment, Status};
use cutover_api::event::PullProgress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::client::failure::Failure;
use crate::client::follow::Sight;
use crate::render::deployment::event_line;
use crate::render::plain::{Output, acceptance};
use crate::render::style::{BOLD, FAINT, WARNING, paint};
use crate::render::text::{clean, clean_lines};
use crate::render::time::Clock;
use crate::render::view::View;
use crate::render::words;

/// How often the live line moves by itself, so that one sees that it waits and does not hang.
const TICK: Duration = Duration::from_millis(120);

/// While a step is under way.
const STEP_TEMPLATE: &str = "{spinner} {msg} {elapsed}";

/// While the image is pulled.
const PULL_TEMPLATE: &str =
    "{spinner} {msg} [{wide_bar}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}";

/// What the live line shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Live {
    Step,
    Pull,
}

/// Colored lines and a live line.
#[derive(Debug)]
pub(crate) struct TerminalView {
    bar: ProgressBar,
    live: Live,
    clock: Clock,
    output: Output,
}

impl TerminalView {
    /// Draws on stderr.
    pub(crate) fn new(clock: Clock) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(style(STEP_TEMPLATE));
        bar.set_message("waiting for the daemon");
        bar.enable_steady_tick(TICK);
        Self {
            bar,
            live: Live::Step,
            clock,
            output: Output::Unseen,
        }
    }

    /// Prints a line above the live one.
    fn line(&self, text: &str) {
        self.bar.suspend(|| {
            writeln!(anstream::stderr(), "{text}").ok();
        });
    }

    /// Turns the live line to the step under way.
    fn show_step(&mut self, status: Status) {
        if self.live != Live::Step {
            self.live = Live::Step;
            self.bar.set_style(style(STEP_TEMPLATE));
            self.bar.unset_length();
        }
        self.bar.set_message(words::status(status));
    }

    /// Turns the live line to the pull.
    fn show_pull(&mut self, progress: PullProgress) {
        self.bar.set_length(progress.total_bytes);
        self.bar.set_position(progress.current_bytes);
        let (done, all) = (progress.layers_done, progress.layers);
        self.bar.set_message(format!("pulling {done}/{all} layers"));
        if self.live != Live::Pull {
            self.live = Live::Pull;
            self.bar.set_style(style(PULL_TEMPLATE));
        }
    }
}

impl View for TerminalView {
    fn note(&mut self, text: &str) {
        self.line(&paint(WARNING, clean(text)));
    }

    fn accepted(&mut self, service: &str, sha: Option<&str>, id: &str) {
        self.line(&paint(BOLD, clean(&acceptance(service, sha, id))));
    }

    fn see(&mut self, sight: Sight<'_>) {
        match sight {
            Sight::Event(event) => {
                self.show_step(event.status);
                self.line(&event_line(event, &self.clock));
            }
            Sight::Progress(progress) => self.show_pull(progress),
            Sight::Output(line, _) => {
                self.output = Output::Shown;
                self.line(&format!("  {} {}", paint(FAINT, "|"), clean(&line.line)));
            }
            Sight::Note(text) => self.note(text),
        }
    }

    fn ended(&mut self, deployment: &Deployment) {
        if self.output == Output::Unseen {
            for line in deployment.log.iter().flat_map(|line| clean_lines(line)) {
                self.line(&format!("  {} {line}", paint(FAINT, "|")));
            }
        }
        self.bar.finish_and_clear();
    }

    fn failed(&mut self, _service: &str, _failure: &Failure) {
        self.bar.finish_and_clear();
    }
}

impl Drop for TerminalView {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A style from one of the templates above.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}
