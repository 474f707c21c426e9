//! The story of a deployment.
//!
//! Each step is recorded before it is taken. What fails before the switch leaves everything as it was;
//! what fails after it is rolled back. After the commit there is no way back, only forward.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Event, Failure, PinnedImage, Status};
use cutover_core::mask::Mask;
use cutover_core::strategy::{Strategy, strategy};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::causes::{journal_cause, masked, verify_cause};
use super::observe::{
    already_runs, as_previous, secret_values, still_runs, unchanged_since, watch,
};
use super::output::Output;
use super::record::Record;
use super::roll_back::roll_back;
use super::roll_forward::{Known, roll_forward};
use crate::driver::project::ServiceModel;
use crate::driver::stage::Staging;
use crate::driver::{ComposeDriver, Present, Target, docker_cause};
use crate::journal::Journal;
use crate::probe::verify::{self, Checks};
use crate::registry::{self, Cosign, PullOrder};
use crate::settings;

/// Everything that one deployment works with.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) record: Record,
    pub(super) journal: Journal,
    pub(super) driver: ComposeDriver,
    pub(super) docker_config: PathBuf,
    pub(super) cosign: Cosign,
    pub(super) service: Arc<settings::Service>,
    /// Cancelled when somebody cancels this deployment.
    pub(super) cancelled: CancellationToken,
    /// Cancelled when the daemon is stopping.
    pub(super) stopping: CancellationToken,
}

/// The new container, about to take over.
#[derive(Debug)]
struct Incoming {
    staging: Staging,
    model: ServiceModel,
    checks: Checks,
    mask: Arc<Mask>,
}

/// Deploys: pull, stage, switch, verify, commit; or roll back.
pub(super) async fn run_deployment(run: &mut Run) {
    let incoming = match bring_in(run).await {
        Ok(Some(incoming)) => incoming,
        Ok(None) => return, // It already runs.
        Err(cause) => return give_up(run, cause).await,
    };
    let mut compose = Some(incoming.staging);
    let mut output = None;
    let taken_over = take_over(
        run,
        &mut compose,
        &mut output,
        &incoming.checks,
        incoming.mask,
    )
    .await;
    match taken_over {
        Ok(()) => roll_forward(run, Known::Proven(&incoming.model)).await,
        Err(cause) if run.record.deployment().status().is_before_switch() => {
            if let Some(staging) = compose {
                staging.abandon().await;
            }
            give_up(run, cause).await;
        }
        Err(cause) => {
            let log = match &mut output {
                Some(output) if cause.code == Code::ContainerExited => output.last_words().await,
                Some(output) => output.so_far(),
                None => Vec::new(),
            };
            let abandoned = async {
                if let Some(staging) = compose {
                    staging.abandon().await;
                }
            };
            let rolled_back = roll_back(run, Failure { cause, log }, Some(&incoming.model));
            tokio::join!(abandoned, rolled_back);
        }
    }
}

/// Until the new container exists and waits to be started. `None`: the release already runs.
async fn bring_in(run: &mut Run) -> Result<Option<Incoming>, Cause> {
    let deadline = Instant::now() + run.service.progress_deadline;
    let request = run.record.deployment().request.clone();
    let (driver, service) = (run.driver.clone(), Arc::clone(&run.service));

    let read = driver.read(&service, &request.tag);
    let model = run.unless_given_up(deadline, Step::Prepare, read).await?;
    refuse_unsupported(&model)?;
    let target = Target {
        service: &service,
        model: &model,
        tag: &request.tag,
        deployment: &run.record.deployment().id.clone(),
    };

    run.forward(
        Step::Pull,
        Event::PullStarted {
            reference: model.image.clone(),
        },
    )
    .await?;
    let present = driver.present(&model).await?;
    let present_image = present
        .current
        .as_ref()
        .map(|container| container.image_id.as_str());
    let image = pull(run, deadline, &model, present_image).await?;
    run.forward(Step::Pull, Event::ImagePinned(image.clone()))
        .await?;
    accept(run, deadline, &image).await?;

    let looked = already_runs(run, target, &present, &image);
    let runs = run.unless_given_up(deadline, Step::Stage, looked).await?;
    if runs && let Some(container) = &present.current {
        run.forward(
            Step::Stage,
            Event::FoundUnchanged {
                container: container.id.clone(),
            },
        )
        .await?;
        return Ok(None);
    }

    let staging = stage(run, deadline, target, &image, present).await?;
    let secrets = model
        .secrets
        .iter()
        .cloned()
        .chain(secret_values(&staging.container));
    let mask = Arc::new(Mask::new(secrets));
    let checks = Checks::new(&service, model.monitor, &staging.container);
    let sendable = checks.sendable(&staging.container);
    sendable.map_err(|why| Cause::new(Code::StageFailed, Step::Stage, why.to_string()))?;
    Ok(Some(Incoming {
        staging,
        model,
        checks,
        mask,
    }))
}

