//! The end of a deployment that failed before the switch.

use cutover_core::cause::{Cause, Code};
use cutover_core::deployment::{Event, Failure, Status};

use super::context::Run;
use super::observe::what_runs;
use super::rest::Rest;

/// Removes what was created, and says why; and what runs, should the service be down for another reason.
pub(super) async fn give_up(run: &mut Run, cause: Cause) -> Option<Rest> {
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
