//! A rollback restores what ran before in the state in which it ran before: where that was a bad one, nothing is
//! worse than it was, and nobody is locked out.

use std::time::Duration;

use cutover_testkit::images::{HealthCheck, ImageSpec};
use cutover_testkit::scene::{Network, Scene, Wishes};

use crate::{CUTOVER, said};

/// A scene in which `old` was brought up by hand, and is as bad as it is.
fn brought_up_by_hand(service: &str, old: &ImageSpec) -> Scene {
    let wishes = Wishes {
        service,
        network: Network::Loopback,
        ..Wishes::default()
    };
    let mut scene = Scene::new(CUTOVER, &wishes);
    let old = scene.push(old);
    scene.write("project/.env", &format!("APP_IMAGE_TAG={old}\n"));
    scene.compose(&["up", "-d"]);
    scene
}

/// A new release that fails is rolled back to the very container, in the state in which it was; and whoever signs
/// requests may send the next one.
#[track_caller]
fn expect_rolled_back_and_not_locked_out(scene: &mut Scene, state: &str) {
    let old = scene.container()["Id"].clone();
    let bad = scene.push(&ImageSpec::new("bad").env("EXIT_AT_ONCE", "1"));
    let good = scene.push(&ImageSpec::new("good").health_check(HealthCheck::default()));
    let ended = scene.deploy(&bad).expect("rolled_back");
    let said = said(ended.deployment());
    let words = format!("in the state it was in before: {state}");
    assert!(said.contains(&words), "{said}");
    assert_eq!(scene.container()["Id"], old);
    let policy = &scene.container()["HostConfig"]["RestartPolicy"]["Name"];
    assert_eq!(*policy, "unless-stopped");
    let (_, service) = scene.get("/v1/services/app").expect("an answer");
    assert!(service["needs_operator"].is_null(), "{service:#}");
    let (url, secret) = (scene.url(), scene.secret_file().display().to_string());
    let signed = [
        "deploy",
        "app",
        &good,
        "--url",
        &url,
        "--secret-file",
        &secret,
        "--json",
    ];
    drop(scene.run(&signed).expect("succeeded"));
    assert_eq!(scene.serves(), "good");
}

fn restarts(scene: &Scene) -> Option<u64> {
    scene.container()["RestartCount"].as_u64()
}

#[test]
fn a_release_that_crash_looped_crash_loops_again_after_a_rollback() {
    let looping = ImageSpec::new("old").env("EXIT_AT_ONCE", "1");
    let mut scene = brought_up_by_hand("monitor = \"2s\"\n", &looping);
    // By then Docker waits longer between two starts than anything takes here.
    scene.wait_until("it restarts and restarts", || restarts(&scene) >= Some(4));
    expect_rolled_back_and_not_locked_out(&mut scene, "restarting");
}

/// At the moment in which it is looked at, it may well run.
#[test]
fn a_release_that_crash_looped_slowly_is_not_asked_for_more_after_a_rollback() {
    let looping = ImageSpec::new("old").env("EXIT_AFTER_MS", "1000");
    let mut scene = brought_up_by_hand("monitor = \"3s\"\n", &looping);
    scene.wait_until("it has been restarted and runs", || {
        let state = &scene.container()["State"];
        restarts(&scene) >= Some(2) && state["Restarting"] == false
    });
    expect_rolled_back_and_not_locked_out(&mut scene, "restarting");
}

#[test]
fn a_release_that_was_still_starting_is_starting_again_after_a_rollback() {
    let check = HealthCheck {
        start_period: Duration::from_secs(600),
        ..HealthCheck::default()
    };
    let starting = ImageSpec::new("old")
        .env("NEVER_HEALTHY", "1")
        .health_check(check);
    let mut scene = brought_up_by_hand("healthy_deadline = \"2s\"\n", &starting);
    expect_rolled_back_and_not_locked_out(&mut scene, "starting");
}

#[test]
fn a_release_that_was_unhealthy_is_not_asked_for_more_after_a_rollback() {
    let sick = ImageSpec::new("old")
        .env("NEVER_HEALTHY", "1")
        .health_check(HealthCheck::default());
    let mut scene = brought_up_by_hand("monitor = \"1s\"\n", &sick);
    scene.wait_until("it is unhealthy", || {
        scene.container()["State"]["Health"]["Status"] == "unhealthy"
    });
    expect_rolled_back_and_not_locked_out(&mut scene, "unhealthy");
}

/// Docker calls it running; the service's own probe never passed, in whichever word the record puts that.
#[test]
fn a_release_that_the_probe_never_found_healthy_is_not_asked_for_more_after_a_rollback() {
    let service = "health.http = { path = \"/healthz\", port = 8080, interval = \"50ms\" }\nhealthy_deadline = \"2s\"\n";
    let sick = ImageSpec::new("old").env("NEVER_HEALTHY", "1");
    let mut scene = brought_up_by_hand(service, &sick);
    scene.wait_until("it answers", || scene.serves() == "old");
    expect_rolled_back_and_not_locked_out(&mut scene, "");
}
