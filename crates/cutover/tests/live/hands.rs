//! Somebody types something in the middle of a deployment: what they made runs on, and the record names it.

use std::process::Child;

use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{self, Ended, PROMPT_PROBE, Scene, Wishes};
use serde_json::Value;

use crate::door::{Door, Held, Moment, path_ends_with};
use crate::{CUTOVER, identity, said};

#[test]
fn what_somebody_created_anew_in_a_failing_trial_runs_on_and_is_named_by_the_record() {
    let wishes = Wishes {
        service: PROMPT_PROBE,
        ..Wishes::default()
    };
    let mut scene = Scene::new(CUTOVER, &wishes);
    let good = scene.push(&ImageSpec::new("old"));
    let bad = scene.push(&ImageSpec::new("bad").env("NEVER_HEALTHY", "1"));
    drop(scene.deploy(&good).expect("succeeded"));
    let client = scene.begin(&bad);
    scene.wait_until("the new release is being verified", || {
        scene.history()[0]["status"] == "verifying"
    });
    // The env file names the old release. Compose removes the old container and the new one.
    scene.compose(&["up", "-d", "--force-recreate"]);
    let made = the_one_that_runs(&scene);
    let ended = Ended::of(&client.wait_with_output().expect("an end"));
    expect_left_alone(&scene, &made, &ended);
}

/// It was staged, and has its name already.
#[test]
fn what_somebody_created_anew_before_the_old_container_is_stopped_runs_on_and_is_named_by_the_record()
 {
    let (door, mut scene) = behind_a_door(scene::SERVICE);
    let next = with_two_releases(&mut scene);
    let stop = |call: &str| path_ends_with(call, "/stop");
    let expected = door.hold(Moment::Before, stop);
    let client = scene.begin(&next);
    let held = expected.wait();
    scene.compose(&["up", "-d", "--force-recreate"]);
    let made = the_one_that_runs(&scene);
    held.pass();
    let ended = Ended::of(&client.wait_with_output().expect("an end"));
    expect_left_alone(&scene, &made, &ended);
}

/// Somebody is quicker: the old container is created again beside what they made, and goes.
#[test]
fn what_somebody_creates_while_the_old_container_is_created_again_runs_on_alone() {
    let (door, mut scene) = behind_a_door(scene::SERVICE);
    let good = scene.push(&ImageSpec::new("old"));
    let slow = scene.push(&ImageSpec::new("slow").env("START_DELAY_MS", "600000"));
    drop(scene.deploy(&good).expect("succeeded"));
    let old = identity(&scene).0;
    let client = scene.begin(&slow);
    scene.wait_until("the new release is being verified", || {
        scene.history()[0]["status"] == "verifying"
    });
    let create = |call: &str| path_ends_with(call, "/containers/create");
    let expected = door.hold(Moment::Before, create);
    let old = old.as_str().expect("an id");
    scene.call_docker("DELETE", &format!("/containers/{old}"));
    let new = identity(&scene).0;
    let new = new.as_str().expect("an id");
    scene.call_docker("POST", &format!("/containers/{new}/kill"));
    let held = expected.wait();
    scene.compose(&["up", "-d", "--force-recreate"]);
    let made = the_one_that_runs(&scene);
    held.pass();
    let ended = Ended::of(&client.wait_with_output().expect("an end"));
    expect_left_alone(&scene, &made, &ended);
}

/// The container that runs, and since when.
#[track_caller]
fn the_one_that_runs(scene: &Scene) -> (Value, Value) {
    let mut all = scene.containers();
    all.retain(|one| one["State"]["Running"] == true);
    assert_eq!(all.len(), 1, "{all:#?}");
    (all[0]["Id"].clone(), all[0]["State"]["StartedAt"].clone())
}

/// What somebody made runs on, alone, and the record says so.
#[track_caller]
fn expect_left_alone(scene: &Scene, made: &(Value, Value), ended: &Ended) {
    let outcomes = ["rollback_failed", "rolled_back"];
    assert!(outcomes.contains(&ended.outcome()), "{ended:#?}");
    let said = said(ended.deployment());
    let (_, runs) = said.rsplit_once("what runs now: ").unwrap_or_default();
    let name = format!("{}-app-1", scene.project());
    assert!(runs.contains(&name), "what runs is not named: {said}");
    scene.wait_until("nothing else is left", || scene.containers().len() == 1);
    assert_eq!(identity(scene), *made);
    assert_eq!(scene.serves(), "old");
}

