//! The end of a deployment that failed before the switch.
//!
//! One exception is rolled back: a `docker compose up` that somebody typed meanwhile took the staged container for one
//! of the service, removed the old one and then failed because of it. Nothing of the service would run.

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
    if was_cut_short_by_us(run).await
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
            "the new container, never started, could not be removed yet: {}",
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

/// Whether somebody's `docker compose up` removed what ran and could not start what it had created for it.
async fn was_cut_short_by_us(run: &Run) -> bool {
    let deployment = run.deployment();
    let Some(old) = deployment.old.first() else {
        return false;
    };
    if deployment.status() != Status::Staging || !deployment.ran_before() {
        return false;
    }
    let present = run.driver.present(&old.project, &old.service).await;
    let half_made = present.is_ok_and(|present| {
        let runs = present.current.iter().any(|one| one.state.running);
        let by_hand = |one: &Container| !one.labels.contains_key(labels::DEPLOYMENT);
        !runs && present.leftovers.iter().any(by_hand)
    });
    half_made && what_runs(run).await.ids.is_empty()
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
