//! Everything before the switch: the project is read, the new containers staged. What runs is not touched.

use std::sync::Arc;
use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Event, IfUnchanged, PinnedImage, Proof, Replica, Witness};
use cutover_core::mask::Mask;
use jiff::Timestamp;
use tokio::time::Instant;

use super::causes::masked;
use super::context::Run;
use super::ended::Ended;
use super::kept::keep_configurations;
use super::observe::{found, has_run, runs_release, secret_values, unchanged_since};
use super::refuse::{refuse_shared, refuse_unset, refuse_unsupported};
use super::tag_line::{look_at_tag_line, put_tag_in_place};
use super::way_back::find_way_back;
use crate::docker::Container;
use crate::driver::project::{ReleaseModel, ServiceModel};
use crate::driver::stage::{StagedContainer, Staging};
use crate::driver::{Present, Target, docker_cause};
use crate::probe::verify::Checks;
use crate::settings;

/// What is to be deployed, and where.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) model: ReleaseModel,
    /// What each service and each job has, in the order of the model.
    pub(super) present: Vec<Present>,
    pub(super) deadline: Instant,
}

impl Release {
    /// Each service and each job with what it has.
    fn services(&self) -> impl Iterator<Item = (&ServiceModel, &Present)> {
        self.model.all().zip(&self.present)
    }

    /// The container that the configured service runs in.
    pub(super) fn current(&self) -> Option<&Container> {
        let lead = &self.model.lead().compose_service;
        let mut lead = self
            .services()
            .filter(|(model, _)| model.compose_service == *lead);
        lead.next()?.1.current.first()
    }

    /// The same release without the services that are left alone.
    fn without(mut self, alone: &[String]) -> Self {
        let stays = |one: &ServiceModel| !alone.contains(&one.compose_service);
        let both = self.model.all().zip(std::mem::take(&mut self.present));
        let staying = both.filter(|(one, _)| stays(one));
        self.present = staying.map(|(_, present)| present).collect();
        self.model = self.model.without(alone);
        self
    }
}

/// The new containers, about to take over.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) staging: Box<Staging>,
    pub(super) model: ReleaseModel,
    /// Of each new container.
    pub(super) checks: Vec<Checks>,
    pub(super) mask: Arc<Mask>,
}

/// The project as Compose renders it for the requested tag, and what runs.
pub(super) async fn read(run: &mut Run) -> Result<Release, Cause> {
    let deadline = Instant::now() + run.service.progress_deadline;
    let tag = run.deployment().request.tag.clone();
    let (driver, service) = (run.driver.clone(), Arc::clone(&run.service));
    let read = driver.read(&service, &tag);
    let mut model = run.unless_given_up(deadline, Step::Prepare, read).await?;
    if run.deployment().request.rollback_to.is_some() {
        // Their jobs ran when these releases came.
        let jobs = model.all().filter(|one| one.is_job());
        let jobs: Vec<String> = jobs.map(|job| job.compose_service.clone()).collect();
        model = model.without(&jobs);
    }
    refuse_unsupported(&run.service, &model)?;
    let reference = model.lead().image.clone();
    run.forward(Step::Pull, Event::PullStarted { reference })
        .await?;
    let mut all = Vec::new();
    for service in model.all() {
        let present = driver.present(&service.project, &service.compose_service);
        let present = present
            .await
            .map_err(|error| docker_cause(Step::Prepare, &error))?
            .up_to(service.replicas());
        refuse_unset(run, service, present.current.first()).await?;
        all.push(present);
    }
    for warning in model.warnings() {
        run.record.warn(warning).await;
    }
    Ok(Release {
        model,
        present: all,
        deadline,
    })
}

