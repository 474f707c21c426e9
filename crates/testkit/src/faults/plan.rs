//! Which call gets which fault.

use std::sync::Arc;

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Docker answers an error and does nothing.
    Error,
    /// Docker does it, and the connection breaks before the answer.
    LoseAnswer,
    /// Docker is never asked, and the connection stays open without an answer.
    Hang,
    /// Docker gets the call twice; the second answer is the one that arrives.
    Twice,
    /// The strike happens, then the connection breaks; Docker was not asked.
    StrikeBefore,
    /// Docker does it, then the strike happens and the connection breaks.
    StrikeAfter,
    /// The strike happens, then the call goes on to Docker.
    ActBefore,
    /// Docker does it, then the strike happens, then the answer arrives.
    ActAfter,
}

/// Which calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Counted {
    /// Those that may change something: everything but `GET` and `HEAD`.
    #[default]
    Changing,
    /// All of them.
    All,
}

impl Counted {
    fn counts(self, method: &str) -> bool {
        self == Self::All || !matches!(method, "GET" | "HEAD")
    }
}

/// What a striking fault does.
pub(super) type Strike = Arc<dyn Fn() + Send + Sync>;

/// The calls so far, and the fault to come.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) counted: Counted,
    pub(super) calls: Vec<String>,
    pub(super) aim: Option<Aim>,
    pub(super) struck: usize,
}

/// A fault and the calls that get it.
pub(super) struct Aim {
    pub(super) which: Which,
    pub(super) fault: Fault,
    /// In place of the strike that the socket was opened with.
    pub(super) strike: Option<Strike>,
}

/// Which of the counted calls get the fault.
pub(super) enum Which {
    /// The one with this number.
    Nth(usize),
    /// Every one that this says of, as `METHOD path`.
    Matching(Box<dyn Fn(&str) -> bool + Send>),
}

impl Plan {
    /// Counts a call; returns its fault, if it is one that gets it, and the strike of that fault.
    pub(super) fn next(&mut self, method: &str, path: &str) -> Option<(Fault, Option<Strike>)> {
        if !self.counted.counts(method) {
            return None;
        }
        let call = format!("{method} {path}");
        let number = self.calls.len();
        let is_hit = |aim: &&Aim| match &aim.which {
            Which::Nth(nth) => *nth == number,
            Which::Matching(matches) => matches(&call),
        };
        let hit = self.aim.as_ref().filter(is_hit);
        let fault = hit.map(|aim| (aim.fault, aim.strike.clone()));
        self.struck += usize::from(fault.is_some());
        self.calls.push(call);
        fault
    }
}
