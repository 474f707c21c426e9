//! What Docker starts by itself after a power cut: one release, never both.

use std::collections::BTreeSet;

use cutover_core::deployment::Condition;
use cutover_core::switch::{Goal, Move, Next, Order, Patience, next};

use crate::world::{Made, World, id, plan, replica, word};
use crate::{is_new, is_old};

fn ways() -> impl Iterator<Item = (&'static str, Order)> {
    let orders = [Order::StopFirst, Order::StartFirst];
    let policies = ["always", "unless-stopped", "on-failure"];
    let all = orders.into_iter();
    all.flat_map(move |order| policies.map(|restart| (restart, order)))
}

#[test]
fn a_power_cut_at_any_moment_starts_exactly_one_release_but_after_one_documented_call() {
    for (restart, order) in ways() {
        let old = vec![replica("old1", 1, restart, Condition::Running)];
        let new = vec![replica("new1", 1, restart, Condition::Stopped)];
        let mut world = World::staged(old.clone(), new.clone(), |_| order);
        let mut none_after = Vec::new();
        for wanted in plan(&old, &new, &[1], |_| order, &id()) {
            assert_eq!(world.make(&wanted, 0), Made::Done);
            none_after.extend(starts_none_at_boot(&world, &word(&wanted)));
        }
        none_after.extend(goes(Goal::New, &mut world));
        assert!(is_new(&world));
        assert_eq!(none_after, ["StayDown old1"], "{restart}, {order:?}");
    }
}

/// Wherever the way back begins: in the plan, or after the commit, when the new release has its own policy already.
#[test]
fn a_power_cut_on_the_way_back_starts_exactly_one_release_but_after_one_documented_call() {
    for (restart, order) in ways() {
        let old = vec![replica("old1", 1, restart, Condition::Running)];
        let new = vec![replica("new1", 1, restart, Condition::Stopped)];
        let mut world = World::staged(old.clone(), new.clone(), |_| order);
        let mut begins = vec![world.clone()];
        for wanted in plan(&old, &new, &[1], |_| order, &id()) {
            assert_eq!(world.make(&wanted, 0), Made::Done);
            begins.push(world.clone());
        }
        let none = BTreeSet::new();
        while let Next::Do(moves) = next(Goal::New, &world.look(), &none, Patience::Left, &id()) {
            if matches!(moves[0], Move::Remove { .. }) {
                break;
            }
            for wanted in moves {
                assert_eq!(world.make(&wanted, 0), Made::Done);
                begins.push(world.clone());
            }
        }
        let mut none_after = BTreeSet::new();
        for mut world in begins {
            none_after.extend(goes(Goal::Old, &mut world));
            assert!(is_old(&world), "{restart}, {order:?}: {world:#?}");
        }
        assert_eq!(
            none_after,
            BTreeSet::from(["StayDown new1".to_owned()]),
            "{restart}, {order:?}"
        );
    }
}

/// Goes the whole way, and returns the moves after which Docker would start nothing by itself.
fn goes(goal: Goal, world: &mut World) -> Vec<String> {
    let mut none_after = Vec::new();
    let none = BTreeSet::new();
    while let Next::Do(moves) = next(goal, &world.look(), &none, Patience::Left, &id()) {
        for wanted in moves {
            assert_eq!(world.make(&wanted, 0), Made::Done);
            none_after.extend(starts_none_at_boot(world, &word(&wanted)));
        }
    }
    none_after
}

/// The move, if Docker would start nothing by itself after it; never is it more than one release.
fn starts_none_at_boot(world: &World, last: &str) -> Option<String> {
    let mut dead = world.clone();
    dead.docker_dies();
    let all = dead.containers.iter();
    let running: Vec<_> = all.filter(|(_, found)| found.running).collect();
    assert!(running.len() <= 1, "after {last}: {running:#?}");
    running.is_empty().then(|| last.to_owned())
}
