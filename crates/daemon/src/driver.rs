//! The adapter for Compose: what each step of a deployment does to Docker.
//!
//! Steps here do one thing and do not decide what comes next; `deployer::run` does. Every effect is an
//! "ensure": doing it twice, or finding it done, is the same as doing it once, so that recovery can call
//! the same functions.

pub mod command;
pub mod project;
mod staging;
pub mod env_file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{PinnedImage, Previous, RestartPolicy, Staged};
use cutover_core::names::{DeploymentId, Tag};
use jiff::Timestamp;

use self::command::{CommandError, Compose, Project, Running};
use self::project::ServiceModel;
use self::staging::rewrite::{DEPLOYMENT_LABEL, Mark};
use self::staging::{Arrival, HeldStart, StagingSocket};
use crate::docker::{AnonymousVolumes, Container, Docker, DockerError};
use crate::settings;

/// How long Compose may take after the new container was started: its `post_start` hooks run then.
const HOOKS_TIMEOUT: Duration = Duration::from_secs(600);

/// What a container is called while another one bears its name; nothing but cutover uses this.
const PARKED_INFIX: &str = "_cutover-";

/// Deploys services of Compose projects.
#[derive(Debug, Clone)]
pub struct ComposeDriver {
    docker: Docker,
    compose: Compose,
    staging_directory: PathBuf,
}

/// One service of a project, for one tag: what every step is about.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The service as configured.
    pub service: &'a settings::Service,
    /// The service as Compose renders it.
    pub model: &'a ServiceModel,
    /// The requested tag.
    pub tag: &'a Tag,
    /// The deployment that asks.
    pub deployment: &'a DeploymentId,
}

/// The new container, created and not started, with Compose waiting for the start. Dropping it ends
/// Compose; the container stays until it is removed.
#[derive(Debug)]
pub struct Staging {
    /// The new container.
    pub container: Container,
    /// What the journal remembers of it.
    pub staged: Staged,
    held: HeldStart,
    compose: Running,
    // Compose talks through it until it has ended.
    _socket: StagingSocket,
}

impl ComposeDriver {
    /// A driver that keeps its sockets in `state_directory`.
    ///
    /// # Errors
    /// When the directory for the sockets cannot be made.
    pub fn new(docker: Docker, compose: Compose, state_directory: &Path) -> std::io::Result<Self> {
        let staging_directory = state_directory.join("staging");
        std::fs::create_dir_all(&staging_directory)?;
        Ok(Self {
            docker,
            compose,
            staging_directory,
        })
    }

    /// The Docker that it drives.
    #[must_use]
    pub fn docker(&self) -> &Docker {
        &self.docker
    }

    /// The Compose that it runs.
    #[must_use]
    pub fn compose(&self) -> &Compose {
        &self.compose
    }

    /// The container that the service runs in; none before its first deployment.
    ///
    /// # Errors
    /// [`Code::UnsupportedStrategy`] for more than one, or [`Code::DockerUnavailable`].
    pub async fn current(&self, model: &ServiceModel) -> Result<Option<Container>, Cause> {
        let found = self
            .docker
            .service_containers(&model.project, &model.compose_service)
            .await
            .map_err(|error| docker_cause(Step::Prepare, &error))?;
        let mut mine: Vec<_> = found
            .into_iter()
            .filter(|container| !is_parked(container))
            .collect();
        if mine.len() > 1 {
            // What an earlier daemon staged and could not remove has never run.
            mine.retain(|found| {
                !(found.labels.contains_key(DEPLOYMENT_LABEL) && found.state.started_at.is_none())
            });
        }
        match mine.len() {
            0 | 1 => Ok(mine.pop()),
            count => Err(Cause::new(
                Code::UnsupportedStrategy,
                Step::Prepare,
                format!(
                    "service `{}` has {count} containers; more than one replica is not supported yet, nothing was changed",
                    model.compose_service
                ),
            )),
        }
    }

