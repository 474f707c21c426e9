//! Staging: Compose creates the new containers behind the staging socket and is held at the first start. Jobs run before
//! the others: Compose waits for their end and then asks for the next start.

use std::collections::BTreeMap;
use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Condition, PinnedImage, Replica};

use cutover_core::duration::format;

use super::command::Project;
use super::present::as_replica;
use super::project::{HashByHand, Role, ServiceModel, hashes_by_hand};
use super::staging::rewrite::{Mark, MarkedService, Purpose};
use super::staging::view::{NewContainer, OldContainer, View};
use super::staging::{Arrival, StagingSocket};
use super::{ComposeDriver, Target, docker_cause};
use crate::docker::Container;
use crate::program::{ProgramError, Running};

/// How long Compose may take to end when it has nothing left to do.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// What creates the containers of the services that it names and touches no other.
const UP: &[&str] = &[
    "up",
    "--detach",
    "--no-deps",
    "--no-build",
    "--pull",
    "never",
    // Also where `.env` sets `COMPOSE_REMOVE_ORPHANS`.
    "--remove-orphans=false",
];

/// The new containers, created and not started, with Compose waiting for the first start. Dropping it ends
/// Compose; the containers stay until they are removed.
#[derive(Debug)]
pub struct Staging {
    /// One for each replica of each service, in the order of the release and of their numbers.
    pub new: Vec<StagedContainer>,
    /// One for each job that runs before the switch, in their order.
    pub jobs: Vec<StagedContainer>,
    /// One for each job that runs after the commit, in their order.
    pub jobs_after: Vec<StagedContainer>,
    compose: Running,
    // Compose talks through it until it has ended.
    socket: StagingSocket,
}

/// A new container that is not started.
#[derive(Debug, Clone)]
pub struct StagedContainer {
    /// As Docker has it.
    pub container: Container,
    /// What the journal remembers of it.
    pub replica: Replica,
}

