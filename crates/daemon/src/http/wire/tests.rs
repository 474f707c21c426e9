//! The wire as clients see it, whole, for a deployment of each kind.

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{
    Condition, Deployment, Event, Failure, IfUnchanged, Origin, PinnedImage, Recreated, Replica,
    Request, UnixMillis, WayBack,
};
use cutover_core::names::{DeliveryId, DeploymentId, ServiceName, Tag};

use super::deployment;
use crate::journal::Recorded;

const ID: &str = "01938f3e-7c1a-7abc-8def-0123456789ab";
const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

fn request() -> Request {
    Request {
        service: ServiceName::new("shop").expect("a name"),
        tag: Tag::new(SHA).expect("a tag"),
        digest: None,
        actor: "ci".into(),
        delivery_id: Some(DeliveryId::new("1-1").expect("an id")),
        fingerprint: "f".into(),
        rollback_to: None,
        way_back: WayBack::Needed,
        if_unchanged: IfUnchanged::default(),
    }
}

fn previous() -> Replica {
    Replica {
        service: "app".into(),
        number: 1,
        container: "aaaaaaaaaaaaaaaaaaaa".into(),
        name: "shop-app-1".into(),
        image: "ghcr.io/acme/shop:old".into(),
        image_id: "sha256:old".into(),
        condition: Condition::Healthy,
        ..Replica::default()
    }
}

fn until_verified() -> Vec<Event> {
    let reference = format!("ghcr.io/acme/shop:{SHA}");
    vec![
        Event::PullStarted {
            reference: reference.clone(),
        },
        Event::ImagePinned(PinnedImage {
            reference,
            digest: Some("sha256:d".into()),
            id: "sha256:i".into(),
        }),
        Event::StageStarted {
            tag_line: None,
            old: vec![previous()],
        },
        Event::Staged {
            jobs: Vec::new(),
            new: vec![Replica {
                container: "bbbbbbbbbbbbbbbbbbbb".into(),
                image: format!("ghcr.io/acme/shop:{SHA}"),
                image_id: "sha256:i".into(),
                condition: Condition::Stopped,
                ..previous()
            }],
        },
        Event::SwitchStarted,
        Event::Switched {
            service: String::new(),
            outage_ms: 240,
        },
        Event::VerifyStarted {
            checks: "its own health check".into(),
        },
    ]
}

/// The wire form of a deployment to which these events happened, one each 100 ms.
fn wire(request: Request, events: Vec<Event>) -> cutover_api::deployment::Deployment {
    let id = DeploymentId::new(ID).expect("an id");
    let begin = 1_700_000_000_000;
    let mut folded = Deployment::requested(id, request.clone(), UnixMillis(begin));
    let mut recorded = vec![Recorded {
        seq: 1,
        at: UnixMillis(begin),
        event: Event::Requested(request),
        status_after: folded.status(),
    }];
    for (event, seq) in events.into_iter().zip(2_u64..) {
        let at = UnixMillis(begin + 100 * i64::try_from(seq - 1).expect("small"));
        folded.apply(&event, at).expect("legal");
        recorded.push(Recorded {
            seq,
            at,
            event,
            status_after: folded.status(),
        });
    }
    deployment(&folded, &recorded)
}

fn lines(view: &cutover_api::deployment::Deployment) -> String {
    let line = |event: &cutover_api::deployment::EventLine| {
        let status = serde_json::to_string(&event.status).expect("a word");
        format!(
            "{} {} {}: {}\n",
            event.seq, event.kind, status, event.message
        )
    };
    view.events.iter().map(line).collect()
}

fn failure() -> Failure {
    Failure {
        cause: Cause::new(
            Code::Unhealthy,
            Step::Verify,
            "the health check failed 3 times in a row",
        ),
        log: vec!["listening".into(), "panic".into()],
    }
}

fn rolled_back() -> Vec<Event> {
    let mut events = until_verified();
    events.extend([
        Event::RollbackStarted(failure()),
        Event::Restored { outage_ms: 200 },
        Event::RolledBack {
            condition: None,
            proof: None,
        },
    ]);
    events
}

