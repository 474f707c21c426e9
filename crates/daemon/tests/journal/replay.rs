//! Random runs, recorded and read back.

use cutover_core::deployment::{Deployment, Event, UnixMillis};
use cutover_daemon::journal::Journal;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::events::{any_events, legal_events};
use crate::world::*;

/// Each case records a few deployments of some dozen events, each of which waits for the disk.
const CASES: u32 = 24;

fn runner() -> (TestRunner, tokio::runtime::Runtime) {
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    (TestRunner::new(config), runtime)
}

fn split(events: &[Event]) -> (cutover_core::deployment::Request, &[Event]) {
    match events.split_first() {
        Some((Event::Requested(request), rest)) => (request.clone(), rest),
        other => panic!("no request: {other:?}"),
    }
}

#[test]
fn any_legal_runs_are_read_back_as_their_fold() {
    let (mut runner, runtime) = runner();
    let runs = prop::collection::vec(legal_events(), 1..4);
    let outcome = runner.run(&runs, |runs| {
        runtime.block_on(async {
            let directory = state_directory();
            let journal = new_journal(directory.path()).await;
            let mut folds: Vec<Deployment> = Vec::new();
            for (number, events) in (0..).zip(&runs) {
                let (mut request, rest) = split(events);
                // Equal delivery ids would make two of them one.
                request.delivery_id = Some(delivery(&format!("d{number}")));
                folds.push(recorded(&journal, &id(number), request, rest, 1000).await);
            }
            let unfinished: Vec<_> = folds
                .iter()
                .filter(|fold| !fold.status().is_end())
                .cloned()
                .collect();
            prop_assert_eq!(journal.unfinished().await, Ok(unfinished));
            drop(journal);
            // Opening compares every row with the fold of its events.
            let journal = reopened(Journal::open(directory.path()).await);
            folds.reverse();
            prop_assert_eq!(journal.page(None, None, 9).await, Ok(folds));
            Ok(())
        })
    });
    outcome.expect("holds");
}

#[test]
fn the_journal_refuses_exactly_what_the_fold_refuses() {
    let (mut runner, runtime) = runner();
    let outcome = runner.run(&any_events(), |events| {
        runtime.block_on(async {
            let directory = state_directory();
            let journal = new_journal(directory.path()).await;
            let (request, rest) = split(&events);
            let mut fold = recorded(&journal, &id(1), request, &[], 1000).await;
            for event in rest {
                let seq = fold.events + 1;
                let at = UnixMillis(2000);
                let recorded = journal.record(&id(1), seq, event, at).await;
                prop_assert_eq!(recorded.is_ok(), fold.apply(event, at).is_ok());
            }
            prop_assert_eq!(journal.deployment(&id(1)).await, Ok(Some(fold)));
            Ok(())
        })
    });
    outcome.expect("holds");
}
