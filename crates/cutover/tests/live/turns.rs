//! One deployment of a service at a time; the newest waits; what has not switched can be cancelled.

use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{Ended, Scene, Wishes};

use crate::{CUTOVER, identity};

/// A release that takes its time to become healthy.
fn slow(version: &str) -> ImageSpec {
    ImageSpec::new(version).env("START_DELAY_MS", "1500")
}

fn status_of_newest(scene: &Scene) -> String {
    scene
        .history()
        .first()
        .and_then(|newest| newest["status"].as_str().map(str::to_owned))
        .unwrap_or_default()
}

#[test]
fn the_newest_of_those_that_wait_is_the_one_that_runs() {
    let mut scene = Scene::usual(CUTOVER);
    let first = scene.push(&slow("first"));
    let second = scene.push(&ImageSpec::new("second"));
    let third = scene.push(&ImageSpec::new("third"));
    let one = scene.begin(&first);
    scene.wait_until("the first is being verified", || {
        status_of_newest(&scene) == "verifying"
    });
    let two = scene.begin(&second);
    scene.wait_until("the second waits", || {
        status_of_newest(&scene) == "queued" && scene.history().len() == 2
    });
    let three = scene.begin(&third);
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
    let large = scene.push(&ImageSpec::new("large").extra_layer_bytes(400 << 20));
    drop(scene.deploy(&good).expect("succeeded"));
    let before = identity(&scene);
    let client = scene.begin(&large);
    scene.wait_until("the pull has begun", || {
        status_of_newest(&scene) == "pulling"
    });
    let id = scene.history()[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(scene.run(&["cancel", &id]).exit, 0);
    drop(Ended::of(&client.wait_with_output().expect("an end")).expect("cancelled"));
    assert_eq!(identity(&scene), before);
}

#[test]
fn a_deployment_that_has_switched_cannot_be_cancelled() {
    let mut scene = Scene::usual(CUTOVER);
    let late = scene.push(&slow("late"));
    let client = scene.begin(&late);
    scene.wait_until("it is being verified", || {
        status_of_newest(&scene) == "verifying"
    });
    let id = scene.history()[0]["id"].as_str().expect("an id").to_owned();
    let refused = scene.run(&["cancel", &id]);
    assert_eq!(refused.exit, 1, "{refused:#?}");
    drop(Ended::of(&client.wait_with_output().expect("an end")).expect("succeeded"));
}

#[test]
fn a_client_that_goes_away_changes_nothing() {
    let mut scene = Scene::usual(CUTOVER);
    let late = scene.push(&slow("late"));
    let mut client = scene.begin(&late);
    scene.wait_until("it is being verified", || {
        status_of_newest(&scene) == "verifying"
    });
    client.kill().expect("a kill");
    client.wait().expect("an end");
    scene.wait_until("it ends all the same", || {
        status_of_newest(&scene) == "succeeded"
    });
    assert_eq!(scene.serves(), "late");
}

#[test]
fn stopping_the_daemon_finishes_what_has_switched() {
    let mut scene = Scene::usual(CUTOVER);
    let late = scene.push(&slow("late"));
    let client = scene.begin(&late);
    scene.wait_until("it is being verified", || {
        status_of_newest(&scene) == "verifying"
    });
    scene.stop_daemon();
    drop(Ended::of(&client.wait_with_output().expect("an end")).expect("succeeded"));
    assert_eq!(scene.serves(), "late");
    scene.start_daemon();
    assert_eq!(status_of_newest(&scene), "succeeded");
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
    let late = scene.push(&slow("late"));
    drop(scene.deploy(&good).expect("succeeded"));
    let before = identity(&scene).0;
    let (status, answer) = std::thread::scope(|threads| {
        let waiting = threads.spawn(|| scene.post(&late));
        scene.wait_until("it is being verified", || {
            status_of_newest(&scene) == "verifying"
        });
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
    scene.wait_until("it is put right", || {
        status_of_newest(&scene) == "rolled_back"
    });
    assert_eq!(identity(&scene).0, before);
}

#[test]
fn stopping_the_daemon_gives_up_what_has_not_switched() {
    let mut scene = Scene::new(CUTOVER, &Wishes::default());
    let good = scene.push(&ImageSpec::new("good"));
    let large = scene.push(&ImageSpec::new("large").extra_layer_bytes(400 << 20));
    drop(scene.deploy(&good).expect("succeeded"));
    let before = identity(&scene);
    let client = scene.begin(&large);
    scene.wait_until("the pull has begun", || {
        status_of_newest(&scene) == "pulling"
    });
    scene.stop_daemon();
    let ended = Ended::of(&client.wait_with_output().expect("an end")).expect("failed");
    assert_eq!(ended.cause(), "shutting_down");
    assert_eq!(identity(&scene), before);
}
