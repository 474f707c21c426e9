//! The view for logs: a line for each step that has ended, nothing redrawn.

use std::io::Write;
use std::time::{Duration, Instant};

use cutover_api::deployment::Deployment;
use cutover_api::event::PullProgress;
use jiff::Timestamp;

use crate::client::failure::Failure;
use crate::client::follow::Sight;
use crate::render::steps::{StepLine, Steps};
use crate::render::text::{bytes, clean, clean_lines, short_shas};
use crate::render::time::Clock;
use crate::render::view::{Conclusion, View};

/// How often the pull's progress is told: a log should show that it moves, not how smoothly.
pub(crate) const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// Whether the new container's output was shown as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// None so far.
    Unseen,
    /// Some was shown.
    Shown,
}

/// Plain lines.
#[derive(Debug)]
pub(crate) struct PlainView<W> {
    out: W,
    clock: Clock,
    steps: Steps,
    progress_told: Option<Instant>,
    output: Output,
}

impl<W: Write> PlainView<W> {
    /// Writes to `out`; where that is closed there is nobody to tell.
    pub(crate) fn new(out: W, clock: Clock) -> Self {
        Self {
            out,
            clock,
            steps: Steps::default(),
            progress_told: None,
            output: Output::Unseen,
        }
    }

    fn line(&mut self, text: &str) {
        writeln!(self.out, "{text}").ok();
    }

    /// A step that ended at this moment.
    fn step(&mut self, line: &StepLine, at: Timestamp) {
        let time = self.clock.time(at);
        self.line(&format!("{time}  {}", line.render(None)));
    }
}

impl<W: Write> View for PlainView<W> {
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
                for line in self.steps.take(event) {
                    self.step(&line, event.at);
                }
            }
            Sight::Progress(progress) => {
                let due = self
                    .progress_told
                    .is_none_or(|told| told.elapsed() >= PROGRESS_EVERY);
                if due {
                    self.progress_told = Some(Instant::now());
                    self.line(&format!("  pulled {}", amount(progress)));
                }
            }
            Sight::Output(line, _) => {
                self.output = Output::Shown;
                self.line(&format!("  | {}", clean(&line.line)));
            }
            Sight::Note(text) => self.note(text),
        }
    }

    fn ended(&mut self, deployment: &Deployment, conclusion: Conclusion) {
        if let Some(line) = self.steps.finish(deployment) {
            self.step(
                &line,
                deployment.finished_at.unwrap_or(deployment.started_at),
            );
        }
        if conclusion == Conclusion::IsJson && self.output == Output::Unseen {
            for line in deployment.log.iter().flat_map(|line| clean_lines(line)) {
                self.line(&format!("  | {line}"));
            }
        }
    }

    fn failed(&mut self, _service: &str, _failure: &Failure) {}
}

/// That a request was accepted.
pub(crate) fn acceptance(service: &str, sha: Option<&str>, id: &str) -> String {
    match sha {
        Some(sha) => format!(
            "deploying {} to {service}, deployment {id}",
            short_shas(sha)
        ),
        None => format!("rolling {service} back to an earlier release, deployment {id}"),
    }
}

/// How much of an image is here.
pub(crate) fn amount(progress: PullProgress) -> String {
    format!(
        "{} of {}, {} of {} layers",
        bytes(progress.current_bytes),
        bytes(progress.total_bytes),
        progress.layers_done,
        progress.layers
    )
}
