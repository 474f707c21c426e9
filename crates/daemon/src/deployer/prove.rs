//! Proving a container on the way: a previous one by its own checks, not by those of the release that failed.

use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::Replica;
use cutover_core::mask::Mask;
use cutover_core::switch::Goal;

use super::causes::{masked, verify_cause};
use super::context::Run;
use super::journey::Journey;
use super::observe::{secret_values, watch};
use crate::docker::Container;
use crate::driver::{Found, docker_cause};
use crate::probe::verify::{self, Checks};

/// Watches a container that runs until it is proven, or has failed. One that may have been told to stop is
/// watched until it cannot be stopping any more.
pub(super) async fn prove(run: &Run, journey: &mut Journey, found: &Found) -> Result<(), Cause> {
    let Some(container) = &found.container else {
        return Err(Cause::new(
            Code::RollbackFailed,
            Step::RollBack,
            "it is gone",
        ));
    };
    if journey.needs_proof(&found.replica) {
        pass_checks(run, journey, &found.replica, container).await
    } else {
        outlast_doubt(run, journey, container).await
    }
}

async fn pass_checks(
    run: &Run,
    journey: &mut Journey,
    replica: &Replica,
    container: &Container,
) -> Result<(), Cause> {
    let failed = |error| docker_cause(Step::RollBack, &error);
    let model = journey.model_of(replica);
    let monitor = model.and_then(|model| model.monitor);
    let checks = Checks::new(&run.service, monitor, container).for_rollback();
    let checks = match journey.doubted_for(container) {
        Some(least) => checks.perhaps_stopping(least),
        None => checks,
    };
    let events = watch(&run.driver, &container.id).await.map_err(failed)?;
    let docker = run.driver.docker();
    let verified = verify::verify(docker, events, &container.id, &checks, None).await;
    match verified {
        Ok(proven) => {
            journey.proved(&container.id, proven.began);
            // One that ran all the time answered all the time.
            let answered_after = if journey.has_started(&container.id) {
                proven.answered_after
            } else {
                Duration::ZERO
            };
            journey.proof = Some(checks.proof(answered_after));
            Ok(())
        }
        Err(failure) => {
            let known = model.map_or(&[][..], |model| &model.secrets);
            let mask = Mask::new(known.iter().cloned().chain(secret_values(container)));
            let step = match journey.goal {
                Goal::Old => Step::RollBack,
                Goal::New => Step::CleanUp,
            };
            Err(masked(
                verify_cause(step, &failure, run.service.output),
                &mask,
            ))
        }
    }
}

/// It was unhealthy, starting or in a restart loop when the deployment began: there was nothing to prove then.
/// It only must not be about to stop.
async fn outlast_doubt(
    run: &Run,
    journey: &mut Journey,
    container: &Container,
) -> Result<(), Cause> {
    if let Some(least) = journey.doubted_for(container) {
        tokio::time::sleep(least).await;
        let now = run.driver.docker().container(&container.id).await;
        let now = now.map_err(|error| docker_cause(Step::RollBack, &error))?;
        if !now.is_some_and(|now| now.state.running) {
            // The next look finds it stopped, and it is started.
            return Ok(());
        }
    }
    journey.is_as_it_was(&container.id);
    Ok(())
}
