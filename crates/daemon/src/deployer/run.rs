//! The story of a deployment.
//!
//! Each step is recorded before it is taken. What fails before the switch leaves everything as it was;
//! what fails after it is rolled back. After the commit there is no way back, only forward.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Condition, Event, Failure, PinnedImage, Previous};
use cutover_core::mask::{self, Mask};
use cutover_core::strategy::{Strategy, strategy};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::output::Output;
use super::record::Record;
use crate::docker::container::EnvVar;
use crate::docker::{Container, ContainerEvents, DockerError};
use crate::driver::project::{self, ServiceModel};
use crate::driver::{ComposeDriver, Staging, Target, docker_cause, env_file};
use crate::journal::{Journal, JournalError};
use crate::probe::verify::{self, Checks, VerifyFailure};
use crate::registry::{self, PullOrder};
use crate::settings;

/// How often putting the previous container back is tried before an operator is asked.
const ROLLBACK_ATTEMPTS: u32 = 3;

/// Between two attempts at something that Docker refused.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between two attempts to finish what was committed.
const SETTLE_PAUSE_MAX: Duration = Duration::from_secs(10);

/// Everything that one deployment works with.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) record: Record,
    pub(super) journal: Journal,
    pub(super) driver: ComposeDriver,
    pub(super) docker_config: PathBuf,
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
        Ok(()) => roll_forward(run, Some(&incoming.model)).await,
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
            let rolled_back = roll_back(run, Failure { cause, log }, Some(&incoming.checks));
            tokio::join!(abandoned, rolled_back);
        }
    }
}

/// Until the new container exists and waits to be started. `None`: the release already runs.
async fn bring_in(run: &mut Run) -> Result<Option<Incoming>, Cause> {
    let deadline = Instant::now() + run.service.progress_deadline;
    let request = run.record.deployment().request.clone();
    let (driver, service) = (run.driver.clone(), Arc::clone(&run.service));

    let read = project::read(driver.compose(), &service, &request.tag);
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
    let current = driver.current(&model).await?;
    let present_image = current
        .as_ref()
        .map(|container| container.image_id.as_str());
    let image = pull(run, deadline, &model, present_image).await?;
    run.forward(Step::Pull, Event::ImagePinned(image.clone()))
        .await?;

    if let Some(container) = &current
        && container.condition().is_good()
        && driver.is_same_release(target, container, &image).await?
    {
        run.forward(
            Step::Stage,
            Event::FoundUnchanged {
                container: container.id.clone(),
            },
        )
        .await?;
        return Ok(None);
    }

    let previous = current.as_ref().map(as_previous);
    run.forward(
        Step::Stage,
        Event::StageStarted {
            previous: previous.clone(),
        },
    )
    .await?;
    let stage = driver.stage(target, &image, previous.as_ref());
    let staging = run.unless_given_up(deadline, Step::Stage, stage).await?;
    run.forward(Step::Stage, Event::Staged(staging.staged.clone()))
        .await?;
    unchanged_since(&driver, previous.as_ref()).await?;

    let secrets = model
        .secrets
        .iter()
        .cloned()
        .chain(secret_values(&staging.container));
    let mask = Arc::new(Mask::new(secrets));
    let checks = checks(&service, Some(&model), &staging.container);
    Ok(Some(Incoming {
        staging,
        model,
        checks,
        mask,
    }))
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
        digest: request.digest.as_deref(),
        repository: run.service.image_repository.as_deref(),
        config_directory: &run.docker_config,
        present_image,
    };
    let driver = run.driver.clone();
    let pulled = registry::pull(driver.docker(), order, move |progress| {
        drop(live.send(super::Live::Progress(progress)));
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
        .map_err(|error| docker_cause(Step::Switch, &error));

    run.forward(Step::Switch, Event::SwitchStarted).await?;
    let switched = driver
        .switch(&deployment.id, deployment.previous.as_ref(), staged)
        .await;
    let outage_ms = switched.map_err(|cause| masked(cause, &mask))?;
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
    verify::verify(driver.docker(), events?, &staged.container, checks)
        .await
        .map_err(|failure| masked(verify_cause(Step::Verify, &failure), &mask))?;
    if let Some(staging) = compose.take() {
        staging
            .finish()
            .await
            .map_err(|cause| masked(cause, &mask))?;
    }
    run.forward(Step::Verify, Event::Committed).await
}

/// After the commit point: finish, however long it takes.
pub(super) async fn roll_forward(run: &mut Run, model: Option<&ServiceModel>) {
    let deployment = run.record.deployment().clone();
    let mut pause = RETRY_PAUSE;
    if let Some(staged) = &deployment.staged {
        while let Err(cause) = run
            .driver
            .settle(deployment.previous.as_ref(), staged)
            .await
        {
            run.record
                .warn(format!("{}; trying again", cause.detail))
                .await;
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(SETTLE_PAUSE_MAX),
                // The next start goes on from here.
                () = run.stopping.cancelled() => return,
            }
        }
    }
    if let Some(model) = model
        && let Err(what) = remember_tag(run, model).await
    {
        run.record.warn(what).await;
    }
    run.record.anyway(Event::Succeeded).await;
}

