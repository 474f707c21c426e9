//! Random events of every kind, for the properties of the fold and of the journal.

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{
    Condition, Event, Failure, IfUnchanged, Origin, PinnedImage, Proof, Recreated, Replica,
    Request, RestartPolicy, WayBack, Witness, next_status,
};
use cutover_core::names::{DeliveryId, DeploymentId, ServiceName, Tag};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// A request, then events of any kind in any order, most of which cannot follow.
pub(crate) fn any_events() -> impl Strategy<Value = Vec<Event>> {
    (any_request(), prop::collection::vec(any_event(), 0..40)).prop_map(|(request, mut events)| {
        events.insert(0, Event::Requested(request));
        events
    })
}

/// A request, then events each of which can follow the one before.
pub(crate) fn legal_events() -> impl Strategy<Value = Vec<Event>> {
    any_events().prop_map(|events| {
        let mut status = None;
        let mut legal = Vec::new();
        for event in events {
            if let Ok(next) = next_status(status, &event) {
                status = Some(next);
                legal.push(event);
            }
        }
        legal
    })
}

/// One event; the kinds that end a deployment are rarer, so that runs get long.
pub(crate) fn any_event() -> impl Strategy<Value = Event> {
    let goes_on = prop_oneof![
        text().prop_map(|reference| Event::PullStarted { reference }),
        any_image().prop_map(Event::ImagePinned),
        any_replicas().prop_map(|old| Event::StageStarted {
            old,
            tag_line: None
        }),
        any_replicas().prop_map(|new| Event::Staged {
            new,
            jobs: Vec::new()
        }),
        any_recreated().prop_map(Event::Recreated),
        Just(Event::SwitchStarted),
        any_ms().prop_map(|outage_ms| Event::Switched {
            service: String::new(),
            outage_ms
        }),
        text().prop_map(|checks| Event::VerifyStarted { checks }),
        any_proof().prop_map(|proof| Event::Committed {
            proof,
            proofs: std::collections::BTreeMap::new()
        }),
        any_failure().prop_map(Event::RollbackStarted),
        any_ms().prop_map(|outage_ms| Event::Restored { outage_ms }),
        text().prop_map(|service| Event::JobStarted { service }),
        text().prop_map(|service| Event::JobEnded { service, code: 0 }),
        text().prop_map(|service| Event::DependentsRestarted {
            services: vec![service]
        }),
        any_ms().prop_map(|longest_ms| Event::Held {
            connections: 1,
            longest_ms
        }),
        Just(Event::RecoveryStarted),
        text().prop_map(|what| Event::Warned { what }),
        any_request().prop_map(Event::Requested),
    ];
    let ends = prop_oneof![
        (text(), any_proof())
            .prop_map(|(container, proof)| Event::FoundUnchanged { container, proof }),
        Just(Event::Succeeded),
        any_failure().prop_map(Event::Failed),
        any_proof().prop_map(|proof| Event::RolledBack {
            condition: None,
            proof
        }),
        (any_cause(), text()).prop_map(|(cause, runs)| Event::RollbackFailed { cause, runs }),
        text().prop_map(|why| Event::Cancelled { why }),
    ];
    prop_oneof![8 => goes_on, 1 => ends]
}

fn any_proof() -> impl Strategy<Value = Option<Proof>> {
    let by = prop_oneof![Just(Witness::Check), Just(Witness::Nobody)];
    let proof = (by, any_ms(), any_ms()).prop_map(|(by, for_ms, answered_after_ms)| Proof {
        by,
        for_ms,
        answered_after_ms,
    });
    proptest::option::of(proof)
}

const TEXTS: &[&str] = &[
    "",
    "sha256:0f0f",
    "ghcr.io/acme/shop:1",
    "it's \"quoted\"\\",
    "two\nlines\r\n\ttab",
    "nul\0 escape\u{1b}[31m",
    "größer 🐳 \u{202e}\u{feff}\u{fffd}",
    "{\"kind\":\"committed\"}",
];