#[test]
fn a_rollback_is_told_event_by_event() {
    let view = wire(request(), rolled_back());
    insta::assert_snapshot!(lines(&view), @r#"
    1 requested "queued": ci asked for 0123456789abcdef0123456789abcdef01234567
    2 pull_started "pulling": making sure that ghcr.io/acme/shop:0123456789abcdef0123456789abcdef01234567 is on the machine
    3 image_pinned "pulling": ghcr.io/acme/shop:0123456789abcdef0123456789abcdef01234567 is on the machine, digest sha256:d
    4 stage_started "staging": creating the new container; shop-app-1, of ghcr.io/acme/shop:old, was found healthy
    5 staged "staging": container bbbbbbbbbbbb was created and is not started yet
    6 switch_started "switching": switching to the new container
    7 switched "switching": the new container was started; no container of the service ran for 240 ms
    8 verify_started "verifying": watching the new container: its own health check
    9 rollback_started "rolling_back": the new release failed: the health check failed 3 times in a row; putting the previous one back
    10 restored "rolling_back": the previous container is back as it was found; it did not run for 200 ms
    11 rolled_back "rolled_back": the previous release is in its place again
    "#);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one view in full")]
fn a_rolled_back_deployment_says_everything() {
    let mut view = wire(request(), rolled_back());
    view.events.clear();
    insta::assert_snapshot!(serde_json::to_string_pretty(&view).expect("JSON"), @r#"
    {
      "id": "01938f3e-7c1a-7abc-8def-0123456789ab",
      "service": "shop",
      "image_sha": "0123456789abcdef0123456789abcdef01234567",
      "image": "ghcr.io/acme/shop:0123456789abcdef0123456789abcdef01234567",
      "digest": "sha256:d",
      "image_id": "sha256:i",
      "status": "rolled_back",
      "outcome": "rolled_back",
      "nothing_changed": false,
      "previous": {
        "container": "aaaaaaaaaaaaaaaaaaaa",
        "image": "ghcr.io/acme/shop:old",
        "image_id": "sha256:old",
        "condition": "healthy"
      },
      "previous_replicas": [
        {
          "service": "app",
          "number": 1,
          "container": "aaaaaaaaaaaaaaaaaaaa",
          "name": "shop-app-1",
          "image": "ghcr.io/acme/shop:old",
          "image_id": "sha256:old",
          "condition": "healthy"
        }
      ],
      "container": "bbbbbbbbbbbbbbbbbbbb",
      "replicas": [
        {
          "service": "app",
          "number": 1,
          "container": "bbbbbbbbbbbbbbbbbbbb",
          "name": "shop-app-1",
          "image": "ghcr.io/acme/shop:0123456789abcdef0123456789abcdef01234567",
          "image_id": "sha256:i",
          "condition": "stopped"
        }
      ],
      "services": [
        {
          "service": "app",
          "previous": "aaaaaaaaaaaaaaaaaaaa",
          "container": "bbbbbbbbbbbbbbbbbbbb",
          "outage_ms": 200,
          "proof": null
        }
      ],
      "jobs": [],
      "actor": "ci",
      "delivery_id": "1-1",
      "rollback_to": null,
      "started_at": "2023-11-14T22:13:20Z",
      "finished_at": "2023-11-14T22:13:21Z",
      "duration_ms": 1000,
      "outage_ms": 200,
      "switch_ms": 240,
      "held": 0,
      "held_max_ms": null,
      "proof": null,
      "cause": {
        "code": "unhealthy",
        "detail": "the health check failed 3 times in a row",
        "hint": "read the container's last output and the last health check in the log of this deployment",
        "step": "verify",
        "retriable": false
      },
      "events": [],
      "log": [
        "listening",
        "panic"
      ]
    }
    "#);
}

#[test]
fn a_deployment_that_succeeded_names_no_cause() {
    let mut events = until_verified();
    events.extend([
        Event::Committed {
            proof: None,
            proofs: std::collections::BTreeMap::new(),
        },
        Event::Succeeded,
    ]);
    let view = wire(request(), events);
    assert_eq!(view.cause, None);
    assert!(!view.nothing_changed);
    insta::assert_snapshot!(lines(&view), @r#"
    1 requested "queued": ci asked for 0123456789abcdef0123456789abcdef01234567
    2 pull_started "pulling": making sure that ghcr.io/acme/shop:0123456789abcdef0123456789abcdef01234567 is on the machine
    3 image_pinned "pulling": ghcr.io/acme/shop:0123456789abcdef0123456789abcdef01234567 is on the machine, digest sha256:d
    4 stage_started "staging": creating the new container; shop-app-1, of ghcr.io/acme/shop:old, was found healthy
    5 staged "staging": container bbbbbbbbbbbb was created and is not started yet
    6 switch_started "switching": switching to the new container
    7 switched "switching": the new container was started; no container of the service ran for 240 ms
    8 verify_started "verifying": watching the new container: its own health check
    9 committed "committed": the new release is final; cleaning up
    10 succeeded "succeeded": the new release runs and is recorded
    "#);
}

#[test]
fn what_follows_a_failed_rollback_has_words() {
    let cause = || {
        Cause::new(
            Code::RollbackFailed,
            Step::RollBack,
            "the old container is gone",
        )
    };
    let mut failed = until_verified();
    failed.extend([
        Event::RecoveryStarted,
        Event::Warned {
            what: "the env file could not be written".into(),
        },
        Event::RollbackStarted(failure()),
        Event::RollbackFailed {
            cause: cause(),
            runs: "nothing".into(),
        },
        Event::Recreated(Recreated {
            replaces: "aaaaaaaaaaaaaaaaaaaa".into(),
            replica: Replica {
                container: "cccccccccccccccccccc".into(),
                ..previous()
            },
            from: Origin::SameConfiguration,
        }),
        Event::Restored { outage_ms: 9000 },
        Event::RolledBack {
            condition: Some(Condition::Restarting),
            proof: None,
        },
    ]);
    let view = wire(request(), failed);
    assert_eq!(
        view.cause.as_ref().map(|cause| cause.code.as_str()),
        Some("unhealthy"),
        "it was rolled back in the end"
    );
    insta::assert_snapshot!(lines(&view)[lines(&view).find("9 ").expect("nine events")..], @r#"
    9 recovery_started "verifying": the restarted daemon took this deployment up again
    10 warned "verifying": the env file could not be written
    11 rollback_started "rolling_back": the new release failed: the health check failed 3 times in a row; putting the previous one back
    12 rollback_failed "rollback_failed": the old container is gone; what runs now: nothing
    13 recreated "rollback_failed": the previous container shop-app-1 was created again, as cccccccccccc, from its recorded configuration
    14 restored "rollback_failed": the previous container is back as it was found; it did not run for 9000 ms
    15 rolled_back "rolled_back": the previous release is in its place again, in the state it was in before: restarting
    "#);
}

#[test]
fn deployments_that_change_nothing_or_are_the_first_have_words() {
    let unchanged = vec![
        until_verified().remove(0),
        Event::FoundUnchanged {
            container: "aaaaaaaaaaaaaaaaaaaa".into(),
            proof: None,
        },
    ];
    let first = vec![
        until_verified().remove(0),
        Event::StageStarted {
            old: vec![],
            tag_line: None,
        },
        Event::Failed(failure()),
    ];
    let again = Request {
        rollback_to: Some(DeploymentId::new(ID).expect("an id")),
        delivery_id: None,
        ..request()
    };
    let texts = [wire(request(), unchanged), wire(again, first)]
        .map(|view| lines(&view))
        .concat();
    insta::assert_snapshot!(texts, @r#"
    1 requested "queued": ci asked for 0123456789abcdef0123456789abcdef01234567
    2 pull_started "pulling": making sure that ghcr.io/acme/shop:0123456789abcdef0123456789abcdef01234567 is on the machine
    3 found_unchanged "unchanged": this very image already runs in container aaaaaaaaaaaa; no action needed
    1 requested "queued": ci asked for 0123456789abcdef0123456789abcdef01234567 again, the release that deployment 01938f3e-7c1a-7abc-8def-0123456789ab brought or found running
    2 pull_started "pulling": making sure that ghcr.io/acme/shop:0123456789abcdef0123456789abcdef01234567 is on the machine
    3 stage_started "staging": creating the container; nothing ran before
    4 failed "failed": the health check failed 3 times in a row; nothing was changed
    "#);
}

#[test]
fn a_cancelled_deployment_has_a_cause_like_any_other_that_did_not_succeed() {
    let why = || Event::Cancelled {
        why: "a newer request took its place".into(),
    };
    for (events, step) in [
        (vec![why()], "prepare"),
        (vec![until_verified().remove(0), why()], "pull"),
        (
            until_verified()
                .into_iter()
                .take(4)
                .chain([why()])
                .collect(),
            "stage",
        ),
    ] {
        let view = wire(request(), events);
        let cause = view.cause.expect("a cause");
        assert_eq!(
            (cause.code.as_str(), cause.step.as_str()),
            ("cancelled", step)
        );
        assert_eq!(cause.detail, "a newer request took its place");
        assert!(view.nothing_changed);
    }
}
