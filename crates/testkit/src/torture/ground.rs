//! What one worker plays on: an engine, a scene and a small disk, in a network of its own. It is kept from one
//! round to the next, and made anew only where a round has left something that is not known.

use std::fs;
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::case::{Case, Member, Span};
use super::fault::Fault;
use super::release::{Behavior, Members, Releases, Shape};
use super::sight::{self, Sight};
use super::verdict::{Verdict, judge};
use crate::engine::disk::SmallDisk;
use crate::engine::wait::wait_for;
use crate::engine::{Engine, LiveRestore};
use crate::scene::{Scene, Wishes};

/// The service as cutover is told of it: prompt, and nothing of the few images is ever removed.
const SETTINGS: &str = "\
health.http = { path = \"/healthz\", port = 8080, interval = \"50ms\" }
healthy_deadline = \"5s\"
min_healthy_time = \"300ms\"
keep_releases = 10
hold = \"30s\"
drain = \"100ms\"
";

/// Where nobody can be asked, running for a while is what proves a service.
const WATCHED: &str = "monitor = \"1s\"\n";

/// How long a disk is full.
const FULL: Duration = Duration::from_secs(10);

/// The longest that a fresh scene takes to be at rest.
const CALM: Duration = Duration::from_secs(60);

/// Between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// For so long everything must stay as it is before it counts as at rest.
const REST: Duration = Duration::from_millis(700);

/// The same where an operator is asked for: the daemon may try again.
const REST_IN_NEED: Duration = Duration::from_secs(3);

/// An engine, a scene and a small disk.
#[derive(Debug)]
pub struct Ground {
    /// The project, its registry, its daemon.
    pub scene: Scene,
    /// The engine that it is on; strikes take it from another thread.
    pub engine: Arc<Mutex<Engine>>,
    /// What can be deployed.
    pub releases: Releases,
    shape: Shape,
    live_restore: LiveRestore,
    /// Docker's data root. What Docker keeps below `/run` on a real machine is not on it.
    disk: SmallDisk,
    _memory: SmallDisk,
}

/// What happened, and when.
#[derive(Debug)]
pub struct Strike {
    /// From its beginning to its end.
    pub span: Span,
    /// What a hand got to read.
    pub said: String,
}

