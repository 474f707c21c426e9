//! Recording and reading back.

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Event, Request, Status, UnixMillis};
use cutover_daemon::journal::{Created, Flags, JournalError, Paused};

use crate::world::*;

#[tokio::test]
async fn what_is_recorded_is_read_back() {
    let directory = state_directory();
    let journal = new_journal(directory.path()).await;
    let deployment = recorded(&journal, &id(1), request(), &up_to_success(), 1000).await;
    assert_eq!(deployment.status(), Status::Succeeded);
    assert_holds(journal.deployment(&id(1)).await, &deployment);
    assert_eq!(journal.deployment(&id(2)).await, Ok(None));

    drop(journal);
    let journal = reopened(cutover_daemon::journal::Journal::open(directory.path()).await);
    assert_holds(journal.deployment(&id(1)).await, &deployment);
}

#[tokio::test]
async fn events_come_with_number_time_and_status_from_any_position() {
    let directory = state_directory();
    let journal = new_journal(directory.path()).await;
    recorded(&journal, &id(1), request(), &up_to_the_switch(), 1000).await;
    let all = journal.events(&id(1), 0, 100).await.expect("read");
    let seen: Vec<_> = all
        .iter()
        .map(|recorded| {
            let kind = recorded.event.kind();
            (recorded.seq, recorded.at.0, kind, recorded.status_after)
        })
        .collect();
    assert_eq!(
        seen,
        [
            (1, 1000, "requested", Status::Queued),
            (2, 1001, "pull_started", Status::Pulling),
            (3, 1002, "stage_started", Status::Staging),
            (4, 1003, "switch_started", Status::Switching),
        ]
    );
    assert_eq!(journal.events(&id(1), 2, 1).await.expect("read"), all[2..3]);
    assert_eq!(journal.events(&id(1), 4, 9).await, Ok(vec![]));
    assert_eq!(journal.events(&id(9), 0, 9).await, Ok(vec![]));
}

#[tokio::test]
async fn an_event_that_cannot_follow_is_refused_and_nothing_is_written() {
    let directory = state_directory();
    let journal = new_journal(directory.path()).await;
    let before = recorded(&journal, &id(1), request(), &up_to_the_stage(), 1000).await;
    let refused = journal
        .record(
            &id(1),
            4,
            &Event::Committed {
                proof: None,
                proofs: std::collections::BTreeMap::new(),
            },
            UnixMillis(5),
        )
        .await;
    match refused {
        Err(JournalError::Illegal(illegal)) => {
            assert_eq!((illegal.status, illegal.event), ("staging", "committed"));
        }
        other => panic!("{other:?}"),
    }
    assert_holds(journal.deployment(&id(1)).await, &before);
}

#[tokio::test]
async fn an_event_with_another_number_than_the_next_is_refused() {
    let directory = state_directory();
    let journal = new_journal(directory.path()).await;
    let before = recorded(&journal, &id(1), request(), &up_to_the_stage(), 1000).await;
    for (deployment, expected, found) in [(1, 3, 4), (1, 5, 4), (2, 2, 1)] {
        let refused = journal
            .record(&id(deployment), expected, &warned(), UnixMillis(5))
            .await;
        assert_eq!(refused, Err(JournalError::Sequence { expected, found }));
    }
    assert_holds(journal.deployment(&id(1)).await, &before);
}

#[tokio::test]
async fn an_event_too_large_is_refused_and_a_large_one_is_not() {
    let directory = state_directory();
    let journal = new_journal(directory.path()).await;
    let mut deployment = recorded(&journal, &id(1), request(), &[], 1000).await;
    let warned = |len: usize| Event::Warned {
        what: "x".repeat(len),
    };
    let refused = add(&journal, &mut deployment, &warned(1024 * 1024)).await;
    assert!(matches!(refused, Err(JournalError::TooLarge { .. })));
    assert_holds(journal.deployment(&id(1)).await, &deployment);
    let large = add(&journal, &mut deployment, &warned(1000 * 1024)).await;
    assert_eq!(large, Ok(()));
    assert_holds(journal.deployment(&id(1)).await, &deployment);
}

#[tokio::test]
async fn of_many_requests_with_one_delivery_id_one_becomes_a_deployment() {
    let directory = state_directory();
    let journal = new_journal(directory.path()).await;
    let request = Request {
        delivery_id: Some(delivery("gh:1")),
        ..request()
    };
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..50 {
        let (journal, request) = (journal.clone(), request.clone());
        asked.spawn(async move { journal.create(&id(number), &request, UnixMillis(1)).await });
    }
    let answers = asked.join_all().await;
    let (mut new, mut known) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer.expect("answered") {
            Created::New(deployment) => new.push(deployment),
            Created::KnownDelivery { deployment } => known.push(deployment),
        }
    }
    assert_eq!((new.len(), known.len()), (1, 49));
    assert!(known.iter().all(|deployment| *deployment == new[0]));
    let found = journal
        .delivery(&request.service, &request.actor, &delivery("gh:1"))
        .await;
    assert_holds(found, &new[0]);
    assert_eq!(
        journal
            .delivery(&request.service, &request.actor, &delivery("gh:2"))
            .await,
        Ok(None)
    );
    assert_eq!(journal.page(None, None, 100).await.expect("read").len(), 1);
}

