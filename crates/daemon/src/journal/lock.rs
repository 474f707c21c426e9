//! One daemon per state directory.
//!
//! The kernel gives the lock back when its holder ends, however it ends, so there is never a stale one.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::JournalError;

/// How long to wait for a daemon that is just ending, for example during an upgrade.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// How often to ask again meanwhile.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// The right to use a state directory, as long as it is not dropped.
#[derive(Debug)]
pub(super) struct StateLock {
    _file: File,
}

impl StateLock {
    /// Takes the lock of `directory`, waiting a moment for a daemon that is ending.
    pub(super) fn take(directory: &Path) -> Result<Self, JournalError> {
        let path = directory.join("lock");
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| {
                JournalError::io(&format!("cannot open {}", path.display()), &error)
            })?;
        let began = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if began.elapsed() < LOCK_WAIT => {
                    thread::sleep(LOCK_INTERVAL);
                }
                Err(Errno::WOULDBLOCK) => {
                    return Err(JournalError::Locked {
                        directory: directory.display().to_string(),
                        holder: holder(&mut file),
                    });
                }
                Err(Errno::INTR) => {}
                Err(error) => {
                    return Err(JournalError::io(
                        &format!("cannot lock {}", path.display()),
                        &error.into(),
                    ));
                }
            }
        }
        // Only for the message of a second daemon, so a full disk does not matter.
        let _unwritten = file
            .set_len(0)
            .and_then(|()| write!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

/// Who has the lock, for a person.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) if !text.is_empty() => format!("process {text}"),
        _ => "it does not say which process".to_owned(),
    }
}
