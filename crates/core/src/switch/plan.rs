//! The moves up to the commit.

use std::collections::BTreeSet;

use super::{Grace, Move, Order, name_put_aside, starts_at_boot};
use crate::deployment::Replica;
use crate::names::DeploymentId;

/// The moves from the old replicas to the new ones for the deployment `id`, each service in its `order`: every old one
/// stays what comes back at boot until the commit.
///
/// Replicas are switched in the order of the `new` ones, in batches of so many pairs; a pair is the old and the new
/// replica of one number. The last size counts for all that is left. Each batch ends with its proofs, and with what
/// may happen only when all of it is proven.
#[must_use]
pub fn plan(
    old: &[Replica],
    new: &[Replica],
    batches: &[usize],
    order: impl Fn(&Replica) -> Order,
    id: &DeploymentId,
) -> Vec<Move> {
    let mut moves: Vec<Move> = old
        .iter()
        .filter(|old| starts_at_boot(&old.restart_policy))
        .map(|old| Move::KeepAtBoot {
            container: old.container.clone(),
        })
        .collect();
    let key = |replica: &Replica| (replica.service.clone(), replica.number);
    // What has no successor is no part of the switch: the last run of a job.
    let mut keys: Vec<_> = new.iter().map(key).collect();
    let mut known = BTreeSet::new();
    keys.retain(|key| known.insert(key.clone()));
    let mut sizes = batches.iter();
    let (mut left, mut size) = (keys.as_slice(), 1);
    while !left.is_empty() {
        size = sizes.next().copied().unwrap_or(size).clamp(1, left.len());
        let (batch, rest) = left.split_at(size);
        left = rest;
        let of_batch = |replica: &&Replica| batch.contains(&key(replica));
        let old: Vec<&Replica> = old.iter().filter(of_batch).collect();
        let new: Vec<&Replica> = new.iter().filter(of_batch).collect();
        moves.extend(moves_of_batch(&old, &new, &order, id));
    }
    moves
}

fn moves_of_batch(
    old: &[&Replica],
    new: &[&Replica],
    order: impl Fn(&Replica) -> Order,
    id: &DeploymentId,
) -> Vec<Move> {
    let is_stop_first = |replica: &&&Replica| order(replica) == Order::StopFirst;
    let (leaving, coming): (Vec<_>, Vec<_>) = (
        old.iter().filter(is_stop_first).collect(),
        new.iter().filter(is_stop_first).collect(),
    );
    let mut moves = Vec::new();
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
