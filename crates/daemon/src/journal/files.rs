//! The files of a journal, and how a damaged one is set aside.
//!
//! ```text
//! journal.sqlite (-wal, -shm)        the journal
//! journal.sqlite.new                 one that is being made
//! journal.sqlite.replacing           a damaged one is about to move; holds the name that it gets
//! journal.sqlite.broken-<time>       a damaged one
//! journal.sqlite.replaced            it has moved, and nobody has taken notice yet; holds its name
//! ```
//!
//! A move of several files is not atomic, so it is announced first, and finished by the next start if
//! this one dies. The last file stays until the caller has taken notice: a crash repeats the report
//! instead of losing it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::error::JournalError;

/// What SQLite appends to the name of a file for those beside it. The main file goes last: without its
/// write-ahead log it would look whole and be old.
const SUFFIXES: [&str; 3] = ["-shm", "-wal", ""];

/// The files in one state directory.
#[derive(Debug, Clone)]
pub(super) struct Files {
    directory: PathBuf,
}

impl Files {
    /// The files in `directory`, there or not.
    pub(super) fn of(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// The journal's main file.
    pub(super) fn journal(&self) -> PathBuf {
        self.directory.join("journal.sqlite")
    }

    fn replacing(&self) -> PathBuf {
        self.directory.join("journal.sqlite.replacing")
    }

    fn replaced(&self) -> PathBuf {
        self.directory.join("journal.sqlite.replaced")
    }

    /// Where the damaged journal is, if one was set aside and nobody has taken notice.
    pub(super) fn noted(&self) -> Result<Option<PathBuf>, JournalError> {
        self.read_name(&self.replaced())
    }

    /// Forgets that a damaged journal was set aside.
    pub(super) fn forget_note(&self) -> Result<(), JournalError> {
        let path = self.replaced();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &path, &error))
            }
            _ => self.make_durable(),
        }
    }

    /// Sets the damaged journal aside.
    pub(super) fn set_aside(&self) -> Result<(), JournalError> {
        let time = jiff::Timestamp::now()
            .strftime("%Y%m%dT%H%M%SZ")
            .to_string();
        let mut name = format!("journal.sqlite.broken-{time}");
        let mut again = 1;
        while self.directory.join(&name).exists() {
            again += 1;
            name = format!("journal.sqlite.broken-{time}-{again}");
        }
        let announcement = self.replacing();
        new_file(&announcement)
            .and_then(|mut file| {
                file.write_all(name.as_bytes())?;
                file.sync_all()
            })
            .map_err(|error| failed("write", &announcement, &error))?;
        self.make_durable()?;
        self.finish_setting_aside()
    }

    /// Finishes a move that was announced, if there is one.
    pub(super) fn finish_setting_aside(&self) -> Result<(), JournalError> {
        let Some(broken) = self.read_name(&self.replacing())? else {
            return Ok(());
        };
        for suffix in SUFFIXES {
            let from = with_suffix(&self.journal(), suffix);
            match fs::rename(&from, with_suffix(&broken, suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("move", &from, &error));
                }
                _ => {}
            }
        }
        self.make_durable()?;
        fs::rename(self.replacing(), self.replaced())
            .map_err(|error| failed("rename", &self.replacing(), &error))?;
        self.make_durable()
    }

    /// Makes a journal where there is none: `fill` gets an empty file and leaves a whole database.
    pub(super) fn create(
        &self,
        fill: impl FnOnce(&Path) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let unfinished = self.directory.join("journal.sqlite.new");
        for suffix in SUFFIXES {
            let _absent = fs::remove_file(with_suffix(&unfinished, suffix));
            // SQLite would play the write-ahead log of a lost journal into the new one.
            let _absent = fs::remove_file(with_suffix(&self.journal(), suffix));
        }
        new_file(&unfinished).map_err(|error| failed("create", &unfinished, &error))?;
        fill(&unfinished)?;
        File::open(&unfinished)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&unfinished, self.journal()))
            .map_err(|error| failed("create", &self.journal(), &error))?;
        self.make_durable()
    }

    fn read_name(&self, path: &Path) -> Result<Option<PathBuf>, JournalError> {
        match fs::read_to_string(path) {
            // The power went before the name was written; nothing has been moved then.
            Ok(name) if name.is_empty() => Ok(None),
            Ok(name) => Ok(Some(self.directory.join(name))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", path, &error)),
        }
    }

    /// Makes renames and removals in the directory durable.
    fn make_durable(&self) -> Result<(), JournalError> {
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| failed("sync", &self.directory, &error))
    }
}

/// An empty file that only its owner can read; SQLite gives the files beside it the same mode.
pub(super) fn new_file(path: &Path) -> io::Result<File> {
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn failed(act: &str, path: &Path, error: &io::Error) -> JournalError {
    JournalError::io(&format!("cannot {act} {}", path.display()), error)
}
