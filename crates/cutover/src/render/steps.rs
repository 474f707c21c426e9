//! The steps of a deployment: folds its events into one line for each step.
//!
//! A step is open from its first event to the first one of the next step, and its line is told when it ends. The
//! line says what was done, not why it failed: that stands once, in the conclusion.

use cutover_api::deployment::{Deployment, EventLine, Outcome, Status};
use jiff::Timestamp;

use crate::render::style::{BAD, FAINT, GOOD, WARNING, paint};
use crate::render::text::{hang, readable};
use crate::render::time::span;
use crate::render::words;

/// The column in which the text of a line begins: behind mark, step and duration.
const TEXT_COLUMN: usize = 23;

/// Events that an operator should see whatever step they belong to.
const NOTEWORTHY: [&str; 3] = ["warned", "recovery_started", "recreated"];

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// As it should.
    Done,
    /// It is why the deployment did not succeed.
    Failed,
    /// It is no step's end, but something that should be seen.
    Note,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepLine {
    mark: Mark,
    step: &'static str,
    took_ms: Option<u64>,
    text: String,
}

impl StepLine {
    /// The line for people, wrapped at `columns`.
    pub(crate) fn render(&self, columns: Option<usize>) -> String {
        let (mark, style) = match self.mark {
            Mark::Done => ("✓", GOOD),
            Mark::Failed => ("✗", BAD),
            Mark::Note => ("!", WARNING),
        };
        let took = self.took_ms.map(span).unwrap_or_default();
        format!(
            "{} {:<9} {}  {}",
            paint(style, mark),
            self.step,
            paint(FAINT, format!("{took:>9}")),
            hang(&self.text, TEXT_COLUMN, TEXT_COLUMN, columns)
        )
    }
}

/// A step under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Open {
    /// Its name.
    pub(crate) step: &'static str,
    /// What is being done.
    pub(crate) text: String,
    since: Timestamp,
}

impl Open {
    fn end(self, mark: Mark, at: Timestamp, instead: Option<&str>) -> StepLine {
        let took = at.as_millisecond() - self.since.as_millisecond();
        StepLine {
            mark,
            step: self.step,
            took_ms: Some(u64::try_from(took).unwrap_or(0)),
            text: instead.map_or(self.text, readable),
        }
    }
}

/// Where a deployment stands, by the events seen so far.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    open: Option<Open>,
}

impl Steps {
    /// The step under way.
    pub(crate) fn open(&self) -> Option<&Open> {
        self.open.as_ref()
    }

    /// Takes the next event and returns the lines that are to be told now.
    pub(crate) fn take(&mut self, event: &EventLine) -> Vec<StepLine> {
        let step = match event.kind.as_str() {
            "job_started" | "job_ended" => "job",
            _ => words::step(event.status),
        };
        if NOTEWORTHY.contains(&event.kind.as_str()) {
            return vec![StepLine {
                mark: Mark::Note,
                step,
                took_ms: None,
                text: readable(&event.message),
            }];
        }
        if let Some(outcome) = event.status.outcome() {
            return vec![self.end(event, outcome)];
        }
        if let Some(open) = self.open.as_mut().filter(|open| open.step == step) {
            open.text = readable(&event.message);
            return Vec::new();
        }
        let next = Open {
            step,
            text: readable(&event.message),
            since: event.at,
        };
        let mark = match event.status {
            Status::RollingBack => Mark::Failed,
            _ => Mark::Done,
        };
        let ended = self.open.replace(next);
        ended
            .map(|ended| ended.end(mark, event.at, None))
            .into_iter()
            .collect()
    }

    /// The step that the last event of a deployment ends.
    fn end(&mut self, event: &EventLine, outcome: Outcome) -> StepLine {
        let Some(open) = self.open.take() else {
            return StepLine {
                mark: mark_of(None, outcome),
                step: words::step(event.status),
                took_ms: None,
                text: readable(&event.message),
            };
        };
        match mark_of(Some(open.step), outcome) {
            // What came of the step says more than what was last done in it.
            Mark::Done => open.end(Mark::Done, event.at, Some(&event.message)),
            mark => open.end(mark, event.at, None),
        }
    }

    /// The line of the step whose end brought no event, once the deployment is known to have ended.
    pub(crate) fn finish(&mut self, deployment: &Deployment) -> Option<StepLine> {
        let open = self.open.take()?;
        let outcome = deployment.outcome?;
        let at = deployment.finished_at.unwrap_or(open.since);
        let mark = mark_of(Some(open.step), outcome);
        Some(open.end(mark, at, None))
    }
}

