//! What holds for the moves of a switch, from every prefix of every plan, whatever was done, half done, lost or
//! undone by somebody else.

#[path = "switch/any.rs"]
mod any;
#[path = "switch/moves.rs"]
mod moves;
#[path = "switch/power_cut.rs"]
mod power_cut;
#[path = "switch/start_first.rs"]
mod start_first;
#[path = "switch/world.rs"]
mod world;

use std::collections::BTreeSet;

use cutover_core::deployment::{Condition, Origin, Replica};
use cutover_core::switch::{Goal, Move, Next, Order, Patience, name_of_failed, next};
use proptest::prelude::*;
use proptest::sample::Index;

use any::{
    Disturbance, Disturbed, Last, Mask, Prefix, any_disturbance, any_mask, any_new, any_old,
    any_prefix, disturb, order,
};
use world::{Made, World, id, plan, replica, word};

/// More moves than any way takes; one that takes more goes in a circle.
const MOVES_MAX: usize = 200;

/// As it is unless a service asks for something else.
fn stop_first(_: &Replica) -> Order {
    Order::StopFirst
}

/// The world after the prefix; and whether everything up to the commit was made.
fn after(old: &[Replica], new: &[Replica], how: (usize, Mask), prefix: &Prefix) -> World {
    let (batch, mask) = how;
    let mut world = World::staged(old.to_vec(), new.to_vec(), order(mask));
    let moves = plan(old, new, &[batch], order(mask), &id());
    let made = prefix.moves.index(moves.len() + 1);
    for wanted in &moves[..made] {
        assert_eq!(world.make(wanted, 0), Made::Done, "{wanted:?}");
    }
    if let Some(last) = moves.get(made) {
        match (prefix.last, last) {
            (Last::Made, _) => drop(world.make(last, 0)),
            (Last::Half, Move::Stop { container, .. }) => {
                let found = world.containers.get_mut(container).expect("there");
                found.stopping = found.running;
            }
            _ => {}
        }
    }
    world
}

/// A walk to a goal, with everything that was disturbed on the way.
struct Walk<'a> {
    world: &'a mut World,
    disturbances: Vec<Disturbed>,
    moves: Vec<Move>,
}

impl Walk<'_> {
    /// Goes on until nothing more can be done. Rounds follow each other as long as something is disturbed.
    fn go(&mut self, goal: Goal) -> Result<Next, TestCaseError> {
        let mut refused = BTreeSet::new();
        let mut patience = Patience::Left;
        loop {
            prop_assert!(
                self.moves.len() < MOVES_MAX,
                "in a circle: {:#?}",
                self.moves
            );
            let epoch = self.world.epoch;
            let seen = self.world.look();
            let moves = match next(goal, &seen, &refused, patience, &id()) {
                Next::Do(moves) => moves,
                end if !self.disturbances.is_empty() => {
                    // The rest of what happens, happens now; then it is looked at again.
                    for disturbed in std::mem::take(&mut self.disturbances) {
                        disturb(self.world, &disturbed);
                    }
                    refused.clear();
                    drop(end);
                    continue;
                }
                Next::Stuck if patience == Patience::Left => {
                    patience = Patience::Exhausted;
                    refused.clear();
                    continue;
                }
                end => return Ok(end),
            };
            // Since the look.
            let mut disturbed = Vec::new();
            for wanted in moves {
                disturbed.extend(self.disturb());
                let before = self.world.clone();
                self.moves.push(wanted.clone());
                match self.world.make(&wanted, epoch) {
                    Made::Done => {
                        check_removal(goal, &wanted, &disturbed, self.world)?;
                        if disturbed.is_empty() {
                            check_stop(goal, &wanted, &before)?;
                            check_move(&wanted, &before, self.world)?;
                        }
                    }
                    Made::Refused => drop(refused.insert(wanted)),
                }
            }
        }
    }

    /// What somebody else does before the next move happens.
    fn disturb(&mut self) -> Vec<Disturbed> {
        let now = self.moves.len();
        let (due, later) = std::mem::take(&mut self.disturbances)
            .into_iter()
            .partition(|disturbed| disturbed.before_move <= now);
        self.disturbances = later;
        let due: Vec<Disturbed> = due;
        for disturbed in &due {
            disturb(self.world, disturbed);
        }
        due
    }
}

