//! The trial of the new release: from the first effect on what runs, to the commit.
//!
//! The services of a release are switched in the order in which they depend on each other, and each is proven before the
//! next one is touched; or all at once, where that is configured.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cutover_core::cause::{Cause, Step};
use cutover_core::deployment::{Deployment, Event, Proof, Replica, Status};
use cutover_core::switch::{Course, Grace, Move, is_put_aside, plan};
use futures_util::future::{join_all, try_join_all};
use tokio::time::Instant;

use super::bring_in::Staged;
use super::causes::verify_cause;
use super::context::Run;
use super::ended::{Committed, Ended, Part, Trial};
use super::observe::{still_runs, watch};
use super::switched::attend_started;
use super::{holding, hooks};
use crate::driver::project::ServiceModel;
use crate::driver::{Look, docker_cause};
use crate::probe::verify;
use crate::settings;

/// The switch: batch by batch, each proven before the next one. Where nothing waits for the last one, that only runs when
/// this returns.
pub(super) async fn switch(run: &mut Run, staged: Staged) -> Result<Trial, Ended> {
    let begun = async {
        let mut parts = Vec::new();
        for (new, checks) in staged.staging.new.iter().zip(staged.checks) {
            // Subscribed before the start, so that an exit cannot be missed.
            let events = watch(&run.driver, &new.replica.container).await;
            parts.push(Part {
                new: new.replica.clone(),
                is_covered: false,
                checks,
                events: Some(events.map_err(|error| docker_cause(Step::Stage, &error))?),
                output: None,
                born: None,
                answered_after: Duration::ZERO,
                is_to_be_watched: false,
                failed: false,
            });
        }
        run.forward(Step::Switch, Event::SwitchStarted).await?;
        Ok(parts)
    };
    let parts = match begun.await {
        Ok(parts) => parts,
        Err(cause) => {
            return Err(Ended::NothingChanged {
                cause,
                staging: Some(staged.staging),
                log: Vec::new(),
            });
        }
    };
    let mut trial = Trial {
        staging: Some(*staged.staging),
        parts,
        switched: 0,
        began: Instant::now(),
        told_to_stop: BTreeSet::new(),
        hook_log: Vec::new(),
        mask: staged.mask,
        model: staged.model,
    };
    match switch_all(run, &mut trial).await {
        Ok(()) => Ok(trial),
        Err(cause) => Err(fail(run, trial, cause).await),
    }
}

/// What comes waits from now on: what is recorded and told next takes its time.
async fn fail(run: &mut Run, trial: Trial, cause: Cause) -> Ended {
    holding::begin_again(run).await;
    trial.failed(cause)
}

async fn switch_all(run: &mut Run, trial: &mut Trial) -> Result<(), Cause> {
    let deployment = run.deployment().clone();
    let look = run.driver.look(&deployment).await;
    let look = look.map_err(|error| docker_cause(Step::Switch, &error))?;
    let moves = plan_of(run, trial, &look);
    let shares = |one: &ServiceModel| !one.shares_with.is_empty();
    // A container cannot be started before the one in whose namespaces it runs.
    let at_once = !trial.model.services().iter().any(shares);
    let mut ready_to_stop = BTreeSet::new();
    let kind = std::mem::discriminant::<Move>;
    let mut steps = moves
        .chunk_by(|one, other| kind(one) == kind(other))
        .peekable();
    while let Some(step) = steps.next() {
        match &step[0] {
            Move::Hold if run.hold.is_some() => holding::begin_again(run).await,
            Move::Hold => holding::begin(run, &look).await,
            Move::Drain { containers } => {
                let stopped = containers.iter().cloned().collect();
                ready_to_stop = holding::let_requests_end(run, &look, &stopped).await;
            }
            Move::Release => {
                let new = trial.parts[..trial.switched].iter();
                let new: Vec<Replica> = new.map(|part| part.new.clone()).collect();
                holding::release(run, &new).await;
            }
            Move::Pause { length } => tokio::time::sleep(*length).await,
            // The last ones are proven and watched in one.
            Move::Prove { .. } if steps.peek().is_none() => {}
            Move::Prove { .. } => prove_switched(run, trial, Until::TheNext).await?,
            Move::Stop { .. } => {
                let stopped = step.iter().filter_map(Move::container);
                let stopped: BTreeSet<String> = stopped.map(str::to_owned).collect();
                hooks::before_switch(run, trial, &look, &stopped).await?;
                trial.told_to_stop.extend(stopped);
                let graced = step.iter().map(|wanted| graced(wanted, &ready_to_stop));
                make_moves(run, &deployment, &graced.collect::<Vec<_>>(), at_once).await?;
            }
            Move::Start { .. } => {
                trial.began = Instant::now();
                make_moves(run, &deployment, step, at_once).await?;
                let to = trial.switched + step.len();
                attend_started(run, &deployment, trial, to).await?;
            }
            _ => make_moves(run, &deployment, step, at_once).await?,
        }
    }
    Ok(())
}