/// Whether a step that the end of a deployment ends was done.
fn mark_of(step: Option<&str>, outcome: Outcome) -> Mark {
    match outcome {
        Outcome::Succeeded | Outcome::Unchanged => Mark::Done,
        Outcome::RolledBack if step.is_none_or(|step| step == words::step(Status::RollingBack)) => {
            Mark::Done
        }
        Outcome::RolledBack | Outcome::Failed | Outcome::RollbackFailed | Outcome::Cancelled => {
            Mark::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::text::width;

    const SHA: &str = "3f2a9c1b0d4e5f60718293a4b5c6d7e8f9012345";

    fn event(second: u32, kind: &str, status: Status, message: &str) -> EventLine {
        EventLine {
            seq: u64::from(second),
            at: format!("2026-01-02T03:04:{second:02}.250Z")
                .parse()
                .expect("a moment"),
            kind: kind.to_owned(),
            status,
            message: message.to_owned(),
        }
    }

    /// The lines of these events, without colors.
    fn lines(events: &[EventLine], columns: Option<usize>) -> String {
        let mut steps = Steps::default();
        let lines: Vec<String> = events
            .iter()
            .flat_map(|event| steps.take(event))
            .map(|line| line.render(columns))
            .collect();
        anstream::adapter::strip_str(&lines.join("\n")).to_string()
    }

    fn until_verify() -> Vec<EventLine> {
        let image = format!("ghcr.io/acme/shop:{SHA}");
        vec![
            event(
                0,
                "requested",
                Status::Queued,
                &format!("ci asked for {SHA}"),
            ),
            event(
                1,
                "pull_started",
                Status::Pulling,
                &format!("making sure that {image} is on the machine"),
            ),
            event(
                5,
                "image_pinned",
                Status::Pulling,
                &format!(
                    "{image} is on the machine, digest sha256:{}",
                    "d".repeat(64)
                ),
            ),
            event(
                6,
                "stage_started",
                Status::Staging,
                "creating the new container",
            ),
            event(7, "staged", Status::Staging, "container aaa was created"),
            event(8, "switch_started", Status::Switching, "switching"),
            event(
                8,
                "switched",
                Status::Switching,
                "the new container was started",
            ),
            event(
                9,
                "verify_started",
                Status::Verifying,
                "watching the new container",
            ),
        ]
    }

    #[test]
    fn each_step_of_a_success_has_one_line() {
        let mut events = until_verify();
        events.extend([
            event(
                15,
                "committed",
                Status::Committed,
                "final (healthy for 5 s)",
            ),
            event(
                16,
                "succeeded",
                Status::Succeeded,
                "it runs and is recorded",
            ),
        ]);
        insta::assert_snapshot!(lines(&events, Some(80)), @r"
        ✓ queue         1.0 s  ci asked for 3f2a9c1b0d4e
        ✓ pull          5.0 s  ghcr.io/acme/shop:3f2a9c1b0d4e is on the machine, digest
                               sha256:dddddddddddd
        ✓ stage         2.0 s  container aaa was created
        ✓ switch        1.0 s  the new container was started
        ✓ verify        6.0 s  watching the new container
        ✓ commit        1.0 s  it runs and is recorded
        ");
    }

    #[test]
    fn the_step_that_failed_is_marked_and_the_way_back_is_a_step() {
        let mut events = until_verify();
        events.extend([
            event(
                20,
                "rollback_started",
                Status::RollingBack,
                "the new release failed: it exited",
            ),
            event(21, "warned", Status::RollingBack, "the disk is nearly full"),
            event(
                22,
                "restored",
                Status::RollingBack,
                "the previous container is back",
            ),
            event(
                25,
                "rolled_back",
                Status::RolledBack,
                "it is in its place again",
            ),
        ]);
        let all = lines(&events, None);
        let end: Vec<&str> = all.lines().skip(4).collect();
        insta::assert_snapshot!(end.join("\n"), @r"
        ✗ verify       11.0 s  watching the new container
        ! roll back            the disk is nearly full
        ✓ roll back     5.0 s  it is in its place again
        ");
    }

    #[test]
    fn each_outcome_ends_the_open_step_with_its_mark() {
        for (status, expected) in [
            (Status::Succeeded, "✓ pull          3.0 s  over"),
            (Status::Unchanged, "✓ pull          3.0 s  over"),
            (Status::Failed, "✗ pull          3.0 s  pulling"),
            (Status::Cancelled, "✗ pull          3.0 s  pulling"),
            (Status::RolledBack, "✗ pull          3.0 s  pulling"),
            (Status::RollbackFailed, "✗ pull          3.0 s  pulling"),
        ] {
            let events = [
                event(1, "pull_started", Status::Pulling, "pulling"),
                event(4, "end", status, "over"),
            ];
            assert_eq!(lines(&events, None), expected);
        }
        let end = [event(4, "rolled_back", Status::RolledBack, "over")];
        assert!(lines(&end, None).starts_with("✓ rolled back"));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_nothing_in_it_acts_on_it() {
        let mut events = until_verify();
        let long = format!(
            "watching \u{1b}[2J{} 漢字漢字 {}",
            "x".repeat(200),
            "word ".repeat(60)
        );
        events.push(event(10, "warned", Status::Verifying, &long));
        for columns in [40, 80, 100] {
            let text = lines(&events, Some(columns));
            assert!(text.lines().all(|line| width(line) <= columns), "{text}");
            assert!(!text.contains('\u{1b}'), "{text}");
        }
    }
}
