//! The end of a deployment that failed before the switch.
//!
//! One exception is rolled back: Compose takes the staged container for one of the service. What somebody types meanwhile
//! may remove or stop the old one, and leave the service down or in the new one, which nobody has verified.

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Event, Failure, Status};

use super::context::Run;
use super::observe::what_runs;
use super::rest::Rest;
use super::roll_back::roll_back;
use crate::docker::Container;
use crate::labels;

/// Removes what was created, and says why; and what runs, should the service be down for another reason.
pub(super) async fn give_up(run: &mut Run, cause: Cause) -> Option<Rest> {
    if is_down_because_of_us(run).await
        && run.forward(Step::Stage, Event::SwitchStarted).await.is_ok()
    {
        let failure = Failure {
            cause,
            log: Vec::new(),
        };
        return roll_back(run, failure, None).await;
    }
    let mut rest = None;
    if run.deployment().status() == Status::Staging
        && let Err(left) = run.driver.discard(&run.deployment().id).await
    {
        let what = format!(
            "the new container could not be removed yet: {}",
            left.detail
        );
        run.record.warn(what).await;
        rest = Some(Rest::Discard);
    }
    let event = match cause.code {
        Code::Cancelled => Event::Cancelled { why: cause.detail },
        _ => {
            let detail = match who_is_down(run).await {
                Some(down) => format!("{}; {down}", cause.detail),
                None => cause.detail,
            };
            Event::Failed(Failure {
                cause: Cause { detail, ..cause },
                log: Vec::new(),
            })
        }
    };
    run.record.anyway(event).await;
    rest
}

/// Whether the service does not run in what ran because of what this deployment created: somebody's `docker compose up`
/// removed that and could not start what it had made for it, or somebody's `restart` started the staged container, which
/// took the port.
async fn is_down_because_of_us(run: &Run) -> bool {
    let deployment = run.deployment();
    let Some(old) = deployment.old.first() else {
        return false;
    };
    if deployment.status() != Status::Staging || !deployment.ran_before() {
        return false;
    }
    let Ok(present) = run.driver.present(&old.project, &old.service).await else {
        return false;
    };
    let creator = |one: &Container| one.labels.get(labels::DEPLOYMENT).cloned();
    let is_staged = |one: &Container| creator(one).as_deref() == Some(deployment.id.as_str());
    let runs = |one: &Container| one.state.running && !is_staged(one);
    if present.current.iter().any(runs) {
        return false;
    }
    let was_started = |one: &Container| is_staged(one) && one.state.started_at.is_some();
    if present.current.iter().any(was_started) {
        return true;
    }
    let is_half_made = present.leftovers.iter().any(|one| creator(one).is_none());
    is_half_made && what_runs(run).await.ids.is_empty()
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
