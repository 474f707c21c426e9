//! The way that a project goes, step by step.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{Ended, Scene, ask};
use serde_json::Value;

use super::{Broken, Row};
use crate::{CUTOVER, said};

/// The second release and the broken one. The first is what the files of the project name.
const TWO: &str = "2222222222222222222222222222222222222222";
const BROKEN: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// The longest that a broken release takes. No stop takes long here, and none is waited for that was not asked for.
const ROLLBACK_MS: u64 = 60_000;

/// A container: its id, its image, and when it was started; the latter only where it runs.
type Seen = BTreeMap<String, (String, String, String)>;

/// The containers, by service.
#[track_caller]
fn seen(scene: &Scene) -> Seen {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found = BTreeMap::new();
    for container in scene.containers() {
        let service = text(&container["Config"]["Labels"]["com.docker.compose.service"]);
        let started = match container["State"]["Running"] == true {
            true => text(&container["State"]["StartedAt"]),
            false => String::new(),
        };
        let image = text(&container["Config"]["Image"]);
        let one = (text(&container["Id"]), image, started);
        assert_eq!(found.insert(service, one), None, "two of one service");
    }
    found
}

impl Row {
    /// Takes the project the whole way.
    pub(super) fn goes_the_whole_way(&self) {
        let mut scene = Scene::of_project(CUTOVER, self.name, self.project);
        scene.has_packet_filter = true;
        let port = self.runs_already(&mut scene);
        self.is_found_by_init(&scene);
        self.is_checked_and_planned(&scene);
        scene.start_daemon();
        self.is_deployed(&scene, port);
        self.survives_a_broken_release(&scene);
        self.is_left_alone_by_hand(&scene);
        drop(scene.compose(&[self.options, &["down"]].concat()));
        assert_eq!(seen(&scene), Seen::new());
        if !self.beside.is_empty() {
            drop(scene.compose(&[self.beside, &["down"]].concat()));
        }
    }

    /// Its own services, those that run and the jobs.
    fn own(&self) -> Vec<&str> {
        [self.services, self.jobs].concat()
    }

    fn image(&self, version: &str, listen: &str) -> ImageSpec {
        let spec = ImageSpec::new(version).env("LISTEN", listen);
        let variables = self.image.iter();
        variables.fold(spec, |spec, (name, value)| spec.env(name, value))
    }

    /// The first release was started by hand. Returns the port at which users come in, if that is the service's own.
    fn runs_already(&self, scene: &mut Scene) -> Option<u16> {
        scene.shell = self.shell.to_vec();
        if !self.beside.is_empty() {
            scene.make_images(self.beside, &ImageSpec::new("beside"));
            scene.compose(&[self.beside, &["up", "--detach"]].concat());
        }
        let project = scene.described(self.options);
        let port = &project["services"][self.lead]["ports"][0];
        let listen = port["target"].as_u64().unwrap_or(8080).to_string();
        scene.make_images(self.options, &self.image("one", &listen));
        scene.compose(&[self.options, &["pull", "--quiet"], &self.own()].concat());
        scene.compose(&[self.options, &["up", "--detach"]].concat());
        scene.shell.clear();
        let port = port["published"].as_str()?.parse().ok()?;
        scene.wait_until("the first release answers", || serves(port) == "one");
        Some(port)
    }

