//! How soon the service answers again when the daemon was killed in the switch and is started again, beside what
//! Docker needs to start the same container.

use std::path::Path;
use std::thread;
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use cutover_testkit::engine::wait::wait_for;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::docker_call;

use super::chart::{Bar, Chart, Whose};
use super::http;
use super::observe::{Client, observe};
use super::report::{Report, Table};
use super::stage::{PATIENCE, Project, Stage};
use super::statistics::{Summary, millis};
use super::target::Target;

/// The version that runs before and after.
const GOOD: &str = "good";

/// What a recovery may take besides, in milliseconds: the daemon starts, reads its journal and looks at Docker.
const ALLOWANCE_MS: f64 = 500.0;

/// One round, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// From Docker's start of the stopped container to its first answer.
    floor: f64,
    /// From the start of the daemon to the first answer.
    recovery: f64,
}

/// Measures, and writes `recovery.csv` and `recovery.svg`.
pub(super) fn run(cutover: &Path, rounds: u32, report: &mut Report) -> Result<()> {
    let mut stage = Stage::with(cutover, Project::NOT_HELD)?;
    let good = stage.push(&ImageSpec::new(GOOD))?;
    let silent = stage.push(&ImageSpec::new("silent").env("START_DELAY_MS", "600000"))?;
    stage.pull(&silent)?;
    stage.compose(&good, &["up", "-d"])?;
    stage.start_daemon()?;
    let mut samples = Vec::new();
    for round in 0..rounds {
        let sample = play(&mut stage, &silent).with_context(|| format!("round {}", round + 1))?;
        samples.push(sample);
        eprintln!("recovery: round {} of {rounds}", round + 1);
    }
    let mut csv = "round,floor_ms,recovery_ms\n".to_owned();
    for (round, Sample { floor, recovery }) in (1..).zip(&samples) {
        csv += &format!("{round},{floor:.1},{recovery:.1}\n");
    }
    report.write("recovery.csv", &csv)?;
    conclude(&samples, report)
}

fn play(stage: &mut Stage, silent: &str) -> Result<Sample> {
    let container = stage.container()?;
    let (started, floor) = observe(stage, GOOD, Client::Refused, |_| {
        docker("stop", &container)?;
        let started = SystemTime::now();
        docker("start", &container)?;
        Ok(started)
    })?;
    let floor = floor.answered_after(started);
    let (started, seen) = observe(stage, GOOD, Client::Refused, |stage| {
        die_in_the_switch(stage, silent, &container)?;
        let started = SystemTime::now();
        stage.start_daemon()?;
        Ok(started)
    })?;
    let recovery = seen.answered_after(started);
    ensure!(
        stage.container()? == container,
        "the old container was replaced"
    );
    Ok(Sample {
        floor: millis(floor.context("nothing answered after Docker's start")?),
        recovery: millis(recovery.context("nothing answered after the daemon's start")?),
    })
}

/// Lets a deployment begin, and kills the daemon as soon as the old container does not run any more.
fn die_in_the_switch(stage: &mut Stage, tag: &str, old: &str) -> Result<()> {
    let (endpoint, request) = (stage.endpoint(), stage.request(tag, 0)?);
    // Its answer never comes.
    let asking = thread::spawn(move || drop(http::send(endpoint, &request)));
    wait_for("the old container's end", PATIENCE, || {
        let found = docker_call("GET", &format!("/containers/{old}/json"));
        let (_, found) = found.context("Docker does not answer")?;
        Ok((found["State"]["Running"] == false).then_some(()))
    })?;
    stage.kill_daemon()?;
    ensure!(asking.join().is_ok(), "the request could not be sent");
    Ok(())
}

fn docker(action: &str, container: &str) -> Result<()> {
    let (status, _) = docker_call("POST", &format!("/containers/{container}/{action}"))
        .context("Docker does not answer")?;
    ensure!(status == 204, "Docker answers {status} to {action}");
    Ok(())
}

fn conclude(samples: &[Sample], report: &mut Report) -> Result<()> {
    let summary = |value: fn(&Sample) -> f64| {
        Summary::of(samples.iter().map(value)).context("nothing was measured")
    };
    let floor = summary(|sample| sample.floor)?;
    let recovery = summary(|sample| sample.recovery)?;
    let mut table = Table::new(&["recovery (milliseconds)", "median", "min", "max", "x floor"]);
    let mut bars = Vec::new();
    for (title, of, whose) in [
        ("floor: Docker's own start", floor, Whose::Others),
        ("killed in the switch, started again", recovery, Whose::Ours),
    ] {
        let mut cells = [of.median, of.min, of.max]
            .map(|ms| format!("{ms:.0}"))
            .to_vec();
        cells.push(format!("{:.2}", of.median / floor.median));
        table.row(title, cells);
        bars.push(Bar::new(title, of, whose));
    }
    report.say(&table.to_string());
    let mut chart = Chart::new(
        "The daemon is killed in the switch and started again",
        &format!(
            "milliseconds until the service answers, median of {} rounds; the line spans the fastest and the slowest",
            samples.len()
        ),
    );
    chart.group("From the start to the first answer", bars);
    chart.write(report, "recovery.svg")?;
    report.judge(Target::at_most(
        "recovery / (1.25 x floor + 500 ms)",
        1.0,
        "x",
        recovery.median / (1.25 * floor.median + ALLOWANCE_MS),
    ));
    Ok(())
}
