//! A command in a container that runs.

use std::fmt;

use bollard::exec::{CreateExecOptions, StartExecOptions};
use cutover_api::event::OutputLine;
use futures_util::Stream;

use super::Docker;
use super::error::DockerError;
use super::query::is_container_name;

/// A command that was started in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec(String);

/// A command with everything that Compose lets a hook say.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// The user that it runs as, if not the container's.
    pub user: Option<String>,
    /// Whether it has every capability.
    pub privileged: bool,
    /// The directory that it runs in, if not the container's.
    pub working_dir: Option<String>,
    /// What it has in its environment beside what the container has: `NAME=value`, or `NAME` to take one away.
    pub env: Vec<String>,
}

impl Command {
    /// The program, which is what may be shown.
    #[must_use]
    pub fn program(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("program", &self.program())
            .finish_non_exhaustive()
    }
}

impl Docker {
    /// Starts `command` in the container, without a shell, and returns what it prints as well. It goes on if nobody reads
    /// that.
    ///
    /// # Errors
    /// [`DockerError::Conflict`] or [`DockerError::NotFound`] if the container does not run; Docker's other words. A
    /// program that the container does not have ends with a code of its own.
    pub async fn run_command(
        &self,
        container: &str,
        command: &Command,
    ) -> Result<(Exec, impl Stream<Item = OutputLine> + Send + use<>), DockerError> {
        let text = |of: &Option<String>| of.clone().filter(|text| !text.is_empty());
        let options = CreateExecOptions {
            cmd: Some(command.words.clone()),
            user: text(&command.user),
            privileged: Some(command.privileged),
            working_dir: text(&command.working_dir),
            env: Some(command.env.clone()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let what = "starting a command in a container";
        self.bounded(what, self.bounds.call, async {
            let created = self.bollard.create_exec(container, options).await?;
            let output = self.start_exec(&created.id).await?;
            Ok((Exec(created.id), output))
        })
        .await
    }

    /// Starts `command` in the container, without a shell and without reading what it prints.
    ///
    /// # Errors
    /// Docker's own words: the container does not run, or has no such program.
    pub async fn start_command(
        &self,
        container: &str,
        command: &[String],
    ) -> Result<Exec, DockerError> {
        if !is_container_name(container) {
            return Err(DockerError::unsupported("the name of a container"));
        }
        let options = CreateExecOptions {
            cmd: Some(command.to_vec()),
            ..Default::default()
        };
        let detached = StartExecOptions {
            detach: true,
            ..Default::default()
        };
        self.bounded(
            "starting a command in a container",
            self.bounds.call,
            async {
                let created = self.bollard.create_exec(container, options).await?;
                self.bollard.start_exec(&created.id, Some(detached)).await?;
                Ok(Exec(created.id))
            },
        )
        .await
    }

    /// The exit code of a command; none as long as it runs.
    ///
    /// # Errors
    /// Whatever kept Docker from answering.
    pub async fn exit_code(&self, exec: &Exec) -> Result<Option<i64>, DockerError> {
        let inspected = self.bounded("looking at a command", self.bounds.call, async {
            Ok(self.bollard.inspect_exec(&exec.0).await?)
        });
        let inspected = inspected.await?;
        match (inspected.running, inspected.exit_code) {
            (Some(true), _) => Ok(None),
            (Some(false), Some(code)) => Ok(Some(code)),
            // What nobody says proves nothing.
            _ => Err(DockerError::unsupported(
                "a command that ended without an exit code",
            )),
        }
    }
}
