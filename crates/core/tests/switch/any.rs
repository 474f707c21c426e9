//! Whatever may be there when a way begins, and whatever somebody else does on it.

use cutover_core::deployment::{Condition, Replica};
use cutover_core::switch::Order;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::world::{World, policy, replica};

/// What somebody else does between two moves: Docker's restart, or a hand.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Disturbance {
    DockerDies,
    Stops,
    Starts,
    Removes,
    Renames,
    ResetsPolicy,
    Prunes,
    TakesWhatItMounts,
}

/// A disturbance, when, and of which container.
#[derive(Debug, Clone)]
pub(crate) struct Disturbed {
    pub(crate) before_move: usize,
    pub(crate) what: Disturbance,
    pub(crate) which: Index,
}

pub(crate) fn disturb(world: &mut World, disturbed: &Disturbed) {
    let ids: Vec<String> = world.containers.keys().cloned().collect();
    if ids.is_empty() {
        return;
    }
    let id = disturbed.which.get(&ids);
    let found = world.containers.get_mut(id).expect("listed");
    match disturbed.what {
        Disturbance::DockerDies => world.docker_dies(),
        Disturbance::Stops => found.end_by_call(),
        Disturbance::Starts => found.start(),
        Disturbance::Removes => drop(world.containers.remove(id)),
        Disturbance::Renames => found.name = format!("renamed-{id}"),
        Disturbance::ResetsPolicy => found.policy = policy("no"),
        Disturbance::Prunes => world.containers.retain(|_, found| found.running),
        Disturbance::TakesWhatItMounts => found.whole = false,
    }
}

pub(crate) fn any_policy() -> impl Strategy<Value = &'static str> {
    select(vec!["no", "always", "unless-stopped", "on-failure"])
}

pub(crate) fn any_old() -> impl Strategy<Value = Vec<Replica>> {
    let condition = prop_oneof![
        6 => Just(Condition::Running),
        1 => Just(Condition::Healthy),
        1 => Just(Condition::Restarting),
    ];
    (any_policy(), prop::collection::vec(condition, 0..=4), 0..8).prop_map(
        |(restart, conditions, all_stopped)| {
            (1..)
                .zip(conditions)
                .map(|(number, condition)| {
                    let condition = if all_stopped == 0 {
                        Condition::Stopped
                    } else {
                        condition
                    };
                    replica(&format!("old{number}"), number, restart, condition)
                })
                .collect()
        },
    )
}

pub(crate) fn any_new() -> impl Strategy<Value = Vec<Replica>> {
    (any_policy(), 1..=4_u32).prop_map(|(restart, count)| {
        let new = |number| replica(&format!("new{number}"), number, restart, Condition::Stopped);
        (1..=count).map(new).collect()
    })
}

/// For each number whether it is switched start-first.
pub(crate) type Mask = u8;

pub(crate) fn any_mask() -> impl Strategy<Value = Mask> {
    prop_oneof![Just(0), Just(Mask::MAX), any::<Mask>()]
}

pub(crate) fn order(mask: Mask) -> impl Fn(&Replica) -> Order {
    move |replica| match mask >> (replica.number % Mask::BITS) & 1 {
        0 => Order::StopFirst,
        _ => Order::StartFirst,
    }
}

pub(crate) fn any_disturbance() -> impl Strategy<Value = Disturbed> {
    let what = prop_oneof![
        4 => Just(Disturbance::DockerDies),
        1 => Just(Disturbance::Stops),
        1 => Just(Disturbance::Starts),
        1 => Just(Disturbance::Removes),
        1 => Just(Disturbance::Renames),
        1 => Just(Disturbance::ResetsPolicy),
        1 => Just(Disturbance::Prunes),
        1 => Just(Disturbance::TakesWhatItMounts),
    ];
    (0..25_usize, what, any::<Index>()).prop_map(|(before_move, what, which)| Disturbed {
        before_move,
        what,
        which,
    })
}

/// How far the deployment had come when the daemon died.
#[derive(Debug, Clone)]
pub(crate) struct Prefix {
    /// How many moves of the plan were made; an index into the plan.
    pub(crate) moves: Index,
    /// What became of the next one.
    pub(crate) last: Last,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Last {
    NotMade,
    Made,
    /// A stop that is still at work; any other move is not made.
    Half,
}

pub(crate) fn any_prefix() -> impl Strategy<Value = Prefix> {
    let last = select(vec![Last::NotMade, Last::Made, Last::Half]);
    (any::<Index>(), last).prop_map(|(moves, last)| Prefix { moves, last })
}
