//! The moves up to the commit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Grace, Move, Order, name_put_aside, starts_at_boot};
use crate::deployment::Replica;
use crate::names::DeploymentId;

/// How the replicas of a release are switched.
#[derive(Debug, Clone, Copy)]
pub struct Course<'a, O, D> {
    /// How many pairs of an old and a new replica are switched at once, batch by batch. The last size counts for all that
    /// is left.
    pub batches: &'a [usize],
    /// Which replica of a service goes first.
    pub order: O,
    /// For how long nothing is done before the next batch of the same service.
    pub delay: D,
    /// Whether new connections are to wait meanwhile.
    pub holds: bool,
}

/// The moves from the old replicas to the new ones for the deployment `id`: every old one stays what comes back at boot
/// until the commit.
///
/// Replicas are switched in the order of the `new` ones; a pair is the old and the new replica of one number. Each batch
/// ends with its proofs, and with what may happen only when all of it is proven. Where a service has fewer replicas than
/// before, the old ones that have no successor belong to its last batch.
#[must_use]
pub fn plan<O, D>(
    old: &[Replica],
    new: &[Replica],
    course: &Course<'_, O, D>,
    id: &DeploymentId,
) -> Vec<Move>
where
    O: Fn(&Replica) -> Order,
    D: Fn(&Replica) -> Duration,
{
    let mut moves = Vec::new();
    moves.extend(course.holds.then_some(Move::Hold));
    let starting = old.iter().filter(|old| starts_at_boot(&old.restart_policy));
    moves.extend(starting.map(|old| Move::KeepAtBoot {
        container: old.container.clone(),
    }));
    let key = |replica: &Replica| (replica.service.clone(), replica.number);
    let mut keys: Vec<_> = new.iter().map(key).collect();
    let mut known = BTreeSet::new();
    keys.retain(|key| known.insert(key.clone()));
    let last_of_service: BTreeMap<_, _> = keys.iter().cloned().collect();
    // A service without a successor is no part of the switch: the last run of a job.
    let leaves_with = |old: &Replica| match known.contains(&key(old)) {
        true => Some(key(old)),
        false => {
            let last = last_of_service.get(&old.service);
            last.map(|last| (old.service.clone(), *last))
        }
    };
    let mut sizes = course.batches.iter();
    let mut before: Option<&Replica> = None;
    let (mut left, mut size) = (keys.as_slice(), 1);
    while !left.is_empty() {
        size = sizes.next().copied().unwrap_or(size).clamp(1, left.len());
        let (batch, rest) = left.split_at(size);
        left = rest;
        let leaves = |old: &&Replica| leaves_with(old).is_some_and(|key| batch.contains(&key));
        let old: Vec<&Replica> = old.iter().filter(leaves).collect();
        let new: Vec<&Replica> = new.iter().filter(|new| batch.contains(&key(new))).collect();
        moves.extend(pause(before, new[0], course));
        before = new.last().copied();
        moves.extend(moves_of_batch(&old, &new, course, id));
    }
    moves.extend(course.holds.then_some(Move::Release));
    moves
}

/// What is between two batches of replicas of one service. Those that are proven serve meanwhile, and nothing waits.
fn pause<O, D>(before: Option<&Replica>, next: &Replica, course: &Course<'_, O, D>) -> Vec<Move>
where
    D: Fn(&Replica) -> Duration,
{
    let length = (course.delay)(next);
    if length.is_zero() || before.is_none_or(|before| before.service != next.service) {
        return Vec::new();
    }
    let pause = Move::Pause { length };
    match course.holds {
        true => vec![Move::Release, pause, Move::Hold],
        false => vec![pause],
    }
}

fn moves_of_batch<O, D>(
    old: &[&Replica],
    new: &[&Replica],
    course: &Course<'_, O, D>,
    id: &DeploymentId,
) -> Vec<Move>
where
    O: Fn(&Replica) -> Order,
{
    let is_stop_first = |replica: &&&Replica| (course.order)(replica) == Order::StopFirst;
    let (leaving, coming): (Vec<_>, Vec<_>) = (
        old.iter().filter(is_stop_first).collect(),
        new.iter().filter(is_stop_first).collect(),
    );
    let mut moves = Vec::new();
    if course.holds && !leaving.is_empty() {
        let containers = leaving.iter().map(|old| old.container.clone());
        moves.push(Move::Drain {
            containers: containers.collect(),
        });
    }
    moves.extend(leaving.iter().map(|old| Move::Rename {
        container: old.container.clone(),
        name: name_put_aside(&old.name, id),
    }));
    moves.extend(coming.iter().map(|new| Move::Rename {
        container: new.container.clone(),
        name: new.name.clone(),
    }));
    moves.extend(leaving.iter().map(|old| Move::Stop {
        container: old.container.clone(),
        grace: Grace::Own,
    }));
    moves.extend(new.iter().map(|new| Move::Start {
        container: new.container.clone(),
    }));
    moves.extend(new.iter().map(|new| Move::Prove {
        container: new.container.clone(),
    }));
    let beside = new.iter().filter(|new| !is_stop_first(new));
    moves.extend(beside.map(|new| Move::Announce {
        container: new.container.clone(),
        aliases: new.aliases.clone(),
    }));
    moves
}
