//! Those who deploy: the steps of each, and what its user does about a release that does not run.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use cutover_testkit::label_proxy::LabelProxy;
use cutover_testkit::scene::docker_call;
use serde_json::Value;

use super::caddy::Caddy;
use crate::bench::observe::version_at;
use crate::bench::stage::{PATIENCE, Project, Stage};

/// How often a user looks whether a release runs.
const LOOK: Duration = Duration::from_millis(100);
/// How often docker-rollout looks whether the new container is healthy, and how often in all before it gives up
/// (`--timeout 10`; its default is 60).
const ROLLOUT_LOOKS: (Duration, u32) = (Duration::from_secs(1), 10);

/// The Compose project.
const PROJECT: &str = "bench-requests";

/// A way of deploying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contestant {
    /// `docker compose pull`, `stop`, `rm` and `up -d`.
    StopThenUp,
    /// `docker compose up -d`.
    Up,
    /// docker-rollout's steps behind a proxy that follows labels.
    Rollout,
    /// `docker compose up -d` behind Caddy, which tries again.
    Caddy,
    /// A signed request to cutover.
    Cutover,
}

/// What is deployed.
#[derive(Debug, Clone)]
pub(super) struct Release {
    pub(super) version: String,
    pub(super) tag: String,
    pub(super) is_broken: bool,
}

/// What visitors connect to.
#[derive(Debug)]
pub(super) enum Front {
    Published(u16),
    Proxy(LabelProxy),
    Caddy(Caddy),
}

impl Front {
    pub(super) fn port(&self) -> u16 {
        match self {
            Self::Published(port) => *port,
            Self::Proxy(proxy) => proxy.port(),
            Self::Caddy(caddy) => caddy.port(),
        }
    }
}

impl Contestant {
    pub(super) const ALL: [Self; 5] = [
        Self::StopThenUp,
        Self::Up,
        Self::Rollout,
        Self::Caddy,
        Self::Cutover,
    ];

    /// As in the CSV file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::StopThenUp => "stop_then_up",
            Self::Up => "up",
            Self::Rollout => "rollout",
            Self::Caddy => "caddy",
            Self::Cutover => "cutover",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::StopThenUp => "compose pull, stop, rm, up -d",
            Self::Up => "compose up -d",
            Self::Rollout => "docker-rollout, label proxy",
            Self::Caddy => "compose up -d, Caddy retries 30 s",
            Self::Cutover => "cutover",
        }
    }

    /// The project that suits it.
    pub(super) fn project(self) -> Project {
        let lines = match self {
            Self::StopThenUp | Self::Up | Self::Cutover => "    ports: [\"{port}:8080\"]\n",
            Self::Caddy => Project::USUAL.lines,
            Self::Rollout => "    labels: { proxy.port: \"8080\" }\n",
        };
        Project {
            name: PROJECT,
            lines,
            ..Project::USUAL
        }
    }

    /// What visitors connect to.
    pub(super) fn front(self, stage: &Stage, caddy: &Path) -> Result<Front> {
        Ok(match self {
            Self::StopThenUp | Self::Up | Self::Cutover => Front::Published(stage.service().port()),
            Self::Rollout => Front::Proxy(LabelProxy::start(PROJECT)?),
            Self::Caddy => Front::Caddy(Caddy::start(caddy, stage.dir(), stage.service())?),
        })
    }

    /// Deploys a release, and sees to it that `previous` serves again if it is broken.
    pub(super) fn deploy(
        self,
        stage: &mut Stage,
        release: &Release,
        previous: &Release,
    ) -> Result<()> {
        let is_good = match self {
            Self::StopThenUp | Self::Up | Self::Caddy => self.replace(stage, release)?,
            Self::Rollout => roll_out(stage, release)?,
            Self::Cutover => {
                let (status, answer) = stage.deploy(&release.tag)?;
                let outcome = &answer["deployment"]["outcome"];
                let outcome = outcome.as_str().or(answer["outcome"].as_str());
                match (status, outcome) {
                    (200, Some("succeeded")) => true,
                    (500, Some("rolled_back")) => false,
                    _ => bail!("cutover answers {status}: {answer}"),
                }
            }
        };
        ensure!(is_good != release.is_broken, "{release:?}: {is_good}");
        if !is_good && matches!(self, Self::StopThenUp | Self::Up | Self::Caddy) {
            let is_back = self.replace(stage, previous)?;
            ensure!(is_back, "{previous:?} does not run again");
        }
        Ok(())
    }

    /// Takes the steps, and returns whether the release serves; if not, its container has ended.
    fn replace(self, stage: &Stage, release: &Release) -> Result<bool> {
        let steps: &[&[&str]] = match self {
            Self::StopThenUp => &[
                &["pull", "--quiet", "app"],
                &["stop", "app"],
                &["rm", "--force", "app"],
                &["up", "-d", "app"],
            ],
            _ => &[&["up", "-d"]],
        };
        for step in steps {
            stage.compose(&release.tag, step)?;
        }
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let found = stage.inspect()?;
            let answered = address(&found).and_then(version_at);
            if answered.as_deref() == Some(&release.version) {
                return Ok(true);
            }
            if found["RestartCount"] != 0 || found["State"]["Running"] == false {
                return Ok(false);
            }
            thread::sleep(LOOK);
        }
        bail!("{} neither serves nor ends", release.version)
    }
}

/// Where a container answers, beside whatever is in front of it.
fn address(container: &Value) -> Option<SocketAddr> {
    let networks = container["NetworkSettings"]["Networks"].as_object()?;
    let address = networks.values().next()?["IPAddress"].as_str()?;
    Some(SocketAddr::new(address.parse().ok()?, 8080))
}

/// The steps of <https://github.com/wowu/docker-rollout>: a second container, which must become healthy before the first
/// one is stopped and removed, or is removed itself.
fn roll_out(stage: &Stage, release: &Release) -> Result<bool> {
    let old = stage.container()?;
    let up = ["up", "--detach", "--scale", "app=2", "--no-recreate", "app"];
    stage.compose(&release.tag, &up)?;
    let new = stage.containers()?.into_iter().find(|id| *id != old);
    let new = new.context("there is no second container")?;
    let (pause, looks) = ROLLOUT_LOOKS;
    let mut is_good = is_healthy(&new)?;
    for _ in 0..looks {
        if is_good {
            break;
        }
        thread::sleep(pause);
        is_good = is_healthy(&new)?;
    }
    let superfluous = if is_good { old } else { new };
    for (method, path) in [("POST", "/stop"), ("DELETE", "")] {
        docker(method, &format!("/containers/{superfluous}{path}"))?;
    }
    Ok(is_good)
}

fn is_healthy(container: &str) -> Result<bool> {
    let found = docker("GET", &format!("/containers/{container}/json"))?;
    Ok(found["State"]["Health"]["Status"] == "healthy")
}

fn docker(method: &str, path: &str) -> Result<Value> {
    let (status, answer) = docker_call(method, path).context("Docker does not answer")?;
    ensure!(status < 400, "Docker answers {status} to {method} {path}");
    Ok(answer)
}
