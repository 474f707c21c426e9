//! The previous container during and after the trial of a new one.

use cutover_testkit::faults::Fault;
use cutover_testkit::images::{HealthCheck, ImageSpec};
use cutover_testkit::scene::{Ended, Scene, Wishes};

use crate::{CUTOVER, ends_the_new_container, identity};

/// What the failed release brought along, or left out, is not asked of the previous one.
#[test]
fn the_previous_container_is_proven_by_its_own_health_check() {
    let checked = |version| ImageSpec::new(version).health_check(HealthCheck::default());
    for (old, new) in [
        (
            ImageSpec::new("good"),
            checked("bad").env("NEVER_HEALTHY", "1"),
        ),
        (
            checked("good"),
            ImageSpec::new("bad").env("EXIT_AT_ONCE", "1"),
        ),
    ] {
        let mut scene = Scene::new(
            CUTOVER,
            &Wishes {
                service: "monitor = \"1s\"\n",
                ..Wishes::default()
            },
        );
        let (good, bad) = (scene.push(&old), scene.push(&new));
        drop(scene.deploy(&good).expect("succeeded"));
        let (id, _) = identity(&scene);
        drop(scene.deploy(&bad).expect("rolled_back"));
        assert_eq!(scene.container()["Id"], id);
        let health = &scene.container()["State"]["Health"]["Status"];
        assert!(health.is_null() || health == "healthy", "{health}");
    }
}

/// Two containers of one service would write to the same volumes.
#[test]
fn a_previous_container_that_is_started_during_the_trial_ends_it() {
    let compose =
        "name: {project}\nservices:\n  app:\n    image: {image}\n    volumes: [\"./gate:/gate\"]\n";
    let mut scene = Scene::new(
        CUTOVER,
        &Wishes {
            compose,
            ..Wishes::default()
        },
    );
    let good = scene.push(&ImageSpec::new("good"));
    let held = scene.push(&ImageSpec::new("held").env("HEALTHY_WITH", "/gate/open"));
    drop(scene.deploy(&good).expect("succeeded"));
    let (id, _) = identity(&scene);
    let client = scene.begin(&held);
    scene.wait_until("it is being verified", || {
        scene.history()[0]["status"] == "verifying"
    });
    let path = format!("/containers/{}/start", id.as_str().expect("an id"));
    drop(scene.call_docker("POST", &path));
    scene.write("project/gate/open", "");
    let ended = Ended::of(&client.wait_with_output().expect("an end")).expect("rolled_back");
    assert_eq!(ended.cause(), "interfered");
    assert_eq!(scene.container()["Id"], id);
    assert_eq!(scene.container()["State"]["Running"], true);
}

#[test]
fn what_was_begun_for_a_service_that_is_not_configured_any_more_is_put_right() {
    let mut scene = Scene::usual(CUTOVER);
    let good = scene.push(&ImageSpec::new("good"));
    let slow = scene.push(&ImageSpec::new("slow").env("START_DELAY_MS", "600000"));
    drop(scene.deploy(&good).expect("succeeded"));
    let (id, _) = identity(&scene);
    drop(scene.begin(&slow));
    scene.wait_until("it is being verified", || {
        scene.history()[0]["status"] == "verifying"
    });
    scene.kill_daemon();
    let path = scene.configuration();
    let text = std::fs::read_to_string(&path).expect("a configuration");
    let renamed = text
        .replace(
            "[services.app]",
            "[services.other]\ncompose_service = \"app\"",
        )
        .replace("services = [\"app\"]", "services = [\"other\"]");
    assert_ne!(renamed, text);
    std::fs::write(&path, renamed).expect("written");
    scene.start_daemon();
    scene.wait_until("the old container runs, alone", || {
        let all = scene.containers();
        all.len() == 1 && all[0]["Id"] == id && all[0]["State"]["Running"] == true
    });
    scene.wait_until("it answers", || scene.serves() == "good");
    assert_eq!(scene.history()[0]["outcome"], "rolled_back");
}

/// It has no restart policy, and the old one, put aside, would come up in its place after a power cut.
#[test]
fn what_a_failed_rollback_left_running_is_deployed_anew() {
    let wishes = Wishes {
        service: "health.http = { path = \"/healthz\", port = 8080, interval = \"50ms\" }\nhealthy_deadline = \"2s\"\n",
        ..Wishes::default()
    };
    let mut scene = Scene::new(CUTOVER, &wishes);
    let good = scene.push(&ImageSpec::new("good"));
    let late = scene.push(&ImageSpec::new("late").env("START_DELAY_MS", "4000"));
    drop(scene.deploy(&good).expect("succeeded"));
    scene
        .docker
        .arm_every(ends_the_new_container(), Fault::Error);
    drop(scene.deploy(&late).expect("rollback_failed"));
    scene.docker.disarm();
    scene.wait_until("it is healthy in the end", || scene.serves() == "late");
    // With the time that it needs it would pass, but nobody has seen that.
    let ended = scene.deploy(&late);
    assert_ne!(ended.outcome(), "unchanged", "{ended:#?}");
}

/// What ran before cutover came is a release, and so is what somebody started by hand.
#[test]
fn what_ran_before_the_first_deployment_can_be_gone_back_to() {
    let mut scene = Scene::usual(CUTOVER);
    let (zero, one) = (
        scene.push(&ImageSpec::new("zero")),
        scene.push(&ImageSpec::new("one")),
    );
    scene.write("project/.env", &format!("APP_IMAGE_TAG={zero}\n"));
    scene.compose(&["up", "-d"]);
    let before = scene.container()["Image"].clone();
    drop(scene.deploy(&one).expect("succeeded"));
    drop(
        scene
            .run(&["rollback", "app", "--json"])
            .expect("succeeded"),
    );
    scene.wait_until("the first release answers", || scene.serves() == "zero");
    assert_eq!(scene.container()["Image"], before);
    // A second one returns.
    drop(
        scene
            .run(&["rollback", "app", "--json"])
            .expect("succeeded"),
    );
    scene.wait_until("the second release answers", || scene.serves() == "one");
}
