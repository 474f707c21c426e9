//! `cargo xtask torture`: deployments struck at random moments, or at each call, until one ends in a state that is
//! neither the old release nor the new one.
//!
//! ```text
//! cargo xtask torture ─ builds the binary
//!   └─ test world
//!        └─ xtask torture --inside ─ workers, each with an engine and a scene of its own
//! ```

mod rounds;
mod table;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use cutover_testkit::torture::fault::Fault;

use crate::world;

/// What `cargo xtask torture` takes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How many deployments are struck
    #[arg(long, default_value_t = 100)]
    rounds: u32,
    /// The number of the first round, to play some of them again
    #[arg(long, default_value_t = 0)]
    first: u32,
    /// What happens to them, one or several separated by commas; `all` for everything
    #[arg(long, default_value = "all", value_parser = faults)]
    fault: Faults,
    /// How many are played beside each other
    #[arg(long, default_value_t = 4)]
    jobs: u32,
    /// Rounds with the same seed and number are the same
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The longest, in seconds, that things may take until they are at rest
    #[arg(long, default_value_t = 120)]
    patience: u64,
    /// The binary to torture, from inside a test world
    #[arg(long, hide = true)]
    inside: Option<PathBuf>,
}

/// Some kinds of faults.
#[derive(Debug, Clone)]
struct Faults(Vec<Fault>);

fn faults(text: &str) -> Result<Faults> {
    if text == "all" {
        return Ok(Faults(Fault::ALL.to_vec()));
    }
    let all: Result<_> = text.split(',').map(str::parse).collect();
    Ok(Faults(all?))
}

/// Prepares outside, and plays inside.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if let Some(cutover) = &arguments.inside {
        return rounds::play(arguments, cutover);
    }
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "cutover"])
        .current_dir(world::workspace_dir())
        .status()
        .context("cargo could not be started")?;
    ensure!(status.success(), "cutover could not be built ({status})");
    let binary = world::target_dir().join("debug/cutover");
    let mut command: Vec<OsString> = vec![env::current_exe()?.into(), "torture".into()];
    command.extend(env::args_os().skip(2));
    command.extend(["--inside".into(), binary.into()]);
    world::run(&command)
}

impl Arguments {
    fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }
}

/// Where everything about a third state is kept.
fn details() -> PathBuf {
    world::target_dir().join("torture")
}
