//! Opening: one daemon per directory, no journal of a newer version, files of their owner's only.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use cutover_daemon::journal::{Journal, JournalError, Opened};
use rusqlite::Connection;

use crate::world::*;

#[tokio::test]
async fn a_second_daemon_is_refused_while_the_first_one_lives() {
    let directory = state_directory();
    let first = new_journal(directory.path()).await;
    match Journal::open(directory.path()).await {
        Err(error @ JournalError::Locked { .. }) => {
            let text = error.to_string();
            let pid = format!("process {}", std::process::id());
            assert!(text.contains(&pid), "{text}");
            assert!(
                text.contains(&directory.path().display().to_string()),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
    first.probe_writable().await.expect("still writes");
    drop(first);
    reopened(Journal::open(directory.path()).await);
}

#[tokio::test]
async fn clones_keep_the_journal_open() {
    let directory = state_directory();
    let first = new_journal(directory.path()).await;
    let second = first.clone();
    drop(first);
    second.probe_writable().await.expect("still writes");
}

#[tokio::test]
async fn a_journal_of_a_newer_version_is_left_alone() {
    let directory = state_directory();
    let journal = new_journal(directory.path()).await;
    recorded(&journal, &id(1), request(), &up_to_the_switch(), 1000).await;
    closed(journal, directory.path()).await;
    let file = journal_file(directory.path());
    let connection = Connection::open(&file).expect("opens");
    let supported: u32 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .expect("a version");
    connection
        .pragma_update(None, "user_version", supported + 1)
        .expect("set");
    connection.close().expect("closed");
    let before = fs::read(&file).expect("read");

    let refused = Journal::open(directory.path()).await.map(|_| ());
    let found = supported + 1;
    assert_eq!(refused, Err(JournalError::Newer { found, supported }));
    assert!(fs::read(&file).expect("read") == before, "it was changed");
    let names: Vec<_> = fs::read_dir(directory.path())
        .expect("listed")
        .map(|entry| entry.expect("listed").file_name())
        .filter(|name| name.to_string_lossy().contains("broken"))
        .collect();
    assert!(names.is_empty(), "{names:?}");
}

#[tokio::test]
async fn nobody_else_can_read_the_journal() {
    let parent = state_directory();
    let directory = parent.path().join("deep/state");
    let journal = new_journal(&directory).await;
    recorded(&journal, &id(1), request(), &[], 1000).await;
    let mode = |path: &std::path::Path| {
        let found = fs::metadata(path).expect("there").permissions().mode();
        found & 0o777
    };
    assert_eq!(mode(&directory), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(&directory).expect("listed") {
        let path = entry.expect("listed").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned()),
        );
    }
    names.sort();
    let expected = [
        "ballast",
        "journal.sqlite",
        "journal.sqlite-shm",
        "journal.sqlite-wal",
        "lock",
    ];
    assert_eq!(names, expected.map(|name| Some(name.to_owned())));
}

#[tokio::test]
async fn a_lost_journal_does_not_leave_its_log_to_the_new_one() {
    let directory = state_directory();
    let journal = new_journal(directory.path()).await;
    recorded(&journal, &id(1), request(), &up_to_the_switch(), 1000).await;
    // As after a crash: the log was never folded into the file.
    let other = state_directory();
    let wal = "journal.sqlite-wal";
    fs::copy(directory.path().join(wal), other.path().join(wal)).expect("copied");
    let (fresh, opened) = Journal::open(other.path()).await.expect("opens");
    assert_eq!(opened, Opened::New);
    assert_eq!(fresh.page(None, None, 9).await, Ok(vec![]));
}
