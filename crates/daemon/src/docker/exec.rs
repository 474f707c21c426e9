//! A command in a container that runs.

use bollard::exec::{CreateExecOptions, StartExecOptions};

use super::Docker;
use super::error::DockerError;
use super::query::is_container_name;

/// A command that was started in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec(String);

impl Docker {
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
