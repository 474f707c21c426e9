//! Between the commit and its clean-up: the old container goes only when the new one is seen to run, and the new
//! one proves itself anew if it did not run all along.

use std::sync::atomic::{AtomicUsize, Ordering};

use cutover_testkit::faults::Fault;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::Scene;
use serde_json::Value;

use crate::{CUTOVER, kinds};

/// The old release was replaced by `new`, which is committed; the clean-up has not begun.
struct Committed {
    scene: Scene,
    old: String,
    new: String,
}

impl Committed {
    /// `fault` is what becomes of the first call of the clean-up, and of its repetitions: giving the new container
    /// its restart policy.
    fn reached(new: &ImageSpec, fault: Fault) -> Self {
        let mut scene = Scene::usual(CUTOVER);
        let one = scene.push(&ImageSpec::new("old"));
        let two = scene.push(new);
        drop(scene.deploy(&one).expect("succeeded"));
        let old = scene.container()["Id"].as_str().expect("an id").to_owned();
        // The first update makes Docker start the old one after a power cut.
        let updates = AtomicUsize::new(0);
        let is_first = move |call: &str| {
            call.ends_with("/update") && updates.fetch_add(1, Ordering::Relaxed) > 0
        };
        scene.docker.arm_every(is_first, fault);
        drop(scene.begin(&two));
        scene.wait_until("the clean-up is struck", || scene.docker.struck() > 0);
        let all = scene.containers();
        let new = all.iter().find(|found| found["Id"] != *old);
        let new = new.expect("the new container")["Id"]
            .as_str()
            .expect("an id");
        let new = new.to_owned();
        Self { scene, old, new }
    }

    /// What a restart of Docker does: the new container, without a restart policy, ends, and the old one comes up.
    fn docker_restarts(&self) {
        for (id, what) in [(&self.new, "stop"), (&self.old, "start")] {
            let path = format!("/containers/{id}/{what}");
            let (status, answer) = self.scene.call_docker("POST", &path).expect("an answer");
            assert!(status < 300, "{path}: {status} {answer}");
        }
    }

    fn newest_ended(&self) -> Value {
        let newest = || self.scene.history()[0].clone();
        self.scene
            .wait_until("the deployment ends", || newest()["outcome"].is_string());
        let id = newest()["id"].as_str().expect("an id").to_owned();
        let (_, deployment) = self
            .scene
            .get(&format!("/v1/deployments/{id}"))
            .expect("an answer");
        deployment
    }

    /// The new one cannot run again: the old one does, and an operator is asked.
    fn expect_old_runs(&self) {
        let deployment = self.newest_ended();
        let kinds = kinds(&deployment);
        assert_eq!(deployment["outcome"], "rollback_failed", "{kinds:?}");
        self.scene
            .wait_until("the old one answers", || self.scene.serves() == "old");
        let path = format!("/containers/{}/json", self.old);
        let old = self.scene.ask_docker(&path).expect("it is still there");
        assert_eq!(old["State"]["Running"], true);
        let said = deployment["events"].to_string();
        assert!(
            said.contains("what runs now: the previous container"),
            "{said}"
        );
    }
}

#[test]
fn the_old_container_stays_when_the_new_one_does_not_survive_a_restart_of_docker() {
    let new = ImageSpec::new("new").env("RUNS_ONCE", "1");
    let committed = Committed::reached(&new, Fault::Error);
    committed.docker_restarts();
    committed.scene.docker.disarm();
    committed.expect_old_runs();
}

#[test]
fn a_restarted_daemon_starts_the_old_container_when_the_new_one_does_not_start_again() {
    let new = ImageSpec::new("new").env("RUNS_ONCE", "1");
    let mut committed = Committed::reached(&new, Fault::StrikeBefore);
    committed.docker_restarts();
    committed.scene.docker.disarm();
    committed.scene.start_daemon();
    committed.expect_old_runs();
}

#[test]
fn a_new_container_that_survives_a_restart_of_docker_is_proven_anew() {
    let committed = Committed::reached(&ImageSpec::new("new"), Fault::Error);
    committed.docker_restarts();
    committed.scene.docker.disarm();
    let deployment = committed.newest_ended();
    assert_eq!(
        deployment["outcome"],
        "succeeded",
        "{:?}",
        kinds(&deployment)
    );
    let scene = &committed.scene;
    scene.wait_until("the new one answers", || scene.serves() == "new");
    let container = scene.container();
    assert_eq!(container["Id"], *committed.new);
    assert_eq!(
        container["HostConfig"]["RestartPolicy"]["Name"],
        "unless-stopped"
    );
}
