//! Several replicas of a service: they are switched in batches, each proven before the next one is touched, and a failure
//! returns all that were switched.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use cutover_testkit::images::ImageSpec;
use cutover_testkit::load::Load;
use cutover_testkit::scene::{Scene, Wishes};
use serde_json::Value;

use crate::clients::{all_of, asked_by_name, expect_none_failed, free_range, scene_as};
use crate::{newest_ended, on_own_engine};

/// Three replicas that are reached by their name, and a client in the same network.
const PROJECT: &str = "\
name: {project}
services:
  app:
    image: {image}
    restart: unless-stopped
    stop_grace_period: 5s
    deploy: {replicas: 3}
  client:
    image: {client}
";

const WATCHED: &str = "\
health.http = { path = \"/healthz\", port = 8080, interval = \"50ms\" }
healthy_deadline = \"8s\"
monitor = \"300ms\"
";

fn with(compose: &str, service: &str) -> Scene {
    scene_as(&Wishes {
        compose,
        service,
        ..Wishes::default()
    })
}

/// The lives of the replicas that run, by their names: which container, and since when it runs.
fn running(scene: &Scene) -> BTreeMap<String, (Value, Value)> {
    let all = all_of(scene, "app").into_iter();
    let runs = all.filter(|one| one["State"]["Running"] == true);
    runs.map(|one| {
        let name = one["Name"].as_str().expect("a name").to_owned();
        let started_at = one["State"]["StartedAt"].clone();
        (name, (one["Id"].clone(), started_at))
    })
    .collect()
}

/// Exactly so many replicas are there, all run, under Compose's names; returns their lives.
#[track_caller]
fn expect_replicas(scene: &Scene, numbers: &[u32]) -> BTreeMap<String, (Value, Value)> {
    let lives = running(scene);
    let of_number = |number: &u32| format!("/{}-app-{number}", scene.project());
    let expected: Vec<String> = numbers.iter().map(of_number).collect();
    let names: Vec<&String> = lives.keys().collect();
    assert_eq!(names, expected.iter().collect::<Vec<_>>());
    assert_eq!(all_of(scene, "app").len(), numbers.len(), "nothing is left");
    for one in all_of(scene, "app") {
        let policy = &one["HostConfig"]["RestartPolicy"]["Name"];
        assert_eq!(policy, "unless-stopped", "{}", one["Name"]);
    }
    lives
}

/// Docker's calls that start and stop containers, each as its kind.
fn starts_and_stops(scene: &Scene) -> Vec<&'static str> {
    let kind = |call: String| match call.rsplit('/').next()?.split('?').next()? {
        "start" => Some("start"),
        "stop" => Some("stop"),
        _ => None,
    };
    scene.docker.calls().into_iter().filter_map(kind).collect()
}

#[test]
fn replicas_are_switched_in_batches_and_no_request_by_name_fails() {
    for (keys, expected) in [
        ("", "stop start stop start stop start"),
        ("parallelism = 2\n", "stop stop start start stop start"),
        ("parallelism = 0\n", "stop stop stop start start start"),
    ] {
        let mut scene = with(PROJECT, &format!("{WATCHED}{keys}"));
        let before = expect_replicas(&scene, &[1, 2, 3]);
        let two = scene.push(&ImageSpec::new("two"));
        scene.docker.disarm();
        let asked = asked_by_name(&mut scene, |scene| {
            let ended = scene.deploy(&two).expect("succeeded");
            if !keys.contains('0') {
                assert_eq!(ended.deployment()["outage_ms"], 0, "the others served");
            }
        });
        assert_eq!(starts_and_stops(&scene).join(" "), expected, "{keys}");
        if !keys.contains('0') {
            expect_none_failed(&asked);
        }
        let now = expect_replicas(&scene, &[1, 2, 3]);
        let is_new = |(name, life): (&String, &(Value, Value))| before.get(name) != Some(life);
        assert!(now.iter().all(is_new));
        scene.compose(&["up", "-d"]);
        assert_eq!(running(&scene), now, "up by hand changes nothing");
        drop(scene.deploy(&two).expect("unchanged"));
    }
}

