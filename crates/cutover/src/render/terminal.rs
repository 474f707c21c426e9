//! The view for a terminal: a line for each step that has ended, above one live line, which is the step under way
//! or the pull's progress bar.

use std::io::Write;
use std::time::Duration;

use cutover_api::deployment::Deployment;
use cutover_api::event::PullProgress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::client::failure::Failure;
use crate::client::follow::Sight;
use crate::render::Audience;
use crate::render::plain::{Output, acceptance};
use crate::render::steps::Steps;
use crate::render::style::{BOLD, FAINT, WARNING, paint};
use crate::render::text::{clean, clean_lines, hang, quoted};
use crate::render::time::span;
use crate::render::view::{Conclusion, View};

/// How often the live line moves by itself, so that one sees that it waits and does not hang.
const TICK: Duration = Duration::from_millis(120);

/// While a step is under way.
const STEP_TEMPLATE: &str = "{spinner} {prefix:9} {took:>9}  {wide_msg}";

/// While the image is pulled.
const PULL_TEMPLATE: &str =
    "{spinner} {prefix:9} {took:>9}  {msg} [{wide_bar}] {decimal_bytes}/{decimal_total_bytes}";

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
    audience: Audience,
    steps: Steps,
    output: Output,
}

impl TerminalView {
    /// Draws on stderr.
    pub(crate) fn new(audience: Audience) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(style(STEP_TEMPLATE));
        bar.set_prefix("wait");
        bar.set_message("for the daemon");
        bar.enable_steady_tick(TICK);
        Self {
            bar,
            live: Live::Step,
            audience,
            steps: Steps::default(),
            output: Output::Unseen,
        }
    }

    /// Prints a line above the live one.
    fn line(&self, text: &str) {
        self.bar.suspend(|| {
            writeln!(anstream::stderr(), "{text}").ok();
        });
    }

    /// Prints a line of the container's output.
    fn output(&self, text: &str) {
        for line in quoted(&clean(text), "  | ", self.audience.columns()) {
            self.line(&paint(FAINT, line));
        }
    }

    /// Turns the live line to the step under way.
    fn show_step(&mut self) {
        if self.live != Live::Step {
            self.live = Live::Step;
            self.bar.set_style(style(STEP_TEMPLATE));
            self.bar.unset_length();
        }
        let Some(open) = self.steps.open() else {
            return;
        };
        if self.bar.prefix() != open.step {
            self.bar.set_prefix(open.step);
            self.bar.reset_elapsed();
        }
        self.bar.set_message(open.text.clone());
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
        let text = hang(&clean(text), 0, 2, self.audience.columns());
        self.line(&paint(WARNING, text));
    }

    fn accepted(&mut self, service: &str, sha: Option<&str>, id: &str) {
        let text = clean(&acceptance(service, sha, id));
        self.line(&paint(BOLD, hang(&text, 0, 2, self.audience.columns())));
    }

    fn see(&mut self, sight: Sight<'_>) {
        match sight {
            Sight::Event(event) => {
                for line in self.steps.take(event) {
                    self.line(&line.render(self.audience.columns()));
                }
                self.show_step();
            }
            Sight::Progress(progress) => self.show_pull(progress),
            Sight::Output(line, _) => {
                self.output = Output::Shown;
                self.output(&line.line);
            }
            Sight::Note(text) => self.note(text),
        }
    }

    fn ended(&mut self, deployment: &Deployment, conclusion: Conclusion) {
        if let Some(line) = self.steps.finish(deployment) {
            self.line(&line.render(self.audience.columns()));
        }
        if conclusion == Conclusion::IsJson && self.output == Output::Unseen {
            for line in deployment.log.iter().flat_map(|line| clean_lines(line)) {
                self.output(&line);
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
        .with_key(
            "took",
            |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let took = u64::try_from(state.elapsed().as_millis()).unwrap_or(u64::MAX);
                out.write_str(&span(took)).ok();
            },
        )
        .progress_chars("=> ")
}
