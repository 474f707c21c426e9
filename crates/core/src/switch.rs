//! The switch is data: what is done to which container next, decided without doing it.
//!
//! [`plan`] lists the moves from the old release to the new one, up to the commit. Once something has gone
//! wrong, or a crash has made anything possible, no list is followed any more: [`next`] looks at what is there
//! and names what leads nearer to one of the two states in which a deployment may end. So neither
//! a rollback nor a recovery needs to know which move was half done, and doing it twice is doing it once.
//!
//! | goal | old replicas | new replicas |
//! |---|---|---|
//! | [`Goal::Old`] | as they were found: name, policy, running or not | gone |
//! | [`Goal::New`] | gone | running, proven, under their names and policies |
//!
//! Rules that hold for every move, and that the properties in `tests/switch` check:
//! - Look, act, look again: for each look one move, or several of one kind that do not depend on each other.
//! - Nothing that runs is removed. The last thing that runs is not removed before the other one was seen to
//!   run, by the same Docker that removes: [`Move::Remove`] names those that must run *beside* it.
//! - At no moment would Docker start both sides at boot: the flag is taken from one before the other gets it.
//! - What is to be started again exists before anything that runs in its place is stopped.
//! - When neither goal can be reached now, something runs if anything can ([`Patience::Exhausted`]).
//!
//! Requests are held from before the first stop until everything is proven ([`Move::Hold`], [`Move::Drain`],
//! [`Move::Release`]); a way back is held as a whole by whoever walks it.
//!
//! A service is switched stop-first or start-first ([`Order`]). Start-first, the old replica is not touched before the
//! commit, so that the way back only takes the new one away; it is stopped on the way on.

mod aside;
mod back;
mod on;
mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::deployment::{Origin, Replica, RestartPolicy};
use crate::names::DeploymentId;

pub use aside::{is_failed, is_put_aside, name_of_failed, name_of_recreated, name_put_aside};
pub use plan::{Course, plan};

/// One thing that is done: to one container, or to the requests that come meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Move {
    /// From here on, new connections to the published ports wait.
    Hold,
    /// Requests that are under way in these containers have a moment to end.
    Drain {
        /// The ids of the containers, which are stopped next.
        containers: Vec<String>,
    },
    /// The connections that wait go on, and new ones do not wait.
    Release,
    /// Nothing is done for this long, between two batches of replicas.
    Pause {
        /// How long.
        length: Duration,
    },
    /// Docker starts it at boot, although it was stopped: restart policy `always`.
    KeepAtBoot {
        /// The container's id.
        container: String,
    },
    /// Docker does not start it at boot: restart policy `no`.
    StayDown {
        /// The container's id.
        container: String,
    },
    /// It gets the restart policy with which it serves.
    GivePolicy {
        /// The container's id.
        container: String,
        /// The policy.
        policy: RestartPolicy,
    },
    /// It gets this name.
    Rename {
        /// The container's id.
        container: String,
        /// The name.
        name: String,
    },
    /// It is asked to end, and killed after its grace.
    Stop {
        /// The container's id.
        container: String,
        /// How long it may take.
        grace: Grace,
    },
    /// It is started.
    Start {
        /// The container's id.
        container: String,
    },
    /// It is watched until it has proven that it may stay, or has failed.
    Prove {
        /// The container's id.
        container: String,
    },
    /// It gets the names under which its networks know the service, if it was created without them.
    Announce {
        /// The container's id.
        container: String,
        /// The names, by the network's.
        aliases: BTreeMap<String, Vec<String>>,
    },
    /// A container that is gone, or cannot be started again, is created anew. It is not started.
    Recreate {
        /// The id of the container in whose place it comes.
        container: String,
        /// What it is made of.
        from: Origin,
    },
    /// It is removed, which does not succeed if it runs.
    Remove {
        /// The container's id.
        container: String,
        /// The containers that must be seen to run by the same Docker that removes it.
        beside: Vec<String>,
    },
}

impl Move {
    /// The container that it is about, if it is about one.
    #[must_use]
    pub fn container(&self) -> Option<&str> {
        match self {
            Self::Hold | Self::Drain { .. } | Self::Release | Self::Pause { .. } => None,
            Self::KeepAtBoot { container }
            | Self::StayDown { container }
            | Self::GivePolicy { container, .. }
            | Self::Rename { container, .. }
            | Self::Stop { container, .. }
            | Self::Start { container }
            | Self::Prove { container }
            | Self::Announce { container, .. }
            | Self::Recreate { container, .. }
            | Self::Remove { container, .. } => Some(container),
        }
    }
}

/// How long a container may take to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grace {
    /// As long as it asks for.
    Own,
    /// Not long: it failed, and the service is down meanwhile.
    Short,
    /// None: it does nothing when it is asked to end.
    None,
}

/// What Docker holds of one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The name that it has now.
    pub name: String,
    /// Whether it runs; also while Docker restarts it.
    pub running: bool,
    /// The restart policy that it has now.
    pub policy: RestartPolicy,
    /// Whether it was proven in the life that it lives now, and cannot have been told to stop.
    pub proven: bool,
    /// Whether everything that it needs for a start is there as it was when it was created: what it mounts,
    /// its networks, the containers whose namespaces it shares. Docker would put an empty directory in the place
    /// of some of that.
    pub whole: bool,
    /// Whether it was created and never started.
    pub fresh: bool,
    /// Whether it has the names under which its networks are to know the service.
    pub announced: bool,
}

