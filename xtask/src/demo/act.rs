//! What an act is: who types what, and what is promised.

use super::docker::Identity;
use super::story::Release;

/// Who types.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sender {
    /// CI, with the secret: a release and the delivery id.
    Ci(Release, &'static str),
    /// The same with a wrong secret.
    Forger(Release, &'static str),
    /// An operator on the server: rolls back.
    Operator,
}

/// What becomes of the request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending {
    /// One deployment more, with this outcome.
    Deployment(&'static str),
    /// No deployment; the request itself is answered with this status.
    Refused(u16),
    /// No deployment; the answer of an earlier one, with this status.
    Replayed(u16),
}

/// What becomes of the service's container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    /// Another one.
    New,
    /// The same one, stopped and started.
    SameStartedAgain,
    /// Not even that.
    Untouched,
}

impl Container {
    /// What happened to the container between two looks; none if there is none any more.
    pub(crate) fn between(before: Option<&Identity>, after: Option<&Identity>) -> Option<Self> {
        let after = after?;
        Some(match before {
            Some(before) if before == after => Self::Untouched,
            Some(before) if before.id == after.id => Self::SameStartedAgain,
            _ => Self::New,
        })
    }

    /// The words for it in the table.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::New => "new container",
            Self::SameStartedAgain => "same container",
            Self::Untouched => "untouched",
        }
    }
}

/// One act of the story.
#[derive(Debug)]
pub(crate) struct Act {
    /// A few words.
    pub(crate) title: &'static str,
    /// What is going to happen.
    pub(crate) happens: &'static str,
    /// What cutover promises then.
    pub(crate) promise: &'static str,
    /// Who types.
    pub(crate) sender: Sender,
    /// The client's exit code.
    pub(crate) exit: i32,
    /// What becomes of the request.
    pub(crate) ending: Ending,
    /// What becomes of the container.
    pub(crate) container: Container,
    /// What becomes of the worker's, which is not touched before the web server is proven.
    pub(crate) worker: Container,
    /// The release that answers visitors afterwards.
    pub(crate) serves: Release,
    /// What the client says, among other things.
    pub(crate) says: &'static [&'static str],
}
