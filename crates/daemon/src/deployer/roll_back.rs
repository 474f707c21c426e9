//! Going back: the previous containers are put back as they were found, and proven.
//!
//! A record that cannot be written does not stop it, and a rollback is never rolled back. When the first tries
//! fail, the answer is given, an operator is told, and the trying goes on.

use std::collections::BTreeSet;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Condition, Event, Failure, Proof, Replica, Status};
use cutover_core::switch::Goal;

use super::context::Run;
use super::dependents::restart_dependents;
use super::holding;
use super::journey::{Doubt, Journey};
use super::observe::what_runs;
use super::reach::{Budget, Reached, reach};
use super::rest::Rest;
use super::tag_line::take_tag_back;
use super::way_back::give_references_back;
use crate::driver::project::ReleaseModel;

/// Puts the previous containers back. Returns what is left to try.
///
/// `model` is the release as Compose renders it, if that is known; `doubt` says which containers that run may be about
/// to stop.
pub(super) async fn roll_back(
    run: &mut Run,
    failure: Failure,
    model: Option<&ReleaseModel>,
    doubt: Doubt,
) -> Option<Rest> {
    let why = failure.cause.detail.clone();
    if run.deployment().status() != Status::RollingBack {
        run.record.anyway(Event::RollbackStarted(failure)).await;
    }
    // A previous container that must be created again is created as the project was.
    take_tag_back(run).await;
    let mut journey = Journey::new(Goal::Old, doubt, model.cloned());
    holding::begin_again(run).await;
    let reached = reach(run, &mut journey, &Budget::answer()).await;
    holding::release(run, &[]).await;
    let (cause, rest) = match reached {
        Reached::Goal => {
            end_rolled_back(run, &journey, &why).await;
            return None;
        }
        Reached::NotYet(cause) => (cause, Some(Rest::Way(Box::new(journey)))),
        Reached::Rests(cause) => (cause, None),
        Reached::CalledOff => return None,
    };
    let detail = format!(
        "{}; before that the new release had failed: {why}",
        cause.detail
    );
    ask_operator(run, Cause { detail, ..cause }, rest.as_ref()).await;
    rest
}

/// The previous release is in its place again.
pub(super) async fn end_rolled_back(run: &mut Run, journey: &Journey, why: &str) {
    take_tag_back(run).await;
    let deployment = run.deployment().clone();
    if deployment.old.is_empty() {
        if deployment.status() == Status::RollbackFailed {
            return;
        }
        let detail = format!(
            "{why}; this was the first deployment of the service, so there is nothing to go back to; the new container was removed"
        );
        let cause = Cause::new(Code::NoRollbackTarget, Step::RollBack, detail);
        let runs = "no container of the service".to_owned();
        run.record
            .anyway(Event::RollbackFailed { cause, runs })
            .await;
        return;
    }
    give_references_back(run).await;
    restart_with_what_is_back(run, journey).await;
    let mut proof = journey.proof;
    if journey.outage_ms.is_none() {
        run.record_restored(0).await;
        // Others answered meanwhile.
        proof = proof.map(|proof| Proof {
            answered_after_ms: 0,
            ..proof
        });
    }
    // The last run of a job has ended, as it should.
    let is_job = |old: &&Replica| deployment.jobs.iter().any(|job| job.service == old.service);
    let worst = deployment
        .old
        .iter()
        .filter(|old| !is_job(old))
        .map(|old| old.condition)
        .find(|condition| !condition.is_good());
    let condition = Some(worst.unwrap_or(Condition::Healthy));
    let proof = proof.filter(|_| worst.is_none());
    run.record
        .anyway(Event::RolledBack { condition, proof })
        .await;
}

/// What is to be restarted with a service whose previous container was started again. After a restart of the daemon, Compose
/// is asked once more; where it does not answer, that is told.
async fn restart_with_what_is_back(run: &mut Run, journey: &Journey) {
    let old = run.deployment().old.iter();
    let back = old.filter(|old| journey.has_started(&old.container));
    let back: BTreeSet<String> = back.map(|old| old.service.clone()).collect();
    if back.is_empty() || run.service.compose_files.is_empty() {
        return;
    }
    let model = match &journey.model {
        Some(model) => Ok(model.clone()),
        None => {
            let tag = run.deployment().request.tag.clone();
            run.driver.read(&run.service, &tag).await
        }
    };
    match model {
        Ok(model) => restart_dependents(run, &model, &back).await,
        Err(cause) => {
            let what = format!(
                "it is not known what is to be restarted with the service: {}",
                cause.detail
            );
            run.record.warn(what).await;
        }
    }
}

/// The first tries failed: say what runs, and whether the trying goes on.
pub(super) async fn ask_operator(run: &mut Run, cause: Cause, rest: Option<&Rest>) {
    let runs = what_runs(run).await.to_string();
    let detail = match rest {
        Some(_) => format!("{}; cutover goes on trying", cause.detail),
        None => cause.detail,
    };
    // Whatever it was that failed, the request need not be sent again: somebody has to look.
    let code = if run.deployment().old.is_empty() && run.deployment().status() != Status::Committed
    {
        Code::NoRollbackTarget
    } else {
        Code::RollbackFailed
    };
    let cause = Cause {
        code,
        detail,
        ..cause
    };
    // The journal marks the service in the same transaction.
    run.record
        .anyway(Event::RollbackFailed { cause, runs })
        .await;
}