/// The replicas that are to run at the goal.
fn wanted_at(goal: Goal, world: &World) -> impl Iterator<Item = &Replica> {
    let all = match goal {
        Goal::Old => &world.old,
        Goal::New => &world.new,
    };
    all.iter()
        .filter(move |one| goal == Goal::New || one.condition.is_good())
}

/// Also where Docker died between the look and the move: nothing is removed unless what is to run in its place runs.
fn check_removal(
    goal: Goal,
    wanted: &Move,
    due: &[Disturbed],
    after: &World,
) -> Result<(), TestCaseError> {
    let only_docker = due
        .iter()
        .all(|due| matches!(due.what, Disturbance::DockerDies));
    if matches!(wanted, Move::Remove { .. }) && only_docker {
        let runs = |one: &Replica| {
            let found = after.containers.get(&one.container);
            found.is_some_and(|found| found.running)
        };
        prop_assert!(wanted_at(goal, after).all(runs), "{wanted:?}: {after:#?}");
    }
    Ok(())
}

/// What is to run in its place exists, and can be started, before anything of the other side is stopped.
fn check_stop(goal: Goal, wanted: &Move, before: &World) -> Result<(), TestCaseError> {
    let Move::Stop { container, .. } = wanted else {
        return Ok(());
    };
    let can_run = |one: &Replica| {
        let found = before.containers.get(&one.container);
        found.is_some_and(|found| found.running || found.whole)
    };
    let is_its_own = wanted_at(goal, before).any(|one| one.container == *container);
    prop_assert!(
        is_its_own || wanted_at(goal, before).all(can_run),
        "{wanted:?}: {before:#?}"
    );
    Ok(())
}

/// What every single move keeps, where nothing was disturbed between the look and the move.
fn check_move(wanted: &Move, before: &World, after: &World) -> Result<(), TestCaseError> {
    if let Move::Remove { container, .. } = wanted {
        let found = before.containers.get(container);
        prop_assert!(found.is_none_or(|found| !found.running), "{wanted:?}");
        let should_run = before.old.iter().any(|old| old.condition.ran());
        prop_assert!(after.runs() || !should_run, "nothing left: {wanted:?}");
    }
    let both = |world: &World| {
        let flagged = [world.flagged(&world.old), world.flagged(&world.new)].concat();
        let is_new = |id: &String| id.starts_with("new");
        flagged.iter().any(is_new) && !flagged.iter().all(is_new)
    };
    prop_assert!(both(before) || !both(after), "both at boot: {wanted:?}");
    // A stop that was still at work may come to its end while the container is watched.
    let may_end = matches!(wanted, Move::Stop { .. } | Move::Prove { .. });
    prop_assert!(
        may_end || !before.runs() || after.runs(),
        "{wanted:?} ended what ran"
    );
    Ok(())
}

/// Every old replica as it was found, every new one gone.
fn is_old(world: &World) -> bool {
    let as_found = |old: &Replica| {
        let found = world.containers.get(&old.container);
        found.is_some_and(|found| {
            found.running == old.condition.ran()
                && found.name == old.name
                && found.policy == old.restart_policy
        })
    };
    world.old.iter().all(as_found) && world.containers.len() == world.old.len()
}