#[test]
fn a_release_that_fails_in_the_first_batch_leaves_the_other_replicas_alone() {
    let mut scene = with(PROJECT, WATCHED);
    let before = expect_replicas(&scene, &[1, 2, 3]);
    let bad = scene.push(&ImageSpec::new("bad").env("EXIT_AT_ONCE", "3"));
    let asked = asked_by_name(&mut scene, |scene| {
        let ended = scene.deploy(&bad).expect("rolled_back");
        let detail = ended.deployment()["cause"]["detail"].to_string();
        assert!(detail.contains("replica 1 of service `app`"), "{detail}");
        assert_eq!(ended.deployment()["outage_ms"], 0, "the others served");
    });
    expect_none_failed(&asked);
    let now = expect_replicas(&scene, &[1, 2, 3]);
    let same = now
        .iter()
        .filter(|(name, life)| before.get(*name) == Some(*life));
    assert_eq!(same.count(), 2, "two were not touched");
    let id = |lives: &BTreeMap<String, (Value, Value)>| -> Vec<Value> {
        lives.values().map(|(id, _)| id.clone()).collect()
    };
    assert_eq!(id(&now), id(&before), "the very same containers");
}

/// A new replica that is not proven yet, beside one that is.
fn wait_for_second(scene: &Scene, before: &BTreeMap<String, (Value, Value)>) -> Value {
    let is_new = |one: &Value| !before.values().any(|(id, _)| *id == one["Id"]);
    let mut second = Value::Null;
    scene.wait_until("the second replica was started", || {
        let mut new: Vec<Value> = all_of(scene, "app");
        new.retain(|one| is_new(one) && one["State"]["Running"] == true);
        new.sort_by_key(|one| one["State"]["StartedAt"].to_string());
        let there = new.len() == 2;
        second = new.pop().unwrap_or_default();
        there
    });
    second
}

#[test]
fn a_replica_that_fails_in_a_later_batch_returns_all_that_were_switched() {
    let mut scene = with(PROJECT, WATCHED);
    let before = expect_replicas(&scene, &[1, 2, 3]);
    let next = scene.push(&ImageSpec::new("next").env("START_DELAY_MS", "2000"));
    let asked = asked_by_name(&mut scene, |scene| {
        let mut client = scene.begin(&next);
        let second = wait_for_second(scene, &before);
        let id = second["Id"].as_str().expect("an id");
        let killed = scene.call_docker("POST", &format!("/containers/{id}/kill"));
        assert_eq!(killed.expect("an answer").0, 204);
        assert!(!client.wait().expect("it ends").success());
    });
    assert_eq!(newest_ended(&scene)["outcome"], "rolled_back");
    expect_none_failed(&asked);
    let now = expect_replicas(&scene, &[1, 2, 3]);
    let ids = |(id, _): &(Value, Value)| id.clone();
    let both = (now.values().map(ids), before.values().map(ids));
    assert!(both.0.eq(both.1), "the very same containers");
    let same = now
        .iter()
        .filter(|(name, life)| before.get(*name) == Some(*life));
    assert_eq!(same.count(), 1, "the third was not touched");
}

#[test]
fn as_many_replicas_run_as_the_compose_file_says_whatever_ran_before() {
    let mut scene = with(&PROJECT.replace("replicas: 3", "replicas: 1"), WATCHED);
    let releases = ["two", "three"].map(|version| scene.push(&ImageSpec::new(version)));
    let compose = scene.project_directory().join("compose.yaml");
    let written = std::fs::read_to_string(&compose).expect("a Compose file");
    let mut release = releases.iter().cycle();
    for (replicas, by_hand) in [
        (3, None),
        (2, None),
        (3, Some(vec!["up", "-d", "--scale", "app=1"])),
        (1, Some(vec!["up", "-d", "--scale", "app=3"])),
        (3, Some(vec!["stop", "app"])),
        (1, None),
    ] {
        if let Some(arguments) = &by_hand {
            scene.compose(arguments);
        }
        let text = written.replace("replicas: 1", &format!("replicas: {replicas}"));
        std::fs::write(&compose, text).expect("written");
        let release = release.next().expect("endless");
        drop(scene.deploy(release).expect("succeeded"));
        let lives = running(&scene);
        assert_eq!(lives.len(), replicas, "{by_hand:?}: {lives:?}");
        assert_eq!(all_of(&scene, "app").len(), replicas, "{by_hand:?}");
        scene.compose(&["up", "-d"]);
        assert_eq!(running(&scene), lives, "up by hand changes nothing");
    }
}

#[test]
fn a_failed_change_of_the_number_of_replicas_brings_back_what_ran() {
    for (before, after) in [(1, 3), (3, 1), (3, 2)] {
        let of = |replicas: u32| PROJECT.replace("replicas: 3", &format!("replicas: {replicas}"));
        let mut scene = with(&of(before), WATCHED);
        let ran = running(&scene);
        assert_eq!(ran.len(), before as usize);
        let compose = scene.project_directory().join("compose.yaml");
        let text = std::fs::read_to_string(&compose).expect("a Compose file");
        let (from, to) = (format!("replicas: {before}"), format!("replicas: {after}"));
        std::fs::write(&compose, text.replace(&from, &to)).expect("written");
        let bad = scene.push(&ImageSpec::new("bad").env("NEVER_HEALTHY", "1"));
        drop(scene.deploy(&bad).expect("rolled_back"));
        let now = running(&scene);
        let ids = |(id, _): &(Value, Value)| id.clone();
        assert!(now.values().map(ids).eq(ran.values().map(ids)));
        assert_eq!(
            now.keys().collect::<Vec<_>>(),
            ran.keys().collect::<Vec<_>>()
        );
        assert_eq!(all_of(&scene, "app").len(), before as usize);
    }
}

