//! The way to the old release: every old replica as it was found, every new one gone.

use std::collections::BTreeSet;

use super::{
    Grace, Move, Next, Situation, Slot, Way, is_same_policy, name_of_failed, starts_at_boot,
};
use crate::deployment::Origin;
use crate::names::DeploymentId;

/// What can be done now towards the old release, the most urgent first.
pub(super) fn way(now: &Situation, refused: &BTreeSet<Move>, id: &DeploymentId) -> Way {
    let mut moves = Vec::new();
    moves.extend(flags_taken_from_new(now));
    let all_there = moves_to_exist(now, &mut moves);
    if !all_there {
        // What cannot be put back is no reason to stop what runs.
        return Way::first(moves);
    }
    moves.extend(flags_given_to_old(now));
    if now.new.iter().any(Slot::runs) {
        // Both would use the same ports and volumes. Where an old one was just refused its start, a new one may
        // run because it is better than nothing.
        if !now.old.iter().any(|old| is_refused_its_start(old, refused)) {
            moves.extend(stops_of_new(now));
        }
        return Way::first(moves);
    }
    // What was switched last is put back first.
    moves.extend(now.old.iter().rev().filter_map(as_it_ran));
    moves.extend(names(now, id));
    let new_has_flag = now.new.iter().any(Slot::has_boot_flag);
    let policies = now.old.iter().filter_map(own_policy);
    moves.extend(policies.filter(|_| !new_has_flag));
    let runs_unproven = |old: &&Slot| old.ran() && old.runs() && !old.is_proven();
    moves.extend(now.old.iter().filter(runs_unproven).map(|old| Move::Prove {
        container: old.id(),
    }));
    let is_back = now.old.iter().all(|old| !old.ran() || old.is_proven());
    // One that was in a restart loop before is so again, and need not run at this very moment.
    let in_order = now.old.iter().filter(|old| old.replica.condition.is_good());
    let beside: Vec<String> = in_order.map(Slot::id).collect();
    if is_back {
        let left = now.new.iter().filter(|new| new.exists());
        moves.extend(left.map(|new| Move::Remove {
            container: new.id(),
            beside: beside.clone(),
        }));
    }
    let is_done = moves.is_empty();
    Way { moves, is_done }
}

/// Where somebody else's container runs, nothing is started and nothing stopped: what this deployment made in vain
/// goes, and a new replica that failed is not taken for a second one of the service.
pub(super) fn beside_strangers(now: &Situation, id: &DeploymentId) -> Way {
    let all = now.old.iter().chain(&now.new);
    let fresh = all.filter(|slot| slot.seen.as_ref().is_some_and(|seen| seen.fresh));
    let mut moves: Vec<Move> = fresh
        .map(|slot| Move::Remove {
            container: slot.id(),
            beside: Vec::new(),
        })
        .collect();
    let holds_name = |new: &&Slot| {
        let seen = new.seen.as_ref();
        seen.is_some_and(|seen| !seen.running && !seen.fresh && seen.name == new.replica.name)
    };
    moves.extend(now.new.iter().filter(holds_name).map(|new| Move::Rename {
        container: new.id(),
        name: name_of_failed(&new.replica.name, &new.replica.container, id),
    }));
    Way::first(moves)
}

/// When nothing of the service runs, although the old release cannot be put back now: whatever can be started,
/// the old replicas before the new ones.
pub(super) fn anything(now: &Situation, refused: &BTreeSet<Move>) -> Next {
    let should_run = now.old.iter().any(Slot::ran);
    if now.something_runs() || !should_run {
        return Next::Stuck;
    }
    let startable = |slot: &&Slot| slot.seen.as_ref().is_some_and(|seen| seen.whole);
    now.old
        .iter()
        .filter(|old| old.ran())
        .chain(&now.new)
        .filter(startable)
        .map(|slot| Move::Start {
            container: slot.id(),
        })
        .find(|start| !refused.contains(start))
        .map_or(Next::Stuck, |start| Next::Do(vec![start]))
}

fn stops_of_new(now: &Situation) -> impl Iterator<Item = Move> {
    let running = now.new.iter().rev().filter(|new| new.runs());
    running.map(|new| Move::Stop {
        container: new.id(),
        grace: Grace::Short,
    })
}

fn is_refused_its_start(old: &Slot, refused: &BTreeSet<Move>) -> bool {
    let start = Move::Start {
        container: old.id(),
    };
    old.ran() && !old.runs() && refused.contains(&start)
}

/// Docker must not start a new replica at boot beside an old one.
fn flags_taken_from_new(now: &Situation) -> impl Iterator<Item = Move> {
    let flagged = now.new.iter().filter(|new| new.has_boot_flag());
    flagged.map(|new| Move::StayDown {
        container: new.id(),
    })
}

/// Adds the moves after which every old replica exists in a form in which it can be started. Returns whether
/// that is so already, for those that are to run.
fn moves_to_exist(now: &Situation, moves: &mut Vec<Move>) -> bool {
    let mut all_there = true;
    for old in &now.old {
        let origins: &[Origin] = match &old.seen {
            None => &[Origin::SameConfiguration, Origin::PreviousImage],
            Some(seen) if !seen.running && !seen.whole && old.ran() => &[Origin::PreviousImage],
            Some(_) => continue,
        };
        all_there &= !old.ran();
        // In this order: the second best is made where the best is refused.
        moves.extend(origins.iter().map(|&from| Move::Recreate {
            container: old.id(),
            from,
        }));
    }
    all_there
}

/// What was stopped through the API comes back at boot with `always` only.
fn flags_given_to_old(now: &Situation) -> impl Iterator<Item = Move> {
    let new_has_flag = now.new.iter().any(Slot::has_boot_flag);
    now.old.iter().filter_map(move |old| {
        let seen = old.seen.as_ref()?;
        let is_due = old.ran()
            && !seen.running
            && starts_at_boot(&old.replica.restart_policy)
            && seen.policy.name != "always";
        (is_due && !new_has_flag).then(|| Move::KeepAtBoot {
            container: old.id(),
        })
    })
}

/// It runs if it ran, and only then.
fn as_it_ran(old: &Slot) -> Option<Move> {
    let seen = old.seen.as_ref()?;
    match (old.ran(), seen.running) {
        (true, false) => Some(Move::Start {
            container: old.id(),
        }),
        (false, true) => Some(Move::Stop {
            container: old.id(),
            grace: Grace::Own,
        }),
        _ => None,
    }
}

/// Every old replica has its name, which a new one may have to give up first.
fn names(now: &Situation, id: &DeploymentId) -> Vec<Move> {
    let mut moves = Vec::new();
    for old in &now.old {
        let name = &old.replica.name;
        let has_name = |slot: &Slot| slot.seen.as_ref().is_some_and(|seen| seen.name == *name);
        if has_name(old) || !old.exists() {
            continue;
        }
        moves.extend(
            now.new
                .iter()
                .filter(|new| has_name(new))
                .map(|new| Move::Rename {
                    container: new.id(),
                    name: name_of_failed(name, &new.replica.container, id),
                }),
        );
        moves.push(Move::Rename {
            container: old.id(),
            name: name.clone(),
        });
    }
    moves
}

/// The policy with which it was found, once that keeps it up.
fn own_policy(old: &Slot) -> Option<Move> {
    let seen = old.seen.as_ref()?;
    let policy = &old.replica.restart_policy;
    let is_due = seen.running == old.ran() && !is_same_policy(&seen.policy, policy);
    is_due.then(|| Move::GivePolicy {
        container: old.id(),
        policy: policy.clone(),
    })
}
