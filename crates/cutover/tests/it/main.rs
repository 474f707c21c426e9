//! The built `cutover` binary, and the action, against a scripted server that speaks the contract: what they
//! send, what they print, and how they end.

mod server;
mod binary;
mod views;

mod init;
mod usage;
mod outcomes;
mod sending;
mod attaching;
mod reaching;
mod github;
mod action;
mod reading;
mod picking;
mod picture;
mod operating;
mod terminal;

/// A test file that is not listed above would silently not run.
#[test]
fn no_test_file_is_forgotten() {
    let listed = include_str!("main.rs");
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
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
