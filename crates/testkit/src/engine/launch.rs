//! Starting the processes of an engine, and waiting until they answer.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal};

use super::cgroup;
use super::command::tail_of;
use super::http::Request;
use super::processes::{child_of, log_to, signal};
use super::wait::wait_for;
use super::{Daemon, Engine, Machine};

/// From the start of a daemon until it answers: below two seconds on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// One question to Docker's socket.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

impl Engine {
    /// Starts containerd in new pid and mount namespaces and waits until it listens.
    pub(super) fn start_machine(&self) -> Result<Machine> {
        for part in ["containerd", "state", "exec", "data"] {
            fs::create_dir_all(self.dir.join(part))?;
        }
        let log = self.dir.join("containerd.log");
        let mut command = Command::new("unshare");
        command
            .args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc"])
            .args(["--propagation", "private", "--"])
            .arg(self.packages.program("docker-init"))
            .arg("--")
            .arg(self.packages.program("containerd"))
            .arg("--config")
            .arg(self.dir.join("containerd.toml"))
            .arg("--root")
            .arg(self.dir.join("containerd"))
            .arg("--state")
            .arg(self.dir.join("state"))
            .arg("--address")
            .arg(self.containerd_socket());
        let mut unshare = self.spawn(&mut command, &log)?;
        let ready = wait_for("containerd", START_TIMEOUT, || {
            if let Some(status) = unshare.try_wait()? {
                bail!("unshare or containerd ended: {status}");
            }
            if UnixStream::connect(self.containerd_socket()).is_err() {
                return Ok(None);
            }
            child_of(unshare.id())
        });
        match ready {
            Ok(init) => Ok(Machine { unshare, init }),
            Err(error) => {
                drop(unshare.kill());
                drop(unshare.wait());
                Err(error.context(format!(
                    "containerd did not start (this needs root, and in a container `--privileged`); {}",
                    tail_of(&log)
                )))
            }
        }
    }

    /// Starts dockerd in the namespaces of containerd and waits until it answers.
    pub(super) fn start_daemon(&self, init: Pid) -> Result<Daemon> {
        let log = self.dir.join("dockerd.log");
        // A daemon that was killed leaves this behind, and its number may mean another process now.
        drop(fs::remove_file(self.dir.join("exec/docker.pid")));
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", init.as_raw_nonzero()))
            .args(["--pid", "--mount", "--"])
            .arg(self.packages.program("dockerd"))
            .arg("--containerd")
            .arg(self.containerd_socket())
            .arg("--config-file")
            .arg(self.dir.join("daemon.json"))
            .arg("--data-root")
            .arg(self.dir.join("data"))
            .arg("--exec-root")
            .arg(self.dir.join("exec"))
            .arg("--pidfile")
            .arg(self.dir.join("exec/docker.pid"))
            .arg("--host")
            .arg(self.docker_host())
            .arg("--cgroup-parent")
            .arg(format!("/{}", cgroup::name_of(&self.dir)))
            // systemd, where there is one, does not know the process numbers of our namespace.
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs"]);
        let mut nsenter = self.spawn(&mut command, &log)?;
        let ready = wait_for("dockerd", START_TIMEOUT, || {
            if let Some(status) = nsenter.try_wait()? {
                bail!("nsenter or dockerd ended: {status}");
            }
            if get(&self.socket(), "/_ping").is_err() {
                return Ok(None);
            }
            child_of(nsenter.id())
        });
        match ready {
            Ok(pid) => Ok(Daemon { nsenter, pid }),
            Err(error) => {
                if let Ok(Some(pid)) = child_of(nsenter.id()) {
                    signal(pid, Signal::KILL);
                }
                drop(nsenter.wait());
                Err(error.context(format!("dockerd did not start; {}", tail_of(&log))))
            }
        }
    }

    fn spawn(&self, command: &mut Command, log: &Path) -> Result<Child> {
        command
            .env_clear()
            .envs(self.packages.environment())
            .env("HOME", &self.dir)
            .current_dir(&self.dir);
        log_to(command, log)?;
        let program = command.get_program().to_string_lossy().into_owned();
        self.namespace
            .run(|| command.spawn())?
            .with_context(|| format!("{program} (package util-linux) could not be started"))
    }

    fn containerd_socket(&self) -> PathBuf {
        self.dir.join("state/containerd.sock")
    }
}

/// The body of Docker's answer to `GET target`.
pub(super) fn get(socket: &Path, target: &str) -> Result<Vec<u8>> {
    let stream = UnixStream::connect(socket)?;
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
