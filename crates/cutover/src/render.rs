//! Everything that a person, a pipe or a CI log gets to see.
//!
//! Results go to stdout and all else to stderr. What came from the daemon passes [`text::clean`] before it
//! is printed, because container output and error texts may hold anything; the one exception is
//! `--json`, which prints the daemon's bytes as they are.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;

pub(crate) mod text;
pub(crate) mod style;
pub(crate) mod time;
pub(crate) mod table;
pub(crate) mod words;
pub(crate) mod steps;
pub(crate) mod failure;
pub(crate) mod services;
pub(crate) mod history;
pub(crate) mod deployment;
pub(crate) mod conclusion;
pub(crate) mod view;
pub(crate) mod plain;
pub(crate) mod terminal;
pub(crate) mod github;
pub(crate) mod summary;

/// Who reads a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// A person at a terminal of this many columns.
    Person {
        /// The terminal's width.
        columns: usize,
    },
    /// A program, a file or a CI log: nothing is shortened, times are RFC 3339.
    Pipe,
}

impl Audience {
    /// Who reads stdout.
    pub(crate) fn of_stdout() -> Self {
        Self::of(&std::io::stdout())
    }

    /// Who reads stderr.
    pub(crate) fn of_stderr() -> Self {
        Self::of(&std::io::stderr())
    }

    fn of(stream: &(impl IsTerminal + AsFd)) -> Self {
        if !stream.is_terminal() {
            return Self::Pipe;
        }
        let columns = match rustix::termios::tcgetwinsize(stream) {
            Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
            _ => 80,
        };
        Self::Person { columns }
    }

    /// The columns that text is wrapped at; none for a pipe.
    pub(crate) fn columns(self) -> Option<usize> {
        match self {
            Self::Person { columns } => Some(columns),
            Self::Pipe => None,
        }
    }

    /// The daemon's text with short hashes for a person, with whole ones for a pipe; harmless for both.
    pub(crate) fn text(self, text: &str) -> String {
        match self {
            Self::Person { .. } => text::readable(text),
            Self::Pipe => text::clean(text),
        }
    }
}

/// Prints a result for people to stdout.
///
/// # Errors
/// That stdout cannot be written, for instance because its reader is gone.
pub(crate) fn print(text: &str) -> std::io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(in_ci(text).as_bytes())?;
    stdout.flush()
}

/// Prints the daemon's answer to stdout as it came, and ends the line.
///
/// # Errors
/// That stdout cannot be written.
pub(crate) fn print_body(body: &[u8]) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(body)?;
    if !body.ends_with(b"\n") {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()
}

/// Prints something that is not a result to stderr. Where stderr is closed there is nobody to tell.
pub(crate) fn tell(text: &str) {
    anstream::stderr()
        .lock()
        .write_all(in_ci(text).as_bytes())
        .ok();
}

/// The text as it may appear in the log that it goes to.
fn in_ci(text: &str) -> std::borrow::Cow<'_, str> {
    if github::is_runner() {
        github::defused(text)
    } else {
        text.into()
    }
}
