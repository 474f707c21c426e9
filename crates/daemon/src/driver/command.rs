//! Runs the Compose command line: found once, given a fixed argument vector, an environment that holds
//! only what the configuration lists, a process group of its own, and a bound on time and output.
//!
//! The plugin binary is run directly: `docker compose` would only start it as a child, which a signal to
//! `docker` does not reach (docker/cli#4332).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::settings;

/// Reading a project takes Compose a tenth of a second; a hanging file system must not hold us for ever.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// What Compose may print before the rest is thrown away: a rendered project of a thousand services.
const OUTPUT_BYTES_MAX: usize = 8 << 20;

/// How long Compose may take to end after SIGTERM before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Where Docker's packages and its documentation put command-line plugins.
const PLUGIN_DIRECTORIES: &[&str] = &[
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// Compose could not be run, or said no.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no Compose on this machine.
    #[error(
        "no `docker-compose` in PATH and no `docker-compose` plugin of Docker: install the package docker-compose-plugin or docker-compose, version 2.20 or newer"
    )]
    NotFound,
    /// It could not be started.
    #[error("could not start {}: {source}", program.display())]
    Start {
        /// What was started.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ran into its bound on time and was killed.
    #[error("`docker compose {what}` did not end within {} s and was killed", bound.as_secs())]
    TimedOut {
        /// The subcommand.
        what: String,
        /// The bound.
        bound: Duration,
    },
    /// It ended with a failure.
    #[error("`docker compose {what}` failed: {message}")]
    Failed {
        /// The subcommand.
        what: String,
        /// The end of what it wrote to stderr.
        message: String,
    },
}

/// The Compose binary of this machine.
#[derive(Debug, Clone)]
pub struct Compose {
    program: PathBuf,
    docker_config: PathBuf,
}

impl Compose {
    /// Finds Compose: the configured path, `docker-compose` in `PATH`, or Docker's plugin.
    ///
    /// # Errors
    /// [`CommandError::NotFound`] when there is none.
    pub fn find(docker: &settings::DockerSettings) -> Result<Self, CommandError> {
        let plugins = [docker.config_directory.join("cli-plugins")]
            .into_iter()
            .chain(PLUGIN_DIRECTORIES.iter().map(PathBuf::from));
        let in_path = std::env::var_os("PATH").unwrap_or_default();
        let program = docker
            .compose
            .iter()
            .cloned()
            .chain(plugins.map(|directory| directory.join("docker-compose")))
            .chain(
                std::env::split_paths(&in_path).map(|directory| directory.join("docker-compose")),
            )
            .find(|path| is_executable(path))
            .ok_or(CommandError::NotFound)?;
        Ok(Self {
            program,
            docker_config: docker.config_directory.clone(),
        })
    }

    /// The binary.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// What `version --short` prints.
    ///
    /// # Errors
    /// As every command.
    pub async fn version(&self) -> Result<String, CommandError> {
        let mut command = Command::new(&self.program);
        command
            .args(["version", "--short"])
            .env_clear()
            .env("HOME", "/");
        let output = Running::start(command, "version")?
            .output(READ_TIMEOUT)
            .await?;
        Ok(output.trim().to_owned())
    }

    /// Runs a subcommand that only reads, for `project`, and returns what it printed.
    pub(super) async fn read(
        &self,
        project: &Project<'_>,
        arguments: &[&str],
    ) -> Result<String, CommandError> {
        let command = self.command(project, arguments);
        Running::start(command, arguments[0])?
            .output(READ_TIMEOUT)
            .await
    }

    /// Starts a subcommand against the Docker socket at `socket`.
    pub(super) fn start(
        &self,
        project: &Project<'_>,
        socket: &Path,
        arguments: &[&str],
    ) -> Result<Running, CommandError> {
        let mut command = self.command(project, arguments);
        let mut host = OsString::from("unix://");
        host.push(socket);
        command.env("DOCKER_HOST", host);
        Running::start(command, arguments[0])
    }

