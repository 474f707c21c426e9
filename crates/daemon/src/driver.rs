//! The adapter for Compose: what each step of a deployment does to Docker.
//!
//! Steps here do one thing and do not decide what comes next; `deployer::run` does. Every effect is an
//! "ensure": doing it twice, or finding it done, is the same as doing it once, so that recovery can call
//! the same functions.

pub mod command;
mod compare;
mod present;
pub mod kept;
pub mod project;
pub mod stage;
mod staging;
mod switch;
pub mod way_back;
pub mod env_file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cutover_core::cause::{Cause, Code, Step};
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
    known: Arc<Mutex<BTreeMap<ServiceName, Known>>>,
}

/// What Compose said of a configured service when it was read last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    project: String,
    compose_service: String,
    tag_variable: String,
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
            known: Arc::default(),
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
    /// [`Code::InvalidCompose`] with Compose's own words, with what is wrong with the image's line, or with
    /// the other name under which this very container is configured.
    pub async fn read(
        &self,
        service: &settings::Service,
        tag: &Tag,
    ) -> Result<ServiceModel, Cause> {
        let known = self.known().get(&service.name).cloned();
        let variable = known.map(|known| known.tag_variable);
        let model = project::read(&self.compose, service, tag, variable).await?;
        let read = Known {
            project: model.project.clone(),
            compose_service: model.compose_service.clone(),
            tag_variable: model.tag_variable.clone(),
        };
        claim(&mut self.known(), &service.name, read)?;
        Ok(model)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<ServiceName, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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
            self.remove_for_good(&leftover.id).await.map_err(failed)?;
        }
        Ok(())
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

/// Remembers what was `read` of the service `name`, unless another name stands for the same container: two
/// deployments would work on it at once, each taking the other's for its own previous one.
fn claim(
    known: &mut BTreeMap<ServiceName, Known>,
    name: &ServiceName,
    read: Known,
) -> Result<(), Cause> {
    let same = |other: &Known| {
        (&other.project, &other.compose_service) == (&read.project, &read.compose_service)
    };
    let other = known.iter().find(|(other, of)| *other != name && same(of));
    if let Some((other, _)) = other {
        let detail = format!(
            "`services.{name}` and `services.{other}` are the same service `{}` of the same Compose project `{}`; keep one of the two in the configuration, a container can only be deployed under one name; if these are two projects, give one of them another `name:` in its Compose file",
            read.compose_service, read.project
        );
        return Err(Cause::new(Code::InvalidCompose, Step::Prepare, detail));
    }
    known.insert(name.clone(), read);
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_belongs_to_the_name_that_was_read_first() {
        let name = |text: &str| ServiceName::new(text).expect("valid");
        let read = |project: &str, service: &str| Known {
            project: project.to_owned(),
            compose_service: service.to_owned(),
            tag_variable: "TAG".to_owned(),
        };
        let mut known = BTreeMap::new();
        for (service, what) in [
            ("shop", read("acme", "web")),
            ("worker", read("acme", "worker")),
            ("stage", read("stage", "web")),
            ("shop", read("acme", "web")),
        ] {
            claim(&mut known, &name(service), what).expect("not claimed by another");
        }
        let cause = claim(&mut known, &name("again"), read("acme", "web")).expect_err("claimed");
        assert_eq!(cause.code, Code::InvalidCompose);
        assert!(
            cause
                .detail
                .starts_with("`services.again` and `services.shop` are the same service `web`"),
            "{}",
            cause.detail
        );
        assert!(!known.contains_key(&name("again")));
        // A project that was renamed is free again once it was read under its new name.
        claim(&mut known, &name("shop"), read("acme2", "web")).expect("renamed");
        claim(&mut known, &name("again"), read("acme", "web")).expect("free");
    }
}