fn plan_of(run: &Run, trial: &Trial, look: &Look) -> Vec<Move> {
    let batches = match run.service.switch {
        settings::Switch::InOrder => trial.model.batches(),
        settings::Switch::Together => vec![trial.parts.len()],
    };
    let course = Course {
        batches: &batches,
        order: |replica: &Replica| trial.model.order_of(&replica.service),
        delay: |replica: &Replica| {
            let model = trial.model.service(&replica.service);
            model.map_or(Duration::ZERO, |model| model.rollout.delay)
        },
        holds: holding::is_wanted(run, look),
    };
    let deployment = run.deployment();
    plan(&deployment.old, &deployment.new, &course, &deployment.id)
}

/// The same move, without a grace for a container that has no use for it.
fn graced(wanted: &Move, ready_to_stop: &BTreeSet<String>) -> Move {
    match wanted {
        Move::Stop { container, .. } if ready_to_stop.contains(container) => Move::Stop {
            container: container.clone(),
            grace: Grace::None,
        },
        other => other.clone(),
    }
}

/// Makes moves of one kind, at once where they do not depend on each other.
async fn make_moves(
    run: &Run,
    deployment: &Deployment,
    moves: &[Move],
    at_once: bool,
) -> Result<(), Cause> {
    let together = |one: &Move, other: &Move| match (one, other) {
        (Move::KeepAtBoot { .. }, Move::KeepAtBoot { .. }) => true,
        // A name is given up before it is taken.
        (Move::Rename { name: one, .. }, Move::Rename { name: other, .. }) => {
            is_put_aside(one) == is_put_aside(other)
        }
        (Move::Stop { .. }, Move::Stop { .. }) | (Move::Start { .. }, Move::Start { .. }) => {
            at_once
        }
        _ => false,
    };
    for moves in moves.chunk_by(together) {
        let made = moves
            .iter()
            .map(|wanted| run.driver.make(wanted, &deployment.id));
        // All have their end before one that failed counts.
        for made in join_all(made).await {
            made.map_err(|error| docker_cause(Step::Switch, &error))?;
        }
    }
    Ok(())
}

/// Watches the new containers that are not proven yet until they are; the `post_start` hooks have ended then.
pub(super) async fn verify(run: &mut Run, mut trial: Trial) -> Result<Trial, Ended> {
    let verified = async {
        prove_switched(run, &mut trial, Until::TheEnd).await?;
        let deadline = trial.parts.iter().map(|part| part.checks.deadline()).max();
        let deadline = deadline.unwrap_or_default();
        if let Some(staging) = trial.staging.take() {
            let left = deadline.saturating_sub(trial.began.elapsed());
            staging.finish(left, deadline).await?;
        }
        let old = run.deployment().old.clone();
        let stopped = old
            .iter()
            .filter(|old| trial.told_to_stop.contains(&old.container));
        let stopped: Vec<&Replica> = stopped.collect();
        for place in 0..trial.parts.len() {
            let part = &trial.parts[place];
            let of_service = stopped.iter().filter(|old| old.service == part.new.service);
            let of_service: Vec<&Replica> = of_service.copied().collect();
            let runs = still_runs(&run.driver, &of_service, &part.new, part.born).await;
            let runs = runs.map_err(|cause| of_part(trial.name(&part.new), cause));
            trial.parts[place].failed = runs.is_err();
            runs?;
        }
        Ok(())
    };
    match verified.await {
        Ok(()) => Ok(trial),
        Err(cause) => Err(fail(run, trial, cause).await),
    }
}

