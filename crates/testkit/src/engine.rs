//! A private Docker Engine: Debian's packages, unpacked and not installed, running beside
//! whatever the machine has, in a network namespace, data directory and control group of its own.
//!
//! ```text
//! network namespace of the test world
//!   registry, cutover, clients, probers
//!   pid and mount namespace of one engine: killing its first process is the power cut
//!     docker-init ── containerd ── shims ── containers
//!     dockerd
//! ```
//!
//! What ends with the namespaces needs no cleaning up: processes, mounts, network interfaces.

pub mod apt;
mod cgroup;
pub mod command;
pub(crate) mod http;
mod launch;
pub mod namespace;
pub mod packages;
pub mod processes;
mod recipe;
pub mod wait;
pub mod world;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use command::output_of;
use launch::get;
use namespace::Namespace;
use packages::{ComposeVersion, Packages};
use processes::signal;
use rustix::process::{Pid, Signal};
use wait::wait_for;

/// Docker gives containers 15 s at its own shutdown, then kills them.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// From SIGKILL until the kernel has taken the processes away.
const KILL_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest path that a unix socket may have.
const MAX_SOCKET_PATH: usize = 107;

/// Firewall tables as a machine has them after it booted.
const EMPTY_RULES: &str = "\
*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\nCOMMIT\n\
*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\nCOMMIT\n\
*raw\n:PREROUTING ACCEPT\n:OUTPUT ACCEPT\nCOMMIT\n\
*mangle\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\nCOMMIT\n";

/// A private Docker Engine. Dropping it kills it and removes its directory.
#[derive(Debug)]
pub struct Engine {
    packages: Packages,
    namespace: Namespace,
    dir: PathBuf,
    machine: Option<Machine>,
    daemon: Option<Daemon>,
}

/// What stands for the machine that a Docker daemon runs on: containerd in fresh namespaces.
#[derive(Debug)]
struct Machine {
    unshare: Child,
    init: Pid,
}

/// A running dockerd.
#[derive(Debug)]
struct Daemon {
    nsenter: Child,
    pid: Pid,
}

impl Engine {
    /// Downloads and unpacks what an engine needs; see [`Packages::fetch`].
    ///
    /// # Errors
    /// If it cannot be had on this machine; the error says why and what to do.
    pub fn fetch(dir: &Path) -> Result<Packages> {
        Packages::fetch(dir)
    }

    /// Starts an engine in a network namespace and waits until it answers. All that it writes is
    /// under `dir`, which must be short enough for the path of a socket. One namespace holds one
    /// engine: two would take each other's bridges and firewall rules for their own.
    ///
    /// # Errors
    /// If it does not come up; the error holds the end of its log.
    pub fn start(packages: &Packages, namespace: &Namespace, dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let mut engine = Self {
            packages: packages.clone(),
            namespace: namespace.clone(),
            dir,
            machine: None,
            daemon: None,
        };
        let length = engine.socket().as_os_str().len();
        ensure!(
            length <= MAX_SOCKET_PATH,
            "{} is too long for a socket in it",
            engine.dir.display()
        );
        cgroup::make_room(Path::new(cgroup::ROOT));
        fs::write(engine.dir.join("daemon.json"), "{}\n")?;
        // Without Kubernetes' interface containerd starts faster and needs nothing of the host.
        fs::write(
            engine.dir.join("containerd.toml"),
            "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n",
        )?;
        engine.write_client_config()?;
        engine.restart()?;
        Ok(engine)
    }

