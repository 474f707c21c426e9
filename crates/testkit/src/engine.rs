//! A private Docker Engine: Debian's packages, unpacked and not installed, running beside
//! whatever the machine has, in a network namespace, data directory and control group of its own.
//!
//! ```text
//! network namespace of the test world
//!   registry, cutover, clients, probers
//!   the engine's machine, a process and a mount namespace: its power can be cut
//!     containerd ── shims ── containers
//!     dockerd
//! ```
//!
//! What ends with the namespaces needs no cleaning up: processes, mounts, network interfaces.

pub mod apt;
pub(crate) mod cgroup;
pub mod command;
pub mod disk;
pub(crate) mod http;
mod machine;
pub mod namespace;
pub mod packages;
pub mod processes;
mod recipe;
pub mod remote;
pub mod wait;
pub mod world;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use command::output_of;
use http::Request;
use machine::{Daemon, Machine};
use namespace::Namespace;
use packages::{ComposeVersion, Packages};
use rustix::process::Signal;

/// Docker gives containers 15 s at its own shutdown, then kills them.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// From SIGKILL until the kernel has taken the processes away.
const KILL_TIMEOUT: Duration = Duration::from_secs(30);
/// One question to Docker's socket.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest path that a unix socket may have.
const MAX_SOCKET_PATH: usize = 107;

/// Without Kubernetes' interface containerd starts faster, and without the installer of optional
/// programs it makes no directories under `/opt`.
const CONTAINERD_CONFIG: &str = "version = 2\n\
    disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n";

/// Firewall tables as a machine has them after it booted.
const EMPTY_RULES: &str = "\
*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\nCOMMIT\n\
*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\nCOMMIT\n\
*raw\n:PREROUTING ACCEPT\n:OUTPUT ACCEPT\nCOMMIT\n\
*mangle\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\nCOMMIT\n";

/// What becomes of running containers when the daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveRestore {
    /// They end with it, as with a Docker that nobody configured.
    Off,
    /// They go on, and the next daemon takes them over.
    On,
}

