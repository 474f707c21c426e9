//! What can go wrong with the journal, by what the caller does next.

use std::io;

use cutover_core::deployment::IllegalEvent;
use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;

/// Why the journal did not do what it was asked for. Whatever the kind, nothing was recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// There is no room: go no further; going back may still be recorded.
    #[error(
        "the disk that holds the journal is full, so nothing was recorded: free space in the state directory"
    )]
    Full,
    /// The file could not be read or written: go no further, go back unrecorded, ask an operator.
    #[error(
        "the journal could not be read or written, so nothing counts as recorded: {why}; check the disk and the permissions of the state directory"
    )]
    Io {
        /// What the system said.
        why: String,
    },
    /// Another daemon has the state directory: exit.
    #[error(
        "another cutover daemon ({holder}) uses the state directory {directory}, so this one changed nothing: stop the other one first"
    )]
    Locked {
        /// The directory, for a person.
        directory: String,
        /// The other daemon, for a person: `process 4711`, or that it did not say.
        holder: String,
    },
    /// A newer cutover wrote the journal: exit, touch nothing.
    #[error(
        "the journal has version {found} and this cutover knows versions up to {supported}, so it was left alone: install the newer cutover again"
    )]
    Newer {
        /// The version of the journal.
        found: u32,
        /// The newest version that this program reads.
        supported: u32,
    },
    /// The file is damaged: ask an operator; the next start sets it aside.
    #[error(
        "the journal is damaged: {why}; nothing was recorded, and a restart of cutover sets the file aside and begins a new one"
    )]
    Corrupt {
        /// What was found.
        why: String,
    },
    /// The event cannot follow: a mistake in this program.
    #[error("nothing was recorded: {0}")]
    Illegal(IllegalEvent),
    /// The deployment is not as far as the caller thinks: a mistake in this program.
    #[error(
        "nothing was recorded: the next event of the deployment has number {found}, not {expected}"
    )]
    Sequence {
        /// The number that the caller gave the event.
        expected: u64,
        /// The number that the next event gets; 1 if the deployment is not known.
        found: u64,
    },
    /// The event is larger than any event needs to be: a mistake in this program.
    #[error("nothing was recorded: the event has {bytes} bytes, more than {bytes_max}")]
    TooLarge {
        /// Its size as recorded.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
}

impl JournalError {
    /// Damage, described by anything that can be said.
    pub(super) fn corrupt(why: impl Into<String>) -> Self {
        Self::Corrupt { why: why.into() }
    }

    /// A failure of the system, with what was tried.
    pub(super) fn io(what: &str, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io {
                why: format!("{what}: {error}"),
            },
        }
    }
}

impl From<IllegalEvent> for JournalError {
    fn from(illegal: IllegalEvent) -> Self {
        Self::Illegal(illegal)
    }
}

impl From<rusqlite::Error> for JournalError {
    fn from(error: rusqlite::Error) -> Self {
        let why = error.to_string();
        let Some(failure) = error.sqlite_error() else {
            // A column does not hold what its table promises.
            return Self::Corrupt { why };
        };
        match failure.code {
            ErrorCode::DiskFull => Self::Full,
            // SQLite reports it only for a shared-memory file that cannot grow.
            ErrorCode::SystemIoFailure if failure.extended_code == SQLITE_IOERR_SHMSIZE => {
                Self::Full
            }
            // Statements are fixed, so one that does not fit means that the tables are not as they were made.
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown => {
                Self::Corrupt { why }
            }
            _ => Self::Io { why },
        }
    }
}
