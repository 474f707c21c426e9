//! The exit codes of every command: a contract, because scripts and CI branch on them.
//!
//! `cutover status` and the other reading commands end with 0 whenever they could read, whatever they
//! read; only the commands that wait for a deployment turn its outcome into a code.

use std::process::ExitCode;

use cutover_api::deployment::{Deployment, Outcome};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: the deployment succeeded or changed nothing because the release already ran; or what was
    /// asked for is printed.
    Done,
    /// 1: it failed and nothing was changed; also a request that was refused.
    Failed,
    /// 2: wrong usage or configuration, or a machine without what the daemon needs; nothing was sent. The
    /// argument parser ends with it as well.
    Usage,
    /// 3: the new release failed and the previous one runs again.
    RolledBack,
    /// 4: rolling back failed too, and an operator is needed; or a first deployment failed, and nothing runs.
    NeedsOperator,
    /// 5: the daemon was not reachable, or its answer was lost; the deployment may go on there.
    Unreachable,
    /// 130: ended by Ctrl-C or a termination signal, as shells count it; the deployment goes on.
    Interrupted,
}

impl Exit {
    /// The code as the shell sees it.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::RolledBack => 3,
            Self::NeedsOperator => 4,
            Self::Unreachable => 5,
            Self::Interrupted => 130,
        }
    }

    /// The code for a deployment that was waited for. One without an outcome was lost from sight.
    pub(crate) fn of(deployment: &Deployment) -> Self {
        match deployment.outcome {
            Some(Outcome::Succeeded | Outcome::Unchanged) => Self::Done,
            Some(Outcome::Failed | Outcome::Cancelled) => Self::Failed,
            Some(Outcome::RolledBack) => Self::RolledBack,
            Some(Outcome::RollbackFailed) => Self::NeedsOperator,
            None => Self::Unreachable,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