    /// Whether `container` is what a deployment of `image` would make: same reference, same image, same
    /// Compose configuration.
    ///
    /// # Errors
    /// [`Code::InvalidCompose`] when Compose cannot say.
    pub async fn is_same_release(
        &self,
        target: Target<'_>,
        container: &Container,
        image: &PinnedImage,
    ) -> Result<bool, Cause> {
        if container.image_ref != image.reference || container.image_id != image.id {
            return Ok(false);
        }
        let hash =
            project::config_hash(&self.compose, target.service, target.model, target.tag).await?;
        Ok(container.labels.get("com.docker.compose.config-hash") == Some(&hash))
    }

    /// Lets Compose create the new container, up to the call that would start it.
    ///
    /// # Errors
    /// [`Code::StageFailed`] with Compose's own words, or [`Code::OutsideChange`]. A container may have
    /// been created all the same: see [`Self::discard`].
    pub async fn stage(
        &self,
        target: Target<'_>,
        image: &PinnedImage,
        previous: Option<&Previous>,
    ) -> Result<Staging, Cause> {
        let model = target.model;
        let mark = Mark {
            deployment: target.deployment.to_string(),
            service: target.service.name.to_string(),
            project: model.project.clone(),
            compose_service: model.compose_service.clone(),
        };
        let path = self
            .staging_directory
            .join(format!("{}.sock", target.deployment.short()));
        let old = previous.map(|old| (old.container.clone(), old.name.clone()));
        let mut socket =
            StagingSocket::open(&path, self.docker.socket(), mark, old).map_err(|error| {
                stage_failed(format!("the staging socket could not be opened: {error}"))
            })?;
        let variables = BTreeMap::from([(model.tag_variable.clone(), target.tag.to_string())]);
        let project = Project {
            service: target.service,
            variables,
        };
        let arguments = [
            "up",
            "--detach",
            "--no-deps",
            "--no-build",
            "--pull",
            "never",
            "--force-recreate",
            &model.compose_service,
        ];
        let mut compose = self
            .compose
            .start(&project, socket.path(), &arguments)
            .map_err(|error| stage_failed(error.to_string()))?;
        let mut refused = None;
        let held = loop {
            tokio::select! {
                // What Compose was refused matters more than that it ended because of it.
                biased;
                arrival = socket.arrival() => match arrival {
                    Some(Arrival::Start(held)) => break held,
                    Some(Arrival::Refused { what }) => { refused.get_or_insert(what); }
                    None => return Err(stage_failed("the staging socket was closed")),
                },
                () = compose.wait() => {
                    let ended = compose.output(HOOKS_TIMEOUT).await;
                    return Err(not_staged(refused, ended));
                }
            }
        };
        self.staging(held, compose, socket, image).await
    }

    async fn staging(
        &self,
        held: HeldStart,
        compose: Running,
        socket: StagingSocket,
        image: &PinnedImage,
    ) -> Result<Staging, Cause> {
        let container = self
            .docker
            .container(&held.container)
            .await
            .map_err(|error| docker_cause(Step::Stage, &error))?
            .ok_or_else(|| stage_failed("the new container disappeared before it was started"))?;
        if container.image_id != image.id {
            return Err(stage_failed(format!(
                "Compose created the container from image {} and not from {}, which was pulled",
                container.image_id, image.id
            )));
        }
        let staged = Staged {
            container: container.id.clone(),
            name: held.name.clone(),
            restart_policy: held.restart_policy.clone(),
        };
        Ok(Staging {
            container,
            staged,
            held,
            compose,
            _socket: socket,
        })
    }

    /// Removes whatever this deployment has created. Safe to call when there is nothing.
    ///
    /// # Errors
    /// [`Code::DockerUnavailable`].
    pub async fn discard(&self, deployment: &DeploymentId) -> Result<(), Cause> {
        for container in self.created_by(deployment).await? {
            self.docker
                .ensure_removed(&container.id, AnonymousVolumes::Remove)
                .await
                .map_err(|error| docker_cause(Step::Stage, &error))?;
        }
        Ok(())
    }

