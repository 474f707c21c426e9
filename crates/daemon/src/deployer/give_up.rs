//! The end of a deployment that failed before the switch.
//!
//! One exception is rolled back: Compose takes the staged container for one of the service. What somebody types meanwhile
//! may remove or stop the old one, and leave the service down or in the new one, which nobody has verified.

use std::collections::BTreeSet;
use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Deployment, Event, Failure, Replica, Status};

use super::context::Run;
use super::journey::Doubt;
use super::observe::what_runs;
use super::rest::Rest;
use super::roll_back::roll_back;
use super::tag_line::take_tag_back;
use crate::docker::Container;
use crate::labels;

/// How often it is tried to remove what was created, before that goes on behind the answer. Somebody may have started
/// it in between.
const DISCARDS_MAX: usize = 2;

/// When nothing has changed for so long, whoever acted is done.
const QUIET: Duration = Duration::from_secs(1);

/// For no longer than this: the answer is due.
const OTHERS_MAX: Duration = Duration::from_secs(20);

/// Removes what was created, and says why, with the `log` of a job that failed; and what runs, should the service be down for another reason.
pub(super) async fn give_up(run: &mut Run, cause: Cause, log: Vec<String>) -> Option<Rest> {
    wait_for_the_others_end(run).await;
    let mut left = None;
    for _ in 0..DISCARDS_MAX {
        if is_down_because_of_us(run).await
            && run.forward(Step::Stage, Event::SwitchStarted).await.is_ok()
        {
            let failure = Failure { cause, log };
            return roll_back(run, failure, None, Doubt::Stopping).await;
        }
        if run.deployment().status() != Status::Staging {
            break;
        }
        left = run.driver.discard(&run.deployment().id).await.err();
        if left.is_none() {
            break;
        }
    }
    if let Some(left) = &left {
        let what = format!(
            "the new container could not be removed yet: {}",
            left.detail
        );
        run.record.warn(what).await;
    }
    take_tag_back(run).await;
    let event = match cause.code {
        Code::Cancelled => Event::Cancelled {
            why: with(cause.detail, run.deployment().what_jobs_did()),
        },
        _ => {
            let detail = with(cause.detail, run.deployment().what_jobs_did());
            let detail = with(detail, who_is_down(run).await);
            Event::Failed(Failure {
                cause: Cause { detail, ..cause },
                log,
            })
        }
    };
    run.record.anyway(event).await;
    left.map(|_| Rest::Discard)
}

/// If somebody else has a hand in the service's containers, waits until they are done, as far as that can be seen: one
/// `docker compose` command stops, removes, creates and starts one after another, and what is decided in between is
/// wrong a moment later.
async fn wait_for_the_others_end(run: &Run) {
    let deployment = run.deployment();
    let services = services_of(deployment);
    if services.is_empty() {
        return;
    }
    let look = async || {
        let mut all: Vec<Container> = Vec::new();
        for (project, service) in &services {
            let present = run.driver.present(project, service).await.ok()?;
            all.extend([present.current, present.leftovers, present.parked].concat());
        }
        Some(all)
    };
    let state = |one: &Container| {
        let Container {
            id, name, state, ..
        } = one;
        (id.clone(), name.clone(), state.running, state.started_at)
    };
    let is_over = async {
        let mut before = BTreeSet::new();
        while let Some(all) = look().await {
            let now: BTreeSet<_> = all.iter().map(state).collect();
            if is_as_found(deployment, &all) || now == before {
                return;
            }
            before = now;
            tokio::time::sleep(QUIET).await;
        }
    };
    if tokio::time::timeout(OTHERS_MAX, is_over).await.is_err() {
        tracing::warn!(deployment.id = %deployment.id, "somebody changes the service's containers all the time");
    }
}

fn with(detail: String, more: Option<String>) -> String {
    match more {
        Some(more) => format!("{detail}; {more}"),
        None => detail,
    }
}

/// The services of which something was found at the beginning, each with its project.
fn services_of(deployment: &Deployment) -> BTreeSet<(String, String)> {
    let old = deployment.old.iter();
    old.map(|old| (old.project.clone(), old.service.clone()))
        .collect()
}

/// Whether there is what was found at the beginning and what this deployment created, and that does not run.
fn is_as_found(deployment: &Deployment, all: &[Container]) -> bool {
    let is_found = |one: &Container| match creator(one) {
        Some(id) if id == deployment.id.as_str() => !one.state.running,
        _ => deployment
            .old
            .iter()
            .any(|old| old.container == one.id && old.condition.ran() == one.state.running),
    };
    let is_there = |old: &Replica| all.iter().any(|one| one.id == old.container);
    deployment.old.iter().all(is_there) && all.iter().all(is_found)
}

/// The deployment that created a container.
fn creator(container: &Container) -> Option<&str> {
    container.labels.get(labels::DEPLOYMENT).map(String::as_str)
}

/// Whether a service does not run in what ran because of what this deployment created: somebody's `docker compose up`
/// removed that and could not start what it had made for it, or somebody's `restart` started the staged container, which
/// took the port.
async fn is_down_because_of_us(run: &Run) -> bool {
    let deployment = run.deployment();
    if deployment.status() != Status::Staging {
        return false;
    }
    for old in deployment.old.iter().filter(|old| old.condition.ran()) {
        if is_service_down_because_of_us(run, old).await {
            return true;
        }
    }
    false
}

async fn is_service_down_because_of_us(run: &Run, old: &Replica) -> bool {
    let deployment = run.deployment();
    let Ok(present) = run.driver.present(&old.project, &old.service).await else {
        return false;
    };
    let is_staged = |one: &Container| creator(one) == Some(deployment.id.as_str());
    let runs = |one: &Container| one.state.running && !is_staged(one);
    if present.current.iter().any(runs) {
        return false;
    }
    let was_started = |one: &Container| is_staged(one) && one.state.started_at.is_some();
    if present.current.iter().any(was_started) {
        return true;
    }
    // It is half made by somebody else.
    present.leftovers.iter().any(|one| creator(one).is_none())
}

/// What a reader must know who is told that nothing was changed: the service does not run as it did. None of it
/// was the deployment's doing.
async fn who_is_down(run: &Run) -> Option<String> {
    let deployment = run.deployment();
    let ran = match deployment.status() {
        Status::Staging => deployment.ran_before(),
        // What ran is not recorded yet; something did if a deployment of it was ever committed.
        _ => {
            let committed = run.journal.committed(&deployment.request.service, 1).await;
            committed.is_ok_and(|committed| !committed.is_empty())
        }
    };
    if !ran {
        return None;
    }
    let runs = what_runs(run).await;
    let is_well = deployment
        .old
        .iter()
        .all(|old| !old.condition.ran() || runs.ids.contains(&old.container));
    if is_well && !runs.ids.is_empty() {
        return None;
    }
    Some(format!(
        "the service does not run as before, which is not this deployment's doing; what runs now: {runs}"
    ))
}
