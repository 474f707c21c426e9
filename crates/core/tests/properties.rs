//! What holds for every deployment, whatever happens in whatever order.

#[path = "strategy/events.rs"]
mod events;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{
    Condition, Deployment, Event, Failure, IfUnchanged, Origin, PinnedImage, Proof, Recreated,
    Replica, Request, RestartPolicy, Status, UnixMillis, WayBack, Witness, next_status,
};
use cutover_core::names::{DeploymentId, ServiceName, Tag};
use cutover_core::recovery::{RECOVERIES_MAX, Recovery, Reruns, recover};
use proptest::prelude::*;

use events::{any_event, any_events, legal_events};

fn id() -> DeploymentId {
    DeploymentId::new("01938f3e-7c1a-7abc-8def-0123456789ab").expect("a UUID")
}

/// The deployment that `events` tell of, event number n at millisecond n; what cannot follow is left out.
fn fold(events: &[Event]) -> Deployment {
    let Some((Event::Requested(request), rest)) = events.split_first() else {
        panic!("the first event is no request: {events:?}");
    };
    let mut deployment = Deployment::requested(id(), request.clone(), UnixMillis(0));
    for (at, event) in (1..).zip(rest) {
        let _refused = deployment.apply(event, UnixMillis(at));
    }
    deployment
}

proptest! {
    #[test]
    fn nothing_follows_an_end(events in any_events(), next in any_event()) {
        let mut deployment = fold(&events);
        let ended = deployment.clone();
        prop_assume!(deployment.status().is_end());
        prop_assume!(deployment.status() != Status::RollbackFailed);
        prop_assert!(deployment.apply(&next, UnixMillis(1000)).is_err());
        prop_assert_eq!(deployment, ended);
    }

    /// What the daemon goes on trying after the answer is told behind it, and can only make it better.
    #[test]
    fn what_follows_a_failed_rollback_ends_rolled_back_or_stays_as_it_is(
        was_committed in any::<bool>(),
        later in prop::collection::vec(any_event(), 0..5),
        next in any_event(),
    ) {
        let mut events = [vec![Event::Requested(request())], up_to_the_switch()].concat();
        if was_committed {
            events.extend([Event::VerifyStarted { checks: String::new() }, Event::Committed { proof: None, proofs: std::collections::BTreeMap::new() }]);
        } else {
            events.push(Event::RollbackStarted(failure()));
        }
        events.push(rollback_failed());
        events.extend(later);
        let mut deployment = fold(&events);
        prop_assume!(deployment.status() == Status::RollbackFailed);
        if deployment.apply(&next, UnixMillis(1000)).is_ok() {
            let after = deployment.status();
            prop_assert!(matches!(after, Status::RollbackFailed | Status::RolledBack));
            prop_assert_eq!(after == Status::RolledBack, matches!(next, Event::RolledBack { .. }));
        }
    }

    #[test]
    fn the_fold_goes_where_next_status_says(events in any_events(), next in any_event()) {
        let mut deployment = fold(&events);
        let before = deployment.clone();
        let at = UnixMillis(1000);
        match next_status(Some(before.status()), &next) {
            Ok(after) => {
                prop_assert_eq!(deployment.apply(&next, at), Ok(()));
                prop_assert_eq!(deployment.status(), after);
                prop_assert_eq!(deployment.events, before.events + 1);
                prop_assert_eq!(deployment.finished_at, after.is_end().then_some(at));
            }
            Err(illegal) => {
                prop_assert_eq!(illegal.status, before.status().as_str());
                prop_assert_eq!(illegal.event, next.kind());
                prop_assert_eq!(deployment.apply(&next, at), Err(illegal));
                prop_assert_eq!(deployment, before);
            }
        }
    }

    #[test]
    fn the_outcome_says_whether_anything_was_changed(events in legal_events()) {
        let deployment = fold(&events);
        let switched = events.contains(&Event::SwitchStarted);
        prop_assert_eq!(deployment.switch_started, switched);
        prop_assert_eq!(deployment.status().is_before_switch(), !switched);
        let committed = events.iter().any(|event| matches!(event, Event::Committed { .. }));
        if deployment.status() == Status::RolledBack && committed {
            let failed = events.iter().any(|event| matches!(event, Event::RollbackFailed { .. }));
            prop_assert!(failed);
        }
        if deployment.status() == Status::Succeeded {
            prop_assert!(committed);
        }
    }

    #[test]
    fn a_legal_event_is_never_left_out(events in legal_events()) {
        let deployment = fold(&events);
        prop_assert_eq!(deployment.events, events.len() as u64);
        let recoveries = events.iter().filter(|event| **event == Event::RecoveryStarted).count();
        prop_assert_eq!(deployment.recoveries as usize, recoveries);
    }

    #[test]
    fn whatever_is_unfinished_is_recovered_by_events_that_can_follow(
        events in legal_events(),
        now in 0..10_000_i64,
        deadline_ms in 0..10_000_u64,
        may_run_again in proptest::bool::ANY,
    ) {
        let deployment = fold(&events);
        let reruns = if may_run_again { Reruns::Allowed } else { Reruns::Forbidden };
        let deadline = Duration::from_millis(deadline_ms);
        let decision = recover(&deployment, UnixMillis(now), deadline, reruns);
        prop_assert_eq!(decision.is_none(), deployment.status().is_end());
        let Some(decision) = decision else { return Ok(()) };
        let mut after = deployment.clone();
        for event in carried_out(decision, deployment.status()) {
            prop_assert_eq!(after.apply(&event, UnixMillis(now)), Ok(()), "{:?}", decision);
        }
        let again = matches!(decision, Recovery::RunAgain | Recovery::DiscardAndRunAgain);
        prop_assert_eq!(after.status().is_end(), !again);
    }
}

