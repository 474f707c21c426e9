//! A server with systemd ends without a trace. Run this with `cargo xtask test`, or alone with
//! `cargo xtask engine run -- cargo test -p cutover-testkit --test server`.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use cutover_testkit::server::Server;
use cutover_testkit::world;

#[test]
fn a_server_that_is_dropped_leaves_no_process_and_no_control_group() -> Result<()> {
    let namespace = world().new_namespace()?;
    let server = Server::boot(&world().packages, &namespace)?;
    let name = server.dir().file_name().context("a name")?;
    let name = name.to_string_lossy().into_owned();
    assert_eq!(server.run(&["systemctl", "is-active", "docker"]).exit, 0);
    assert_ne!(groups_of(&name)?, 0);
    assert_ne!(first_processes()?, 0);
    drop(server);
    assert_eq!(groups_of(&name)?, 0);
    assert_eq!(first_processes()?, 0);
    Ok(())
}

/// How many control groups are named after a directory.
fn groups_of(name: &str) -> Result<usize> {
    let root = Path::new("/sys/fs/cgroup");
    let mut count = 0;
    for entry in fs::read_dir(root)?.flatten() {
        let below = fs::read_dir(entry.path());
        let below = below.into_iter().flatten().flatten();
        let names = below.chain([entry]).map(|entry| entry.file_name());
        count += names
            .filter(|group| group.to_string_lossy().ends_with(name))
            .count();
    }
    Ok(count)
}

/// How many processes of this world are systemd, or about to become it.
fn first_processes() -> Result<usize> {
    let called = fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    Ok(called
        .filter(|words| String::from_utf8_lossy(words).contains("/cutover-test-init"))
        .count())
}
