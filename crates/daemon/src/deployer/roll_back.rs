//! Going back: the previous container is put back and proven, or an operator is asked.
//!
//! A record that cannot be written does not stop it, and a rollback is never rolled back.

use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Deployment, Event, Failure};
use cutover_core::mask::Mask;
use tokio::time::Instant;

use super::causes::{masked, verify_cause};
use super::observe::{self, secret_values, watch};
use super::run::Run;
use crate::driver::docker_cause;
use crate::probe::verify::{self, Checks};

/// How often putting the previous container back is tried before an operator is asked.
const ROLLBACK_ATTEMPTS: u32 = 3;

/// How long a Docker that does not answer is waited for before an attempt: longer than its restart takes.
const DOCKER_PATIENCE: Duration = Duration::from_secs(300);

/// After its grace period a container is killed; so much later it has ended.
const STOP_MARGIN: Duration = Duration::from_secs(1);

/// Between two attempts at something that Docker refused.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Puts the previous container back and proves that it runs.
///
/// Without `checks` it is proven by the service's settings and its own health check.
pub(super) async fn roll_back(run: &mut Run, failure: Failure, checks: Option<&Checks>) {
    let driver = run.driver.clone();
    let deployment = run.record.deployment().clone();
    run.record.anyway(Event::RollbackStarted(failure)).await;
    let restored = restore_and_verify(run, &deployment, checks).await;
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
        (Err(cause), _) => ask_operator(run, cause).await,
        (Ok(()), Some(_)) => run.record.anyway(Event::RolledBack).await,
        (Ok(()), None) => {
            let detail = "this was the first deployment of the service, so there is nothing to go back to; the new container was removed";
            let cause = Cause::new(Code::NoRollbackTarget, Step::RollBack, detail);
            let runs = "no container of the service".to_owned();
            run.record
                .anyway(Event::RollbackFailed { cause, runs })
                .await;
        }
    }
}

/// Starts the previous container again and proves it, trying a few times: what failed once may have been a
/// restart of Docker in that moment, and the way back is the last one there is.
async fn restore_and_verify(
    run: &mut Run,
    deployment: &Deployment,
    checks: Option<&Checks>,
) -> Result<(), Cause> {
    let mut attempt = 1;
    let mut outage_ms = None;
    loop {
        wait_for_docker(run).await;
        match attempt_to_restore(run, deployment, checks, &mut outage_ms).await {
            Err(cause) if attempt < ROLLBACK_ATTEMPTS => {
                let why = cause.detail;
                let what =
                    format!("attempt {attempt} to put the previous container back failed: {why}");
                run.record.warn(what).await;
                tokio::time::sleep(RETRY_PAUSE * attempt).await;
                attempt += 1;
            }
            ended => return ended,
        }
    }
}

/// `outage_ms` is how long the previous container did not run in the attempts before this one, once one of
/// them has started it.
async fn attempt_to_restore(
    run: &mut Run,
    deployment: &Deployment,
    checks: Option<&Checks>,
    outage_ms: &mut Option<u64>,
) -> Result<(), Cause> {
    let driver = run.driver.clone();
    let previous = deployment.previous.as_ref();
    let Some(old) = previous else {
        return driver.restore(&deployment.id, None).await.map(drop);
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
    let checks = match checks {
        Some(checks) => checks.for_rollback(),
        None => observe::checks(&run.service, None, &container).for_rollback(),
    };
    let checks = match restored.may_end_within {
        Some(grace) => checks.perhaps_stopping(grace.saturating_add(STOP_MARGIN)),
        None => checks,
    };
    let mask = Mask::new(secret_values(&container));
    verify::verify(driver.docker(), events, &old.container, &checks)
        .await
        .map_err(|failure| masked(verify_cause(Step::RollBack, &failure), &mask))
}

/// Waits until Docker answers: while it is away, nothing can be put back, and no attempt is used up.
async fn wait_for_docker(run: &mut Run) {
    let docker = run.driver.docker().clone();
    let deadline = Instant::now() + DOCKER_PATIENCE;
    let mut told = false;
    while let Err(error) = docker.ping().await
        && Instant::now() < deadline
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
