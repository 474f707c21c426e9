//! How long a service is gone while its release is switched, and how long the whole takes: three ways
//! of switching in turn, beside the least that Docker itself needs.
//!
//! The image is on the machine before each switch, so that nobody's outage holds a download.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::docker_call;

use super::chart::{Bar, Chart, Whose};
use super::observe::{Client, observe, serves};
use super::report::{Report, Table};
use super::stage::Stage;
use super::statistics::{Summary, millis};
use super::steps::{Steps, deployment_in, print_steps, steps_between};
use super::target::Target;

/// A way of switching the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// `docker compose stop`, then `docker compose up -d --no-deps`.
    StopThenUp,
    /// `docker compose up -d`.
    Up,
    /// A signed request to cutover.
    Cutover,
    /// No switch at all: Docker stops and starts the same container. Nobody who stops the old
    /// container before the new one starts can be faster.
    Floor,
}

impl Way {
    const ALL: [Self; 4] = [Self::StopThenUp, Self::Up, Self::Cutover, Self::Floor];

    fn name(self) -> &'static str {
        match self {
            Self::StopThenUp => "stop_then_up",
            Self::Up => "up",
            Self::Cutover => "cutover",
            Self::Floor => "floor",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::StopThenUp => "compose stop, compose up -d --no-deps",
            Self::Up => "compose up -d",
            Self::Cutover => "cutover",
            Self::Floor => "floor: Docker's own stop and start",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.title())
    }
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
struct Sample {
    round: u32,
    way: Way,
    outage: Duration,
    whole: Duration,
}

/// Everything measured.
#[derive(Debug, Default)]
struct Measured {
    samples: Vec<Sample>,
    steps: Vec<Steps>,
}

impl Measured {
    fn summary(&self, way: Way, value: fn(&Sample) -> Duration) -> Result<Summary> {
        let of_way = self.samples.iter().filter(|sample| sample.way == way);
        Summary::of(of_way.map(|sample| millis(value(sample)))).context("nothing was measured")
    }

    fn outage(&self, way: Way) -> Result<Summary> {
        self.summary(way, |sample| sample.outage)
    }

    fn whole(&self, way: Way) -> Result<Summary> {
        self.summary(way, |sample| sample.whole)
    }
}

/// Measures, and writes `switch.csv` and `switch.svg`.
pub(super) fn run(cutover: &Path, rounds: u32, report: &mut Report) -> Result<()> {
    let mut stage = Stage::set(cutover)?;
    let releases = prepare(&mut stage)?;
    let mut measured = Measured::default();
    for round in 0..rounds {
        for turn in 0..Way::ALL.len() {
            // Each way is first, second, third and last equally often.
            let way = Way::ALL[(turn + round as usize) % Way::ALL.len()];
            play(&mut stage, &releases, round, way, &mut measured)
                .with_context(|| format!("round {}, {way}", round + 1))?;
        }
        eprintln!("switch: round {} of {rounds}", round + 1);
    }
    report.write("switch.csv", &csv(&measured))?;
    print(&measured, report)?;
    chart(&measured, rounds)?.write(report, "switch.svg")?;
    judge(&measured, report)
}

/// Two releases on the machine, one of them running, and a daemon that has deployed once.
fn prepare(stage: &mut Stage) -> Result<[(String, String); 2]> {
    let mut release = |version: &str| -> Result<(String, String)> {
        let tag = stage.push(&ImageSpec::new(version))?;
        stage.pull(&tag)?;
        Ok((version.to_owned(), tag))
    };
    let releases = [release("one")?, release("two")?];
    stage.compose(&releases[0].1, &["up", "-d"])?;
    stage.start_daemon()?;
    for (_, tag) in releases.iter().rev() {
        let (status, answer) = stage.deploy(tag)?;
        ensure!(status == 200, "cutover answers {status}: {answer}");
    }
    Ok(releases)
}

