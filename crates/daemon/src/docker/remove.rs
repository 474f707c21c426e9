//! Removing containers. Nothing that runs is removed: Docker is never told to force it.

use std::time::Duration;

use bollard::query_parameters::RemoveContainerOptions;
use serde::Deserialize;

use super::Docker;
use super::effects::Effect;
use super::error::DockerError;
use super::query::is_container_name;

/// Between two looks at a container that is being removed by somebody else.
const REMOVAL_INTERVAL: Duration = Duration::from_millis(50);

/// What becomes of the volumes that only this container uses and that have no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnonymousVolumes {
    /// They stay; another container may have taken them over.
    Keep,
    /// They are removed with the container.
    Remove,
}

impl AnonymousVolumes {
    fn go(self) -> bool {
        self == Self::Remove
    }
}

impl Docker {
    /// Makes sure that a container that does not run is gone.
    ///
    /// # Errors
    /// [`DockerError::Conflict`] if it runs; Docker's own words if it could not be removed.
    pub async fn ensure_removed(
        &self,
        id: &str,
        volumes: AnonymousVolumes,
    ) -> Result<(), DockerError> {
        let remove = Effect::Remove(RemoveContainerOptions {
            v: volumes.go(),
            force: false,
            link: false,
        });
        let removed = self.ensure(&remove, id, self.bounds.remove).await;
        self.unless_gone(id, removed).await
    }

    /// As [`Self::ensure_removed`], if all of `beside` run, as the very Docker says that removes: the questions
    /// and the removal travel over one connection, which does not outlive the Docker process. So the container is
    /// not removed by a Docker that was restarted after it was asked, and that has not started the others.
    ///
    /// # Errors
    /// Also [`DockerError::Conflict`] if one of them does not run.
    pub async fn ensure_removed_beside(
        &self,
        id: &str,
        beside: &[String],
        volumes: AnonymousVolumes,
    ) -> Result<(), DockerError> {
        if beside.is_empty() {
            return self.ensure_removed(id, volumes).await;
        }
        let all = beside.iter().map(String::as_str).chain([id]);
        if let Some(wrong) = all.into_iter().find(|name| !is_container_name(name)) {
            return Err(super::effects::gone(wrong));
        }
        let what = "removing a container";
        let exchange = self.remove_over_one_connection(id, beside, volumes);
        let removed = self.bounded(what, self.bounds.remove, exchange).await;
        self.unless_gone(id, removed).await
    }

    async fn remove_over_one_connection(
        &self,
        id: &str,
        beside: &[String],
        volumes: AnonymousVolumes,
    ) -> Result<(), DockerError> {
        let mut connection = self.wire.connection().await?;
        for other in beside {
            let answer = connection.get(&format!("/containers/{other}/json")).await?;
            let found: Found = serde_json::from_slice(&answer)
                .map_err(|_| DockerError::unsupported("docker described a container unreadably"))?;
            if !found.state.running || found.state.restarting {
                return Err(DockerError::Conflict {
                    message: format!(
                        "container {other}, which is to run in its place, does not run"
                    ),
                });
            }
        }
        let path = format!("/containers/{id}?v={}", u8::from(volumes.go()));
        connection.delete(&path).await
    }

    /// The answer to a removal: one that is gone is as wanted, and one that somebody else is removing is awaited.
    async fn unless_gone(
        &self,
        id: &str,
        removed: Result<(), DockerError>,
    ) -> Result<(), DockerError> {
        let conflict = match removed {
            Err(error) if error.is_not_found() => return Ok(()),
            Err(conflict @ DockerError::Conflict { .. }) if is_under_way(&conflict) => conflict,
            other => return other,
        };
        self.bounded("awaiting a removal", self.bounds.remove, async {
            while self.container(id).await?.is_some() {
                tokio::time::sleep(REMOVAL_INTERVAL).await;
            }
            Ok(())
        })
        .await
        .map_err(|_| conflict)
    }
}

/// Whether Docker says that somebody, or a call whose answer was lost, is removing the container already. One that
/// runs is refused with the same status.
fn is_under_way(conflict: &DockerError) -> bool {
    conflict.to_string().contains("already in progress")
}

/// What counts of a container's description here.
#[derive(Debug, Deserialize)]
struct Found {
    #[serde(rename = "State")]
    state: FoundState,
}

#[derive(Debug, Deserialize)]
struct FoundState {
    #[serde(rename = "Running", default)]
    running: bool,
    #[serde(rename = "Restarting", default)]
    restarting: bool,
}
