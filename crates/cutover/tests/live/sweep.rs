//! Something happens at one call of a deployment, of a rollback or of a recovery: before it, after it, or to it. Eight
//! calls of each kind, spread evenly over all that a clean run makes; `cargo xtask torture --sweep` does all of them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cutover_testkit::engine::packages::ComposeVersion;
use cutover_testkit::torture::fault::Fault;
use cutover_testkit::torture::ground::Ground;
use cutover_testkit::torture::release::Shape;
use cutover_testkit::torture::sweep::{Blow, Point, Scenario, recoveries};
use cutover_testkit::torture::verdict::Verdict;

use crate::CUTOVER;

/// The longest that things take until they are at rest, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Of each kind, over all scenarios together.
const POINTS: usize = 8;

/// Sweeps over a deployment, a rollback and two recoveries, one after the other.
fn sweep(names: &[&str]) {
    let third = Ground::with(CUTOVER, Shape::USUAL, |ground| {
        let scenarios = scenarios(ground);
        let points = POINTS.div_ceil(scenarios.len());
        let all = scenarios.iter();
        all.flat_map(|scenario| sweep_one(*scenario, names, points, ground))
            .collect()
    });
    judge(third.expect("a ground"));
}

/// Sweeps over releases of several services: some scenarios with the newest Compose and, beside them, the others with the
/// oldest.
fn sweep_several(names: &[&str]) {
    let both = [ComposeVersion::Newest, ComposeVersion::Oldest];
    let play = |first: usize| {
        let shape = Shape::SEVERAL.with_compose(both[first]);
        let third = Ground::with(CUTOVER, shape, |ground| {
            let scenarios = scenarios(ground);
            let points = POINTS.div_ceil(scenarios.len());
            let some = scenarios.iter().skip(first).step_by(both.len());
            some.flat_map(|scenario| sweep_one(*scenario, names, points, ground))
                .collect::<Vec<_>>()
        });
        third.expect("a ground")
    };
    let third = std::thread::scope(|threads| {
        let other = threads.spawn(|| play(1));
        let mut third = play(0);
        third.extend(other.join().expect("played"));
        third
    });
    judge(third);
}

/// Sweeps over releases of several replicas: a deployment and a rollback.
fn sweep_replicas(names: &[&str]) {
    let third = Ground::with(CUTOVER, Shape::REPLICAS, |ground| {
        let scenarios = [Scenario::Deployment, Scenario::Rollback].into_iter();
        let some = scenarios.flat_map(|scenario| sweep_one(scenario, names, POINTS / 4, ground));
        some.collect::<Vec<_>>()
    });
    judge(third.expect("a ground"));
}

/// The kinds that take long by themselves and wait most of it, as when a call hangs for its bound: the scenarios beside
/// each other, each on a ground of its own.
fn sweep_beside_each_other(names: &[&str]) {
    let third = Ground::with(CUTOVER, Shape::USUAL, |ground| {
        let scenarios = scenarios(ground);
        let points = POINTS.div_ceil(scenarios.len());
        let (first, others) = scenarios.split_first().expect("a scenario");
        std::thread::scope(|threads| {
            let play = |scenario| {
                threads.spawn(move || {
                    let third = Ground::with(CUTOVER, Shape::USUAL, |ground| {
                        sweep_one(scenario, names, points, ground)
                    });
                    third.expect("a ground")
                })
            };
            let others: Vec<_> = others.iter().copied().map(play).collect();
            let mut third = sweep_one(*first, names, points, ground);
            let ended = others.into_iter().map(|thread| thread.join());
            third.extend(ended.flat_map(|third| third.expect("played")));
            third
        })
    });
    judge(third.expect("a ground"));
}

fn scenarios(ground: &mut Ground) -> Vec<Scenario> {
    let (calls, _) = calls(Scenario::Deployment, ground);
    let mut scenarios = vec![Scenario::Deployment, Scenario::Rollback];
    scenarios.extend(recoveries(&calls));
    scenarios
}

