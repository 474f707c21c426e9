//! The effects on what runs: the switch, the way back, and settling after the commit.

use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Previous, RestartPolicy, Staged};
use cutover_core::names::DeploymentId;
use jiff::Timestamp;

use super::{ComposeDriver, FAILED_SUFFIX, PARKED_INFIX, docker_cause};
use crate::docker::effects::STOP_TIMEOUT_DEFAULT;
use crate::docker::{AnonymousVolumes, DockerError};

/// A previous container that is back.
#[derive(Debug, Clone, Copy, Default)]
pub struct Restored {
    /// For how long it did not run, in milliseconds.
    pub outage_ms: u64,
    /// It was found running, and may have been told to stop all the same, by a call whose answer nobody got:
    /// Docker kills it after this time. Docker does not say so of a container that is being stopped.
    pub may_end_within: Option<Duration>,
}

impl ComposeDriver {
    /// Stops the old container and starts the new one, under each other's names. Returns for how long
    /// neither ran, in milliseconds.
    ///
    /// # Errors
    /// [`Code::SwitchFailed`] with Docker's own words; how far it came is for [`Self::restore`] to see.
    pub async fn switch(
        &self,
        deployment: &DeploymentId,
        previous: Option<&Previous>,
        staged: &Staged,
    ) -> Result<u64, Cause> {
        let failed = |error: DockerError| docker_cause(Step::Switch, &error);
        if let Some(old) = previous {
            if starts_at_boot(&old.restart_policy) {
                // Stopped through the API, only `always` comes back after a power cut.
                let always = RestartPolicy {
                    name: "always".into(),
                    retries_max: 0,
                };
                self.docker
                    .ensure_restart_policy(&old.container, &always)
                    .await
                    .map_err(failed)?;
            }
            let parked = parked_name(&old.name, deployment);
            self.docker
                .ensure_name(&old.container, &parked)
                .await
                .map_err(failed)?;
        }
        self.docker
            .ensure_name(&staged.container, &staged.name)
            .await
            .map_err(failed)?;
        if let Some(old) = previous {
            self.docker
                .ensure_stopped(&old.container, None)
                .await
                .map_err(failed)?;
        }
        self.docker
            .ensure_started(&staged.container)
            .await
            .map_err(failed)?;
        self.outage(previous, &staged.container)
            .await
            .map_err(failed)
    }

    /// From the end of the previous container to the start of `container`, by Docker's own clock.
    async fn outage(
        &self,
        previous: Option<&Previous>,
        container: &str,
    ) -> Result<u64, DockerError> {
        let Some(old) = previous.filter(|old| old.condition.ran()) else {
            return Ok(0);
        };
        let stopped = self.docker.container(&old.container).await?;
        let started = self.docker.container(container).await?;
        let stopped_at = stopped.and_then(|old| old.state.finished_at);
        Ok(millis_between(
            stopped_at,
            started.and_then(|new| new.state.started_at),
        ))
    }

    /// Puts the previous container back as it was found: name, running or stopped, restart policy. The
    /// new one is stopped and stays, so that its output can be read; see [`Self::discard`].
    ///
    /// # Errors
    /// [`Code::RollbackFailed`] with Docker's own words; calling again goes on where it ended.
    pub async fn restore(
        &self,
        deployment: &DeploymentId,
        previous: Option<&Previous>,
    ) -> Result<Restored, Cause> {
        let failed = |error: DockerError| {
            Cause::new(Code::RollbackFailed, Step::RollBack, error.to_string())
        };
        self.make_way(deployment, previous).await?;
        let Some(old) = previous else {
            return Ok(Restored::default());
        };
        let Some(found) = self
            .docker
            .container(&old.container)
            .await
            .map_err(failed)?
        else {
            return Err(Cause::new(
                Code::RollbackFailed,
                Step::RollBack,
                format!(
                    "the previous container {} is gone: somebody removed it",
                    old.name
                ),
            ));
        };
        self.docker
            .ensure_name(&old.container, &old.name)
            .await
            .map_err(failed)?;
        let mut outage_ms = 0;
        if old.condition.ran() {
            let stopped_at = found.state.finished_at.filter(|_| !found.state.running);
            self.docker
                .ensure_started(&old.container)
                .await
                .map_err(failed)?;
            let now = self
                .docker
                .container(&old.container)
                .await
                .map_err(failed)?;
            outage_ms = millis_between(stopped_at, now.and_then(|old| old.state.started_at));
        } else {
            self.docker
                .ensure_stopped(&old.container, None)
                .await
                .map_err(failed)?;
        }
        self.docker
            .ensure_restart_policy(&old.container, &old.restart_policy)
            .await
            .map_err(failed)?;
        let may_end_within = (found.state.running && old.condition.ran())
            .then(|| found.stop_timeout.unwrap_or(STOP_TIMEOUT_DEFAULT));
        Ok(Restored {
            outage_ms,
            may_end_within,
        })
    }

