//! schemathesis, which compares the OpenAPI document with the running daemon: a Python program, installed once into an
//! environment of its own in the build directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use cutover_testkit::engine::command::output_of;

/// The version that the checks were chosen for.
const VERSION: &str = "4.32.5";

/// The variable that tells the test where the program is.
pub(crate) const VARIABLE: &str = "CUTOVER_SCHEMATHESIS";

/// The program, installed into `tools` if it is not there yet.
///
/// # Errors
/// If it cannot be installed; the comparison is not skipped.
pub(crate) fn program(tools: &Path) -> Result<PathBuf> {
    fs::create_dir_all(tools)?;
    let lock = File::create(tools.join("schemathesis.lock"))?;
    lock.lock()?;
    let environment = tools.join("schemathesis");
    let program = environment.join("bin/schemathesis");
    if !is_wanted(&program) {
        install(&environment).context(
            "schemathesis cannot be installed; it needs python3 with its module venv, and the package index of pip",
        )?;
    }
    Ok(program)
}

/// Whether the program is there, and is the version that is wanted.
fn is_wanted(program: &Path) -> bool {
    output_of(Command::new(program).arg("--version"))
        .is_ok_and(|version| version.split_whitespace().last() == Some(VERSION))
}

fn install(environment: &Path) -> Result<()> {
    let made = Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(environment)
        .status()
        .context("python3 cannot be run")?;
    ensure!(made.success(), "python3 -m venv ended with {made}");
    let installed = Command::new(environment.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .arg(format!("schemathesis=={VERSION}"))
        .status()?;
    ensure!(installed.success(), "pip install ended with {installed}");
    Ok(())
}
