//! A Docker in a few lines: containers that run or not, with names and policies, and that die with it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cutover_core::deployment::{Condition, Origin, Replica, RestartPolicy};
use cutover_core::names::DeploymentId;
use cutover_core::switch::{
    Course, Move, Order, Seen, Situation, Slot, name_of_recreated, starts_at_boot,
};

/// One container.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) running: bool,
    pub(crate) policy: RestartPolicy,
    pub(crate) whole: bool,
    /// It was stopped by a call, so that only `always` brings it back.
    stopped_by_call: bool,
    /// A stop whose answer was lost is still at work.
    pub(crate) stopping: bool,
    /// Counts its starts.
    life: u32,
    /// Whether its networks know it by the names of the service.
    announced: bool,
}

/// Docker, and what a deployment is about.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) containers: BTreeMap<String, Container>,
    pub(crate) old: Vec<Replica>,
    pub(crate) new: Vec<Replica>,
    proven: BTreeMap<String, u32>,
    /// Moves that Docker refuses.
    pub(crate) refuses: BTreeSet<Move>,
    /// Counts the deaths of Docker.
    pub(crate) epoch: u32,
    /// The names of somebody else's containers that run.
    pub(crate) strangers: Vec<String>,
    /// Whether new connections wait.
    pub(crate) held: bool,
}

/// What became of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    Done,
    Refused,
}

pub(crate) fn id() -> DeploymentId {
    DeploymentId::new("01938f3e-7c1a-7abc-8def-0123456789ab").expect("a UUID")
}

pub(crate) fn policy(name: &str) -> RestartPolicy {
    RestartPolicy {
        name: name.to_owned(),
        retries_max: 0,
    }
}

pub(crate) fn replica(id: &str, number: u32, restart: &str, condition: Condition) -> Replica {
    Replica {
        project: "shop".to_owned(),
        service: "app".to_owned(),
        number,
        container: id.to_owned(),
        name: format!("shop-app-{number}"),
        image: format!("shop:{id}"),
        image_id: format!("sha256:{id}"),
        restart_policy: policy(restart),
        aliases: BTreeMap::new(),
        condition,
    }
}

impl World {
    /// As it is when the new containers were staged.
    pub(crate) fn staged(
        old: Vec<Replica>,
        new: Vec<Replica>,
        order: impl Fn(&Replica) -> Order,
    ) -> Self {
        let mut containers = BTreeMap::new();
        for old in &old {
            let running = old.condition.ran();
            let container = Container {
                name: old.name.clone(),
                running,
                policy: old.restart_policy.clone(),
                whole: true,
                stopped_by_call: !running,
                stopping: false,
                life: u32::from(running),
                announced: true,
            };
            containers.insert(old.container.clone(), container);
        }
        for new in &new {
            let container = Container {
                name: format!("staged_{}", new.name),
                running: false,
                policy: policy("no"),
                whole: true,
                stopped_by_call: false,
                stopping: false,
                life: 0,
                announced: order(new) == Order::StopFirst,
            };
            containers.insert(new.container.clone(), container);
        }
        Self {
            containers,
            old,
            new,
            proven: BTreeMap::new(),
            refuses: BTreeSet::new(),
            epoch: 0,
            strangers: Vec::new(),
            held: false,
        }
    }

    /// What the deployer sees of it.
    pub(crate) fn look(&self) -> Situation {
        let slot = |replica: &Replica| Slot {
            replica: replica.clone(),
            seen: self.containers.get(&replica.container).map(|found| Seen {
                name: found.name.clone(),
                running: found.running,
                policy: found.policy.clone(),
                proven: self.proven.get(&replica.container) == Some(&found.life),
                whole: found.whole,
                fresh: found.life == 0,
                announced: found.announced,
            }),
        };
        Situation {
            old: self.old.iter().map(slot).collect(),
            new: self.new.iter().map(slot).collect(),
            strangers: self.strangers.clone(),
        }
    }

    /// Makes a move as Docker would that was looked at in `epoch`.
    pub(crate) fn make(&mut self, wanted: &Move, epoch: u32) -> Made {
        if self.refuses.contains(wanted) {
            return Made::Refused;
        }
        if let Move::Recreate { container, from } = wanted {
            return self.recreate(container, *from);
        }
        if let Move::Remove { container, beside } = wanted {
            return self.remove(container, beside, epoch);
        }
        let taken: BTreeSet<String> = self
            .containers
            .values()
            .map(|other| other.name.clone())
            .collect();
        let container = match wanted {
            Move::Hold => {
                assert!(!self.held, "it is held already");
                self.held = true;
                return Made::Done;
            }
            Move::Release => {
                assert!(self.held, "nothing is held");
                self.held = false;
                return Made::Done;
            }
            Move::Drain { .. } | Move::Pause { .. } => return Made::Done,
            of_one => of_one.container().expect("it is about one"),
        };
        let Some(found) = self.containers.get_mut(container) else {
            return Made::Refused;
        };
        match wanted {
            Move::KeepAtBoot { .. } => found.policy = policy("always"),
            Move::StayDown { .. } => found.policy = policy("no"),
            Move::GivePolicy { policy, .. } => found.policy = policy.clone(),
            Move::Rename { name, .. } if taken.contains(name) => return Made::Refused,
            Move::Rename { name, .. } => found.name.clone_from(name),
            Move::Stop { .. } => found.end_by_call(),
            // Whoever makes the move looks once more.
            Move::Start { .. } if !found.whole => return Made::Refused,
            Move::Start { .. } => found.start(),
            Move::Prove { container } => {
                // A stop whose answer was lost has ended it by the time that the proof ends.
                if found.stopping {
                    found.end_by_call();
                }
                if !found.running {
                    return Made::Refused;
                }
                self.proven.insert(container.clone(), found.life);
            }
            Move::Announce { container, .. } => {
                let is_proven = self.proven.get(container) == Some(&found.life);
                assert!(
                    is_proven,
                    "{container} is known by the service's names too early"
                );
                found.announced = true;
            }
            // They are above.
            _ => {}
        }
        Made::Done
    }

