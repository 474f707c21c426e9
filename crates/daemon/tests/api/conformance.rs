//! The OpenAPI document against the running daemon, by schemathesis: what the document says of requests and answers is
//! what the daemon takes and gives.
//!
//! `cargo xtask test` fetches the program, and a world names it in `CUTOVER_TEST_SCHEMATHESIS`. The number of examples is
//! bounded and the seed fixed, so that a run can be repeated.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use crate::daemon::{Daemon, TOKEN};

/// The program, if there is one.
const PROGRAM: &str = "CUTOVER_TEST_SCHEMATHESIS";

/// The seed of every run.
const SEED: &str = "20";

/// Examples of each operation.
const EXAMPLES: &str = "15";

/// The checks that are switched off. Each stands beside its reason.
const SWITCHED_OFF: [&str; 0] = [];

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_does_what_its_document_says() {
    let program = std::env::var_os(PROGRAM).map(PathBuf::from);
    let program = program.filter(|program| program.is_file()).unwrap_or_else(|| {
        panic!("{PROGRAM} names no program: run `cargo xtask test` once, which fetches schemathesis")
    });
    let (daemon, _) = Daemon::deployed().await;
    let address = daemon.server.address().expect("a network listener");
    // The tool keeps notes where it runs, and reads those of earlier runs.
    let notes = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(program);
    command
        .current_dir(notes.path())
        .args(["run", "--checks", "all", "--seed", SEED])
        .args(["--max-examples", EXAMPLES, "--workers", "1"])
        .args(["--continue-on-failure", "--header"])
        .arg(format!("Authorization:Bearer {TOKEN}"));
    if !SWITCHED_OFF.is_empty() {
        command.args(["--exclude-checks", &SWITCHED_OFF.join(",")]);
    }
    let output = command
        .arg(format!("http://{address}/openapi.json"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("schemathesis runs");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