    /// The directory that holds everything of this engine.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Docker's socket. It can be reached from any network namespace.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.join("docker.sock")
    }

    /// The value for `DOCKER_HOST`.
    #[must_use]
    pub fn docker_host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The path of a standalone Compose binary.
    #[must_use]
    pub fn compose(&self, version: ComposeVersion) -> PathBuf {
        self.packages.compose(version)
    }

    /// A value for `DOCKER_CONFIG`: with it, `docker compose` is the newest Compose.
    #[must_use]
    pub fn docker_config(&self) -> PathBuf {
        self.dir.join("client")
    }

    /// The network namespace that it is in.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The storage driver that Docker chose for the file system of its directory, such as `overlay2`.
    ///
    /// # Errors
    /// If Docker does not answer.
    pub fn storage_driver(&self) -> Result<String> {
        let answer: serde_json::Value = serde_json::from_slice(&self.get("/info")?)?;
        let driver = answer["Driver"]
            .as_str()
            .context("Docker names no driver")?;
        Ok(driver.to_owned())
    }

    /// The body of Docker's answer to `GET target`.
    ///
    /// # Errors
    /// If Docker does not answer, or not with 200.
    pub fn get(&self, target: &str) -> Result<Vec<u8>> {
        get(&self.socket(), target)
    }

    /// The power cut: every process of Docker and of its containers dies at once, and what a
    /// machine forgets when it loses power (`/run`, interfaces, firewall rules) is gone.
    ///
    /// # Errors
    /// If the processes do not go away.
    pub fn kill(&mut self) -> Result<()> {
        self.end_processes()?;
        self.forget_network()?;
        for part in ["exec", "state"] {
            let path = self.dir.join(part);
            if path.exists() {
                fs::remove_dir_all(path)?;
            }
        }
        drop(fs::remove_file(self.socket()));
        Ok(())
    }

    /// Kills only the daemon, as a crash of Docker would; containerd and the containers go on.
    ///
    /// # Errors
    /// If it does not go away.
    pub fn kill_daemon(&mut self) -> Result<()> {
        self.end_daemon(Signal::KILL, KILL_TIMEOUT)
    }

    /// Stops the daemon as `systemctl stop docker` does: it stops its containers, then ends.
    ///
    /// # Errors
    /// If it does not end within its bound.
    pub fn stop(&mut self) -> Result<()> {
        self.end_daemon(Signal::TERM, STOP_TIMEOUT)
    }

    /// Stops the daemon if it runs, starts what does not run, and waits until Docker answers: after
    /// [`Engine::kill`] this is the machine that boots again, otherwise `systemctl restart docker`.
    ///
    /// # Errors
    /// If it does not come up; the error holds the end of its log.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        let init = match &self.machine {
            Some(machine) => machine.init,
            None => {
                let machine = self.start_machine()?;
                self.machine.insert(machine).init
            }
        };
        self.daemon = Some(self.start_daemon(init)?);
        Ok(())
    }

    fn write_client_config(&self) -> Result<()> {
        let plugins = self.docker_config().join("cli-plugins");
        fs::create_dir_all(&plugins)?;
        let plugin = plugins.join("docker-compose");
        drop(fs::remove_file(&plugin));
        symlink(self.compose(ComposeVersion::Newest), plugin)?;
        Ok(())
    }

    fn end_daemon(&mut self, how: Signal, bound: Duration) -> Result<()> {
        if let Some(daemon) = &mut self.daemon {
            signal(daemon.pid, how);
            wait_for("the end of dockerd", bound, || {
                Ok(daemon.nsenter.try_wait()?)
            })?;
            self.daemon = None;
        }
        Ok(())
    }

    fn end_processes(&mut self) -> Result<()> {
        if let Some(mut machine) = self.machine.take() {
            // The kernel lets the first process of a namespace end only after all others.
            signal(machine.init, Signal::KILL);
            wait_for("the end of a private Docker", KILL_TIMEOUT, || {
                Ok(machine.unshare.try_wait()?)
            })?;
        }
        if let Some(mut daemon) = self.daemon.take() {
            daemon.nsenter.wait()?;
        }
        cgroup::remove(Path::new(cgroup::ROOT), &self.dir);
        Ok(())
    }

    /// Removes Docker's bridges and firewall rules, which outlive it because the namespace does.
    fn forget_network(&self) -> Result<()> {
        let empty = self.dir.join("empty.rules");
        fs::write(&empty, EMPTY_RULES)?;
        self.namespace.run(|| {
            let interfaces = fs::read_to_string("/proc/thread-self/net/dev")?;
            for line in interfaces.lines() {
                let name = line.split(':').next().unwrap_or_default().trim();
                if name == "docker0" || name.starts_with("br-") {
                    let mut command = self.packages.command("busybox");
                    output_of(command.args(["ip", "link", "del", name]))?;
                }
            }
            output_of(self.packages.command("iptables-restore").arg(&empty))?;
            // A machine without IPv6 has nothing to forget there.
            drop(output_of(
                self.packages.command("ip6tables-restore").arg(&empty),
            ));
            Ok(())
        })?
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // There is nobody to tell, and a panic in a drop would hide the test's own failure.
        drop(self.end_processes());
        drop(fs::remove_dir_all(&self.dir));
    }
}

/// Removes the directory of an engine, or of several below it, whose owner was killed before it
/// could do so, and the control groups that they left. None of them may be running.
///
/// # Errors
/// If the directory cannot be removed.
pub fn remove_leftovers(dir: &Path) -> Result<()> {
    let dir = dir.canonicalize()?;
    cgroup::remove(Path::new(cgroup::ROOT), &dir);
    fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))
}
