//! What a restarted daemon does with what a dead one left, before it takes new work.
//!
//! The journal says how far each deployment had come and `core::recovery` decides; Docker is looked at
//! afresh, because the journal cannot know which of the last effects took place.

use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Deployment, Event, Failure, Staged, Status};
use cutover_core::recovery::{Recovery, recover};

use super::observe::checks_of;
use super::record::now;
use super::roll_back::{self, ask_operator};
use super::roll_forward;
use super::run::Run;
use super::{Deployer, Readiness};
use crate::docker::Docker;
use crate::probe::verify;

/// Between two looks whether Docker is back.
const DOCKER_PAUSE: Duration = Duration::from_secs(1);

/// Finishes, puts back or takes up again every unfinished deployment; then the daemon is ready.
///
/// A daemon that is told to stop meanwhile ends the one that it is at, and leaves the rest to the next start.
pub(super) async fn recover_all(deployer: &Deployer) {
    let Some(unfinished) = what_is_unfinished(deployer).await else {
        return;
    };
    let mut again = Vec::new();
    for deployment in unfinished {
        if deployer.is_stopping() {
            return;
        }
        if let Some(later) = recover_one(deployer, deployment).await {
            again.push(later);
        }
    }
    deployer.accept_work(again).await;
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
    let Some(service) = deployer.configured(&deployment.request.service) else {
        tracing::error!(
            deployment.id = %id, service.name = %deployment.request.service,
            "an unfinished deployment belongs to a service that is not configured any more; its containers were left alone"
        );
        return None;
    };
    let decision = recover(&deployment, now(), service.progress_deadline)?;
    tracing::warn!(
        deployment.id = %id, service.name = %deployment.request.service,
        status = deployment.status().as_str(), ?decision, "recovering"
    );
    let mut run = deployer.run_of(deployment.clone(), service);
    run.record.anyway(Event::RecoveryStarted).await;
    match decision {
        Recovery::RunAgain => return Some(run.record.deployment().clone()),
        Recovery::GiveUp => {
            let detail = "cutover was restarted before anything was changed, and the deployment's time was over by then or it had been begun too often";
            fail(&mut run, Code::DeadlineExceeded, Step::Pull, detail).await;
        }
        Recovery::Discard => discard(&mut run).await,
        Recovery::RollBack => roll_back(&mut run).await,
        Recovery::RollForward => roll_forward(&mut run).await,
        Recovery::AskOperator => {
            let cause = interrupted("cutover died several times while it finished this deployment");
            if matches!(
                run.record.deployment().status(),
                Status::Switching | Status::Verifying
            ) {
                let failure = Failure {
                    cause: cause.clone(),
                    log: Vec::new(),
                };
                run.record.anyway(Event::RollbackStarted(failure)).await;
            }
            ask_operator(&mut run, cause).await;
        }
    }
    deployer.remember_end(run.record.deployment());
    None
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

/// Committed: the new container must run, whatever the machine started at boot.
async fn roll_forward(run: &mut Run) {
    let deployment = run.record.deployment().clone();
    let Some(staged) = &deployment.staged else {
        return;
    };
    let driver = run.driver.clone();
    let mut attempt = 1;
    while let Err(why) = start_committed(run, &deployment, staged).await {
        if attempt == roll_forward::START_ATTEMPTS {
            return ask_operator(run, interrupted(why)).await;
        }
        let what = format!("attempt {attempt} to start the committed container failed: {why}");
        run.record.warn(what).await;
        tokio::time::sleep(DOCKER_PAUSE * attempt).await;
        attempt += 1;
    }
    match driver.read(&run.service, &deployment.request.tag).await {
        Ok(model) => roll_forward::roll_forward(run, Some(&model)).await,
        Err(cause) => {
            run.record
                .warn(format!(
                    "the tag was not written to the env file: {}",
                    cause.detail
                ))
                .await;
            roll_forward::roll_forward(run, None).await;
        }
    }
}

/// Starts the committed container in place of the previous one, and proves that it runs.
async fn start_committed(
    run: &Run,
    deployment: &Deployment,
    staged: &Staged,
) -> Result<(), String> {
    let docker = run.driver.docker();
    let previous = deployment.previous.as_ref();
    let committed = staged.container.as_str();
    let events = docker
        .watch_container(committed)
        .await
        .map_err(|error| error.to_string())?;
    let runs = run.driver.ensure_committed_runs(previous, staged).await;
    runs.map_err(|cause| {
        format!(
            "the committed container could not be started: {}",
            cause.detail
        )
    })?;
    let verified = match checks_of(run, committed).await {
        Ok(Some(checks)) => verify::verify(docker, events, committed, &checks.for_rollback())
            .await
            .map_err(|failure| failure.to_string()),
        Ok(None) => Err("it is gone".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    verified
        .map_err(|why| format!("the committed container was not healthy after a restart: {why}"))
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
