//! What the daemon's environment says, read once: some defaults depend on it.

use std::env;
use std::path::{Path, PathBuf};

/// Where systemd keeps the credentials of a unit; `cutover check` runs outside of the unit and only
/// knows the place.
const SYSTEM_CREDENTIALS: &str = "/run/credentials";

/// The part of the environment that settings depend on. A value of its own, so that tests need not
/// change the environment of their process.
#[derive(Debug, Clone, Default)]
pub(super) struct Surroundings {
    /// `$STATE_DIRECTORY`, which systemd sets for `StateDirectory=`.
    pub(super) state_directory: Option<PathBuf>,
    /// `$CREDENTIALS_DIRECTORY`, which systemd sets for `LoadCredential=`.
    pub(super) credentials_directory: Option<PathBuf>,
    /// `$DOCKER_CONFIG`.
    pub(super) docker_config: Option<PathBuf>,
    /// `$HOME`.
    pub(super) home: Option<PathBuf>,
}

impl Surroundings {
    /// Reads the environment of this process. Relative values are as good as none.
    pub(super) fn of_this_process() -> Self {
        let directory = |name| {
            env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        Self {
            // With several directories systemd joins them with colons; the first one is ours.
            state_directory: env::var("STATE_DIRECTORY")
                .ok()
                .and_then(|list| list.split(':').next().map(PathBuf::from))
                .filter(|path| path.is_absolute()),
            credentials_directory: directory("CREDENTIALS_DIRECTORY"),
            docker_config: directory("DOCKER_CONFIG"),
            home: directory("HOME"),
        }
    }

    /// Whether systemd put the file at `path` there, which decides by itself who may read it.
    pub(super) fn is_credential(&self, path: &Path) -> bool {
        path.starts_with(SYSTEM_CREDENTIALS)
            || self
                .credentials_directory
                .as_ref()
                .is_some_and(|directory| path.starts_with(directory))
    }
}