    fn recreate(&mut self, container: &str, from: Origin) -> Made {
        let Some(old) = self.old.iter_mut().find(|old| old.container == container) else {
            return Made::Refused;
        };
        let again = Replica {
            container: format!("{container}-again"),
            ..old.clone()
        };
        let name = name_of_recreated(&old.name, container, &id());
        assert!(
            from == Origin::PreviousImage || !self.containers.contains_key(container),
            "created again beside itself"
        );
        let made = Container {
            name,
            running: false,
            policy: policy("no"),
            whole: true,
            stopped_by_call: false,
            stopping: false,
            life: 0,
            announced: true,
        };
        self.containers.insert(again.container.clone(), made);
        let given_up = std::mem::replace(old, again);
        self.new.push(given_up);
        Made::Done
    }

    fn remove(&mut self, container: &str, beside: &[String], epoch: u32) -> Made {
        let runs = |id: &String| self.containers.get(id).is_some_and(|found| found.running);
        // The question whether they run is asked of the Docker that removes.
        if !beside.iter().all(runs) || (!beside.is_empty() && epoch != self.epoch) {
            return Made::Refused;
        }
        match self.containers.get(container) {
            Some(found) if found.running => Made::Refused,
            _ => {
                self.containers.remove(container);
                Made::Done
            }
        }
    }

    /// Docker dies and is started again, or the machine is.
    pub(crate) fn docker_dies(&mut self) {
        self.epoch += 1;
        for found in self.containers.values_mut() {
            let ran = found.running;
            found.running = false;
            found.stopping = false;
            let comes_back = match found.policy.name.as_str() {
                "always" => found.life > 0,
                "unless-stopped" | "on-failure" => ran && !found.stopped_by_call,
                _ => false,
            };
            if comes_back && found.whole {
                found.start();
            }
        }
    }

    pub(crate) fn runs(&self) -> bool {
        self.containers.values().any(|found| found.running)
    }

    /// Whether a container runs that is known by the names of the service.
    pub(crate) fn is_served(&self) -> bool {
        let mut all = self.containers.values();
        all.any(|found| found.running && found.announced)
    }

    /// Which of these replicas Docker would start at boot.
    pub(crate) fn flagged(&self, replicas: &[Replica]) -> Vec<String> {
        let ids = replicas.iter().map(|replica| replica.container.clone());
        ids.filter(|id| {
            let found = self.containers.get(id);
            found.is_some_and(|found| starts_at_boot(&found.policy))
        })
        .collect()
    }
}

impl Container {
    pub(crate) fn start(&mut self) {
        if !self.running {
            self.running = true;
            self.stopped_by_call = false;
            self.life += 1;
        }
    }

    pub(crate) fn end_by_call(&mut self) {
        self.running = false;
        self.stopping = false;
        self.stopped_by_call = true;
    }
}

/// A move, in short.
pub(crate) fn word(wanted: &Move) -> String {
    let kind = format!("{wanted:?}");
    let kind = kind.split([' ', '{']).next().unwrap_or_default();
    match wanted {
        Move::Rename { container, name } => format!("{kind} {container} {name}"),
        Move::Drain { containers } => format!("{kind} {}", containers.join(" ")),
        Move::Pause { length } => format!("{kind} {length:?}"),
        _ => [kind, wanted.container().unwrap_or_default()]
            .join(" ")
            .trim_end()
            .to_owned(),
    }
}

/// The moves of a release whose ports are published, without a pause between its batches.
pub(crate) fn plan(
    old: &[Replica],
    new: &[Replica],
    batches: &[usize],
    order: impl Fn(&Replica) -> Order,
    id: &DeploymentId,
) -> Vec<Move> {
    plan_with_delay(old, new, batches, order, Duration::ZERO, id)
}

pub(crate) fn plan_with_delay(
    old: &[Replica],
    new: &[Replica],
    batches: &[usize],
    order: impl Fn(&Replica) -> Order,
    delay: Duration,
    id: &DeploymentId,
) -> Vec<Move> {
    let course = Course {
        batches,
        order,
        delay: |_: &Replica| delay,
        holds: true,
    };
    cutover_core::switch::plan(old, new, &course, id)
}
