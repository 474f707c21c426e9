//! One deployment for each way that a deployment can go, with every kind of event among them.
//!
//! `tests/data/journal` holds this sample as each release wrote it. So nothing here is ever changed or
//! taken away; what a later version can say besides goes to the end.

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{
    Condition, Deployment, Event, Failure, IfUnchanged, Origin, PinnedImage, Proof, Recreated,
    Replica, Request, RestartPolicy, TagBefore, TagLine, WayBack, Witness,
};
use cutover_daemon::journal::Journal;

use crate::world::*;

/// The moment of the first request.
const BEGAN: i64 = 1_790_000_000_000;

/// How many words a cause could have in 0.1.0; later ones come after them.
const CODES_OF_0_1_0: usize = 26;

/// The requests, each with the events after it.
pub(crate) fn runs() -> Vec<(Request, Vec<Event>)> {
    let mut runs = vec![
        (request(), succeeds()),
        (rollback_by_hand(), rolls_back()),
        (request(), vec![pull_started(), found_unchanged()]),
        (request(), vec![failed()]),
        (request(), vec![cancelled()]),
        (request(), rollback_fails()),
        (request(), fails_to_stage(Condition::Starting)),
        (request(), fails_to_stage(Condition::Stopped)),
    ];
    // Every word that a cause could have in 0.1.0.
    let codes = Code::ALL.iter().take(CODES_OF_0_1_0);
    for (&code, step) in codes.zip(steps().into_iter().cycle()) {
        runs.push((request(), vec![Event::Failed(failure(code, step))]));
    }
    runs.extend([
        (request(), up_to_the_commit()),
        (request(), up_to_the_switch()),
        (request(), up_to_the_stage()),
        (request(), vec![]),
    ]);
    runs.extend(since_0_1_0());
    for (number, (request, _)) in (0..).zip(&mut runs) {
        let number: u32 = number;
        request.delivery_id = Some(delivery(&format!("github:{number}")));
    }
    runs
}

/// What can be said since 0.1.0: sets of containers, a container that is created again, an end that gets better.
fn since_0_1_0() -> Vec<(Request, Vec<Event>)> {
    let recreated = |from| {
        Event::Recreated(Recreated {
            replaces: "old1".to_owned(),
            replica: replica("again", 1, Condition::Restarting),
            from,
        })
    };
    let waived = Request {
        way_back: WayBack::Waived,
        if_unchanged: IfUnchanged::DeployAgain,
        ..request()
    };
    let begun = vec![
        pull_started(),
        Event::StageStarted {
            old: set("old", Condition::Restarting),
            tag_line: None,
        },
        Event::Staged {
            jobs: Vec::new(),
            new: set("new", Condition::Stopped),
        },
        Event::SwitchStarted,
        Event::RollbackStarted(failure(Code::SwitchFailed, Step::Switch)),
        recreated(Origin::SameConfiguration),
        Event::RollbackFailed {
            cause: Cause::new(Code::RollbackFailed, Step::RollBack, "the disk is full"),
            runs: "no container of the service".to_owned(),
        },
        Event::RecoveryStarted,
        warned(),
    ];
    let later = vec![
        Event::Recreated(Recreated {
            replaces: "again1".to_owned(),
            replica: replica("once-more", 1, Condition::Healthy),
            from: Origin::PreviousImage,
        }),
        Event::Restored { outage_ms: 9000 },
        Event::RolledBack {
            condition: Some(Condition::Restarting),
            proof: None,
        },
    ];
    vec![
        (waived, [begun.clone(), later].concat()),
        (request(), begun),
        (
            request(),
            vec![Event::Failed(failure(Code::NoWayBack, Step::Stage))],
        ),
        (
            request(),
            vec![Event::Failed(failure(Code::UnsetVariable, Step::Prepare))],
        ),
        (request(), stages(TagBefore::Value("'v1'".to_owned()), None)),
        (request(), stages(TagBefore::NoLine, None)),
        (request(), stages(TagBefore::NoFile, None)),
        (request(), runs_a_job(1)),
        (request(), runs_a_job(0)),
        (request(), stages(TagBefore::NoLine, Some(digest()))),
    ]
}

