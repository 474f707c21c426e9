//! How many requests fail while a service is deployed again and again, and every fourth release is broken: cutover beside
//! other ways, on one machine and in one run.

mod caddy;
mod contestant;
mod course;
mod visitors;

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use cutover_testkit::engine::remote::Remote;
use cutover_testkit::images::{HealthCheck, ImageSpec};
use cutover_testkit::world;

use super::Arguments;
use super::report::Report;
use super::stage::Stage;
use super::statistics::millis;
use super::steps::deployment_in;
pub(super) use caddy::fetch;
use contestant::{Contestant, Release};
use course::{AtOnce, Course, assign};
use visitors::{CLIENTS, Crowd, Outcome, Visitors};

/// How long the application boots.
const BOOT_MS: &str = "2000";
/// Every so many releases one is broken.
const BROKEN_EVERY: u32 = 4;
/// Between two deployments.
const PAUSE: Duration = Duration::from_secs(1);
/// So many deployments of an application that boots at once.
const AT_ONCE: usize = 5;
/// How Docker asks the application for its health: often while it boots.
const HEALTH_CHECK: HealthCheck = HealthCheck {
    interval: Duration::from_secs(5),
    timeout: Duration::from_secs(2),
    start_period: Duration::from_secs(30),
    start_interval: Duration::from_millis(250),
    retries: 2,
};

/// What is the same for all contestants.
#[derive(Debug)]
struct Venue<'a> {
    /// The program.
    caddy: &'a Path,
    /// Where the visitors come from.
    remote: Remote,
    crowd: Crowd,
    deployments: u32,
}

/// Measures, and writes `requests.csv` and `requests.svg`.
pub(super) fn run(
    cutover: &Path,
    caddy: &Path,
    arguments: &Arguments,
    report: &mut Report,
) -> Result<()> {
    let venue = Venue {
        caddy,
        remote: Remote::join(&world().packages)?,
        crowd: Crowd {
            rate: arguments.rate,
            clients: CLIENTS,
        },
        deployments: arguments.deployments,
    };
    let (mut courses, mut at_once) = (Vec::new(), Vec::new());
    for contestant in Contestant::ALL {
        let mut stage = Stage::with(cutover, contestant.project())?;
        let course = play(contestant, &mut stage, &venue);
        courses.push(course.with_context(|| contestant.title())?);
        if contestant == Contestant::Cutover {
            at_once = boot_at_once(&mut stage, &venue)?;
        }
        stage.compose("none", &["down"])?;
    }
    report.write("requests.csv", &course::csv(&courses))?;
    course::print(&courses, &at_once, report)?;
    course::chart(&courses, &venue)?.write(report, "requests.svg")?;
    course::judge(&courses, &at_once, report)
}

/// Pushes the releases: two good ones that take turns, and a broken one.
fn releases(stage: &mut Stage) -> Result<[Release; 3]> {
    let mut release = |version: &str, is_broken: bool| -> Result<Release> {
        let spec = ImageSpec::new(version)
            .env("START_DELAY_MS", BOOT_MS)
            .env("KEEP_ALIVE", "1")
            .health_check(HEALTH_CHECK);
        let tag = stage.push(&match is_broken {
            true => spec.env("EXIT_AT_ONCE", "3"),
            false => spec,
        })?;
        stage.pull(&tag)?;
        Ok(Release {
            version: version.to_owned(),
            tag,
            is_broken,
        })
    };
    Ok([
        release("one", false)?,
        release("two", false)?,
        release("broken", true)?,
    ])
}

fn play(contestant: Contestant, stage: &mut Stage, venue: &Venue<'_>) -> Result<Course> {
    let [mut running, mut next, broken] = releases(stage)?;
    stage.compose(&running.tag, &["up", "-d", "--wait"])?;
    if contestant == Contestant::Cutover {
        stage.start_daemon()?;
    }
    let front = contestant.front(stage, venue.caddy)?;
    let address = SocketAddr::new(venue.remote.host().into(), front.port());
    let visitors = Visitors::start(&venue.remote, address, venue.crowd)?;
    let mut times = Vec::new();
    for number in 1..=venue.deployments {
        thread::sleep(PAUSE);
        let is_broken = number.is_multiple_of(BROKEN_EVERY);
        let release = if is_broken { &broken } else { &next };
        let began = Instant::now();
        contestant
            .deploy(stage, release, &running)
            .with_context(|| format!("deployment {number}"))?;
        times.push((is_broken, began, began.elapsed()));
        if !is_broken {
            std::mem::swap(&mut running, &mut next);
        }
        let (title, of) = (contestant.title(), venue.deployments);
        eprintln!("requests, {title}: deployment {number} of {of}");
    }
    thread::sleep(PAUSE);
    let (asked, visited) = visitors.stop()?;
    drop(front);
    Ok(Course {
        contestant,
        deployments: assign(&asked, &times),
        visited,
    })
}

/// Deploys an application that boots at once, while nobody keeps a connection open.
fn boot_at_once(stage: &mut Stage, venue: &Venue<'_>) -> Result<Vec<AtOnce>> {
    let mut release = |version: &str| stage.push(&ImageSpec::new(version));
    let tags = [release("quick")?, release("quicker")?];
    let address = SocketAddr::new(venue.remote.host().into(), stage.service().port());
    let crowd = Crowd {
        clients: 0,
        ..venue.crowd
    };
    let mut all = Vec::new();
    for number in 0..AT_ONCE {
        let visitors = Visitors::start(&venue.remote, address, crowd)?;
        thread::sleep(PAUSE);
        let (status, answer) = stage.deploy(&tags[number % tags.len()])?;
        ensure!(status == 200, "cutover answers {status}: {answer}");
        thread::sleep(PAUSE);
        let (asked, _) = visitors.stop()?;
        let failed = asked.iter().any(|one| one.outcome != Outcome::Answered);
        ensure!(!failed, "a request failed");
        let outage = deployment_in(&answer)["outage_ms"].as_f64();
        let waits = asked.iter().map(|one| millis(one.waited));
        all.push(AtOnce {
            outage: outage.context("the answer tells no outage")?,
            longest: waits.fold(0.0, f64::max),
        });
    }
    Ok(all)
}