/// Every new replica runs under its name and policy, every old one gone.
fn is_new(world: &World) -> bool {
    let as_wanted = |new: &Replica| {
        let found = world.containers.get(&new.container);
        found.is_some_and(|found| {
            found.running && found.name == new.name && found.policy == new.restart_policy
        })
    };
    world.new.iter().all(as_wanted) && world.containers.len() == world.new.len()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

    #[test]
    fn from_every_prefix_the_way_back_ends_in_the_old_release(
        (old, new, how, prefix) in (any_old(), any_new(), (1..=4_usize, any_mask()), any_prefix()),
        disturbances in prop::collection::vec(any_disturbance(), 0..4),
    ) {
        let mut world = after(&old, &new, how, &prefix);
        let mut walk = Walk { world: &mut world, disturbances, moves: vec![] };
        let end = walk.go(Goal::Old)?;
        let moves = walk.moves.clone();
        prop_assert_eq!(end, Next::Done, "{:#?}\n{:#?}", moves, &world);
        prop_assert!(is_old(&world), "{:#?}\n{:#?}", moves, &world);
        // Doing it twice is doing it once.
        let mut again = Walk { world: &mut world, disturbances: vec![], moves: vec![] };
        prop_assert_eq!(again.go(Goal::Old)?, Next::Done);
        prop_assert!(again.moves.is_empty(), "{:?}", again.moves);
    }

    #[test]
    fn after_the_commit_the_way_on_ends_in_the_new_release_or_stands_still_for_the_way_back(
        (old, new, batch, mask) in (any_old(), any_new(), 1..=4_usize, any_mask()),
        disturbances in prop::collection::vec(any_disturbance(), 0..4),
    ) {
        let mut world = World::staged(old.clone(), new.clone(), order(mask));
        for wanted in plan(&old, &new, &[batch], order(mask), &id()) {
            prop_assert_eq!(world.make(&wanted, 0), Made::Done);
        }
        let mut walk = Walk { world: &mut world, disturbances, moves: vec![] };
        let end = walk.go(Goal::New)?;
        let moves = walk.moves.clone();
        if end == Next::Stuck {
            // Somebody removed a new one, or what it needs. What is left of the old release comes back.
            let cannot_run = |new: &Replica| {
                let found = world.containers.get(&new.container);
                found.is_none_or(|found| !found.running && !found.whole)
            };
            prop_assert!(new.iter().any(cannot_run), "{:#?}\n{:#?}", moves, &world);
            let mut back = Walk { world: &mut world, disturbances: vec![], moves: vec![] };
            prop_assert_eq!(back.go(Goal::Old)?, Next::Done);
            prop_assert!(is_old(&world), "{:#?}", &world);
        } else {
            prop_assert_eq!(end, Next::Done, "{:#?}\n{:#?}", moves, &world);
            prop_assert!(is_new(&world), "{:#?}\n{:#?}", moves, &world);
            let mut again = Walk { world: &mut world, disturbances: vec![], moves: vec![] };
            prop_assert_eq!(again.go(Goal::New)?, Next::Done);
            prop_assert!(again.moves.is_empty(), "{:?}", again.moves);
        }
    }

    #[test]
    fn where_docker_refuses_something_runs_in_the_end_if_anything_can(
        (old, new, how, prefix) in (any_old(), any_new(), (1..=4_usize, any_mask()), any_prefix()),
        disturbances in prop::collection::vec(any_disturbance(), 0..3),
        refusals in prop::collection::vec((any::<Index>(), 0..5_u8), 1..6),
    ) {
        let mut world = after(&old, &new, how, &prefix);
        let ids: Vec<String> = world.containers.keys().cloned().collect();
        for (which, kind) in refusals {
            let container = which.get(&ids).clone();
            let recreate = |from| Move::Recreate { container: container.clone(), from };
            world.refuses.extend(match kind {
                0 => vec![Move::Start { container }],
                1 => vec![Move::Stop { container, grace: cutover_core::switch::Grace::Short }],
                2 => vec![Move::StayDown { container }],
                3 => vec![recreate(Origin::SameConfiguration)],
                _ => vec![recreate(Origin::SameConfiguration), recreate(Origin::PreviousImage)],
            });
        }
        let mut walk = Walk { world: &mut world, disturbances, moves: vec![] };
        let end = walk.go(Goal::Old)?;
        let moves = walk.moves.clone();
        let should_run = old.iter().any(|old| old.condition.ran());
        let could_run = world.containers.iter().any(|(container, found)| {
            found.whole && !world.refuses.contains(&Move::Start { container: container.clone() })
        });
        prop_assert!(
            world.runs() || !should_run || !could_run,
            "{:?}: nothing runs although something could: {:#?}\n{:#?}", end, moves, &world
        );
        // Once Docker refuses nothing any more, it ends in the old release.
        world.refuses.clear();
        let mut later = Walk { world: &mut world, disturbances: vec![], moves: vec![] };
        prop_assert_eq!(later.go(Goal::Old)?, Next::Done);
        prop_assert!(is_old(&world), "{:#?}", &world);
    }
}