/// Puts the previous container back and proves that it runs.
///
/// Without `checks` nothing is verified: that is for a previous container that is known to be gone.
pub(super) async fn roll_back(run: &mut Run, failure: Failure, checks: Option<&Checks>) {
    let driver = run.driver.clone();
    let deployment = run.record.deployment().clone();
    run.record.anyway(Event::RollbackStarted(failure)).await;
    let previous = deployment.previous.as_ref();
    let mut attempt = 1;
    let outage_ms = loop {
        // Subscribed before the start, so that an exit cannot be missed.
        let events = match previous {
            Some(old) => watch(&driver, &old.container).await.map(Some),
            None => Ok(None),
        };
        let restored = match events {
            Ok(events) => driver
                .restore(&deployment.id, previous)
                .await
                .map(|outage_ms| (outage_ms, events)),
            Err(error) => Err(docker_cause(Step::RollBack, &error)),
        };
        match restored {
            Ok(restored) => break restored,
            Err(cause) if attempt == ROLLBACK_ATTEMPTS => return ask_operator(run, cause).await,
            Err(cause) => {
                run.record
                    .warn(format!(
                        "attempt {attempt} to put the previous container back failed: {}",
                        cause.detail
                    ))
                    .await;
                tokio::time::sleep(RETRY_PAUSE * attempt).await;
                attempt += 1;
            }
        }
    };
    let (outage_ms, events) = outage_ms;
    run.record.anyway(Event::Restored { outage_ms }).await;
    let verified = match (previous, events, checks) {
        // As it was found: there was nothing to verify then either.
        (Some(old), Some(events), Some(checks))
            if old.condition.is_good() || old.condition == Condition::Starting =>
        {
            verify::verify(
                driver.docker(),
                events,
                &old.container,
                &checks.for_rollback(),
            )
            .await
        }
        _ => Ok(()),
    };
    if let Err(cause) = driver.discard(&deployment.id).await {
        run.record
            .warn(format!(
                "the failed container could not be removed: {}",
                cause.detail
            ))
            .await;
    }
    match (verified, previous) {
        (Err(failure), _) => ask_operator(run, verify_cause(Step::RollBack, &failure)).await,
        (Ok(()), Some(_)) => run.record.anyway(Event::RolledBack).await,
        (Ok(()), None) => {
            let cause = Cause::new(
                Code::NoRollbackTarget,
                Step::RollBack,
                "this was the first deployment of the service, so there is nothing to go back to; the new container was removed",
            );
            let runs = "no container of the service".to_owned();
            run.record
                .anyway(Event::RollbackFailed { cause, runs })
                .await;
        }
    }
}

/// The rollback failed: say what runs, and leave it alone.
pub(super) async fn ask_operator(run: &mut Run, cause: Cause) {
    let deployment = run.record.deployment().clone();
    let mut runs = Vec::new();
    let old = deployment.previous.as_ref().map(|old| &old.container);
    let new = deployment.staged.as_ref().map(|new| &new.container);
    for (which, id) in [("previous", old), ("new", new)] {
        let Some(id) = id else { continue };
        match run.driver.docker().container(id).await {
            Ok(Some(container)) if container.state.running => {
                runs.push(format!(
                    "the {which} container {} ({})",
                    container.name, container.image_ref
                ));
            }
            Ok(_) => {}
            Err(error) => runs.push(format!("the {which} container, perhaps: {error}")),
        }
    }
    let runs = if runs.is_empty() {
        "no container of the service".to_owned()
    } else {
        runs.join(" and ")
    };
    if let Err(error) = run
        .journal
        .set_needs_operator(&deployment.request.service, Some(&cause.detail))
        .await
    {
        tracing::error!(%error, service.name = %deployment.request.service, "the need for an operator could not be recorded");
    }
    run.record
        .anyway(Event::RollbackFailed { cause, runs })
        .await;
}

