//! A crash at any step ends in the old release or in the new one, running, and the record says which.
//!
//! The sweeps count the calls of one clean deployment that change something in Docker; then, for each of
//! them, in turn, the daemon is killed before it, killed after it, loses its answer, or gets an error.

use cutover_testkit::faults::Fault;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{Ended, Scene, Wishes};
use serde_json::Value;

use crate::{CUTOVER, kinds};

/// A release: what it answers and its tag.
type Release = (&'static str, String);

struct Stage {
    scene: Scene,
    old: Release,
    new: Release,
}

impl Stage {
    fn set() -> Self {
        let mut scene = Scene::usual(CUTOVER);
        let mut push = |version| (version, scene.push(&ImageSpec::new(version)));
        let (old, new) = (push("old"), push("new"));
        drop(scene.deploy(&old.1).expect("succeeded"));
        Self { scene, old, new }
    }

    /// What came of a deployment is known to run: its release deployed again changes nothing. It is the old one of the
    /// next deployment.
    #[track_caller]
    fn expect_unchanged(&mut self, deployment: &Value) {
        if deployment["outcome"] == "succeeded" {
            std::mem::swap(&mut self.old, &mut self.new);
        }
        drop(self.scene.deploy(&self.old.1).expect("unchanged"));
    }

    /// After all of that a release is deployed as ever.
    #[track_caller]
    fn expect_deployable(&self) {
        drop(self.scene.deploy(&self.new.1).expect("succeeded"));
        assert_eq!(self.scene.serves(), self.new.0);
    }

    /// The newest deployment once it has ended.
    fn newest_ended(&self) -> Value {
        self.scene.wait_until("the deployment ends", || {
            self.scene
                .history()
                .first()
                .is_some_and(|newest| newest["outcome"].is_string())
        });
        let id = self.scene.history()[0]["id"]
            .as_str()
            .expect("an id")
            .to_owned();
        let (_, deployment) = self
            .scene
            .get(&format!("/v1/deployments/{id}"))
            .expect("an answer");
        deployment
    }

    /// The invariants: what is said is what runs, one container is left, under its own name and policy; and
    /// where the old release runs, it is the very container that ran `before`.
    #[track_caller]
    fn expect_truth(&self, deployment: &Value, before: &Value, context: &str) {
        let outcome = deployment["outcome"].as_str().unwrap_or_default();
        let (expected, tag) = match outcome {
            "succeeded" => &self.new,
            "failed" | "rolled_back" | "cancelled" => &self.old,
            other => panic!(
                "{context}: {other}: {deployment:#}\n{}",
                self.scene.log_tail()
            ),
        };
        let mut serves = String::new();
        self.scene.wait_until("the service answers", || {
            serves = self.scene.serves();
            !serves.is_empty()
        });
        assert_eq!(
            serves,
            *expected,
            "{context}: {outcome}, {:?}",
            kinds(deployment)
        );
        let container = self.scene.container();
        assert_eq!(
            container["Name"],
            format!("/{}-app-1", self.scene.project()),
            "{context}"
        );
        assert_eq!(
            container["HostConfig"]["RestartPolicy"]["Name"], "unless-stopped",
            "{context}"
        );
        assert_eq!(container["State"]["Running"], true, "{context}");
        let env_file = std::fs::read_to_string(self.scene.project_directory().join(".env"));
        assert_eq!(
            env_file.expect("an env file"),
            format!("APP_IMAGE_TAG={tag}\n"),
            "{context}: {outcome}"
        );
        if outcome != "succeeded" {
            assert_eq!(
                container["Id"], *before,
                "{context}: the very same container"
            );
        }
    }
}

/// How many changing calls a clean deployment makes.
fn changing_calls(stage: &mut Stage) -> Vec<String> {
    stage.scene.docker.disarm();
    let ended = stage.scene.deploy(&stage.new.1).expect("succeeded");
    let calls = stage.scene.docker.calls();
    assert!(calls.len() >= 8, "{calls:#?}");
    stage.expect_unchanged(ended.deployment());
    calls
}

#[test]
fn a_daemon_killed_at_any_call_ends_in_one_of_both_releases() {
    let mut stage = Stage::set();
    let calls = changing_calls(&mut stage);
    let mut outcomes = std::collections::BTreeSet::new();
    for (number, call) in calls.iter().enumerate() {
        for fault in [Fault::StrikeBefore, Fault::StrikeAfter] {
            let context = format!("{fault:?} call {number}, {call}");
            let known = stage.scene.history()[0]["id"].clone();
            let before = stage.scene.container()["Id"].clone();
            stage.scene.docker.arm(number, fault);
            let mut client = stage.scene.begin(&stage.new.1);
            stage
                .scene
                .wait_until("the daemon is struck", || !stage.scene.daemon_runs());
            assert_eq!(stage.scene.docker.struck(), 1, "{context}");
            stage.scene.docker.disarm();
            stage.scene.start_daemon();
            assert_ne!(
                stage.scene.history()[0]["id"],
                known,
                "{context}: the request was recorded before"
            );
            let deployment = stage.newest_ended();
            stage.expect_truth(&deployment, &before, &context);
            outcomes.insert(deployment["outcome"].to_string());
            drop(client.kill());
            drop(client.wait());
            stage.expect_unchanged(&deployment);
        }
    }
    // Pulling again after a crash, going back, and going forward after the commit all happened.
    assert!(
        outcomes.contains("\"rolled_back\"") && outcomes.contains("\"succeeded\""),
        "{outcomes:?}"
    );
    stage.expect_deployable();
}

#[test]
fn a_call_whose_answer_is_lost_or_that_fails_ends_in_one_of_both_releases() {
    let mut stage = Stage::set();
    let calls = changing_calls(&mut stage);
    for (number, call) in calls.iter().enumerate() {
        for fault in [Fault::LoseAnswer, Fault::Error] {
            let context = format!("{fault:?} at call {number}, {call}");
            let before = stage.scene.container()["Id"].clone();
            stage.scene.docker.arm(number, fault);
            let ended = stage.scene.deploy(&stage.new.1);
            assert_eq!(stage.scene.docker.struck(), 1, "{context}");
            stage.scene.docker.disarm();
            assert!(!ended.outcome().is_empty(), "{context}: {ended:#?}");
            let deployment = stage.newest_ended();
            stage.expect_truth(&deployment, &before, &context);
            stage.expect_unchanged(&deployment);
        }
    }
    stage.expect_deployable();
}

#[test]
fn a_client_attaches_again_after_the_daemon_was_restarted() {
    let mut stage = Stage::set();
    let slow = stage
        .scene
        .push(&ImageSpec::new("slow").env("START_DELAY_MS", "60000"));
    let client = stage.scene.begin(&slow);
    stage.scene.wait_until("it is being verified", || {
        stage
            .scene
            .history()
            .first()
            .is_some_and(|newest| newest["status"] == "verifying")
    });
    stage.scene.kill_daemon();
    stage.scene.start_daemon();
    let ended = Ended::of(&client.wait_with_output().expect("an end")).expect("rolled_back");
    assert_eq!(ended.cause(), "interrupted");
    assert_eq!(stage.scene.serves(), "old");
}

#[test]
fn an_old_container_that_was_being_stopped_when_the_daemon_died_runs_on_after_the_rollback() {
    let compose =
        cutover_testkit::scene::SERVICE.replace("stop_grace_period: 5s", "stop_grace_period: 8s");
    let wishes = Wishes {
        compose: &compose,
        ..Wishes::default()
    };
    let mut scene = Scene::new(CUTOVER, &wishes);
    let old = scene.push(&ImageSpec::new("old").env("STOP_DELAY_MS", "4000"));
    let new = scene.push(&ImageSpec::new("new"));
    drop(scene.deploy(&old).expect("succeeded"));
    let before = scene.container();
    drop(scene.begin(&new));
    let id = before["Id"].as_str().expect("an id").to_owned();
    scene.wait_until("the old container is told to stop", || was_signalled(&id));
    scene.kill_daemon();
    scene.start_daemon();
    scene.wait_until("the deployment ends", || {
        scene.history()[0]["outcome"].is_string()
    });
    assert_eq!(scene.history()[0]["outcome"], "rolled_back");
    let found = scene.container();
    assert_eq!(found["Id"], before["Id"]);
    assert_eq!(found["State"]["Running"], true, "{found:#}");
    // It did end, after it was looked at and found running.
    assert_ne!(found["State"]["StartedAt"], before["State"]["StartedAt"]);
    scene.wait_until("it answers", || scene.serves() == "old");
}

/// Whether Docker has sent the container a signal.
pub(crate) fn was_signalled(id: &str) -> bool {
    let world = cutover_testkit::world();
    let told = world
        .packages
        .command("docker")
        .args([
            "--host",
            &world.docker_host,
            "events",
            "--since",
            "10m",
            "--until",
            "0s",
        ])
        .args([
            "--filter",
            &format!("container={id}"),
            "--filter",
            "event=kill",
        ])
        .output();
    !told.expect("docker runs").stdout.is_empty()
}
