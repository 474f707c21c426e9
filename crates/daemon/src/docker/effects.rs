//! What cutover does to containers: each call makes sure that something is so.
//!
//! An effect may be repeated, and it may be asked for when it has already happened. When Docker's answer
//! is lost (a timeout, a cut connection, a Docker that is being restarted), nobody knows whether it
//! took effect: then Docker is awaited and looked at, and only what is still missing is done again.

use std::time::Duration;

use bollard::models::{ContainerUpdateBody, RestartPolicyNameEnum};
use bollard::query_parameters::{
    RemoveContainerOptions, RenameContainerOptions, RestartContainerOptions, StartContainerOptions,
    StopContainerOptions,
};
use cutover_core::deployment::RestartPolicy;
use jiff::Timestamp;

use super::Docker;
use super::container::Container;
use super::error::DockerError;
use super::query::is_container_name;

/// How often an effect is tried whose answer was lost. The first repetition helps after a restart of
/// Docker; a third loss in a row is a Docker that the caller should hear about.
pub(super) const ATTEMPTS_MAX: u32 = 3;

/// Between two looks at a Docker that does not answer.
const PING_INTERVAL: Duration = Duration::from_millis(250);

/// How long one such look may take.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Docker's grace period where a container names none.
pub(crate) const STOP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// One thing that Docker is told to do with a container.
pub(super) enum Effect {
    Start,
    Unpause,
    /// From the life that began then to another one.
    Restart(Option<Timestamp>),
    Stop(StopContainerOptions),
    Remove(RemoveContainerOptions),
    Rename(RenameContainerOptions),
    SetRestartPolicy(bollard::models::RestartPolicy),
}

impl Effect {
    /// The words for it in errors and logs.
    fn what(&self) -> &'static str {
        match self {
            Self::Start => "starting a container",
            Self::Unpause => "unpausing a container",
            Self::Restart(_) => "restarting a container",
            Self::Stop(_) => "stopping a container",
            Self::Remove(_) => "removing a container",
            Self::Rename(_) => "renaming a container",
            Self::SetRestartPolicy(_) => "changing a restart policy",
        }
    }

    /// Whether the container, none if it is gone, is as the effect would leave it.
    fn is_reached(&self, found: Option<&Container>) -> bool {
        let Some(found) = found else {
            return matches!(self, Self::Remove(_));
        };
        match self {
            Self::Start | Self::Unpause => found.state.running && !found.state.paused,
            Self::Restart(before) => found.state.running && found.state.started_at != *before,
            Self::Stop(_) => !found.state.running,
            Self::Remove(_) => false,
            Self::Rename(options) => found.name == options.name,
            Self::SetRestartPolicy(policy) => {
                let name = policy.name.map(|name| name.to_string());
                name.as_ref() == Some(&found.restart_policy.name)
                    && policy.maximum_retry_count == Some(found.restart_policy.retries_max)
            }
        }
    }

    async fn apply(
        &self,
        docker: &bollard::Docker,
        id: &str,
    ) -> Result<(), bollard::errors::Error> {
        match self {
            Self::Start => {
                docker
                    .start_container(id, None::<StartContainerOptions>)
                    .await
            }
            Self::Unpause => docker.unpause_container(id).await,
            Self::Restart(_) => {
                docker
                    .restart_container(id, None::<RestartContainerOptions>)
                    .await
            }
            Self::Stop(options) => docker.stop_container(id, Some(options.clone())).await,
            Self::Remove(options) => docker.remove_container(id, Some(options.clone())).await,
            Self::Rename(options) => docker.rename_container(id, options.clone()).await,
            Self::SetRestartPolicy(policy) => {
                let body = ContainerUpdateBody {
                    restart_policy: Some(policy.clone()),
                    ..Default::default()
                };
                docker.update_container(id, body).await
            }
        }
    }
}

impl Docker {
    /// Makes sure that the container runs, and is not paused.
    ///
    /// One that exits at once after it was started counts as started: whoever watches it sees that.
    ///
    /// # Errors
    /// [`DockerError::NotFound`] if it is gone; Docker's own words if it could not be started, for example
    /// because a port is taken.
    pub async fn ensure_started(&self, id: &str) -> Result<(), DockerError> {
        let started = self.ensure(&Effect::Start, id, self.bounds.start).await;
        let Err(conflict @ DockerError::Conflict { .. }) = started else {
            return started;
        };
        // Docker does not start a container that somebody paused.
        match self.container(id).await? {
            Some(found) if found.state.paused => {
                self.ensure(&Effect::Unpause, id, self.bounds.call).await
            }
            _ => Err(conflict),
        }
    }