/// A private Docker Engine. Dropping it kills it and removes its directory.
#[derive(Debug)]
pub struct Engine {
    packages: Packages,
    namespace: Namespace,
    dir: PathBuf,
    machine: Option<Machine>,
    containerd: Option<Daemon>,
    dockerd: Option<Daemon>,
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
        Self::start_with(packages, namespace, dir, "{}")
    }

    /// As [`Engine::start`], with this text as Docker's `daemon.json`, which stays over restarts.
    ///
    /// # Errors
    /// As [`Engine::start`], for example because Docker refuses the configuration.
    pub fn start_with(
        packages: &Packages,
        namespace: &Namespace,
        dir: &Path,
        config: &str,
    ) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let mut engine = Self {
            packages: packages.clone(),
            namespace: namespace.clone(),
            dir,
            machine: None,
            containerd: None,
            dockerd: None,
        };
        let length = engine.socket().as_os_str().len();
        ensure!(
            length <= MAX_SOCKET_PATH,
            "{} is too long for a socket in it",
            engine.dir.display()
        );
        cgroup::make_room(Path::new(cgroup::ROOT));
        fs::write(engine.dir.join("daemon.json"), format!("{config}\n"))?;
        fs::write(engine.dir.join("containerd.toml"), CONTAINERD_CONFIG)?;
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

    /// Docker's `daemon.json` for keeping images in containerd, as Docker Desktop and Engine 29 do by default.
    pub const CONTAINERD_IMAGE_STORE: &str = r#"{"features": {"containerd-snapshotter": true}}"#;

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
        let stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(ASK_TIMEOUT))?;
        stream.set_write_timeout(Some(ASK_TIMEOUT))?;
        let answer = Request::get(target).send("docker", &stream)?;
        ensure!(
            answer.status == 200,
            "Docker answered {} to {target}: {}",
            answer.status,
            answer.text()
        );
        Ok(answer.body)
    }

    /// Says what becomes of running containers; the next [`Engine::restart`] reads it.
    ///
    /// # Errors
    /// If the configuration cannot be written.
    pub fn set_live_restore(&self, live_restore: LiveRestore) -> Result<()> {
        let text = match live_restore {
            LiveRestore::Off => "{}\n",
            LiveRestore::On => "{ \"live-restore\": true }\n",
        };
        Ok(fs::write(self.dir.join("daemon.json"), text)?)
    }

    /// Where the engine in `dir` keeps images, containers and volumes: Docker's data root.
    #[must_use]
    pub fn data_of(dir: &Path) -> PathBuf {
        dir.join("data")
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
        self.end_dockerd(Signal::KILL, KILL_TIMEOUT)
    }

    /// Stops the daemon as `systemctl stop docker` does: it stops its containers, then ends.
    ///
    /// # Errors
    /// If it does not end within its bound.
    pub fn stop(&mut self) -> Result<()> {
        self.end_dockerd(Signal::TERM, STOP_TIMEOUT)
    }

    /// Stops the daemon if it runs, starts what does not run, and waits until Docker answers: after
    /// [`Engine::kill`] this is the machine that boots again, otherwise `systemctl restart docker`.
    ///
    /// # Errors
    /// If it does not come up; the error holds the end of its log.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        if self.machine.is_none() {
            for part in ["containerd", "state", "exec", "data"] {
                fs::create_dir_all(self.dir.join(part))?;
            }
            let machine = Machine::boot(&self.packages, &self.namespace, &self.dir)?;
            self.containerd = Some(self.start_containerd(&machine)?);
            self.machine = Some(machine);
        }
        let machine = self.machine.as_ref().context("the machine is off")?;
        self.dockerd = Some(self.start_dockerd(machine)?);
        Ok(())
    }

    fn start_containerd(&self, machine: &Machine) -> Result<Daemon> {
        let mut command = machine.command("containerd");
        command
            .arg("--config")
            .arg(self.dir.join("containerd.toml"))
            .arg("--root")
            .arg(self.dir.join("containerd"))
            .arg("--state")
            .arg(self.dir.join("state"))
            .arg("--address")
            .arg(self.containerd_socket());
        let log = self.dir.join("containerd.log");
        machine.start("containerd", command, &log, || {
            UnixStream::connect(self.containerd_socket()).is_ok()
        })
    }

    fn start_dockerd(&self, machine: &Machine) -> Result<Daemon> {
        let pid_file = self.dir.join("exec/docker.pid");
        // A daemon that was killed leaves this behind, and its number may mean another process now.
        drop(fs::remove_file(&pid_file));
        let mut command = machine.command("dockerd");
        command
            .arg("--containerd")
            .arg(self.containerd_socket())
            .arg("--config-file")
            .arg(self.dir.join("daemon.json"))
            .arg("--data-root")
            .arg(Self::data_of(&self.dir))
            .arg("--exec-root")
            .arg(self.dir.join("exec"))
            .arg("--pidfile")
            .arg(pid_file)
            .arg("--host")
            .arg(self.docker_host())
            .arg("--cgroup-parent")
            .arg(format!("/{}", cgroup::name_of(&self.dir)))
            // systemd, where there is one, does not know the process numbers of our namespace.
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs"]);
        let log = self.dir.join("dockerd.log");
        machine.start("dockerd", command, &log, || self.get("/_ping").is_ok())
    }

    fn containerd_socket(&self) -> PathBuf {
        self.dir.join("state/containerd.sock")
    }

    fn write_client_config(&self) -> Result<()> {
        let plugins = self.docker_config().join("cli-plugins");
        fs::create_dir_all(&plugins)?;
        let plugin = plugins.join("docker-compose");
        drop(fs::remove_file(&plugin));
        symlink(self.compose(ComposeVersion::Newest), plugin)?;
        Ok(())
    }

    fn end_dockerd(&mut self, how: Signal, bound: Duration) -> Result<()> {
        if let Some(dockerd) = &mut self.dockerd {
            dockerd.end(how, bound)?;
            self.dockerd = None;
        }
        Ok(())
    }

    fn end_processes(&mut self) -> Result<()> {
        if let Some(machine) = &mut self.machine {
            machine.power_off()?;
        }
        (self.dockerd, self.containerd, self.machine) = (None, None, None);
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
