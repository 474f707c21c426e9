//! The client of Docker, and the proof of a container, against a real Docker and a real registry.
//!
//! One test binary; run it through `cargo xtask test`, which prepares the world that it needs.

mod bench;

mod boot;
mod compose;
mod create;
mod effects;
mod events;
mod image_stores;
mod output;
mod pull;
mod refusals;
mod restarts;
mod verify;
mod way_back;

/// A test file that is not listed above would silently not run.
#[test]
fn no_test_file_is_forgotten() {
    let listed = include_str!("main.rs");
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/docker");
    for entry in std::fs::read_dir(directory).expect("the test directory") {
        let name = entry.expect("an entry").file_name();
        let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".rs")) else {
            continue;
        };
        assert!(
            stem == "main" || listed.contains(&format!("\nmod {stem};\n")),
            "{stem}.rs is not listed"
        );
    }
}
