//! Everything before the switch: the project is read, the image pulled, the new container staged. What runs is
//! not touched.

use std::sync::Arc;
use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Event, PinnedImage, Proof, Replica, Witness};
use cutover_core::mask::Mask;
use cutover_core::releases::release_with_tag;
use cutover_core::strategy::{Strategy, strategy};
use jiff::Timestamp;
use tokio::time::Instant;

use super::causes::{journal_cause, masked};
use super::context::Run;
use super::ended::Ended;
use super::kept::keep_configurations;
use super::observe::{found, runs_release, secret_values, unchanged_since};
use super::tag_line::{look_at_tag_line, put_tag_in_place};
use super::way_back::find_way_back;
use super::words::Live;
use crate::docker::Container;
use crate::driver::project::ServiceModel;
use crate::driver::stage::Staging;
use crate::driver::{Present, Target, docker_cause};
use crate::probe::verify::Checks;
use crate::registry::{self, PullOrder};
use crate::settings;

/// What is to be deployed, and where.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) model: ServiceModel,
    pub(super) present: Present,
    pub(super) deadline: Instant,
}

impl Release {
    /// The container that the service runs in; more than one is refused.
    fn current(&self) -> Option<&Container> {
        self.present.current.first()
    }
}

/// The new container, about to take over.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) staging: Box<Staging>,
    pub(super) model: ServiceModel,
    pub(super) checks: Checks,
    pub(super) mask: Arc<Mask>,
}

/// The project as Compose renders it for the requested tag, and what runs.
pub(super) async fn read(run: &mut Run) -> Result<Release, Cause> {
    let deadline = Instant::now() + run.service.progress_deadline;
    let tag = run.deployment().request.tag.clone();
    let (driver, service) = (run.driver.clone(), Arc::clone(&run.service));
    let read = driver.read(&service, &tag);
    let model = run.unless_given_up(deadline, Step::Prepare, read).await?;
    refuse_unsupported(&model)?;
    let reference = model.image.clone();
    run.forward(Step::Pull, Event::PullStarted { reference })
        .await?;
    let present = driver.present(&model.project, &model.compose_service).await;
    let present = present.map_err(|error| docker_cause(Step::Prepare, &error))?;
    let current = present.only()?;
    refuse_unset(run, &model, current).await?;
    for warning in model.warnings() {
        run.record.warn(warning).await;
    }
    Ok(Release {
        model,
        present,
        deadline,
    })
}

/// The image, on the machine, with no doubt left about which one it is, and accepted by the service's rules.
pub(super) async fn pull(run: &mut Run, release: &Release) -> Result<PinnedImage, Cause> {
    let image = bring_image(run, release).await?;
    run.forward(Step::Pull, Event::ImagePinned(image.clone()))
        .await?;
    let request = &run.deployment().request;
    if request.rollback_to.is_some() {
        // It was accepted when it came, and the way back needs no network.
        return Ok(image);
    }
    let (docker, policy) = (run.driver.docker(), &run.service.image);
    let accepted = registry::accept(docker, &image, request.tag.as_str(), policy, &run.cosign);
    run.unless_given_up(release.deadline, Step::Pull, accepted)
        .await?;
    Ok(image)
}

async fn bring_image(run: &mut Run, release: &Release) -> Result<PinnedImage, Cause> {
    let model = &release.model;
    let request = run.deployment().request.clone();
    if let Some(earlier) = &request.rollback_to {
        let earlier = run
            .journal
            .deployment(earlier)
            .await
            .map_err(|error| journal_cause(Step::Pull, &error))?;
        let release = earlier.and_then(|earlier| release_with_tag(&earlier, &request.tag));
        let image = release.and_then(|release| release.image);
        return registry::from_local(run.driver.docker(), model, image).await;
    }
    let live = run.record.live().clone();
    let order = PullOrder {
        reference: &model.image,
        platform: model.platform.as_deref(),
        digest: request.digest.as_deref(),
        repository: run.service.image_repository.as_deref(),
        config_directory: &run.docker_config,
        present_image: release
            .current()
            .map(|container| container.image_id.as_str()),
        bytes_max: run.service.image.bytes_max,
    };
    let driver = run.driver.clone();
    let pulled = registry::pull(driver.docker(), order, move |progress| {
        // Before the registry has said how much there is, there is nothing to show.
        if progress.total_bytes > 0 {
            drop(live.send(Live::Progress(progress)));
        }
    });
    run.unless_given_up(release.deadline, Step::Pull, pulled)
        .await
}

