//! What a restarted daemon does with what a dead one left, before it takes new work.
//!
//! The journal says how far each deployment had come and `core::recovery` decides; Docker is looked at
//! afresh, because the journal cannot know which of the last effects took place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Deployment, Event, Failure, Status};
use cutover_core::names::ServiceName;
use cutover_core::recovery::{RECOVERIES_MAX, Recovery, recover};
use tokio::task::JoinSet;

use super::record::now;
use super::roll_back::{self, ask_operator};
use super::roll_forward::{Known, roll_forward};
use super::run::Run;
use super::{Deployer, Readiness};
use crate::docker::Docker;
use crate::settings;

/// Between two looks whether Docker is back.
const DOCKER_PAUSE: Duration = Duration::from_secs(1);

/// Finishes, puts back or takes up again every unfinished deployment; then the daemon is ready.
///
/// Services do not wait for each other: one whose container does not become healthy takes its time. A daemon
/// that is told to stop meanwhile ends what it is at, and leaves the rest to the next start.
pub(super) async fn recover_all(deployer: &Deployer) {
    let Some(unfinished) = what_is_unfinished(deployer).await else {
        return;
    };
    let mut by_service: BTreeMap<ServiceName, Vec<Deployment>> = BTreeMap::new();
    for deployment in unfinished {
        let service = deployment.request.service.clone();
        by_service.entry(service).or_default().push(deployment);
    }
    let mut services = JoinSet::new();
    for deployments in by_service.into_values() {
        services.spawn(recover_service(deployer.clone(), deployments));
    }
    let again = services.join_all().await;
    deployer
        .accept_work(again.into_iter().flatten().collect())
        .await;
}

/// Returns those of one service that are to be run from their beginning, in their order.
async fn recover_service(deployer: Deployer, unfinished: Vec<Deployment>) -> Vec<Deployment> {
    let mut again = Vec::new();
    for deployment in unfinished {
        if deployer.is_stopping() {
            break;
        }
        again.extend(recover_one(&deployer, deployment).await);
    }
    again
}

/// What the journal has, once Docker and the journal answer; nothing if the daemon is told to stop first.
async fn what_is_unfinished(deployer: &Deployer) -> Option<Vec<Deployment>> {
    let docker: &Docker = deployer.driver().docker();
    let mut known = String::new();
    loop {
        let asked = async {
            docker.ping().await.map_err(|error| error.to_string())?;
            let unfinished = deployer.journal().unfinished().await;
            unfinished.map_err(|error| error.to_string())
        };
        let why = match asked.await {
            Ok(unfinished) => return Some(unfinished),
            Err(why) => why,
        };
        // Once for each reason, not once a second.
        if why != known {
            tracing::error!(%why, "deployments cannot be taken yet; trying again every second");
            known.clone_from(&why);
        }
        deployer.set_readiness(Readiness::NotReady { why });
        if !deployer.rest(DOCKER_PAUSE).await {
            return None;
        }
    }
}

/// How often the removal of a container that was never started is tried.
const DISCARD_ATTEMPTS: u32 = 10;

/// Returns a deployment that is to be run from its beginning.
async fn recover_one(deployer: &Deployer, deployment: Deployment) -> Option<Deployment> {
    let id = deployment.id.clone();
    let name = &deployment.request.service;
    let configured = deployer.configured(name);
    let is_configured = configured.is_some();
    // What was begun is put right all the same: that takes the containers, and no Compose file.
    let service =
        configured.unwrap_or_else(|| Arc::new(settings::Service::new(name.clone(), Vec::new())));
    let decision = recover(&deployment, now(), service.progress_deadline)?;
    tracing::warn!(
        deployment.id = %id, service.name = %name,
        status = deployment.status().as_str(), ?decision, is_configured, "recovering"
    );
    let mut run = deployer.run_of(deployment.clone(), service);
    run.record.anyway(Event::RecoveryStarted).await;
    match decision {
        Recovery::RunAgain if is_configured => {
            // Its events go on from here.
            deployer.record_all(&mut run).await;
            return Some(run.record.deployment().clone());
        }
        Recovery::RunAgain => {
            let detail = "the service is not configured any more, and nothing was changed";
            fail(&mut run, Code::Interrupted, Step::Recover, detail).await;
        }
        Recovery::GiveUp => {
            let detail = "cutover was restarted before anything was changed, and the deployment's time was over by then or it had been begun too often";
            fail(&mut run, Code::DeadlineExceeded, Step::Pull, detail).await;
        }
        Recovery::Discard => discard(&mut run).await,
        Recovery::RollBack => roll_back(&mut run).await,
        Recovery::RollForward => roll_forward(&mut run, Known::Nothing).await,
        Recovery::AskOperator => give_up(&mut run, &deployment).await,
    }
    deployer.finish(&mut run).await;
    None
}

/// Taken up too often: somebody has to look, and one of the two containers runs meanwhile.
async fn give_up(run: &mut Run, found: &Deployment) {
    let cause = interrupted("cutover died several times while it finished this deployment");
    if matches!(found.status(), Status::Switching | Status::Verifying) {
        let failure = Failure {
            cause: cause.clone(),
            log: Vec::new(),
        };
        run.record.anyway(Event::RollbackStarted(failure)).await;
    }
    // Once: it may be what cutover dies of.
    if found.recoveries == RECOVERIES_MAX {
        let old = found.previous.as_ref().filter(|old| old.condition.ran());
        let old = old.map(|old| old.container.as_str());
        let new = found.staged.as_ref().map(|new| new.container.as_str());
        let committed = new.filter(|_| found.status() == Status::Committed);
        let both: Vec<&str> = old.into_iter().chain(new).collect();
        let startable: Vec<&str> = old.into_iter().chain(committed).collect();
        run.driver.ensure_one_runs(&both, &startable).await;
    }
    ask_operator(run, cause).await;
}

/// A container may have been created; it was never started.
async fn discard(run: &mut Run) {
    let id = run.record.deployment().id.clone();
    let mut detail =
        "cutover was restarted before the switch; the new container, never started, was removed"
            .to_owned();
    let mut attempt = 1;
    while let Err(cause) = run.driver.discard(&id).await {
        if attempt == DISCARD_ATTEMPTS {
            // The next deployment of the service clears it away; the other services must not wait for it.
            detail = format!(
                "cutover was restarted before the switch; the new container, never started, is left over: {}",
                cause.detail
            );
            break;
        }
        tracing::warn!(deployment.id = %id, cause = cause.detail, "the staged container could not be removed yet");
        tokio::time::sleep(DOCKER_PAUSE).await;
        attempt += 1;
    }
    fail(run, Code::Interrupted, Step::Recover, &detail).await;
}

async fn roll_back(run: &mut Run) {
    // A rollback that was under way keeps its cause.
    let failure = run.record.deployment().failure.clone();
    let failure = failure.unwrap_or_else(|| Failure {
        cause: interrupted("cutover was restarted during the switch"),
        log: Vec::new(),
    });
    roll_back::roll_back(run, failure, None).await;
}

async fn fail(run: &mut Run, code: Code, step: Step, detail: &str) {
    let failure = Failure {
        cause: Cause::new(code, step, detail),
        log: Vec::new(),
    };
    run.record.anyway(Event::Failed(failure)).await;
}

fn interrupted(detail: impl Into<String>) -> Cause {
    Cause::new(Code::Interrupted, Step::Recover, detail)
}
