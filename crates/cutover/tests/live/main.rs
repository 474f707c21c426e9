//! The real daemon and the real client, in front of a real Docker, Compose and registry.
//!
//! One test binary; run it through `cargo xtask test`, which prepares the world that it needs.

mod outcomes;
mod probes;
mod secrets;
mod fidelity;
mod fidelity_settings;
mod env_files;
mod recovery;
mod replicas;
mod plans;
mod power;
mod disk;
mod turns;
mod by_hand;
mod github;
mod operator;
mod committed;
mod previous;
mod sweep;
mod systemd;
mod door;
mod several;
mod several_outcomes;
mod dependents;
mod whole_images;
mod digests;
mod jobs;
mod fix;
mod site;
mod docker_dies;
mod keeps_trying;
mod hands;
mod worse;
mod tags;
mod way_back;
mod whose;
mod way_back_lost;
mod clients;
mod hold;
mod hold_paths;
mod hold_several;
mod hold_faults;
mod start_first;
mod proxied;
mod hooks;
mod projects;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use cutover_testkit::engine::Engine;
use cutover_testkit::scene::Scene;
use serde_json::Value;

/// The program under test.
const CUTOVER: &str = env!("CARGO_BIN_EXE_cutover");

/// What must be unchanged when nothing was changed: the container's id and when it was started.
fn identity(scene: &Scene) -> (Value, Value) {
    let container = scene.container();
    (
        container["Id"].clone(),
        container["State"]["StartedAt"].clone(),
    )
}

/// Runs `test` on an engine of its own, in a network of its own.
fn on_own_engine(test: impl FnOnce(&mut Engine) + Send) {
    let directory = tempfile::Builder::new().prefix("cut").tempdir_in("/tmp");
    on_own_engine_in(directory.expect("a directory").path(), test);
}

/// The same with everything that the engine writes in `directory`, whose path must be short.
fn on_own_engine_in(directory: &Path, test: impl FnOnce(&mut Engine) + Send) {
    let world = cutover_testkit::world();
    let namespace = world.new_namespace().expect("a network namespace");
    let inside = namespace.clone();
    namespace
        .run(|| {
            let engine = Engine::start(&world.packages, &inside, &directory.join("e"));
            test(&mut engine.expect("an engine"));
        })
        .expect("the namespace can be entered");
}

/// For [`FaultyDocker::arm_every`], before a deployment begins: the old container is stopped, and after that none
/// is stopped or removed any more, so that the new one cannot be taken back.
///
/// [`FaultyDocker::arm_every`]: cutover_testkit::faults::FaultyDocker::arm_every
fn ends_the_new_container() -> impl Fn(&str) -> bool + Send + 'static {
    let stops = AtomicUsize::new(0);
    move |call| {
        let is_later_stop = || stops.fetch_add(1, Ordering::Relaxed) > 0;
        call.starts_with("DELETE ") || (call.ends_with("/stop") && is_later_stop())
    }
}

/// The kinds of a deployment's events, in order.
fn kinds(deployment: &Value) -> Vec<&str> {
    let events = deployment["events"].as_array();
    events
        .into_iter()
        .flatten()
        .filter_map(|event| event["kind"].as_str())
        .collect()
}

/// The newest deployment, whole, once it has ended.
fn newest_ended(scene: &Scene) -> Value {
    scene.wait_until("the deployment ends", || {
        scene.history()[0]["outcome"].is_string()
    });
    newest(scene)
}

/// The newest deployment, whole.
fn newest(scene: &Scene) -> Value {
    let newest = &scene.history()[0];
    let path = format!("/v1/deployments/{}", newest["id"].as_str().expect("an id"));
    scene.get(&path).expect("an answer").1
}

/// Everything that a deployment says for a person: its cause, and the messages of its events.
fn said(deployment: &Value) -> String {
    let events = deployment["events"].as_array().into_iter().flatten();
    let messages = events.filter_map(|event| event["message"].as_str());
    let cause = deployment["cause"]["detail"].as_str();
    cause
        .into_iter()
        .chain(messages)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn no_test_file_is_forgotten() {
    let main = include_str!("main.rs");
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/live");
    for entry in std::fs::read_dir(directory).expect("the directory of this file") {
        let name = entry
            .expect("an entry")
            .file_name()
            .into_string()
            .expect("a name");
        let module = name.trim_end_matches(".rs");
        assert!(
            module == "main" || main.contains(&format!("mod {module};")),
            "{name} is not compiled"
        );
    }
}