/// The id of a workflow's run can be guessed: somebody with another key, or for another service, blocks nothing.
#[tokio::test]
async fn a_delivery_id_is_nobody_elses() {
    let directory = state_directory();
    let journal = new_journal(directory.path()).await;
    let of = |service_name: &str, actor: &str| Request {
        service: service(service_name),
        actor: actor.to_owned(),
        delivery_id: Some(delivery("gh:1")),
        ..request()
    };
    for (number, request) in (0..).zip([of("app", "ci"), of("app", "other"), of("blog", "ci")]) {
        let created = journal.create(&id(number), &request, UnixMillis(1)).await;
        assert!(matches!(created, Ok(Created::New(_))), "{created:?}");
        let delivery = delivery("gh:1");
        let found = journal.delivery(&request.service, &request.actor, &delivery);
        let found = found.await.expect("read").map(|found| found.id);
        assert_eq!(found, Some(id(number)));
    }
    drop(journal);
    reopened(cutover_daemon::journal::Journal::open(directory.path()).await);
}

#[tokio::test]
async fn a_write_goes_on_when_its_caller_stops_waiting() {
    let directory = state_directory();
    let journal = new_journal(directory.path()).await;
    let mut deployment = recorded(&journal, &id(1), request(), &[], 1000).await;
    {
        let event = pull_started();
        let recording = add(&journal, &mut deployment, &event);
        let nothing_ready = std::future::ready(());
        // Polls the record once, which hands it over, and then drops it.
        tokio::select! { biased; _ = recording => {}, () = nothing_ready => {} }
    }
    // The writer works in order, so a later write comes after it.
    journal.probe_writable().await.expect("writes");
    let events = journal.events(&id(1), 0, 9).await.expect("read");
    assert_eq!(events.len(), 2);
}

#[tokio::test]
async fn flags_are_remembered() {
    let directory = state_directory();
    let journal = new_journal(directory.path()).await;
    let (app, other) = (service("app"), service("other"));
    assert_eq!(journal.flags(&app).await, Ok(Flags::default()));

    let why = Some("holiday".to_owned());
    let paused = Paused {
        why: why.clone(),
        since: UnixMillis(7),
    };
    let set = journal.set_paused(&app, why.as_deref(), paused.since).await;
    set.expect("recorded");
    let needs = journal.set_needs_operator(&app, Some("look")).await;
    needs.expect("recorded");
    let both = Flags {
        paused: Some(paused),
        needs_operator: Some("look".to_owned()),
    };
    drop(journal);
    let journal = reopened(cutover_daemon::journal::Journal::open(directory.path()).await);
    assert_eq!(journal.flags(&app).await, Ok(both));
    assert_eq!(journal.flags(&other).await, Ok(Flags::default()));

    journal.clear_paused(&app).await.expect("recorded");
    let needs = journal.flags(&app).await.expect("read");
    assert_eq!(
        (needs.paused, needs.needs_operator.as_deref()),
        (None, Some("look"))
    );
    journal
        .set_needs_operator(&app, None)
        .await
        .expect("recorded");
    assert_eq!(journal.flags(&app).await, Ok(Flags::default()));
}

#[tokio::test]
async fn a_failed_rollback_makes_the_service_need_an_operator_until_a_success() {
    let directory = state_directory();
    let journal = new_journal(directory.path()).await;
    let rollback_failed = [
        Event::RollbackStarted(failure(Code::Unhealthy, Step::Verify)),
        Event::RollbackFailed {
            cause: Cause::new(Code::RollbackFailed, Step::RollBack, "no such container"),
            runs: "nothing".to_owned(),
        },
    ];
    let events = [up_to_the_switch(), rollback_failed.to_vec()].concat();
    recorded(&journal, &id(1), request(), &events, 1000).await;
    let app = service("app");
    let needs_operator = |flags: Flags| flags.needs_operator;
    let why = needs_operator(journal.flags(&app).await.expect("read")).expect("a reason");
    assert!(why.contains("no such container"), "{why}");

    recorded(&journal, &id(2), request(), &[failed()], 2000).await;
    let still = journal.flags(&app).await.map(needs_operator);
    assert_eq!(still, Ok(Some(why)));
    recorded(&journal, &id(3), request(), &up_to_success(), 3000).await;
    assert_eq!(journal.flags(&app).await.map(needs_operator), Ok(None));
}
