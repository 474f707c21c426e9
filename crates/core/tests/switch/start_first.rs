//! Start-first: the old replicas are not touched before the commit, and at every moment the service has its names.

use std::collections::BTreeSet;

use cutover_core::deployment::{Condition, Replica};
use cutover_core::switch::{Goal, Move, Next, Order, Patience, next};

use crate::world::{Made, World, id, plan, replica, word};
use crate::{is_new, is_old};

fn sides(restart: &str) -> (Vec<Replica>, Vec<Replica>) {
    let old = replica("old1", 1, restart, Condition::Running);
    let new = replica("new1", 1, restart, Condition::Stopped);
    (vec![old], vec![new])
}

fn start_first(_: &Replica) -> Order {
    Order::StartFirst
}

/// Goes the whole way; the service is served after each move. Returns the moves.
fn goes(goal: Goal, world: &mut World) -> Vec<String> {
    let (mut made, none) = (Vec::new(), BTreeSet::new());
    while let Next::Do(moves) = next(goal, &world.look(), &none, Patience::Left, &id()) {
        for wanted in moves {
            assert_eq!(world.make(&wanted, 0), Made::Done);
            made.push(word(&wanted));
            assert!(world.is_served(), "{wanted:?}: {world:#?}");
        }
    }
    made
}

#[test]
fn start_first_the_old_replica_is_stopped_after_the_commit() {
    let (old, new) = sides("unless-stopped");
    let mut world = World::staged(old.clone(), new.clone(), start_first);
    let moves = plan(&old, &new, &[1], start_first, &id());
    let words: Vec<String> = moves.iter().map(word).collect();
    let up_to_the_commit = [
        "Hold",
        "KeepAtBoot old1",
        "Start new1",
        "Prove new1",
        "Announce new1",
        "Release",
    ];
    assert_eq!(words, up_to_the_commit);
    for wanted in moves {
        assert_eq!(world.make(&wanted, 0), Made::Done);
        assert!(world.is_served(), "{wanted:?}");
    }
    assert_eq!(
        goes(Goal::New, &mut world),
        [
            "Stop old1",
            "StayDown old1",
            "GivePolicy new1",
            "Rename old1 shop-app-1_cutover-456789ab",
            "Rename new1 shop-app-1",
            "Remove old1",
        ]
    );
    assert!(is_new(&world));
}

#[test]
fn start_first_a_failure_before_the_commit_neither_stops_nor_starts_an_old_replica() {
    for restart in ["no", "always", "unless-stopped", "on-failure"] {
        let (old, new) = sides(restart);
        let mut world = World::staged(old.clone(), new.clone(), start_first);
        let moves = plan(&old, &new, &[1], start_first, &id());
        for made in 0..=moves.len() {
            let mut failed = world.clone();
            let back = goes(Goal::Old, &mut failed);
            let touches = |one: &&String| {
                let verb = one.split(' ').next().unwrap_or_default();
                one.ends_with(" old1") && matches!(verb, "Stop" | "Start" | "Recreate" | "Remove")
            };
            assert_eq!(back.iter().find(touches), None, "{restart}: {back:?}");
            assert!(is_old(&failed), "{restart}: {failed:#?}");
            if let Some(wanted) = moves.get(made) {
                assert_eq!(world.make(wanted, 0), Made::Done);
            }
        }
    }
}

/// As after a crash in the middle of a disconnect and a connect that somebody else began.
#[test]
fn nothing_is_stopped_before_the_new_replica_has_the_names_of_the_service() {
    let (old, new) = sides("always");
    let mut world = World::staged(old.clone(), new.clone(), start_first);
    for wanted in plan(&old, &new, &[1], start_first, &id()) {
        if !matches!(wanted, Move::Announce { .. }) {
            assert_eq!(world.make(&wanted, 0), Made::Done);
        }
    }
    let moves = goes(Goal::New, &mut world);
    assert_eq!(moves[..2], ["Announce new1", "Stop old1"]);
    assert!(is_new(&world));
}
