//! The listeners from outside, on raw sockets. Needs nothing but this machine; the API in front of a
//! real Docker is tested in `tests/api`.

mod wire;
mod served;

mod bounds;
mod framing;
mod tls;

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
