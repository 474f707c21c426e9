//! What follows when new containers were started: Compose is told, their output is followed, and the outage is recorded.

use std::collections::BTreeSet;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Deployment, Event, Replica};

use super::context::Run;
use super::ended::{Part, Trial};
use super::output::{Output, shown_with};
use crate::docker::Container;
use crate::driver::{Found, Look, docker_cause, millis_between};

/// The new containers up to `to` were started: Compose is told, their output is followed, and it is recorded.
pub(super) async fn attend_started(
    run: &mut Run,
    deployment: &Deployment,
    trial: &mut Trial,
    to: usize,
) -> Result<(), Cause> {
    let started = trial.switched..to;
    trial.switched = to;
    for place in started.clone() {
        let new = &trial.parts[place].new;
        if let Some(staging) = &trial.staging {
            staging.started(&new.container);
        }
        let mask = shown_with(run.service.output, &trial.mask);
        let output = mask.map(|mask| {
            let (docker, live) = (run.driver.docker(), run.record.live().clone());
            Output::follow(docker, &new.container, trial.label(new), mask, live)
        });
        trial.parts[place].output = output;
    }
    let look = run.driver.look(deployment).await;
    let look = look.map_err(|error| docker_cause(Step::Switch, &error))?;
    let names_services = trial.model.services().len() > 1;
    let batch =
        trial.parts[started].chunk_by_mut(|one, other| one.new.service == other.new.service);
    for parts in batch {
        let outage_ms = look_at_switched(deployment, &look, parts, &trial.told_to_stop)?;
        let service = match names_services {
            true => parts[0].new.service.clone(),
            false => String::new(),
        };
        run.forward(Step::Switch, Event::Switched { service, outage_ms })
            .await?;
    }
    Ok(())
}

/// Looks at the replicas of one service that were started at once: since when each runs. Returns for how long no container
/// of the service ran, in milliseconds.
fn look_at_switched(
    deployment: &Deployment,
    look: &Look,
    parts: &mut [Part],
    told_to_stop: &BTreeSet<String>,
) -> Result<u64, Cause> {
    let service = parts[0].new.service.clone();
    let of_service = |found: &&Found| found.replica.service == service;
    let stopped = look.old.iter().filter(of_service);
    let stopped = stopped.filter(|old| told_to_stop.contains(&old.replica.container));
    let stopped: Vec<&Container> = stopped.filter_map(|old| old.container.as_ref()).collect();
    if stopped.iter().any(|old| old.state.running) {
        // Both would write to the same volumes and share the service's name.
        let detail =
            "Docker was restarted during the switch and started the previous container again";
        return Err(Cause::new(Code::SwitchFailed, Step::Switch, detail));
    }
    let started: BTreeSet<String> = parts.iter().map(|one| one.new.container.clone()).collect();
    let all = look.old.iter().chain(&look.new).filter(of_service);
    let mut all = all.filter_map(|found| found.container.as_ref());
    let is_covered = all.any(|one| one.state.running && !started.contains(&one.id));
    for part in &mut *parts {
        let mut new = look.new.iter();
        let new = new.find(|found| found.replica.container == part.new.container);
        part.born = new.and_then(|found| found.container.as_ref()?.state.started_at);
        part.is_covered = is_covered;
    }
    let ran = |old: &Replica| old.service == service && old.condition.ran();
    if is_covered || !deployment.old.iter().any(ran) {
        return Ok(0);
    }
    let stopped_at = stopped.iter().filter_map(|old| old.state.finished_at).max();
    let born = parts.iter().filter_map(|part| part.born).min();
    Ok(millis_between(stopped_at, born))
}
