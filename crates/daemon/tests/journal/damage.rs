//! A damaged journal is noticed, set aside, and reported until somebody has taken notice.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use cutover_core::deployment::Deployment;
use cutover_daemon::journal::{Journal, JournalError, Opened};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::sample;
use crate::world::*;

/// A directory with the sample in a journal that was closed in order.
async fn with_sample() -> TempDir {
    let directory = state_directory();
    let journal = new_journal(directory.path()).await;
    sample::record(&journal).await;
    closed(journal, directory.path()).await;
    directory
}

/// Opens a journal that must be found damaged, and returns where the damaged file is.
async fn replaced(directory: &Path) -> (Journal, PathBuf) {
    match Journal::open(directory).await {
        Ok((journal, Opened::Replaced { broken })) => (journal, broken),
        other => panic!("not found damaged: {other:?}"),
    }
}

async fn assert_set_aside(directory: &Path) {
    let file = journal_file(directory);
    let before = fs::read(&file).expect("read");
    let (journal, broken) = replaced(directory).await;
    assert!(fs::read(&broken).expect("read") == before, "it was changed");
    assert_eq!(journal.page(None, None, 9).await, Ok(vec![]));
    recorded(&journal, &id(1), request(), &up_to_success(), 1000).await;
}

#[tokio::test]
async fn a_file_of_garbage_is_set_aside() {
    for garbage in [
        "not a database, but longer than the header of one would be. ".repeat(99),
        "short".to_owned(),
        String::new(),
    ] {
        let directory = state_directory();
        fs::write(journal_file(directory.path()), garbage).expect("written");
        assert_set_aside(directory.path()).await;
    }
}

#[tokio::test]
async fn a_file_cut_short_is_set_aside() {
    let directory = with_sample().await;
    let file = fs::File::options()
        .write(true)
        .open(journal_file(directory.path()))
        .expect("opens");
    let len = file.metadata().expect("there").len();
    file.set_len(len / 2).expect("cut");
    assert_set_aside(directory.path()).await;
}

#[tokio::test]
async fn another_programs_database_is_set_aside() {
    let directory = state_directory();
    let connection = Connection::open(journal_file(directory.path())).expect("opens");
    connection
        .execute_batch("CREATE TABLE songs (title TEXT); PRAGMA user_version = 1")
        .expect("made");
    drop(connection);
    assert_set_aside(directory.path()).await;
}

#[tokio::test]
async fn rows_that_do_not_add_up_are_damage() {
    for change in [
        "UPDATE events SET body = replace(body, 'sha256:1d', 'sha256:1e') WHERE seq = 3",
        "UPDATE events SET at = at + 1 WHERE seq = 2",
        "UPDATE deployments SET status = 'succeeded' WHERE status = 'rolled_back'",
        "UPDATE deployments SET service = 'web' WHERE number = 3",
        "UPDATE deployments SET ended_at = 1 WHERE ended_at IS NULL",
        "UPDATE deployments SET delivery_id = 'another' WHERE number = 1",
        "DELETE FROM events WHERE seq = 2",
        "DELETE FROM events WHERE deployment_id = (SELECT id FROM deployments WHERE number = 2)",
        "DELETE FROM events WHERE deployment_id = (SELECT id FROM deployments WHERE number = 1)
             AND seq = (SELECT max(seq) FROM events WHERE deployment_id =
                 (SELECT id FROM deployments WHERE number = 1))",
        "DROP TABLE services",
        "ALTER TABLE services RENAME COLUMN paused_why TO paused_whz",
        "DROP TABLE probe",
    ] {
        let directory = with_sample().await;
        let connection = Connection::open(journal_file(directory.path())).expect("opens");
        connection.execute_batch(change).expect(change);
        connection.close().expect("closed");
        let (journal, _) = replaced(directory.path()).await;
        assert_eq!(journal.page(None, None, 9).await, Ok(vec![]), "{change}");
    }
}

/// What opening makes of a journal whose bytes were changed: every way of asking must agree.
async fn after_damage(directory: &Path) -> Result<(Opened, Vec<Deployment>), JournalError> {
    let (journal, opened) = Journal::open(directory).await?;
    let mut found = journal.page(None, None, u32::MAX).await?;
    let of_service = journal.page(Some(&service("app")), None, u32::MAX).await?;
    assert_eq!(found.len(), of_service.len());
    for deployment in &found {
        let request = &deployment.request;
        let delivery = request.delivery_id.as_ref().expect("has one");
        let delivery = journal.delivery(&request.service, &request.actor, delivery);
        assert_eq!(delivery.await?.as_ref(), Some(deployment));
    }
    journal.probe_writable().await?;
    found.sort_by(|a, b| a.id.cmp(&b.id));
    Ok((opened, found))
}

