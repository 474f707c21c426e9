//! Going back is tried for as long as the daemon lives, and at each further start: an answer ends it not, and
//! neither does a counter.

use cutover_testkit::faults::Fault;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{Network, Scene, Wishes, docker_call};
use serde_json::Value;

use crate::recovery::was_signalled;
use crate::{CUTOVER, kinds, newest, on_own_engine_in, said};
use cutover_testkit::engine::disk::SmallDisk;

/// A release that is being verified for as long as a test likes.
fn slow() -> ImageSpec {
    ImageSpec::new("slow").env("START_DELAY_MS", "600000")
}

fn wait_until_verifying(scene: &Scene) {
    scene.wait_until("the new release is being verified", || {
        scene.history()[0]["status"] == "verifying"
    });
}

fn id_of(container: &Value) -> String {
    container["Id"].as_str().expect("an id").to_owned()
}

/// Why the service needs an operator, if it does.
fn needs_operator(scene: &Scene) -> Value {
    let (_, service) = scene.get("/v1/services/app").expect("an answer");
    service["needs_operator"].clone()
}

/// The old container runs after all, and the record says what happened in which order.
fn expect_rolled_back_after_all(scene: &Scene, old: &str) {
    scene.wait_until("it is rolled back after all", || {
        scene.history()[0]["outcome"] == "rolled_back"
    });
    let deployment = newest(scene);
    let kinds = kinds(&deployment);
    let at = |kind| kinds.iter().rposition(|&one| one == kind);
    let order = [at("rollback_failed"), at("restored"), at("rolled_back")];
    assert!(
        order.iter().all(Option::is_some) && order.is_sorted(),
        "{kinds:?}"
    );
    assert_eq!(needs_operator(scene), Value::Null);
    scene.wait_until("the old release answers", || scene.serves() == "old");
    assert_eq!(id_of(&scene.container()), old);
    let policy = &scene.container()["HostConfig"]["RestartPolicy"]["Name"];
    assert_eq!(*policy, "unless-stopped");
}

/// A scene in which Docker refuses to start the old container again; with the tags of a good and of this bad release, and
/// the id of the old container.
fn refusing(wishes: &Wishes<'_>, bad: &ImageSpec) -> (Scene, [String; 3]) {
    let mut scene = Scene::new(CUTOVER, wishes);
    let (good, bad) = (scene.push(&ImageSpec::new("old")), scene.push(bad));
    drop(scene.deploy(&good).expect("succeeded"));
    let old = id_of(&scene.container());
    let start_of_old = format!("/containers/{old}/start");
    let refused = move |call: &str| call.ends_with(&start_of_old);
    scene.docker.arm_every(refused, Fault::Error);
    (scene, [good, bad, old])
}

fn exits_at_once() -> ImageSpec {
    ImageSpec::new("bad").env("EXIT_AT_ONCE", "1")
}

#[test]
fn a_rollback_that_failed_is_tried_until_it_succeeds_and_takes_back_that_an_operator_is_needed() {
    let wishes = Wishes {
        network: Network::Loopback,
        ..Wishes::default()
    };
    let (scene, [good, bad, old]) = refusing(&wishes, &exits_at_once());
    let (status, answer) = scene.post(&bad);
    assert_eq!(
        (status, answer["code"].as_str()),
        (500, Some("rollback_failed")),
        "{answer:#}"
    );
    assert!(needs_operator(&scene).is_string());
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
    let refused = scene.run(&signed);
    assert_eq!(
        refused.body["code"], "operator_action_required",
        "{refused:#?}"
    );
    let tries = scene.docker.struck();
    scene.wait_until("it is tried again", || scene.docker.struck() > tries);
    scene.docker.disarm();
    expect_rolled_back_after_all(&scene, &old);
    drop(scene.run(&signed).expect("unchanged"));
}

/// After so many refusals, whatever can be started is better than nothing.
const REFUSALS: usize = 5;

/// A new container that was started for lack of a better one, and has ended, is no end of the trying.
#[test]
fn a_new_container_that_does_not_last_in_the_old_ones_place_does_not_end_the_trying() {
    let wishes = Wishes {
        service: "monitor = \"3s\"\n",
        ..Wishes::default()
    };
    let bad = ImageSpec::new("bad").env("EXIT_AFTER_MS", "1000");
    let (scene, [_, bad, old]) = refusing(&wishes, &bad);
    drop(scene.deploy(&bad).expect("rollback_failed"));
    let starts_of_bad = || {
        let calls = scene.docker.calls();
        let starts = calls.iter().filter(|call| call.ends_with("/start"));
        starts.filter(|call| !call.contains(&old)).count()
    };
    let before = starts_of_bad();
    scene.wait_until("the new one is started instead", || {
        starts_of_bad() > before
    });
    assert!(scene.docker.struck() >= REFUSALS);
    scene.docker.disarm();
    expect_rolled_back_after_all(&scene, &old);
}