    /// Makes sure that `container`, which runs, was started anew: asks it to end, kills it after its grace period, and
    /// starts it.
    ///
    /// # Errors
    /// As [`Self::ensure_stopped`] and [`Self::ensure_started`].
    pub async fn ensure_restarted(&self, container: &Container) -> Result<(), DockerError> {
        let grace = container.stop_timeout.unwrap_or(STOP_TIMEOUT_DEFAULT);
        let bound = grace
            .saturating_add(self.bounds.stop_margin)
            .saturating_add(self.bounds.start);
        let restart = Effect::Restart(container.state.started_at);
        self.ensure(&restart, &container.id, bound).await
    }

    /// Makes sure that the container does not run: asks it to end, and kills it after the grace period.
    ///
    /// Without `grace`, its own `stop_timeout` counts.
    ///
    /// # Errors
    /// [`DockerError::NotFound`] if it is gone; Docker's own words if it does not end.
    pub async fn ensure_stopped(
        &self,
        id: &str,
        grace: Option<Duration>,
    ) -> Result<(), DockerError> {
        let patience = match grace {
            Some(grace) => grace,
            None => match self.container(id).await? {
                Some(found) => found.stop_timeout.unwrap_or(STOP_TIMEOUT_DEFAULT),
                None => return Err(gone(id)),
            },
        };
        let stop = Effect::Stop(StopContainerOptions {
            signal: None,
            t: grace.map(|grace| i32::try_from(grace.as_secs()).unwrap_or(i32::MAX)),
        });
        let bound = patience.saturating_add(self.bounds.stop_margin);
        self.ensure(&stop, id, bound).await
    }

    /// Makes sure that the container has this name.
    ///
    /// # Errors
    /// [`DockerError::NotFound`] if it is gone; [`DockerError::Conflict`] if another container has the name.
    pub async fn ensure_name(&self, id: &str, name: &str) -> Result<(), DockerError> {
        let rename = Effect::Rename(RenameContainerOptions {
            name: name.to_owned(),
        });
        self.ensure(&rename, id, self.bounds.call).await
    }

    /// Makes sure that the container has this restart policy.
    ///
    /// # Errors
    /// [`DockerError::NotFound`] if it is gone; Docker's own words if it refuses the policy.
    pub async fn ensure_restart_policy(
        &self,
        id: &str,
        policy: &RestartPolicy,
    ) -> Result<(), DockerError> {
        let name = match policy.name.as_str() {
            "" | "no" => RestartPolicyNameEnum::NO,
            "always" => RestartPolicyNameEnum::ALWAYS,
            "unless-stopped" => RestartPolicyNameEnum::UNLESS_STOPPED,
            "on-failure" => RestartPolicyNameEnum::ON_FAILURE,
            other => {
                return Err(DockerError::unsupported(format!(
                    "docker has no restart policy `{other}`"
                )));
            }
        };
        let set = Effect::SetRestartPolicy(bollard::models::RestartPolicy {
            name: Some(name),
            maximum_retry_count: Some(policy.retries_max),
        });
        self.ensure(&set, id, self.bounds.call).await
    }

    /// Tries `effect` until it took place, was refused, or its answer was lost too often.
    pub(super) async fn ensure(
        &self,
        effect: &Effect,
        id: &str,
        bound: Duration,
    ) -> Result<(), DockerError> {
        if !is_container_name(id) {
            return Err(gone(id));
        }
        let what = effect.what();
        let mut attempt = 1;
        loop {
            let call = async {
                let applied = effect.apply(&self.bollard, id).await;
                applied.map_err(DockerError::from)
            };
            let Err(error) = self.bounded(what, bound, call).await else {
                return Ok(());
            };
            if error.is_uncertain() {
                self.await_answer(&error).await?;
            }
            let found = self.container(id).await?;
            if effect.is_reached(found.as_ref()) {
                return Ok(());
            }
            if !error.is_uncertain() || attempt == ATTEMPTS_MAX {
                return Err(match error {
                    // The container is there: it is a network or a volume of it that is gone.
                    DockerError::NotFound { message } if found.is_some() => DockerError::Refused {
                        status: 404,
                        message,
                    },
                    other => other,
                });
            }
            tracing::warn!(container = id, attempt, %error, "{what} again: the answer was lost");
            attempt += 1;
        }
    }

    /// Waits until Docker answers again after `lost`.
    pub(super) async fn await_answer(&self, lost: &DockerError) -> Result<(), DockerError> {
        let answering = async {
            loop {
                let ping = self.bollard.ping();
                if let Ok(Ok(_)) = tokio::time::timeout(PING_TIMEOUT, ping).await {
                    return;
                }
                tokio::time::sleep(PING_INTERVAL).await;
            }
        };
        tokio::time::timeout(self.bounds.reconnect, answering)
            .await
            .map_err(|_elapsed| lost.clone())
    }
}

pub(super) fn gone(id: &str) -> DockerError {
    DockerError::NotFound {
        message: format!("No such container: {id}"),
    }
}

#[cfg(test)]
mod tests;
