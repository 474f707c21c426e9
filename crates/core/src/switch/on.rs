//! The way to the new release after the commit: every new replica runs under its name and policy, every old one
//! is gone.

use std::collections::BTreeSet;

use super::{Grace, Move, Situation, Slot, Way, is_same_policy, name_put_aside};
use crate::names::DeploymentId;

/// What can be done now towards the new release, the most urgent first.
pub(super) fn way(now: &Situation, refused: &BTreeSet<Move>, id: &DeploymentId) -> Way {
    let is_proven = now.new.iter().all(Slot::is_proven);
    let unknown: Vec<Move> = now.new.iter().filter_map(announcement).collect();
    if is_proven && !unknown.is_empty() {
        // Somebody has a hand in it; what is known by its names is not stopped before this one is.
        return Way::first(unknown);
    }
    if is_proven && !now.old.iter().any(Slot::runs) {
        settle(now, id)
    } else {
        run_again(now, refused)
    }
}

/// The new replicas are proven and run alone: they get what Docker keeps them up by, and the old ones go.
fn settle(now: &Situation, id: &DeploymentId) -> Way {
    let flagged: Vec<Move> = now
        .old
        .iter()
        .filter(|old| old.has_boot_flag())
        .map(|old| Move::StayDown {
            container: old.id(),
        })
        .collect();
    if !flagged.is_empty() {
        // A power cut before the new ones have their policies leaves nothing running until cutover starts,
        // which starts them; with both flags at once, both releases would run on the same volumes.
        return Way::first(flagged);
    }
    let mut moves: Vec<Move> = now.new.iter().filter_map(own_policy).collect();
    moves.extend(names(now, id));
    if !moves.is_empty() {
        return Way::first(moves);
    }
    let beside: Vec<String> = now.new.iter().map(Slot::id).collect();
    let moves: Vec<Move> = now
        .old
        .iter()
        .filter(|old| old.exists())
        .map(|old| Move::Remove {
            container: old.id(),
            beside: beside.clone(),
        })
        .collect();
    let is_done = moves.is_empty();
    Way { moves, is_done }
}

/// Docker was restarted since the commit, or somebody interfered: the new replicas run again, alone, and prove
/// themselves anew. The old ones stay what can be gone back to.
fn run_again(now: &Situation, refused: &BTreeSet<Move>) -> Way {
    if !now
        .new
        .iter()
        .all(|new| new.runs() || can_start(new, refused))
    {
        // What runs in its place is not stopped for that.
        return Way::first(Vec::new());
    }
    let mut moves = Vec::new();
    if !now.old.iter().chain(&now.new).any(Slot::has_boot_flag) {
        moves.extend(now.new.iter().filter_map(own_policy));
    }
    let old_that_run = now.old.iter().filter(|old| old.runs());
    moves.extend(old_that_run.map(|old| Move::Stop {
        container: old.id(),
        grace: Grace::Own,
    }));
    if now.old.iter().any(Slot::runs) {
        return Way::first(moves);
    }
    let down = now.new.iter().filter(|new| !new.runs());
    moves.extend(down.map(|new| Move::Start {
        container: new.id(),
    }));
    let unproven = now.new.iter().filter(|new| new.runs() && !new.is_proven());
    moves.extend(unproven.map(|new| Move::Prove {
        container: new.id(),
    }));
    Way::first(moves)
}

fn announcement(new: &Slot) -> Option<Move> {
    let seen = new.seen.as_ref().filter(|seen| !seen.announced);
    seen.map(|_| Move::Announce {
        container: new.id(),
        aliases: new.replica.aliases.clone(),
    })
}

fn own_policy(new: &Slot) -> Option<Move> {
    let policy = &new.replica.restart_policy;
    let seen = new.seen.as_ref()?;
    (!is_same_policy(&seen.policy, policy)).then(|| Move::GivePolicy {
        container: new.id(),
        policy: policy.clone(),
    })
}

fn can_start(new: &Slot, refused: &BTreeSet<Move>) -> bool {
    let start = Move::Start {
        container: new.id(),
    };
    new.seen.as_ref().is_some_and(|seen| seen.whole) && !refused.contains(&start)
}

/// Every new replica has its name, which an old one may have to give up first.
fn names(now: &Situation, id: &DeploymentId) -> Vec<Move> {
    let mut moves = Vec::new();
    for new in &now.new {
        let name = &new.replica.name;
        let has_name = |slot: &Slot| slot.seen.as_ref().is_some_and(|seen| seen.name == *name);
        if has_name(new) {
            continue;
        }
        moves.extend(
            now.old
                .iter()
                .filter(|old| has_name(old))
                .map(|old| Move::Rename {
                    container: old.id(),
                    name: name_put_aside(name, id),
                }),
        );
        moves.push(Move::Rename {
            container: new.id(),
            name: name.clone(),
        });
    }
    moves
}
