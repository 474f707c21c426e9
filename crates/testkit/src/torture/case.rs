//! What was there before, what was asked for, what happened and when.

use std::time::SystemTime;

use super::fault::Fault;
use super::release::{Behavior, Release, Shape};
use super::sight::Container;

/// A deployment in the midst of which something happens.
#[derive(Debug, Clone)]
pub struct Case {
    /// What happens; none for a call that fails.
    pub fault: Option<Fault>,
    /// The service.
    pub shape: Shape,
    /// The containers of its services, in their order.
    pub members: Vec<Member>,
    /// The release that ran before.
    pub old: Release,
    /// The release that is asked for.
    pub new: Release,
    /// How that one behaves.
    pub behavior: Behavior,
    /// The newest deployment that was recorded before.
    pub known: String,
    /// When it happened.
    pub span: Span,
}

/// One container of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The service.
    pub service: &'static str,
    /// Compose's number of it within its service.
    pub number: u32,
    /// The name of its container.
    pub name: String,
    /// The id of the container that ran before.
    pub container: String,
}

impl Member {
    /// Whether this is the container, or one that came in its place.
    #[must_use]
    pub fn is(&self, container: &Container) -> bool {
        container.service == self.service && container.number == self.number
    }
}

impl Case {
    /// The first service: the one that clients ask.
    #[must_use]
    pub fn lead(&self) -> &Member {
        &self.members[0]
    }
}

/// From the beginning of a strike to its end, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Before the first thing was done.
    pub from_ms: i64,
    /// When the last thing was done, and Docker answered again.
    pub until_ms: i64,
}

impl Span {
    /// How long `strike` took.
    pub fn of(strike: impl FnOnce()) -> Self {
        let from_ms = now_ms();
        strike();
        Self {
            from_ms,
            until_ms: now_ms(),
        }
    }
}

/// Now, as the journal's events count.
#[must_use]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}