    /// Stops the new container, and gives its name free.
    async fn make_way(
        &self,
        deployment: &DeploymentId,
        previous: Option<&Previous>,
    ) -> Result<(), Cause> {
        let failed = |error: DockerError| {
            Cause::new(Code::RollbackFailed, Step::RollBack, error.to_string())
        };
        for new in self.created_by(deployment).await? {
            self.docker
                .ensure_stopped(&new.id, None)
                .await
                .map_err(failed)?;
            if let Some(old) = previous
                && new.name == old.name
            {
                let parked = parked_name(&old.name, deployment);
                self.docker
                    .ensure_name(&new.id, &format!("{parked}{FAILED_SUFFIX}"))
                    .await
                    .map_err(failed)?;
            }
        }
        Ok(())
    }

    /// After the commit: the new container runs and gets its restart policy, and the old one goes.
    ///
    /// # Errors
    /// [`Code::DockerUnavailable`], or as [`Self::ensure_committed_runs`]; calling again goes on where it ended.
    pub async fn settle(&self, previous: Option<&Previous>, staged: &Staged) -> Result<(), Cause> {
        let failed = |error: DockerError| docker_cause(Step::CleanUp, &error);
        // The old one is the only other container there is: it goes when the new one is seen to run.
        self.ensure_committed_runs(previous, staged).await?;
        self.docker
            .ensure_restart_policy(&staged.container, &staged.restart_policy)
            .await
            .map_err(failed)?;
        if let Some(old) = previous {
            // The new container has taken the anonymous volumes over.
            self.docker
                .ensure_removed(&old.container, AnonymousVolumes::Keep)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    /// Makes sure that the new container runs and the old one does not: Docker may have been restarted since
    /// the new one was proven, and starts the old one then.
    ///
    /// # Errors
    /// [`Code::DockerUnavailable`] while Docker does not answer. [`Code::SwitchFailed`] if the new container is
    /// gone or does not start: then the old one runs, where it ran before.
    pub async fn ensure_committed_runs(
        &self,
        previous: Option<&Previous>,
        staged: &Staged,
    ) -> Result<(), Cause> {
        let failed = |error: DockerError| docker_cause(Step::CleanUp, &error);
        let old = match previous {
            Some(old) => self
                .docker
                .container(&old.container)
                .await
                .map_err(failed)?,
            None => None,
        };
        let old_runs = old.is_some_and(|old| old.state.running);
        let new = self.docker.container(&staged.container).await;
        let why = match new.map_err(failed)? {
            Some(new) if new.state.running && !old_runs => return Ok(()),
            Some(_) => {
                if let Some(previous) = previous.filter(|_| old_runs) {
                    let stopped = self.docker.ensure_stopped(&previous.container, None).await;
                    stopped.map_err(failed)?;
                }
                match self.docker.ensure_started(&staged.container).await {
                    Ok(()) => return Ok(()),
                    Err(error) => error.to_string(),
                }
            }
            None => "the new container is gone: somebody removed it".to_owned(),
        };
        if let Some(previous) = previous.filter(|previous| previous.condition.ran())
            && let Err(error) = self.docker.ensure_started(&previous.container).await
        {
            tracing::error!(container = previous.container, %error, "the previous container could not be started either");
        }
        Err(Cause::new(Code::SwitchFailed, Step::CleanUp, why))
    }
}

/// From one moment to another by Docker's clock; 0 where one of them is not known.
fn millis_between(from: Option<Timestamp>, to: Option<Timestamp>) -> u64 {
    from.zip(to).map_or(0, |(from, to)| {
        u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0)
    })
}

/// Whether Docker starts a container with this policy by itself when the machine boots.
fn starts_at_boot(policy: &RestartPolicy) -> bool {
    matches!(policy.name.as_str(), "always" | "unless-stopped")
}

fn parked_name(name: &str, deployment: &DeploymentId) -> String {
    format!("{name}{PARKED_INFIX}{}", deployment.short())
}