#[tokio::test]
async fn a_flipped_bit_never_changes_what_is_read() {
    let directory = with_sample().await;
    let whole = fs::read(journal_file(directory.path())).expect("read");
    let mut noticed = 0;
    // The whole header and some hundred places after it, another bit each time.
    let places = (0..100).chain((100..whole.len()).step_by(331));
    for (turn, place) in places.enumerate() {
        let damaged = state_directory();
        // Hundreds of ballast files would be written otherwise.
        let ballast = |directory: &TempDir| directory.path().join("ballast");
        fs::hard_link(ballast(&directory), ballast(&damaged)).expect("linked");
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (turn % 8);
        fs::write(journal_file(damaged.path()), bytes).expect("written");
        match after_damage(damaged.path()).await {
            Ok((Opened::Replaced { .. }, found)) => {
                noticed += 1;
                assert_eq!(found, [], "at byte {place}");
            }
            Ok((Opened::Fine, found)) => {
                assert!(found == sample::folds(), "at byte {place}");
            }
            // Bytes 60 to 63 are the version.
            Err(JournalError::Newer { .. }) if (60..64).contains(&place) => {}
            other => panic!("at byte {place}: {other:?}"),
        }
    }
    assert!(noticed > 10, "only {noticed} noticed");
}

/// Copies a journal that is in use, as a power cut would leave it.
fn copy_in_use(from: &Path) -> TempDir {
    let copy = state_directory();
    for name in ["journal.sqlite", "journal.sqlite-wal"] {
        fs::copy(from.join(name), copy.path().join(name)).expect("copied");
    }
    copy
}

fn wal_of(directory: &Path) -> fs::File {
    let path = directory.join("journal.sqlite-wal");
    let opened = fs::File::options().read(true).write(true).open(path);
    opened.expect("opens")
}

/// Asserts that the copy holds the beginning of what `whole` tells, and that it goes on from there.
async fn assert_holds_the_beginning(copy: &Path, whole: &Deployment) -> u64 {
    let journal = reopened(Journal::open(copy).await);
    let found = journal.deployment(&whole.id).await.expect("read");
    let Some(mut found) = found else { return 0 };
    assert!(found.events <= whole.events);
    let events = journal.events(&whole.id, 0, 99).await.expect("read");
    assert_eq!(events.len() as u64, found.events);
    let count = found.events;
    if !found.status().is_end() {
        add(&journal, &mut found, &warned())
            .await
            .expect("recorded");
    }
    count
}

#[tokio::test]
async fn a_torn_log_costs_its_last_records_and_no_others() {
    let directory = state_directory();
    let journal = new_journal(directory.path()).await;
    let whole = recorded(&journal, &id(1), request(), &up_to_success(), 1000).await;
    let len = wal_of(directory.path()).metadata().expect("there").len();
    let mut counts = Vec::new();
    for sixteenths in (0..=16).rev() {
        let torn = copy_in_use(directory.path());
        wal_of(torn.path())
            .set_len(len * sixteenths / 16)
            .expect("cut");
        counts.push(assert_holds_the_beginning(torn.path(), &whole).await);

        // The same place, but the bytes are there and wrong.
        let garbled = copy_in_use(directory.path());
        let mut wal = wal_of(garbled.path());
        let place = (len * sixteenths / 16).min(len - 1);
        let mut byte = [0];
        wal.seek(SeekFrom::Start(place)).expect("there");
        wal.read_exact(&mut byte).expect("read");
        wal.seek(SeekFrom::Start(place)).expect("there");
        wal.write_all(&[!byte[0]]).expect("written");
        drop(wal);
        assert_holds_the_beginning(garbled.path(), &whole).await;
    }
    assert_eq!(counts.first(), Some(&whole.events));
    assert_eq!(counts.last(), Some(&0));
    assert!(counts.is_sorted_by(|longer, shorter| longer >= shorter));
}

#[tokio::test]
async fn a_replacement_is_reported_until_it_is_acknowledged() {
    let directory = state_directory();
    let file = journal_file(directory.path());
    fs::write(&file, "garbage").expect("written");
    let (journal, first) = replaced(directory.path()).await;
    recorded(&journal, &id(1), request(), &[], 1000).await;
    drop(journal);

    let (journal, again) = replaced(directory.path()).await;
    assert_eq!(first, again);
    assert_eq!(
        journal.page(None, None, 9).await.map(|found| found.len()),
        Ok(1)
    );
    journal.acknowledge_replacement().await.expect("noted");
    journal.acknowledge_replacement().await.expect("noted");
    drop(journal);
    let journal = reopened(Journal::open(directory.path()).await);
    closed(journal, directory.path()).await;

    // A second one within the same second gets a name of its own.
    fs::write(&file, "garbage").expect("written");
    let (_journal, second) = replaced(directory.path()).await;
    assert_ne!(first, second);
    assert!(first.exists() && second.exists());
}

#[tokio::test]
async fn setting_aside_is_finished_after_a_crash() {
    // The daemon died after it had announced the move and moved the log, which alone held the records.
    let directory = state_directory();
    let journal = new_journal(directory.path()).await;
    recorded(&journal, &id(1), request(), &up_to_the_switch(), 1000).await;
    let died = copy_in_use(directory.path());
    let name = "journal.sqlite.broken-20260101T000000Z";
    let path = |suffix: &str| died.path().join(format!("{name}{suffix}"));
    fs::write(died.path().join("journal.sqlite.replacing"), name).expect("written");
    fs::rename(died.path().join("journal.sqlite-wal"), path("-wal")).expect("moved");

    let (journal, broken) = replaced(died.path()).await;
    assert_eq!(broken, path(""));
    assert_eq!(journal.page(None, None, 9).await, Ok(vec![]));
    drop(journal);
    // What was set aside can still be read together.
    let connection = Connection::open(broken).expect("opens");
    let events: i64 = connection
        .query_row("SELECT count(*) FROM events", [], |row| row.get(0))
        .expect("counted");
    assert_eq!(events, 4);
}
