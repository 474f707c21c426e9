//! Ctrl-C and SIGTERM: remembered, so that what was started is removed in order.

use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use cutover_testkit::engine::processes;
use rustix::process::{Pid, Signal};
use tokio::signal::unix::{SignalKind, signal};

/// How often a waiting thread looks whether a signal came.
const POLL: Duration = Duration::from_millis(50);

/// Whether the demo was told to stop. From the first of these on, signals no longer end the process.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    came: Arc<AtomicBool>,
}

impl Interrupt {
    /// Watches for SIGINT and SIGTERM; `at_signal` is called at each.
    pub(crate) fn watch(at_signal: impl Fn() + Send + 'static) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (mut interrupt, mut terminate) = runtime.block_on(async {
            anyhow::Ok((
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            ))
        })?;
        let came = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&came);
        thread::spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    noted.store(true, Ordering::Relaxed);
                    at_signal();
                }
            });
        });
        Ok(Self { came })
    }

    /// Whether a signal came.
    pub(crate) fn came(&self) -> bool {
        self.came.load(Ordering::Relaxed)
    }

    /// Waits for a signal.
    pub(crate) fn wait(&self) {
        while !self.came() {
            thread::sleep(POLL);
        }
    }
}

/// Ends the world that this process started, if it has: with the first process in it, all others go,
/// and only then does the command that made the world return.
pub(crate) fn end_world() {
    if let Some(init) = init_of_world() {
        processes::signal(init, Signal::KILL);
    }
}

/// Writes the number of the world's first process to a file as soon as there is one: inside, nobody
/// can know it, and outside it is the way into the world's network.
pub(crate) fn note_init_pid(file: PathBuf) {
    thread::spawn(move || {
        loop {
            if let Some(init) = init_of_world() {
                // Without it only a hint is missing.
                drop(fs::write(&file, init.as_raw_nonzero().to_string()));
                return;
            }
            thread::sleep(POLL);
        }
    });
}

/// The first process of the world: what `unshare` runs.
fn init_of_world() -> Option<Pid> {
    let unshare = processes::child_of(process::id()).ok()??;
    let name = fs::read_to_string(format!("/proc/{}/comm", unshare.as_raw_nonzero())).ok()?;
    if name.trim() != "unshare" {
        return None;
    }
    processes::child_of(unshare.as_raw_nonzero().get().cast_unsigned()).ok()?
}