/// Compose creates the new container, and what runs now is remembered.
async fn stage(
    run: &mut Run,
    deadline: Instant,
    target: Target<'_>,
    image: &PinnedImage,
    present: Present,
) -> Result<Staging, Cause> {
    let driver = run.driver.clone();
    let previous = present.current.as_ref().map(as_previous);
    run.forward(
        Step::Stage,
        Event::StageStarted {
            previous: previous.clone(),
        },
    )
    .await?;
    unchanged_since(&driver, previous.as_ref()).await?;
    driver.clear(&present.leftovers).await?;
    for parked in &present.parked {
        // From here on it is the present container that comes back after a power cut.
        let down = driver.stays_down(&parked.id).await;
        down.map_err(|error| docker_cause(Step::Stage, &error))?;
    }
    let stage = driver.stage(target, image, previous.as_ref(), &present.parked);
    let staged = run.unless_given_up(deadline, Step::Stage, stage).await;
    // Compose may quote what the project keeps secret.
    let known = Mask::new(target.model.secrets.iter().cloned());
    let staging = staged.map_err(|cause| masked(cause, &known))?;
    run.forward(Step::Stage, Event::Staged(staging.staged.clone()))
        .await?;
    unchanged_since(&driver, previous.as_ref()).await?;
    Ok(staging)
}

/// Whether the service lets this image run. A release that is gone back to was accepted when it came, and the
/// way back needs no network.
async fn accept(run: &Run, deadline: Instant, image: &PinnedImage) -> Result<(), Cause> {
    let request = &run.record.deployment().request;
    if request.rollback_to.is_some() {
        return Ok(());
    }
    let (docker, policy) = (run.driver.docker(), &run.service.image);
    let accepted = registry::accept(docker, image, request.tag.as_str(), policy, &run.cosign);
    run.unless_given_up(deadline, Step::Pull, accepted).await
}

/// The image on the machine, with no doubt left about which one it is.
async fn pull(
    run: &mut Run,
    deadline: Instant,
    model: &ServiceModel,
    present_image: Option<&str>,
) -> Result<PinnedImage, Cause> {
    let request = run.record.deployment().request.clone();
    if let Some(release) = &request.rollback_to {
        let earlier = run
            .journal
            .deployment(release)
            .await
            .map_err(|error| journal_cause(Step::Pull, &error))?;
        let image = earlier.and_then(|earlier| earlier.image);
        return registry::from_local(run.driver.docker(), model, image).await;
    }
    let live = run.record.live().clone();
    let order = PullOrder {
        reference: &model.image,
        platform: model.platform.as_deref(),
        digest: request.digest.as_deref(),
        repository: run.service.image_repository.as_deref(),
        config_directory: &run.docker_config,
        present_image,
        bytes_max: run.service.image.bytes_max,
    };
    let driver = run.driver.clone();
    let pulled = registry::pull(driver.docker(), order, move |progress| {
        // Before the registry has said how much there is, there is nothing to show.
        if progress.total_bytes > 0 {
            drop(live.send(super::Live::Progress(progress)));
        }
    });
    run.unless_given_up(deadline, Step::Pull, pulled).await
}

