//! What is known on the way to one of the two states in which a deployment ends, across all rounds of trying.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cutover_core::deployment::{Condition, Proof, Replica};
use cutover_core::switch::Goal;
use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::hooks::Failed;
use crate::docker::Container;
use crate::docker::effects::STOP_TIMEOUT_DEFAULT;
use crate::driver::project::{ReleaseModel, ServiceModel};

/// After its grace period a container is killed; so much later it has ended.
const STOP_MARGIN: Duration = Duration::from_secs(1);

/// Whether a container that runs may have been told to stop, by a call whose answer nobody got. Docker does not
/// say so of a container that is being stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Each may, unless this journey started it.
    Stopping,
    /// These may, unless this journey started them, and no other.
    Only(BTreeSet<String>),
    /// Nobody told it to.
    None,
}

/// The way to a goal, as far as it has been gone.
#[derive(Debug)]
pub(super) struct Journey {
    pub(super) goal: Goal,
    /// The release as Compose renders it, if that is known: for how long a container must run that has no check
    /// at all, and what is secret.
    pub(super) model: Option<ReleaseModel>,
    /// How many rounds ended without the goal while Docker answered.
    pub(super) attempts: u32,
    /// How long the previous containers did not run, in milliseconds, once one of them was started again.
    pub(super) outage_ms: Option<u64>,
    /// What was seen of the container that was proven last.
    pub(super) proof: Option<Proof>,
    /// What kept the last round from the goal; told once for each reason.
    pub(super) told: String,
    doubt: Doubt,
    proven: BTreeMap<String, Trust>,
    started: BTreeSet<String>,
    pre_stop_run: BTreeSet<String>,
    post_start: BTreeMap<String, JoinHandle<Option<Failed>>>,
}

/// Why a container is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trust {
    /// The life that began then.
    OfLife(Option<Timestamp>),
    /// It is in the state in which it was before, in which nothing could be proven.
    AsItWas,
}

impl Journey {
    /// A journey that begins.
    pub(super) fn new(goal: Goal, doubt: Doubt, model: Option<ReleaseModel>) -> Self {
        Self {
            goal,
            model,
            attempts: 0,
            outage_ms: None,
            proof: None,
            told: String::new(),
            doubt,
            proven: BTreeMap::new(),
            started: BTreeSet::new(),
            pre_stop_run: BTreeSet::new(),
            post_start: BTreeMap::new(),
        }
    }

    /// The same journey to another goal: what is known of the containers stays.
    pub(super) fn turned(self, goal: Goal) -> Self {
        Self {
            goal,
            attempts: 0,
            told: String::new(),
            ..self
        }
    }

    /// Whether `container` was proven in the life that it lives now.
    pub(super) fn is_proven(&self, container: &Container) -> bool {
        match self.proven.get(&container.id) {
            Some(Trust::OfLife(began)) => *began == container.state.started_at,
            Some(Trust::AsItWas) => true,
            None => false,
        }
    }

    /// Remembers that `container` was proven in the life that began at `began`.
    pub(super) fn proved(&mut self, container: &str, began: Option<Timestamp>) {
        self.proven
            .insert(container.to_owned(), Trust::OfLife(began));
    }

    /// Remembers that `container` is in the state in which it was before.
    pub(super) fn is_as_it_was(&mut self, container: &str) {
        self.proven.insert(container.to_owned(), Trust::AsItWas);
    }

    /// Remembers that this journey started `container`.
    pub(super) fn started(&mut self, container: &str) {
        self.started.insert(container.to_owned());
    }

    /// Whether this journey started `container`.
    pub(super) fn has_started(&self, container: &str) -> bool {
        self.started.contains(container)
    }

    /// Remembers that the `pre_stop` hooks of `container` are run; whether that is the first time.
    pub(super) fn begins_pre_stop(&mut self, container: &str) -> bool {
        self.pre_stop_run.insert(container.to_owned())
    }

    /// Remembers the `post_start` hooks of `container`, which run.
    pub(super) fn begins_post_start(&mut self, container: &str, hooks: JoinHandle<Option<Failed>>) {
        self.post_start.insert(container.to_owned(), hooks);
    }

    /// The `post_start` hooks of `container`, if they may still run.
    pub(super) fn ends_post_start(
        &mut self,
        container: &str,
    ) -> Option<JoinHandle<Option<Failed>>> {
        self.post_start.remove(container)
    }

    /// After how long `container`, which runs, cannot be about to stop any more; none if nobody told it to.
    pub(super) fn doubted_for(&self, container: &Container) -> Option<Duration> {
        let may_stop = match &self.doubt {
            Doubt::Stopping => true,
            Doubt::Only(told) => told.contains(&container.id),
            Doubt::None => false,
        };
        let is_doubted = may_stop && !self.has_started(&container.id);
        is_doubted.then(|| end_of_stop(container))
    }

    /// The service that a container is of, as Compose renders it.
    pub(super) fn model_of(&self, replica: &Replica) -> Option<&ServiceModel> {
        self.model.as_ref()?.service(&replica.service)
    }

    /// Whether `old` must pass its checks to count as back.
    pub(super) fn needs_proof(&self, old: &Replica) -> bool {
        self.goal == Goal::New || matches!(old.condition, Condition::Healthy | Condition::Running)
    }
}

/// After how long a container has ended that was told to stop now.
pub(super) fn end_of_stop(container: &Container) -> Duration {
    let grace = container.stop_timeout.unwrap_or(STOP_TIMEOUT_DEFAULT);
    grace.saturating_add(STOP_MARGIN)
}