impl Ground {
    /// Makes one and works on it, inside its network.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn with<T: Send>(
        cutover: &str,
        shape: Shape,
        work: impl FnOnce(&mut Self) -> T + Send,
    ) -> Result<T> {
        let world = crate::world();
        let namespace = world.new_namespace()?;
        let inside = namespace.clone();
        namespace.run(|| {
            // In memory everything goes faster; a power cut loses what a machine forgets all the same.
            let memory = SmallDisk::mount()?;
            let directory = memory.path().join("e");
            let disk = SmallDisk::mount_at(&Engine::data_of(&directory))?;
            let engine = Engine::start(&world.packages, &inside, &directory)?;
            let socket = engine.socket();
            let compose = shape.compose();
            let settings = match shape.members {
                Members::One => SETTINGS.to_owned(),
                Members::Several | Members::Replicas => format!("{SETTINGS}{WATCHED}"),
            };
            let wishes = Wishes {
                docker: Some(&socket),
                version: shape.version,
                compose: &compose,
                service: &settings,
                ..Wishes::default()
            };
            let mut scene = Scene::new(cutover, &wishes);
            let releases = Releases::push(&mut scene, shape.members);
            let mut ground = Self {
                scene,
                engine: Arc::new(Mutex::new(engine)),
                releases,
                shape,
                live_restore: LiveRestore::Off,
                disk,
                _memory: memory,
            };
            Ok(work(&mut ground))
        })?
    }

    /// The service as it is deployed now.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The engine.
    pub fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the service into this shape with a good release running and nothing amiss, on a Docker that is
    /// configured for `fault`; returns what a deployment of a release of this behavior begins from.
    ///
    /// # Errors
    /// If that does not succeed even from nothing.
    pub fn prepare(
        &mut self,
        shape: Shape,
        fault: Option<Fault>,
        behavior: Behavior,
    ) -> Result<Case> {
        self.scene.docker.disarm();
        let live_restore = fault.map_or(LiveRestore::Off, Fault::live_restore);
        if live_restore != self.live_restore {
            self.engine().set_live_restore(live_restore)?;
            self.engine().restart()?;
            self.live_restore = live_restore;
        }
        if shape != self.shape {
            self.scene.write_compose(&shape.compose());
            self.shape = shape;
        }
        let calm = self.calm(behavior);
        match calm {
            Ok(mut case) => {
                case.fault = fault;
                Ok(case)
            }
            Err(_) => {
                self.begin_anew()?;
                let mut case = self
                    .calm(behavior)
                    .context("a fresh scene is not in order")?;
                case.fault = fault;
                Ok(case)
            }
        }
    }

    /// What a deployment begins from, if a good release can be deployed in this shape and nothing is amiss then.
    fn calm(&self, behavior: Behavior) -> Result<Case> {
        let scene = &self.scene;
        ensure!(
            scene.daemon_runs() && scene.is_ready(),
            "the daemon is not ready"
        );
        let present = sight::env_tag(scene);
        let release = self.releases.good(&present);
        let release = release.unwrap_or_else(|| self.releases.first());
        let known = sight::newest_id(scene);
        let ended = scene.deploy(&release.tag);
        ensure!(
            ["succeeded", "unchanged"].contains(&ended.outcome()),
            "a good release does not succeed: {ended:#?}"
        );
        let containers = sight::containers(scene).context("Docker is away")?;
        let member = |(service, number): (&'static str, u32)| {
            let mut member = Member {
                service,
                number,
                name: format!("{}-{service}-{number}", scene.project()),
                container: String::new(),
            };
            let mut of = containers.iter().filter(|one| member.is(one));
            let only = of.next().filter(|_| of.next().is_none())?;
            member.container = only.id.clone();
            Some(member)
        };
        let members = self.shape.members.all().iter().copied().map(member);
        let members = members.collect::<Option<Vec<_>>>();
        let members = members.with_context(|| format!("not one of each: {containers:#?}"))?;
        let case = Case {
            fault: None,
            shape: self.shape,
            members,
            old: release.clone(),
            new: release.clone(),
            behavior: Behavior::Good,
            known,
            span: Span::default(),
        };
        let started = Instant::now();
        let mut verdict = Verdict::Attention;
        while started.elapsed() < CALM {
            let sight = Sight::of(scene, &case, Some(0));
            verdict = judge(&case, &sight);
            if verdict == Verdict::New {
                return Ok(Case {
                    behavior,
                    new: self.releases.other(behavior, release).clone(),
                    known: sight::newest_id(scene),
                    ..case
                });
            }
            std::thread::sleep(LOOK_PAUSE);
        }
        bail!("it does not come to rest: {verdict:?}")
    }

    /// Forgets everything: no container, no journal, no tag.
    fn begin_anew(&mut self) -> Result<()> {
        self.disk.free()?;
        self.scene.kill_daemon();
        let project = self.scene.project_directory();
        drop(fs::remove_dir_all(self.scene.dir().join("state")));
        drop(fs::remove_file(project.join(".env")));
        if self.scene.try_containers().is_none() {
            self.engine().restart()?;
        }
        let containers = self.scene.try_containers().context("Docker is away")?;
        for container in containers {
            let id = container["Id"].as_str().unwrap_or_default();
            let path = format!("/containers/{id}?force=1&v=1");
            let (status, answer) = self.scene.call_docker("DELETE", &path).context("Docker")?;
            ensure!(status < 300, "{path}: {status} {answer}");
        }
        self.scene.start_daemon();
        Ok(())
    }

    /// Lets it happen, and returns when.
    ///
    /// # Errors
    /// If it cannot be brought about.
    pub fn strike(&self, fault: Fault) -> Result<Strike> {
        let mut done = Ok(String::new());
        let span = Span::of(|| done = self.happen(fault));
        let said = done.with_context(|| format!("{fault}"))?;
        Ok(Strike { span, said })
    }

    fn happen(&self, fault: Fault) -> Result<String> {
        // A hand may come in the way of somebody else's, and then it fails.
        let by_hand = |arguments: &[&str]| Ok(format!("{:?}", self.scene.try_compose(arguments)));
        self.happen_to_machine(fault)?;
        match fault {
            Fault::HandUp => by_hand(&["up", "--detach"]),
            Fault::HandRecreate => by_hand(&["up", "--detach", "--force-recreate"]),
            Fault::HandDown => by_hand(&["down"]),
            Fault::HandRestart => by_hand(&["restart"]),
            Fault::HandRemove => {
                let all = sight::containers(&self.scene).unwrap_or_default();
                let running = all.iter().filter(|one| one.running);
                let removed = running.map(|one| {
                    let path = format!("/containers/{}?force=1", one.id);
                    format!("{path}: {:?}\n", self.scene.call_docker("DELETE", &path))
                });
                Ok(removed.collect())
            }
            Fault::HandPrune => {
                let pruned = self.scene.call_docker("POST", "/containers/prune");
                Ok(format!("{pruned:?}"))
            }
            _ => Ok(String::new()),
        }
    }

    fn happen_to_machine(&self, fault: Fault) -> Result<()> {
        match fault {
            Fault::KillCutover => {
                self.scene.kill_daemon();
                self.scene.spawn_daemon();
                Ok(())
            }
            Fault::KillDocker | Fault::KillDockerLive => {
                self.engine().kill_daemon()?;
                self.engine().restart()
            }
            Fault::RestartDocker | Fault::RestartDockerLive => self.engine().restart(),
            Fault::PowerCut => {
                self.scene.kill_daemon();
                self.engine().kill()?;
                self.engine().restart()
            }
            Fault::DiskFull => {
                self.disk.fill_but(0)?;
                std::thread::sleep(FULL);
                self.disk.free()
            }
            _ => Ok(()),
        }
    }

    /// Waits until the client has ended and everything is at rest, and judges it then; or says what is amiss
    /// after `patience`.
    pub fn rest(&self, case: &Case, client: &mut Child, patience: Duration) -> (Verdict, Sight) {
        let started = Instant::now();
        let mut since = Instant::now();
        let mut before = None;
        loop {
            let exit = match client.try_wait() {
                Ok(Some(status)) => Some(status.code().unwrap_or(-1)),
                _ => None,
            };
            let sight = Sight::of(&self.scene, case, exit);
            let verdict = judge(case, &sight);
            if started.elapsed() > patience {
                return (verdict, sight);
            }
            let state = Some((verdict.clone(), sight.clone().at_rest()));
            if state != before {
                since = Instant::now();
                before = state;
            }
            let rest = match verdict {
                Verdict::Old | Verdict::New => REST,
                Verdict::Attention => REST_IN_NEED,
                Verdict::Third(_) => patience,
            };
            if since.elapsed() > rest {
                return (verdict, sight);
            }
            std::thread::sleep(LOOK_PAUSE);
        }
    }

    /// What `docker compose up -d` by hand would change, where one of both releases runs.
    #[must_use]
    pub fn up_complaint(&self) -> Option<String> {
        // A job runs again with every `up`: that is Compose's own way.
        let services = || {
            let all = sight::containers(&self.scene)?.into_iter();
            Some(
                all.filter(|one| one.service != sight::JOB)
                    .collect::<Vec<_>>(),
            )
        };
        let before = services()?;
        if !before.iter().any(|one| one.running) {
            return None;
        }
        let printed = self.scene.try_compose(&["up", "--detach"]);
        let after = services()?;
        if printed.is_ok() && before == after {
            return None;
        }
        Some(format!("`docker compose up -d` by hand: {printed:?}"))
    }

    /// Starts the daemon if it does not run, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not become ready.
    pub fn revive(&self, patience: Duration) -> Result<()> {
        if !self.scene.daemon_runs() {
            self.scene.spawn_daemon();
        }
        wait_for("the daemon", patience, || {
            Ok(self.scene.is_ready().then_some(()))
        })
    }
}