/// The old release runs again, created anew once, and the record ends with what runs.
#[test]
fn after_the_commit_somebody_removes_both_containers_and_the_old_release_is_created_again() {
    let (door, mut scene) = behind_a_door(scene::SERVICE);
    let next = with_two_releases(&mut scene);
    // The first update makes Docker start the old one after a power cut; the second begins the clean-up.
    let mut updates = 0;
    let expected = door.hold(Moment::Before, move |call| {
        updates += u32::from(path_ends_with(call, "/update"));
        updates == 2
    });
    let client = scene.begin(&next);
    let held = expected.wait();
    for container in scene.containers() {
        let id = container["Id"].as_str().expect("an id");
        scene.call_docker("DELETE", &format!("/containers/{id}?force=1"));
    }
    held.pass();
    let ended = Ended::of(&client.wait_with_output().expect("an end"));
    assert_eq!(ended.outcome(), "rollback_failed", "{ended:#?}");
    assert_eq!(scene.serves(), "old");
    let said = said(ended.deployment());
    let (_, runs) = said.rsplit_once("what runs now: ").unwrap_or_default();
    let name = format!("the previous container {}-app-1", scene.project());
    assert!(runs.starts_with(&name), "{said}");
    let events = ended.deployment()["events"].as_array().expect("events");
    let count = |kind: &str| events.iter().filter(|event| event["kind"] == kind).count();
    assert_eq!(count("recreated"), 1, "{events:#?}");
    assert!(count("warned") <= 2, "{events:#?}");
}

/// Compose takes the staged container for one of the service, removes the old one, and is refused the name.
#[test]
fn what_an_up_by_hand_took_away_before_the_switch_and_could_not_start_is_put_back() {
    let (door, mut scene) = behind_a_door(scene::SERVICE);
    let next = with_two_releases(&mut scene);
    let (client, held) = staged(&door, &scene, &next);
    let refused = scene.try_compose(&["up", "-d", "--force-recreate"]);
    assert!(refused.is_err(), "{refused:?}");
    let runs = |one: &Value| one["State"]["Running"] == true;
    assert!(!scene.containers().iter().any(runs), "it took the old one");
    held.pass();
    let ended = Ended::of(&client.wait_with_output().expect("an end"));
    assert_eq!(ended.outcome(), "rolled_back", "{ended:#?}");
    assert_eq!(scene.serves(), "old");
    // The next deployment clears what Compose left.
    drop(scene.deploy(&next).expect("succeeded"));
    assert_eq!(scene.containers().len(), 1);
}

/// Compose takes the staged container for one of the service, and starts it as well.
#[test]
fn a_staged_container_that_a_restart_by_hand_has_started_is_gone_after_the_deployment() {
    let compose = scene::SERVICE.replace("ports:", "x-ports:");
    let (door, mut scene) = behind_a_door(&compose);
    let next = with_two_releases(&mut scene);
    let old = identity(&scene).0;
    let (client, held) = staged(&door, &scene, &next);
    // The old one is looked at when it is down.
    let id = old.as_str().expect("an id").to_owned();
    scene.call_docker("POST", &format!("/containers/{id}/stop"));
    let look = format!("/containers/{id}/json");
    let looked = door.hold(Moment::After, move |call| path_ends_with(call, &look));
    held.pass();
    let held = looked.wait();
    scene.compose(&["restart"]);
    let runs = |one: &&Value| one["State"]["Running"] == true;
    assert_eq!(scene.containers().iter().filter(runs).count(), 2);
    held.pass();
    let ended = Ended::of(&client.wait_with_output().expect("an end"));
    assert_eq!(ended.outcome(), "failed", "{ended:#?}");
    scene.wait_until("the staged one is gone", || scene.containers().len() == 1);
    assert_eq!(identity(&scene).0, old);
}

/// The same where both want one port and the staged container was quicker.
#[test]
fn a_staged_container_that_a_restart_by_hand_started_in_place_of_the_old_one_is_gone_back_from() {
    let (door, mut scene) = behind_a_door(scene::SERVICE);
    let next = with_two_releases(&mut scene);
    let old = identity(&scene).0;
    let (client, held) = staged(&door, &scene, &next);
    start_in_place_of(&scene, &old);
    held.pass();
    expect_gone_back(&scene, client, &old);
}

