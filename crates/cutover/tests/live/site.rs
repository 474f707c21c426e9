//! A service on an engine of its own, with a door in front of Docker: for tests in which Docker dies, its machine
//! loses power, or somebody types something, at one certain call.

use std::time::Duration;

use cutover_testkit::engine::Engine;
use cutover_testkit::engine::wait::wait_for;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{SERVICE, Scene, Wishes};
use serde_json::Value;

use crate::CUTOVER;
use crate::door::{Door, Expected, Held};

/// How Docker dies.
#[derive(Clone, Copy)]
pub(crate) enum Death {
    /// As by `kill -9`.
    Crash,
    /// As by `systemctl restart docker`.
    Restart,
}

/// A scene on an engine of its own, with a door in front of Docker, where `old` runs and `new` may come.
pub(crate) struct Site<'e> {
    // Before the door, through which it cleans up.
    pub(crate) scene: Scene,
    pub(crate) door: Door,
    pub(crate) engine: &'e mut Engine,
    pub(crate) old: Release,
    pub(crate) new: Release,
}

/// A release.
pub(crate) struct Release {
    /// What it answers.
    pub(crate) version: &'static str,
    pub(crate) tag: String,
}

impl<'e> Site<'e> {
    pub(crate) fn of(engine: &'e mut Engine, compose: &str) -> Self {
        let door = Door::open(&engine.socket());
        let wishes = Wishes {
            compose,
            docker: Some(door.socket()),
            ..Wishes::default()
        };
        let mut scene = Scene::new(CUTOVER, &wishes);
        let mut push = |version| Release {
            version,
            tag: scene.push(&ImageSpec::new(version)),
        };
        let (old, new) = (push("old"), push("new"));
        drop(scene.deploy(&old.tag).expect("succeeded"));
        Self {
            scene,
            door,
            engine,
            old,
            new,
        }
    }

    /// Back to the old release, whatever runs.
    pub(crate) fn reset(&self) {
        let ended = self.scene.deploy(&self.old.tag);
        let fine = ["succeeded", "unchanged"];
        assert!(fine.contains(&ended.outcome()), "{ended:#?}");
    }

    /// The new release, which runs, is the old one from now on: deployed again, it is unchanged.
    #[track_caller]
    pub(crate) fn turn(&mut self) {
        std::mem::swap(&mut self.old, &mut self.new);
        drop(self.scene.deploy(&self.old.tag).expect("unchanged"));
    }

    /// How many changing calls follow the start of the new container: the commit lies before them.
    pub(crate) fn calls_after_the_commit(&mut self) -> usize {
        self.scene.docker.disarm();
        drop(self.scene.deploy(&self.new.tag).expect("succeeded"));
        let calls = self.scene.docker.calls();
        let start = calls.iter().position(|call| call.ends_with("/start"));
        let count = calls.len() - start.expect("a start") - 1;
        assert!((1..=8).contains(&count), "{calls:#?}");
        self.turn();
        count
    }

    /// Docker dies and comes back.
    pub(crate) fn dies(&mut self, death: Death) {
        let died = match death {
            Death::Crash => self.engine.kill_daemon(),
            Death::Restart => self.engine.stop(),
        };
        died.expect("Docker goes");
        self.engine.restart().expect("Docker comes back");
    }

    /// Begins a deployment of `sha` and waits for the call that is `expected`.
    #[track_caller]
    pub(crate) fn reach(&self, sha: &str, expected: Expected) -> Held {
        drop(self.scene.begin(sha));
        expected.wait()
    }

    /// The machine loses power, with cutover on it, and boots again; cutover is not started yet.
    pub(crate) fn power_cut(&mut self) {
        self.scene.kill_daemon();
        self.engine.kill().expect("a power cut");
        self.engine.restart().expect("the machine boots");
    }

    /// One container is left, which serves, under its own name and policy.
    #[track_caller]
    pub(crate) fn expect_serves(&self, version: &str, policy: &str, context: &str) {
        let serves = || self.scene.serves() == version;
        let answered = wait_for("an answer", SOON, || Ok(serves().then_some(())));
        let look = self.look();
        assert!(
            answered.is_ok(),
            "{context}: {version} does not serve; {look:#?}"
        );
        self.expect_alone(policy, context);
    }

    /// The same of a service that publishes no port: the container runs the image with this tag.
    #[track_caller]
    pub(crate) fn expect_runs(&self, tag: &str, policy: &str, context: &str) {
        let container = self.expect_alone(policy, context);
        let image = container["Config"]["Image"].as_str().expect("an image");
        assert!(image.ends_with(tag), "{context}: {image}");
        assert_eq!(container["State"]["Running"], true, "{context}");
    }

    /// One container is left, under its own name and policy.
    #[track_caller]
    fn expect_alone(&self, policy: &str, context: &str) -> Value {
        let is_alone = || self.scene.containers().len() == 1;
        let alone = wait_for("one container", SOON, || Ok(is_alone().then_some(())));
        assert!(alone.is_ok(), "{context}: {:#?}", self.look());
        let container = self.scene.container();
        let name = format!("/{}-app-1", self.scene.project());
        assert_eq!(container["Name"], *name, "{context}");
        let found = &container["HostConfig"]["RestartPolicy"]["Name"];
        assert_eq!(*found, policy, "{context}");
        container
    }

    /// The containers, as far as a failed test wants to know.
    fn look(&self) -> Vec<String> {
        let line = |one: Value| {
            let policy = &one["HostConfig"]["RestartPolicy"]["Name"];
            format!("{} {} {policy}", one["Name"], one["State"]["Status"])
        };
        self.scene.containers().into_iter().map(line).collect()
    }
}

/// What comes a moment after the record.
const SOON: Duration = Duration::from_secs(20);

/// The same service with another restart policy.
pub(crate) fn with_policy(policy: &str) -> String {
    let compose = SERVICE.replace("restart: unless-stopped", &format!("restart: {policy}"));
    assert!(compose.contains(policy));
    compose
}
