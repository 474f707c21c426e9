//! The adapter for Compose: what each step of a deployment does to Docker.
//!
//! Steps here do one thing and do not decide what comes next; `deployer::run` does. Every effect is an
//! "ensure": doing it twice, or finding it done, is the same as doing it once, so that recovery can call
//! the same functions.

pub mod command;
mod present;
pub mod project;
pub mod stage;
mod staging;
mod switch;
pub mod env_file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::PinnedImage;
use cutover_core::names::{DeploymentId, ServiceName, Tag};

use self::command::Compose;
pub use self::present::Present;
use self::present::sort_out;
use self::project::ServiceModel;
pub use self::staging::rewrite::DEPLOYMENT_LABEL;
pub use self::switch::Found;
use crate::docker::{AnonymousVolumes, Container, Docker, DockerError};
use crate::settings;

/// What a container is called while another one bears its name; nothing but cutover uses this.
const PARKED_INFIX: &str = "_cutover-";

/// How the name of a new container ends that was put aside because it failed.
const FAILED_SUFFIX: &str = "-new";

/// Deploys services of Compose projects.
#[derive(Debug, Clone)]
pub struct ComposeDriver {
    docker: Docker,
    compose: Compose,
    staging_directory: PathBuf,
    tag_variables: Arc<Mutex<BTreeMap<ServiceName, String>>>,
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
            tag_variables: Arc::default(),
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

    /// The service as Compose renders it for `tag`.
    ///
    /// # Errors
    /// [`Code::InvalidCompose`] with Compose's own words, or with what is wrong with the image's line.
    pub async fn read(
        &self,
        service: &settings::Service,
        tag: &Tag,
    ) -> Result<ServiceModel, Cause> {
        let known = self.tag_variables().get(&service.name).cloned();
        let model = project::read(&self.compose, service, tag, known).await?;
        self.tag_variables()
            .insert(service.name.clone(), model.tag_variable.clone());
        Ok(model)
    }

    fn tag_variables(&self) -> std::sync::MutexGuard<'_, BTreeMap<ServiceName, String>> {
        self.tag_variables
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The container that the service runs in, and what earlier deployments left.
    ///
    /// # Errors
    /// [`Code::UnsupportedStrategy`] for more than one, or [`Code::DockerUnavailable`].
    pub async fn present(&self, model: &ServiceModel) -> Result<Present, Cause> {
        let found = self
            .docker
            .service_containers(&model.project, &model.compose_service)
            .await
            .map_err(|error| docker_cause(Step::Prepare, &error))?;
        sort_out(found).map_err(|count| {
            let service = &model.compose_service;
            let detail = format!(
                "service `{service}` has {count} containers; more than one replica is not supported yet"
            );
            Cause::new(Code::UnsupportedStrategy, Step::Prepare, detail)
        })
    }

    /// Removes what earlier deployments left: [`Present::leftovers`], or, after the commit, [`Present::parked`].
    ///
    /// # Errors
    /// [`Code::Interfered`] if one of them runs by now; [`Code::StageFailed`] with Docker's own words.
    pub async fn clear(&self, containers: &[Container]) -> Result<(), Cause> {
        let failed = |error| docker_cause(Step::Stage, &error);
        for leftover in containers {
            let now = self.docker.container(&leftover.id).await.map_err(failed)?;
            if now.is_some_and(|now| now.state.running) {
                let name = &leftover.name;
                let detail = format!(
                    "somebody started the container {name}, which an earlier deployment had left; cutover changed nothing"
                );
                return Err(Cause::new(Code::Interfered, Step::Stage, detail));
            }
            self.stays_down(&leftover.id).await.map_err(failed)?;
            self.docker
                .ensure_removed(&leftover.id, AnonymousVolumes::Keep)
                .await
                .map_err(failed)?;
        }
        Ok(())
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