impl ComposeDriver {
    /// Lets Compose create a new container of each target from its image, up to the call that would start the first
    /// one, in the place of the `old` ones. It does not get to see the `hidden` ones.
    ///
    /// # Errors
    /// [`Code::StageFailed`] with Compose's own words, or [`Code::OutsideChange`]. Containers may have
    /// been created all the same: see [`Self::discard`].
    pub async fn stage(
        &self,
        targets: &[(Target<'_>, &PinnedImage)],
        old: &[Replica],
        hidden: &[Container],
    ) -> Result<Staging, Cause> {
        let model_of = |service: &str| {
            let mut models = targets.iter().map(|(target, _)| target.model);
            models.find(|model| model.compose_service == service)
        };
        let goes_with_another = |service: &str| {
            let model = model_of(service);
            model.is_some_and(|one| !(one.restarts_with.is_empty() && one.shares_with.is_empty()))
        };
        let has_too_many = |service: &str| {
            let count = old.iter().filter(|old| old.service == service).count();
            model_of(service).is_some_and(|model| count > model.replicas())
        };
        let old = old.iter().map(|old| OldContainer {
            id: old.container.clone(),
            name: old.name.clone(),
            service: old.service.clone(),
            is_stopped_early: goes_with_another(&old.service),
            is_removed_early: has_too_many(&old.service),
        });
        let hidden = hidden.iter().map(|one| one.id.clone());
        let view = View::new(old.collect(), hidden.collect());
        let all: Vec<Target<'_>> = targets.iter().map(|(target, _)| *target).collect();
        let up = self
            .up(&all, view, &["--force-recreate"], &Purpose::NewRelease)
            .await?;
        self.until_start(up, targets, &Purpose::NewRelease).await
    }

    /// Lets Compose create the container of `image`, which ran before in the container `replaces`, as the project defines
    /// it now. It does not get to see the `hidden` ones, which are all that the service has. The container is not started.
    ///
    /// # Errors
    /// As [`Self::stage`].
    pub async fn recreate_from_image(
        &self,
        target: Target<'_>,
        image: &PinnedImage,
        replaces: &Replica,
        hidden: &[Container],
    ) -> Result<Replica, Cause> {
        let hidden = hidden.iter().map(|one| one.id.clone());
        let view = View::new(Vec::new(), hidden.collect());
        let purpose = Purpose::Recreation {
            replaces: Box::new(replaces.clone()),
        };
        let scale = format!("--scale={}=1", target.model.compose_service);
        let options = ["--force-recreate", &scale];
        let up = self.up(&[target], view, &options, &purpose).await?;
        let staging = self.until_start(up, &[(target, image)], &purpose).await?;
        let replica = staging.new.first().map(|new| new.replica.clone());
        staging.abandon().await;
        replica.ok_or_else(|| stage_failed("Compose created no container"))
    }

    /// Waits until Compose asks for the start.
    async fn until_start(
        &self,
        (mut socket, mut compose): (StagingSocket, Running),
        targets: &[(Target<'_>, &PinnedImage)],
        purpose: &Purpose,
    ) -> Result<Staging, Cause> {
        let mut refused = None;
        loop {
            tokio::select! {
                // What Compose was refused matters more than that it ended because of it.
                biased;
                arrival = socket.arrival() => match arrival {
                    Some(Arrival::Start) => break,
                    Some(Arrival::Refused { what }) => { refused.get_or_insert(what); }
                    None => return Err(stage_failed("the staging socket was closed")),
                },
                () = compose.wait() => {
                    let ended = compose.output(END_TIMEOUT).await;
                    return Err(not_staged(refused, ended));
                }
            }
        }
        let created = socket.created();
        let (mut new, mut jobs, mut jobs_after) = (Vec::new(), Vec::new(), Vec::new());
        for (target, image) in targets {
            let to = match target.model.role {
                Role::Switched => &mut new,
                Role::Job => &mut jobs,
                Role::JobAfter => &mut jobs_after,
            };
            to.extend(self.staged(&created, target.model, image, purpose).await?);
        }
        Ok(Staging {
            new,
            jobs,
            jobs_after,
            compose,
            socket,
        })
    }

    /// Starts Compose's `up` of the targets, with these `options` more, behind a socket of which it gets to
    /// see this `view`.
    pub(super) async fn up(
        &self,
        targets: &[Target<'_>],
        view: View,
        options: &[&str],
        purpose: &Purpose,
    ) -> Result<(StagingSocket, Running), Cause> {
        let Some(target) = targets.first() else {
            return Err(stage_failed("there is no service to create"));
        };
        let model = target.model;
        let services = targets.iter().map(|target| target.model);
        let models: Vec<&ServiceModel> = services.clone().collect();
        let mut hashes = hashes_by_hand(&self.compose, target.service, &models, target.tag).await;
        let comes_beside = *purpose == Purpose::NewRelease;
        let mark = Mark {
            deployment: target.deployment.clone(),
            purpose: purpose.clone(),
            service: target.service.name.to_string(),
            project: model.project.clone(),
            services: services
                .clone()
                .map(|model| {
                    let name = model.compose_service.clone();
                    let hash = hashes.remove(&name);
                    (name, marked(model, hash, comes_beside))
                })
                .collect(),
            volumes: model.volumes.clone(),
        };
        let path = self
            .staging_directory
            .join(format!("{}.sock", target.deployment.short()));
        let socket =
            StagingSocket::open(&path, self.docker.socket(), mark, view).map_err(|error| {
                stage_failed(format!("the staging socket could not be opened: {error}"))
            })?;
        let variable = &model.tag_variable;
        let value = variable.value(target.tag.as_str());
        let variables = BTreeMap::from([(variable.name.clone(), value)]);
        let project = Project::new(target.service, variables);
        let names: Vec<&str> = services
            .map(|model| model.compose_service.as_str())
            .collect();
        let arguments = [UP, options, &names].concat();
        let compose = self
            .compose
            .start(&project, socket.path(), &arguments)
            .map_err(|error| stage_failed(error.to_string()))?;
        Ok((socket, compose))
    }

    /// The containers that Compose created of the service, in the order of their numbers, if they are of this image.
    async fn staged(
        &self,
        created: &[NewContainer],
        model: &ServiceModel,
        image: &PinnedImage,
        purpose: &Purpose,
    ) -> Result<Vec<StagedContainer>, Cause> {
        let service = &model.compose_service;
        let mut staged = Vec::new();
        for new in created.iter().filter(|new| new.service == *service) {
            staged.push(self.staged_one(new, service, image).await?);
        }
        staged.sort_by_key(|one| one.replica.number);
        let expected = match purpose {
            Purpose::NewRelease => model.replicas(),
            Purpose::Recreation { .. } => 1,
        };
        if staged.len() != expected {
            return Err(stage_failed(format!(
                "Compose created {} containers of service `{service}`, and {expected} are needed",
                staged.len(),
            )));
        }
        Ok(staged)
    }

    async fn staged_one(
        &self,
        new: &NewContainer,
        service: &str,
        image: &PinnedImage,
    ) -> Result<StagedContainer, Cause> {
        let container = self
            .docker
            .container(&new.id)
            .await
            .map_err(|error| docker_cause(Step::Stage, &error))?
            .ok_or_else(|| stage_failed("a new container disappeared before it was started"))?;
        if container.image_id != image.id {
            return Err(stage_failed(format!(
                "Compose created the container of service `{service}` from image {} and not from {}, which was pulled",
                container.image_id, image.id
            )));
        }
        // Docker must know each network by the same name as Compose, or the names could not be given later.
        let is_known = |network: &String| container.aliases.contains_key(network);
        if let Some(network) = new.aliases.keys().find(|network| !is_known(network)) {
            return Err(stage_failed(format!(
                "the new container of service `{service}` is not connected to the network {network}; `aliases = \"at-start\"` goes without this"
            )));
        }
        let asked = match new.aliases.is_empty() {
            true => as_replica(&container),
            false => Replica {
                aliases: new.aliases.clone(),
                ..as_replica(&container)
            },
        };
        let replica = Replica {
            name: new.name.clone(),
            restart_policy: new.restart_policy.clone(),
            condition: Condition::Stopped,
            ..asked
        };
        Ok(StagedContainer { container, replica })
    }
}

impl Staging {
    /// Tells Compose that this new container runs: it goes on with the service's `post_start` hooks, which may
    /// be what makes the container healthy.
    pub fn started(&self, container: &str) {
        self.socket.started(container);
    }

    /// Waits for Compose to end, the service's `post_start` hooks included, at most for `bound`: what is left of
    /// the trial, which lasts `deadline` in all.
    ///
    /// # Errors
    /// [`Code::SwitchFailed`] when Compose fails, for example in a hook, or does not end in time.
    pub async fn finish(self, bound: Duration, deadline: Duration) -> Result<(), Cause> {
        let Self {
            compose, socket, ..
        } = self;
        let _open = socket;
        // Where there are no hooks, Compose has nothing left to do and ends within milliseconds.
        let ended = compose.output(bound.max(END_TIMEOUT)).await;
        let detail = match ended {
            Ok(_) => return Ok(()),
            Err(ProgramError::TimedOut { .. }) => format!(
                "a `post_start` hook did not end within the `healthy_deadline` of {}",
                format(deadline)
            ),
            Err(error) => error.to_string(),
        };
        Err(Cause::new(Code::SwitchFailed, Step::Verify, detail))
    }

    /// Ends Compose; if it still waits, it is told that nothing more is to be started.
    pub async fn abandon(mut self) {
        self.socket.start_no_more();
        self.compose.stop().await;
    }
}

fn marked(model: &ServiceModel, hash: Option<HashByHand>, comes_beside: bool) -> MarkedService {
    MarkedService {
        hash,
        contents: model.contents.clone(),
        replicas: match comes_beside {
            true => model.replicas(),
            false => 1,
        },
        is_job: model.is_job(),
        is_announced_later: comes_beside && model.is_announced_later(),
        is_started_later: model.role == Role::JobAfter,
    }
}

fn stage_failed(detail: impl Into<String>) -> Cause {
    Cause::new(Code::StageFailed, Step::Stage, detail)
}

fn not_staged(refused: Option<String>, ended: Result<String, ProgramError>) -> Cause {
    if let Some(what) = refused {
        let detail = format!(
            "to deploy this release, Compose wanted to change something outside it and was refused: {what}"
        );
        return Cause::new(Code::OutsideChange, Step::Stage, detail);
    }
    match ended {
        Ok(_) => stage_failed("Compose ended without creating a container"),
        Err(error) => stage_failed(error.to_string()),
    }
}
