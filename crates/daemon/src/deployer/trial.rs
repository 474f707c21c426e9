//! The trial of the new release: from the first effect on what runs, to the commit.

use std::sync::Arc;
use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Deployment, Event, Replica};
use cutover_core::switch::{Move, plan};
use jiff::Timestamp;
use tokio::time::Instant;

use super::bring_in::Staged;
use super::causes::verify_cause;
use super::context::Run;
use super::ended::{Committed, Ended, Trial};
use super::observe::{still_runs, watch};
use super::output::Output;
use crate::docker::ContainerEvents;
use crate::driver::{docker_cause, millis_between};
use crate::probe::verify;
use crate::settings;

/// How many replicas are switched at once. There is one.
const BATCH: usize = 1;

/// A new container that runs, and its events since before it was started.
#[derive(Debug)]
pub(super) struct Started {
    trial: Trial,
    events: ContainerEvents,
}

/// The switch: the moves of the plan, up to the proof.
pub(super) async fn switch(run: &mut Run, staged: Staged) -> Result<Started, Ended> {
    let new = staged.staging.replica.clone();
    // Subscribed before the start, so that an exit cannot be missed.
    let begun = async {
        let events = watch(&run.driver, &new.container).await;
        let events = events.map_err(|error| docker_cause(Step::Stage, &error))?;
        run.forward(Step::Switch, Event::SwitchStarted).await?;
        Ok(events)
    };
    let events = match begun.await {
        Ok(events) => events,
        Err(cause) => {
            return Err(Ended::NothingChanged {
                cause,
                staging: Some(staged.staging),
            });
        }
    };
    let mut trial = Trial {
        staging: Some(*staged.staging),
        output: None,
        checks: staged.checks,
        mask: staged.mask,
        model: staged.model,
        new,
        born: None,
        answered_after: Duration::ZERO,
    };
    match make_moves(run, &mut trial).await {
        Ok(()) => Ok(Started { trial, events }),
        Err(cause) => Err(trial.failed(cause)),
    }
}

async fn make_moves(run: &mut Run, trial: &mut Trial) -> Result<(), Cause> {
    let failed = |error| docker_cause(Step::Switch, &error);
    let deployment = run.deployment().clone();
    let moves = plan(&deployment.old, &deployment.new, BATCH, &deployment.id);
    for wanted in moves.iter().take_while(|wanted| !is_proof(wanted)) {
        let made = run.driver.make(wanted, &deployment.id).await;
        made.map_err(failed)?;
    }
    if let Some(staging) = &mut trial.staging {
        staging.started();
    }
    let mask = match run.service.output {
        settings::Output::Masked => Some(Arc::clone(&trial.mask)),
        settings::Output::Full => Some(Arc::default()),
        settings::Output::None => None,
    };
    trial.output = mask.map(|mask| {
        let (docker, live) = (run.driver.docker(), run.record.live().clone());
        Output::follow(docker, &trial.new.container, mask, live)
    });
    let (outage_ms, born) = look_at_switched(run, &deployment, &trial.new).await?;
    trial.born = born;
    run.forward(Step::Switch, Event::Switched { outage_ms })
        .await
}

fn is_proof(wanted: &Move) -> bool {
    matches!(wanted, Move::Prove { .. })
}

/// For how long no container ran, and since when the new one does. Two that run would write to the same volumes
/// and share the service's name.
async fn look_at_switched(
    run: &Run,
    deployment: &Deployment,
    new: &Replica,
) -> Result<(u64, Option<Timestamp>), Cause> {
    let look = run.driver.look(deployment).await;
    let look = look.map_err(|error| docker_cause(Step::Switch, &error))?;
    let old = look.old.iter().filter_map(|old| old.container.as_ref());
    if old.clone().any(|old| old.state.running) {
        let detail =
            "Docker was restarted during the switch and started the previous container again";
        return Err(Cause::new(Code::SwitchFailed, Step::Switch, detail));
    }
    let stopped_at = old.filter_map(|old| old.state.finished_at).max();
    let started = look
        .new
        .iter()
        .find(|found| found.replica.container == new.container);
    let born = started.and_then(|found| found.container.as_ref()?.state.started_at);
    let outage_ms = if deployment.ran_before() {
        millis_between(stopped_at, born)
    } else {
        0
    };
    Ok((outage_ms, born))
}

/// Watches the new container until it is proven; its `post_start` hooks have ended then.
pub(super) async fn verify(run: &mut Run, started: Started) -> Result<Trial, Ended> {
    let Started { mut trial, events } = started;
    match prove(run, &mut trial, events).await {
        Ok(()) => Ok(trial),
        Err(cause) => Err(trial.failed(cause)),
    }
}

async fn prove(run: &mut Run, trial: &mut Trial, events: ContainerEvents) -> Result<(), Cause> {
    let checks = trial.checks.to_string();
    run.forward(Step::Verify, Event::VerifyStarted { checks })
        .await?;
    let deadline = trial.checks.deadline();
    let ends = Instant::now() + deadline;
    let (docker, id) = (run.driver.docker(), &trial.new.container);
    let proven = verify::verify(docker, events, id, &trial.checks, trial.born).await;
    let proven =
        proven.map_err(|failure| verify_cause(Step::Verify, &failure, run.service.output))?;
    trial.answered_after = proven.answered_after;
    if let Some(staging) = trial.staging.take() {
        let left = ends.saturating_duration_since(Instant::now());
        staging.finish(left, deadline).await?;
    }
    let old = &run.deployment().old;
    still_runs(&run.driver, old, &trial.new.container, trial.born).await
}

/// The commit point.
pub(super) async fn commit(run: &mut Run, trial: Trial) -> Result<Committed, Ended> {
    let proof = Some(trial.checks.proof(trial.answered_after));
    match run.forward(Step::Verify, Event::Committed { proof }).await {
        Ok(()) => Ok(Committed {
            model: trial.model,
            born: trial.born,
        }),
        Err(cause) => Err(trial.failed(cause)),
    }
}
