//! `cargo xtask demo`: the whole product on one small shop, played through the real client.
//!
//! ```text
//! surroundings  which Docker Engine, Compose and registry are used
//! docker        looking at Docker, and removing what the demo made
//! shop          the example shop: images, Compose project, certificate, daemon
//! story         the acts
//! act           what an act is: who types what, and what is promised
//! stage         plays one act
//! verdict       compares what happened with what was promised
//! screen        everything that is printed
//! interrupt     Ctrl-C
//! ```
//!
//! With a Docker Engine of the machine's own, the demo runs beside whatever else runs there, under a
//! project name of its own. Without one it starts itself again inside a world with a private engine.

mod act;
mod docker;
mod interrupt;
mod screen;
mod shop;
mod stage;
mod story;
mod surroundings;
mod verdict;

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::world;
use interrupt::Interrupt;
use screen::{Screen, span};
use shop::Shop;
use stage::Stage;
use surroundings::{Absent, Surroundings};

/// What a shell reports for a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Leave everything running after the last act, until Ctrl-C, and say how to look around
    #[arg(long)]
    keep: bool,
    /// Use the private Docker Engine even if the machine has one of its own
    #[arg(long)]
    private: bool,
    /// Set inside a world: the built program
    #[arg(long, hide = true, value_name = "PROGRAM", requires = "init_pid_file")]
    inside: Option<PathBuf>,
    /// Set inside a world: where its first process's number is written, as the machine counts
    #[arg(long, hide = true, value_name = "FILE")]
    init_pid_file: Option<PathBuf>,
}

/// Plays the demo. The exit code is 0 only if every promise was kept.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if let (Some(cutover), Some(pid_file)) = (&arguments.inside, &arguments.init_pid_file) {
        let surroundings = Surroundings::of_this_world(cutover.clone(), pid_file.clone())?;
        return play(&surroundings, arguments, &Interrupt::watch(|| {})?);
    }
    let cutover = build_cutover()?;
    let found = match arguments.private {
        true => Err(Absent("you asked for the private one".to_owned())),
        false => surroundings::of_this_machine(),
    };
    match found {
        Ok(own) => {
            let _alone = claim_project()?;
            let surroundings = Surroundings::with_own_engine(own, cutover)?;
            play(&surroundings, arguments, &Interrupt::watch(|| {})?)
        }
        Err(Absent(reason)) => {
            eprintln!(
                "The machine's own Docker is not used: {reason}.\n\
                 Starting a private Docker Engine; nothing is installed."
            );
            play_in_private(&cutover, arguments)
        }
    }
}

/// Starts this again inside a fresh world. Whatever happens, nothing of the world is left.
fn play_in_private(cutover: &Path, arguments: &Arguments) -> Result<ExitCode> {
    let pid_file = tempfile::NamedTempFile::new()?;
    let interrupt = Interrupt::watch(interrupt::end_world)?;
    interrupt::note_init_pid(pid_file.path().to_owned());
    let mut command = vec![
        env::current_exe()?.into_os_string(),
        "demo".into(),
        "--inside".into(),
        cutover.into(),
        "--init-pid-file".into(),
        pid_file.path().into(),
    ];
    if arguments.keep {
        command.push("--keep".into());
    }
    let ended = world::run(&command);
    if interrupt.came() {
        eprintln!(
            "\nended by a signal; the private Docker Engine and all that ran in it is removed"
        );
        return Ok(ExitCode::from(INTERRUPTED));
    }
    ended
}

/// Sets the shop up, plays all acts, cleans up.
fn play(
    surroundings: &Surroundings,
    arguments: &Arguments,
    interrupt: &Interrupt,
) -> Result<ExitCode> {
    let started = Instant::now();
    let screen = Screen::for_stdout();
    let mut shop = Shop::open(surroundings, &screen)?;
    let mut stage = Stage::new(&shop, &screen, interrupt)?;
    let played = story::play(&mut stage);
    let rows = stage.into_rows();
    if interrupt.came() {
        shop.close(&screen)?;
        return Ok(ExitCode::from(INTERRUPTED));
    }
    screen.table(&rows);
    if let Err(error) = played {
        screen.log_tail(&shop.log());
        shop.close(&screen)?;
        return Err(error);
    }
    let kept = rows.iter().all(|row| row.broken.is_empty());
    if !kept {
        screen.log_tail(&shop.log());
    }
    screen.verdict(&rows, &span(started.elapsed()));
    if arguments.keep {
        screen.look_around(&shop, surroundings);
        interrupt.wait();
    }
    shop.close(&screen)?;
    Ok(match kept {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Two demos on one engine would take each other's containers for their own. Held as long as the file
/// is open.
fn claim_project() -> Result<File> {
    let lock = File::create(env::current_exe()?.with_file_name("demo.lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            bail!("another demo runs on this machine's Docker already")
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Builds the program and returns its path: beside xtask's own.
fn build_cutover() -> Result<PathBuf> {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--package", "cutover"])
        .current_dir(xtask.parent().unwrap_or(xtask))
        .status()
        .context("cargo could not be started")?;
    ensure!(status.success(), "cutover could not be built ({status})");
    let program = env::current_exe()?.with_file_name("cutover");
    fs::metadata(&program)
        .with_context(|| format!("the build left no program at {}", program.display()))?;
    Ok(program)
}