/// From the first effect on what runs, to the new container proven.
async fn take_over(
    run: &mut Run,
    compose: &mut Option<Staging>,
    output: &mut Option<Output>,
    checks: &Checks,
    mask: Arc<Mask>,
) -> Result<(), Cause> {
    let driver = run.driver.clone();
    let deployment = run.record.deployment().clone();
    let Some(staged) = &deployment.staged else {
        return Err(Cause::new(
            Code::StageFailed,
            Step::Switch,
            "there is no new container",
        ));
    };
    // Subscribed before the start, so that an exit cannot be missed.
    let events = watch(&driver, &staged.container)
        .await
        .map_err(|error| docker_cause(Step::Stage, &error))?;

    run.forward(Step::Switch, Event::SwitchStarted).await?;
    let switched = driver
        .switch(&deployment.id, deployment.previous.as_ref(), staged)
        .await;
    let outage_ms = switched.map_err(|cause| masked(cause, &mask))?;
    if let Some(staging) = compose {
        staging.started();
    }
    *output = Some(Output::follow(
        driver.docker(),
        &staged.container,
        Arc::clone(&mask),
        run.record.live().clone(),
    ));
    run.forward(Step::Switch, Event::Switched { outage_ms })
        .await?;

    run.forward(
        Step::Verify,
        Event::VerifyStarted {
            checks: checks.to_string(),
        },
    )
    .await?;
    verify::verify(driver.docker(), events, &staged.container, checks)
        .await
        .map_err(|failure| masked(verify_cause(Step::Verify, &failure), &mask))?;
    if let Some(staging) = compose.take() {
        staging
            .finish()
            .await
            .map_err(|cause| masked(cause, &mask))?;
    }
    still_runs(&driver, deployment.previous.as_ref(), &staged.container).await?;
    run.forward(Step::Verify, Event::Committed).await
}

/// Before the switch: remove what was created, and say why.
async fn give_up(run: &mut Run, cause: Cause) {
    if run.record.deployment().status() == Status::Staging
        && let Err(left) = run.driver.discard(&run.record.deployment().id).await
    {
        run.record
            .warn(format!(
                "the new container, never started, could not be removed: {}",
                left.detail
            ))
            .await;
    }
    run.record
        .anyway(match cause.code {
            Code::Cancelled => Event::Cancelled { why: cause.detail },
            _ => Event::Failed(Failure {
                cause,
                log: Vec::new(),
            }),
        })
        .await;
}

/// A deployment that waited for its turn when the daemon was stopped.
pub(super) fn given_up_while_waiting() -> Failure {
    let detail = "cutover was stopped while this deployment waited for its turn";
    Failure {
        cause: Cause::new(Code::ShuttingDown, Step::Prepare, detail),
        log: Vec::new(),
    }
}

impl Run {
    /// Records a step forward.
    async fn forward(&mut self, step: Step, event: Event) -> Result<(), Cause> {
        self.record
            .forward(event)
            .await
            .map_err(|error| journal_cause(step, &error))
    }

    /// Does `effect`, unless the deployment is cancelled, the daemon stops, or time is up first.
    async fn unless_given_up<T>(
        &self,
        deadline: Instant,
        step: Step,
        effect: impl Future<Output = Result<T, Cause>>,
    ) -> Result<T, Cause> {
        tokio::select! {
            done = effect => done,
            () = self.cancelled.cancelled() => {
                Err(Cause::new(Code::Cancelled, step, "cancelled on request before anything was changed"))
            }
            () = self.stopping.cancelled() => {
                Err(Cause::new(Code::ShuttingDown, step, "cutover was stopped before anything was changed"))
            }
            () = tokio::time::sleep_until(deadline) => {
                let bound = cutover_core::duration::format(self.service.progress_deadline);
                let detail = format!("pulling and staging did not end within the `progress_deadline` of {bound}");
                Err(Cause::new(Code::DeadlineExceeded, step, detail))
            }
        }
    }
}

fn refuse_unsupported(model: &ServiceModel) -> Result<(), Cause> {
    let Strategy::Refused { why, hint } = strategy(&model.facts) else {
        return Ok(());
    };
    let detail = format!("service `{}`: {why}; {hint}", model.compose_service);
    Err(Cause::new(Code::UnsupportedStrategy, Step::Prepare, detail))
}
