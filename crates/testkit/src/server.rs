//! A server of the kind that cutover is for: systemd is its first process, Docker is installed and runs
//! under Debian's own units, and nothing else is there.
//!
//! ```text
//! network namespace of the test
//!   registry, probers
//!   the server: namespaces of its own for processes, mounts, control groups and its name
//!     systemd ── journald, containerd, dockerd ── containers
//! ```
//!
//! Its root is the machine's own below a layer in memory that takes what is written. systemd is called
//! by a path that exists in that root only: whatever fails on the way, systemd is never started on the
//! machine's own root, where it would clean up and start services.
//!
//! What ends with the namespaces needs no cleaning up: processes, mounts, network interfaces, files.

mod gate;
mod groups;
mod root;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::engine::command::tail_of;
use crate::engine::namespace::Namespace;
use crate::engine::packages::Packages;
use crate::engine::processes::{child_of, log_to, signal};
use crate::engine::wait::wait_for;
use crate::scene::{Ended, PATIENCE};

use gate::Gate;
use groups::Hierarchies;

/// Making namespaces takes milliseconds; a machine under load gets this long.
const NAMESPACES_TIMEOUT: Duration = Duration::from_secs(30);
/// From SIGKILL until the kernel has taken the processes away.
const KILL_TIMEOUT: Duration = Duration::from_secs(30);
/// Where Debian has systemd.
const SYSTEMD: &str = "/usr/lib/systemd/systemd";
/// What is called as the first process. The link is made in the server's root and nowhere else.
const INIT: &str = "/cutover-test-init";
/// What an administrator's shell has on Debian.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A running server. Dropping it ends everything on it.
#[derive(Debug)]
pub struct Server {
    dir: TempDir,
    /// First `flock`, then `unshare`, the parent of systemd.
    outer: Child,
}