    /// The containers that carry this deployment's label.
    ///
    /// # Errors
    /// [`Code::DockerUnavailable`].
    pub async fn created_by(&self, deployment: &DeploymentId) -> Result<Vec<Container>, Cause> {
        self.docker
            .containers_labeled(DEPLOYMENT_LABEL, Some(deployment.as_str()))
            .await
            .map_err(|error| docker_cause(Step::Recover, &error))
    }

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
    /// new one is stopped and stays, so that its output can be read; see [`Self::discard`]. Returns for
    /// how long the previous container did not run, in milliseconds.
    ///
    /// # Errors
    /// [`Code::RollbackFailed`] with Docker's own words; calling again goes on where it ended.
    pub async fn restore(
        &self,
        deployment: &DeploymentId,
        previous: Option<&Previous>,
    ) -> Result<u64, Cause> {
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
                    .ensure_name(&new.id, &format!("{parked}-new"))
                    .await
                    .map_err(failed)?;
            }
        }
        let Some(old) = previous else { return Ok(0) };
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
        Ok(outage_ms)
    }

    /// After the commit: the new container gets its restart policy, and the old one goes.
    ///
    /// # Errors
    /// [`Code::DockerUnavailable`]; calling again goes on where it ended.
    pub async fn settle(&self, previous: Option<&Previous>, staged: &Staged) -> Result<(), Cause> {
        let failed = |error: DockerError| docker_cause(Step::CleanUp, &error);
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
}

impl Staging {
    /// Tells Compose that the container runs and waits for it to end, hooks included.
    ///
    /// # Errors
    /// [`Code::SwitchFailed`] when Compose then fails, for example in a `post_start` hook.
    pub async fn finish(self) -> Result<(), Cause> {
        let Self {
            held,
            compose,
            _socket,
            ..
        } = self;
        held.started();
        let ended = compose.output(HOOKS_TIMEOUT).await;
        ended
            .map(drop)
            .map_err(|error| Cause::new(Code::SwitchFailed, Step::Verify, error.to_string()))
    }

    /// Ends Compose, which is told that the container is not to be started.
    pub async fn abandon(self) {
        let Self {
            held,
            mut compose,
            _socket,
            ..
        } = self;
        drop(held);
        compose.stop().await;
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

/// Whether this is a container that a deployment has put aside and not removed yet.
fn is_parked(container: &Container) -> bool {
    !container.state.running && container.name.contains(PARKED_INFIX)
}

fn stage_failed(detail: impl Into<String>) -> Cause {
    Cause::new(Code::StageFailed, Step::Stage, detail)
}

fn not_staged(refused: Option<String>, ended: Result<String, CommandError>) -> Cause {
    if let Some(what) = refused {
        let detail = format!(
            "to deploy this service, Compose wanted to change something outside it and was refused: {what}"
        );
        return Cause::new(Code::OutsideChange, Step::Stage, detail);
    }
    match ended {
        Ok(_) => stage_failed("Compose ended without creating a container"),
        Err(error) => stage_failed(error.to_string()),
    }
}

/// What a failure of Docker means in a step.
pub fn docker_cause(step: Step, error: &DockerError) -> Cause {
    let code = match (step, error) {
        (_, DockerError::Unreachable { .. } | DockerError::TimedOut { .. })
            if step != Step::Switch =>
        {
            Code::DockerUnavailable
        }
        (Step::Stage, _) => Code::StageFailed,
        (Step::Switch, _) => Code::SwitchFailed,
        (Step::RollBack, _) => Code::RollbackFailed,
        _ => Code::DockerUnavailable,
    };
    Cause::new(code, step, error.to_string())
}
