//! A call to Docker waits here until what happens at it has happened: the strike needs what the test's own thread has.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The longest that a call waits. A disk that is full and a Docker that starts take far less.
const STRIKE_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Awaited,
    Reached,
    Done,
}

/// Where a call and a strike meet.
#[derive(Debug, Clone)]
pub(super) struct Rendezvous(Arc<(Mutex<State>, Condvar)>);

impl Rendezvous {
    pub(super) fn new() -> Self {
        Self(Arc::new((Mutex::new(State::Awaited), Condvar::new())))
    }

    /// The call has come, and waits until the strike is done.
    pub(super) fn reach(&self) {
        let (state, changed) = &*self.0;
        let mut now = state.lock().unwrap_or_else(PoisonError::into_inner);
        *now = State::Reached;
        changed.notify_all();
        drop(changed.wait_timeout_while(now, STRIKE_TIMEOUT, |now| *now != State::Done));
    }

    /// Waits for the call, no longer than `pause`; returns whether it has come.
    pub(super) fn is_reached(&self, pause: Duration) -> bool {
        let (state, changed) = &*self.0;
        let now = state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(now, pause, |now| *now == State::Awaited);
        let (now, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *now != State::Awaited
    }

    /// Lets the call go on.
    pub(super) fn done(&self) {
        let (state, changed) = &*self.0;
        *state.lock().unwrap_or_else(PoisonError::into_inner) = State::Done;
        changed.notify_all();
    }
}
