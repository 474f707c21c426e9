//! The effects on what runs: the switch, the way back, and settling after the commit.

use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Previous, RestartPolicy, Staged};
use cutover_core::names::DeploymentId;
use jiff::Timestamp;

use super::{ComposeDriver, FAILED_SUFFIX, PARKED_INFIX, docker_cause};
use crate::docker::effects::STOP_TIMEOUT_DEFAULT;
use crate::docker::{AnonymousVolumes, Container, DockerError};

/// A previous container that is back.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    /// For how long it did not run, in milliseconds.
    pub outage_ms: u64,
    /// It was found running, and may have been told to stop all the same, by a call whose answer nobody got:
    /// Docker kills it after this time. Docker does not say so of a container that is being stopped.
    pub may_end_within: Option<Duration>,
    /// It runs or stands as it was found, but this could not be done: a name or a restart policy.
    pub left_undone: Option<Cause>,
}

/// How a committed container was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It ran, alone.
    Running,
    /// It was started now, or the old one beside it stopped: nothing is proven of it any more.
    StartedNow,
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
        self.outage(previous, &staged.container).await
    }

    /// From the end of the previous container to the start of `container`, by Docker's own clock.
    async fn outage(&self, previous: Option<&Previous>, container: &str) -> Result<u64, Cause> {
        let failed = |error: DockerError| docker_cause(Step::Switch, &error);
        let Some(old) = previous else {
            return Ok(0);
        };
        let stopped = self.docker.container(&old.container).await;
        let stopped = stopped.map_err(failed)?;
        if stopped.as_ref().is_some_and(|old| old.state.running) {
            // Two of them would write to the same volumes and share the service's name.
            let detail =
                "Docker was restarted during the switch and started the previous container again";
            return Err(Cause::new(Code::SwitchFailed, Step::Switch, detail));
        }
        if !old.condition.ran() {
            return Ok(0);
        }
        let started = self.docker.container(container).await.map_err(failed)?;
        Ok(millis_between(
            stopped.and_then(|old| old.state.finished_at),
            started.and_then(|new| new.state.started_at),
        ))
    }

    /// Puts the previous container back as it was found: name, running or stopped, restart policy. The
    /// new one is stopped and stays, so that its output can be read; see [`Self::discard`].
    ///
    /// That the previous one runs comes first: what else could not be done is in `left_undone`.
    ///
    /// # Errors
    /// [`Code::RollbackFailed`] with Docker's own words; calling again goes on where it ended. If the previous
    /// container is gone, nothing was done.
    pub async fn restore(
        &self,
        deployment: &DeploymentId,
        previous: Option<&Previous>,
    ) -> Result<Restored, Cause> {
        let Some(old) = previous else {
            let left_undone = self.make_way(deployment, None).await?;
            return Ok(Restored {
                left_undone,
                ..Restored::default()
            });
        };
        let found = self.docker.container(&old.container).await;
        let Some(found) = found.map_err(not_back)? else {
            let detail = format!(
                "the previous container {} is gone: somebody removed it",
                old.name
            );
            return Err(Cause::new(Code::RollbackFailed, Step::RollBack, detail));
        };
        let mut left_undone = self.make_way(deployment, Some(old)).await?;
        let named = self.docker.ensure_name(&old.container, &old.name).await;
        left_undone = left_undone.or(named.err().map(not_back));
        let outage_ms = self.as_it_was(old, &found).await.map_err(not_back)?;
        let policy = &old.restart_policy;
        let policy_set = self.docker.ensure_restart_policy(&old.container, policy);
        left_undone = left_undone.or(policy_set.await.err().map(not_back));
        let may_end_within = (found.state.running && old.condition.ran())
            .then(|| found.stop_timeout.unwrap_or(STOP_TIMEOUT_DEFAULT));
        Ok(Restored {
            outage_ms,
            may_end_within,
            left_undone,
        })
    }

    /// Starts the old container, or stops it if it did not run before. Returns for how long it did not run, in
    /// milliseconds.
    async fn as_it_was(&self, old: &Previous, found: &Container) -> Result<u64, DockerError> {
        if !old.condition.ran() {
            self.docker.ensure_stopped(&old.container, None).await?;
            return Ok(0);
        }
        let stopped_at = found.state.finished_at.filter(|_| !found.state.running);
        self.docker.ensure_started(&old.container).await?;
        let now = self.docker.container(&old.container).await?;
        Ok(millis_between(
            stopped_at,
            now.and_then(|old| old.state.started_at),
        ))
    }

    /// Stops the new container, and gives its name free. Returns what could not be done once it was stopped.
    async fn make_way(
        &self,
        deployment: &DeploymentId,
        previous: Option<&Previous>,
    ) -> Result<Option<Cause>, Cause> {
        let mut left_undone = None;
        for new in self.created_by(deployment).await? {
            self.end(&new.id).await.map_err(not_back)?;
            if let Some(old) = previous
                && new.name == old.name
            {
                let parked = parked_name(&old.name, deployment);
                let name = format!("{parked}{FAILED_SUFFIX}");
                match self.docker.ensure_name(&new.id, &name).await {
                    Err(error) if !error.is_not_found() => {
                        left_undone = left_undone.or(Some(not_back(error)));
                    }
                    _ => {}
                }
            }
        }
        Ok(left_undone)
    }

    /// Makes sure that the new container does not run: one that cannot be stopped does not outlive its removal.
    async fn end(&self, new: &str) -> Result<(), DockerError> {
        let Err(error) = self.docker.ensure_stopped(new, None).await else {
            return Ok(());
        };
        if error.is_not_found() {
            return Ok(());
        }
        if error.is_uncertain() {
            return Err(error);
        }
        tracing::warn!(container = new, %error, "the new container could not be stopped; removing it");
        let removed = self.docker.ensure_removed(new, AnonymousVolumes::Remove);
        removed.await.map_err(|_| error)
    }

    /// After the commit, when the new container is seen to run: it gets its restart policy, and the old one goes.
    ///
    /// # Errors
    /// [`Code::DockerUnavailable`]; calling again goes on where it ended.
    pub async fn settle(&self, previous: Option<&Previous>, staged: &Staged) -> Result<(), Cause> {
        let failed = |error: DockerError| docker_cause(Step::CleanUp, &error);
        self.docker
            .ensure_restart_policy(&staged.container, &staged.restart_policy)
            .await
            .map_err(failed)?;
        match previous {
            Some(old) => self.remove_for_good(&old.container).await.map_err(failed),
            None => Ok(()),
        }
    }

    /// Removes a container whose anonymous volumes another one has taken over. One that Docker cannot remove does
    /// not come up at boot any more, at least.
    pub(super) async fn remove_for_good(&self, container: &str) -> Result<(), DockerError> {
        if let Err(error) = self.stays_down(container).await {
            tracing::warn!(container, %error, "a container that goes keeps its restart policy until then");
        }
        self.docker
            .ensure_removed(container, AnonymousVolumes::Keep)
            .await
    }

    /// Takes back that Docker starts this container at boot, as it did in case of a power cut during the trial.
    ///
    /// # Errors
    /// Docker's own words; a container that is gone is none.
    pub async fn stays_down(&self, container: &str) -> Result<(), DockerError> {
        let no = RestartPolicy {
            name: "no".into(),
            retries_max: 0,
        };
        match self.docker.ensure_restart_policy(container, &no).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
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
    ) -> Result<Found, Cause> {
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
            Some(new) if new.state.running && !old_runs => return Ok(Found::Running),
            Some(_) => {
                if let Some(previous) = previous.filter(|_| old_runs) {
                    let stopped = self.docker.ensure_stopped(&previous.container, None).await;
                    stopped.map_err(failed)?;
                }
                match self.docker.ensure_started(&staged.container).await {
                    Ok(()) => return Ok(Found::StartedNow),
                    Err(error) => error.to_string(),
                }
            }
            None => "the new container is gone: somebody removed it".to_owned(),
        };
        if let Some(previous) = previous.filter(|previous| previous.condition.ran()) {
            let old = [previous.container.as_str()];
            self.ensure_one_runs(&old, &old).await;
        }
        Err(Cause::new(Code::SwitchFailed, Step::CleanUp, why))
    }

    /// When nothing more can be done: if none of `all` runs, starts the first of `startable` that can be started.
    pub async fn ensure_one_runs(&self, all: &[&str], startable: &[&str]) {
        for container in all {
            match self.docker.container(container).await {
                Ok(Some(found)) if found.state.running => return,
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(container, %error, "whether this container runs is not known; none is started");
                    return;
                }
            }
        }
        for &container in startable {
            match self.docker.ensure_started(container).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!(container, %error, "this container could not be started either");
                }
            }
        }
    }
}

/// Why the previous container is not back, in Docker's own words.
fn not_back(error: DockerError) -> Cause {
    Cause::new(Code::RollbackFailed, Step::RollBack, error.to_string())
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
