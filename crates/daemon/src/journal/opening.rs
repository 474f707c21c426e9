//! How the journal is opened: take the lock, look before touching, migrate, check every deployment, and
//! set a damaged file aside.
//!
//! A new journal is made under another name and renamed, so a file under the journal's own name that is
//! empty or has no tables is damage, never a beginning.

use std::convert::Infallible;
use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::Opened;
use super::ballast::{Ballast, Released};
use super::error::JournalError;
use super::files::Files;
use super::lock::StateLock;
use super::read;
use super::write::Writer;

/// One per version of the journal, in order; `rows` says what needs one.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
];

/// "cuto" in ASCII, as set by the first migration.
const APPLICATION_ID: i64 = 0x6375_746f;

/// Before this version SQLite could lose committed transactions when a write-ahead log was reset.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// How long a connection waits for the other one; they meet only for moments.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What is left of a write-ahead log after a checkpoint that found it larger.
const WAL_BYTES_MAX: i64 = 8 * 1024 * 1024;

/// Owns the connection that reads. Its end of the channel goes when the connection is closed.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) connection: Connection,
    _end: mpsc::SyncSender<Infallible>,
    _lock: Arc<StateLock>,
}

/// Opens the journal of `directory`, which is made if it is not there.
pub(super) fn open(directory: &Path) -> Result<(Writer, Reader, Opened), JournalError> {
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        return Err(JournalError::Io {
            why: format!(
                "this program was linked with SQLite {}, which can lose records; 3.51.3 is needed",
                rusqlite::version()
            ),
        });
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| {
            JournalError::io(&format!("cannot make {}", directory.display()), &error)
        })?;
    let lock = Arc::new(StateLock::take(directory)?);
    let files = Files::of(directory);
    let ballast = Ballast::of(directory);
    let (connection, opened) = match open_files(&files) {
        // What has to be put right after a crash must not wait for room.
        Err(JournalError::Full) if ballast.release() == Released::Freed => open_files(&files)?,
        other => other?,
    };
    if let Err(error) = ballast.ensure() {
        tracing::warn!(%error, "no deployment can begin until there is room for the ballast file");
    }
    let (end, reader_end) = mpsc::sync_channel(0);
    let reader = Reader {
        connection: connect_for_reading(&files.journal())?,
        _end: end,
        _lock: Arc::clone(&lock),
    };
    let writer = Writer {
        connection,
        ballast,
        reader_end,
        _lock: lock,
    };
    Ok((writer, reader, opened))
}

fn open_files(files: &Files) -> Result<(Connection, Opened), JournalError> {
    files.finish_setting_aside()?;
    let is_new = !files.journal().exists();
    if is_new {
        files.create(make)?;
    }
    let connection = match open_file(&files.journal()) {
        Err(JournalError::Corrupt { why }) => {
            tracing::error!(%why, "the journal is damaged: setting it aside and beginning a new one");
            files.set_aside()?;
            files.create(make)?;
            open_file(&files.journal())?
        }
        other => other?,
    };
    let opened = match files.noted()? {
        Some(broken) => Opened::Replaced { broken },
        None if is_new => Opened::New,
        None => Opened::Fine,
    };
    Ok((connection, opened))
}

/// Makes an empty file a journal without deployments.
fn make(path: &Path) -> Result<(), JournalError> {
    let mut connection = connect(path)?;
    migrate(&mut connection)?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(())
}

/// Opens a journal that is there, brings it to the present version and checks every deployment.
fn open_file(path: &Path) -> Result<Connection, JournalError> {
    examine(path)?;
    let mut connection = connect(path)?;
    migrate(&mut connection)?;
    read::verify(&connection)?;
    Ok(connection)
}

/// Looks at the file without changing it.
fn examine(path: &Path) -> Result<(), JournalError> {
    examine_header(path)?;
    let connection = connect_for_reading(path)?;
    let application_id: i64 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application_id != APPLICATION_ID {
        return Err(JournalError::corrupt("it is not a journal of cutover"));
    }
    let supported = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    match version(&connection)? {
        0 => return Err(JournalError::corrupt("it has no version")),
        found if found > supported => return Err(JournalError::Newer { found, supported }),
        _ => {}
    }
    let finding: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if finding != "ok" {
        return Err(JournalError::corrupt(finding));
    }
    Ok(())
}

/// SQLite takes a file whose two format versions it does not know for one that only newer programs may
/// write, and every write would fail.
fn examine_header(path: &Path) -> Result<(), JournalError> {
    let mut header = [0; 20];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(JournalError::corrupt("it is shorter than its header"));
        }
        Err(error) => {
            return Err(JournalError::io(
                &format!("cannot read {}", path.display()),
                &error,
            ));
        }
        Ok(()) => {}
    }
    if header[18..].iter().all(|format| [1, 2].contains(format)) {
        Ok(())
    } else {
        Err(JournalError::corrupt("its header names an unknown format"))
    }
}

fn version(connection: &Connection) -> Result<u32, JournalError> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

/// Applies what the journal does not have yet, each migration as one transaction.
fn migrate(connection: &mut Connection) -> Result<(), JournalError> {
    let present = version(connection)?;
    for (number, migration) in (1_u32..).zip(MIGRATIONS) {
        if number > present {
            let transaction = connection.transaction()?;
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", number)?;
            transaction.commit()?;
        }
    }
    Ok(())
}

fn connect(path: &Path) -> Result<Connection, JournalError> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    // NORMAL would lose the last records in a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_MAX, |_| Ok(()))?;
    Ok(connection)
}

fn connect_for_reading(path: &Path) -> Result<Connection, JournalError> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_waits_for_the_disk() {
        let directory = tempfile::tempdir().expect("a directory");
        let (writer, ..) = open(directory.path()).expect("opens");
        let setting = |name: &str| -> String {
            let read = writer
                .connection
                .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0));
            format!("{:?}", read.expect(name))
        };
        assert_eq!(setting("journal_mode"), "Text(\"wal\")");
        // FULL
        assert_eq!(setting("synchronous"), "Integer(2)");
        assert_eq!(setting("foreign_keys"), "Integer(1)");
    }
}