/// Words as people and Docker write them: empty, with quotes, with control characters.
fn text() -> impl Strategy<Value = String> {
    select(TEXTS).prop_map(str::to_owned)
}

/// Durations up to more than a person would wait for, including none.
fn any_ms() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 1..1_000_000_u64, Just(u64::MAX)]
}

fn any_request() -> impl Strategy<Value = Request> {
    (
        select(&["app", "web-1", "shop.api"][..]),
        any::<u64>(),
        option::of(text()),
        text(),
        option::of(any::<u64>()),
        text(),
        option::of(any::<u32>()),
        select(vec![WayBack::Needed, WayBack::Waived]),
        select(vec![IfUnchanged::LeaveAlone, IfUnchanged::DeployAgain]),
    )
        .prop_map(
            |(
                service,
                tag,
                digest,
                actor,
                delivery_id,
                fingerprint,
                rollback_to,
                way_back,
                if_unchanged,
            )| {
                Request {
                    service: ServiceName::new(service).expect("a service"),
                    tag: Tag::new(&format!("{tag:040x}")).expect("a tag"),
                    digest,
                    actor,
                    delivery_id: delivery_id
                        .map(|id| DeliveryId::new(&format!("run:{id}")).expect("a delivery id")),
                    fingerprint,
                    rollback_to: rollback_to.map(|id| {
                        let uuid = format!("{id:08x}-7c1a-7abc-8def-0123456789ab");
                        DeploymentId::new(&uuid).expect("a UUID")
                    }),
                    way_back,
                    if_unchanged,
                }
            },
        )
}

fn any_image() -> impl Strategy<Value = PinnedImage> {
    (text(), option::of(text()), text()).prop_map(|(reference, digest, id)| PinnedImage {
        reference,
        digest,
        id,
    })
}

fn any_policy() -> impl Strategy<Value = RestartPolicy> {
    (text(), any::<i64>()).prop_map(|(name, retries_max)| RestartPolicy { name, retries_max })
}

fn any_replicas() -> impl Strategy<Value = Vec<Replica>> {
    prop::collection::vec(any_replica(), 0..3)
}

fn any_replica() -> impl Strategy<Value = Replica> {
    let condition = select(vec![
        Condition::Healthy,
        Condition::Running,
        Condition::Starting,
        Condition::Unhealthy,
        Condition::Restarting,
        Condition::Stopped,
    ]);
    let aliases = prop::collection::btree_map(text(), prop::collection::vec(text(), 0..2), 0..2);
    let names = (text(), text(), text(), text(), text(), text());
    (names, any::<u32>(), condition, any_policy(), aliases).prop_map(
        |(names, number, condition, restart_policy, aliases)| {
            let (project, service, container, name, image, image_id) = names;
            Replica {
                project,
                service,
                number,
                container,
                name,
                image,
                image_id,
                restart_policy,
                aliases,
                condition,
            }
        },
    )
}

fn any_recreated() -> impl Strategy<Value = Recreated> {
    let from = select(vec![Origin::SameConfiguration, Origin::PreviousImage]);
    (text(), any_replica(), from).prop_map(|(replaces, replica, from)| Recreated {
        replaces,
        replica,
        from,
    })
}

fn any_cause() -> impl Strategy<Value = Cause> {
    let step = select(vec![
        Step::Prepare,
        Step::Pull,
        Step::Stage,
        Step::Switch,
        Step::Verify,
        Step::CleanUp,
        Step::RollBack,
        Step::Recover,
    ]);
    (select(Code::ALL), step, text())
        .prop_map(|(code, step, detail)| Cause::new(code, step, detail))
}

fn any_failure() -> impl Strategy<Value = Failure> {
    (any_cause(), prop::collection::vec(text(), 0..4))
        .prop_map(|(cause, log)| Failure { cause, log })
}