/// The events by which a decision about an unfinished deployment is carried out, when all goes well.
fn carried_out(decision: Recovery, status: Status) -> Vec<Event> {
    let back = match status {
        Status::Switching | Status::Verifying => vec![Event::RollbackStarted(failure())],
        _ => vec![],
    };
    match decision {
        Recovery::RunAgain | Recovery::DiscardAndRunAgain => {
            vec![Event::RecoveryStarted, pull_started()]
        }
        Recovery::GiveUp | Recovery::Discard => vec![Event::Failed(failure())],
        Recovery::RollBack => [
            back,
            vec![Event::RolledBack {
                condition: None,
                proof: None,
            }],
        ]
        .concat(),
        Recovery::RollForward => vec![Event::Succeeded],
        Recovery::AskOperator => [back, vec![rollback_failed()]].concat(),
    }
}

#[test]
fn a_daemon_that_always_dies_asks_an_operator_in_the_end() {
    for (begun, last) in [
        (vec![], Recovery::GiveUp),
        (vec![pull_started()], Recovery::GiveUp),
        (up_to_the_switch(), Recovery::AskOperator),
    ] {
        let mut deployment = fold(&[vec![Event::Requested(request())], begun].concat());
        let mut decisions = Vec::new();
        for _ in 0..=RECOVERIES_MAX {
            let now = UnixMillis(5);
            let deadline = Duration::from_secs(600);
            decisions
                .push(recover(&deployment, now, deadline, Reruns::Allowed).expect("not ended"));
            deployment
                .apply(&Event::RecoveryStarted, now)
                .expect("a recovery can always begin");
        }
        let (found, before) = decisions.split_last().expect("several");
        assert_eq!(*found, last);
        assert!(!before.contains(&last), "{before:?}");
    }
}

/// From each status, where one event of each kind leads.
fn steps() -> HashMap<Status, HashSet<Status>> {
    Status::ALL
        .iter()
        .map(|&from| {
            let next = one_of_each();
            let to = next
                .iter()
                .filter_map(|event| next_status(Some(from), event).ok());
            (from, to.collect())
        })
        .collect()
}

fn reachable(from: Status, steps: &HashMap<Status, HashSet<Status>>) -> HashSet<Status> {
    let mut seen = HashSet::from([from]);
    let mut fresh = vec![from];
    while let Some(status) = fresh.pop() {
        fresh.extend(steps[&status].iter().filter(|&&next| seen.insert(next)));
    }
    seen
}

#[test]
fn every_status_is_reached_and_from_each_an_end_is() {
    let steps = steps();
    assert_eq!(reachable(Status::Queued, &steps).len(), Status::ALL.len());
    for &status in Status::ALL {
        let ahead = reachable(status, &steps);
        assert!(ahead.iter().any(|next| next.is_end()), "{status:?}");
        let is_last = status.is_end() && status != Status::RollbackFailed;
        assert_eq!(ahead.len() == 1, is_last, "{status:?}");
    }
}

#[test]
fn there_is_no_way_back_behind_the_switch_nor_behind_the_commit() {
    let steps = steps();
    let after_switch = reachable(Status::Switching, &steps);
    assert!(!after_switch.iter().any(|status| status.is_before_switch()));
    let after_commit = reachable(Status::Committed, &steps);
    assert!(!after_commit.contains(&Status::RollingBack));
    let rolling_back = reachable(Status::RollingBack, &steps);
    assert!(!rolling_back.contains(&Status::Committed));
}

