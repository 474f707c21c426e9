//! The adapter for what runs containers: what each step of a deployment does to Docker.
//!
//! Steps here do one thing and do not decide what comes next; the deployer and `cutover_core::switch` do. Every
//! effect is an "ensure": doing it twice, or finding it done, is the same as doing it once, so that recovery can
//! call the same functions.
//!
//! There is one [`Driver`] today, for Compose on one machine. A second engine is a second variant.

pub mod command;
mod compare;
mod compose;
mod discard;
mod moves;
pub mod one_off;
mod present;
pub mod kept;
pub mod project;
pub mod stage;
mod staging;
pub mod way_back;
pub mod env_file;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Deployment, PinnedImage, Replica};
use cutover_core::image::Digest;
use cutover_core::names::{DeploymentId, Tag};
use cutover_core::switch::Move;

use self::command::Compose;
pub use self::compose::ComposeDriver;
pub use self::moves::{Found, Look, millis_between};
pub use self::present::Present;
use self::project::{Neighbour, ReleaseModel, ServiceModel};
use self::stage::Staging;
use crate::docker::{Container, Docker, DockerError};
use crate::settings;

/// What runs the containers of a service. Each method says what the variant's own says.
#[derive(Debug, Clone)]
pub enum Driver {
    /// Docker Compose on this machine.
    Compose(ComposeDriver),
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

impl Driver {
    /// The Docker that it drives.
    #[must_use]
    pub fn docker(&self) -> &Docker {
        let Self::Compose(driver) = self;
        driver.docker()
    }

    /// The Compose that it runs.
    #[must_use]
    pub fn compose(&self) -> &Compose {
        let Self::Compose(driver) = self;
        driver.compose()
    }

    /// [`ComposeDriver::read`].
    pub async fn read(
        &self,
        service: &settings::Service,
        tag: &Tag,
    ) -> Result<ReleaseModel, Cause> {
        let Self::Compose(driver) = self;
        driver.read(service, tag).await
    }

    /// [`ComposeDriver::with_digest`].
    pub async fn with_digest(
        &self,
        service: &settings::Service,
        tag: &Tag,
        model: ReleaseModel,
        digest: &Digest,
    ) -> Result<ReleaseModel, Cause> {
        let Self::Compose(driver) = self;
        driver.with_digest(service, tag, model, digest).await
    }

    /// [`ComposeDriver::project_of`].
    pub async fn project_of(&self, service: &settings::Service) -> Result<String, Cause> {
        let Self::Compose(driver) = self;
        driver.project_of(service).await
    }

    /// [`ComposeDriver::switched`].
    pub async fn switched(&self, service: &settings::Service) -> Vec<String> {
        let Self::Compose(driver) = self;
        driver.switched(service).await
    }

    /// [`ComposeDriver::unset_variables`].
    pub async fn unset_variables(
        &self,
        service: &settings::Service,
        model: &ServiceModel,
        current: Option<&Container>,
    ) -> Result<Vec<String>, DockerError> {
        let Self::Compose(driver) = self;
        driver.unset_variables(service, model, current).await
    }

    /// [`ComposeDriver::sees_env_file`].
    pub async fn sees_env_file(
        &self,
        service: &settings::Service,
        model: &ServiceModel,
        tag: &Tag,
    ) -> bool {
        let Self::Compose(driver) = self;
        driver.sees_env_file(service, model, tag).await
    }

    /// [`ComposeDriver::neighbours`].
    pub async fn neighbours(
        &self,
        service: &settings::Service,
        model: &ReleaseModel,
    ) -> Result<Vec<Neighbour>, Cause> {
        let Self::Compose(driver) = self;
        driver.neighbours(service, model).await
    }

    /// [`ComposeDriver::present`].
    pub async fn present(
        &self,
        project: &str,
        compose_service: &str,
    ) -> Result<Present, DockerError> {
        let Self::Compose(driver) = self;
        driver.present(project, compose_service).await
    }

    /// [`ComposeDriver::is_same_release`].
    pub async fn is_same_release(
        &self,
        target: Target<'_>,
        container: &Container,
        image: &PinnedImage,
    ) -> Result<bool, Cause> {
        let Self::Compose(driver) = self;
        driver.is_same_release(target, container, image).await
    }

    /// [`ComposeDriver::stage`].
    pub async fn stage(
        &self,
        targets: &[(Target<'_>, &PinnedImage)],
        old: &[Replica],
        hidden: &[Container],
    ) -> Result<Staging, Cause> {
        let Self::Compose(driver) = self;
        driver.stage(targets, old, hidden).await
    }

    /// [`ComposeDriver::recreate_from_image`].
    pub async fn recreate_from_image(
        &self,
        target: Target<'_>,
        image: &PinnedImage,
        replaces: &Replica,
        hidden: &[Container],
    ) -> Result<Replica, Cause> {
        let Self::Compose(driver) = self;
        let created = driver.recreate_from_image(target, image, replaces, hidden);
        created.await
    }

    /// Every container that the service has, whatever it does.
    ///
    /// # Errors
    /// Whatever kept Docker from answering.
    pub async fn all_of(
        &self,
        project: &str,
        compose_service: &str,
    ) -> Result<Vec<Container>, DockerError> {
        Ok(self.present(project, compose_service).await?.all())
    }

    /// [`ComposeDriver::clear`].
    pub async fn clear(&self, containers: &[Container]) -> Result<(), Cause> {
        let Self::Compose(driver) = self;
        driver.clear(containers).await
    }

    /// [`ComposeDriver::stays_down`].
    pub async fn stays_down(&self, container: &str) -> Result<(), DockerError> {
        let Self::Compose(driver) = self;
        driver.stays_down(container).await
    }

    /// [`ComposeDriver::create_one_off`].
    pub async fn create_one_off(
        &self,
        of: &Container,
        command: &[String],
        deployment: &DeploymentId,
    ) -> Result<Replica, DockerError> {
        let Self::Compose(driver) = self;
        driver.create_one_off(of, command, deployment).await
    }

    /// [`ComposeDriver::remove_one_off`].
    pub async fn remove_one_off(&self, one_off: &Replica) -> Result<(), DockerError> {
        let Self::Compose(driver) = self;
        driver.remove_one_off(one_off).await
    }

    /// [`ComposeDriver::discard`].
    pub async fn discard(&self, deployment: &DeploymentId) -> Result<(), Cause> {
        let Self::Compose(driver) = self;
        driver.discard(deployment).await
    }

    /// [`ComposeDriver::look`].
    pub async fn look(&self, deployment: &Deployment) -> Result<Look, DockerError> {
        let Self::Compose(driver) = self;
        driver.look(deployment).await
    }

    /// [`ComposeDriver::make`].
    pub async fn make(&self, wanted: &Move, deployment: &DeploymentId) -> Result<(), DockerError> {
        let Self::Compose(driver) = self;
        driver.make(wanted, deployment).await
    }
}

/// The record of a container that is about to be replaced.
#[must_use]
pub fn as_replica(container: &Container) -> Replica {
    present::as_replica(container)
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
