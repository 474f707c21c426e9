//! Network namespaces: each test world has one of its own, so that neither the machine's network
//! nor another world ever sees its bridges, ports and firewall rules.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::command::output_of;
use super::packages::Packages;
use super::wait::wait_for;

/// Set in a world that `xtask` prepared, to the identity of the machine's own network namespace.
pub const OUTSIDE: &str = "CUTOVER_TEST_OUTSIDE";
/// A new namespace takes milliseconds; a machine under load gets this long.
const CREATE_TIMEOUT: Duration = Duration::from_secs(10);

/// A network namespace that belongs to a test world. It ends with its last handle, thread and
/// process.
#[derive(Debug, Clone)]
pub struct Namespace {
    link: Arc<File>,
}

impl Namespace {
    /// Makes a new network namespace in which the loopback interface is up and nothing else is.
    ///
    /// # Errors
    /// If this is not permitted: it needs root, and in a container `--privileged`.
    pub fn create(packages: &Packages) -> Result<Self> {
        let mut holder = Command::new("unshare")
            .arg("--net")
            .arg(packages.program("busybox"))
            .arg("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("unshare (package util-linux) could not be started")?;
        let link = link_of_holder(&mut holder);
        // Closing its standard input ends the holder; the open link keeps the namespace.
        drop(holder.stdin.take());
        let ended = holder.wait()?;
        let link = link.with_context(|| {
            format!(
                "no network namespace could be made (unshare: {ended}); \
                 this needs root, and in a container `--privileged`"
            )
        })?;
        let namespace = Self {
            link: Arc::new(link),
        };
        namespace.run(|| raise_loopback(packages))??;
        Ok(namespace)
    }

    /// The namespace of the world in which this process was started by `cargo xtask`.
    ///
    /// # Errors
    /// If it was not: a private Docker must never be started in the machine's own network.
    pub fn of_this_world() -> Result<Self> {
        let own = identity()?;
        let outside = std::env::var(OUTSIDE);
        ensure!(
            outside.is_ok_and(|outside| outside.starts_with("net:") && outside != own),
            "this process is not in a network namespace made for tests; \
             run it through `cargo xtask test` or `cargo xtask engine run -- COMMAND`"
        );
        Ok(Self::here()?)
    }

    /// That of the calling thread.
    ///
    /// # Errors
    /// If the machine has no `/proc`.
    pub fn here() -> io::Result<Self> {
        let link = File::open("/proc/thread-self/ns/net")?;
        Ok(Self {
            link: Arc::new(link),
        })
    }

    /// That of a container that runs. Docker's number of its process is of no use: it has a PID namespace of its own.
    ///
    /// # Errors
    /// If there is no process of it.
    pub fn of_container(id: &str) -> Result<Self> {
        let entries = fs::read_dir("/proc")?.flatten();
        let is_of = |process: &std::path::PathBuf| {
            fs::read_to_string(process.join("cgroup")).is_ok_and(|groups| groups.contains(id))
        };
        let mut processes = entries.map(|entry| entry.path()).filter(is_of);
        let process = processes.next().context("the container has no process")?;
        let link = File::open(process.join("ns/net"))?;
        Ok(Self {
            link: Arc::new(link),
        })
    }

    /// Runs a function on a new thread inside the namespace. Threads and processes that it starts
    /// are inside as well.
    ///
    /// # Errors
    /// If entering the namespace is not permitted.
    ///
    /// # Panics
    /// With the function's own panic.
    pub fn run<T: Send>(&self, function: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(self.link.as_fd(), Some(LinkNameSpaceType::Network))?;
                io::Result::Ok(function())
            });
            match inside.join() {
                Ok(result) => result.context("a network namespace could not be entered"),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

/// Names the calling thread's network namespace.
///
/// # Errors
/// If the machine has no `/proc`.
pub fn identity() -> Result<String> {
    let link = fs::read_link("/proc/thread-self/ns/net").context("/proc is not mounted")?;
    Ok(link.to_string_lossy().into_owned())
}

/// Brings up the loopback interface of the calling thread's network namespace.
///
/// # Errors
/// If this is not permitted.
pub fn raise_loopback(packages: &Packages) -> Result<()> {
    let mut command = packages.command("busybox");
    output_of(command.args(["ip", "link", "set", "lo", "up"])).map(drop)
}

/// The link to the new namespace, as soon as the process is in it.
fn link_of_holder(holder: &mut Child) -> Result<File> {
    let own = fs::read_link("/proc/thread-self/ns/net")?;
    let path = format!("/proc/{}/ns/net", holder.id());
    wait_for("a new network namespace", CREATE_TIMEOUT, || {
        ensure!(holder.try_wait()?.is_none(), "unshare ended at once");
        let arrived = fs::read_link(&path)? != own;
        Ok(arrived.then_some(()))
    })?;
    Ok(File::open(&path)?)
}
