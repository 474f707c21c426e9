//! A one-off container of a service, as `docker compose run --no-deps` makes it: the same image, environment, volumes and
//! networks with another command, and neither its ports nor its names.

use cutover_core::deployment::Replica;
use cutover_core::names::DeploymentId;

use super::ComposeDriver;
use super::present::as_replica;
use super::project::ServiceModel;
use crate::docker::{AnonymousVolumes, Container, DockerError};
use crate::labels;
use crate::settings;

/// Why the configured `release_command` cannot be run for this service; none if it can, or if there is none.
#[must_use]
pub fn release_command_refused(
    service: &settings::Service,
    model: &ServiceModel,
) -> Option<&'static str> {
    let is_refused = !service.release_command.is_empty() && model.has_written_files;
    is_refused.then_some(
        "`release_command` cannot be run: Compose writes secrets or configs into the container of the service that are no files on this machine, and a one-off container would not have them; put them into files, or make a service of the command that the others wait for with `service_completed_successfully`",
    )
}

impl ComposeDriver {
    /// Creates a container like `of`, which is staged, that runs `command` in the place of its own. It is not started.
    ///
    /// # Errors
    /// Docker's own words. [`Self::discard`] removes what was created all the same.
    pub async fn create_one_off(
        &self,
        of: &Container,
        command: &[String],
        deployment: &DeploymentId,
    ) -> Result<Replica, DockerError> {
        let gone = || DockerError::from_status(404, &format!("No such container: {}", of.id));
        let configuration = self.docker.create_configuration(&of.id).await?;
        let configuration = configuration.ok_or_else(gone)?.one_off(command);
        let label = |name: &str| of.labels.get(name).map_or("", String::as_str);
        let (project, service) = (label(labels::PROJECT), label(labels::SERVICE));
        let name = format!("{project}-{service}-run-{}", deployment.short());
        let labels = [
            (labels::ONE_OFF, "True"),
            (labels::JOB, "true"),
            (labels::DEPLOYMENT, deployment.as_str()),
        ];
        let created = self.docker.create_again(&configuration, &name, &labels);
        let id = created.await?;
        let container = self.docker.container(&id).await?.ok_or_else(gone)?;
        Ok(as_replica(&container))
    }

    /// Removes a one-off container. The volumes of the service stay.
    ///
    /// # Errors
    /// Docker's own words.
    pub async fn remove_one_off(&self, one_off: &Replica) -> Result<(), DockerError> {
        let container = &one_off.container;
        let removed = self
            .docker
            .ensure_removed(container, AnonymousVolumes::Remove);
        removed.await
    }
}
