//! One deployment of a service at a time; the newest waits; what has not switched can be cancelled.

use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{Ended, Scene};

use crate::{CUTOVER, identity};

/// The file that [`held`] waits for.
const GATE: &str = "/healthy";

/// A release that runs and becomes healthy only when [`let_go`] says so.
fn held(version: &str) -> ImageSpec {
    ImageSpec::new(version).env("HEALTHY_WITH", GATE)
}

fn let_go(scene: &Scene) {
    let path = format!("/write?path={GATE}&text=now");
    scene.wait_until("the release takes the word", || {
        scene.ask(&path) == "written"
    });
}

fn wait_for_status(scene: &Scene, status: &str) {
    scene.wait_until(status, || {
        let history = scene.history();
        history
            .first()
            .is_some_and(|newest| newest["status"] == *status)
    });
}

fn newest(scene: &Scene) -> String {
    scene.history()[0]["id"].as_str().expect("an id").to_owned()
}

#[test]
fn the_newest_of_those_that_wait_is_the_one_that_runs() {
    let mut scene = Scene::usual(CUTOVER);
    let [first, second, third] =
        ["first", "second", "third"].map(|version| scene.push(&ImageSpec::new(version)));
    // The first stays where it is as long as the registry is silent.
    scene.registry.hold().expect("a silent registry");
    let one = scene.begin(&first);
    wait_for_status(&scene, "pulling");
    let two = scene.begin(&second);
    wait_for_status(&scene, "queued");
    assert_eq!(scene.history()[1]["status"], "pulling");
    let three = scene.begin(&third);
    scene.wait_until("the third takes the place of the second", || {
        let history = scene.history();
        history.len() == 3 && history[1]["outcome"] == "cancelled"
    });
    scene.registry.go_on().expect("a registry");
    let [one, two, three] =
        [one, two, three].map(|client| Ended::of(&client.wait_with_output().expect("an end")));
    drop(one.expect("succeeded"));
    let superseded = two.expect("cancelled");
    assert!(superseded.stdout.contains("superseded"), "{superseded:#?}");
    drop(three.expect("succeeded"));
    assert_eq!(scene.serves(), "third");
}

#[test]
fn a_deployment_that_has_not_switched_can_be_cancelled() {
    let mut scene = Scene::usual(CUTOVER);
    let good = scene.push(&ImageSpec::new("good"));
    let next = scene.push(&ImageSpec::new("next"));
    drop(scene.deploy(&good).expect("succeeded"));
    let before = identity(&scene);
    scene.registry.hold().expect("a silent registry");
    let client = scene.begin(&next);
    wait_for_status(&scene, "pulling");
    assert_eq!(scene.run(&["cancel", &newest(&scene)]).exit, 0);
    drop(Ended::of(&client.wait_with_output().expect("an end")).expect("cancelled"));
    assert_eq!(identity(&scene), before);
}

#[test]
fn a_deployment_that_has_switched_cannot_be_cancelled() {
    let mut scene = Scene::usual(CUTOVER);
    let late = scene.push(&held("late"));
    let client = scene.begin(&late);
    wait_for_status(&scene, "verifying");
    let refused = scene.run(&["cancel", &newest(&scene)]);
    assert_eq!(refused.exit, 1, "{refused:#?}");
    let_go(&scene);
    drop(Ended::of(&client.wait_with_output().expect("an end")).expect("succeeded"));
}

#[test]
fn a_client_that_goes_away_changes_nothing() {
    let mut scene = Scene::usual(CUTOVER);
    let late = scene.push(&held("late"));
    let mut client = scene.begin(&late);
    wait_for_status(&scene, "verifying");
    client.kill().expect("a kill");
    client.wait().expect("an end");
    let_go(&scene);
    wait_for_status(&scene, "succeeded");
    assert_eq!(scene.serves(), "late");
}

#[test]
fn stopping_the_daemon_finishes_what_has_switched() {
    let mut scene = Scene::usual(CUTOVER);
    let late = scene.push(&held("late"));
    let client = scene.begin(&late);
    wait_for_status(&scene, "verifying");
    scene.stop_daemon_while(|| {
        scene.wait_until("the daemon is stopping", || {
            let log = std::fs::read_to_string(scene.log()).expect("a log");
            log.contains("stopping: no new deployments")
        });
        let_go(&scene);
    });
    drop(Ended::of(&client.wait_with_output().expect("an end")).expect("succeeded"));
    assert_eq!(scene.serves(), "late");
    scene.start_daemon();
    wait_for_status(&scene, "succeeded");
}

#[test]
fn a_stop_that_does_not_wait_for_the_end_is_answered_as_such_and_the_next_start_puts_it_right() {
    let mut scene = Scene::usual(CUTOVER);
    let configuration = std::fs::read_to_string(scene.configuration()).expect("a configuration");
    let hasty = configuration.replace("[server]\n", "[server]\nshutdown_deadline = \"0s\"\n");
    scene.write("cutover.toml", &hasty);
    scene.stop_daemon();
    scene.start_daemon();
    let good = scene.push(&ImageSpec::new("good"));
    let late = scene.push(&held("late"));
    drop(scene.deploy(&good).expect("succeeded"));
    let before = identity(&scene).0;
    let (status, answer) = std::thread::scope(|threads| {
        let waiting = threads.spawn(|| scene.post(&late));
        wait_for_status(&scene, "verifying");
        scene.stop_daemon();
        waiting.join().expect("an answer")
    });
    assert_eq!(
        (status, answer["code"].as_str()),
        (500, Some("not_ended")),
        "{answer:#}"
    );
    assert!(answer["deployment"]["outcome"].is_null(), "{answer:#}");
    assert_eq!(answer["deployment"]["nothing_changed"], false);
    scene.start_daemon();
    wait_for_status(&scene, "rolled_back");
    assert_eq!(identity(&scene).0, before);
}

#[test]
fn stopping_the_daemon_gives_up_what_has_not_switched() {
    let mut scene = Scene::usual(CUTOVER);
    let good = scene.push(&ImageSpec::new("good"));
    let next = scene.push(&ImageSpec::new("next"));
    drop(scene.deploy(&good).expect("succeeded"));
    let before = identity(&scene);
    scene.registry.hold().expect("a silent registry");
    let client = scene.begin(&next);
    wait_for_status(&scene, "pulling");
    scene.stop_daemon();
    let ended = Ended::of(&client.wait_with_output().expect("an end")).expect("failed");
    assert_eq!(ended.cause(), "shutting_down");
    assert_eq!(identity(&scene), before);
}
