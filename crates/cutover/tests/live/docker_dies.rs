//! Docker dies, is restarted, or the power is cut, at one certain call of a deployment.

use std::time::Duration;

use cutover_testkit::engine::wait::wait_for;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::SERVICE;
use serde_json::Value;

use crate::door::{Expected, Moment, after_the_start, is_change, path_ends_with};
use crate::site::{Death, Site, with_policy};
use crate::{kinds, newest_ended, on_own_engine, said};

/// The old container starts with Docker, the new one may not.
#[test]
fn docker_that_dies_between_the_commit_and_the_end_of_the_old_container_leaves_the_new_one_running()
{
    on_own_engine(|engine| {
        let mut site = Site::of(engine, SERVICE);
        let calls = site.calls_after_the_commit();
        for number in 0..calls {
            let expected = site.door.hold(Moment::Before, after_the_start(number));
            dies_after_the_commit(&mut site, expected, Death::Crash, "unless-stopped");
        }
        let expected = site.door.hold(Moment::Before, after_the_start(0));
        dies_after_the_commit(&mut site, expected, Death::Restart, "unless-stopped");
        site.scene.write_compose(&with_policy("always"));
        site.reset();
        let expected = site.door.hold(Moment::Before, after_the_start(0));
        dies_after_the_commit(&mut site, expected, Death::Crash, "always");
    });
}

#[track_caller]
fn dies_after_the_commit(site: &mut Site<'_>, expected: Expected, death: Death, policy: &str) {
    let held = site.reach(&site.new.tag, expected);
    let context = format!("Docker died before {}", held.call);
    assert_eq!(site.scene.history()[0]["status"], "committed", "{context}");
    site.dies(death);
    held.break_off();
    let deployment = newest_ended(&site.scene);
    let outcome = &deployment["outcome"];
    assert_eq!(*outcome, "succeeded", "{context}: {:?}", kinds(&deployment));
    site.expect_serves(site.new.version, policy, &context);
    site.turn();
}

/// The new container was never started, so it cannot have ended.
#[test]
fn docker_that_dies_before_the_new_container_is_started_costs_no_healthy_release() {
    on_own_engine(|engine| {
        let mut site = Site::of(engine, SERVICE);
        let old = site.scene.container()["Id"]
            .as_str()
            .expect("an id")
            .to_owned();
        let of_old = format!("/containers/{old}/");
        let first = move |call: &str| is_change(call) && call.contains(&of_old);
        let held = site.reach(&site.new.tag, site.door.hold(Moment::Before, first));
        let context = format!("Docker died before {}", held.call);
        site.dies(Death::Crash);
        held.break_off();
        let deployment = newest_ended(&site.scene);
        assert_eq!(
            deployment["outcome"],
            "succeeded",
            "{context}: {}",
            said(&deployment)
        );
        site.expect_serves(site.new.version, "unless-stopped", &context);
        site.turn();
        // Here Docker has started the old one again, and going back is right as well.
        let start = |call: &str| path_ends_with(call, "/start");
        let held = site.reach(&site.new.tag, site.door.hold(Moment::Before, start));
        let context = format!("Docker died before {}", held.call);
        site.dies(Death::Crash);
        held.break_off();
        let deployment = newest_ended(&site.scene);
        let serves = match deployment["outcome"].as_str() {
            Some("succeeded") => site.new.version,
            Some("rolled_back") => site.old.version,
            _ => panic!("{context}: {}", said(&deployment)),
        };
        assert_ne!(
            deployment["cause"]["code"],
            "container_exited",
            "{context}: {}",
            said(&deployment)
        );
        site.expect_serves(serves, "unless-stopped", &context);
    });
}

/// How long a Docker stays away at least, so that who waits for it has seen that.
const AWAY: Duration = Duration::from_secs(3);

