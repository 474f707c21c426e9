//! `cargo xtask test`: everything that must hold, in one command. Continuous integration runs this and
//! nothing else.

use std::ffi::OsString;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{lint, schemathesis, world};

/// The version of cargo-deny that checks the dependencies.
const CARGO_DENY: &str = "0.20.2";

/// How long fetching the database of advisories may take, in seconds. It is a few MB.
const DATABASE_SECONDS_MAX: &str = "120";

/// Tests that run beside each other on each core: most of them wait for Docker most of the time.
const TESTS_PER_CORE: usize = 2;

/// What `cargo xtask test` takes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only the tests, without formatting, lints, documentation and dependency rules
    #[arg(long)]
    only_tests: bool,
}

/// Runs every check; the first that fails ends it.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let started = Instant::now();
    if !arguments.only_tests {
        step("formatting", || cargo(&["fmt", "--all", "--check"], &[]))?;
        step("clippy", || {
            cargo(
                &[
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--",
                    "--deny",
                    "warnings",
                ],
                &[],
            )
        })?;
        step("documentation", || {
            cargo(
                &["doc", "--workspace", "--no-deps"],
                &[("RUSTDOCFLAGS", "--deny warnings")],
            )
        })?;
        step("dependency rules", dependency_rules)?;
        step("scripts and workflows", lint::lint)?;
    }
    step("building the tests", || {
        cargo(&["test", "--workspace", "--no-run"], &[])
    })?;
    step("schemathesis", schemathesis::fetch)?;
    println!("\n== tests");
    let threads = thread::available_parallelism().map_or(1, NonZero::get) * TESTS_PER_CORE;
    // Inside a world there is no network but its own.
    let tests = [
        "cargo",
        "test",
        "--offline",
        "--workspace",
        "--no-fail-fast",
    ];
    let threads = ["--", "--test-threads", &threads.to_string()].map(OsString::from);
    let command: Vec<OsString> = tests.map(Into::into).into_iter().chain(threads).collect();
    let code = world::run(&command)?;
    println!("\ncargo xtask test took {} s", started.elapsed().as_secs());
    Ok(code)
}

fn step(name: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("\n== {name}");
    let started = Instant::now();
    run().with_context(|| format!("the step `{name}` failed"))?;
    println!("   {} s", started.elapsed().as_secs());
    Ok(())
}

fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(root())
        .status()
        .context("cargo could not be started")?;
    ensure!(
        status.success(),
        "`cargo {}` ended with {status}",
        arguments.join(" ")
    );
    Ok(())
}

/// Licences, banned crates, sources and advisories, by cargo-deny; fetched into the target directory if need be.
fn dependency_rules() -> Result<()> {
    let tools = root().join("target/tools");
    let program = tools.join("bin/cargo-deny");
    if !has_version(&program) {
        let root = tools.display().to_string();
        let target = tools.join("build").display().to_string();
        cargo(
            &[
                "install",
                "cargo-deny",
                "--version",
                CARGO_DENY,
                "--locked",
                "--debug",
                "--quiet",
                "--root",
                &root,
                "--target-dir",
                &target,
            ],
            &[],
        )?;
    }
    let status = Command::new(&program)
        .args(["check", "licenses", "bans", "sources"])
        .current_dir(root())
        .status()
        .with_context(|| format!("{} could not be started", program.display()))?;
    ensure!(status.success(), "cargo-deny found something");
    advisories(&program)
}

/// Known vulnerabilities of the dependencies. Their database is on the network: where it is out of reach this says so
/// and does not fail, for that is no fault of the code.
fn advisories(program: &Path) -> Result<()> {
    // Bounded, because a network that drops packets would be waited for without end.
    let fetched = Command::new("timeout")
        .arg(DATABASE_SECONDS_MAX)
        .arg(program)
        .args(["fetch", "db"])
        .current_dir(root())
        .status()
        .context("timeout could not be started")?;
    if !fetched.success() {
        println!(
            "   NOT CHECKED: advisories. The database of known vulnerabilities cannot be fetched here; \
             run this again where github.com is reachable."
        );
        return Ok(());
    }
    let status = Command::new(program)
        .args(["check", "--disable-fetch", "advisories"])
        .current_dir(root())
        .status()?;
    ensure!(
        status.success(),
        "cargo-deny knows of a vulnerability in a dependency: update it, or list it under `[advisories]` in deny.toml with a reason"
    );
    Ok(())
}

fn has_version(program: &Path) -> bool {
    let version = Command::new(program).arg("--version").output();
    version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(CARGO_DENY))
}

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
