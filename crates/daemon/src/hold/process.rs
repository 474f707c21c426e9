//! The first process of a container, as this machine numbers it.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use cutover_core::hold::handles;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// A process of a container.
///
/// Docker says its number in Docker's own PID namespace, which need not be this one; so the process is known by its
/// control group, whose path names the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerProcess(i32);

impl ContainerProcess {
    /// The first process of this container, of which Docker says that it has the number `said`; none if there is none.
    #[must_use]
    pub fn find(container: &str, said: Option<i64>) -> Option<Self> {
        let said = said.and_then(|said| i32::try_from(said).ok());
        let is_of = |process: &i32| is_in(*process, container);
        said.filter(is_of)
            .or_else(|| all().filter(is_of).min())
            .map(Self)
    }

    /// The number.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }

    /// Whether it does anything at `signal`.
    #[must_use]
    pub fn hears(self, signal: &str) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0));
        status.map_or(true, |status| handles(&status, signal))
    }

    /// What becomes readable when the process ends.
    ///
    /// # Errors
    /// If it has ended, or the kernel is older than 5.3.
    pub fn end(self, container: &str) -> io::Result<OwnedFd> {
        let process = Pid::from_raw(self.0).ok_or(io::ErrorKind::NotFound)?;
        let end = pidfd_open(process, PidfdFlags::empty())?;
        // Its number may have been given to another process meanwhile.
        match is_in(self.0, container) {
            true => Ok(end),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn is_in(process: i32, container: &str) -> bool {
    let groups = fs::read_to_string(format!("/proc/{process}/cgroup"));
    groups.is_ok_and(|groups| groups.contains(container))
}
