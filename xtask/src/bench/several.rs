//! What a release of three services of one image costs: beside one service, and beside `docker compose up -d` of the same
//! three.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use cutover_testkit::images::ImageSpec;

use super::chart::{Bar, Chart, Whose};
use super::report::{Report, Table};
use super::stage::{Project, Stage};
use super::statistics::{Summary, millis};
use super::steps::{Steps, deployment_in, print_steps, steps_between};
use super::target::Target;

/// Switched together, as Compose does it.
const THREE: Project = Project {
    name: "bench-three",
    others: &["worker", "scheduler"],
    settings: "switch = \"together\"\nhold = \"off\"\n",
    ..Project::USUAL
};

/// A way of releasing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// cutover, one service.
    One,
    /// cutover, three services.
    Three,
    /// `docker compose up -d`, the same three.
    Up,
}

impl Way {
    const ALL: [Self; 3] = [Self::One, Self::Three, Self::Up];

    fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Three => "three",
            Self::Up => "up",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::One => "cutover, one service",
            Self::Three => "cutover, three services",
            Self::Up => "compose up -d, three services",
        })
    }
}

/// Two releases of one project, of which one runs.
struct Site {
    stage: Stage,
    tags: [String; 2],
    running: usize,
}

impl Site {
    fn prepare(cutover: &Path, project: Project) -> Result<Self> {
        let mut stage = Stage::with(cutover, project)?;
        let mut release = |version: &str| -> Result<String> {
            let tag = stage.push(&ImageSpec::new(version))?;
            stage.pull(&tag)?;
            Ok(tag)
        };
        let tags = [release("one")?, release("two")?];
        stage.compose(&tags[0], &["up", "-d"])?;
        stage.start_daemon()?;
        let mut site = Self {
            stage,
            tags,
            running: 0,
        };
        // The first one compares with what was typed by hand.
        for _ in 0..2 {
            site.deploy(project.others.len() + 1)?;
        }
        Ok(site)
    }

    fn next(&mut self) -> String {
        self.running = 1 - self.running;
        self.tags[self.running].clone()
    }

    /// Deploys the other release, and returns how long that took, and each step of it.
    fn deploy(&mut self, services: usize) -> Result<(Duration, Steps)> {
        let tag = self.next();
        let (asked, began) = (SystemTime::now(), Instant::now());
        let (status, answer) = self.stage.deploy(&tag)?;
        let (took, answered) = (began.elapsed(), SystemTime::now());
        let deployment = deployment_in(&answer);
        let switched = deployment["services"].as_array().map(Vec::len);
        ensure!(
            status == 200 && deployment["outcome"] == "succeeded" && switched == Some(services),
            "cutover answers {status}: {answer}"
        );
        Ok((took, steps_between(asked, deployment, answered)?))
    }

    fn up(&mut self) -> Result<Duration> {
        let tag = self.next();
        let began = Instant::now();
        self.stage.compose(&tag, &["up", "-d"])?;
        Ok(began.elapsed())
    }
}

/// Measures, and writes `several.csv` and `several.svg`.
pub(super) fn run(cutover: &Path, rounds: u32, report: &mut Report) -> Result<()> {
    let mut one = Site::prepare(
        cutover,
        Project {
            name: "bench-one",
            ..Project::NOT_HELD
        },
    )?;
    let mut three = Site::prepare(cutover, THREE)?;
    let mut measured: Vec<(u32, Way, Duration)> = Vec::new();
    let mut steps: Vec<Steps> = Vec::new();
    for round in 0..rounds {
        for turn in 0..Way::ALL.len() {
            let way = Way::ALL[(turn + round as usize) % Way::ALL.len()];
            let took = match way {
                Way::One => one.deploy(1).map(|(took, _)| took),
                Way::Three => three.deploy(THREE.others.len() + 1).map(|(took, of_it)| {
                    steps.push(of_it);
                    took
                }),
                Way::Up => three.up(),
            };
            let took = took.with_context(|| format!("round {}, {way}", round + 1))?;
            measured.push((round + 1, way, took));
        }
        eprintln!("several: round {} of {rounds}", round + 1);
    }
    // What is measured next is alone again.
    for site in [&one, &three] {
        site.stage.compose(&site.tags[site.running], &["down"])?;
    }
    let mut csv = "round,way,whole_ms\n".to_owned();
    for (round, way, took) in &measured {
        csv += &format!("{round},{},{:.1}\n", way.name(), millis(*took));
    }
    report.write("several.csv", &csv)?;
    conclude(&measured, rounds, report)?;
    print_steps(&steps, report);
    Ok(())
}

fn conclude(measured: &[(u32, Way, Duration)], rounds: u32, report: &mut Report) -> Result<()> {
    let summary = |way: Way| {
        let of_way = measured.iter().filter(|(_, of, _)| *of == way);
        Summary::of(of_way.map(|(_, _, took)| millis(*took))).context("nothing was measured")
    };
    let mut table = Table::new(&["release (milliseconds)", "whole", "min", "max"]);
    let mut bars = Vec::new();
    for way in Way::ALL {
        let of_way = summary(way)?;
        let cells = [of_way.median, of_way.min, of_way.max].map(|ms| format!("{ms:.0}"));
        table.row(&way.to_string(), cells.to_vec());
        let whose = match way {
            Way::Up => Whose::Others,
            Way::One | Way::Three => Whose::Ours,
        };
        bars.push(Bar::new(&way.to_string(), of_way, whose));
    }
    report.say(&table.to_string());
    let mut chart = Chart::new(
        "A release of three services of one image",
        &format!(
            "milliseconds, median of {rounds} rounds; the line spans the fastest and the slowest; switch = \"together\", monitor = 0s"
        ),
    );
    chart.group("From the command to its end", bars);
    chart.write(report, "several.svg")?;
    let (one, three) = (summary(Way::One)?.median, summary(Way::Three)?.median);
    report.judge(Target::at_most(
        "three services together / one service",
        1.5,
        "x",
        three / one,
    ));
    report.judge(Target::at_most(
        "three services together / docker compose up -d of the same",
        1.3,
        "x",
        three / summary(Way::Up)?.median,
    ));
    Ok(())
}