#[test]
fn start_first_replicas_are_proven_beside_all_that_ran_before() {
    let start_first = PROJECT.replace(
        "replicas: 3",
        "replicas: 3, update_config: {order: start-first}",
    );
    let mut scene = with(&start_first, WATCHED);
    let before = expect_replicas(&scene, &[1, 2, 3]);
    for (misfortune, value) in [("EXIT_AT_ONCE", "3"), ("NEVER_HEALTHY", "1")] {
        let bad = scene.push(&ImageSpec::new("bad").env(misfortune, value));
        let asked = asked_by_name(&mut scene, |scene| {
            drop(scene.deploy(&bad).expect("rolled_back"));
        });
        expect_none_failed(&asked);
        assert_eq!(expect_replicas(&scene, &[1, 2, 3]), before, "{misfortune}");
    }
    let two = scene.push(&ImageSpec::new("two"));
    let asked = asked_by_name(&mut scene, |scene| {
        let ended = scene.deploy(&two).expect("succeeded");
        assert_eq!(ended.deployment()["outage_ms"], 0);
    });
    expect_none_failed(&asked);
    let now = expect_replicas(&scene, &[1, 2, 3]);
    assert!(
        now.iter()
            .all(|(name, life)| before.get(name) != Some(life))
    );
}

#[test]
fn after_a_power_cut_in_the_middle_of_a_batch_every_previous_replica_runs() {
    on_own_engine(|engine| {
        let socket = engine.socket();
        let mut scene = scene_as(&Wishes {
            compose: PROJECT,
            service: &WATCHED.replace("\"8s\"", "\"60s\""),
            docker: Some(&socket),
            ..Wishes::default()
        });
        let before = expect_replicas(&scene, &[1, 2, 3]);
        let next = scene.push(&ImageSpec::new("next").env("START_DELAY_MS", "4000"));
        drop(scene.begin(&next));
        wait_for_second(&scene, &before);
        scene.kill_daemon();
        engine.kill().expect("a power cut");
        engine.restart().expect("the machine boots");
        scene.wait_until("the previous replicas run", || {
            let runs: Vec<Value> = running(&scene).into_values().map(|(id, _)| id).collect();
            before.values().all(|(id, _)| runs.contains(id))
        });
        assert_eq!(running(&scene).len(), 3, "they run alone");
        scene.start_daemon();
        assert_eq!(newest_ended(&scene)["outcome"], "rolled_back");
        let now = expect_replicas(&scene, &[1, 2, 3]);
        let ids = |(id, _): &(Value, Value)| id.clone();
        assert!(now.values().map(ids).eq(before.values().map(ids)));
    });
}

/// Each replica takes a port of the range; which one is Docker's choice.
#[test]
fn no_request_to_the_published_ports_of_replicas_fails() {
    let ports = free_range(3);
    let range = format!(
        "replicas: 3}}\n    ports: [\"{}-{}:8080\"]",
        ports[0], ports[2]
    );
    let compose = PROJECT.replace("replicas: 3}", &range);
    let mut scene = with(
        &compose,
        &format!("{WATCHED}hold = \"100s\"\ndelay = \"400ms\"\n"),
    );
    expect_replicas(&scene, &[1, 2, 3]);
    for (version, variable, value, outcome) in [
        ("slow", "START_DELAY_MS", "900", "succeeded"),
        ("bad", "EXIT_AT_ONCE", "3", "rolled_back"),
    ] {
        let release = scene.push(&ImageSpec::new(version).env(variable, value));
        let load = |port: &u16| {
            let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), *port);
            Load::start_asking(address, "/version", 2)
        };
        let loads: Vec<Load> = ports.iter().map(load).collect();
        let ended = scene.deploy(&release).expect(outcome);
        let asked = loads.into_iter().flat_map(Load::stop);
        expect_none_failed(&asked.collect::<Vec<_>>());
        assert_ne!(ended.deployment()["held"], 0, "{version}");
        expect_replicas(&scene, &[1, 2, 3]);
        scene.wait_until("nothing is left", || scene.rules_of_hold().is_empty());
    }
}