    /// `init` finds it, and what it writes is the configuration of the daemon.
    fn is_found_by_init(&self, scene: &Scene) {
        if let Some(options) = self.fix {
            let refused = init(scene, &[]);
            assert_eq!(refused.status.code(), Some(2), "{refused:?}");
            let fixed = init(scene, &[&["--fix", "--yes"], options].concat());
            assert_eq!(fixed.status.code(), Some(0), "{fixed:?}");
        }
        let report = Ended::of(&init(scene, &["--json"]));
        assert_eq!(report.exit, 0, "{report:#?}");
        let deployable = [&[self.lead], self.also].concat();
        assert_eq!(report.body["services"], serde_json::json!(deployable));
        let others = report.body["others"].as_array().expect("a list");
        let mut others: Vec<_> = others.iter().map(|one| one["service"].clone()).collect();
        let mut untouched = self.untouched.to_vec();
        untouched.retain(|one| !self.also.contains(one));
        others.sort_by_key(Value::to_string);
        untouched.sort_unstable();
        assert_eq!(others, untouched, "{report:#?}");
        assert_eq!(report.body["warnings"], serde_json::json!([]));

        let path = scene.dir().join("init/cutover.toml");
        let text = fs::read_to_string(path).expect("a configuration");
        for line in self.written {
            let line = line.replace(
                "DIRECTORY",
                &scene.project_directory().display().to_string(),
            );
            assert_eq!(text.matches(&line).count(), 1, "{line}: {text}");
        }
        let at = |name: &str| scene.dir().join(name).display().to_string();
        let places = format!(
            "socket = {:?}\nstate_directory = {:?}\n",
            at("cutover.sock"),
            at("state")
        );
        let section = format!("[services.{}]\n", self.lead);
        let ours = text
            .replace("listen = \"127.0.0.1:8443\"\n", &places)
            .replace(&section, &format!("{section}monitor = \"1s\"\n"));
        assert!(
            ours.contains(&places) && ours.contains("\nmonitor"),
            "{text}"
        );
        scene.write("cutover.toml", &ours);
    }

    /// `check` and `plan` find nothing in the way.
    fn is_checked_and_planned(&self, scene: &Scene) {
        let configuration = scene.configuration().display().to_string();
        let before = seen(scene);
        let checked = scene.run(&["check", "--config", &configuration]);
        assert_eq!(checked.exit, 0, "{checked:#?}");
        let lines = checked.stdout.lines();
        let mut warnings = lines.filter(|line| line.starts_with("warning"));
        assert_eq!(warnings.find(|words| !is_meant(words)), None);
        let repositories = self.repositories(scene);
        let listen = self.listens(scene);
        for repository in &repositories {
            scene.push_to(repository, TWO, &self.image("two", &listen));
        }
        let plan = ["plan", self.lead, TWO, "--json", "--config", &configuration];
        let plan = scene.run(&plan);
        assert_eq!(plan.exit, 0, "{plan:#?}");
        assert_eq!(plan.body["services"], serde_json::json!(self.services));
        assert_eq!(plan.body["jobs"], serde_json::json!(self.jobs));
        let warnings = plan.body["warnings"].as_array().into_iter().flatten();
        let mut warnings = warnings.filter_map(Value::as_str);
        assert_eq!(warnings.find(|words| !is_meant(words)), None);
        assert_eq!(seen(scene), before);
    }

