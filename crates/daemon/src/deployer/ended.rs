//! How far a deployment came: what is under trial, what is final, and how it ended if it was not committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cutover_core::cause::{Cause, Code};
use cutover_core::deployment::Replica;
use cutover_core::mask::Mask;
use jiff::Timestamp;
use tokio::time::Instant;

use super::causes::masked;
use super::output::Output;
use crate::docker::ContainerEvents;
use crate::driver::project::ReleaseModel;
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
        /// Compose, if it waits for the start of the new containers.
        staging: Option<Box<Staging>>,
        /// The end of what a job wrote.
        log: Vec<String>,
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
            log: Vec::new(),
        }
    }
}

/// The new containers under trial.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) staging: Option<Staging>,
    /// In the order in which they are switched.
    pub(super) parts: Vec<Part>,
    /// How many of them were switched; the one that fails is the last of them, or among the last batch.
    pub(super) switched: usize,
    /// When those that were switched last were started.
    pub(super) began: Instant,
    /// The previous containers that were told to stop.
    pub(super) told_to_stop: BTreeSet<String>,
    /// What a hook printed that failed.
    pub(super) hook_log: Vec<String>,
    pub(super) mask: Arc<Mask>,
    pub(super) model: ReleaseModel,
}

/// One new container.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) new: Replica,
    /// Whether another container of its service ran while it was switched.
    pub(super) is_covered: bool,
    pub(super) checks: Checks,
    /// Its events, since before it was started; none once it is proven.
    pub(super) events: Option<ContainerEvents>,
    pub(super) output: Option<Output>,
    /// When it was started, by Docker's clock: the life that is proven.
    pub(super) born: Option<Timestamp>,
    /// So much later it was healthy for the first time.
    pub(super) answered_after: Duration,
    /// Whether it has still to be watched: it was proven when the next service was switched.
    pub(super) is_to_be_watched: bool,
    /// Whether it did not pass.
    pub(super) failed: bool,
}

/// A release that is final.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) model: ReleaseModel,
    /// The life in which each new container was proven, by its id.
    pub(super) lives: BTreeMap<String, Option<Timestamp>>,
}

impl Trial {
    /// The release as Compose renders it.
    pub(super) fn model(&self) -> &ReleaseModel {
        &self.model
    }

    /// A short name of this new container before the lines that it writes, where there are others.
    pub(super) fn label(&self, new: &Replica) -> Option<String> {
        match self.has_siblings(new) {
            _ if self.parts.len() == 1 => None,
            false => Some(new.service.clone()),
            true => Some(format!("{}-{}", new.service, new.number)),
        }
    }

    /// The same in a sentence.
    pub(super) fn name(&self, new: &Replica) -> Option<String> {
        let (service, number) = (&new.service, new.number);
        match self.has_siblings(new) {
            _ if self.parts.len() == 1 => None,
            false => Some(format!("service `{service}`")),
            true => Some(format!("replica {number} of service `{service}`")),
        }
    }

    /// Whether its service has other new replicas.
    fn has_siblings(&self, new: &Replica) -> bool {
        let mut others = self.parts.iter().map(|part| &part.new);
        others.any(|other| other.service == new.service && other.container != new.container)
    }

    /// The end of what the hook printed, or the new container wrote, that failed; of all containers, where none of them is
    /// known to be the one. One that
    /// ended has a moment for its last words.
    pub(super) async fn last_words(&mut self, cause: &Cause) -> Vec<String> {
        if !self.hook_log.is_empty() {
            return std::mem::take(&mut self.hook_log);
        }
        let is_known = self.parts.iter().any(|part| part.failed);
        let asked = self.parts.iter_mut();
        let asked = asked.filter(|part| part.failed || !is_known);
        let mut words = Vec::new();
        for output in asked.filter_map(|part| part.output.as_mut()) {
            words.extend(match cause.code {
                Code::ContainerExited => output.last_words().await,
                _ => output.so_far(),
            });
        }
        words
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