/// Before the switch: remove what was created, and say why.
async fn give_up(run: &mut Run, cause: Cause) {
    if run.record.deployment().status() == cutover_core::deployment::Status::Staging
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
    let detail =
        "cutover was stopped while this deployment waited for its turn; nothing was changed";
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

/// Writes the tag into the env file, where a `docker compose up` by hand finds it.
async fn remember_tag(run: &Run, model: &ServiceModel) -> Result<(), String> {
    let (service, model) = (Arc::clone(&run.service), model.clone());
    let tag = run.record.deployment().request.tag.clone();
    let written =
        tokio::task::spawn_blocking(move || env_file::remember_tag(&service, &model, &tag)).await;
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!(
            "{error}; `docker compose up` by hand would bring an earlier release back"
        )),
        Err(error) => Err(error.to_string()),
    }
}

fn refuse_unsupported(model: &ServiceModel) -> Result<(), Cause> {
    let Strategy::Refused { why, hint } = strategy(&model.facts) else {
        return Ok(());
    };
    let detail = format!(
        "service `{}`: {why}; nothing was changed; {hint}",
        model.compose_service
    );
    Err(Cause::new(Code::UnsupportedStrategy, Step::Prepare, detail))
}

/// Somebody may have typed `docker compose` while the image was pulled.
async fn unchanged_since(driver: &ComposeDriver, previous: Option<&Previous>) -> Result<(), Cause> {
    let Some(old) = previous else { return Ok(()) };
    let found = driver
        .docker()
        .container(&old.container)
        .await
        .map_err(|error| docker_cause(Step::Stage, &error))?;
    match found {
        Some(now) if now.state.running == old.condition.ran() => Ok(()),
        _ => Err(Cause::new(
            Code::Interfered,
            Step::Stage,
            format!(
                "the container {} was changed by somebody else during the deployment; cutover changed nothing",
                old.name
            ),
        )),
    }
}

async fn watch(driver: &ComposeDriver, container: &str) -> Result<ContainerEvents, DockerError> {
    driver.docker().watch_container(container).await
}

fn as_previous(container: &Container) -> Previous {
    Previous {
        container: container.id.clone(),
        name: container.name.clone(),
        image: container.image_ref.clone(),
        image_id: container.image_id.clone(),
        condition: container.condition(),
        restart_policy: container.restart_policy.clone(),
    }
}

/// The checks for a container of which only the id is known; `None` if it is gone.
pub(super) async fn checks_of(run: &Run, container: &str) -> Result<Option<Checks>, DockerError> {
    let found = run.driver.docker().container(container).await?;
    Ok(found.map(|container| checks(&run.service, None, &container)))
}

/// How a container of the service is proven: by the service's settings and its own health check.
pub(super) fn checks(
    service: &settings::Service,
    model: Option<&ServiceModel>,
    container: &Container,
) -> Checks {
    Checks::new(service, model.and_then(|model| model.monitor), container)
}

fn secret_values(container: &Container) -> Vec<String> {
    let mut values = Vec::new();
    for EnvVar { name, value } in &container.env {
        if mask::looks_secret(name) {
            values.push(value.clone());
        }
        values.extend(mask::url_credentials(value));
    }
    values
}

fn masked(cause: Cause, mask: &Mask) -> Cause {
    Cause {
        detail: mask.apply(&cause.detail),
        ..cause
    }
}

fn verify_cause(step: Step, failure: &VerifyFailure) -> Cause {
    let code = match failure {
        _ if step == Step::RollBack => Code::RollbackFailed,
        VerifyFailure::Exited { .. } => Code::ContainerExited,
        VerifyFailure::Unhealthy { .. } => Code::Unhealthy,
        VerifyFailure::Interfered { .. } => Code::Interfered,
        VerifyFailure::Docker(_) => Code::DockerUnavailable,
    };
    Cause::new(code, step, failure.to_string())
}

pub(super) fn journal_cause(step: Step, error: &JournalError) -> Cause {
    let code = match error {
        JournalError::Full { .. } => Code::InsufficientStorage,
        _ => Code::JournalUnavailable,
    };
    Cause::new(
        code,
        step,
        format!("the journal could not be written, so this step was not taken: {error}"),
    )
}
