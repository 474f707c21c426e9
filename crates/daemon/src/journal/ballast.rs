//! Room kept for the way back.
//!
//! A file of no meaning occupies a little of the disk. When the disk is full after a switch has begun,
//! the file goes, and what happens from then on can be recorded. Before a switch begins the file has to
//! be there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::JournalError;
use super::files::new_file;
use super::rows::EVENT_BYTES_MAX;

/// Its size: enough for the largest event that a way back can have, and for all the small ones around it.
pub(super) const BALLAST_BYTES: usize = 2 * EVENT_BYTES_MAX;

/// The ballast of one state directory.
#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
}

/// What became of a wish for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Released {
    /// There is room now.
    Freed,
    /// There was nothing to release.
    Nothing,
}

impl Ballast {
    /// The ballast of `directory`, there or not.
    pub(super) fn of(directory: &Path) -> Self {
        Self {
            path: directory.join("ballast"),
        }
    }

    /// Makes sure that the file is there, with all its bytes.
    ///
    /// # Errors
    /// [`JournalError::Full`] when there is no room for it, [`JournalError::Io`] otherwise.
    pub(super) fn ensure(&self) -> Result<(), JournalError> {
        if fs::metadata(&self.path).is_ok_and(|found| found.len() == BALLAST_BYTES as u64) {
            return Ok(());
        }
        self.write().map_err(|error| {
            // A part of it would take the room of others and be of no use.
            let _absent = fs::remove_file(&self.path);
            JournalError::io(&format!("cannot write {}", self.path.display()), &error)
        })
    }

    fn write(&self) -> io::Result<()> {
        let mut file = new_file(&self.path)?;
        file.write_all(&incompressible(BALLAST_BYTES))?;
        file.sync_all()
    }

    /// Gives the room back to the file system.
    pub(super) fn release(&self) -> Released {
        if fs::remove_file(&self.path).is_err() {
            return Released::Nothing;
        }
        // Some file systems hand freed blocks out only after the removal is durable.
        if let Some(directory) = self.path.parent() {
            let _best_effort = File::open(directory).and_then(|directory| directory.sync_all());
        }
        Released::Freed
    }
}

/// Bytes that a compressing file system cannot make smaller (xorshift64).
fn incompressible(len: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
