//! Writing all files or none, never over something else.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use crate::client::failure::Failure;

/// A file to be written.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    what: &'static str,
    content: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// For everybody to read; one with another content is in the way.
    Text,
    /// For its owner only; the one that is there stays, because others use it already.
    Secret,
}

/// A file after the fact.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Written {
    pub(super) path: String,
    pub(super) what: &'static str,
    pub(super) state: State,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It is new.
    Written,
    /// It was there, and was left as it was.
    Kept,
}

impl State {
    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Kept => "was there already and was kept",
        }
    }
}

impl Draft {
    /// A file for everybody to read.
    pub(super) fn text(path: &Path, what: &'static str, content: String) -> Self {
        Self {
            path: path.to_owned(),
            what,
            content,
            kind: Kind::Text,
        }
    }

    /// A file that holds a secret.
    pub(super) fn secret(path: &Path, content: String) -> Self {
        Self {
            path: path.to_owned(),
            what: "the secret that signs requests",
            content,
            kind: Kind::Secret,
        }
    }

    /// Whether it must be written, or why it cannot be.
    fn state(&self) -> Result<State, Failure> {
        match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(State::Written),
            Err(error) => Err(Failure::usage(
                format!("{} cannot be read: {error}", self.path.display()),
                "nothing was written; run this as root, or write elsewhere with --output DIR",
            )),
            Ok(content) if self.kind == Kind::Secret || content == self.content.as_bytes() => {
                Ok(State::Kept)
            }
            Ok(_) => Err(Failure::usage(
                format!("{} is there and says something else", self.path.display()),
                "nothing was written; write elsewhere with --output DIR and compare, or move the file away",
            )),
        }
    }

    fn write(&self) -> io::Result<()> {
        let mode = match self.kind {
            Kind::Text => 0o644,
            Kind::Secret => 0o600,
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&self.path)?;
        // Whatever the umask is: a unit that systemd cannot read would be a riddle.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(self.content.as_bytes())?;
        file.sync_all()
    }
}

/// Makes sure that the file of an option is there. The configuration names it, and once that is written it
/// would be in the way of the run with the path corrected.
pub(super) fn expect_readable(option: &str, path: &Path) -> Result<(), Failure> {
    let opened = fs::metadata(path).and_then(|metadata| match metadata.is_file() {
        true => fs::File::open(path).map(drop),
        false => Err(io::Error::other("it is not a regular file")),
    });
    opened.map_err(|error| {
        Failure::usage(
            format!("{option} {} cannot be read: {error}", path.display()),
            "nothing was written; correct the path, or run this as root",
        )
    })
}

/// Writes what is not there yet, after making sure that nothing else is in the way.
pub(super) fn write(drafts: &[Draft]) -> anyhow::Result<Vec<Written>> {
    let states = drafts
        .iter()
        .map(Draft::state)
        .collect::<Result<Vec<State>, Failure>>()?;
    let mut written = Vec::new();
    for (draft, state) in drafts.iter().zip(states) {
        if state == State::Written {
            make_directory(draft).map_err(|error| unwritable(draft, &error))?;
            draft
                .write()
                .with_context(|| format!("{} could not be written", draft.path.display()))?;
        }
        written.push(Written {
            path: draft.path.display().to_string(),
            what: draft.what,
            state,
        });
    }
    Ok(written)
}

/// Makes the directory, and tries whether it can be written to before anything is.
fn make_directory(draft: &Draft) -> io::Result<()> {
    let directory = draft.path.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)?;
    Ok(rustix::fs::access(directory, rustix::fs::Access::WRITE_OK)?)
}

fn unwritable(draft: &Draft, error: &io::Error) -> Failure {
    Failure::usage(
        format!("{} cannot be written: {error}", draft.path.display()),
        "run this as root, or write elsewhere with --output DIR",
    )
}