    /// The repositories of its own services, without the registry.
    fn repositories(&self, scene: &Scene) -> Vec<String> {
        let registry = format!("{}/", scene.registry.addr());
        let now = seen(scene);
        let image = |service: &&str| now[*service].1.clone();
        let mut all: Vec<_> = self.own().iter().map(image).collect();
        for image in &mut all {
            let rest = image.strip_prefix(&registry).expect("of the registry");
            let repository = rest.split(':').next().unwrap_or_default();
            *image = repository.to_owned();
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The port on which its processes listen.
    fn listens(&self, scene: &Scene) -> String {
        let project = scene.described(self.options);
        let port = &project["services"][self.lead]["ports"][0]["target"];
        port.as_u64().unwrap_or(8080).to_string()
    }

    /// A release of all its services, and the same again.
    fn is_deployed(&self, scene: &Scene, port: Option<u16>) {
        let before = seen(scene);
        let ended = scene.run(&["deploy", self.lead, TWO, "--json"]);
        let ended = ended.expect("succeeded");
        let names = |key: &str| {
            let all = ended.deployment()[key].as_array().expect("a list");
            all.iter()
                .map(|one| one["service"].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names("services"), self.services);
        assert_eq!(names("jobs"), self.jobs);
        let now = seen(scene);
        assert!(now.keys().eq(before.keys()), "{now:?}");
        for (service, (id, image, started)) in &now {
            let is_own = self.own().contains(&service.as_str());
            let is_job = self.jobs.contains(&service.as_str());
            assert_eq!(*id != before[service].0, is_own, "{service}");
            assert_eq!(image.ends_with(TWO), is_own, "{service}: {image}");
            assert_eq!(started.is_empty(), is_job, "{service}");
        }
        for (service, now) in now
            .iter()
            .filter(|one| !self.own().contains(&one.0.as_str()))
        {
            assert_eq!(*now, before[service]);
        }
        if let Some(port) = port {
            assert_eq!(serves(port), "two");
        }
        let again = scene.run(&["deploy", self.lead, TWO, "--json"]);
        drop(again.expect("unchanged"));
        assert_eq!(seen(scene), now);
    }

    /// A release that is no good leaves the very same containers.
    fn survives_a_broken_release(&self, scene: &Scene) {
        let before = seen(scene);
        let listen = self.listens(scene);
        let mut image = self.image("broken", &listen);
        let mut repositories = self.repositories(scene);
        let [outcome, cause] = match self.broken {
            Broken::By((name, value), ends) => {
                image = image.env(name, value);
                ends
            }
            Broken::Missing(missing) => {
                let all = repositories.len();
                repositories.retain(|one| one != missing);
                assert_eq!(repositories.len() + 1, all, "{missing}");
                ["failed", "image_not_found"]
            }
        };
        for repository in &repositories {
            scene.push_to(repository, BROKEN, &image);
        }
        let ended = scene.run(&["deploy", self.lead, BROKEN, "--json"]);
        let ended = ended.expect(outcome);
        assert_eq!(ended.cause(), cause, "{}", said(ended.deployment()));
        let took_ms = ended.deployment()["duration_ms"].as_u64();
        assert!(took_ms.is_some_and(|ms| ms < ROLLBACK_MS), "{took_ms:?}");
        let now = seen(scene);
        let runs = |service: &&str| !now[*service].2.is_empty();
        assert!(self.services.iter().all(runs), "{now:?}");
        assert!(now.keys().eq(before.keys()), "{now:?}");
        for (service, now) in &now {
            let before = &before[service];
            let may_start_again =
                outcome == "rolled_back" && self.services.contains(&service.as_str());
            assert_eq!((&now.0, &now.1), (&before.0, &before.1), "{service}");
            assert!(now.2 == before.2 || may_start_again, "{service}");
        }
    }

    /// Compose, as the team calls it, has nothing to do.
    fn is_left_alone_by_hand(&self, scene: &Scene) {
        let mut before = seen(scene);
        scene.compose(&[self.options, &["up", "--detach"]].concat());
        let mut now = seen(scene);
        for job in self.jobs {
            // Compose runs it again by itself, in the same container.
            for seen in [&mut before, &mut now] {
                seen.get_mut(*job).expect("its container").2.clear();
            }
        }
        assert_eq!(now, before);
    }
}

/// Whether a warning of `check` and `plan` is one that the projects deserve.
fn is_meant(words: &&str) -> bool {
    words.contains("it has neither a health check nor a probe")
        || words.contains("the attribute `version` is obsolete")
}

/// The version that answers on a port of this machine.
fn serves(port: u16) -> String {
    ask(SocketAddr::from(([127, 0, 0, 1], port)), "/version")
}

/// Runs `cutover init` as somebody would who has gone to the directory of the project.
fn init(scene: &Scene, options: &[&str]) -> Output {
    Command::new(CUTOVER)
        .arg("init")
        .args(options)
        .arg("--output")
        .arg(scene.dir().join("init"))
        .current_dir(scene.project_directory())
        .env("DOCKER_HOST", &cutover_testkit::world().docker_host)
        .env("DOCKER_CONFIG", &cutover_testkit::world().docker_config)
        .stdin(Stdio::null())
        .output()
        .expect("it starts")
}
