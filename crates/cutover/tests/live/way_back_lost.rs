//! The way back is lost in the middle of the trial: a checkout moves what the old container mounts, somebody prunes
//! it, the daemon is restarted. The previous image comes back all the same, without any registry.

use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{SERVICE, Scene, Wishes};
use serde_json::Value;

use crate::{CUTOVER, newest_ended, said};

/// The service with a page of the project in it, mounted from there.
fn with_page(source: &str) -> String {
    format!("{SERVICE}    volumes: [\"{source}:/page.txt:ro\"]\n")
}

/// A trial under way, whose old container mounts a file that was moved since it began.
struct Lost {
    scene: Scene,
    old: Value,
    new: String,
}

impl Lost {
    fn in_the_trial() -> Self {
        let wishes = Wishes {
            compose: &with_page("./page.txt"),
            ..Wishes::default()
        };
        let mut scene = Scene::new(CUTOVER, &wishes);
        scene.write("project/page.txt", "a page");
        let old = scene.push(&ImageSpec::new("old"));
        let slow = scene.push(&ImageSpec::new("slow").env("START_DELAY_MS", "600000"));
        drop(scene.deploy(&old).expect("succeeded"));
        let old = scene.container();
        drop(scene.begin(&slow));
        scene.wait_until("the new release is being verified", || {
            scene.history()[0]["status"] == "verifying"
        });
        let project = scene.project_directory();
        std::fs::rename(project.join("page.txt"), project.join("moved.txt")).expect("moved");
        scene.write_compose(&with_page("./moved.txt"));
        scene.registry.stop().expect("a stop");
        let ids = scene.containers().into_iter().map(|one| one["Id"].clone());
        let new = ids
            .into_iter()
            .find(|id| *id != old["Id"])
            .expect("a new one");
        let new = new.as_str().expect("an id").to_owned();
        Self { scene, old, new }
    }

    fn call(&self, method: &str, path: &str) {
        let (status, answer) = self.scene.call_docker(method, path).expect("an answer");
        assert!(status < 300, "{path}: {status} {answer}");
    }

    /// The new release fails.
    fn fail(&self) {
        self.call("POST", &format!("/containers/{}/kill", self.new));
    }

    #[track_caller]
    fn expect_second_best(&self) {
        let deployment = newest_ended(&self.scene);
        let said = said(&deployment);
        assert_eq!(deployment["outcome"], "rolled_back", "{said}");
        assert!(said.contains("in the present definition"), "{said}");
        let scene = &self.scene;
        scene.wait_until("the old release answers", || scene.serves() == "old");
        let found = scene.container();
        assert_ne!(found["Id"], self.old["Id"]);
        for field in ["Image", "Name"] {
            assert_eq!(found[field], self.old[field]);
        }
        let policy = &found["HostConfig"]["RestartPolicy"];
        assert_eq!(*policy, self.old["HostConfig"]["RestartPolicy"]);
        assert_eq!(scene.ask("/file?path=/page.txt"), "a page");
        let lost = scene.project_directory().join("page.txt");
        assert!(!lost.exists(), "it was made up");
    }
}

#[test]
fn a_mounted_file_that_moves_in_the_trial_does_not_keep_the_previous_image_from_coming_back() {
    let lost = Lost::in_the_trial();
    lost.fail();
    lost.expect_second_best();
}

#[test]
fn an_old_container_that_is_gone_with_what_it_mounted_comes_back_by_its_image() {
    let lost = Lost::in_the_trial();
    let old = lost.old["Id"].as_str().expect("an id");
    lost.call("DELETE", &format!("/containers/{old}"));
    lost.fail();
    lost.expect_second_best();
}

#[test]
fn a_restarted_daemon_brings_the_previous_image_back_where_the_old_container_cannot_start() {
    let mut lost = Lost::in_the_trial();
    lost.scene.kill_daemon();
    lost.scene.start_daemon();
    lost.expect_second_best();
}
