//! A disk that does not confirm what it was told to keep: the record counts as not written, now and
//! after a restart.
//!
//! `strace` makes the system calls fail; it is among the packages of the test world.

use cutover_core::deployment::UnixMillis;
use cutover_daemon::journal::{Journal, JournalError};

use crate::world::*;

/// Not a test of its own: what the one below watches.
#[tokio::test]
async fn records_on_a_failing_disk() {
    let Some(directory) = child_directory() else {
        return;
    };
    let journal = new_journal(&directory).await;
    let mut deployment = recorded(&journal, &id(1), request(), &[], 1000).await;
    let mut refused = 0;
    for _ in 0..6 {
        match add(&journal, &mut deployment, &warned()).await {
            Ok(()) => assert_eq!(refused, 0, "the disk recovered"),
            Err(JournalError::Io { .. }) => refused += 1,
            other => panic!("{other:?}"),
        }
        assert_holds(journal.deployment(&id(1)).await, &deployment);
    }
    assert!(refused > 1 && deployment.events > 1, "{refused} refused");
    assert_eq!(
        journal
            .set_paused(&service("app"), None, UnixMillis(1))
            .await
            .map_err(|_| ()),
        Err(())
    );
    drop(journal);

    let journal = reopened(Journal::open(&directory).await);
    assert_holds(journal.deployment(&id(1)).await, &deployment);
    let flags = journal.flags(&service("app")).await.expect("read");
    assert_eq!(flags.paused, None);
}

#[track_caller]
fn check(call: &str, from: &str) {
    let directory = state_directory();
    let log = directory.path().join("journal.sqlite-wal");
    let mut strace = cutover_testkit::world().packages.command("strace");
    strace
        .args(["--follow-forks", "--output=/dev/null", "-P"])
        .arg(&log)
        .arg(format!("--inject={call}:error=EIO:when={from}+"))
        .arg(this_program());
    let name = "disk_fails::records_on_a_failing_disk";
    let outcome = child(strace, name, directory.path())
        .output()
        .expect("strace is there");
    let told = String::from_utf8_lossy(&outcome.stdout);
    assert!(
        outcome.status.success() && told.contains("1 passed"),
        "{call} from call {from} on: {told}{}",
        String::from_utf8_lossy(&outcome.stderr)
    );
}

#[test]
fn a_record_that_the_disk_does_not_confirm_is_not_there_after_a_restart() {
    check("fsync", "4");
    check("pwrite64", "20");
}