/// Leaves out the services in which this very release runs, and jobs that it has run; where all services are left out,
/// that is recorded and the deployment has its end.
pub(super) async fn leave_alone(
    run: &mut Run,
    release: Release,
    images: &[PinnedImage],
) -> Result<Release, Ended> {
    let service = Arc::clone(&run.service);
    let request = run.deployment().request.clone();
    if request.if_unchanged == IfUnchanged::DeployAgain {
        return Ok(release);
    }
    let id = run.deployment().id.clone();
    let mut alone: Vec<String> = Vec::new();
    for ((model, present), image) in release.services().zip(images) {
        let target = Target {
            service: &service,
            model,
            tag: &request.tag,
            deployment: &id,
        };
        let looked = async {
            match model.is_job() {
                true => has_run(run, target, present, image).await,
                false => runs_release(run, target, present, image).await,
            }
        };
        if run
            .unless_given_up(release.deadline, Step::Stage, looked)
            .await?
        {
            alone.push(model.compose_service.clone());
        }
    }
    // A container goes with the one in whose namespaces it runs, which comes before it.
    for model in release.model.services() {
        let is_new = |one: &String| {
            let of_the_release = release.model.service(one).is_some();
            of_the_release && !alone.contains(one)
        };
        if model.shares_with.iter().any(is_new) {
            alone.retain(|name| *name != model.compose_service);
        }
    }
    let is_alone = |one: &ServiceModel| alone.contains(&one.compose_service);
    if !release.model.services().iter().all(is_alone) {
        // What a job does whose image is not of the tag depends on other things, which may be new: the files that it
        // mounts, or a variable.
        let runs_again = |name: &String| {
            let model = release.model.service(name);
            model.is_some_and(|model| !model.carries_tag)
        };
        alone.retain(|name| !runs_again(name));
        return Ok(release.without(&alone));
    }
    let Some(container) = release.current() else {
        return Ok(release);
    };
    let proof = Some(proof_of(&service, container));
    let container = container.id.clone();
    run.forward(Step::Stage, Event::FoundUnchanged { container, proof })
        .await?;
    Err(Ended::Unchanged)
}

/// What was seen of a container that runs and is in order.
fn proof_of(service: &settings::Service, container: &Container) -> Proof {
    let checks = Checks::new(service, None, container).for_one_that_runs();
    let seen = checks.proof(Duration::ZERO);
    if seen.by == Witness::Check {
        return seen;
    }
    let ran = container
        .state
        .started_at
        .map(|began| Timestamp::now().duration_since(began));
    let for_ms = ran.and_then(|ran| u64::try_from(ran.as_millis()).ok());
    Proof {
        for_ms: for_ms.unwrap_or(0),
        ..seen
    }
}

/// Compose creates the new containers, and what runs now is remembered with everything that is needed to bring
/// it back. Before anything of it is touched, it is shown that it could be.
pub(super) async fn stage(
    run: &mut Run,
    release: Release,
    images: &[PinnedImage],
) -> Result<Staged, Ended> {
    let mut old: Vec<Replica> = Vec::new();
    for container in release.present.iter().flat_map(|one| &one.current) {
        old.push(found(run, container).await?);
    }
    let old = sharers_first(&release.model, old);
    keep_configurations(run, &old, &release.model).await?;
    let services: Vec<&ServiceModel> = release.model.all().collect();
    let begun = Event::StageStarted {
        old: old.clone(),
        tag_line: look_at_tag_line(run, &services).await,
    };
    run.forward(Step::Stage, begun).await?;
    put_tag_in_place(run, &release.model).await;
    let driver = run.driver.clone();
    unchanged_since(&driver, &old).await?;
    for present in &release.present {
        driver.clear(&present.leftovers).await?;
        for parked in &present.parked {
            // From here on it is the present container that comes back after a power cut.
            let down = driver.stays_down(&parked.id).await;
            down.map_err(|error| docker_cause(Step::Stage, &error))?;
        }
    }
    let staging = Box::new(create(run, &release, images, &old).await?);
    match prepare(run, &release, &staging, &old).await {
        Ok((checks, mask)) => Ok(Staged {
            staging,
            model: release.model,
            checks,
            mask,
        }),
        Err(cause) => Err(Ended::NothingChanged {
            cause,
            staging: Some(staging),
            log: Vec::new(),
        }),
    }
}