/// The same where the daemon is dead by then.
#[test]
fn a_staged_container_that_was_started_in_place_of_the_old_one_is_gone_back_from_by_a_restarted_daemon()
 {
    let (door, mut scene) = behind_a_door(scene::SERVICE);
    let next = with_two_releases(&mut scene);
    let old = identity(&scene).0;
    let (client, held) = staged(&door, &scene, &next);
    scene.kill_daemon();
    held.pass();
    start_in_place_of(&scene, &old);
    scene.start_daemon();
    expect_gone_back(&scene, client, &old);
}

/// The deployment has looked, and then they come.
#[test]
fn a_staged_container_that_is_started_while_it_is_being_discarded_is_gone_back_from() {
    let (door, mut scene) = behind_a_door(scene::SERVICE);
    let next = with_two_releases(&mut scene);
    let old = identity(&scene).0;
    let (client, held) = staged(&door, &scene, &next);
    let id = old.as_str().expect("an id");
    scene.call_docker("POST", &format!("/containers/{id}/stop"));
    let deployment = scene.history()[0]["id"].clone();
    let deployment = deployment.as_str().expect("an id").to_owned();
    let created_by =
        move |call: &str| call.contains("/containers/json") && call.contains(&deployment);
    let listed = door.hold(Moment::Before, created_by);
    held.pass();
    let held = listed.wait();
    start_in_place_of(&scene, &old);
    held.pass();
    expect_gone_back(&scene, client, &old);
}

/// A command that stops one container and starts another is not judged in between.
#[test]
fn a_staged_container_is_not_removed_while_somebody_acts() {
    let (door, mut scene) = behind_a_door(scene::SERVICE);
    let next = with_two_releases(&mut scene);
    let old = identity(&scene).0;
    let (client, held) = staged(&door, &scene, &next);
    let id = old.as_str().expect("an id");
    scene.call_docker("POST", &format!("/containers/{id}/stop"));
    let mut looks = 0;
    let looked = door.hold(Moment::Before, move |call| {
        // Two until nothing has changed for a while, and then the one that decides.
        looks += u32::from(call.contains("com.docker.compose.service"));
        looks == 3 || call.starts_with("DELETE")
    });
    held.pass();
    let held = looked.wait();
    assert!(held.call.starts_with("GET"), "{}", held.call);
    start_in_place_of(&scene, &old);
    held.pass();
    expect_gone_back(&scene, client, &old);
}

/// The deployment was rolled back: the container `old` serves again, alone.
#[track_caller]
fn expect_gone_back(scene: &Scene, client: Child, old: &Value) {
    let ended = Ended::of(&client.wait_with_output().expect("an end"));
    assert_eq!(ended.outcome(), "rolled_back", "{ended:#?}");
    assert_eq!(scene.containers().len(), 1);
    assert_eq!(identity(scene).0, *old);
    assert_eq!(scene.serves(), "old");
}

/// Stops the container `old` and starts the other one.
fn start_in_place_of(scene: &Scene, old: &Value) {
    let id = old.as_str().expect("an id");
    scene.call_docker("POST", &format!("/containers/{id}/stop"));
    for container in scene.containers().iter().filter(|one| one["Id"] != *old) {
        let id = container["Id"].as_str().expect("an id");
        scene.call_docker("POST", &format!("/containers/{id}/start"));
    }
}

fn behind_a_door(compose: &str) -> (Door, Scene) {
    let door = Door::open(&cutover_testkit::world().socket());
    let wishes = Wishes {
        compose,
        docker: Some(door.socket()),
        ..Wishes::default()
    };
    let scene = Scene::new(CUTOVER, &wishes);
    (door, scene)
}

/// Deploys the release `old`, and returns the next one.
fn with_two_releases(scene: &mut Scene) -> String {
    let good = scene.push(&ImageSpec::new("old"));
    let next = scene.push(&ImageSpec::new("new"));
    drop(scene.deploy(&good).expect("succeeded"));
    next
}

/// Begins a deployment, which stands still when the new container was created.
fn staged(door: &Door, scene: &Scene, next: &str) -> (Child, Held) {
    let old = identity(scene).0;
    let look = format!("/containers/{}/json", old.as_str().expect("an id"));
    let mut is_created = false;
    let expected = door.hold(Moment::Before, move |call| {
        is_created |= path_ends_with(call, "/containers/create");
        is_created && path_ends_with(call, &look)
    });
    let client = scene.begin(next);
    (client, expected.wait())
}
