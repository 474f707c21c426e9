//! How a struck deployment ends: everything comes back, comes to rest, and is judged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::Result;

use super::case::Case;
use super::dossier;
use super::ground::Ground;
use super::sight::Sight;
use super::verdict::{Verdict, is_left_by_hand, is_replaced_by_hand};

/// How much of the daemon's output is shown of a third state.
const LOG_LINES: usize = 25;

/// What came of it.
#[derive(Debug)]
pub struct Ending {
    /// The verdict.
    pub verdict: Verdict,
    /// Whether nothing runs, as the restart policy or a hand wanted it.
    pub is_down: bool,
    /// For a third state, everything that is known of it.
    pub story: String,
}

/// What is remembered from before the strike.
#[derive(Debug)]
pub(super) struct Watch {
    /// Where everything about a third state is kept.
    details: PathBuf,
    patience: Duration,
    /// How long the daemon's log was.
    log_from: usize,
}

impl Watch {
    pub(super) fn begin(ground: &Ground, details: &Path, patience: Duration) -> Self {
        let length = fs::metadata(ground.scene.log()).map_or(0, |file| file.len());
        Self {
            details: details.to_owned(),
            patience,
            log_from: usize::try_from(length).unwrap_or_default(),
        }
    }

    /// Waits until everything is at rest, and judges it. `said` is what a hand got to read.
    pub(super) fn end(
        &self,
        ground: &Ground,
        case: &Case,
        mut client: Child,
        heading: &str,
        said: &str,
    ) -> Result<Ending> {
        // A daemon that does not come up is among what is judged.
        drop(ground.revive(self.patience));
        let (mut verdict, sight) = ground.rest(case, &mut client, self.patience);
        if matches!(verdict, Verdict::Old | Verdict::New)
            && !is_replaced_by_hand(case, &sight)
            && !sight
                .containers
                .iter()
                .flatten()
                .any(|one| is_left_by_hand(case, one))
            && let Some(complaint) = ground.up_complaint()
        {
            verdict = Verdict::Third(vec![complaint]);
        }
        let told = told_by(client);
        let story = match &verdict {
            Verdict::Third(complaints) => {
                let heading = format!("{heading}\nthe hand: {said}\nthe client: {told}");
                self.keep(&heading, ground, case, &sight)?;
                self.story(said, ground, case, &sight, complaints)
            }
            _ => String::new(),
        };
        Ok(Ending {
            is_down: sight.running().next().is_none(),
            verdict,
            story,
        })
    }

    fn keep(&self, heading: &str, ground: &Ground, case: &Case, sight: &Sight) -> Result<()> {
        let log = self.log(ground);
        dossier::write(&self.details, heading, ground, case, sight, &log)
    }

    /// What the daemon wrote since.
    fn log(&self, ground: &Ground) -> String {
        let log = fs::read(ground.scene.log()).unwrap_or_default();
        let from = self.log_from.min(log.len());
        String::from_utf8_lossy(&log[from..]).into_owned()
    }

    fn story(
        &self,
        said: &str,
        ground: &Ground,
        case: &Case,
        sight: &Sight,
        complaints: &[String],
    ) -> String {
        let mut lines: Vec<_> = complaints.iter().map(|what| format!("* {what}")).collect();
        if !said.is_empty() {
            lines.push(format!("the hand: {said}"));
        }
        if sight.running().next().is_none() {
            let path = format!("/containers/{}/start", case.lead().container);
            let started = ground.scene.call_docker("POST", &path);
            lines.push(format!("`docker start` by hand, now: {started:?}"));
        }
        lines.extend(sight.containers.iter().flatten().map(|one| {
            let id = one.id.get(..12).unwrap_or_default();
            let is_old = case.members.iter().any(|old| old.container == one.id);
            format!(
                "container {id} ({}) {} policy {} running {} restarting {}",
                if is_old { "old" } else { "new" },
                one.name,
                one.policy,
                one.running,
                one.restarting
            )
        }));
        let span_ms = case.span.until_ms - case.span.from_ms;
        let exit = sight.client;
        lines.push(format!(
            "struck at 0 ms, over at {span_ms} ms; client {exit:?}"
        ));
        let events = sight.record.iter().flat_map(|record| &record.events);
        lines.extend(events.map(|event| {
            let since_ms = event.at_ms - case.span.from_ms;
            format!("{since_ms:+} ms {}: {}", event.kind, event.message)
        }));
        let log = self.log(ground);
        // The looks of the test itself.
        let wrote = log
            .lines()
            .filter(|line| !line.contains("request answered"));
        let wrote: Vec<_> = wrote.collect();
        let last = &wrote[wrote.len().saturating_sub(LOG_LINES)..];
        lines.extend(last.iter().map(|line| format!("| {line}")));
        lines.iter().map(|line| format!("  {line}\n")).collect()
    }
}

/// What the client said, whether it has ended or not.
fn told_by(mut client: Child) -> String {
    drop(client.kill());
    let output = client.wait_with_output();
    output.map_or_else(
        |error| error.to_string(),
        |output| {
            let text = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&text).into_owned()
        },
    )
}
