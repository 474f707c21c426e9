//! The hold: no request fails while a release is switched, or put back.

use std::net::SocketAddr;

use cutover_testkit::engine::remote::Remote;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::load::{Asked, Load};
use cutover_testkit::scene::{Scene, Wishes};
use cutover_testkit::world;
use serde_json::Value;

use crate::clients::{container, gateway, inside, scene_as};

/// A service whose port is published on all addresses, and a container of another network.
const PROJECT: &str = "\
name: {project}
services:
  app:
    image: {image}
    restart: unless-stopped
    ports: [\"{port}:8080\"]
  client:
    image: {client}
    networks: [elsewhere]
networks:
  elsewhere:
";

/// Held for longer than any switch of these tests takes on a busy machine, and watched for a moment afterwards.
pub(crate) const HELD: &str = "\
health.http = { path = \"/healthz\", port = 8080, interval = \"50ms\" }
hold = \"100s\"
monitor = \"1s\"
";

/// Nobody can be asked; it is held until its port answers.
pub(crate) const WITHOUT_CHECK: &str = "hold = \"100s\"\nmonitor = \"1s\"\n";

/// A release that is never proven fails soon.
const SOON: &str = "\
health.http = { path = \"/healthz\", port = 8080, interval = \"50ms\" }
healthy_deadline = \"3s\"
hold = \"100s\"
monitor = \"1s\"
";

fn scene(service: &str) -> Scene {
    scene_of(PROJECT, service)
}

fn scene_of(project: &str, service: &str) -> Scene {
    let wishes = Wishes {
        compose: project,
        service,
        ..Wishes::default()
    };
    scene_as(&wishes)
}

/// What clients were answered, by the way that they came.
pub(crate) type Answers = Vec<(&'static str, Vec<Asked>)>;

/// What these clients are answered while `work` is done.
pub(crate) fn answers(loads: Vec<(&'static str, Load)>, work: impl FnOnce()) -> Answers {
    work();
    let ended = loads.into_iter().map(|(way, load)| (way, load.stop()));
    ended.collect()
}

/// Clients of each way.
const SOME: usize = 6;

/// What clients ask while `work` is done: from another machine, over the loopback interface, at an address of the host, and
/// from a container of another network. Docker's NAT rules serve the first and the third, docker-proxy the others.
fn under_load(scene: &mut Scene, work: impl FnOnce(&mut Scene)) -> Answers {
    let client = container(scene, "client");
    let port = scene.address().port();
    let gateway = SocketAddr::new(gateway(&client), port);
    let remote = Remote::join(&world().packages).expect("another machine");
    let host = SocketAddr::new(remote.host().into(), port);
    let some = |address| Load::start_asking(address, "/version", SOME);
    let loads = vec![
        ("loopback", some(scene.address())),
        ("host address", some(gateway)),
        (
            "another machine",
            remote.run(|| some(host)).expect("inside"),
        ),
        (
            "container",
            inside(&client).run(|| some(gateway)).expect("inside"),
        ),
    ];
    answers(loads, || work(scene))
}

#[track_caller]
pub(crate) fn expect_no_failure(all: &Answers, version: &str) {
    for (path, asked) in all {
        let failed: Vec<_> = asked.iter().filter(|one| one.outcome.is_err()).collect();
        assert!(
            failed.is_empty(),
            "{path}: {} of {}: {:?}",
            failed.len(),
            asked.len(),
            &failed[..failed.len().min(5)]
        );
        let answers = |one: &Asked| one.outcome.as_deref() == Ok(version);
        assert!(asked.iter().any(answers), "{path}: {version} answered");
    }
}

#[test]
fn no_request_fails_while_a_release_is_switched() {
    for service in [HELD, WITHOUT_CHECK] {
        let mut scene = scene(service);
        for (version, delay_ms) in [("two", "0"), ("slow", "2000")] {
            let release = ImageSpec::new(version).env("START_DELAY_MS", delay_ms);
            let release = scene.push(&release);
            let mut deployment = Value::Null;
            let asked = under_load(&mut scene, |scene| {
                let ended = scene.deploy(&release).expect("succeeded");
                deployment = ended.deployment().clone();
            });
            expect_no_failure(&asked, version);
            assert!(deployment["held"].as_u64().is_some_and(|held| held > 0));
            let longest = deployment["held_max_ms"].as_u64();
            assert!(longest.is_some_and(|ms| ms > 0), "{deployment:#}");
            scene.wait_until("nothing is left", || scene.rules_of_hold().is_empty());
        }
    }
}

#[test]
fn no_request_fails_while_a_broken_release_is_rolled_back() {
    let mut scene = scene(SOON);
    for (misfortune, value) in [("EXIT_AT_ONCE", "3"), ("NEVER_HEALTHY", "1")] {
        let release = scene.push(&ImageSpec::new("bad").env(misfortune, value));
        let asked = under_load(&mut scene, |scene| {
            drop(scene.deploy(&release).expect("rolled_back"));
        });
        expect_no_failure(&asked, "one");
        scene.wait_until("nothing is left", || scene.rules_of_hold().is_empty());
        assert_eq!(scene.serves(), "one", "{misfortune}");
    }
}

/// The requests that are under way when it ends fail: at most two of each client, which may have sent the next one between
/// the end of the listening socket and that of the process.
#[test]
fn a_release_that_ends_while_it_is_watched_is_held_again_until_the_previous_one_is_back() {
    let mut scene = scene(HELD);
    let release = ImageSpec::new("bad").env("EXIT_AFTER_MS", "700");
    let release = scene.push(&release);
    let asked = under_load(&mut scene, |scene| {
        drop(scene.deploy(&release).expect("rolled_back"));
    });
    for (path, asked) in asked {
        let failed = asked.iter().filter(|one| one.outcome.is_err()).count();
        let waited = asked.iter().map(|one| one.took.as_millis()).max();
        assert!(failed <= 2 * SOME, "{path}: {failed} of {}", asked.len());
        assert!(
            waited.is_some_and(|longest| longest > 50),
            "{path}: {waited:?}"
        );
    }
    scene.wait_until("nothing is left", || scene.rules_of_hold().is_empty());
    assert_eq!(scene.serves(), "one");
}

#[test]
fn a_daemon_that_is_killed_in_the_hold_lets_everything_through_and_removes_its_rules_at_the_next_start()
 {
    let mut scene = scene(HELD);
    let hanging = ImageSpec::new("slow").env("START_DELAY_MS", "5000");
    let next = scene.push(&hanging);
    let mut client = scene.begin(&next);
    scene.wait_until("connections are held", || !scene.rules_of_hold().is_empty());
    let newest = |scene: &Scene| scene.history().into_iter().next();
    let seen = |scene: &Scene| newest(scene).is_some_and(|one| one["status"] == "verifying");
    scene.wait_until("the switch", || seen(&scene));
    scene.kill_daemon();
    assert!(!scene.rules_of_hold().is_empty(), "they are left over");
    scene.start_daemon();
    client.wait().expect("it ends");
    let is_over = |scene: &Scene| newest(scene).is_some_and(|one| !one["outcome"].is_null());
    scene.wait_until("it is rolled back", || is_over(&scene));
    scene.wait_until("nothing is left", || scene.rules_of_hold().is_empty());
    scene.wait_until("the previous release serves", || scene.serves() == "one");
}

#[test]
fn what_cannot_be_held_is_told_and_the_deployment_goes_on() {
    let mut scene = scene("hold = \"off\"\n");
    let two = scene.push(&ImageSpec::new("two"));
    let ended = scene.deploy(&two).expect("succeeded");
    assert_eq!(ended.deployment()["held"], 0);
    let configuration = scene.configuration();
    let text = std::fs::read_to_string(&configuration).expect("a configuration");
    std::fs::write(&configuration, text.replace("\"off\"", "\"30s\"")).expect("written");
    scene.kill_daemon();
    // It does not find the programs of the packet filter.
    scene.start_daemon();
    let three = scene.push(&ImageSpec::new("three"));
    let ended = scene.deploy(&three).expect("succeeded");
    let told = ended.deployment()["events"].to_string();
    assert!(told.contains("`iptables` is not installed"), "{told}");
    let configuration = configuration.display().to_string();
    let checked = scene.run(&["check", "--config", &configuration]).stdout;
    assert!(checked.contains("`iptables` is not installed"), "{checked}");
}

/// Its grace would only be waited for: as the first process of its container, it does nothing at the signal.
#[test]
fn a_container_that_does_not_catch_its_stop_signal_gets_no_grace_once_its_requests_have_ended() {
    let patient = PROJECT.replace("app:", "app:\n    stop_grace_period: 3m");
    let mut scene = scene_of(&patient, HELD);
    for version in ["two", "three"] {
        let release = ImageSpec::new(version).env("NO_SIGNAL_HANDLER", "1");
        let release = scene.push(&release);
        let mut deployment = Value::Null;
        let asked = under_load(&mut scene, |scene| {
            let ended = scene.deploy(&release).expect("succeeded");
            deployment = ended.deployment().clone();
        });
        expect_no_failure(&asked, version);
        let switch_ms = deployment["switch_ms"].as_u64();
        assert!(switch_ms.is_some_and(|ms| ms < 90_000), "{deployment:#}");
    }
}
