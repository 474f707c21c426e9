//! Test worlds. A world is a network namespace with a private Docker Engine in it, in which a
//! command runs that finds the engine through its environment (`cutover_testkit::world`).
//!
//! ```text
//! cargo xtask test ─ unshare (net, pid, mount) ─ docker-init ─ xtask world ─┬─ private engine
//!        outside     inside                                                 └─ the command
//! ```
//!
//! A world has its own process namespace too: when its command ends, or is killed in whatever way,
//! nothing of it is left running.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use cutover_testkit::engine::namespace::{self, Namespace};
use cutover_testkit::engine::packages::Packages;
use cutover_testkit::engine::world::World as TestWorld;
use cutover_testkit::engine::{Engine, remove_leftovers};
use cutover_testkit::registry::{Auth, Registry};

use crate::schemathesis;

/// Directories of worlds are here: short enough for sockets in them, whatever the checkout's path.
const WORLDS: &str = "/tmp";
const PREFIX: &str = "cutover-world-";
/// Held by everybody who uses the directory of a world.
const LOCK: &str = "world.lock";
/// The port of the registry that `engine up` offers.
const REGISTRY_PORT: u16 = 5000;

/// What the process inside the namespaces is told.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The directory of the world
    #[arg(long)]
    dir: PathBuf,
    /// The example service's program
    #[arg(long)]
    shopd: PathBuf,
    /// The command to run; without one, a registry is started and the world stays until it is killed
    #[arg(last = true)]
    command: Vec<OsString>,
}

/// Runs a command in a fresh world and returns its exit code.
pub(crate) fn run(command: &[OsString]) -> Result<ExitCode> {
    in_world(command, |_| Ok(())).map(exit_code)
}

/// Runs a command in a fresh world and returns whether it ended well. What it prints goes into the file.
pub(crate) fn run_into(command: &[OsString], printed: &File) -> Result<bool> {
    let status = in_world(command, |command| {
        command.stdout(printed.try_clone()?);
        command.stderr(printed.try_clone()?);
        Ok(())
    });
    Ok(status?.success())
}

fn in_world(
    command: &[OsString],
    prepare: impl FnOnce(&mut Command) -> Result<()>,
) -> Result<ExitStatus> {
    remove_deserted_worlds();
    let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(WORLDS)?;
    let world = World::prepare(dir.path())?;
    let mut command = world.command(command)?;
    prepare(&mut command)?;
    let status = command.status().context("unshare could not be started")?;
    drop(world);
    remove_leftovers(dir.path())?;
    Ok(status)
}

/// Everything that is needed to make a world, on the machine's disk.
#[derive(Debug)]
pub(crate) struct World {
    dir: PathBuf,
    packages: Packages,
    shopd: PathBuf,
    /// Held as long as this lives.
    _lock: File,
}

impl World {
    /// Fetches the packages, builds the example service and claims the directory. Here, outside,
    /// there is a network; inside there is none.
    pub(crate) fn prepare(dir: &Path) -> Result<Self> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "a private Docker with a network of its own needs root: \
             run this as root, or in a container started with `--privileged`"
        );
        fs::create_dir_all(dir)?;
        let lock = claim(dir)?;
        let engine_dir = engine_dir();
        if Packages::open(&engine_dir).is_err() {
            eprintln!(
                "fetching Debian's packages of Docker into {} (about 100 MB, once)",
                engine_dir.display()
            );
        }
        Ok(Self {
            dir: dir.to_owned(),
            packages: Engine::fetch(&engine_dir)?,
            shopd: build_shopd()?,
            _lock: lock,
        })
    }

    /// The command that makes the namespaces and runs `command` in them.
    pub(crate) fn command(&self, command: &[OsString]) -> Result<Command> {
        // If xtask is killed while a command runs, the world shall not outlive it. A world without
        // a command stays, that is what it is for.
        let mut outer = if command.is_empty() {
            Command::new("unshare")
        } else {
            let mut outer = Command::new("setpriv");
            outer.args(["--pdeathsig", "KILL", "unshare"]);
            outer
        };
        let temporary = self.dir.join("tmp");
        fs::create_dir_all(&temporary)?;
        outer
            .env("TMPDIR", temporary)
            .args(["--net", "--pid", "--fork", "--kill-child"])
            .args(["--mount", "--mount-proc", "--propagation", "private", "--"])
            .arg(self.packages.program("docker-init"))
            .arg("--")
            .arg(env::current_exe()?)
            .arg("world")
            .arg("--dir")
            .arg(&self.dir)
            .arg("--shopd")
            .arg(&self.shopd)
            .arg("--")
            .args(command)
            .env(namespace::OUTSIDE, namespace::identity()?);
        Ok(outer)
    }
}

