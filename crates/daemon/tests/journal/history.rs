//! Lists, and what is pruned from them.

use cutover_core::deployment::{Deployment, Event, Request, Status, UnixMillis};
use cutover_core::names::{DeploymentId, ServiceName};
use cutover_daemon::journal::{
    Journal, JournalError, KEEP_COUNT_MAX, KEEP_COUNT_MIN, KEEP_DAYS_MIN, Retention,
};

use crate::world::*;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

fn of(name: &str) -> Request {
    Request {
        service: service(name),
        ..request()
    }
}

#[track_caller]
fn ids(found: Result<Vec<Deployment>, JournalError>) -> Vec<DeploymentId> {
    let found = found.expect("read").into_iter();
    found.map(|deployment| deployment.id).collect()
}

#[tokio::test]
async fn lists_are_in_the_order_of_requests_whatever_the_clock_said() {
    let directory = state_directory();
    let journal = new_journal(directory.path()).await;
    let unchanged = Event::FoundUnchanged {
        container: "c".to_owned(),
        proof: None,
    };
    // Ids and times run backwards.
    recorded(&journal, &id(9), of("app"), &up_to_success(), 9000).await;
    recorded(
        &journal,
        &id(8),
        of("app"),
        &[pull_started(), unchanged],
        8000,
    )
    .await;
    recorded(&journal, &id(7), of("web"), &up_to_the_commit(), 7000).await;
    recorded(&journal, &id(6), of("app"), &[failed()], 6000).await;
    recorded(&journal, &id(5), of("app"), &up_to_success(), 5000).await;
    recorded(&journal, &id(4), of("app"), &up_to_the_stage(), 4000).await;
    let (app, web) = (service("app"), service("web"));

    let all = ids(journal.page(None, None, 100).await);
    assert_eq!(all, [4, 5, 6, 7, 8, 9].map(id));
    assert_eq!(ids(journal.page(None, None, 2).await), [4, 5].map(id));
    assert_eq!(
        ids(journal.page(None, Some(&id(5)), 2).await),
        [6, 7].map(id)
    );
    let of_app = ids(journal.page(Some(&app), Some(&id(6)), 9).await);
    assert_eq!(of_app, [8, 9].map(id));
    assert_eq!(ids(journal.page(None, Some(&id(1)), 9).await), []);

    assert_eq!(ids(journal.unfinished().await), [7, 4].map(id));
    assert_eq!(ids(journal.committed(&app, 9).await), [5, 9].map(id));
    assert_eq!(ids(journal.committed(&app, 1).await), [id(5)]);
    assert_eq!(ids(journal.committed(&web, 9).await), [id(7)]);
    let last = journal.last_ended(&app).await.expect("read").expect("one");
    assert_eq!(last.id, id(5));
    assert_eq!(journal.last_ended(&web).await, Ok(None));
}

/// Records `count` deployments of `app` that end with `end`, beginning with id `first`.
async fn many(journal: &Journal, first: u32, count: u32, end: &[Event], began: i64) {
    for number in first..first + count {
        recorded(journal, &id(number), request(), end, began).await;
    }
}

async fn present(journal: &Journal) -> Vec<DeploymentId> {
    ids(journal.page(None, None, u32::MAX).await)
}

#[tokio::test]
async fn old_deployments_go_and_the_newest_of_each_kind_stay() {
    let directory = state_directory();
    let journal = new_journal(directory.path()).await;
    // 60 that succeeded, then 60 that failed, then one that still waits: all from the beginning of time.
    many(&journal, 100, 60, &up_to_success(), 0).await;
    many(&journal, 200, 60, &[failed()], 0).await;
    recorded(&journal, &id(300), request(), &[], 0).await;
    recorded(&journal, &id(400), of("web"), &[failed()], 0).await;

    let retention = Retention {
        days: 0,
        per_service: 0,
    };
    let young = UnixMillis(i64::from(KEEP_DAYS_MIN) * DAY_MS);
    assert_eq!(journal.prune(retention, young).await, Ok(0));

    let old = UnixMillis(young.0 + 1000);
    assert_eq!(journal.prune(retention, old).await, Ok(20));
    let kept = KEEP_COUNT_MIN;
    let expected: Vec<_> = [400, 300]
        .into_iter()
        .chain((260 - kept..260).rev())
        .chain((160 - kept..160).rev())
        .map(id)
        .collect();
    assert_eq!(present(&journal).await, expected);
    assert_eq!(journal.events(&id(100), 0, 9).await, Ok(vec![]));
    assert_eq!(journal.prune(retention, old).await, Ok(0));

    drop(journal);
    let journal = reopened(Journal::open(directory.path()).await);
    assert_eq!(present(&journal).await, expected);
}

#[tokio::test]
async fn a_pruned_delivery_may_come_again_and_a_kept_one_may_not() {
    let directory = state_directory();
    let journal = new_journal(directory.path()).await;
    let with_delivery = |name: &str| Request {
        delivery_id: Some(delivery(name)),
        ..request()
    };
    recorded(&journal, &id(1), with_delivery("old"), &[failed()], 0).await;
    many(&journal, 100, KEEP_COUNT_MIN, &[failed()], 0).await;
    let now = UnixMillis(365 * DAY_MS);
    assert_eq!(journal.prune(Retention::default(), now).await, Ok(1));
    assert_eq!(
        journal
            .delivery(&request().service, &request().actor, &delivery("old"))
            .await,
        Ok(None)
    );
    recorded(&journal, &id(2), with_delivery("old"), &[], now.0).await;
}

/// Adds rows behind the journal's back: ten thousand deployments one by one would take minutes.
fn insert_ended(directory: &std::path::Path, service: &ServiceName, count: u32, ended_at: i64) {
    let connection = rusqlite::Connection::open(journal_file(directory)).expect("opens");
    let inserted = connection.execute(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?2)
         INSERT INTO deployments (id, service, status, requested_at, ended_at)
         SELECT printf('00000000-0000-0000-0000-%012x', n), ?1, ?3, ?4, ?4 FROM n",
        (service.as_str(), count, Status::Failed.as_str(), ended_at),
    );
    assert_eq!(inserted, Ok(count as usize));
}

#[tokio::test]
async fn a_flood_of_deployments_is_bounded_but_none_of_the_last_hour_goes() {
    let directory = state_directory();
    let journal = new_journal(directory.path()).await;
    let hour = DAY_MS / 24;
    let surplus = 300;
    insert_ended(
        directory.path(),
        &service("app"),
        KEEP_COUNT_MAX + surplus,
        1000,
    );
    let retention = Retention::default();
    let soon = UnixMillis(1000 + hour);
    assert_eq!(journal.prune(retention, soon).await, Ok(0));
    let later = UnixMillis(1001 + hour);
    assert_eq!(journal.prune(retention, later).await, Ok(surplus as usize));
}

/// Without being folded into the journal, the log would reach three times the bound.
#[tokio::test]
async fn the_write_ahead_log_stays_within_its_bound_however_much_is_recorded_and_read() {
    const BOUND: u64 = 8 * 1024 * 1024;
    let directory = state_directory();
    let journal = new_journal(directory.path()).await;
    let log = directory.path().join("journal.sqlite-wal");
    let mut written = 0;
    let mut before = 0;
    for number in 0..200 {
        recorded(&journal, &id(number), request(), &up_to_success(), 0).await;
        drop(journal.page(None, None, 10).await.expect("read"));
        let now = std::fs::metadata(&log).expect("open").len();
        assert!(now <= BOUND, "{now} after deployment {number}");
        written += now.saturating_sub(before);
        before = now;
    }
    assert!(written > 0, "it is written to a log at all");
}
