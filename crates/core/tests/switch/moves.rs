//! The moves up to the commit, one after the other.

use std::time::Duration;

use cutover_core::deployment::{Condition, Replica};
use cutover_core::switch::{Move, Order};

use crate::stop_first;
use crate::world::{id, plan, plan_with_delay, replica, word};

#[test]
fn one_replica_is_switched_stop_first_in_the_order_that_the_documents_name() {
    let old = [replica("old1", 1, "unless-stopped", Condition::Running)];
    let new = [replica("new1", 1, "unless-stopped", Condition::Stopped)];
    let words: Vec<String> = plan(&old, &new, &[1], stop_first, &id())
        .iter()
        .map(word)
        .collect();
    assert_eq!(
        words,
        [
            "Hold",
            "KeepAtBoot old1",
            "Drain old1",
            "Rename old1 shop-app-1_cutover-456789ab",
            "Rename new1 shop-app-1",
            "Stop old1",
            "Start new1",
            "Prove new1",
            "Release",
        ]
    );
}

#[test]
fn batches_are_proven_one_after_the_other() {
    let side = |name: &str| -> Vec<Replica> {
        let one = |number| replica(&format!("{name}{number}"), number, "no", Condition::Running);
        (1..=3).map(one).collect()
    };
    let delay = Duration::from_secs(3);
    let (old, new) = (side("old"), side("new"));
    let words: Vec<String> = plan_with_delay(&old, &new, &[2], stop_first, delay, &id())
        .iter()
        .filter(|wanted| !matches!(wanted, Move::Rename { .. }))
        .map(word)
        .collect();
    assert_eq!(
        words,
        [
            "Hold",
            "Drain old1 old2",
            "Stop old1",
            "Stop old2",
            "Start new1",
            "Start new2",
            "Prove new1",
            "Prove new2",
            "Release",
            "Pause 3s",
            "Hold",
            "Drain old3",
            "Stop old3",
            "Start new3",
            "Prove new3",
            "Release",
        ]
    );
}

/// Where a service gets fewer replicas, whatever their numbers.
#[test]
fn what_has_no_successor_stops_with_the_last_batch_of_its_service() {
    let replicas = |name: &str, numbers: &[u32]| -> Vec<Replica> {
        let one = |number: &u32| {
            let id = format!("{name}{number}");
            replica(&id, *number, "no", Condition::Running)
        };
        numbers.iter().map(one).collect()
    };
    let (old, new) = (replicas("old", &[1, 2, 3, 4]), replicas("new", &[2, 3]));
    let stops = |order: fn(&Replica) -> Order| -> Vec<String> {
        let moves = plan(&old, &new, &[1], order, &id()).into_iter();
        let some = moves.filter(|wanted| matches!(wanted, Move::Stop { .. } | Move::Prove { .. }));
        some.map(|wanted| word(&wanted)).collect()
    };
    let expected = [
        "Stop old2",
        "Prove new2",
        "Stop old1",
        "Stop old3",
        "Stop old4",
        "Prove new3",
    ];
    assert_eq!(stops(stop_first), expected);
    assert_eq!(stops(|_| Order::StartFirst), ["Prove new2", "Prove new3"]);
}
