//! `cargo xtask engine`: a private Docker Engine to play with or to run a command against.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use cutover_testkit::engine::command::tail_of;
use cutover_testkit::engine::wait::wait_for;
use cutover_testkit::engine::{Engine, processes, remove_leftovers};
use rustix::process::{Pid, Signal};

use crate::world::{self, World};

/// From the start of a world until its engine and registry answer.
const UP_TIMEOUT: Duration = Duration::from_secs(120);
/// From the signal until every process of a world is gone.
const DOWN_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Download and unpack Debian's packages of Docker (nothing is installed)
    Fetch,
    /// Start a private engine and a registry in the background
    Up {
        /// Where it keeps everything
        #[arg(long, default_value_os_t = default_dir())]
        dir: PathBuf,
    },
    /// Stop what `up` started and remove its directory
    Down {
        /// The directory that `up` was given
        #[arg(long, default_value_os_t = default_dir())]
        dir: PathBuf,
    },
    /// Run a command in a fresh world: a network of its own with a private engine in it
    Run {
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

/// Runs one of the subcommands.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    match arguments.command {
        Command::Fetch => fetch(),
        Command::Up { dir } => up(&dir),
        Command::Down { dir } => down(&dir),
        Command::Run { command } => world::run(&command),
    }
}

fn default_dir() -> PathBuf {
    world::engine_dir().join("up")
}

fn fetch() -> Result<ExitCode> {
    let started = Instant::now();
    let packages = Engine::fetch(&world::engine_dir())?;
    for version in packages.versions()? {
        println!("{version}");
    }
    eprintln!(
        "unpacked in {} ({:.1} s)",
        packages.dir().display(),
        started.elapsed().as_secs_f32()
    );
    Ok(ExitCode::SUCCESS)
}

fn up(dir: &Path) -> Result<ExitCode> {
    if world::is_running(dir)? {
        bail!(
            "a private engine runs in {dir} already; stop it with `cargo xtask engine down --dir {dir}`",
            dir = dir.display()
        );
    }
    let started = Instant::now();
    let world = World::prepare(dir)?;
    let log = dir.join("world.log");
    drop(fs::remove_file(&log));
    drop(fs::remove_file(world::ready_file(dir)));
    let mut command = world.command(&[])?;
    processes::log_to(&mut command, &log)?;
    let mut unshare = command.spawn().context("unshare could not be started")?;
    fs::write(dir.join("pid"), unshare.id().to_string())?;
    let ready = wait_for("the private engine", UP_TIMEOUT, || {
        if let Some(status) = unshare.try_wait()? {
            bail!("it ended: {status}");
        }
        Ok(fs::read_to_string(world::ready_file(dir)).ok())
    });
    let registry =
        ready.with_context(|| format!("the private engine did not start; {}", tail_of(&log)))?;
    let init = processes::child_of(unshare.id())?.context("the private engine is gone")?;
    eprintln!("ready after {:.1} s", started.elapsed().as_secs_f32());
    println!(
        "export DOCKER_HOST=unix://{socket} DOCKER_CONFIG={config} PATH={bin}:$PATH\n\
         # published ports and the registry at {registry} are inside its network:\n\
         #   nsenter --net=/proc/{init}/ns/net curl http://{registry}/v2/_catalog\n\
         # stop it: cargo xtask engine down --dir {dir}",
        socket = dir.join("engine/docker.sock").display(),
        config = dir.join("engine/client").display(),
        bin = world::engine_dir().join("bin").display(),
        init = init.as_raw_nonzero(),
        dir = dir.display(),
    );
    Ok(ExitCode::SUCCESS)
}

fn down(dir: &Path) -> Result<ExitCode> {
    if world::is_running(dir)? {
        let pid: u32 = fs::read_to_string(dir.join("pid"))?.parse()?;
        let unshare = Pid::from_raw(pid.cast_signed()).context("the pid file is damaged")?;
        match processes::child_of(pid)? {
            Some(init) => processes::signal(init, Signal::KILL),
            None => processes::signal(unshare, Signal::KILL),
        }
        wait_for("the end of the private engine", DOWN_TIMEOUT, || {
            Ok((!world::is_running(dir)?).then_some(()))
        })?;
    }
    if world::is_world(dir) {
        remove_leftovers(dir)?;
        eprintln!("stopped and removed {}", dir.display());
    } else {
        eprintln!("no private engine was started in {}", dir.display());
    }
    Ok(ExitCode::SUCCESS)
}
