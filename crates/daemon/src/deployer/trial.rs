//! The trial of the new release: from the first effect on what runs, to the commit.
//!
//! The services of a release are switched in the order in which they depend on each other, and each is proven before the
//! next one is touched; or all at once, where that is configured.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Deployment, Event, Proof, Replica, Status};
use cutover_core::switch::{Grace, Move, Order, is_put_aside, plan};
use futures_util::future::{join_all, try_join_all};
use tokio::time::Instant;

use super::bring_in::Staged;
use super::causes::verify_cause;
use super::context::Run;
use super::ended::{Committed, Ended, Part, Trial};
use super::holding;
use super::observe::{still_runs, watch};
use super::output::Output;
use crate::driver::project::ServiceModel;
use crate::driver::{Look, docker_cause, millis_between};
use crate::probe::verify;
use crate::settings;

/// The switch: each service in its turn, and each but the last proven. Those of the last batch run when this returns.
pub(super) async fn switch(run: &mut Run, staged: Staged) -> Result<Trial, Ended> {
    let begun = async {
        let mut parts = Vec::new();
        for (new, checks) in staged.staging.new.iter().zip(staged.checks) {
            // Subscribed before the start, so that an exit cannot be missed.
            let events = watch(&run.driver, &new.replica.container).await;
            parts.push(Part {
                new: new.replica.clone(),
                order: staged.model.order_of(&new.replica.service),
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
        when_proven: Vec::new(),
        told_to_stop: BTreeSet::new(),
        mask: staged.mask,
        model: staged.model,
    };
    match switch_all(run, &mut trial).await {
        Ok(()) => Ok(trial),
        Err(cause) => Err(trial.failed(cause)),
    }
}

async fn switch_all(run: &mut Run, trial: &mut Trial) -> Result<(), Cause> {
    let deployment = run.deployment().clone();
    let sizes = match run.service.switch {
        settings::Switch::InOrder => trial.model.batches(),
        settings::Switch::Together => vec![trial.parts.len()],
    };
    let order = |replica: &Replica| trial.model.order_of(&replica.service);
    let moves = plan(
        &deployment.old,
        &deployment.new,
        &sizes,
        order,
        &deployment.id,
    );
    let mut batches = moves.split_inclusive(is_proof).collect::<Vec<_>>();
    // What comes behind the first proof of a batch are its other proofs.
    batches.retain(|moves| !moves.iter().all(is_proof));
    if let Some(last) = batches.pop_if(|moves| !moves.iter().any(is_proof)) {
        trial.when_proven = last.to_vec();
    }
    let look = run.driver.look(&deployment).await;
    let look = look.map_err(|error| docker_cause(Step::Switch, &error))?;
    holding::begin(run, &look).await;
    let shares = |one: &ServiceModel| !one.shares_with.is_empty();
    // A container cannot be started before the one in whose namespaces it runs.
    let at_once = !trial.model.services().iter().any(shares);
    for (place, (moves, size)) in batches.iter().zip(sizes).enumerate() {
        if place > 0 {
            prove_switched(run, trial, Until::TheNext).await?;
        }
        let to = (trial.switched + size).min(trial.parts.len());
        let stopped: BTreeSet<String> = moves.iter().filter_map(stopped).collect();
        let deaf = holding::let_requests_end(run, &look, &stopped).await;
        trial.told_to_stop.extend(stopped);
        let graced = moves.iter().map(|wanted| graced(wanted, &deaf));
        let moves: Vec<Move> = graced.collect();
        make_moves(run, &deployment, &moves, at_once).await?;
        attend_started(run, &deployment, trial, to).await?;
    }
    Ok(())
}

/// The same move, without a grace for a container that has no use for it.
fn graced(wanted: &Move, deaf: &BTreeSet<String>) -> Move {
    match wanted {
        Move::Stop { container, .. } if deaf.contains(container) => Move::Stop {
            container: container.clone(),
            grace: Grace::None,
        },
        other => other.clone(),
    }
}

/// The container that a move stops.
fn stopped(wanted: &Move) -> Option<String> {
    match wanted {
        Move::Stop { container, .. } => Some(container.clone()),
        _ => None,
    }
}

fn is_proof(wanted: &Move) -> bool {
    matches!(wanted, Move::Prove { .. })
}

/// Makes the moves of one batch up to its proof, several of one kind at once where they do not depend on each other.
async fn make_moves(
    run: &Run,
    deployment: &Deployment,
    moves: &[Move],
    at_once: bool,
) -> Result<(), Cause> {
    let effects = moves.iter().filter(|wanted| !is_proof(wanted));
    let effects: Vec<&Move> = effects.collect();
    let together = |one: &&Move, other: &&Move| match (one, other) {
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
    for moves in effects.chunk_by(together) {
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

/// The new containers up to `to` were started: Compose is told, their output is followed, and it is recorded.
async fn attend_started(
    run: &mut Run,
    deployment: &Deployment,
    trial: &mut Trial,
    to: usize,
) -> Result<(), Cause> {
    let names_services = trial.parts.len() > 1;
    let started = trial.switched..to;
    trial.switched = to;
    for part in &mut trial.parts[started.clone()] {
        if let Some(staging) = &trial.staging {
            staging.started(&part.new.container);
        }
        let mask = match run.service.output {
            settings::Output::Masked => Some(Arc::clone(&trial.mask)),
            settings::Output::Full => Some(Arc::default()),
            settings::Output::None => None,
        };
        let of = names_services.then(|| part.new.service.clone());
        part.output = mask.map(|mask| {
            let (docker, live) = (run.driver.docker(), run.record.live().clone());
            Output::follow(docker, &part.new.container, of, mask, live)
        });
    }
    let look = run.driver.look(deployment).await;
    let look = look.map_err(|error| docker_cause(Step::Switch, &error))?;
    for part in &mut trial.parts[started] {
        let outage_ms = look_at_switched(deployment, &look, part)?;
        let service = if names_services {
            part.new.service.clone()
        } else {
            String::new()
        };
        run.forward(Step::Switch, Event::Switched { service, outage_ms })
            .await?;
    }
    Ok(())
}

/// For how long no container of the service ran, in milliseconds; and since when the new one does. Unless it was started
/// beside the old one, two that run would write to the same volumes and share the service's name.
fn look_at_switched(deployment: &Deployment, look: &Look, part: &mut Part) -> Result<u64, Cause> {
    let started = look
        .new
        .iter()
        .find(|found| found.replica.container == part.new.container);
    part.born = started.and_then(|found| found.container.as_ref()?.state.started_at);
    if part.order == Order::StartFirst {
        return Ok(0);
    }
    let of_service = |replica: &Replica| replica.service == part.new.service;
    let old = look.old.iter().filter(|found| of_service(&found.replica));
    let old = old.filter_map(|found| found.container.as_ref());
    if old.clone().any(|old| old.state.running) {
        let detail =
            "Docker was restarted during the switch and started the previous container again";
        return Err(Cause::new(Code::SwitchFailed, Step::Switch, detail));
    }
    let stopped_at = old.filter_map(|old| old.state.finished_at).max();
    let ran_before = deployment
        .old
        .iter()
        .any(|old| of_service(old) && old.condition.ran());
    Ok(if ran_before {
        millis_between(stopped_at, part.born)
    } else {
        0
    })
}

/// Watches the new containers that are not proven yet until they are; the `post_start` hooks have ended then.
pub(super) async fn verify(run: &mut Run, mut trial: Trial) -> Result<Trial, Ended> {
    let began = Instant::now();
    let verified = async {
        let when_proven = std::mem::take(&mut trial.when_proven);
        if holding::is_held(run) || !when_proven.is_empty() {
            prove_switched(run, &mut trial, Until::TheNext).await?;
            make_moves(run, run.deployment(), &when_proven, false).await?;
            let new = run.deployment().new.clone();
            holding::release(run, &new).await;
        }
        prove_switched(run, &mut trial, Until::TheEnd).await?;
        let deadline = trial.parts.iter().map(|part| part.checks.deadline()).max();
        let deadline = deadline.unwrap_or_default();
        if let Some(staging) = trial.staging.take() {
            let left = deadline.saturating_sub(began.elapsed());
            staging.finish(left, deadline).await?;
        }
        let old = run.deployment().old.clone();
        for part in &mut trial.parts {
            let old = match part.order {
                Order::StopFirst => &old[..],
                // They run until the commit.
                Order::StartFirst => &[],
            };
            let runs = still_runs(&run.driver, old, &part.new, part.born).await;
            part.failed = runs.is_err();
            runs.map_err(|cause| of_service(run, cause, &part.new))?;
        }
        Ok(())
    };
    match verified.await {
        Ok(()) => Ok(trial),
        Err(cause) => {
            // At once: what is recorded and told next takes its time.
            holding::begin_again(run).await;
            Err(trial.failed(cause))
        }
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
        .map(|part| match trial.parts.len() {
            1 => part.checks.to_string(),
            _ => format!("{}: {}", part.new.service, part.checks),
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
    let due = trial.parts[..trial.switched].iter_mut();
    let proofs = due.filter(|part| is_due(part)).map(|part| {
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
                    // Otherwise the old one answered meanwhile.
                    if is_first && part.order == Order::StopFirst {
                        part.answered_after = proven.answered_after;
                    }
                    part.is_to_be_watched = first.is_some();
                    Ok(())
                }
                Err(failure) => {
                    part.failed = true;
                    let cause = verify_cause(Step::Verify, &failure, output);
                    Err(of_service(run, cause, &part.new))
                }
            }
        }
    });
    // One that failed is enough.
    try_join_all(proofs).await.map(drop)
}

/// The cause, with the service named that it is about where there are several.
fn of_service(run: &Run, cause: Cause, new: &Replica) -> Cause {
    if run.deployment().new.len() == 1 {
        return cause;
    }
    let detail = format!("service `{}`: {}", new.service, cause.detail);
    Cause { detail, ..cause }
}

/// The commit point.
pub(super) async fn commit(run: &mut Run, trial: Trial) -> Result<Committed, Ended> {
    let proof = |part: &Part| part.checks.proof(part.answered_after);
    let lead = &trial.model.lead().compose_service;
    let mut of_lead = trial.parts.iter().filter(|part| part.new.service == *lead);
    let of_lead = of_lead.next().or(trial.parts.last()).map(proof);
    let proofs: BTreeMap<String, Proof> = trial
        .parts
        .iter()
        .filter(|_| trial.parts.len() > 1)
        .map(|part| (part.new.service.clone(), proof(part)))
        .collect();
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
