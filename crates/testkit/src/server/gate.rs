//! A place where a starting process waits until its surroundings are ready: `flock`, which becomes the
//! next command as soon as a file's lock is free.
//!
//! The lock is free too when whoever holds it dies. What comes behind a gate must be harmless then.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

/// A closed gate. Dropping it opens it.
#[derive(Debug)]
pub(super) struct Gate {
    path: PathBuf,
    lock: File,
}

impl Gate {
    /// Closes a gate, which is a file.
    pub(super) fn close(path: &Path) -> Result<Self> {
        let lock = File::create(path)?;
        lock.lock()
            .with_context(|| format!("{} cannot be locked", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            lock,
        })
    }

    /// A command that waits before the gate and then becomes what its arguments say.
    pub(super) fn command(&self) -> Command {
        let [program, rest @ ..] = self.words();
        let mut command = Command::new(program);
        command.args(rest);
        command
    }

    /// The same, to be called by another program.
    pub(super) fn words(&self) -> [String; 3] {
        let path = self.path.display().to_string();
        ["flock".to_owned(), "--no-fork".to_owned(), path]
    }

    /// Whether the process, given by its directory in `/proc`, stands before this gate.
    pub(super) fn is_before(&self, process: &Path) -> bool {
        let called = fs::read(process.join("cmdline")).unwrap_or_default();
        let expected = self.words().join("\0");
        called.starts_with(expected.as_bytes())
    }

    /// Lets the process through.
    pub(super) fn open(self) {
        drop(self.lock);
    }
}
