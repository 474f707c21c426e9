//! What can go wrong between a command and the daemon, sorted by what the command does next.

use cutover_api::problem::Problem;

use crate::exit::Exit;

/// Why a command could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What was typed or configured cannot be used; nothing was sent.
    #[error("{what}")]
    Usage {
        /// What is wrong.
        what: String,
        /// What to do next.
        hint: String,
    },
    /// The daemon answered that it will not do it.
    #[error("{}", .problem.detail)]
    Refused {
        /// The daemon's words.
        problem: Box<Problem>,
        /// The answer as it came.
        body: Vec<u8>,
    },
    /// The daemon was never reached: the request was certainly not accepted.
    #[error("{what}")]
    NotReached {
        /// What happened.
        what: String,
        /// What to do next.
        hint: String,
        /// Whether the same attempt may succeed a moment later.
        outlook: Outlook,
    },
    /// The request was sent and no answer came: the daemon may have acted on it.
    #[error("{what}")]
    Lost {
        /// What happened.
        what: String,
        /// What to do next.
        hint: String,
    },
    /// Something else than cutover answered.
    #[error("{what}")]
    Foreign {
        /// What answered what.
        what: String,
        /// What to do next.
        hint: String,
    },
    /// The person or the CI ended the command.
    #[error("{what}")]
    Interrupted {
        /// What goes on without us.
        what: String,
        /// How to look or to stop it.
        hint: String,
    },
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// The same attempt may succeed a moment later.
    MayPass,
    /// Something must be changed first.
    WillStay,
}

impl Failure {
    /// The exit code for it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } => Exit::Usage,
            Self::Refused { .. } => Exit::Failed,
            Self::NotReached { .. } | Self::Lost { .. } | Self::Foreign { .. } => Exit::Unreachable,
            Self::Interrupted { .. } => Exit::Interrupted,
        }
    }

    /// What to do next.
    pub(crate) fn hint(&self) -> &str {
        match self {
            Self::Usage { hint, .. }
            | Self::NotReached { hint, .. }
            | Self::Lost { hint, .. }
            | Self::Foreign { hint, .. }
            | Self::Interrupted { hint, .. } => hint,
            Self::Refused { problem, .. } => &problem.hint,
        }
    }

    /// A mistake in what was typed or configured.
    pub(crate) fn usage(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage {
            what: what.into(),
            hint: hint.into(),
        }
    }
}