/// The part of a world that runs inside: starts the engine, then the command.
pub(crate) fn run_inside(arguments: &Arguments) -> Result<ExitCode> {
    let _lock = claim(&arguments.dir)?;
    let packages = Packages::open(&engine_dir())?;
    let network = Namespace::of_this_world()?;
    namespace::raise_loopback(&packages).context(
        "the world's network could not be set up; this needs root, and in a container `--privileged`",
    )?;
    let started = Instant::now();
    let engine = Engine::start(&packages, &network, &arguments.dir.join("engine"))?;
    eprintln!(
        "private Docker Engine ready after {:.1} s ({})",
        started.elapsed().as_secs_f32(),
        engine.storage_driver()?
    );
    let Some((program, rest)) = arguments.command.split_first() else {
        let program = packages.program("docker-registry");
        let registry = Registry::start_program(&program, Auth::None, REGISTRY_PORT)?;
        return stay(&arguments.dir, &registry);
    };
    let status = Command::new(program)
        .args(rest)
        .envs(TestWorld::variables(
            &engine,
            &packages,
            arguments.shopd.clone(),
        ))
        .env(schemathesis::VARIABLE, schemathesis::program())
        .status()
        .with_context(|| format!("{} could not be started", program.display()))?;
    Ok(exit_code(status))
}

/// Says that the world is ready and stays until the process is killed.
fn stay(dir: &Path, registry: &Registry) -> Result<ExitCode> {
    let unfinished = dir.join("ready.new");
    fs::write(&unfinished, registry.addr().to_string())?;
    fs::rename(unfinished, ready_file(dir))?;
    loop {
        thread::park();
    }
}

/// Where a world without a command says that it is ready, and the address of its registry.
pub(crate) fn ready_file(dir: &Path) -> PathBuf {
    dir.join("ready")
}

/// Whether the directory belongs to a world, running or not.
pub(crate) fn is_world(dir: &Path) -> bool {
    dir.join(LOCK).exists()
}

/// Whether somebody uses the directory of a world.
pub(crate) fn is_running(dir: &Path) -> Result<bool> {
    if !is_world(dir) {
        return Ok(false);
    }
    match File::open(dir.join(LOCK))?.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// The directory of the unpacked packages, in cargo's target directory.
pub(crate) fn engine_dir() -> PathBuf {
    target_dir().join("engine")
}

pub(crate) fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => workspace_dir().join("target"),
    }
}

pub(crate) fn workspace_dir() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}

/// Says that the directory is in use for as long as the file is open.
fn claim(dir: &Path) -> Result<File> {
    let lock = File::create(dir.join(LOCK))?;
    lock.lock_shared()?;
    Ok(lock)
}

/// Removes what worlds left that were killed before they could clean up.
fn remove_deserted_worlds() {
    let Ok(entries) = fs::read_dir(WORLDS) else {
        return;
    };
    for entry in entries.flatten() {
        let dir = entry.path();
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if is_ours && is_world(&dir) && is_running(&dir).is_ok_and(|running| !running) {
            drop(remove_leftovers(&dir));
        }
    }
}

/// Builds the example service as one static binary, in a target directory of its own, so that the
/// different flags do not make cargo build everything else again.
pub(crate) fn build_shopd() -> Result<PathBuf> {
    let target_dir = target_dir().join("shopd");
    let triple = host_triple()?;
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--release", "--package", "shopd"])
        .args(["--target", &triple])
        .arg("--target-dir")
        .arg(&target_dir)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .current_dir(workspace_dir())
        .stdout(Stdio::null())
        .status()
        .context("cargo could not be started")?;
    if !status.success() {
        bail!("the example service shopd could not be built ({status})");
    }
    Ok(target_dir.join(triple).join("release/shopd"))
}

pub(crate) fn host_triple() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc does not name its host")
}

/// The exit code of a command; what a signal ended counts as failed.
fn exit_code(status: ExitStatus) -> ExitCode {
    match status.code().map(u8::try_from) {
        Some(Ok(code)) => ExitCode::from(code),
        _ => ExitCode::FAILURE,
    }
}