#[test]
fn a_container_that_was_staged_when_docker_died_is_removed_when_docker_is_back() {
    on_own_engine(|engine| {
        let site = Site::of(engine, &with_policy("always"));
        let old = site.scene.container()["Id"].clone();
        let create = |call: &str| path_ends_with(call, "/containers/create");
        let held = site.reach(&site.new.tag, site.door.hold(Moment::After, create));
        site.engine.kill_daemon().expect("a crash");
        held.break_off();
        // Whether the deployment ends before Docker is back is its own affair.
        let ends = || site.scene.history()[0]["outcome"].is_string();
        drop(wait_for("an end", AWAY, || Ok(ends().then_some(()))));
        site.engine.restart().expect("Docker comes back");
        let deployment = newest_ended(&site.scene);
        assert_eq!(deployment["outcome"], "failed", "{}", said(&deployment));
        assert_eq!(deployment["nothing_changed"], true);
        site.expect_serves("old", "always", "Docker died in the staging");
        assert_eq!(site.scene.container()["Id"], old);
    });
}

#[test]
fn a_failure_before_the_switch_says_what_runs_when_docker_took_the_service_with_it() {
    on_own_engine(|engine| {
        // Docker does not start it again.
        let mut site = Site::of(engine, &with_policy("\"no\""));
        let create = |call: &str| path_ends_with(call, "/containers/create");
        let held = site.reach(&site.new.tag, site.door.hold(Moment::After, create));
        site.dies(Death::Crash);
        held.break_off();
        let deployment = newest_ended(&site.scene);
        assert_eq!(deployment["outcome"], "failed", "{}", said(&deployment));
        assert_eq!(site.scene.serves(), "");
        let said = said(&deployment);
        assert!(said.contains("no container of the service"), "{said}");
    });
}

/// Without a published port nothing keeps a second container from starting.
fn without_ports() -> String {
    let lines = SERVICE.lines().filter(|line| !line.contains("ports:"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// At no moment could two containers start at boot, and cutover ends in the new one.
#[test]
fn a_power_cut_after_the_commit_never_lets_two_containers_start() {
    on_own_engine(|engine| {
        let mut site = Site::of(engine, &without_ports());
        for number in 0..site.calls_after_the_commit() {
            let held = site.reach(
                &site.new.tag,
                site.door.hold(Moment::Before, after_the_start(number)),
            );
            let context = format!("the power was cut before {}", held.call);
            site.power_cut();
            held.break_off();
            let found = site.scene.containers();
            let running = found.iter().filter(|one| one["State"]["Running"] == true);
            let names: Vec<&Value> = running.map(|one| &one["Name"]).collect();
            assert!(names.len() <= 1, "{context}: {names:?} run");
            site.scene.start_daemon();
            let deployment = newest_ended(&site.scene);
            let outcome = &deployment["outcome"];
            assert_eq!(*outcome, "succeeded", "{context}: {}", said(&deployment));
            site.expect_runs(&site.new.tag, "unless-stopped", &context);
            site.turn();
        }
    });
}

#[test]
fn after_a_power_cut_in_the_trial_docker_starts_an_old_container_that_restarts_on_failure() {
    on_own_engine(|engine| {
        let mut site = Site::of(engine, &with_policy("on-failure"));
        let slow = ImageSpec::new("slow").env("START_DELAY_MS", "600000");
        let slow = site.scene.push(&slow);
        let old = site.scene.container()["Id"].clone();
        drop(site.scene.begin(&slow));
        site.scene
            .wait_until("the new release is being verified", || {
                site.scene.history()[0]["status"] == "verifying"
            });
        site.power_cut();
        site.scene
            .wait_until("the old release answers without cutover", || {
                site.scene.serves() == "old"
            });
        site.scene.start_daemon();
        let deployment = newest_ended(&site.scene);
        assert_eq!(
            deployment["outcome"],
            "rolled_back",
            "{}",
            said(&deployment)
        );
        site.expect_serves("old", "on-failure", "after a power cut");
        assert_eq!(site.scene.container()["Id"], old);
    });
}