/// Whether this very release runs; that is recorded then.
pub(super) async fn already_runs(
    run: &mut Run,
    release: &Release,
    image: &PinnedImage,
) -> Result<bool, Cause> {
    let service = Arc::clone(&run.service);
    let request = run.deployment().request.clone();
    let id = run.deployment().id.clone();
    let target = Target {
        service: &service,
        model: &release.model,
        tag: &request.tag,
        deployment: &id,
    };
    let looked = runs_release(run, target, &release.present, image);
    let runs = run
        .unless_given_up(release.deadline, Step::Stage, looked)
        .await?;
    let Some(container) = release.current().filter(|_| runs) else {
        return Ok(false);
    };
    let proof = Some(proof_of(&service, container));
    let container = container.id.clone();
    run.forward(Step::Stage, Event::FoundUnchanged { container, proof })
        .await?;
    Ok(true)
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

/// Compose creates the new container, and what runs now is remembered with everything that is needed to bring
/// it back. Before anything of it is touched, it is shown that it could be.
pub(super) async fn stage(
    run: &mut Run,
    release: Release,
    image: &PinnedImage,
) -> Result<Staged, Ended> {
    let mut old: Vec<Replica> = Vec::new();
    for container in &release.present.current {
        old.push(found(run, container).await?);
    }
    keep_configurations(run, &old, &release.model).await?;
    let begun = Event::StageStarted {
        old: old.clone(),
        tag_line: look_at_tag_line(run, &release.model).await,
    };
    run.forward(Step::Stage, begun).await?;
    put_tag_in_place(run, &release.model).await;
    let driver = run.driver.clone();
    unchanged_since(&driver, &old).await?;
    driver.clear(&release.present.leftovers).await?;
    for parked in &release.present.parked {
        // From here on it is the present container that comes back after a power cut.
        let down = driver.stays_down(&parked.id).await;
        down.map_err(|error| docker_cause(Step::Stage, &error))?;
    }
    let staging = Box::new(create(run, &release, image, &old).await?);
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
        }),
    }
}

/// Lets Compose create the container.
async fn create(
    run: &Run,
    release: &Release,
    image: &PinnedImage,
    old: &[Replica],
) -> Result<Staging, Cause> {
    let target = Target {
        service: &run.service,
        model: &release.model,
        tag: &run.deployment().request.tag,
        deployment: &run.deployment().id,
    };
    let hidden: Vec<Container> = release.present.hidden().cloned().collect();
    let stage = run.driver.stage(target, image, old, &hidden);
    let staged = run
        .unless_given_up(release.deadline, Step::Stage, stage)
        .await;
    // Compose may quote what the project keeps secret.
    let known = Mask::new(release.model.secrets.iter().cloned());
    staged.map_err(|cause| masked(cause, &known))
}

/// Everything that must be true of the new container and of the old ones before the switch.
async fn prepare(
    run: &mut Run,
    release: &Release,
    staging: &Staging,
    old: &[Replica],
) -> Result<(Checks, Arc<Mask>), Cause> {
    let new = vec![staging.replica.clone()];
    run.forward(Step::Stage, Event::Staged { new }).await?;
    let driver = run.driver.clone();
    unchanged_since(&driver, old).await?;
    let model = &release.model;
    let secrets = model.secrets.iter().cloned();
    let mask = Arc::new(Mask::new(secrets.chain(secret_values(&staging.container))));
    let service: &settings::Service = &run.service;
    let checks = Checks::new(service, model.monitor, &staging.container);
    let sendable = checks.sendable(&staging.container);
    sendable.map_err(|why| Cause::new(Code::StageFailed, Step::Stage, why.to_string()))?;
    find_way_back(run, model).await?;
    Ok((checks, mask))
}

/// A variable that is set nowhere, and would be missing where the previous container has a value by it.
async fn refuse_unset(
    run: &Run,
    model: &ServiceModel,
    current: Option<&Container>,
) -> Result<(), Cause> {
    let unset = run
        .driver
        .unset_variables(&run.service, model, current)
        .await;
    let unset = unset.map_err(|error| docker_cause(Step::Prepare, &error))?;
    match unset.is_empty() {
        true => Ok(()),
        false => Err(Cause::new(
            Code::UnsetVariable,
            Step::Prepare,
            unset.join("; "),
        )),
    }
}

fn refuse_unsupported(model: &ServiceModel) -> Result<(), Cause> {
    let Strategy::Refused { why, hint } = strategy(&model.facts) else {
        return Ok(());
    };
    let detail = format!("service `{}`: {why}; {hint}", model.compose_service);
    Err(Cause::new(Code::UnsupportedStrategy, Step::Prepare, detail))
}
