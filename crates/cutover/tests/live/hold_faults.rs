//! What dies while connections are held: cutover at several moments, and Docker; and a cutover that may not hold any.

use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use cutover_testkit::engine::Engine;
use cutover_testkit::faults::Fault;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::load::{self, Load};
use cutover_testkit::scene::{Capabilities, Scene, Wishes};
use serde_json::Value;

use crate::clients::scene_as;
use crate::hold::{Answers, answers};
use crate::{newest, newest_ended, on_own_engine, said};

/// One service, whose port is published on all addresses.
pub(crate) const PROJECT: &str = "\
name: {project}
services:
  app:
    image: {image}
    restart: unless-stopped
    ports: [\"{port}:8080\"]
";

/// As `hold` in the settings.
const HOLD: Duration = Duration::from_secs(15);

/// From when a connection goes on to the end of the answer, on a busy machine.
const ANSWER: Duration = Duration::from_secs(10);

/// A drain that a request can be made to use up, and a watch that is long enough to be found.
const SETTINGS: &str = "\
health.http = { path = \"/healthz\", port = 8080, interval = \"50ms\" }
hold = \"15s\"
drain = \"10s\"
monitor = \"3s\"
";

/// Clients.
const FEW: usize = 4;

fn scene() -> Scene {
    scene_as(&Wishes {
        compose: PROJECT,
        service: SETTINGS,
        ..Wishes::default()
    })
}

/// Begins to deploy `release`, and the daemon dies when `dies` has it so; it is started again, and what was begun comes to
/// its end. Nothing of the hold is left, and new connections go on.
#[track_caller]
fn dies_and_recovers(release: &ImageSpec, arm: impl FnOnce(&Scene), dies: impl FnOnce(&Scene)) {
    let mut scene = scene();
    let release = scene.push(release);
    // What waits when the daemon dies is sent again by the client's system, seconds later: it may wait in the next hold.
    let load = Load::start_asking(scene.address(), "/version", FEW);
    drop(answers(vec![("loopback", load)], || {
        arm(&scene);
        let client = scene.begin(&release);
        dies(&scene);
        scene.docker.disarm();
        scene.start_daemon();
        expect_end(&scene, client);
        let asked = load::ask(scene.address(), "/version");
        assert!(asked.is_ok(), "a new connection: {asked:?}");
    }));
}

/// The deployment ends in one of both releases, which answers, and no rule is left.
#[track_caller]
fn expect_end(scene: &Scene, mut client: Child) {
    let deployment = newest_ended(scene);
    drop(client.kill());
    drop(client.wait());
    let serves = match deployment["outcome"].as_str() {
        Some("succeeded") => "two",
        Some("rolled_back") => "one",
        _ => panic!("{}", said(&deployment)),
    };
    scene.wait_until("it answers", || scene.serves() == serves);
    scene.wait_until("nothing is left", || scene.rules_of_hold().is_empty());
}

#[track_caller]
fn expect_none_waits_longer(all: &Answers) {
    for (way, asked) in all {
        let longest = asked.iter().map(|one| one.took).max();
        let longest = longest.expect("somebody asked");
        assert!(longest < HOLD + ANSWER, "{way}: {longest:?}");
    }
}

fn wait_for_the_strike(scene: &Scene) {
    scene.wait_until("the daemon is struck", || !scene.daemon_runs());
    assert_eq!(scene.docker.struck(), 1);
    assert!(!scene.rules_of_hold().is_empty(), "they are left over");
}

/// The `number`th of the calls that end so.
fn nth(number: usize, end: &'static str) -> impl Fn(&str) -> bool + Send + 'static {
    let seen = AtomicUsize::new(0);
    let path = |call: &str| call.split('?').next().map(str::to_owned);
    move |call| {
        path(call).is_some_and(|path| path.ends_with(end))
            && seen.fetch_add(1, Ordering::Relaxed) == number
    }
}

fn good() -> ImageSpec {
    ImageSpec::new("two").env("START_DELAY_MS", "500")
}

#[test]
fn a_daemon_that_dies_while_requests_end_leaves_nothing_held() {
    let mut late = None;
    dies_and_recovers(
        &good(),
        |scene| {
            let address = scene.address();
            late = Some(thread::spawn(move || load::ask(address, "/slow?ms=8000")));
        },
        |scene| {
            scene.wait_until("connections are held", || !scene.rules_of_hold().is_empty());
            assert_eq!(newest(scene)["status"], "switching");
            scene.kill_daemon();
            assert!(!scene.rules_of_hold().is_empty(), "they are left over");
        },
    );
    drop(late.expect("a client").join());
}

#[test]
fn a_daemon_that_dies_after_the_stop_leaves_nothing_held() {
    dies_and_recovers(
        &good(),
        |scene| scene.docker.arm_every(nth(0, "/stop"), Fault::StrikeAfter),
        wait_for_the_strike,
    );
}

#[test]
fn a_daemon_that_dies_after_the_start_leaves_nothing_held() {
    dies_and_recovers(
        &good(),
        |scene| scene.docker.arm_every(nth(0, "/start"), Fault::StrikeAfter),
        wait_for_the_strike,
    );
}

#[test]
fn a_daemon_that_dies_while_connections_go_on_leaves_nothing_held() {
    dies_and_recovers(
        &good(),
        |_| {},
        |scene| {
            scene.wait_until("the first ones go on", || scene.serves() == "two");
            scene.kill_daemon();
            assert!(!scene.rules_of_hold().is_empty(), "they are left over");
        },
    );
}

#[test]
fn a_daemon_that_dies_in_the_rollback_leaves_nothing_held() {
    let bad = ImageSpec::new("bad").env("EXIT_AT_ONCE", "3");
    for fault in [Fault::StrikeBefore, Fault::StrikeAfter] {
        dies_and_recovers(
            &bad,
            |scene| scene.docker.arm_every(nth(1, "/start"), fault),
            wait_for_the_strike,
        );
    }
}

/// The service on an engine of its own; Docker dies while a release boots, and is started again.
fn docker_dies(engine: &mut Engine) {
    let socket = engine.socket();
    let mut scene = scene_as(&Wishes {
        compose: PROJECT,
        service: SETTINGS,
        docker: Some(&socket),
        ..Wishes::default()
    });
    let slow = ImageSpec::new("two").env("START_DELAY_MS", "600000");
    let slow = scene.push(&slow);
    let load = Load::start_asking(scene.address(), "/version", FEW);
    let all = answers(vec![("loopback", load)], || {
        let client = scene.begin(&slow);
        scene.wait_until("connections are held", || {
            !scene.rules_of_hold().is_empty() && newest(&scene)["status"] == "verifying"
        });
        engine.kill_daemon().expect("a crash");
        engine.restart().expect("Docker comes back");
        expect_end(&scene, client);
    });
    expect_none_waits_longer(&all);
}

#[test]
fn docker_that_dies_while_connections_are_held_leaves_nothing_held() {
    on_own_engine(docker_dies);
}

#[test]
fn a_daemon_that_may_not_change_the_network_goes_on_and_says_so() {
    let mut scene = scene();
    scene.kill_daemon();
    scene.set_capabilities(Capabilities::WithoutNetAdmin);
    scene.start_daemon();
    let two = scene.push(&ImageSpec::new("two"));
    let ended = scene.deploy(&two).expect("succeeded");
    let deployment: &Value = ended.deployment();
    assert_eq!(deployment["held"], 0);
    let told = said(deployment);
    assert!(told.contains("they cannot be held"), "{told}");
    assert!(told.contains("CAP_NET_ADMIN"), "{told}");
    let checked = scene.check_as_daemon().stdout;
    assert!(checked.contains("they cannot be held"), "{checked}");
    assert!(checked.contains("CAP_NET_ADMIN"), "{checked}");
    assert_eq!(scene.rules_of_hold(), [] as [String; 0]);
}
