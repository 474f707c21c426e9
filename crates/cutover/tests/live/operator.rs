//! When the way back is gone: an operator is asked, everybody is told, and nothing goes on by itself.

use cutover_testkit::faults::Fault;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{Ended, Network, PROMPT_PROBE, Scene, Wishes};

use crate::{CUTOVER, ends_the_new_container};

/// Docker stops the new container no more, so that the old one cannot be put back.
#[test]
fn a_rollback_that_fails_asks_for_an_operator() {
    let mut scene = Scene::new(
        CUTOVER,
        &Wishes {
            network: Network::Loopback,
            ..Wishes::default()
        },
    );
    let good = scene.push(&ImageSpec::new("good"));
    let bad = scene.push(&ImageSpec::new("bad").env("NEVER_HEALTHY", "1"));
    drop(scene.deploy(&good).expect("succeeded"));
    scene
        .docker
        .arm_every(ends_the_new_container(), Fault::Error);
    let client = scene.begin(&bad);
    scene.wait_until("it is being verified", || {
        scene.history()[0]["status"] == "verifying"
    });
    let waits = scene.begin(&good);
    scene.wait_until("another one waits", || scene.history().len() == 3);
    // Somebody freezes it, which ends the trial.
    let new = scene.containers().into_iter().find(|one| {
        let name = one["Name"].as_str().unwrap_or_default();
        !name.contains("_cutover-")
    });
    let new = new.expect("the new container")["Id"].clone();
    let path = format!("/containers/{}/pause", new.as_str().expect("an id"));
    scene.call_docker("POST", &path);
    let ended = Ended::of(&client.wait_with_output().expect("an end")).expect("rollback_failed");
    assert_eq!(ended.cause(), "rollback_failed");
    // Nothing goes on by itself, not even what was accepted before.
    let waited = Ended::of(&waits.wait_with_output().expect("an end")).expect("cancelled");
    assert!(
        waited.deployment()["cause"]["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("needs an operator")),
        "{waited:#?}"
    );
    let (_, ready) = scene.get("/readyz").expect("an answer");
    assert_eq!(ready["needs_operator"][0], "app", "{ready:#}");
    assert!(
        scene.run(&["status"]).stdout.contains("operator"),
        "{}",
        scene.run(&["status"]).stdout
    );

    // A signed request is refused; somebody on the machine may deploy, and a success clears the mark.
    let secret = scene.secret_file().display().to_string();
    let refused = scene.run(&[
        "deploy",
        "app",
        &good,
        "--url",
        &scene.url(),
        "--secret-file",
        &secret,
        "--json",
    ]);
    assert_eq!(
        refused.body["code"], "operator_action_required",
        "{refused:#?}"
    );
    // Until then the daemon goes on trying, and may be quicker.
    scene.docker.disarm();
    let ended = scene.deploy(&good);
    assert!(
        ["succeeded", "unchanged"].contains(&ended.outcome()),
        "{ended:#?}"
    );
    assert_eq!(scene.serves(), "good");
    let (_, ready) = scene.get("/readyz").expect("an answer");
    assert_eq!(ready["services_needing_operator"], 0, "{ready:#}");
}

/// Docker does not stop the new container, so that the old one cannot be put back: it stays, put aside, and is
/// the only one that was ever proven.
#[test]
fn a_container_that_was_put_aside_stays_until_a_newer_one_is_proven() {
    let wishes = Wishes {
        service: PROMPT_PROBE,
        ..Wishes::default()
    };
    let mut scene = Scene::new(CUTOVER, &wishes);
    let good = scene.push(&ImageSpec::new("good"));
    let sick = ImageSpec::new("bad").env("NEVER_HEALTHY", "1");
    let (bad, worse) = (scene.push(&sick), scene.push(&sick.env("VERSION", "worse")));
    drop(scene.deploy(&good).expect("succeeded"));
    let proven = scene.container()["Id"].as_str().expect("an id").to_owned();

    scene
        .docker
        .arm_every(ends_the_new_container(), Fault::Error);
    let ended = scene.deploy(&bad).expect("rollback_failed");
    assert_eq!(ended.cause(), "rollback_failed");
    // Three attempts to stop it; nothing that runs is removed.
    let calls = scene.docker.calls();
    assert_eq!(scene.docker.struck(), 3, "{calls:#?}");
    assert!(
        !calls.iter().any(|call| call.starts_with("DELETE ")),
        "{calls:#?}"
    );
    // A daemon that is restarted leaves what runs alone.
    scene.kill_daemon();
    scene.docker.disarm();
    scene.start_daemon();
    let container = |id: &str| {
        scene
            .ask_docker(&format!("/containers/{id}/json"))
            .unwrap_or_default()
    };
    assert!(
        container(&proven)["Name"]
            .as_str()
            .is_some_and(|name| name.contains("_cutover-")),
        "{}",
        container(&proven)["Name"]
    );

    // What fails now goes back to what ran, which was never healthy, and takes nothing away.
    drop(scene.deploy(&worse).expect("rolled_back"));
    assert_eq!(scene.serves(), "bad");
    assert_eq!(container(&proven)["Id"], *proven, "it is still there");
    // It is not what comes back after a power cut in the next trial.
    assert_eq!(
        container(&proven)["HostConfig"]["RestartPolicy"]["Name"],
        "no"
    );
    // What was committed last is what to go back to, although it is not what runs. An operator who asks for it while
    // another deployment runs gets it afterwards.
    let another = scene.begin(&worse);
    scene.wait_until("another deployment runs", || {
        scene.history()[0]["status"] == "verifying"
    });
    let back = scene.run(&["rollback", "app", "--json"]);
    assert_eq!(back.outcome(), "succeeded", "{back:#?}");
    drop(Ended::of(&another.wait_with_output().expect("an end")).expect("rolled_back"));
    assert_eq!(scene.serves(), "good");
    assert_eq!(scene.containers().len(), 1, "{:#?}", scene.containers());
}

#[test]
fn a_second_daemon_on_the_same_state_does_not_start() {
    let scene = Scene::usual(CUTOVER);
    let second = std::process::Command::new(CUTOVER)
        .args(["serve", "--config"])
        .arg(scene.configuration())
        .output()
        .expect("it runs");
    assert_eq!(second.status.code(), Some(1));
    let text = String::from_utf8_lossy(&second.stderr);
    assert!(text.contains("another cutover daemon"), "{text}");
    assert!(scene.daemon_runs());
}
