//! The API of the whole daemon, in front of a real Docker, Compose and registry.
//!
//! One test binary; run it through `cargo xtask test`, which prepares the world that it needs.

#[path = "../it/wire.rs"]
mod wire;
mod docker;
mod daemon;

mod bad_input;
mod deliveries;
mod refusals;
mod access;
mod events;
mod operating;
mod conformance;

/// A test file that is not listed above would silently not run.
#[test]
fn no_test_file_is_forgotten() {
    let listed = include_str!("main.rs");
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api");
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
