//! What follows the start of a new container is bounded: its hooks by the trial's deadline, its end by two seconds.

use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{PROMPT_PROBE, SERVICE, Scene, Wishes};

use crate::{CUTOVER, identity, newest_ended, said};

/// A hook that serves on a port of its own, and so never ends.
const ENDLESS: &str =
    "    post_start: [{ command: [\"/shopd\", \"serve\"], environment: { LISTEN: \"8099\" } }]\n";

#[test]
fn a_post_start_hook_that_never_ends_is_bounded_by_the_trials_deadline_and_named() {
    let wishes = Wishes {
        service: PROMPT_PROBE,
        ..Wishes::default()
    };
    let mut scene = Scene::new(CUTOVER, &wishes);
    let (good, next) = (
        scene.push(&ImageSpec::new("good")),
        scene.push(&ImageSpec::new("next")),
    );
    drop(scene.deploy(&good).expect("succeeded"));
    let before = identity(&scene).0;
    scene.write_compose(&format!("{SERVICE}{ENDLESS}"));
    drop(scene.begin(&next));
    scene.wait_until("the new release is being verified", || {
        scene.history()[0]["status"] == "verifying"
    });
    let deployment = newest_ended(&scene);
    assert_eq!(
        deployment["outcome"],
        "rolled_back",
        "{}",
        said(&deployment)
    );
    let detail = deployment["cause"]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("post_start"), "{detail}");
    assert_eq!(identity(&scene).0, before);
    assert_eq!(scene.serves(), "good");
}

/// What failed is not worth the time that a good release gets to end in.
#[test]
fn a_new_container_that_failed_is_not_given_its_whole_grace_period() {
    let wishes = Wishes {
        compose: &SERVICE.replace("stop_grace_period: 5s", "stop_grace_period: 50s"),
        service: PROMPT_PROBE,
        ..Wishes::default()
    };
    let mut scene = Scene::new(CUTOVER, &wishes);
    let good = scene.push(&ImageSpec::new("good"));
    let stubborn = ImageSpec::new("bad")
        .env("NEVER_HEALTHY", "1")
        .env("IGNORE_SIGTERM", "1");
    let bad = scene.push(&stubborn);
    drop(scene.deploy(&good).expect("succeeded"));
    let ended = scene.deploy(&bad).expect("rolled_back");
    // Five seconds of trial and two of grace; fifty are far from both on any machine.
    let outage = ended.deployment()["outage_ms"].as_u64();
    assert!(outage.is_some_and(|outage| outage < 30_000), "{outage:?}");
    assert_eq!(scene.serves(), "good");
}

#[test]
fn a_rollback_that_a_restarted_daemon_goes_on_with_is_no_error() {
    let mut scene = Scene::usual(CUTOVER);
    let good = scene.push(&ImageSpec::new("good"));
    let stubborn = ImageSpec::new("bad").env("EXIT_AFTER_MS", "500");
    let stubborn = stubborn.env("NEVER_HEALTHY", "1");
    let bad = scene.push(&stubborn);
    drop(scene.deploy(&good).expect("succeeded"));
    let before = identity(&scene).0;
    let start_of_old = format!("/containers/{}/start", before.as_str().expect("an id"));
    let is_it = move |call: &str| call.ends_with(&start_of_old);
    scene
        .docker
        .arm_every(is_it, cutover_testkit::faults::Fault::StrikeBefore);
    drop(scene.begin(&bad));
    scene.wait_until("the daemon is struck", || !scene.daemon_runs());
    scene.docker.disarm();
    scene.start_daemon();
    let deployment = newest_ended(&scene);
    assert_eq!(
        deployment["outcome"],
        "rolled_back",
        "{}",
        said(&deployment)
    );
    assert_eq!(identity(&scene).0, before);
    let log = std::fs::read_to_string(scene.log()).expect("a log");
    let errors: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(" ERROR "))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
}