/// The calls of a clean run, and the number of the first that is swept over. Whichever sweep comes first counts them for
/// all that have services of this shape.
fn calls(scenario: Scenario, ground: &mut Ground) -> (Vec<String>, usize) {
    type Counted = Vec<((Shape, Scenario), (Vec<String>, usize))>;
    static COUNTED: Mutex<Counted> = Mutex::new(Vec::new());
    let mut counted = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (ground.shape(), scenario);
    if let Some((_, known)) = counted.iter().find(|(of, _)| *of == key) {
        return known.clone();
    }
    let clean = scenario.calls(ground).expect("a clean run");
    counted.push((key, clean.clone()));
    clean
}

/// So many points of each kind. Returns what is wrong with how they ended.
fn sweep_one(
    scenario: Scenario,
    names: &[&str],
    points: usize,
    ground: &mut Ground,
) -> Vec<String> {
    let (calls, first) = calls(scenario, ground);
    let named = |name| Blow::named(name).expect("a blow");
    let mut third = Vec::new();
    for blow in names.iter().flat_map(|name| named(name)) {
        let kinds = if matches!(blow, Blow::Call(_)) { 1 } else { 2 };
        let limit = points.div_ceil(kinds);
        for point in Point::spread(scenario, blow, first..calls.len(), Some(limit)) {
            third.extend(play(point, ground));
        }
    }
    third
}

fn judge(third: Vec<String>) {
    assert!(third.is_empty(), "{}", third.join("\n"));
}

/// What is wrong with how it ended, if anything is.
fn play(point: Point, ground: &mut Ground) -> Option<String> {
    let details = tempfile::tempdir().expect("a directory");
    let swept = point.play(ground, PATIENCE, details.path());
    let ending = swept.expect("a ground in order").ending;
    matches!(ending.verdict, Verdict::Third(_)).then(|| format!("{point}:\n{}", ending.story))
}

#[test]
fn a_call_that_fails_or_is_answered_twice_or_not_at_all_loses_nothing() {
    sweep(&["error", "lost-answer", "twice"]);
}

#[test]
fn every_service_of_a_release_is_of_one_release_whatever_happens_at_a_call() {
    let faults = [Fault::KillCutover, Fault::KillDocker, Fault::PowerCut];
    sweep_several(&faults.map(Fault::as_str));
}

#[test]
fn every_replica_is_of_one_release_whatever_happens_at_a_call() {
    let faults = [Fault::KillCutover, Fault::KillDocker, Fault::PowerCut];
    sweep_replicas(&faults.map(Fault::as_str));
}

#[test]
fn a_call_that_hangs_loses_nothing() {
    sweep_beside_each_other(&["hang"]);
}

#[test]
fn a_kill_of_cutover_or_of_docker_at_any_call_loses_nothing() {
    let faults = [Fault::KillCutover, Fault::KillDocker];
    sweep(&faults.map(Fault::as_str));
}

#[test]
fn a_restart_of_docker_at_any_call_loses_nothing() {
    sweep(&[Fault::RestartDocker.as_str()]);
}

#[test]
fn a_power_cut_at_any_call_loses_nothing() {
    sweep(&[Fault::PowerCut.as_str()]);
}

#[test]
fn a_docker_that_leaves_containers_running_loses_nothing() {
    let faults = [Fault::KillDockerLive, Fault::RestartDockerLive];
    sweep(&faults.map(Fault::as_str));
}

#[test]
fn a_full_disk_at_any_call_loses_nothing() {
    sweep_beside_each_other(&[Fault::DiskFull.as_str()]);
}

#[test]
fn compose_by_hand_at_any_call_loses_nothing() {
    let faults = [Fault::HandUp, Fault::HandRecreate, Fault::HandDown];
    sweep(&faults.map(Fault::as_str));
}

#[test]
fn docker_by_hand_at_any_call_loses_nothing() {
    let faults = [Fault::HandRestart, Fault::HandRemove, Fault::HandPrune];
    sweep(&faults.map(Fault::as_str));
}
