//! Start-first: the new container is proven beside the old one, and whoever asks for the service by its name in the
//! network is always answered.

use std::time::{Duration, SystemTime};

use cutover_testkit::faults::Fault;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::load::Asked;
use cutover_testkit::scene::{Scene, Wishes};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::clients::{all_of, asked_by_name, container, expect_none_failed, scene_as};
use crate::{newest_ended, on_own_engine};

/// A service that nobody reaches but by its name, and a client in the same network.
const PROJECT: &str = "\
name: {project}
services:
  app:
    image: {image}
    restart: unless-stopped
    stop_grace_period: 5s
    deploy: {update_config: {order: start-first}}
  client:
    image: {client}
";

/// Watched for a moment when it is known by its names.
const WATCHED: &str = "\
health.http = { path = \"/healthz\", port = 8080, interval = \"50ms\" }
healthy_deadline = \"5s\"
monitor = \"500ms\"
";

fn usual() -> Scene {
    scene_as(&Wishes {
        compose: PROJECT,
        service: WATCHED,
        ..Wishes::default()
    })
}

/// The one container of the deployed service.
#[track_caller]
fn app(scene: &Scene) -> Value {
    container(scene, "app")
}

/// Which container it is, and which life of it.
fn life(container: &Value) -> (Value, Value) {
    let started_at = container["State"]["StartedAt"].clone();
    (container["Id"].clone(), started_at)
}

/// Whether the container is known in its network by the name of the service.
fn is_announced(container: &Value) -> bool {
    let networks = container["NetworkSettings"]["Networks"].as_object();
    let mut networks = networks.into_iter().flatten().map(|(_, one)| one);
    networks.any(|network| {
        let aliases = network["Aliases"].as_array();
        aliases.is_some_and(|aliases| aliases.contains(&json!("app")))
    })
}

/// The container has the name and the policy of the service, and is known in its network.
#[track_caller]
fn expect_in_place(scene: &Scene, container: &Value) {
    assert_eq!(container["State"]["Running"], true);
    assert_eq!(container["Name"], format!("/{}-app-1", scene.project()));
    let policy = &container["HostConfig"]["RestartPolicy"]["Name"];
    assert_eq!(policy, "unless-stopped");
    assert!(is_announced(container), "{container:#}");
}

/// No request failed, and these versions answered and no others.
#[track_caller]
fn expect_answers(asked: &[Asked], versions: &[&str]) {
    expect_none_failed(asked);
    for version in versions {
        let answers = |one: &Asked| one.outcome.as_deref() == Ok(version);
        assert!(asked.iter().any(answers), "{version} answered");
    }
    let is_other = |one: &&Asked| !versions.contains(&one.outcome.as_deref().unwrap_or_default());
    assert!(!asked.iter().any(|one| is_other(&one)), "another answered");
}

#[test]
fn start_first_no_request_by_name_fails_while_a_release_is_switched() {
    let mut scene = usual();
    let mut before = "one";
    for (version, delay_ms) in [("two", "0"), ("slow", "2000")] {
        let release = ImageSpec::new(version).env("START_DELAY_MS", delay_ms);
        let release = scene.push(&release);
        let (old, _) = life(&app(&scene));
        let asked = asked_by_name(&mut scene, |scene| {
            let ended = scene.deploy(&release).expect("succeeded");
            assert_eq!(ended.deployment()["outage_ms"], 0);
        });
        expect_answers(&asked, &[before, version]);
        before = version;
        let now = app(&scene);
        assert_ne!(now["Id"], old);
        expect_in_place(&scene, &now);
        scene.compose(&["up", "-d"]);
        assert_eq!(life(&app(&scene)), life(&now), "up by hand changes nothing");
        drop(scene.deploy(&release).expect("unchanged"));
    }
}

/// A proxy may notice the new one late.
#[test]
fn start_first_the_old_container_serves_for_the_delay_after_the_commit() {
    let mut scene = scene_as(&Wishes {
        compose: &PROJECT.replace("start-first}", "start-first, delay: 4s}"),
        service: WATCHED,
        ..Wishes::default()
    });
    let two = scene.push(&ImageSpec::new("two"));
    let mut deployment = Value::Null;
    let asked = asked_by_name(&mut scene, |scene| {
        let ended = scene.deploy(&two).expect("succeeded");
        deployment = ended.deployment().clone();
    });
    expect_answers(&asked, &["one", "two"]);
    let events = deployment["events"].as_array().expect("a list");
    let committed = events.iter().find(|event| event["kind"] == "committed");
    let committed = committed.and_then(|event| event["at"].as_str()?.parse().ok());
    let committed: Timestamp = committed.expect("when it was committed");
    // It would have ended long before.
    let late = SystemTime::from(committed) + Duration::from_secs(3);
    let of_old = |one: &Asked| one.began > late && one.outcome.as_deref() == Ok("one");
    assert!(asked.iter().any(of_old), "the old one answers");
}