#[test]
fn somebody_elses_container_is_not_fought() {
    let old = vec![replica("old1", 1, "always", Condition::Running)];
    let new = vec![replica("new1", 1, "always", Condition::Stopped)];
    let mut world = World::staged(old.clone(), new.clone(), stop_first);
    world.strangers.push("somebody's".to_owned());
    let goes_back = |world: &mut World| {
        let mut made = Vec::new();
        let none = BTreeSet::new();
        while let Next::Do(moves) = next(Goal::Old, &world.look(), &none, Patience::Left, &id()) {
            for wanted in moves {
                assert_eq!(world.make(&wanted, 0), Made::Done);
                made.push(word(&wanted));
            }
        }
        made
    };
    let on = next(
        Goal::New,
        &world.look(),
        &BTreeSet::new(),
        Patience::Exhausted,
        &id(),
    );
    assert_eq!(on, Next::Stuck);
    // What was created and never started goes; what runs is left alone.
    assert_eq!(goes_back(&mut world.clone()), ["Remove new1"]);
    // A new one that was started and ended only gives up the service's name.
    for wanted in plan(&old, &new, &[1], stop_first, &id()) {
        assert_eq!(world.make(&wanted, 0), Made::Done);
    }
    assert_eq!(goes_back(&mut world), [] as [&str; 0], "it runs");
    world
        .containers
        .get_mut("new1")
        .expect("made")
        .end_by_call();
    let failed = name_of_failed("shop-app-1", "new1", &id());
    assert_eq!(goes_back(&mut world), [format!("Rename new1 {failed}")]);
}

/// As long as it is worth trying again what was refused, nothing else is started.
#[test]
fn only_when_going_back_was_refused_often_enough_is_the_new_release_better_than_nothing() {
    let old = vec![replica("old1", 1, "always", Condition::Running)];
    let new = vec![replica("new1", 1, "always", Condition::Stopped)];
    let mut world = World::staged(old.clone(), new.clone(), stop_first);
    for wanted in plan(&old, &new, &[1], stop_first, &id()) {
        assert_eq!(world.make(&wanted, 0), Made::Done);
    }
    world
        .containers
        .get_mut("new1")
        .expect("made")
        .end_by_call();
    let start = |container: &str| Move::Start {
        container: container.to_owned(),
    };
    let after = |goal, container: &str, patience| {
        let mut world = world.clone();
        let refused = BTreeSet::from([start(container)]);
        loop {
            match next(goal, &world.look(), &refused, patience, &id()) {
                Next::Do(moves) if matches!(moves[0], Move::Start { .. }) => {
                    return Next::Do(moves);
                }
                Next::Do(moves) => {
                    for wanted in moves {
                        assert_eq!(world.make(&wanted, 0), Made::Done);
                    }
                }
                end => return end,
            }
        }
    };
    assert_eq!(after(Goal::Old, "old1", Patience::Left), Next::Stuck);
    let better = after(Goal::Old, "old1", Patience::Exhausted);
    assert_eq!(better, Next::Do(vec![start("new1")]));
    for patience in [Patience::Left, Patience::Exhausted] {
        assert_eq!(after(Goal::New, "new1", patience), Next::Stuck);
    }
}
