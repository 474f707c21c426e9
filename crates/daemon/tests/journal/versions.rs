//! Journals of every earlier version and release are read for ever.

use std::fs;
use std::path::{Path, PathBuf};

use cutover_core::deployment::Deployment;
use cutover_daemon::journal::Journal;
use rusqlite::Connection;

use crate::sample;
use crate::world::*;

/// Set to a file name, the sample is written to `tests/data/journal` under it: once per release.
const WRITE: &str = "CUTOVER_WRITE_JOURNAL";

fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut files: Vec<_> = fs::read_dir(directory)
        .expect("listed")
        .map(|entry| entry.expect("listed").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

async fn oldest_first(journal: &Journal) -> Vec<Deployment> {
    let mut found = journal.page(None, None, u32::MAX).await.expect("read");
    found.reverse();
    found
}

#[tokio::test]
async fn the_sample_is_read_back_as_this_version_wrote_it() {
    let directory = state_directory();
    let journal = new_journal(directory.path()).await;
    let deployments = sample::record(&journal).await;
    assert_eq!(deployments, sample::folds());
    drop(journal);
    let journal = reopened(Journal::open(directory.path()).await);
    assert_eq!(oldest_first(&journal).await, deployments);
    closed(journal, directory.path()).await;
    if let Ok(name) = std::env::var(WRITE) {
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/journal");
        fs::copy(journal_file(directory.path()), kept.join(name)).expect("written");
    }
}

#[tokio::test]
async fn the_journal_of_every_release_is_read() {
    let releases = files("tests/data/journal", "sqlite");
    assert!(!releases.is_empty());
    for release in releases {
        let directory = state_directory();
        fs::copy(&release, journal_file(directory.path())).expect("copied");
        let journal = reopened(Journal::open(directory.path()).await);
        let found = oldest_first(&journal).await;
        let sample = sample::folds();
        assert!(found.len() >= 30, "{}", release.display());
        assert_eq!(found, sample[..found.len()], "{}", release.display());
        // It is not only read: the unfinished go on.
        let mut left = journal
            .unfinished()
            .await
            .expect("read")
            .pop()
            .expect("one");
        add(&journal, &mut left, &failed()).await.expect("recorded");
    }
}

/// A journal to which the migrations 1 to `version` were applied, each followed by the rows that a
/// program of that version could have written.
fn journal_of_version(version: u32, migrations: &[PathBuf], rows: &[PathBuf], file: &Path) {
    let connection = Connection::open(file).expect("opens");
    for (number, (migration, rows)) in (1..=version).zip(migrations.iter().zip(rows)) {
        for statements in [migration, rows] {
            let text = fs::read_to_string(statements).expect("read");
            let applied = connection.execute_batch(&text);
            assert_eq!(applied, Ok(()), "{}", statements.display());
        }
        connection
            .pragma_update(None, "user_version", number)
            .expect("set");
    }
}

#[tokio::test]
async fn every_migration_keeps_the_rows_that_were_there() {
    let migrations = files("src/journal/migrations", "sql");
    let rows = files("tests/data/migrations", "sql");
    let names = |files: &[PathBuf]| -> Vec<_> {
        let names = files
            .iter()
            .map(|file| file.file_name().map(ToOwned::to_owned));
        names.collect()
    };
    assert_eq!(
        names(&migrations),
        names(&rows),
        "each migration needs rows"
    );
    for (number, migration) in (1..).zip(&migrations) {
        let expected = format!("{number:04}.sql");
        assert!(migration.ends_with(expected), "{}", migration.display());
    }

    let newest = u32::try_from(migrations.len()).expect("few");
    for version in 1..=newest {
        let directory = state_directory();
        let file = journal_file(directory.path());
        journal_of_version(version, &migrations, &rows, &file);
        let count = |query: &str| -> i64 {
            let connection = Connection::open(&file).expect("opens");
            let counted = connection.query_row(query, [], |row| row.get(0));
            counted.expect("counted")
        };
        let inserted = count("SELECT count(*) FROM deployments");
        // Opening folds each deployment and compares it with its row.
        let journal = reopened(Journal::open(directory.path()).await);
        let found = oldest_first(&journal).await;
        assert_eq!(i64::try_from(found.len()), Ok(inserted));
        assert!(
            inserted >= 4 * i64::from(version),
            "too few rows to prove much"
        );
        let flags = journal.flags(&service("app")).await.expect("read");
        assert!(flags.paused.is_some() && flags.needs_operator.is_some());
        assert_eq!(
            count("SELECT user_version FROM pragma_user_version"),
            i64::from(newest)
        );
    }
}
