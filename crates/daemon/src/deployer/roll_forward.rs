//! Going forward after the commit point: there is no way back, so every step is tried until it is done.
//!
//! The previous container is what is left if the new one fails after all, so it goes last: when the new one is
//! seen to run, and has proven itself anew if it did not run all along.

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::Event;
use cutover_core::switch::{Goal, Order};

use super::context::Run;
use super::dependents::restart_dependents;
use super::ended::Committed;
use super::jobs::{run_jobs_after, settle_jobs};
use super::journey::{Doubt, Journey};
use super::reach::{Budget, Reached, Rounds, reach};
use super::rest::Rest;
use super::roll_back::ask_operator;
use super::tag_line::{remember_tag, take_tag_back};
use crate::docker::Container;
use crate::driver::project::{ReleaseModel, ServiceModel};

/// What is known of the new container when going forward begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known<'a> {
    /// It was proven a moment ago.
    Proven(&'a Committed),
    /// The daemon was restarted since.
    Nothing,
}

/// After the commit point: finish. Returns what is left to try.
pub(super) async fn roll_forward(run: &mut Run, known: Known<'_>) -> Option<Rest> {
    let mut journey = match known {
        Known::Proven(committed) => {
            serve_beside(run, &committed.model).await;
            let model = Some(committed.model.clone());
            let mut journey = Journey::new(Goal::New, Doubt::None, model);
            for (container, born) in &committed.lives {
                journey.proved(container, *born);
            }
            journey
        }
        Known::Nothing => Journey::new(Goal::New, Doubt::Stopping, read_again(run).await),
    };
    // What a stopping daemon leaves, the next start goes on with.
    let budget = Budget {
        rounds: Rounds::UntilAnswer,
        called_off: run.stopping.clone(),
    };
    let model = journey.model.clone();
    let reached = match reach(run, &mut journey, &budget).await {
        Reached::Goal => {
            remember(run, model.as_ref()).await;
            // Somebody may have removed the container meanwhile: what is recorded next was true a moment ago.
            reach(run, &mut journey, &budget).await
        }
        other => other,
    };
    let rest = match reached {
        Reached::Goal => {
            if let Some(model) = &model {
                let new = run.deployment().new.iter();
                let switched = new.map(|new| new.service.clone()).collect();
                restart_dependents(run, model, &switched).await;
                run_jobs_after(run, model).await;
            }
            None
        }
        Reached::CalledOff => return None,
        Reached::Rests(cause) => {
            ask_operator(run, cause, None).await;
            return None;
        }
        Reached::NotYet(cause) if !new_runs(run, &journey).await => {
            return fall_back(run, journey, cause).await;
        }
        Reached::NotYet(cause) => {
            let what = format!("not all was cleaned up yet: {}", cause.detail);
            run.record.warn(what).await;
            remember(run, model.as_ref()).await;
            Some(Rest::Way(Box::new(journey)))
        }
    };
    run.record.anyway(Event::Succeeded).await;
    rest
}

/// Start-first, the old containers serve for `delay` longer: a proxy may notice the new ones late.
async fn serve_beside(run: &Run, model: &ReleaseModel) {
    let ran = |service: &ServiceModel| {
        let mut old = run.deployment().old.iter();
        old.any(|old| old.service == service.compose_service && old.condition.ran())
    };
    let services = model.services().iter();
    let beside = services.filter(|one| one.order() == Order::StartFirst && ran(one));
    let delay = beside.map(|one| one.rollout.delay).max();
    tokio::select! {
        () = tokio::time::sleep(delay.unwrap_or_default()) => {}
        () = run.stopping.cancelled() => {}
    }
}

/// Whether every new container runs and is proven.
async fn new_runs(run: &Run, journey: &Journey) -> bool {
    let Ok(look) = run.driver.look(run.deployment()).await else {
        return false;
    };
    let runs = |container: &Container| container.state.running && journey.is_proven(container);
    let mut new = look.new.iter();
    new.all(|found| found.container.as_ref().is_some_and(runs))
        && !look.old.iter().any(|found| {
            let container = found.container.as_ref();
            container.is_some_and(|old| old.state.running)
        })
}

/// The committed container does not run any more and cannot be started: what ran before comes back.
async fn fall_back(run: &mut Run, journey: Journey, cause: Cause) -> Option<Rest> {
    let detail = format!(
        "the committed container does not run any more: {}",
        cause.detail
    );
    let cause = Cause::new(Code::SwitchFailed, Step::CleanUp, detail);
    let goal = match run.deployment().ran_before() {
        true => Goal::Old,
        false => Goal::New,
    };
    let mut journey = journey.turned(goal);
    let reached = reach(run, &mut journey, &Budget::answer()).await;
    if goal == Goal::Old && matches!(reached, Reached::Goal | Reached::NotYet(_)) {
        take_tag_back(run).await;
    }
    let rest = match reached {
        Reached::Goal | Reached::Rests(_) | Reached::CalledOff => None,
        Reached::NotYet(_) => Some(Rest::Way(Box::new(journey))),
    };
    ask_operator(run, cause, rest.as_ref()).await;
    rest
}

/// The release as Compose renders it, after a restart of the daemon.
async fn read_again(run: &mut Run) -> Option<ReleaseModel> {
    if run.service.compose_files.is_empty() {
        // It is not configured any more.
        return None;
    }
    let tag = run.deployment().request.tag.clone();
    match run.driver.read(&run.service, &tag).await {
        Ok(model) => Some(model),
        Err(cause) => {
            let what = format!("the tag was not written to the env file: {}", cause.detail);
            run.record.warn(what).await;
            None
        }
    }
}

/// What a `docker compose up` by hand finds from now on: the tag, and none of what earlier deployments left.
async fn remember(run: &mut Run, model: Option<&ReleaseModel>) {
    let Some(model) = model else { return };
    remember_tag(run, model).await;
    settle_jobs(run).await;
    if let Err(what) = clear_parked(run, model).await {
        run.record.warn(what).await;
    }
}

/// Removes what a failed rollback had put aside, and what an earlier `--scale` left: now something newer is proven, and
/// `docker compose` by hand would take it for a second container of the service.
async fn clear_parked(run: &Run, model: &ReleaseModel) -> Result<(), String> {
    let mut beside: Vec<Container> = Vec::new();
    for service in model.all() {
        let present = run
            .driver
            .present(&service.project, &service.compose_service)
            .await;
        beside.extend(
            present
                .map_err(|error| error.to_string())?
                .hidden()
                .cloned(),
        );
    }
    let cleared = run.driver.clear(&beside).await;
    cleared.map_err(|cause| {
        format!(
            "a container beside the one that runs could not be removed: {}",
            cause.detail
        )
    })
}