#[test]
fn a_rollback_that_failed_is_tried_again_by_a_restarted_daemon() {
    let (mut scene, [_, bad, old]) = refusing(&Wishes::default(), &exits_at_once());
    drop(scene.deploy(&bad).expect("rollback_failed"));
    scene.kill_daemon();
    scene.docker.disarm();
    scene.start_daemon();
    expect_rolled_back_after_all(&scene, &old);
}

#[test]
fn a_disk_that_is_full_in_the_trial_keeps_the_old_release_down_no_longer_than_it_is_full() {
    let disk = SmallDisk::mount().expect("a disk");
    on_own_engine_in(disk.path(), |engine| {
        let socket = engine.socket();
        let wishes = Wishes {
            docker: Some(&socket),
            ..Wishes::default()
        };
        let mut scene = Scene::new(CUTOVER, &wishes);
        let (good, slow) = (scene.push(&ImageSpec::new("old")), scene.push(&slow()));
        drop(scene.deploy(&good).expect("succeeded"));
        let old = id_of(&scene.container());
        drop(scene.begin(&slow));
        wait_until_verifying(&scene);
        let new = scene.containers().iter().map(id_of).find(|id| *id != old);
        disk.fill_but(0).expect("a full disk");
        let path = format!("/containers/{}/kill", new.expect("a new container"));
        drop(scene.call_docker("POST", &path));
        scene.wait_until("the rollback fails", || {
            scene.history()[0]["outcome"] == "rollback_failed"
        });
        let said = said(&newest(&scene));
        assert!(said.contains("no space left on device"), "{said}");
        disk.free().expect("room again");
        expect_rolled_back_after_all(&scene, &old);
    });
}

/// More starts than recoveries are counted.
const STARTS: usize = 7;

/// Starts the daemon as often as this; each time it dies at a call that ends like that.
fn dies_at(scene: &mut Scene, starts: usize, end: &'static str) {
    scene
        .docker
        .arm_every(move |call| call.ends_with(end), Fault::StrikeBefore);
    for start in 1..=starts {
        scene.spawn_daemon();
        scene.wait_until("the daemon is struck", || !scene.daemon_runs());
        assert_eq!(scene.docker.struck(), start, "{}", scene.log_tail());
    }
    scene.docker.disarm();
}

#[track_caller]
fn expect_old_serves(scene: &Scene, old: &str) {
    scene.wait_until("the deployment ends", || {
        scene.history()[0]["outcome"].is_string()
    });
    let outcomes = ["rolled_back", "rollback_failed"];
    let deployment = newest(scene);
    let outcome = deployment["outcome"].as_str().unwrap_or_default();
    assert!(outcomes.contains(&outcome), "{}", said(&deployment));
    scene.wait_until("the old release answers", || scene.serves() == "old");
    let of_old = format!("/containers/{old}/json");
    let found = scene.ask_docker(&of_old).expect("it is there");
    assert_eq!(found["State"]["Running"], true);
}

#[test]
fn a_daemon_that_died_in_every_recovery_starts_the_old_release_at_the_next_start_all_the_same() {
    let mut scene = Scene::usual(CUTOVER);
    let (good, slow) = (scene.push(&ImageSpec::new("old")), scene.push(&slow()));
    drop(scene.deploy(&good).expect("succeeded"));
    let old = id_of(&scene.container());
    drop(scene.begin(&slow));
    wait_until_verifying(&scene);
    scene.kill_daemon();
    dies_at(&mut scene, STARTS, "/start");
    assert_eq!(scene.serves(), "");
    scene.start_daemon();
    expect_old_serves(&scene, &old);
}

/// It is about to end, and then nothing would run.
#[test]
fn a_new_container_that_was_told_to_stop_does_not_count_as_running_after_many_recoveries() {
    let mut scene = Scene::usual(CUTOVER);
    let stubborn = slow().env("IGNORE_SIGTERM", "1");
    let (good, stubborn) = (scene.push(&ImageSpec::new("old")), scene.push(&stubborn));
    drop(scene.deploy(&good).expect("succeeded"));
    let old = id_of(&scene.container());
    drop(scene.begin(&stubborn));
    wait_until_verifying(&scene);
    scene.kill_daemon();
    dies_at(&mut scene, 5, "/stop");
    let new = scene.containers().iter().map(id_of).find(|id| *id != old);
    let new = new.expect("a new container");
    let stop = format!("/containers/{new}/stop?t=5");
    let told = std::thread::spawn(move || docker_call("POST", &stop));
    scene.wait_until("the new container is told to stop", || was_signalled(&new));
    scene.start_daemon();
    assert!(told.join().is_ok());
    expect_old_serves(&scene, &old);
}