impl Server {
    /// Boots a server in a network namespace and waits until Docker runs on it.
    ///
    /// # Errors
    /// If it does not come up; the error holds what was said.
    pub fn boot(packages: &Packages, namespace: &Namespace) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("cutover-server-")
            .tempdir()?;
        let into_namespaces = Gate::close(&dir.path().join("namespaces.gate"))?;
        let into_systemd = Gate::close(&dir.path().join("systemd.gate"))?;
        let mut command = into_namespaces.command();
        command
            .args(["unshare", "--mount", "--uts", "--ipc", "--cgroup"])
            .args(["--propagation", "private", "--"])
            .args(into_systemd.words())
            .args(["unshare", "--pid", "--fork", "--kill-child", "--", INIT])
            .args(["--unit=multi-user.target", "--log-target=journal-or-kmsg"])
            .env_clear()
            .env("PATH", PATH)
            // Tells systemd that the hardware is somebody else's business.
            .env("container", "cutover-test");
        log_to(&mut command, &dir.path().join("boot.log"))?;
        let outer = namespace
            .run(|| command.spawn())?
            .context("flock (package util-linux) could not be started")?;
        let mut server = Self { dir, outer };
        let hierarchies = Hierarchies::of_this_machine()?;
        hierarchies.move_into(&server.group(), server.outer.id())?;
        into_namespaces.open();
        server.wait_for_namespaces(&into_systemd)?;
        root::build(server.outer.id(), packages, &hierarchies)?;
        into_systemd.open();
        server
            .wait_for_docker()
            .with_context(|| tail_of(&server.dir.path().join("boot.log")))?;
        Ok(server)
    }

    /// The directory of its log, by whose name its control groups are called.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where a path of the server is found from outside.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.outer.id()))
    }

    /// Writes a file on the server.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    /// A command on the server, as an administrator types it in a directory.
    ///
    /// # Panics
    /// If the server is down.
    #[must_use]
    pub fn command(&self, directory: &str, words: &[&str]) -> Command {
        let init = self.init().expect("the server runs");
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", init.as_raw_nonzero()))
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"])
            .args(["--", "env"])
            .arg(format!("--chdir={directory}"))
            .args(words)
            .env_clear()
            .envs([("PATH", PATH), ("HOME", "/root"), ("LC_ALL", "C")])
            .env("SYSTEMD_PAGER", "");
        command
    }

    /// Runs a command on the server to its end.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn run(&self, words: &[&str]) -> Ended {
        Ended::of(&self.command("/", words).output().expect("nsenter runs"))
    }

    /// What `systemctl show` says of a property of a unit.
    #[must_use]
    pub fn property(&self, unit: &str, property: &str) -> String {
        let words = ["systemctl", "show", unit, "--value", "--property", property];
        self.run(&words).stdout.trim().to_owned()
    }

    /// What systemd's journal has of a unit.
    #[must_use]
    pub fn journal(&self, unit: &str) -> String {
        self.run(&["journalctl", "--no-pager", "--output=short", "--unit", unit])
            .stdout
    }

    /// Waits until `condition` holds.
    ///
    /// # Panics
    /// If it does not within [`PATIENCE`]; with the end of cutover's log.
    #[track_caller]
    pub fn wait_until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let waited = wait_for(what, PATIENCE, || Ok(condition().then_some(())));
        assert!(
            waited.is_ok(),
            "{what}: not within {PATIENCE:?}\n{}",
            self.journal("cutover")
        );
    }

    /// Waits until the server is off, after it was told to shut down.
    ///
    /// # Errors
    /// If it is not within [`PATIENCE`].
    pub fn wait_for_the_end(&mut self) -> Result<()> {
        wait_for("the end of a server", PATIENCE, || {
            Ok(self.outer.try_wait()?.map(drop))
        })
    }

    /// The control group of everything on it, named after the directory so that
    /// [`remove_leftovers`](crate::engine::remove_leftovers) finds it.
    fn group(&self) -> String {
        groups::name_of(self.dir.path())
    }

    fn init(&self) -> Result<Pid> {
        child_of(self.outer.id())?.context("the server is down")
    }

    /// Waits until the first process has its namespaces and stands before the second gate.
    fn wait_for_namespaces(&mut self, next: &Gate) -> Result<()> {
        let log = self.dir.path().join("boot.log");
        let process = PathBuf::from(format!("/proc/{}", self.outer.id()));
        wait_for("the namespaces of a server", NAMESPACES_TIMEOUT, || {
            if let Some(status) = self.outer.try_wait()? {
                bail!("no server could be made ({status}); {}", tail_of(&log));
            }
            Ok(next.is_before(&process).then_some(()))
        })
    }

    fn wait_for_docker(&mut self) -> Result<()> {
        wait_for("a server with Docker", PATIENCE, || {
            if let Some(status) = self.outer.try_wait()? {
                bail!("systemd ended: {status}");
            }
            // Before systemd runs, and until it listens, there is nothing to ask.
            if self.init().is_err() {
                return Ok(None);
            }
            let state = self.run(&["systemctl", "is-system-running"]).stdout;
            ensure!(
                !["degraded", "maintenance"].contains(&state.trim()),
                "{state}{}{}",
                self.run(&["systemctl", "--no-pager", "--failed"]).stdout,
                self.run(&["journalctl", "--no-pager", "--lines=40"]).stdout
            );
            Ok((state.trim() == "running").then_some(()))
        })
    }

    /// Ends every process of the server at once, and takes its control groups away.
    fn power_off(&mut self) -> Result<()> {
        if self.outer.try_wait()?.is_none() {
            match child_of(self.outer.id())? {
                // The kernel lets the first process of a namespace end only after all others.
                Some(init) => signal(init, Signal::KILL),
                None => self.outer.kill()?,
            }
            wait_for("the end of a server", KILL_TIMEOUT, || {
                Ok(self.outer.try_wait()?)
            })?;
        }
        groups::remove(self.dir.path());
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // There is nobody to tell, and a panic in a drop would hide the test's own failure.
        drop(self.power_off());
    }
}
