//! Removing what a deployment created before its switch, whatever somebody did with it meanwhile.

use cutover_core::cause::{Cause, Step};
use cutover_core::names::DeploymentId;

use super::moves::SHORT_GRACE;
use super::{ComposeDriver, docker_cause};
use crate::docker::{AnonymousVolumes, Container, DockerError};
use crate::labels;

impl ComposeDriver {
    /// Removes whatever this deployment has created, before its switch. Safe to call when there is nothing.
    ///
    /// A `docker compose restart` or `up` by hand starts a staged container as well. It goes if the service runs
    /// in another one.
    ///
    /// # Errors
    /// Docker's own words; also if the container runs, and nothing else of the service does.
    pub async fn discard(&self, deployment: &DeploymentId) -> Result<(), Cause> {
        let discarded = async {
            for container in self.created_by(deployment).await? {
                let is_job = container.labels.contains_key(labels::JOB);
                if container.state.running && is_job {
                    let stopped = self.docker.ensure_stopped(&container.id, None);
                    stopped.await?;
                } else if container.state.running {
                    self.discard_running(&container).await?;
                }
                if is_job || !container.state.running {
                    let removed = self
                        .docker
                        .ensure_removed(&container.id, AnonymousVolumes::Remove);
                    removed.await?;
                }
            }
            Ok(())
        };
        let discarded: Result<(), DockerError> = discarded.await;
        discarded.map_err(|error| docker_cause(Step::Stage, &error))
    }

    async fn discard_running(&self, container: &Container) -> Result<(), DockerError> {
        let label = |name: &str| container.labels.get(name).map_or("", String::as_str);
        let present = self.present(label(labels::PROJECT), label(labels::SERVICE));
        let present = present.await?;
        let is_other = |one: &&Container| {
            one.state.running
                && one.labels.get(labels::DEPLOYMENT) != container.labels.get(labels::DEPLOYMENT)
        };
        let others = present.current.iter().filter(is_other);
        let beside: Vec<String> = others.map(|one| one.id.clone()).collect();
        if beside.is_empty() {
            return Err(DockerError::Conflict {
                message: format!(
                    "somebody started container {}, and nothing else of the service runs",
                    container.name
                ),
            });
        }
        let docker = &self.docker;
        docker
            .ensure_stopped(&container.id, Some(SHORT_GRACE))
            .await?;
        let removed =
            docker.ensure_removed_beside(&container.id, &beside, AnonymousVolumes::Remove);
        let removed = removed.await;
        if let Err(DockerError::Conflict { .. }) = removed {
            // The other one has ended meanwhile: better this one than nothing.
            docker.ensure_started(&container.id).await?;
        }
        removed
    }
}
