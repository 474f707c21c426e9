//! How fast a release is taken back whose process exits at once, beside the floor.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use cutover_testkit::images::ImageSpec;

use super::chart::{Bar, Chart, Whose};
use super::observe::{Client, Seen, observe};
use super::report::{Report, Table};
use super::stage::{Project, Stage};
use super::statistics::{Summary, millis};
use super::steps::{Steps, deployment_in, events, print_steps, steps_between};
use super::switch::stop_and_start;
use super::target::Target;

/// The version that runs before and after.
const GOOD: &str = "good";
/// What cutover records when it begins to put the previous container back.
const BEGAN: &str = "rollback_started";

/// One round, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// Docker's stop and start of the same container.
    floor: f64,
    /// From the request to the answer.
    whole: f64,
    /// How long clients were without the service, the attempt with the new release included.
    outage: f64,
    /// The rollback's part of that: from the failure on.
    own: f64,
}

type Column = (&'static str, fn(&Sample) -> f64);

const COLUMNS: [Column; 4] = [
    ("floor: Docker's own stop and start", |sample| sample.floor),
    ("outage of the failed deployment", |sample| sample.outage),
    ("of it, the rollback's own", |sample| sample.own),
    ("request to answer", |sample| sample.whole),
];

/// Measures, and writes `rollback.csv` and `rollback.svg`.
pub(super) fn run(cutover: &Path, rounds: u32, report: &mut Report) -> Result<()> {
    let mut stage = Stage::with(cutover, Project::NOT_HELD)?;
    let good = stage.push(&ImageSpec::new(GOOD))?;
    let broken = stage.push(&ImageSpec::new("broken").env("EXIT_AT_ONCE", "3"))?;
    stage.pull(&broken)?;
    stage.compose(&good, &["up", "-d"])?;
    stage.start_daemon()?;
    let (mut samples, mut steps) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let (sample, taken) =
            play(&mut stage, &broken).with_context(|| format!("round {}", round + 1))?;
        samples.push(sample);
        steps.push(taken);
        eprintln!("rollback: round {} of {rounds}", round + 1);
    }
    let mut csv = "round,floor_ms,whole_ms,outage_ms,rollback_ms\n".to_owned();
    for (round, sample) in (1..).zip(&samples) {
        let Sample {
            floor,
            whole,
            outage,
            own,
        } = sample;
        csv += &format!("{round},{floor:.1},{whole:.1},{outage:.1},{own:.1}\n");
    }
    report.write("rollback.csv", &csv)?;
    conclude(&samples, report)?;
    print_steps(&steps, report);
    Ok(())
}

fn play(stage: &mut Stage, broken: &str) -> Result<(Sample, Steps)> {
    let container = stage.container()?;
    let ((), floor) = observe(stage, GOOD, Client::Refused, |_| stop_and_start(&container))?;
    let ((status, answer, steps), seen) = observe(stage, GOOD, Client::Refused, |stage| {
        let asked = SystemTime::now();
        let (status, answer) = stage.deploy(broken)?;
        let steps = steps_between(asked, deployment_in(&answer), SystemTime::now())?;
        Ok((status, answer, steps))
    })?;
    let deployment = deployment_in(&answer);
    ensure!(
        status == 500 && deployment["outcome"] == "rolled_back",
        "cutover answers {status}: {answer}"
    );
    let sample = Sample {
        floor: millis(floor.outage),
        whole: millis(seen.whole),
        outage: millis(seen.outage),
        own: millis(own_part(&seen, deployment)?),
    };
    Ok((sample, steps))
}

fn own_part(seen: &Seen, deployment: &serde_json::Value) -> Result<Duration> {
    let events = events(deployment)?;
    let (_, began) = events
        .iter()
        .find(|(kind, _)| kind == BEGAN)
        .context("the answer does not say when the rollback began")?;
    seen.answered_after(*began)
        .context("nothing answered after the rollback began")
}

fn conclude(samples: &[Sample], report: &mut Report) -> Result<()> {
    let summary = |value: fn(&Sample) -> f64| {
        Summary::of(samples.iter().map(value)).context("nothing was measured")
    };
    let floor = summary(|sample| sample.floor)?.median;
    let mut table = Table::new(&["rollback (milliseconds)", "median", "min", "max", "x floor"]);
    let mut bars = Vec::new();
    for (title, value) in COLUMNS {
        let of = summary(value)?;
        let mut cells = [of.median, of.min, of.max]
            .map(|ms| format!("{ms:.0}"))
            .to_vec();
        cells.push(format!("{:.2}", of.median / floor));
        table.row(title, cells);
        let whose = if bars.is_empty() {
            Whose::Others
        } else {
            Whose::Ours
        };
        bars.push(Bar::new(title, of, whose));
    }
    report.say(&table.to_string());
    let mut chart = Chart::new(
        "A release that exits at once is taken back",
        &format!(
            "milliseconds, median of {} rounds; the line spans the fastest and the slowest; monitor = 0s",
            samples.len()
        ),
    );
    chart.group("Time", bars);
    chart.write(report, "rollback.svg")?;
    report.judge(Target::at_most(
        "exits at once: request to answer",
        2.0,
        "s",
        summary(|sample| sample.whole)?.median / 1000.0,
    ));
    report.judge(Target::at_most(
        "the rollback's own outage / floor",
        1.25,
        "x",
        summary(|sample| sample.own)?.median / floor,
    ));
    Ok(())
}