    fn command(&self, project: &Project<'_>, arguments: &[&str]) -> Command {
        let service = project.service;
        let mut command = Command::new(&self.program);
        command.args(["--ansi", "never"]);
        if let Some(name) = &service.project_name {
            command.arg("--project-name").arg(name);
        }
        if let Some(directory) = &service.project_directory {
            command.arg("--project-directory").arg(directory);
        }
        for file in &service.compose_files {
            command.arg("--file").arg(file);
        }
        for file in &service.env_files {
            command.arg("--env-file").arg(file);
        }
        for profile in &service.profiles {
            command.arg("--profile").arg(profile);
        }
        command.args(arguments);
        if let Some(directory) = project.directory() {
            command.current_dir(directory);
        }
        command.env_clear();
        // Compose itself needs neither, but credential helpers and includes over ssh would.
        for name in ["PATH", "HOME"]
            .into_iter()
            .chain(service.pass_environment.iter().map(String::as_str))
        {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        // Read for the `proxies` that Compose passes on to containers.
        command.env("DOCKER_CONFIG", &self.docker_config);
        command.envs(&service.environment);
        command.envs(&project.variables);
        command
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// What a Compose command is about: a service's project, and the variables set for this deployment.
#[derive(Debug)]
pub(super) struct Project<'a> {
    pub(super) service: &'a settings::Service,
    pub(super) variables: BTreeMap<String, String>,
}

impl Project<'_> {
    /// Where Compose looks for `.env` and resolves relative paths.
    pub(super) fn directory(&self) -> Option<&Path> {
        let service = self.service;
        service
            .project_directory
            .as_deref()
            .or_else(|| service.compose_files.first()?.parent())
    }
}

/// A Compose command that has been started. Dropping it kills its whole process group.
#[derive(Debug)]
pub(super) struct Running {
    what: String,
    child: Child,
    group: Option<Pid>,
    stdout: JoinHandle<Vec<u8>>,
    stderr: JoinHandle<Vec<u8>>,
}

impl Running {
    fn start(mut command: Command, what: &str) -> Result<Self, CommandError> {
        let program = PathBuf::from(command.as_std().get_program());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .map_err(|source| CommandError::Start { program, source })?;
        let group = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let stdout = tokio::spawn(read_bounded(child.stdout.take()));
        let stderr = tokio::spawn(read_bounded(child.stderr.take()));
        Ok(Self {
            what: what.to_owned(),
            child,
            group,
            stdout,
            stderr,
        })
    }

    /// Waits for the end, at most `bound`; returns what was printed to stdout.
    pub(super) async fn output(mut self, bound: Duration) -> Result<String, CommandError> {
        let Ok(status) = tokio::time::timeout(bound, self.child.wait()).await else {
            self.stop().await;
            return Err(CommandError::TimedOut {
                what: self.what.clone(),
                bound,
            });
        };
        let succeeded = status.is_ok_and(|status| status.success());
        // The group's leader is reaped: its id may be given to somebody else from here on.
        self.group = None;
        let stdout = (&mut self.stdout).await.unwrap_or_default();
        let stderr = (&mut self.stderr).await.unwrap_or_default();
        if succeeded {
            Ok(String::from_utf8_lossy(&stdout).into_owned())
        } else {
            Err(CommandError::Failed {
                what: self.what.clone(),
                message: last_words(&stderr),
            })
        }
    }

    /// Waits until the command has ended; safe to be dropped and called again.
    pub(super) async fn wait(&mut self) {
        // An error here means that there is nothing left to wait for.
        drop(self.child.wait().await);
        self.group = None;
    }

    /// Ends the command and everything that it started, and waits until it is gone.
    pub(super) async fn stop(&mut self) {
        self.signal(Signal::TERM);
        if tokio::time::timeout(STOP_GRACE, self.child.wait())
            .await
            .is_err()
        {
            self.signal(Signal::KILL);
            drop(self.child.wait().await);
        }
        self.group = None;
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group
            && let Err(error) = kill_process_group(group, signal)
        {
            tracing::debug!(%error, "the process group of Compose is gone");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

async fn read_bounded(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut pipe) = pipe else { return kept };
    let mut buffer = [0; 8192];
    // What is beyond the bound is read and dropped, so that the writer does not stall.
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        let room = OUTPUT_BYTES_MAX - kept.len();
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
    kept
}

/// The lines of Compose's stderr that tell the error: the last ones, without progress.
fn last_words(stderr: &[u8]) -> String {
    const LINES: usize = 10;
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let telling: Vec<_> = lines
        .iter()
        .filter(|line| !is_progress(line))
        .copied()
        .collect();
    let chosen = if telling.is_empty() { &lines } else { &telling };
    chosen[chosen.len().saturating_sub(LINES)..].join("; ")
}

/// `Container shop-app-1  Created` and the like.
fn is_progress(line: &str) -> bool {
    ["Container ", "Network ", "Volume ", "Image "]
        .iter()
        .any(|noun| line.starts_with(noun))
        && !line.contains("Error")
        && !line.contains("error")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_leave_progress_out() {
        let stderr = b" Container a-app-1  Recreate\n Container a-app-1  Error\nError response from daemon: no such image\n";
        assert_eq!(
            last_words(stderr),
            "Container a-app-1  Error; Error response from daemon: no such image"
        );
        assert_eq!(
            last_words(b" Container x  Created\n"),
            "Container x  Created"
        );
    }
}
