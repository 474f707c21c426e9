//! Runs the Compose command line: found once, given a fixed argument vector and an environment that holds
//! only what the configuration lists.
//!
//! The plugin binary is run directly: `docker compose` would only start it as a child, which a signal to
//! `docker` does not reach (docker/cli#4332).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use cutover_core::compose_version::{ComposeVersion, WITHOUT_DEPENDENCIES};
use rustix::fs::{MemfdFlags, memfd_create};
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::program::{Printed, ProgramError, Running, find_executable};
use crate::settings;

/// Reading a project takes Compose a tenth of a second; a hanging file system must not hold us for ever.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Where Docker's packages and its documentation put command-line plugins.
const PLUGIN_DIRECTORIES: &[&str] = &[
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// What to tell somebody whose machine has no Compose.
const NO_COMPOSE: &str = "no `docker-compose` in PATH and no `docker-compose` plugin of Docker: install the package docker-compose-plugin or docker-compose, version 2.20 or newer";

/// The Compose binary of this machine.
#[derive(Debug, Clone)]
pub struct Compose {
    program: PathBuf,
    docker_config: PathBuf,
    /// Asked for once.
    counts_dependencies: Arc<OnceCell<bool>>,
}

impl Compose {
    /// Finds Compose: the configured path, `docker-compose` in `PATH`, or Docker's plugin.
    ///
    /// # Errors
    /// [`ProgramError::NotFound`] when there is none.
    pub fn find(docker: &settings::DockerSettings) -> Result<Self, ProgramError> {
        let plugins = [docker.config_directory.join("cli-plugins")]
            .into_iter()
            .chain(PLUGIN_DIRECTORIES.iter().map(PathBuf::from));
        let program = find_executable("docker-compose", docker.compose.as_deref(), plugins)
            .ok_or(ProgramError::NotFound { advice: NO_COMPOSE })?;
        Ok(Self {
            program,
            docker_config: docker.config_directory.clone(),
            counts_dependencies: Arc::default(),
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
    pub async fn version(&self) -> Result<String, ProgramError> {
        let mut command = Command::new(&self.program);
        command
            .args(["version", "--short"])
            .env_clear()
            .env("HOME", "/");
        let output = Running::start(command, "docker compose version")?
            .output(READ_TIMEOUT)
            .await?;
        Ok(output.trim().to_owned())
    }

    /// Whether it counts what a service depends on when it compares a container with the service's definition.
    pub(super) async fn counts_dependencies(&self) -> bool {
        let ask = async || {
            let version = self.version().await.ok()?;
            let version: ComposeVersion = version.parse().ok()?;
            Some(version < WITHOUT_DEPENDENCIES)
        };
        let known = self
            .counts_dependencies
            .get_or_init(async || ask().await.unwrap_or(false));
        *known.await
    }

    /// Runs a subcommand that only reads, for `project`, and returns what it printed.
    pub(super) async fn read(
        &self,
        project: &Project<'_>,
        arguments: &[&str],
    ) -> Result<String, ProgramError> {
        Ok(self.printed(project, arguments).await?.stdout)
    }

    /// As [`Self::read`], with what it printed to stderr: warnings.
    pub(super) async fn printed(
        &self,
        project: &Project<'_>,
        arguments: &[&str],
    ) -> Result<Printed, ProgramError> {
        let command = self.command(project, arguments);
        let input = match &project.laid_over {
            Some(text) => in_memory(text).map_err(|source| ProgramError::Start {
                program: self.program.clone(),
                source,
            })?,
            None => Stdio::null(),
        };
        Running::start_with_input(command, &described(arguments), input)?
            .printed(READ_TIMEOUT)
            .await
    }

    /// Starts a subcommand against the Docker socket at `socket`.
    pub(super) fn start(
        &self,
        project: &Project<'_>,
        socket: &Path,
        arguments: &[&str],
    ) -> Result<Running, ProgramError> {
        let mut command = self.command(project, arguments);
        let mut host = OsString::from("unix://");
        host.push(socket);
        command.env("DOCKER_HOST", host);
        Running::start(command, &described(arguments))
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
        if project.laid_over.is_some() {
            command.args(["--file", "-"]);
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

/// A file that is nowhere on the disk.
fn in_memory(text: &str) -> std::io::Result<Stdio> {
    let mut file = File::from(memfd_create("compose", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file.into())
}

/// A command as a person would type it, without its options.
fn described(arguments: &[&str]) -> String {
    format!("docker compose {}", arguments.first().unwrap_or(&""))
}

/// What a Compose command is about: a service's project, and the variables set for this deployment.
#[derive(Debug)]
pub(super) struct Project<'a> {
    pub(super) service: &'a settings::Service,
    pub(super) variables: BTreeMap<String, String>,
    /// A Compose file that is laid over the service's own; only for commands that read.
    pub(super) laid_over: Option<String>,
}

impl<'a> Project<'a> {
    /// The project of `service`, with these variables set.
    pub(super) fn new(service: &'a settings::Service, variables: BTreeMap<String, String>) -> Self {
        Self {
            service,
            variables,
            laid_over: None,
        }
    }

    /// Where Compose looks for `.env` and resolves relative paths.
    pub(super) fn directory(&self) -> Option<&Path> {
        let service = self.service;
        service
            .project_directory
            .as_deref()
            .or_else(|| service.compose_files.first()?.parent())
    }
}
