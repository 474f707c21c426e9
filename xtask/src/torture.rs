//! `cargo xtask torture`: deployments struck at random moments, or at each call, until one ends in a state that is
//! neither the old release nor the new one.
//!
//! ```text
//! cargo xtask torture ─ builds the binary
//!   └─ test world
//!        └─ xtask torture --inside ─ workers, each with an engine and a scene of its own
//! ```

mod rounds;
mod sweep;
mod table;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use cutover_testkit::engine::packages::ComposeVersion;
use cutover_testkit::torture::fault::Fault;
use cutover_testkit::torture::release::Shape;

use crate::world;
use table::Table;

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
    #[arg(long, default_value = "all", value_delimiter = ',')]
    fault: Vec<String>,
    /// Strike at each call of a deployment, of a rollback and of a recovery, in place of random moments
    #[arg(long)]
    sweep: bool,
    /// Kill the daemon at each call of a deployment, and it or Docker again at each call of the recovery; or what --fault says
    #[arg(long)]
    pairs: bool,
    /// Sweep over releases of a job and two services, in place of one service
    #[arg(long)]
    several: bool,
    /// Sweep over releases of one service with two replicas
    #[arg(long, conflicts_with = "several")]
    replicas: bool,
    /// Sweep with the oldest Compose that cutover supports
    #[arg(long)]
    oldest_compose: bool,
    /// Sweep over so many calls for each fault, evenly spread; over all of them unless given
    #[arg(long)]
    points: Option<usize>,
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

/// Prepares outside, and plays inside.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if let Some(cutover) = &arguments.inside {
        let cutover = cutover.display().to_string();
        return if arguments.sweep || arguments.pairs {
            sweep::play(arguments, &cutover)
        } else {
            rounds::play(arguments, &cutover)
        };
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
    /// What is asked for, where only something that happens at a moment is meant.
    fn faults(&self) -> Result<Vec<Fault>> {
        if self.fault == ["all"] {
            return Ok(Fault::ALL.to_vec());
        }
        self.fault.iter().map(|name| name.parse()).collect()
    }

    fn shape(&self) -> Shape {
        let shape = match (self.several, self.replicas) {
            (true, _) => Shape::SEVERAL,
            (_, true) => Shape::REPLICAS,
            _ => Shape::USUAL,
        };
        shape.with_compose(match self.oldest_compose {
            true => ComposeVersion::Oldest,
            false => ComposeVersion::Newest,
        })
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }
}

/// Where everything about a third state is kept.
fn details() -> PathBuf {
    world::target_dir().join("torture")
}

/// Shows the table; fails if there is a third state in it.
fn conclude(table: &Table) -> ExitCode {
    println!("\n{}", table.markdown());
    let third = table.third();
    if third == 0 {
        return ExitCode::SUCCESS;
    }
    println!(
        "{third} ended in a third state; see {}",
        details().display()
    );
    ExitCode::FAILURE
}
