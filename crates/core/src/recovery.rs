//! What a restarted daemon does with a deployment that it finds unfinished.
//!
//! The journal says how far the deployment had come; what Docker holds is looked at afresh by whoever
//! carries the decision out. Recovering twice is the same as recovering once.

use std::time::Duration;

use crate::deployment::{Deployment, Status, UnixMillis};

/// How often one deployment is taken up again before an operator is asked: something kills the daemon
/// every time, and going round for ever would hide it.
pub const RECOVERIES_MAX: u32 = 5;

/// What to do with an unfinished deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing was begun, or only a pull: run it from the beginning.
    RunAgain,
    /// Its deadline passed before anything was changed: it failed.
    GiveUp,
    /// A container may have been created: remove it; the deployment failed with nothing changed.
    Discard,
    /// The switch had begun: put the previous release back.
    RollBack,
    /// It was committed: finish the clean-up.
    RollForward,
    /// It was taken up too often: leave what runs running and ask an operator.
    AskOperator,
}

/// Decides about one unfinished deployment; `None` if it has ended.
#[must_use]
pub fn recover(
    deployment: &Deployment,
    now: UnixMillis,
    progress_deadline: Duration,
) -> Option<Recovery> {
    let status = deployment.status();
    if status.is_end() {
        return None;
    }
    let too_often = deployment.recoveries >= RECOVERIES_MAX;
    Some(match status {
        Status::Queued | Status::Pulling if too_often => Recovery::GiveUp,
        Status::Queued => Recovery::RunAgain,
        Status::Pulling => {
            let began = deployment.pull_started_at.unwrap_or(deployment.started_at);
            if u128::from(now.since(began)) < progress_deadline.as_millis() {
                Recovery::RunAgain
            } else {
                Recovery::GiveUp
            }
        }
        Status::Staging => Recovery::Discard,
        Status::Switching | Status::Verifying | Status::RollingBack | Status::Committed
            if too_often =>
        {
            Recovery::AskOperator
        }
        Status::Switching | Status::Verifying | Status::RollingBack => Recovery::RollBack,
        Status::Committed => Recovery::RollForward,
        Status::Succeeded
        | Status::Unchanged
        | Status::Failed
        | Status::RolledBack
        | Status::RollbackFailed
        | Status::Cancelled => return None,
    })
}
