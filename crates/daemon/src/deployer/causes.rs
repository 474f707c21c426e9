//! Failures of a step, in the words of a cause.

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::mask::Mask;

use crate::journal::JournalError;
use crate::probe::verify::VerifyFailure;
use crate::settings::Output;

pub(super) fn masked(cause: Cause, mask: &Mask) -> Cause {
    Cause {
        detail: mask.apply(&cause.detail),
        ..cause
    }
}

/// Why a container was not proven. What its checks printed is not told where nothing of its output is.
pub(super) fn verify_cause(step: Step, failure: &VerifyFailure, output: Output) -> Cause {
    let code = match failure {
        _ if step == Step::RollBack => Code::RollbackFailed,
        VerifyFailure::Exited { .. } => Code::ContainerExited,
        VerifyFailure::Unhealthy { .. } => Code::Unhealthy,
        VerifyFailure::Interfered { .. } => Code::Interfered,
        VerifyFailure::Docker(_) => Code::DockerUnavailable,
    };
    let detail = match (failure, output) {
        (VerifyFailure::Unhealthy { .. }, Output::None) => {
            "the container was not healthy in time; what its checks answered is not shown, because `output` is \"none\"".to_owned()
        }
        _ => failure.to_string(),
    };
    Cause::new(code, step, detail)
}

pub(super) fn journal_cause(step: Step, error: &JournalError) -> Cause {
    let code = match error {
        JournalError::Full => Code::InsufficientStorage,
        _ => Code::JournalUnavailable,
    };
    Cause::new(
        code,
        step,
        format!("the journal could not be written, so this step was not taken: {error}"),
    )
}
