//! Going back: the previous container is put back and proven, or an operator is asked.
//!
//! A record that cannot be written does not stop it, and a rollback is never rolled back.

use std::collections::BTreeMap;
use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Deployment, Event, Failure};
use cutover_core::mask::Mask;
use tokio::time::Instant;

use super::causes::{masked, verify_cause};
use super::observe::{secret_values, watch};
use super::run::Run;
use crate::docker::Container;
use crate::driver::docker_cause;
use crate::driver::project::ServiceModel;
use crate::probe::verify::{self, Checks};

/// How often putting the previous container back is tried before an operator is asked.
const ROLLBACK_ATTEMPTS: u32 = 3;

/// How long a Docker that does not answer is waited for in all. While it is away nothing runs that could be
/// put right in another way.
const DOCKER_PATIENCE: Duration = Duration::from_secs(3600);

/// By these labels Compose says whose a container is.
const PROJECT_LABEL: &str = "com.docker.compose.project";
const SERVICE_LABEL: &str = "com.docker.compose.service";

/// After its grace period a container is killed; so much later it has ended.
const STOP_MARGIN: Duration = Duration::from_secs(1);

/// Between two attempts at something that Docker refused.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Puts the previous container back and proves that it runs: by the service's settings and its own health
/// check, which need not be those of the release that failed.
///
/// `model` is the service as Compose renders it, if that is known: for how long a container must run that has no
/// check at all, and what is secret.
pub(super) async fn roll_back(run: &mut Run, failure: Failure, model: Option<&ServiceModel>) {
    let driver = run.driver.clone();
    let deployment = run.record.deployment().clone();
    let why = failure.cause.detail.clone();
    run.record.anyway(Event::RollbackStarted(failure)).await;
    let restored = restore_and_verify(run, &deployment, model).await;
    if restored.is_ok()
        && let Err(cause) = driver.discard(&deployment.id).await
    {
        let what = format!(
            "the failed container could not be removed: {}",
            cause.detail
        );
        run.record.warn(what).await;
    }
    match (restored, deployment.previous) {
        (Err(cause), _) => {
            let detail = format!(
                "{}; before that the new release had failed: {why}",
                cause.detail
            );
            ask_operator(run, Cause { detail, ..cause }).await;
        }
        (Ok(()), Some(_)) => run.record.anyway(Event::RolledBack).await,
        (Ok(()), None) => {
            let detail = format!(
                "{why}; this was the first deployment of the service, so there is nothing to go back to; the new container was removed"
            );
            let cause = Cause::new(Code::NoRollbackTarget, Step::RollBack, detail);
            let runs = "no container of the service".to_owned();
            run.record
                .anyway(Event::RollbackFailed { cause, runs })
                .await;
        }
    }
}

/// Starts the previous container again and proves it, trying a few times: what failed once may have been a
/// restart of Docker in that moment, and the way back is the last one there is. A Docker that is away is waited
/// for and costs no attempt.
async fn restore_and_verify(
    run: &mut Run,
    deployment: &Deployment,
    model: Option<&ServiceModel>,
) -> Result<(), Cause> {
    let patience_ends = Instant::now() + DOCKER_PATIENCE;
    let mut attempt = 1;
    let mut outage_ms = None;
    loop {
        wait_for_docker(run, patience_ends).await;
        let Err(cause) = attempt_to_restore(run, deployment, model, &mut outage_ms).await else {
            return Ok(());
        };
        let counts = run.driver.docker().ping().await.is_ok() || Instant::now() >= patience_ends;
        if counts && attempt == ROLLBACK_ATTEMPTS {
            return Err(cause);
        }
        let why = cause.detail;
        let what = format!("attempt {attempt} to put the previous container back failed: {why}");
        run.record.warn(what).await;
        tokio::time::sleep(RETRY_PAUSE * attempt).await;
        attempt += u32::from(counts);
    }
}

