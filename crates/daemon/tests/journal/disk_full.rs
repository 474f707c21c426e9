//! A full disk stops what goes forward, and never what goes back.
//!
//! The disk is a small one in memory, mounted in a mount namespace of its own; the tests start
//! themselves anew inside it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use cutover_core::cause::{Code, Step};
use cutover_core::deployment::{Deployment, Event, Failure, Request, Status, UnixMillis};
use cutover_daemon::journal::{Created, Journal, JournalError, Opened};

use crate::world::*;

/// Room for the ballast, the journal and its log.
const DISK: &str = "size=8m";

/// Runs the test `name` of this file once more, on a small disk; returns its directory within that run.
/// `None` means that it ran there and held.
fn on_a_small_disk(name: &str) -> Option<std::path::PathBuf> {
    let directory = in_a_mount_namespace(&format!("disk_full::{name}"))?;
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", DISK, "cutover-test"])
        .arg(&directory)
        .status();
    assert!(mounted.expect("mount is there").success());
    Some(directory)
}

/// Takes every byte that is left.
fn fill(directory: &Path) {
    let mut filler = fs::File::options()
        .create(true)
        .append(true)
        .open(directory.join("filler"))
        .expect("opens");
    for len in [64 * 1024, 1] {
        while filler.write_all(&vec![0; len]).is_ok() {}
    }
}

fn free(directory: &Path) {
    fs::remove_file(directory.join("filler")).expect("removed");
}

fn has_ballast(directory: &Path) -> bool {
    directory.join("ballast").exists()
}

/// Asserts that `event` is refused for want of room and leaves nothing behind.
async fn assert_full(journal: &Journal, deployment: &mut Deployment, event: &Event) {
    let before = deployment.clone();
    assert_eq!(
        add(journal, deployment, event).await,
        Err(JournalError::Full)
    );
    assert_holds(journal.deployment(&before.id).await, &before);
    let events = journal.events(&before.id, 0, 99).await.expect("read");
    assert_eq!(events.len() as u64, before.events);
}

/// Warnings until there is no more room in what the log has already.
async fn use_up_the_log(journal: &Journal, deployment: &mut Deployment) {
    for _ in 0..10_000 {
        if add(journal, deployment, &warned()).await.is_err() {
            return;
        }
    }
    panic!("the disk is not full");
}

fn long_failure() -> Failure {
    Failure {
        log: vec!["x".repeat(1024); 200],
        ..failure(Code::Unhealthy, Step::Verify)
    }
}

#[tokio::test]
async fn a_full_disk_refuses_to_begin_but_not_to_end() {
    let Some(directory) = on_a_small_disk("a_full_disk_refuses_to_begin_but_not_to_end") else {
        return;
    };
    let journal = new_journal(&directory).await;
    let known = Request {
        delivery_id: Some(delivery("known")),
        ..request()
    };
    let ended = recorded(&journal, &id(1), known.clone(), &[failed()], 1000).await;
    let mut staged = recorded(&journal, &id(2), request(), &up_to_the_stage(), 2000).await;
    fill(&directory);
    use_up_the_log(&journal, &mut staged).await;

    assert_full(&journal, &mut staged, &Event::SwitchStarted).await;
    let refused = journal.create(&id(3), &request(), UnixMillis(3000)).await;
    assert_eq!(refused, Err(JournalError::Full));
    assert_eq!(journal.deployment(&id(3)).await, Ok(None));
    assert_eq!(journal.probe_writable().await, Err(JournalError::Full));
    assert!(has_ballast(&directory), "it was spent on going forward");

    let repeated = journal.create(&id(4), &known, UnixMillis(4000)).await;
    assert_eq!(repeated, Ok(Created::KnownDelivery { deployment: ended }));

    // A restart finds it so: that it was taken up comes before its end.
    let taken_up = Event::RecoveryStarted;
    add(&journal, &mut staged, &taken_up)
        .await
        .expect("recorded");
    let end = Event::Failed(long_failure());
    add(&journal, &mut staged, &end).await.expect("recorded");
    assert!(!has_ballast(&directory));
    assert_holds(journal.deployment(&id(2)).await, &staged);

    free(&directory);
    journal.probe_writable().await.expect("writable again");
    assert!(has_ballast(&directory), "it was not put back");
}

#[tokio::test]
async fn a_rollback_is_recorded_in_the_room_of_the_ballast() {
    let Some(directory) = on_a_small_disk("a_rollback_is_recorded_in_the_room_of_the_ballast")
    else {
        return;
    };
    let journal = new_journal(&directory).await;
    let mut switched = recorded(&journal, &id(1), request(), &up_to_the_switch(), 1000).await;
    let mut waiting = recorded(&journal, &id(2), request(), &[], 2000).await;
    fill(&directory);
    use_up_the_log(&journal, &mut waiting).await;
    assert!(has_ballast(&directory));
    let back = [
        Event::RollbackStarted(long_failure()),
        Event::Restored { outage_ms: 100 },
        warned(),
        Event::RolledBack {
            condition: None,
            proof: None,
        },
    ];
    for event in &back {
        add(&journal, &mut switched, event).await.expect("recorded");
    }
    assert!(!has_ballast(&directory));

    // Without ballast nothing begins, although there would be room for one more record by now.
    assert_full(&journal, &mut waiting, &pull_started()).await;

    // A restart on the full disk finds everything.
    drop(journal);
    let journal = reopened(Journal::open(&directory).await);
    assert_holds(journal.deployment(&id(1)).await, &switched);
    assert_holds(journal.deployment(&id(2)).await, &waiting);

    free(&directory);
    add(&journal, &mut waiting, &pull_started())
        .await
        .expect("recorded");
    assert!(has_ballast(&directory), "it was not put back");
}

#[tokio::test]
async fn a_restart_on_a_full_disk_makes_room_for_recovery() {
    let Some(directory) = on_a_small_disk("a_restart_on_a_full_disk_makes_room_for_recovery")
    else {
        return;
    };
    let journal = new_journal(&directory).await;
    let mut switched = recorded(&journal, &id(1), request(), &up_to_the_switch(), 1000).await;
    closed(journal, &directory).await;
    fill(&directory);
    assert!(has_ballast(&directory));

    let (journal, opened) = Journal::open(&directory).await.expect("opens");
    assert_eq!(opened, Opened::Fine);
    assert!(!has_ballast(&directory), "there was room without it");
    assert_holds(journal.deployment(&id(1)).await, &switched);
    for event in [
        Event::RecoveryStarted,
        Event::RollbackStarted(long_failure()),
        Event::RolledBack {
            condition: None,
            proof: None,
        },
    ] {
        add(&journal, &mut switched, &event)
            .await
            .expect("recorded");
    }
    assert_eq!(switched.status(), Status::RolledBack);
    assert_holds(journal.deployment(&id(1)).await, &switched);
}
