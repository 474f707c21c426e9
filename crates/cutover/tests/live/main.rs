//! The real daemon and the real client, in front of a real Docker, Compose and registry.
//!
//! One test binary; run it through `cargo xtask test`, which prepares the world that it needs.

mod outcomes;
mod fidelity;
mod recovery;
mod power;
mod turns;
mod by_hand;
mod github;
mod operator;

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

/// The kinds of a deployment's events, in order.
fn kinds(deployment: &Value) -> Vec<&str> {
    let events = deployment["events"].as_array();
    events
        .into_iter()
        .flatten()
        .filter_map(|event| event["kind"].as_str())
        .collect()
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