fn play(
    stage: &mut Stage,
    releases: &[(String, String); 2],
    round: u32,
    way: Way,
    measured: &mut Measured,
) -> Result<()> {
    let running = serves(stage).context("the service does not answer")?;
    let other = usize::from(releases[0].0 == running);
    let (version, tag) = &releases[if way == Way::Floor { 1 - other } else { other }];
    let client = match way {
        Way::Cutover => Client::Waiting,
        _ => Client::Refused,
    };
    let (steps, seen) = observe(stage, version, client, |stage| match way {
        Way::StopThenUp => {
            stage.compose(tag, &["stop", "app"])?;
            let up = ["up", "-d", "--no-deps", "app"];
            stage.compose(tag, &up).map(|()| None)
        }
        Way::Up => stage.compose(tag, &["up", "-d"]).map(|()| None),
        Way::Cutover => deploy(stage, tag).map(Some),
        Way::Floor => stop_and_start(&stage.container()?).map(|()| None),
    })?;
    measured.steps.extend(steps);
    measured.samples.push(Sample {
        round: round + 1,
        way,
        outage: seen.outage,
        whole: seen.whole,
    });
    Ok(())
}

/// Deploys with cutover and returns how long each step took.
fn deploy(stage: &mut Stage, tag: &str) -> Result<Steps> {
    let asked = SystemTime::now();
    let (status, answer) = stage.deploy(tag)?;
    let answered = SystemTime::now();
    let deployment = deployment_in(&answer);
    ensure!(
        status == 200 && deployment["outcome"] == "succeeded",
        "cutover answers {status}: {answer}"
    );
    steps_between(asked, deployment, answered)
}

/// The floor.
pub(super) fn stop_and_start(container: &str) -> Result<()> {
    for action in ["stop", "start"] {
        let (status, _) = docker_call("POST", &format!("/containers/{container}/{action}"))
            .context("Docker does not answer")?;
        ensure!(status == 204, "Docker answers {status} to {action}");
    }
    Ok(())
}

fn csv(measured: &Measured) -> String {
    let mut text = "round,way,outage_ms,whole_ms\n".to_owned();
    for sample in &measured.samples {
        text += &format!(
            "{},{},{:.1},{:.1}\n",
            sample.round,
            sample.way.name(),
            millis(sample.outage),
            millis(sample.whole)
        );
    }
    text
}

fn print(measured: &Measured, report: &mut Report) -> Result<()> {
    let floor = measured.outage(Way::Floor)?.median;
    let up = measured.whole(Way::Up)?.median;
    let mut table = Table::new(&[
        "switch (milliseconds)",
        "outage",
        "min",
        "max",
        "x floor",
        "whole",
        "min",
        "max",
        "x up -d",
    ]);
    for way in Way::ALL {
        let (outage, whole) = (measured.outage(way)?, measured.whole(way)?);
        let mut cells = Vec::new();
        for (summary, base) in [(outage, floor), (whole, up)] {
            cells.extend([summary.median, summary.min, summary.max].map(|ms| format!("{ms:.0}")));
            cells.push(format!("{:.2}", summary.median / base));
        }
        table.row(way.title(), cells);
    }
    report.say(&table.to_string());
    print_steps(&measured.steps, report);
    Ok(())
}

fn chart(measured: &Measured, rounds: u32) -> Result<Chart> {
    let mut chart = Chart::new(
        "Switching the release of a service",
        &format!(
            "milliseconds, median of {rounds} rounds; the line spans the fastest and the slowest; monitor = 0s"
        ),
    );
    let bars = |value: fn(&Measured, Way) -> Result<Summary>| -> Result<Vec<Bar>> {
        Way::ALL
            .iter()
            .map(|way| {
                let whose = match way {
                    Way::Cutover => Whose::Ours,
                    _ => Whose::Others,
                };
                Ok(Bar::new(way.title(), value(measured, *way)?, whose))
            })
            .collect()
    };
    chart.group("Outage seen by clients", bars(Measured::outage)?);
    chart.group("From the command to its end", bars(Measured::whole)?);
    Ok(chart)
}

fn judge(measured: &Measured, report: &mut Report) -> Result<()> {
    let outage = measured.outage(Way::Cutover)?.median;
    report.judge(Target::at_most(
        "outage - 1.1 x floor",
        60.0,
        "ms",
        outage - 1.1 * measured.outage(Way::Floor)?.median,
    ));
    report.judge(Target::at_most(
        "outage / compose stop, compose up -d --no-deps",
        0.8,
        "x",
        outage / measured.outage(Way::StopThenUp)?.median,
    ));
    report.judge(Target::at_most(
        "request to answer / docker compose up -d",
        1.35,
        "x",
        measured.whole(Way::Cutover)?.median / measured.whole(Way::Up)?.median,
    ));
    Ok(())
}