#[test]
fn start_first_a_release_that_fails_is_never_asked_and_the_old_container_never_stopped() {
    let mut scene = usual();
    let before = life(&app(&scene));
    for (misfortune, value) in [("EXIT_AT_ONCE", "3"), ("NEVER_HEALTHY", "1")] {
        let release = scene.push(&ImageSpec::new("bad").env(misfortune, value));
        let asked = asked_by_name(&mut scene, |scene| {
            let ended = scene.deploy(&release).expect("rolled_back");
            assert_eq!(ended.deployment()["outage_ms"], 0);
        });
        expect_answers(&asked, &["one"]);
        let now = app(&scene);
        assert_eq!(life(&now), before, "{misfortune}");
        expect_in_place(&scene, &now);
    }
}

/// Only the requests that are under way when it ends may fail.
#[test]
fn start_first_a_release_that_ends_while_it_is_watched_leaves_the_old_container_serving() {
    let wishes = Wishes {
        compose: PROJECT,
        service: &WATCHED.replace("500ms", "3s"),
        ..Wishes::default()
    };
    let mut scene = scene_as(&wishes);
    let before = life(&app(&scene));
    let release = scene.push(&ImageSpec::new("bad").env("EXIT_AFTER_MS", "1500"));
    let asked = asked_by_name(&mut scene, |scene| {
        drop(scene.deploy(&release).expect("rolled_back"));
    });
    let failed = asked.iter().filter(|one| one.outcome.is_err()).count();
    assert!(failed <= cutover_testkit::load::CLIENTS, "{failed}");
    let now = app(&scene);
    assert_eq!(life(&now), before);
    expect_in_place(&scene, &now);
}

/// In turns before and after the call.
#[test]
fn start_first_a_daemon_that_is_killed_at_any_call_loses_no_request() {
    let mut scene = usual();
    let mut releases = ["two", "three"].map(|version| scene.push(&ImageSpec::new(version)));
    scene.docker.disarm();
    drop(scene.deploy(&releases[0]).expect("succeeded"));
    let calls = scene.docker.calls();
    assert!(calls.len() > 10, "{calls:?}");
    for (number, call) in calls.iter().enumerate() {
        let fault = match number % 2 {
            0 => Fault::StrikeAfter,
            _ => Fault::StrikeBefore,
        };
        releases.reverse();
        let mut struck = false;
        let asked = asked_by_name(&mut scene, |scene| {
            scene.docker.arm(number, fault);
            let mut client = scene.begin(&releases[0]);
            scene.wait_until("the call, or the end", || {
                struck = !scene.daemon_runs();
                struck || client.try_wait().expect("waited").is_some()
            });
            scene.docker.disarm();
            if struck {
                scene.start_daemon();
            }
            client.wait().expect("it ends");
            let deployment = newest_ended(scene);
            let outcome = &deployment["outcome"];
            let told = json!(["succeeded", "rolled_back", "failed"]);
            let is_told = told.as_array().is_some_and(|told| told.contains(outcome));
            assert!(is_told, "{number}, {call}: {deployment:#}");
            if outcome != "succeeded" {
                releases.reverse();
            }
        });
        let failed: Vec<_> = asked.iter().filter(|one| one.outcome.is_err()).collect();
        let (of, deployment) = (asked.len(), newest_ended(&scene));
        assert!(
            failed.is_empty(),
            "{number}, {fault:?}, {call}: of {of}: {failed:?}\n{deployment:#}"
        );
        scene.wait_until("the old container is gone", || {
            all_of(&scene, "app").len() == 1
        });
        expect_in_place(&scene, &app(&scene));
        assert!(struck, "call {number} was made");
    }
}

