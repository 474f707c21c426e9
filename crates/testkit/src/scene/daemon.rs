//! The daemon of a scene: started, killed, stopped.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::PoisonError;

use rustix::process::{Pid, Signal, kill_process};

use super::{Capabilities, Ended, Scene};

impl Scene {
    /// Starts the daemon and waits until it answers.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_daemon(&mut self) {
        self.spawn_daemon();
        self.wait_until("the daemon is ready", || {
            assert!(self.daemon_runs(), "the daemon ended:\n{}", self.log_tail());
            self.is_ready()
        });
    }

    /// Whether the daemon says that it is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.get("/readyz").is_some_and(|(status, _)| status == 200)
    }

    /// Starts the daemon and waits for nothing.
    ///
    /// # Panics
    /// If the program cannot be started.
    pub fn spawn_daemon(&self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .expect("a log");
        let child = self
            .as_daemon(&["serve"])
            .env("RUST_LOG", "debug,hyper=info,bollard=info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the daemon starts");
        *self.daemon.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
    }

    /// Says what the kernel lets the daemon do, from its next start on.
    pub fn set_capabilities(&mut self, capabilities: Capabilities) {
        self.capabilities = capabilities;
    }

    /// What `cutover check` says in the daemon's place.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn check_as_daemon(&self) -> Ended {
        let output = self.as_daemon(&["check"]).output();
        Ended::of(&output.expect("it runs"))
    }

    /// A command with the daemon's configuration, environment and capabilities.
    fn as_daemon(&self, arguments: &[&str]) -> Command {
        let mut command = match self.capabilities {
            Capabilities::All => Command::new(&self.cutover),
            Capabilities::WithoutNetAdmin => {
                let mut command = Command::new("setpriv");
                let dropped = ["--inh-caps=-net_admin", "--bounding-set=-net_admin"];
                command.args(dropped).arg(&self.cutover);
                command
            }
        };
        if self.has_packet_filter {
            command.envs(crate::world().packages.environment());
        }
        command.args(arguments).arg("--config");
        command.arg(self.configuration());
        command
    }

    /// Whether the daemon's process is there.
    #[must_use]
    pub fn daemon_runs(&self) -> bool {
        let mut daemon = self.daemon.lock().unwrap_or_else(PoisonError::into_inner);
        daemon
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// The daemon's process id, while it is there.
    #[must_use]
    pub fn daemon_pid(&self) -> Option<u32> {
        let daemon = self.daemon.lock().unwrap_or_else(PoisonError::into_inner);
        daemon.as_ref().map(Child::id)
    }

    /// Kills the daemon as a crash would.
    pub fn kill_daemon(&self) {
        if let Some(mut child) = self
            .daemon
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Asks the daemon to stop, as systemd does, and waits until it has ended.
    ///
    /// # Panics
    /// If it does not end.
    pub fn stop_daemon(&self) {
        self.stop_daemon_while(|| ());
    }

    /// The same; `meanwhile` runs after the daemon was asked and before its end is waited for.
    ///
    /// # Panics
    /// If it does not end.
    pub fn stop_daemon_while(&self, meanwhile: impl FnOnce()) {
        let child = self
            .daemon
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut child) = child else { return };
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
        kill_process(pid, Signal::TERM).expect("the daemon is there");
        meanwhile();
        self.wait_until("the daemon stops", || {
            child.try_wait().is_ok_and(|status| status.is_some())
        });
    }

    /// Where the daemon's output goes.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.path().join("daemon.log")
    }

    /// The end of the daemon's output.
    #[must_use]
    pub fn log_tail(&self) -> String {
        crate::engine::command::tail_of(&self.log())
    }
}
