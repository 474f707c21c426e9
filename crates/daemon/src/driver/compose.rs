//! Compose on this machine: what it said of each service, and the containers that it made.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::image::Digest;
use cutover_core::names::{DeploymentId, ServiceName, Tag};

use super::command::Compose;
use super::project::{self, KnownProject, Neighbour, ReleaseModel, ServiceModel};
use super::{docker_cause, env_file};
use crate::docker::{AnonymousVolumes, Container, Docker, DockerError};
use crate::labels;
use crate::settings::{self, UnsetVariables};

/// Deploys services of Compose projects.
#[derive(Debug, Clone)]
pub struct ComposeDriver {
    pub(super) docker: Docker,
    pub(super) compose: Compose,
    pub(super) staging_directory: PathBuf,
    known: Arc<Mutex<BTreeMap<ServiceName, Known>>>,
    projects: Arc<Mutex<BTreeMap<ServiceName, String>>>,
}

/// What Compose said of a configured service when it was read last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    project: String,
    read: KnownProject,
}

impl ComposeDriver {
    /// A driver that keeps its sockets in `state_directory`.
    ///
    /// # Errors
    /// When the directory for the sockets cannot be made.
    pub fn new(docker: Docker, compose: Compose, state_directory: &Path) -> std::io::Result<Self> {
        let staging_directory = state_directory.join("staging");
        std::fs::create_dir_all(&staging_directory)?;
        // Whatever the umask said, now or in an earlier version.
        std::fs::set_permissions(&staging_directory, Permissions::from_mode(0o700))?;
        Ok(Self {
            docker,
            compose,
            staging_directory,
            known: Arc::default(),
            projects: Arc::default(),
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

    /// The services of the release as Compose renders them for `tag`.
    ///
    /// # Errors
    /// [`Code::InvalidCompose`] with Compose's own words, with what is wrong with the image's line, or with
    /// the other name under which a service of it is configured.
    pub async fn read(
        &self,
        service: &settings::Service,
        tag: &Tag,
    ) -> Result<ReleaseModel, Cause> {
        let known = self.known().get(&service.name).cloned();
        let known = known.map(|known| known.read);
        let model = project::read(&self.compose, service, tag, known).await?;
        let lead = model.lead();
        let read = Known {
            project: lead.project.clone(),
            read: KnownProject {
                tag_variable: lead.tag_variable.clone(),
                services: model.names().into_iter().map(str::to_owned).collect(),
                switched: model.switched().into_iter().map(str::to_owned).collect(),
            },
        };
        claim(&mut self.known(), &service.name, read)?;
        self.projects()
            .insert(service.name.clone(), lead.project.clone());
        Ok(model)
    }

    /// The release of `model` where its image has this digest, which Compose is given where the variable is one.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn with_digest(
        &self,
        service: &settings::Service,
        tag: &Tag,
        model: ReleaseModel,
        digest: &Digest,
    ) -> Result<ReleaseModel, Cause> {
        project::with_digest(&self.compose, service, tag, model, digest).await
    }

    /// Why the project may not be deployed as long as a variable of it is set nowhere, a sentence each; `current` is the
    /// container that the service runs in.
    ///
    /// # Errors
    /// Whatever kept Docker from answering.
    pub async fn unset_variables(
        &self,
        service: &settings::Service,
        model: &ServiceModel,
        current: Option<&Container>,
    ) -> Result<Vec<String>, DockerError> {
        if service.unset_variables == UnsetVariables::Refuse {
            let told = model.unset_variables().map(|variable| {
                format!(
                    "the variable `{variable}` is set nowhere, and `unset_variables` is \"refuse\""
                )
            });
            return Ok(told.collect());
        }
        let Some(container) = current else {
            return Ok(Vec::new());
        };
        let image = self.docker.image(&container.image_id).await?;
        let of_image = image.map(|image| image.env).unwrap_or_default();
        Ok(project::losses(&self.compose, service, model, container, &of_image).await)
    }

    /// The other services of the project whose definition changes with the tag of the release.
    ///
    /// # Errors
    /// [`Code::InvalidCompose`] with Compose's own words.
    pub async fn neighbours(
        &self,
        service: &settings::Service,
        model: &ReleaseModel,
    ) -> Result<Vec<Neighbour>, Cause> {
        let file = env_file::env_file(service, model.lead());
        project::neighbours(&self.compose, service, model, &file).await
    }

    /// Whether the env file must name the tag before the container is created: the service reads it or mounts it.
    pub async fn sees_env_file(
        &self,
        service: &settings::Service,
        model: &ServiceModel,
        tag: &Tag,
    ) -> bool {
        let file = env_file::env_file(service, model);
        project::sees_env_file(&self.compose, service, model, tag, &file).await
    }

    fn projects(&self) -> std::sync::MutexGuard<'_, BTreeMap<ServiceName, String>> {
        self.projects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<ServiceName, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of the project that `service` belongs to, which Compose is asked for once.
    ///
    /// # Errors
    /// [`Code::InvalidCompose`] with Compose's own words.
    pub async fn project_of(&self, service: &settings::Service) -> Result<String, Cause> {
        if let Some(project) = self.projects().get(&service.name) {
            return Ok(project.clone());
        }
        let project = project::name(&self.compose, service).await?;
        self.projects()
            .insert(service.name.clone(), project.clone());
        Ok(project)
    }

    /// The names of the services that a release of `service` switches, as the project was read last; Compose is asked where
    /// it was not read yet. Where it cannot be read, the configured one.
    pub async fn switched(&self, service: &settings::Service) -> Vec<String> {
        let known = |driver: &Self| Some(driver.known().get(&service.name)?.read.switched.clone());
        if let Some(known) = known(self) {
            return known;
        }
        // Any sha will do: only the file is read.
        if let Ok(tag) = Tag::new(&"0".repeat(40))
            && let Ok(model) = self.read(service, &tag).await
        {
            return model.switched().into_iter().map(str::to_owned).collect();
        }
        vec![service.compose_service.clone()]
    }

    /// Removes what earlier deployments left: [`Present::leftovers`], or, after the commit, [`Present::parked`].
    /// Each loses its boot flag first, so that one that Docker cannot remove stays down at least.
    ///
    /// [`Present::leftovers`]: super::Present::leftovers
    /// [`Present::parked`]: super::Present::parked
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

    /// The containers that carry this deployment's label.
    pub(super) async fn created_by(
        &self,
        deployment: &DeploymentId,
    ) -> Result<Vec<Container>, DockerError> {
        self.docker
            .containers_labeled(labels::DEPLOYMENT, Some(deployment.as_str()))
            .await
    }
}

/// Remembers what was `read` of the service `name`, unless another name stands for a service of the same release: two
/// deployments would work on its container at once, each taking the other's for its own previous one.
fn claim(
    known: &mut BTreeMap<ServiceName, Known>,
    name: &ServiceName,
    read: Known,
) -> Result<(), Cause> {
    let shared = |other: &Known| {
        let services = other.read.services.iter();
        let mut both = services.filter(|service| read.read.services.contains(service));
        (other.project == read.project)
            .then(|| both.next().cloned())
            .flatten()
    };
    let others = known.iter().filter(|(other, _)| *other != name);
    let found = others.map(|(other, of)| (other, shared(of)));
    if let Some((other, service)) = found.into_iter().find_map(|(other, of)| Some((other, of?))) {
        let detail = format!(
            "`services.{name}` and `services.{other}` both deploy the service `{service}` of the Compose project `{}`; keep one of the two in the configuration, or say with `compose_services` which services each of them deploys; if these are two projects, give one of them another `name:` in its Compose file",
            read.project
        );
        return Err(Cause::new(Code::InvalidCompose, Step::Prepare, detail));
    }
    known.insert(name.clone(), read);
    Ok(())
}

#[cfg(test)]
mod tests {
    use cutover_core::template::TagVariable;

    use super::*;

    #[test]
    fn a_container_belongs_to_the_name_that_was_read_first() {
        let name = |text: &str| ServiceName::new(text).expect("valid");
        let read = |project: &str, services: &[&str]| Known {
            project: project.to_owned(),
            read: KnownProject {
                tag_variable: TagVariable::of_tag("TAG"),
                services: services.iter().map(|one| (*one).to_owned()).collect(),
                switched: Vec::new(),
            },
        };
        let mut known = BTreeMap::new();
        for (service, what) in [
            ("shop", read("acme", &["web", "cron"])),
            ("worker", read("acme", &["worker"])),
            ("stage", read("stage", &["web"])),
            ("shop", read("acme", &["web"])),
        ] {
            claim(&mut known, &name(service), what).expect("not claimed by another");
        }
        let again = read("acme", &["cron", "web"]);
        let cause = claim(&mut known, &name("again"), again).expect_err("claimed");
        assert_eq!(cause.code, Code::InvalidCompose);
        let begin = "`services.again` and `services.shop` both deploy the service `web`";
        assert!(cause.detail.starts_with(begin), "{}", cause.detail);
        assert!(!known.contains_key(&name("again")));
        // A project that was renamed is free again once it was read under its new name.
        claim(&mut known, &name("shop"), read("acme2", &["web"])).expect("renamed");
        claim(&mut known, &name("again"), read("acme", &["web"])).expect("free");
    }
}
