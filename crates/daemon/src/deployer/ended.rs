//! How far a deployment came: what is under trial, what is final, and how it ended if it was not committed.

use std::sync::Arc;
use std::time::Duration;

use cutover_core::cause::{Cause, Code};
use cutover_core::deployment::Replica;
use cutover_core::mask::Mask;
use jiff::Timestamp;

use super::causes::masked;
use super::output::Output;
use crate::driver::project::ServiceModel;
use crate::driver::stage::Staging;
use crate::probe::verify::Checks;

/// How a deployment ended that was not committed.
#[derive(Debug)]
pub(super) enum Ended {
    /// The release runs already.
    Unchanged,
    /// It failed before the switch.
    NothingChanged {
        /// Why.
        cause: Cause,
        /// Compose, if it waits for the start of the new container.
        staging: Option<Box<Staging>>,
    },
    /// The new release failed after the switch had begun.
    TrialFailed {
        /// Why.
        cause: Cause,
        /// What is left of the trial.
        trial: Box<Trial>,
    },
}

impl From<Cause> for Ended {
    fn from(cause: Cause) -> Self {
        Self::NothingChanged {
            cause,
            staging: None,
        }
    }
}

/// The new container under trial.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) staging: Option<Staging>,
    pub(super) output: Option<Output>,
    pub(super) checks: Checks,
    pub(super) mask: Arc<Mask>,
    pub(super) model: ServiceModel,
    pub(super) new: Replica,
    /// When the new container was started, by Docker's clock: the life that is proven.
    pub(super) born: Option<Timestamp>,
    /// So much later it was healthy for the first time.
    pub(super) answered_after: Duration,
}

/// A release that is final.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) model: ServiceModel,
    /// The life in which the new container was proven.
    pub(super) born: Option<Timestamp>,
}

impl Trial {
    /// The service as Compose renders it.
    pub(super) fn model(&self) -> &ServiceModel {
        &self.model
    }

    /// The end of what the new container wrote. One that ended has a moment for its last words.
    pub(super) async fn last_words(&mut self, cause: &Cause) -> Vec<String> {
        match &mut self.output {
            Some(output) if cause.code == Code::ContainerExited => output.last_words().await,
            Some(output) => output.so_far(),
            None => Vec::new(),
        }
    }

    /// Ends Compose.
    pub(super) async fn abandon(mut self) {
        if let Some(staging) = self.staging.take() {
            staging.abandon().await;
        }
    }

    /// It failed, for this reason, in which nothing secret is left.
    pub(super) fn failed(self, cause: Cause) -> Ended {
        Ended::TrialFailed {
            cause: masked(cause, &self.mask),
            trial: Box::new(self),
        }
    }
}
