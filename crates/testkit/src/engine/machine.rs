//! What stands for the machine that Docker runs on: a process and a mount namespace, inside a
//! network namespace. Its power can be cut.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};

use super::command::{output_of, tail_of};
use super::namespace::Namespace;
use super::packages::Packages;
use super::processes::{child_of, log_to, signal};
use super::wait::wait_for;

/// From the start of a process until it does what it is for: below two seconds on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// From SIGKILL until the kernel has taken the processes away.
const KILL_TIMEOUT: Duration = Duration::from_secs(30);
/// Where Docker and containerd keep sockets and plugins whatever they are told. Each machine has
/// these to itself; the directories on the disk stay empty.
const PRIVATE_DIRS: [&str; 2] = ["/run/containerd", "/run/docker"];

/// A running machine. Dropping it cuts its power.
#[derive(Debug)]
pub(super) struct Machine {
    packages: Packages,
    namespace: Namespace,
    unshare: Child,
    init: Pid,
}

/// A process on a machine, started by [`Machine::start`].
#[derive(Debug)]
pub(super) struct Daemon {
    nsenter: Child,
    pid: Pid,
    name: &'static str,
}

impl Machine {
    /// Makes the namespaces, with a first process in them that takes care of orphans.
    pub(super) fn boot(packages: &Packages, namespace: &Namespace, dir: &Path) -> Result<Self> {
        let init = packages.program("docker-init");
        let mut command = Command::new("unshare");
        command
            .args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc"])
            .args(["--propagation", "private", "--"])
            .arg(&init)
            .arg("--")
            .arg(packages.program("busybox"))
            .args(["tail", "-f", "/dev/null"]);
        let log = dir.join("machine.log");
        let mut unshare = spawn(packages, namespace, &mut command, &log)?;
        let init = init.canonicalize()?;
        let ready = wait_for("new namespaces", START_TIMEOUT, || {
            if let Some(status) = unshare.try_wait()? {
                bail!("unshare ended: {status}");
            }
            // Between its birth and the start of its program, the child still mounts `/proc`.
            let child = child_of(unshare.id())?;
            Ok(child.filter(|pid| {
                let program = fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero()));
                program.is_ok_and(|program| program == init)
            }))
        });
        let init = match ready {
            Ok(init) => init,
            Err(error) => {
                drop(unshare.kill());
                drop(unshare.wait());
                return Err(error.context(format!(
                    "no namespaces could be made for a private Docker (this needs root, and in a \
                     container `--privileged`); {}",
                    tail_of(&log)
                )));
            }
        };
        let machine = Self {
            packages: packages.clone(),
            namespace: namespace.clone(),
            unshare,
            init,
        };
        for place in PRIVATE_DIRS {
            fs::create_dir_all(place)?;
            let mut mount = machine.command("busybox");
            output_of(mount.args(["mount", "-t", "tmpfs", "cutover", place]))?;
        }
        Ok(machine)
    }

    /// Starts a command of [`Machine::command`] in the background, and waits until `is_ready`.
    ///
    /// # Errors
    /// If it ends or is not ready in time; the error holds the end of its log.
    pub(super) fn start(
        &self,
        name: &'static str,
        mut command: Command,
        log: &Path,
        is_ready: impl Fn() -> bool,
    ) -> Result<Daemon> {
        let mut nsenter = spawn(&self.packages, &self.namespace, &mut command, log)?;
        let ready = wait_for(name, START_TIMEOUT, || {
            if let Some(status) = nsenter.try_wait()? {
                bail!("{name} ended: {status}");
            }
            if is_ready() {
                child_of(nsenter.id())
            } else {
                Ok(None)
            }
        });
        match ready {
            Ok(pid) => Ok(Daemon { nsenter, pid, name }),
            Err(error) => {
                if let Ok(Some(pid)) = child_of(nsenter.id()) {
                    signal(pid, Signal::KILL);
                }
                drop(nsenter.wait());
                Err(error.context(format!("{name} did not start; {}", tail_of(log))))
            }
        }
    }

    /// Cuts the power: every process of the machine dies at once.
    ///
    /// # Errors
    /// If the processes do not go away.
    pub(super) fn power_off(&mut self) -> Result<()> {
        if self.unshare.try_wait()?.is_none() {
            signal(self.init, Signal::KILL);
            // The kernel lets the first process of a namespace end only after all others.
            wait_for("the end of a private Docker", KILL_TIMEOUT, || {
                Ok(self.unshare.try_wait()?)
            })?;
        }
        Ok(())
    }

    /// A command that runs one of the packages' programs on this machine.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.init.as_raw_nonzero()))
            .args(["--pid", "--mount", "--"])
            .arg(self.packages.program(program));
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // There is nobody to tell, and a panic in a drop would hide the test's own failure.
        drop(self.power_off());
    }
}

impl Daemon {
    /// Ends the process and waits until it is gone.
    ///
    /// # Errors
    /// If it does not go away within the bound.
    pub(super) fn end(&mut self, how: Signal, bound: Duration) -> Result<()> {
        if self.nsenter.try_wait()?.is_none() {
            signal(self.pid, how);
            let what = format!("the end of {}", self.name);
            wait_for(&what, bound, || Ok(self.nsenter.try_wait()?))?;
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.end(Signal::KILL, KILL_TIMEOUT));
    }
}

/// Starts a program in the background of a network namespace, in an environment that holds
/// nothing of the caller's.
fn spawn(
    packages: &Packages,
    namespace: &Namespace,
    command: &mut Command,
    log: &Path,
) -> Result<Child> {
    let dir = log.parent().context("a log without a directory")?;
    command
        .env_clear()
        .envs(packages.environment())
        .env("HOME", dir)
        .current_dir(dir);
    log_to(command, log)?;
    let program = command.get_program().to_string_lossy().into_owned();
    namespace
        .run(|| command.spawn())?
        .with_context(|| format!("{program} (package util-linux) could not be started"))
}
