//! `cargo xtask test`: everything that must hold, in one command. Continuous integration runs this and
//! nothing else.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Seek as _, Write as _};
use std::num::NonZero;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::Args;

use crate::{lint, schemathesis, world};

/// The version of cargo-deny that checks the dependencies.
const CARGO_DENY: &str = "0.20.2";

/// How long fetching the database of advisories may take, in seconds. It is a few MB.
const DATABASE_SECONDS_MAX: &str = "120";

/// Tests that run beside each other on each core: most of them wait for Docker most of the time.
const TESTS_PER_CORE: usize = 2;

/// The test program of the whole deployments.
const LIVE: &str = "live";

/// What `cargo xtask test` takes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only the tests, without formatting, lints, documentation and dependency rules
    #[arg(long)]
    only_tests: bool,
}

/// Runs every check. Those that only take the processor run beside the tests of whole deployments, which wait for Docker
/// much of the time.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let started = Instant::now();
    let screen = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    if !arguments.only_tests {
        step("formatting", &screen, || {
            cargo(&["fmt", "--all", "--check"], &[], &screen)
        })?;
    }
    // The linters wait for downloads most of their time.
    let (linted, built) = thread::scope(|threads| {
        let linted = threads.spawn(|| match arguments.only_tests {
            true => Ok(()),
            false => step("scripts and workflows", &screen, lint::lint),
        });
        let built = step("building the tests", &screen, || {
            cargo(&["test", "--workspace", "--no-run"], &[], &screen)
        })
        .and_then(|()| step("schemathesis", &screen, schemathesis::fetch));
        (linted.join(), built)
    });
    built?;
    linted.map_err(|_| anyhow!("the step `scripts and workflows` panicked"))??;
    println!("\n== tests");
    let code = run_tests(arguments)?;
    println!("\ncargo xtask test took {} s", started.elapsed().as_secs());
    Ok(code)
}

/// The whole deployments take longest and wait for Docker much of it: everything else runs beside them, the other tests in a
/// world of their own, and is printed behind.
fn run_tests(arguments: &Arguments) -> Result<ExitCode> {
    let live = cargo_test(&["--test", LIVE]);
    let targets = test_targets()?;
    let mut rest = vec!["--lib", "--bins"];
    rest.extend(targets.iter().flat_map(|target| ["--test", target]));
    let others = [cargo_test(&rest), cargo_test(&["--doc"])];
    let mut printed = tempfile::tempfile()?;
    let (live, others) = thread::scope(|threads| {
        let to = &printed;
        let others = threads.spawn(move || -> Result<bool> {
            let mut are_well = true;
            for command in &others {
                are_well &= world::run_into(command, to)?;
            }
            if !arguments.only_tests {
                check_source(to)?;
            }
            Ok(are_well)
        });
        (world::run(&live), others.join())
    });
    printed.rewind()?;
    io::copy(&mut printed, &mut io::stdout())?;
    let are_well = others.map_err(|_| anyhow!("the other tests panicked"))??;
    Ok(match are_well {
        true => live?,
        false => ExitCode::FAILURE,
    })
}

/// What is looked at without being run.
fn check_source(to: &File) -> Result<()> {
    step("clippy", to, || {
        let clippy = ["clippy", "--workspace", "--all-targets"];
        let denied = ["--", "--deny", "warnings"];
        cargo(&[&clippy[..], &denied].concat(), &[], to)
    })?;
    step("documentation", to, || {
        let denied = [("RUSTDOCFLAGS", "--deny warnings")];
        cargo(&["doc", "--workspace", "--no-deps"], &denied, to)
    })?;
    step("dependency rules", to, || dependency_rules(to))
}

/// The names of all test programs of the workspace but the one of the whole deployments.
fn test_targets() -> Result<BTreeSet<String>> {
    let mut targets = BTreeSet::new();
    for package in fs::read_dir(root().join("crates"))? {
        let tests = package?.path().join("tests");
        let entries = match fs::read_dir(&tests) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let is_program = path.extension().is_some_and(|end| end == "rs");
            if is_program || path.join("main.rs").exists() {
                let name = path.file_stem().unwrap_or_default();
                targets.insert(name.to_string_lossy().into_owned());
            }
        }
    }
    ensure!(targets.remove(LIVE), "there is no test program `{LIVE}`");
    Ok(targets)
}

fn cargo_test(of: &[&str]) -> Vec<OsString> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get) * TESTS_PER_CORE;
    let threads = threads.to_string();
    // Inside a world there is no network but its own.
    let command = [
        "cargo",
        "test",
        "--offline",
        "--workspace",
        "--no-fail-fast",
    ]
    .iter();
    let command = command.chain(of).copied();
    // Each package of the workspace, because which features a dependency has depends on what is asked for.
    let all = command.chain(["--", "--test-threads", &threads]);
    all.map(OsString::from).collect()
}

fn step(name: &str, mut to: &File, run: impl FnOnce() -> Result<()>) -> Result<()> {
    writeln!(to, "\n== {name}")?;
    let started = Instant::now();
    run().with_context(|| format!("the step `{name}` failed"))?;
    writeln!(to, "   {} s", started.elapsed().as_secs())?;
    Ok(())
}

fn cargo(arguments: &[&str], environment: &[(&str, &str)], to: &File) -> Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(root())
        .stdout(to.try_clone()?)
        .stderr(to.try_clone()?)
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
fn dependency_rules(to: &File) -> Result<()> {
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
            to,
        )?;
    }
    let status = Command::new(&program)
        .args(["check", "licenses", "bans", "sources"])
        .current_dir(root())
        .stdout(to.try_clone()?)
        .stderr(to.try_clone()?)
        .status()
        .with_context(|| format!("{} could not be started", program.display()))?;
    ensure!(status.success(), "cargo-deny found something");
    advisories(&program, to)
}

/// Known vulnerabilities of the dependencies. Their database is on the network: where it is out of reach this says so
/// and does not fail, for that is no fault of the code.
fn advisories(program: &Path, mut to: &File) -> Result<()> {
    // Bounded, because a network that drops packets would be waited for without end.
    let fetched = Command::new("timeout")
        .arg(DATABASE_SECONDS_MAX)
        .arg(program)
        .args(["fetch", "db"])
        .current_dir(root())
        .stdout(to.try_clone()?)
        .stderr(to.try_clone()?)
        .status()
        .context("timeout could not be started")?;
    if !fetched.success() {
        writeln!(
            to,
            "   NOT CHECKED: advisories. The database of known vulnerabilities cannot be fetched here; \
             run this again where github.com is reachable."
        )?;
        return Ok(());
    }
    let status = Command::new(program)
        .args(["check", "--disable-fetch", "advisories"])
        .current_dir(root())
        .stdout(to.try_clone()?)
        .stderr(to.try_clone()?)
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
