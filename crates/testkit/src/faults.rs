//! A Docker whose connection fails on request: a socket that forwards to the real Docker, except for
//! one call, counted among those that change something, or among all.
//!
//! It speaks Docker's wire, so that the daemon under test is the real one, and everything that is not the
//! fault is done by the real Docker. Each connection to the socket has one connection of its own to Docker
//! and ends with it: two requests on one connection reach the same process, and nobody mistakes a Docker
//! that was started again for the one before. It can also claim to be an older Docker than it is.

mod call_log;
mod connection;
mod plan;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;

use call_log::CallLog;
use plan::{Aim, Plan, Strike, Which};

pub use plan::{Counted, Fault};

struct Shared {
    docker: PathBuf,
    plan: Mutex<Plan>,
    /// The newest version of the API that this Docker says it has, instead of its own.
    api: Mutex<Option<String>>,
    /// What a striking fault does that was armed without a strike of its own.
    strike: Strike,
    log: Mutex<CallLog>,
}

/// The socket in front of Docker.
pub struct FaultyDocker {
    path: PathBuf,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

impl std::fmt::Debug for FaultyDocker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultyDocker")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl FaultyDocker {
    /// Opens the socket at `path`; `strike` is what the striking faults do, such as killing the daemon.
    ///
    /// # Errors
    /// If the socket cannot be opened.
    pub fn start(
        path: &Path,
        docker: &Path,
        strike: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let shared = Arc::new(Shared {
            docker: docker.to_owned(),
            plan: Mutex::default(),
            api: Mutex::default(),
            strike: Arc::new(strike),
            log: Mutex::default(),
        });
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(path).with_context(|| format!("{}", path.display()))?
        };
        runtime.spawn(connection::accept(listener, Arc::clone(&shared)));
        Ok(Self {
            path: path.to_owned(),
            shared,
            _runtime: runtime,
        })
    }

    /// Where Docker is to be found with the fault in front of it.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.path
    }

    /// Forgets what was called; the `number`th changing call from now on (from 0) gets `fault`.
    pub fn arm(&self, number: usize, fault: Fault) {
        self.aim(Counted::Changing, Which::Nth(number), fault, None);
    }

    /// Forgets what was called; every changing call from now on that `matches`, written as
    /// [`Self::calls`] does, gets `fault`.
    pub fn arm_every(&self, matches: impl Fn(&str) -> bool + Send + 'static, fault: Fault) {
        let which = Which::Matching(Box::new(matches));
        self.aim(Counted::Changing, which, fault, None);
    }

    /// Forgets what was called; the `number`th of the `counted` calls from now on (from 0) gets `fault`.
    pub fn arm_counted(&self, counted: Counted, number: usize, fault: Fault) {
        self.aim(counted, Which::Nth(number), fault, None);
    }

    /// The same with a strike of its own, for the faults that strike.
    pub fn arm_strike(
        &self,
        counted: Counted,
        number: usize,
        fault: Fault,
        strike: impl Fn() + Send + Sync + 'static,
    ) {
        self.aim(counted, Which::Nth(number), fault, Some(Arc::new(strike)));
    }

    /// How many calls got the fault since it was armed.
    #[must_use]
    pub fn struck(&self) -> usize {
        self.plan().struck
    }

    /// Forgets what was called and lets everything pass.
    pub fn disarm(&self) {
        *self.plan() = Plan::default();
    }

    /// Forgets what was called, lets everything pass, and counts these calls from now on.
    pub fn count(&self, counted: Counted) {
        *self.plan() = Plan {
            counted,
            ..Plan::default()
        };
    }

    /// The counted calls since the last time that it was armed, disarmed or told to count, as `METHOD path`.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.plan().calls.clone()
    }

    /// The last calls of all, each with its time and what came of it, for the message of a test that failed.
    #[must_use]
    pub fn last_calls(&self) -> String {
        lock(&self.shared.log).to_string()
    }

    /// Says from now on that `api` is the newest version of the API that it has. Docker keeps to the version
    /// in a call's path, so that clients which negotiate find a Docker of that age.
    pub fn become_api(&self, api: &str) {
        *lock(&self.shared.api) = Some(api.to_owned());
    }

    fn aim(&self, counted: Counted, which: Which, fault: Fault, strike: Option<Strike>) {
        *self.plan() = Plan {
            counted,
            aim: Some(Aim {
                which,
                fault,
                strike,
            }),
            ..Plan::default()
        };
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        lock(&self.shared.plan)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