/// The same with every container before the one in whose namespaces it runs: on the way back, the last is started first.
fn sharers_first(model: &ReleaseModel, mut old: Vec<Replica>) -> Vec<Replica> {
    for group in model.groups() {
        let is_of = |replica: &Replica| {
            let mut services = group.iter();
            services.any(|one| one.compose_service == replica.service)
        };
        if let (Some(first), Some(last)) = (old.iter().position(is_of), old.iter().rposition(is_of))
        {
            old[first..=last].reverse();
        }
    }
    old
}

/// Lets Compose create the containers.
async fn create(
    run: &Run,
    release: &Release,
    images: &[PinnedImage],
    old: &[Replica],
) -> Result<Staging, Cause> {
    let target = |model| Target {
        service: &run.service,
        model,
        tag: &run.deployment().request.tag,
        deployment: &run.deployment().id,
    };
    let targets: Vec<_> = release
        .model
        .all()
        .filter_map(|model| Some((target(model), image_of(images, model)?)))
        .collect();
    let hidden = release.present.iter().flat_map(Present::hidden);
    let hidden: Vec<Container> = hidden.cloned().collect();
    let stage = run.driver.stage(&targets, old, &hidden);
    let staged = run
        .unless_given_up(release.deadline, Step::Stage, stage)
        .await;
    // Compose may quote what the project keeps secret.
    let known = Mask::new(release.model.secrets().cloned());
    staged.map_err(|cause| masked(cause, &known))
}

/// The image that was pinned for the service.
fn image_of<'a>(images: &'a [PinnedImage], model: &ServiceModel) -> Option<&'a PinnedImage> {
    images.iter().find(|image| image.reference == model.image)
}

/// Compose hands the volumes that the image declares on to the next container, and its file does not show them.
fn refuse_shared_volumes(release: &Release, staging: &Staging) -> Result<(), Cause> {
    for (model, present) in release.services() {
        let service = &model.compose_service;
        let mut new = staging.new.iter();
        let Some(new) = new.find(|new| new.replica.service == *service) else {
            continue;
        };
        for old in &present.current {
            refuse_shared(model, &old.definition, &new.container.definition)?;
        }
    }
    Ok(())
}

/// Everything that must be true of the new containers and of the old ones before the switch.
async fn prepare(
    run: &mut Run,
    release: &Release,
    staging: &Staging,
    old: &[Replica],
) -> Result<(Vec<Checks>, Arc<Mask>), Cause> {
    let replicas = |of: &[StagedContainer]| -> Vec<Replica> {
        of.iter().map(|one| one.replica.clone()).collect()
    };
    let staged = Event::Staged {
        new: replicas(&staging.new),
        jobs: [replicas(&staging.jobs), replicas(&staging.jobs_after)].concat(),
    };
    run.forward(Step::Stage, staged).await?;
    let driver = run.driver.clone();
    unchanged_since(&driver, old).await?;
    let secrets = release.model.secrets().cloned();
    let of_new = staging.new.iter().chain(&staging.jobs);
    let of_new = of_new.flat_map(|new| secret_values(&new.container));
    let mask = Arc::new(Mask::new(secrets.chain(of_new)));
    let service: &settings::Service = &run.service;
    let mut all = Vec::new();
    for new in &staging.new {
        let model = release.model.service(&new.replica.service);
        let monitor = model.and_then(|model| model.monitor);
        let checks = Checks::new(service, monitor, &new.container);
        let sendable = checks.sendable(&new.container);
        sendable.map_err(|why| Cause::new(Code::StageFailed, Step::Stage, why.to_string()))?;
        all.push(checks);
    }
    refuse_shared_volumes(release, staging)?;
    find_way_back(run, &release.model).await?;
    Ok((all, mask))
}
