//! Going back: the previous container is put back and proven, or an operator is asked.
//!
//! A record that cannot be written does not stop it, and a rollback is never rolled back.

use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Condition, Deployment, Event, Failure};

use super::causes::verify_cause;
use super::observe::watch;
use super::run::Run;
use crate::docker::ContainerEvents;
use crate::driver::docker_cause;
use crate::probe::verify::{self, Checks};

/// How often putting the previous container back is tried before an operator is asked.
const ROLLBACK_ATTEMPTS: u32 = 3;

/// Between two attempts at something that Docker refused.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Puts the previous container back and proves that it runs.
///
/// Without `checks` nothing is verified: that is for a previous container that is known to be gone.
pub(super) async fn roll_back(run: &mut Run, failure: Failure, checks: Option<&Checks>) {
    let driver = run.driver.clone();
    let deployment = run.record.deployment().clone();
    run.record.anyway(Event::RollbackStarted(failure)).await;
    let previous = deployment.previous.as_ref();
    let (outage_ms, events) = match restore(run, &deployment).await {
        Ok(restored) => restored,
        Err(cause) => return ask_operator(run, cause).await,
    };
    if previous.is_some() {
        run.record.anyway(Event::Restored { outage_ms }).await;
    }
    let verified = match (previous, events, checks) {
        (Some(old), Some(events), Some(checks)) if is_worth_proving(old.condition) => {
            let checks = checks.for_rollback();
            verify::verify(driver.docker(), events, &old.container, &checks).await
        }
        _ => Ok(()),
    };
    if let Err(cause) = driver.discard(&deployment.id).await {
        let what = format!(
            "the failed container could not be removed: {}",
            cause.detail
        );
        run.record.warn(what).await;
    }
    match (verified, previous) {
        (Err(failure), _) => ask_operator(run, verify_cause(Step::RollBack, &failure)).await,
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

/// Starts the previous container again, trying a few times. Returns for how long it did not run, and what
/// happens to it from before its start on.
async fn restore(
    run: &mut Run,
    deployment: &Deployment,
) -> Result<(u64, Option<ContainerEvents>), Cause> {
    let driver = run.driver.clone();
    let previous = deployment.previous.as_ref();
    let mut attempt = 1;
    loop {
        let restored = async {
            // Subscribed before the start, so that an exit cannot be missed.
            let events = match previous {
                Some(old) => Some(watch(&driver, &old.container).await),
                None => None,
            };
            let events = events
                .transpose()
                .map_err(|error| docker_cause(Step::RollBack, &error))?;
            let outage_ms = driver.restore(&deployment.id, previous).await?;
            Ok::<_, Cause>((outage_ms, events))
        };
        match restored.await {
            Err(cause) if attempt < ROLLBACK_ATTEMPTS => {
                let why = cause.detail;
                run.record
                    .warn(format!(
                        "attempt {attempt} to put the previous container back failed: {why}"
                    ))
                    .await;
                tokio::time::sleep(RETRY_PAUSE * attempt).await;
                attempt += 1;
            }
            ended => return ended,
        }
    }
}

/// What was unhealthy or stopped is put back as it was found: there was nothing to prove then either.
fn is_worth_proving(condition: Condition) -> bool {
    condition.is_good() || condition == Condition::Starting
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
    // The journal marks the service in the same transaction.
    run.record
        .anyway(Event::RollbackFailed { cause, runs })
        .await;
}
