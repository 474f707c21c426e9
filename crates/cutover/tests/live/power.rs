//! Power cuts, and crashes and restarts of Docker, in the middle of a deployment: on an engine that the
//! test has for itself.

use cutover_testkit::engine::Engine;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{Scene, Wishes};
use serde_json::Value;

use crate::{CUTOVER, on_own_engine};

/// A scene on an engine of its own, where `old` runs and `slow` is being verified.
struct Trial {
    scene: Scene,
    old: Value,
}

impl Trial {
    fn begin(engine: &Engine) -> Self {
        let socket = engine.socket();
        let mut scene = Scene::new(
            CUTOVER,
            &Wishes {
                docker: Some(&socket),
                ..Wishes::default()
            },
        );
        let old = scene.push(&ImageSpec::new("old"));
        let slow = scene.push(&ImageSpec::new("slow").env("START_DELAY_MS", "600000"));
        drop(scene.deploy(&old).expect("succeeded"));
        let old = scene.container()["Id"].clone();
        drop(scene.begin(&slow));
        scene.wait_until("the new release is being verified", || {
            scene.history()[0]["status"] == "verifying"
        });
        Self { scene, old }
    }

    /// The old container runs again, under its name and policy, alone; and the record says so.
    fn expect_rolled_back(&self) {
        self.scene.wait_until("the deployment ends", || {
            self.scene.history()[0]["outcome"].is_string()
        });
        let newest = &self.scene.history()[0];
        assert_eq!(
            newest["outcome"],
            "rolled_back",
            "{newest:#}\n{}",
            self.scene.log_tail()
        );
        let container = self.scene.container();
        assert_eq!(container["Id"], self.old);
        assert_eq!(container["State"]["Running"], true);
        assert_eq!(
            container["HostConfig"]["RestartPolicy"]["Name"],
            "unless-stopped"
        );
        assert_eq!(
            container["Name"],
            format!("/{}-app-1", self.scene.project())
        );
        self.scene
            .wait_until("the service answers", || self.scene.serves() == "old");
    }
}

#[test]
fn after_a_power_cut_during_the_trial_docker_itself_starts_the_old_release() {
    on_own_engine(|engine| {
        let mut trial = Trial::begin(engine);
        // The machine goes: cutover and everything of Docker, at once.
        trial.scene.kill_daemon();
        engine.kill().expect("a power cut");
        engine.restart().expect("the machine boots");
        // Docker comes up before cutover does, and already serves the old release.
        trial
            .scene
            .wait_until("the old release answers", || trial.scene.serves() == "old");
        trial.scene.start_daemon();
        trial.expect_rolled_back();
    });
}

#[test]
fn a_crash_of_docker_during_the_trial_is_rolled_back() {
    on_own_engine(|engine| {
        let trial = Trial::begin(engine);
        engine.kill_daemon().expect("a crash");
        engine.restart().expect("Docker comes back");
        trial.expect_rolled_back();
    });
}

#[test]
fn a_restart_of_docker_during_the_trial_is_rolled_back() {
    on_own_engine(|engine| {
        let trial = Trial::begin(engine);
        engine.stop().expect("a stop");
        engine.restart().expect("Docker comes back");
        trial.expect_rolled_back();
    });
}
