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
use cutover_core::recovery::{Recovery, Reruns, recover};
use cutover_core::switch::Goal;
use tokio::task::JoinSet;

use super::context::Run;
use super::give_up::give_up;
use super::holding;
use super::journey::{Doubt, Journey};
use super::kept::forget_if_over;
use super::record::now;
use super::rest::Rest;
use super::roll_back::{self, ask_operator};
use super::roll_forward::{Known, roll_forward};
use super::tag_line::take_tag_back;
use super::{Deployer, Readiness};
use crate::docker::Docker;
use crate::settings::{self, JobReruns};

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
    if let Err(error) = deployer.forget_what_is_over().await {
        tracing::warn!(%error, "recorded configurations that nothing needs any more were not looked for");
    }
    deployer.resume_trying().await;
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

impl Deployer {
    /// The service as configured; what was begun for one that is not configured any more is put right all the
    /// same: that takes its containers, and no Compose file.
    pub(super) fn configured_or_bare(&self, name: &ServiceName) -> Arc<settings::Service> {
        let bare = || Arc::new(settings::Service::new(name.clone(), Vec::new()));
        self.configured(name).unwrap_or_else(bare)
    }
}

/// Returns a deployment that is to be run from its beginning.
async fn recover_one(deployer: &Deployer, deployment: Deployment) -> Option<Deployment> {
    let id = deployment.id.clone();
    let name = &deployment.request.service;
    let is_configured = deployer.configured(name).is_some();
    let service = deployer.configured_or_bare(name);
    let reruns = match service.job_reruns {
        JobReruns::Safe => Reruns::Allowed,
        JobReruns::Never => Reruns::Forbidden,
    };
    let decision = recover(&deployment, now(), service.progress_deadline, reruns)?;
    tracing::warn!(
        deployment.id = %id, service.name = %name,
        status = deployment.status().as_str(), ?decision, is_configured, "recovering"
    );
    let mut run = deployer.run_of(deployment.clone(), service);
    run.record.anyway(Event::RecoveryStarted).await;
    let rest = match decision {
        Recovery::DiscardAndRunAgain if is_configured => {
            if let Err(left) = run.driver.discard(&id).await {
                // What is left would be in the way of the next container.
                let cause = interrupted(format!("cutover was restarted: {}", left.detail));
                give_up(&mut run, cause, Vec::new()).await
            } else {
                take_tag_back(&mut run).await;
                deployer.record_all(&mut run).await;
                return Some(run.deployment().clone());
            }
        }
        Recovery::RunAgain if is_configured => {
            // Its events go on from here.
            deployer.record_all(&mut run).await;
            return Some(run.deployment().clone());
        }
        Recovery::RunAgain => {
            let detail = "the service is not configured any more, and nothing was changed";
            fail(&mut run, Code::Interrupted, Step::Recover, detail).await;
            None
        }
        Recovery::GiveUp => {
            let detail = "cutover was restarted before anything was changed, and the deployment's time was over by then or it had been begun too often";
            fail(&mut run, Code::DeadlineExceeded, Step::Pull, detail).await;
            None
        }
        Recovery::Discard | Recovery::DiscardAndRunAgain => {
            give_up(
                &mut run,
                interrupted("cutover was restarted before the switch"),
                Vec::new(),
            )
            .await
        }
        Recovery::RollBack => roll_back(&mut run).await,
        Recovery::RollForward => roll_forward(&mut run, Known::Nothing).await,
        Recovery::AskOperator => Some(ask_first(&mut run, &deployment).await),
    };
    deployer.finish(&mut run).await;
    holding::end(&mut run).await;
    match rest {
        Some(rest) => deployer.keep_trying(run, rest),
        None => forget_if_over(&run).await,
    }
    None
}

/// Taken up too often: an operator is told before anything else, and then it is gone on with.
async fn ask_first(run: &mut Run, found: &Deployment) -> Rest {
    let cause = interrupted("cutover died several times while it finished this deployment");
    if matches!(found.status(), Status::Switching | Status::Verifying) {
        let failure = Failure {
            cause: cause.clone(),
            log: Vec::new(),
        };
        run.record.anyway(Event::RollbackStarted(failure)).await;
    }
    let goal = match found.status() {
        Status::Committed => Goal::New,
        _ => Goal::Old,
    };
    let rest = Rest::Way(Box::new(Journey::new(goal, Doubt::Stopping, None)));
    ask_operator(run, cause, Some(&rest)).await;
    rest
}

async fn roll_back(run: &mut Run) -> Option<Rest> {
    // A rollback that was under way keeps its cause.
    let failure = run.record.deployment().failure.clone();
    let failure = failure.unwrap_or_else(|| Failure {
        cause: interrupted("cutover was restarted during the switch"),
        log: Vec::new(),
    });
    roll_back::roll_back(run, failure, None, Doubt::Stopping).await
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
