//! The linters of others: fetched once into the build directory, and tried before they are trusted.
//!
//! shellcheck is Debian's package, unpacked and not installed. action-validator, which knows the form of
//! workflows and actions, is a crate; it is built beside this workspace and no part of it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use cutover_testkit::engine::command::output_of;

use super::rules::Kind;
use super::source::Fragment;
use crate::debian;

/// shellcheck and the libraries that a small machine may lack. The oldest release's packages run on
/// every later one.
const SHELLCHECK: [&str; 3] = [
    "shellcheck/bookworm",
    "libgmp10/bookworm",
    "libffi8/bookworm",
];
/// Whose form of workflows is checked against.
const VALIDATOR_VERSION: &str = "0.9.0";

/// Where the linters are.
#[derive(Debug)]
pub(super) struct Tools {
    shellcheck: PathBuf,
    libraries: PathBuf,
    validator: PathBuf,
    /// Takes texts that have to be files to be looked through.
    scratch: PathBuf,
}

impl Tools {
    /// Fetches what is not there yet, and sees that each linter finds a planted mistake.
    ///
    /// # Errors
    /// If one of them cannot be had or finds nothing; the checks are not skipped.
    pub(super) fn fetch(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let lock = File::create(dir.join("lock"))?;
        lock.lock()?;
        let unpacked = dir.join("shellcheck");
        if !unpacked.exists() {
            debian::unpack(&dir.join("staging"), &SHELLCHECK, &unpacked).context(
                "shellcheck cannot be had; it comes from the Debian mirror of this machine's apt",
            )?;
        }
        let validator = dir.join("bin/action-validator");
        if !is_validator(&validator) {
            build_validator(dir).context(
                "action-validator cannot be had; it is a crate, built with `cargo install`",
            )?;
        }
        let tools = Self {
            shellcheck: unpacked.join("usr/bin/shellcheck"),
            libraries: libraries_in(&unpacked.join("usr/lib"))?,
            validator,
            scratch: dir.join("scratch"),
        };
        tools.find_planted_mistakes()?;
        Ok(tools)
    }

    /// Looks through a script of the workspace and the parts that it reads in.
    pub(super) fn shellcheck_file(&self, root: &Path, script: &Path) -> Result<Vec<String>> {
        let output = self
            .shellcheck_command()
            .args([
                "--external-sources",
                "--check-sourced",
                "--source-path=SCRIPTDIR",
            ])
            .arg(script)
            .current_dir(root)
            .output()?;
        lines_of(&output, "shellcheck")
    }

    /// Looks through a script that is part of another file.
    pub(super) fn shellcheck(&self, script: &Fragment) -> Result<Vec<String>> {
        let mut child = self
            .shellcheck_command()
            .args(["--shell=bash", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut input = child.stdin.take().context("shellcheck has no input")?;
        input.write_all(script.text.as_bytes())?;
        drop(input);
        let lines = lines_of(&child.wait_with_output()?, "shellcheck")?;
        Ok(lines
            .iter()
            .map(|line| placed(script, line).unwrap_or_else(|| line.clone()))
            .collect())
    }

    /// Looks at the form of a workflow or an action.
    pub(super) fn validate(&self, yaml: &Fragment, kind: Kind) -> Result<Vec<String>> {
        fs::create_dir_all(&self.scratch)?;
        // The name tells what the file is to be.
        let path = self.scratch.join(match kind {
            Kind::Action => "action.yml",
            Kind::Workflow | Kind::Example => "workflow.yml",
        });
        fs::write(&path, &yaml.text)?;
        let output = Command::new(&self.validator).arg(&path).output()?;
        if output.status.success() {
            return Ok(Vec::new());
        }
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        Ok(vec![yaml.finding(1, said.trim())])
    }

    fn shellcheck_command(&self) -> Command {
        let mut command = Command::new(&self.shellcheck);
        command
            .env("LD_LIBRARY_PATH", &self.libraries)
            .env("LC_ALL", "C.UTF-8")
            .args(["--norc", "--format=gcc"]);
        command
    }

    /// A linter that is silent about these would be silent about everything.
    fn find_planted_mistakes(&self) -> Result<()> {
        let script = Fragment::whole("planted.sh", "rm $1\n".to_owned());
        ensure!(
            self.shellcheck(&script)?.len() == 1,
            "shellcheck does not find a planted mistake"
        );
        for kind in [Kind::Action, Kind::Workflow] {
            let text = "name: planted\non: push\njobs: {}\nruns: {}\n".to_owned();
            ensure!(
                self.validate(&Fragment::whole("planted.yml", text), kind)?
                    .len()
                    == 1,
                "action-validator does not find a planted mistake"
            );
        }
        Ok(())
    }
}

/// The lines that a linter has printed, one for each finding.
fn lines_of(output: &Output, name: &str) -> Result<Vec<String>> {
    // 1 means findings, everything above means that it could not look.
    if !matches!(output.status.code(), Some(0 | 1)) {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name} failed ({}): {}", output.status, said.trim());
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    Ok(lines.lines().map(str::to_owned).collect())
}

/// A line `-:LINE:COLUMN: message`, as said of the file that the script is part of.
fn placed(script: &Fragment, line: &str) -> Option<String> {
    let mut parts = line.splitn(4, ':');
    let (_, number, _) = (parts.next()?, parts.next()?, parts.next()?);
    Some(script.finding(number.parse().ok()?, parts.next()?.trim()))
}

/// The directory of the unpacked libraries, which is named after the machine's architecture.
fn libraries_in(parent: &Path) -> Result<PathBuf> {
    fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().contains("-linux-"))
        .with_context(|| format!("there are no libraries in {}", parent.display()))
}

/// Whether the program is there, and is the version that is wanted.
fn is_validator(program: &Path) -> bool {
    output_of(Command::new(program).arg("--version"))
        .is_ok_and(|version| version.split_whitespace().last() == Some(VALIDATOR_VERSION))
}

/// Builds action-validator. Cargo's own report goes to whoever waits for it: this takes a minute, once.
fn build_validator(dir: &Path) -> Result<()> {
    let build = dir.join("build");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "install",
            "action-validator",
            "--version",
            VALIDATOR_VERSION,
        ])
        .args(["--locked", "--debug", "--force", "--quiet", "--root"])
        .arg(dir)
        .arg("--target-dir")
        .arg(&build)
        .status()
        .context("cargo cannot be run")?;
    ensure!(status.success(), "cargo install ended with {status}");
    fs::remove_dir_all(&build)?;
    Ok(())
}
