//! `cargo xtask mistakes`: shows that the tests can fail. Each mistake of `xtask/mistakes.toml` is put into a copy of
//! the code, alone, and the tests that are named for it must turn red.
//!
//! The copy and what is built of it stay in `target/mistakes`, so that each mistake costs one build of what it touches.
//! That every mistake can still be put in is a test: the texts that they replace move with the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde::Deserialize;

use crate::world;

/// The list, in the workspace.
const LIST: &str = "xtask/mistakes.toml";

/// What `cargo xtask mistakes` takes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only those whose description contains one of these; all of them unless given
    names: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mistake: Vec<Mistake>,
}

/// One mistake.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mistake {
    /// What is wrong with it in place, in a few words.
    what: String,
    /// The file, from the workspace's root.
    file: PathBuf,
    /// The text that is replaced; it stands there once.
    right: String,
    /// What it is replaced by.
    wrong: String,
    /// The target that is tested, as `cargo test` takes it: `-p cutover --test live`.
    target: String,
    /// The tests that turn red, by the beginnings of their names.
    tests: Vec<String>,
}

/// Puts in one after the other.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let workspace = world::workspace_dir();
    let list = read(&workspace)?;
    let is_chosen = |mistake: &&Mistake| {
        arguments.names.is_empty()
            || arguments
                .names
                .iter()
                .any(|name| mistake.what.contains(name))
    };
    let chosen: Vec<&Mistake> = list.iter().filter(is_chosen).collect();
    ensure!(!chosen.is_empty(), "no mistake is called so");
    let copy = Copy::of(&workspace)?;
    let mut unnoticed = Vec::new();
    for (number, mistake) in (1..).zip(&chosen) {
        let started = Instant::now();
        let red = copy.try_out(mistake)?;
        println!(
            "{number:>3} of {}  {:>4} s  {}  {}",
            chosen.len(),
            started.elapsed().as_secs(),
            if red.is_empty() { "NOT NOTICED" } else { "red" },
            mistake.what
        );
        for test in &red {
            println!("               {test}");
        }
        if red.is_empty() {
            unnoticed.push(&mistake.what);
        }
    }
    if unnoticed.is_empty() {
        println!("{} mistakes, each turned a test red", chosen.len());
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} of {} were not noticed", unnoticed.len(), chosen.len());
    Ok(ExitCode::FAILURE)
}

fn read(workspace: &Path) -> Result<Vec<Mistake>> {
    let text = fs::read_to_string(workspace.join(LIST)).context(LIST)?;
    let list: List = toml::from_str(&text).context(LIST)?;
    Ok(list.mistake)
}

/// The file with the mistake in it.
fn with_mistake(workspace: &Path, mistake: &Mistake) -> Result<String> {
    let path = workspace.join(&mistake.file);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let count = text.matches(&mistake.right).count();
    ensure!(
        count == 1,
        "the text of the mistake `{}` stands {count} times in {}, and not once",
        mistake.what,
        mistake.file.display()
    );
    Ok(text.replacen(&mistake.right, &mistake.wrong, 1))
}

/// A copy of what git knows of the workspace, as it is in the work tree.
#[derive(Debug)]
struct Copy {
    workspace: PathBuf,
    directory: PathBuf,
}

impl Copy {
    fn of(workspace: &Path) -> Result<Self> {
        let directory = world::target_dir().join("mistakes/tree");
        let listed = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(workspace)
            .output()
            .context("git could not be started")?;
        ensure!(listed.status.success(), "git does not list the files");
        let listed = String::from_utf8(listed.stdout)?;
        let files: BTreeSet<&Path> = listed.split_terminator('\0').map(Path::new).collect();
        for file in &files {
            let Ok(content) = fs::read(workspace.join(file)) else {
                // It was removed and that is not committed yet.
                continue;
            };
            write_if_other(&directory.join(file), &content)?;
            let permissions = fs::metadata(workspace.join(file))?.permissions();
            fs::set_permissions(directory.join(file), permissions)?;
        }
        Ok(Self {
            workspace: workspace.to_owned(),
            directory,
        })
    }

    /// Puts the mistake in, runs the tests, takes it out again; returns the names of the tests that failed.
    fn try_out(&self, mistake: &Mistake) -> Result<Vec<String>> {
        let wrong = with_mistake(&self.workspace, mistake)?;
        let path = self.directory.join(&mistake.file);
        fs::write(&path, wrong)?;
        let output = self.test(mistake);
        fs::copy(self.workspace.join(&mistake.file), &path)?;
        // An older file would not be built again.
        fs::File::open(&path)?.set_modified(std::time::SystemTime::now())?;
        let output = output?;
        let said = String::from_utf8_lossy(&output.stdout);
        let failed = said.lines().filter_map(|line| {
            let test = line.strip_prefix("test ")?;
            test.strip_suffix(" ... FAILED").map(ToOwned::to_owned)
        });
        let failed: Vec<String> = failed.collect();
        let ran = said.lines().any(|line| line.starts_with("test result: "));
        if !ran {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!("no test ran with the mistake `{}`: {why}", mistake.what);
        }
        Ok(failed)
    }

    /// Inside a test world, which some of the tests need.
    fn test(&self, mistake: &Mistake) -> Result<Output> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["engine", "run", "--", env!("CARGO"), "test", "--offline"]);
        command
            .arg("--manifest-path")
            .arg(self.directory.join("Cargo.toml"));
        command
            .arg("--target-dir")
            .arg(world::target_dir().join("mistakes/build"));
        command.args(mistake.target.split(' ')).arg("--");
        command.args(&mistake.tests);
        command
            .current_dir(&self.workspace)
            .output()
            .context("the tests could not be started")
    }
}

/// A file that is as it was is not touched: it would be built again.
fn write_if_other(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|found| found == content) {
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, content).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_can_still_be_put_in() {
        let workspace = world::workspace_dir();
        let list = read(&workspace).expect("a list");
        assert!(list.len() >= 15);
        let mut all = BTreeSet::new();
        for mistake in list {
            let wrong = with_mistake(&workspace, &mistake).expect("it stands there once");
            assert!(!wrong.is_empty() && mistake.right != mistake.wrong);
            assert!(!mistake.tests.is_empty(), "{}", mistake.what);
            assert!(all.insert(mistake.what.clone()), "{} twice", mistake.what);
        }
    }
}