/// A deployment of two services and a job, which ends with this code.
fn runs_a_job(code: i64) -> Vec<Event> {
    let switched = |service: &str| Event::Switched {
        service: service.to_owned(),
        outage_ms: 240,
    };
    let proof = Proof {
        by: Witness::Check,
        for_ms: 5000,
        answered_after_ms: 200,
    };
    let mut events = vec![
        pull_started(),
        stage_started(Condition::Healthy),
        Event::Staged {
            new: set("new", Condition::Stopped),
            jobs: set("job", Condition::Stopped),
        },
        Event::JobStarted {
            service: "migrate".to_owned(),
        },
        Event::JobEnded {
            service: "migrate".to_owned(),
            code,
        },
    ];
    events.extend(match code {
        0 => vec![
            Event::SwitchStarted,
            switched("app"),
            verify_started(),
            switched("worker"),
            verify_started(),
            Event::Held {
                connections: 12,
                longest_ms: 340,
            },
            Event::Committed {
                proof: Some(proof),
                proofs: [("app".to_owned(), proof)].into(),
            },
            Event::DependentsRestarted {
                services: vec!["proxy".to_owned()],
            },
            Event::Succeeded,
        ],
        _ => vec![Event::Failed(failure(Code::JobFailed, Step::Stage))],
    });
    events
}

fn digest() -> String {
    format!("sha256:{}", "d1".repeat(32))
}

/// A deployment that has put its tag, or this digest, in the place of `before`.
fn stages(before: TagBefore, digest: Option<String>) -> Vec<Event> {
    let tag_line = Some(TagLine {
        file: "/srv/shop/.env".to_owned(),
        variable: "TAG".to_owned(),
        digest,
        before,
    });
    let old = Vec::new();
    vec![pull_started(), Event::StageStarted { old, tag_line }]
}

fn set(side: &str, condition: Condition) -> Vec<Replica> {
    (1..=2)
        .map(|number| replica(side, number, condition))
        .collect()
}

fn replica(side: &str, number: u32, condition: Condition) -> Replica {
    Replica {
        project: "shop".to_owned(),
        service: "app".to_owned(),
        number,
        container: format!("{side}{number}"),
        name: format!("shop-app-{number}"),
        image: "ghcr.io/acme/shop:a0".to_owned(),
        image_id: format!("sha256:{}", "0d".repeat(32)),
        restart_policy: RestartPolicy {
            name: "always".to_owned(),
            retries_max: 0,
        },
        aliases: [("shop_default".to_owned(), vec!["app".to_owned()])].into(),
        condition,
    }
}

/// Records the sample and returns what the fold of it is, oldest first.
pub(crate) async fn record(journal: &Journal) -> Vec<Deployment> {
    let mut deployments = Vec::new();
    for (number, (request, events)) in (0..).zip(runs()) {
        let began = BEGAN + i64::from(number) * 60_000;
        deployments.push(recorded(journal, &id(number), request, &events, began).await);
    }
    deployments
}

/// The same without a journal.
pub(crate) fn folds() -> Vec<Deployment> {
    let fold = |(number, (request, events)): (u32, (Request, Vec<Event>))| {
        let began = BEGAN + i64::from(number) * 60_000;
        let at = cutover_core::deployment::UnixMillis;
        let mut deployment = Deployment::requested(id(number), request, at(began));
        for (passed, event) in (1..).zip(&events) {
            deployment.apply(event, at(began + passed)).expect("legal");
        }
        deployment
    };
    (0..).zip(runs()).map(fold).collect()
}

fn steps() -> [Step; 8] {
    [
        Step::Prepare,
        Step::Pull,
        Step::Stage,
        Step::Switch,
        Step::Verify,
        Step::CleanUp,
        Step::RollBack,
        Step::Recover,
    ]
}

fn rollback_by_hand() -> Request {
    Request {
        digest: Some(digest()),
        actor: "operator:alice".to_owned(),
        rollback_to: Some(id(0)),
        ..request()
    }
}