#[test]
fn every_kind_of_event_can_follow_something_and_only_a_request_can_be_first() {
    let kinds: HashSet<_> = one_of_each().iter().map(Event::kind).collect();
    assert_eq!(kinds.len(), one_of_each().len());
    for event in one_of_each() {
        let first = next_status(None, &event);
        let is_request = matches!(event, Event::Requested(_));
        assert_eq!(first.is_ok(), is_request, "{event:?}");
        let follows = Status::ALL
            .iter()
            .any(|&status| next_status(Some(status), &event).is_ok());
        assert_eq!(follows, !is_request, "{event:?}");
    }
}

fn up_to_the_switch() -> Vec<Event> {
    vec![
        pull_started(),
        Event::StageStarted {
            old: vec![],
            tag_line: None,
        },
        Event::SwitchStarted,
    ]
}

fn request() -> Request {
    Request {
        service: ServiceName::new("app").expect("a service"),
        tag: Tag::new(&"a".repeat(40)).expect("a tag"),
        digest: None,
        actor: "ci".to_owned(),
        delivery_id: None,
        fingerprint: "f".to_owned(),
        rollback_to: None,
        way_back: WayBack::Needed,
        if_unchanged: IfUnchanged::default(),
    }
}

fn failure() -> Failure {
    Failure {
        cause: Cause::new(Code::Interrupted, Step::Recover, "the daemon died"),
        log: vec![],
    }
}

fn pull_started() -> Event {
    Event::PullStarted {
        reference: "shop:1".to_owned(),
    }
}

fn rollback_failed() -> Event {
    Event::RollbackFailed {
        cause: Cause::new(Code::RollbackFailed, Step::RollBack, "gone"),
        runs: "nothing".to_owned(),
    }
}

fn replica() -> Replica {
    Replica {
        project: "shop".to_owned(),
        service: "app".to_owned(),
        number: 1,
        container: "c1".to_owned(),
        name: "shop-app-1".to_owned(),
        image: "shop:1".to_owned(),
        image_id: "sha256:1".to_owned(),
        restart_policy: RestartPolicy::default(),
        aliases: std::collections::BTreeMap::new(),
        condition: Condition::Running,
    }
}

fn one_of_each() -> Vec<Event> {
    let word = || "x".to_owned();
    vec![
        Event::Requested(request()),
        pull_started(),
        Event::ImagePinned(PinnedImage {
            reference: word(),
            digest: None,
            id: word(),
        }),
        Event::FoundUnchanged {
            container: word(),
            proof: None,
        },
        Event::StageStarted {
            old: vec![],
            tag_line: None,
        },
        Event::Staged {
            jobs: Vec::new(),
            new: vec![replica()],
        },
        Event::SwitchStarted,
        Event::Switched {
            service: String::new(),
            outage_ms: 1,
        },
        Event::VerifyStarted { checks: word() },
        Event::Committed {
            proof: None,
            proofs: std::collections::BTreeMap::new(),
        },
        Event::Succeeded,
        Event::Failed(failure()),
        Event::RollbackStarted(failure()),
        Event::Restored { outage_ms: 1 },
        Event::Recreated(Recreated {
            replaces: word(),
            replica: replica(),
            from: Origin::PreviousImage,
        }),
        Event::RolledBack {
            condition: None,
            proof: None,
        },
        rollback_failed(),
        Event::Cancelled { why: word() },
        Event::RecoveryStarted,
        Event::Warned { what: word() },
    ]
}

/// From the stop of the one to the first good answer of the other; the record keeps the switch's own time.
#[test]
fn the_outage_ends_when_what_runs_answers() {
    let proof = Some(Proof {
        by: Witness::Check,
        for_ms: 5_000,
        answered_after_ms: 2_000,
    });
    let outage = |events: &[Event]| {
        let deployment = fold(events);
        (deployment.outage_ms, deployment.switch_ms)
    };
    let switched = [
        Event::Requested(request()),
        pull_started(),
        Event::StageStarted {
            tag_line: None,
            old: vec![replica()],
        },
        Event::SwitchStarted,
        Event::Switched {
            service: String::new(),
            outage_ms: 300,
        },
        Event::VerifyStarted {
            checks: String::new(),
        },
    ];
    let end = |last: &[Event]| outage(&[&switched[..], last].concat());
    assert_eq!(end(&[]), (Some(300), Some(300)));
    assert_eq!(
        end(&[Event::Committed {
            proof,
            proofs: std::collections::BTreeMap::new()
        }]),
        (Some(2_300), Some(300))
    );
    let back = [
        Event::RollbackStarted(failure()),
        Event::Restored { outage_ms: 4_000 },
        Event::RolledBack {
            condition: None,
            proof,
        },
    ];
    assert_eq!(end(&back), (Some(6_000), Some(300)));
}
