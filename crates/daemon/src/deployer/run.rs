//! The story of a deployment.
//!
//! Each step is recorded before it is taken. What fails before the switch leaves everything as it was;
//! what fails after it is rolled back. After the commit there is no way back, only forward.

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Event, Failure};

use super::bring_in::{leave_alone, read, stage};
use super::context::Run;
use super::ended::Ended;
use super::give_up::give_up;
use super::jobs::run_jobs;
use super::journey::Doubt;
use super::pull::pull;
use super::rest::Rest;
use super::roll_back::roll_back;
use super::roll_forward::{Known, roll_forward};
use super::trial::{commit, switch, verify};

/// Deploys: read, pull, stage, run the jobs, switch, verify, commit; or rolls back. Returns what is still to be tried when
/// the deployment has its end.
pub(super) async fn run_deployment(run: &mut Run) -> Option<Rest> {
    let deployed = async {
        let release = read(run).await?;
        let (release, images) = pull(run, release).await?;
        let release = leave_alone(run, release, &images).await?;
        let staged = stage(run, release, &images).await?;
        let staged = run_jobs(run, staged).await?;
        let trial = switch(run, staged).await?;
        let trial = verify(run, trial).await?;
        commit(run, trial).await
    };
    match deployed.await {
        Ok(committed) => roll_forward(run, Known::Proven(&committed)).await,
        Err(Ended::Unchanged) => None,
        Err(Ended::NothingChanged {
            cause,
            staging,
            log,
        }) => {
            if let Some(staging) = staging {
                staging.abandon().await;
            }
            give_up(run, cause, log).await
        }
        Err(Ended::TrialFailed { cause, mut trial }) => {
            let log = trial.last_words(&cause).await;
            let model = trial.model().clone();
            let failure = Failure { cause, log };
            let doubt = Doubt::Only(trial.told_to_stop.clone());
            let back = roll_back(run, failure, Some(&model), doubt);
            let (rest, ()) = tokio::join!(back, trial.abandon());
            rest
        }
    }
}

/// A deployment that waited for its turn when the daemon was stopped.
pub(super) fn given_up_while_waiting() -> Event {
    let detail = "cutover was stopped while this deployment waited for its turn";
    Event::Failed(Failure {
        cause: Cause::new(Code::ShuttingDown, Step::Prepare, detail),
        log: Vec::new(),
    })
}