/// How much is asked of the new containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Enough to switch the next service, and to let requests go on.
    TheNext,
    /// Everything: from here on, all are watched.
    TheEnd,
}

/// Proves those that were switched and are not proven yet; in the end, all of them are watched together.
async fn prove_switched(run: &mut Run, trial: &mut Trial, until: Until) -> Result<(), Cause> {
    let is_due =
        |part: &Part| part.events.is_some() || (until == Until::TheEnd && part.is_to_be_watched);
    let unproven = trial.parts[..trial.switched].iter();
    let unproven = unproven.filter(|part| is_due(part));
    let checks: Vec<String> = unproven
        .map(|part| match trial.label(&part.new) {
            None => part.checks.to_string(),
            Some(label) => format!("{label}: {}", part.checks),
        })
        .collect();
    let checks = checks.join("; ");
    if run.deployment().status() == Status::Switching {
        run.forward(Step::Verify, Event::VerifyStarted { checks })
            .await?;
    }
    let run: &Run = run;
    let is_held = holding::is_held(run);
    let (docker, output) = (run.driver.docker(), run.service.output);
    let parts = trial.parts[..trial.switched].iter();
    let names: Vec<Option<String>> = parts.map(|part| trial.name(&part.new)).collect();
    let due = trial.parts[..trial.switched].iter_mut().zip(names);
    let proofs = due.filter(|(part, _)| is_due(part)).map(|(part, name)| {
        let events = part.events.take();
        let first = match is_held {
            true => part.checks.while_held(),
            false => part.checks.without_watching(),
        };
        let first = first.filter(|_| until == Until::TheNext);
        async move {
            let id = &part.new.container;
            let is_first = events.is_some();
            let events = match events {
                Some(events) => events,
                None => {
                    let events = watch(&run.driver, id).await;
                    events.map_err(|error| docker_cause(Step::Verify, &error))?
                }
            };
            let checks = first.as_ref().unwrap_or(&part.checks);
            if is_held && first.is_none() {
                // Nothing but its running speaks for it yet, and requests wait for it.
                let bound = checks.deadline();
                if holding::wait_until_it_answers(run, &part.new, bound).await {
                    part.is_to_be_watched = true;
                    return Ok(());
                }
            }
            match verify::verify(docker, events, id, checks, part.born).await {
                Ok(proven) => {
                    // Otherwise another one answered meanwhile.
                    if is_first && !part.is_covered {
                        part.answered_after = proven.answered_after;
                    }
                    part.is_to_be_watched = first.is_some();
                    Ok(())
                }
                Err(failure) => {
                    part.failed = true;
                    let cause = verify_cause(Step::Verify, &failure, output);
                    Err(of_part(name, cause))
                }
            }
        }
    });
    // One that failed is enough.
    try_join_all(proofs).await.map(drop)
}

/// The cause, with the container named that it is about where there are several.
fn of_part(name: Option<String>, cause: Cause) -> Cause {
    match name {
        None => cause,
        Some(name) => Cause {
            detail: format!("{name}: {}", cause.detail),
            ..cause
        },
    }
}

/// The commit point.
pub(super) async fn commit(run: &mut Run, trial: Trial) -> Result<Committed, Ended> {
    let proof = |part: &Part| part.checks.proof(part.answered_after);
    let lead = &trial.model.lead().compose_service;
    let mut of_lead = trial.parts.iter().filter(|part| part.new.service == *lead);
    let of_lead = of_lead.next().or(trial.parts.last()).map(proof);
    let mut proofs: BTreeMap<String, Proof> = BTreeMap::new();
    for part in trial
        .parts
        .iter()
        .filter(|_| trial.model.services().len() > 1)
    {
        let of_part = proof(part);
        let of_service = proofs.entry(part.new.service.clone()).or_insert(of_part);
        // A service answers when the slowest of its replicas that were switched at once does.
        of_service.answered_after_ms = of_service.answered_after_ms.max(of_part.answered_after_ms);
    }
    let committed = Event::Committed {
        proof: of_lead,
        proofs,
    };
    match run.forward(Step::Verify, committed).await {
        Ok(()) => Ok(Committed {
            lives: trial
                .parts
                .iter()
                .map(|part| (part.new.container.clone(), part.born))
                .collect(),
            model: trial.model,
        }),
        Err(cause) => Err(trial.failed(cause)),
    }
}