#[test]
fn start_first_after_a_power_cut_in_the_trial_docker_starts_the_old_container_alone() {
    for until_announced in [false, true] {
        on_own_engine(|engine| {
            let (socket, watched) = (engine.socket(), WATCHED.replace("500ms", "15s"));
            let mut scene = scene_as(&Wishes {
                compose: PROJECT,
                service: &watched.replace("\"5s\"", "\"60s\""),
                docker: Some(&socket),
                ..Wishes::default()
            });
            let (old, _) = life(&app(&scene));
            let delay_ms = if until_announced { "0" } else { "50000" };
            let next = scene.push(&ImageSpec::new("next").env("START_DELAY_MS", delay_ms));
            drop(scene.begin(&next));
            let new = |scene: &Scene| {
                all_of(scene, "app")
                    .into_iter()
                    .find(|one| one["Id"] != old)
            };
            scene.wait_until("the trial", || {
                scene
                    .history()
                    .first()
                    .is_some_and(|one| one["status"] == "verifying")
                    && new(&scene).is_some_and(|new| is_announced(&new) == until_announced)
            });
            scene.kill_daemon();
            engine.kill().expect("a power cut");
            engine.restart().expect("the machine boots");
            let runs = |one: &Value| one["State"]["Running"] == true;
            scene.wait_until("the old container runs", || {
                all_of(&scene, "app")
                    .iter()
                    .any(|one| one["Id"] == old && runs(one))
            });
            assert!(new(&scene).is_some_and(|new| !runs(&new)), "it runs alone");
            scene.start_daemon();
            assert_eq!(newest_ended(&scene)["outcome"], "rolled_back");
            let now = app(&scene);
            assert_eq!(now["Id"], old);
            expect_in_place(&scene, &now);
        });
    }
}

#[test]
fn start_first_is_refused_with_the_line_that_forbids_it_and_nothing_is_changed() {
    let mut scene = usual();
    let next = scene.push(&ImageSpec::new("next"));
    let before = life(&app(&scene));
    let (project, _) = PROJECT.split_once("  client:").expect("two services");
    let configuration = scene.configuration().display().to_string();
    for (lines, named) in [
        ("ports: [\"{port}:8080\"]", "`ports: "),
        ("container_name: shop", "`container_name: shop`"),
        ("network_mode: host", "`network_mode: host`"),
        (
            "networks: {default: {ipv4_address: 10.0.0.9}}",
            "`ipv4_address: 10.0.0.9`",
        ),
        (
            "volumes: [\"data:/data\"]\nvolumes: {data: {}}",
            "volume `data`",
        ),
        ("volumes: [\"/data\"]", "the volume at `/data`"),
    ] {
        scene.write_compose(&format!("{project}    {lines}\n"));
        let ended = scene.deploy(&next).expect("failed");
        assert_eq!(ended.cause(), "unsupported_strategy", "{lines}");
        let detail = ended.deployment()["cause"]["detail"].to_string();
        assert!(detail.contains(named), "{lines}: {detail}");
        let planned = scene
            .run(&["plan", "app", &next, "--config", &configuration])
            .stdout;
        assert!(planned.contains(named), "{lines}: {planned}");
        let checked = scene.run(&["check", "--config", &configuration]).stdout;
        assert!(checked.contains(named), "{lines}: {checked}");
        assert_eq!(life(&app(&scene)), before, "{lines}");
    }
}

#[test]
fn start_first_volumes_that_both_would_write_to_need_a_word() {
    let mut scene = usual();
    let one = scene.push(&ImageSpec::new("one").volume("/data"));
    let next = scene.push(&ImageSpec::new("next").volume("/data"));
    drop(scene.deploy(&one).expect("succeeded"));
    let before = life(&app(&scene));
    let ended = scene.deploy(&next).expect("failed");
    assert_eq!(ended.cause(), "unsupported_strategy", "of the image");
    assert_eq!(life(&app(&scene)), before);
    scene.stop_daemon();
    let configuration = scene.configuration();
    let text = std::fs::read_to_string(&configuration).expect("a configuration");
    std::fs::write(&configuration, text + "shared_volumes = \"allowed\"\n").expect("written");
    scene.start_daemon();
    let asked = asked_by_name(&mut scene, |scene| {
        drop(scene.deploy(&next).expect("succeeded"));
    });
    expect_answers(&asked, &["one", "next"]);
}

/// Such a proxy would not notice that the address has changed.
#[test]
fn start_first_a_container_that_a_proxy_follows_keeps_its_address() {
    let labeled = PROJECT.replace(
        "    deploy:",
        "    labels: {traefik.enable: \"true\"}\n    deploy:",
    );
    let mut scene = scene_as(&Wishes {
        compose: &labeled,
        service: WATCHED,
        ..Wishes::default()
    });
    for version in ["two", "three"] {
        let next = scene.push(&ImageSpec::new(version));
        scene.docker.disarm();
        let asked = asked_by_name(&mut scene, |scene| {
            drop(scene.deploy(&next).expect("succeeded"));
        });
        expect_answers(
            &asked,
            &[if version == "two" { "one" } else { "two" }, version],
        );
        let calls = scene.docker.calls().join("\n");
        assert!(!calls.contains("/disconnect"), "{calls}");
        expect_in_place(&scene, &app(&scene));
    }
}