fn image_pinned() -> Event {
    Event::ImagePinned(PinnedImage {
        reference: "ghcr.io/acme/shop:a1".to_owned(),
        digest: Some(digest()),
        id: format!("sha256:{}", "1d".repeat(32)),
    })
}

fn stage_started(condition: Condition) -> Event {
    Event::StageStarted {
        tag_line: None,
        old: vec![Replica {
            number: 1,
            container: "c0".repeat(32),
            name: "shop-app-1".to_owned(),
            image: "ghcr.io/acme/shop:a0".to_owned(),
            image_id: format!("sha256:{}", "0d".repeat(32)),
            condition,
            restart_policy: RestartPolicy {
                name: "on-failure".to_owned(),
                retries_max: 3,
            },
            ..Replica::default()
        }],
    }
}

fn staged() -> Event {
    Event::Staged {
        jobs: Vec::new(),
        new: vec![Replica {
            number: 1,
            container: "c1".repeat(32),
            name: "shop-app-1".to_owned(),
            restart_policy: RestartPolicy {
                name: "unless-stopped".to_owned(),
                retries_max: 0,
            },
            ..Replica::default()
        }],
    }
}

fn found_unchanged() -> Event {
    Event::FoundUnchanged {
        container: "c0".repeat(32),
        proof: None,
    }
}

fn cancelled() -> Event {
    Event::Cancelled {
        why: "a newer request took its place".to_owned(),
    }
}

fn succeeds() -> Vec<Event> {
    vec![
        pull_started(),
        image_pinned(),
        stage_started(Condition::Healthy),
        staged(),
        Event::SwitchStarted,
        Event::Switched {
            service: String::new(),
            outage_ms: 240,
        },
        verify_started(),
        Event::Committed {
            proof: None,
            proofs: std::collections::BTreeMap::new(),
        },
        warned(),
        Event::Succeeded,
    ]
}

fn rolls_back() -> Vec<Event> {
    vec![
        pull_started(),
        stage_started(Condition::Running),
        staged(),
        Event::SwitchStarted,
        Event::Switched {
            service: String::new(),
            outage_ms: 240,
        },
        verify_started(),
        Event::RecoveryStarted,
        Event::RollbackStarted(Failure {
            cause: Cause::new(Code::ContainerExited, Step::Verify, "exit code 1"),
            log: vec![
                "größer 🐳".to_owned(),
                String::new(),
                "\u{1b}[31mred".to_owned(),
            ],
        }),
        Event::Restored { outage_ms: 190 },
        Event::RolledBack {
            condition: None,
            proof: None,
        },
    ]
}

fn rollback_fails() -> Vec<Event> {
    vec![
        pull_started(),
        stage_started(Condition::Unhealthy),
        Event::SwitchStarted,
        Event::RollbackStarted(failure(Code::SwitchFailed, Step::Switch)),
        Event::RollbackFailed {
            cause: Cause::new(Code::RollbackFailed, Step::RollBack, "no such container"),
            runs: "nothing".to_owned(),
        },
    ]
}

fn fails_to_stage(condition: Condition) -> Vec<Event> {
    vec![
        pull_started(),
        stage_started(condition),
        Event::Failed(failure(Code::StageFailed, Step::Stage)),
    ]
}

#[test]
fn the_sample_has_every_kind_of_event_and_every_status_that_can_be_left() {
    use cutover_core::deployment::Status;
    use std::collections::HashSet;

    let runs = runs();
    let kinds: HashSet<_> = runs
        .iter()
        .flat_map(|(_, events)| events.iter().map(Event::kind))
        .collect();
    // All but `requested`, which is the request itself.
    assert_eq!(kinds.len(), 23);
    let ends: HashSet<_> = folds().iter().map(Deployment::status).collect();
    let missing: Vec<_> = Status::ALL
        .iter()
        .filter(|status| !ends.contains(status))
        .collect();
    let passing = [&Status::Pulling, &Status::Verifying, &Status::RollingBack];
    assert_eq!(missing, passing);
}