/// `outage_ms` is how long the previous container did not run in the attempts before this one, once one of
/// them has started it.
async fn attempt_to_restore(
    run: &mut Run,
    deployment: &Deployment,
    model: Option<&ServiceModel>,
    outage_ms: &mut Option<u64>,
) -> Result<(), Cause> {
    let driver = run.driver.clone();
    let previous = deployment.previous.as_ref();
    let Some(old) = previous else {
        let restored = driver.restore(&deployment.id, None).await?;
        return restored.left_undone.map_or(Ok(()), Err);
    };
    let failed = |error| docker_cause(Step::RollBack, &error);
    // Subscribed before the start, so that an exit cannot be missed.
    let events = watch(&driver, &old.container).await.map_err(failed)?;
    let restored = driver.restore(&deployment.id, previous).await?;
    if outage_ms.is_none() || restored.outage_ms > 0 {
        let all_ms = outage_ms.unwrap_or(0).saturating_add(restored.outage_ms);
        *outage_ms = Some(all_ms);
        run.record
            .anyway(Event::Restored { outage_ms: all_ms })
            .await;
    }
    if let Some(cause) = restored.left_undone {
        return Err(cause);
    }
    if !old.condition.is_verified_after_rollback() {
        return Ok(());
    }
    let found = driver.docker().container(&old.container).await;
    let Some(container) = found.map_err(failed)? else {
        return Err(Cause::new(
            Code::RollbackFailed,
            Step::RollBack,
            "somebody removed the previous container",
        ));
    };
    let monitor = model.and_then(|model| model.monitor);
    let checks = Checks::new(&run.service, monitor, &container).for_rollback();
    let checks = match restored.may_end_within {
        Some(grace) => checks.perhaps_stopping(grace.saturating_add(STOP_MARGIN)),
        None => checks,
    };
    let known = model.map_or(&[][..], |model| &model.secrets);
    let mask = Mask::new(known.iter().cloned().chain(secret_values(&container)));
    verify::verify(driver.docker(), events, &old.container, &checks)
        .await
        .map_err(|failure| masked(verify_cause(Step::RollBack, &failure), &mask))
}

/// Waits until Docker answers: while it is away, nothing can be put back.
async fn wait_for_docker(run: &mut Run, patience_ends: Instant) {
    let docker = run.driver.docker().clone();
    let mut told = false;
    while let Err(error) = docker.ping().await
        && Instant::now() < patience_ends
    {
        if !told {
            let what = format!("waiting for Docker to put the previous container back: {error}");
            run.record.warn(what).await;
            told = true;
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// The rollback failed: say what runs, and leave it alone.
pub(super) async fn ask_operator(run: &mut Run, cause: Cause) {
    let runs = what_runs(run).await;
    // Whatever it was that failed, the request need not be sent again: somebody has to look.
    let cause = Cause {
        code: Code::RollbackFailed,
        ..cause
    };
    // The journal marks the service in the same transaction.
    run.record
        .anyway(Event::RollbackFailed { cause, runs })
        .await;
}

/// Every container of the service that runs, for a person.
async fn what_runs(run: &Run) -> String {
    let (docker, deployment) = (run.driver.docker(), run.record.deployment());
    let old = deployment.previous.as_ref().map(|old| &old.container);
    let new = deployment.staged.as_ref().map(|new| &new.container);
    let mut of_service = None;
    let mut found = BTreeMap::new();
    let mut unknown = None;
    for (which, id) in [("previous", old), ("new", new)] {
        let Some(id) = id else { continue };
        match docker.container(id).await {
            Ok(Some(container)) => {
                let label = |name: &str| container.labels.get(name).cloned();
                of_service = of_service.or(label(PROJECT_LABEL).zip(label(SERVICE_LABEL)));
                found.insert(container.id.clone(), (which, container));
            }
            Ok(None) => {}
            Err(error) => unknown = Some(error.to_string()),
        }
    }
    if let Some((project, service)) = of_service {
        match docker.service_containers(&project, &service).await {
            Ok(all) => {
                for other in all {
                    found.entry(other.id.clone()).or_insert(("other", other));
                }
            }
            Err(error) => unknown = Some(error.to_string()),
        }
    }
    let mut runs: Vec<String> = found
        .into_values()
        .filter(|(_, container)| container.state.running)
        .map(
            |(
                which,
                Container {
                    name, image_ref, ..
                },
            )| { format!("the {which} container {name} ({image_ref})") },
        )
        .collect();
    match unknown {
        Some(why) => runs.push(format!("what Docker does not say: {why}")),
        None if runs.is_empty() => runs.push("no container of the service".to_owned()),
        None => {}
    }
    runs.join(" and ")
}