/// One replica and what is there of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The replica as it is recorded.
    pub replica: Replica,
    /// What Docker holds of it; none if it is gone.
    pub seen: Option<Seen>,
}

impl Slot {
    fn runs(&self) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.running)
    }

    fn is_proven(&self) -> bool {
        self.seen
            .as_ref()
            .is_some_and(|seen| seen.running && seen.proven)
    }

    fn has_boot_flag(&self) -> bool {
        self.seen
            .as_ref()
            .is_some_and(|seen| starts_at_boot(&seen.policy))
    }

    fn exists(&self) -> bool {
        self.seen.is_some()
    }

    fn id(&self) -> String {
        self.replica.container.clone()
    }

    /// Whether it ran when the deployment began.
    fn ran(&self) -> bool {
        self.replica.condition.ran()
    }
}

/// What is there now of everything that a deployment is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Situation {
    /// The old replicas.
    pub old: Vec<Slot>,
    /// The new replicas, and everything else that the deployment has created and that goes if it fails.
    pub new: Vec<Slot>,
    /// The names of containers of the same services that run and are neither: somebody else made them.
    pub strangers: Vec<String>,
}

impl Situation {
    /// Whether any container of the service runs.
    #[must_use]
    pub fn something_runs(&self) -> bool {
        !self.strangers.is_empty() || self.old.iter().chain(&self.new).any(Slot::runs)
    }
}

/// Which replica of a service goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The old one stops, then the new one starts.
    StopFirst,
    /// The new one starts beside the old one, which stops after the commit.
    StartFirst,
}

/// The state that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The release that ran before, in the state in which it was.
    Old,
    /// The release that was committed.
    New,
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Old => "the previous release",
            Self::New => "the committed release",
        })
    }
}

/// Whether there is time to try again what was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It is tried again in a moment, and nothing else meanwhile.
    Left,
    /// It was tried often enough: something shall run, whichever of the two can.
    Exhausted,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// These moves, at least one: if there are several, they are of one kind and may be made at once.
    Do(Vec<Move>),
    /// The goal is reached.
    Done,
    /// Nothing more can be done now: what is missing was refused in this round, or somebody else's container
    /// runs in the service's place.
    Stuck,
}

/// What is done next towards `goal` for the deployment `id`, from what is there now. `refused` are the moves that
/// Docker, or the watch, refused in this round.
#[must_use]
pub fn next(
    goal: Goal,
    now: &Situation,
    refused: &BTreeSet<Move>,
    patience: Patience,
    id: &DeploymentId,
) -> Next {
    let way = match goal {
        // Two containers of one service would fight over its ports and volumes.
        Goal::Old if !now.strangers.is_empty() => back::beside_strangers(now, id),
        Goal::New if !now.strangers.is_empty() => return Next::Stuck,
        Goal::Old => back::way(now, refused, id),
        Goal::New => on::way(now, refused, id),
    };
    let mut open = way.moves.iter().filter(|wanted| !refused.contains(*wanted));
    match open.next() {
        Some(first) => {
            let others = open.take_while(|wanted| is_beside(first, wanted));
            Next::Do([first].into_iter().chain(others).cloned().collect())
        }
        None if way.is_done => Next::Done,
        None if goal == Goal::Old && patience == Patience::Exhausted => {
            back::anything(now, refused)
        }
        None => Next::Stuck,
    }
}

/// Whether two moves of a way may be made at once. Starts are made one after another, in their order.
fn is_beside(one: &Move, other: &Move) -> bool {
    matches!(
        (one, other),
        (Move::StayDown { .. }, Move::StayDown { .. })
            | (Move::GivePolicy { .. }, Move::GivePolicy { .. })
            | (Move::Stop { .. }, Move::Stop { .. })
            | (Move::Remove { .. }, Move::Remove { .. })
    )
}

/// The moves that lead to a goal from where things stand, the most urgent first. Each may be made now.
struct Way {
    moves: Vec<Move>,
    /// Whether the goal is reached. A way without a move that is not done is blocked.
    is_done: bool,
}

impl Way {
    /// These moves come before anything else.
    fn first(moves: Vec<Move>) -> Self {
        Self {
            moves,
            is_done: false,
        }
    }
}

/// Whether Docker may start a container with this policy by itself: at boot, and after its own restart.
#[must_use]
pub fn starts_at_boot(policy: &RestartPolicy) -> bool {
    !matches!(policy.name.as_str(), "" | "no")
}

/// Whether two policies are the same for Docker, which writes none as `no` or as nothing.
fn is_same_policy(one: &RestartPolicy, other: &RestartPolicy) -> bool {
    let name = |policy: &RestartPolicy| match policy.name.as_str() {
        "" => "no".to_owned(),
        name => name.to_owned(),
    };
    name(one) == name(other) && one.retries_max == other.retries_max
}
