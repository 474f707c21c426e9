//! Another machine, as far as the network can tell: a namespace that a cable of its own joins to that of the test world.
//!
//! A container of another network is none. Docker lets it reach a published port only through docker-proxy, and packets from
//! elsewhere by its NAT rules.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use rustix::thread::gettid;

use super::command::output_of;
use super::namespace::Namespace;
use super::packages::Packages;

/// The networks of the cables: 198.18.0.0/15 is for tests of networks (RFC 2544), and each has four addresses of it.
const NETWORKS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// How many there may be in one world.
const REMOTES_MAX: u32 = 256;

/// The other machine. It ends with the last handle of its namespace.
#[derive(Debug)]
pub struct Remote {
    namespace: Namespace,
    host: Ipv4Addr,
}

impl Remote {
    /// Joins a new one to the calling thread's namespace.
    ///
    /// # Errors
    /// If this is not permitted.
    pub fn join(packages: &Packages) -> Result<Self> {
        let ip = |arguments: &[&str]| {
            let mut command = packages.command("busybox");
            output_of(command.arg("ip").args(arguments))
        };
        let (number, near) = (0..REMOTES_MAX)
            .map(|number| (number, format!("remote{number}")))
            .find(|(_, name)| ip(&["link", "add", name, "type", "veth"]).is_ok())
            .context("no pair of network interfaces could be made")?;
        // `4: remote0@veth0: <…`
        let shown = ip(&["-o", "link", "show", &near])?;
        let end = shown
            .split_once('@')
            .and_then(|(_, rest)| rest.split_once(':'));
        let (far, _) = end.context("a network interface without its other end")?;
        let namespace = Namespace::create(packages)?;
        let world = Namespace::here()?;
        namespace.run(|| {
            let thread = gettid().as_raw_nonzero().to_string();
            world.run(|| ip(&["link", "set", far, "netns", &thread]))
        })???;
        let host = Ipv4Addr::from(u32::from(NETWORKS) + 4 * number + 1);
        let own = Ipv4Addr::from(u32::from(host) + 1);
        ip(&["addr", "add", &format!("{host}/30"), "dev", &near])?;
        ip(&["link", "set", &near, "up"])?;
        namespace.run(|| {
            ip(&["addr", "add", &format!("{own}/30"), "dev", far])?;
            ip(&["link", "set", far, "up"])?;
            ip(&["route", "add", "default", "via", &host.to_string()])
        })??;
        Ok(Self { namespace, host })
    }

    /// The address at which it reaches this machine.
    #[must_use]
    pub fn host(&self) -> Ipv4Addr {
        self.host
    }

    /// Runs a function there.
    ///
    /// # Errors
    /// If that is not permitted.
    pub fn run<T: Send>(&self, function: impl FnOnce() -> T + Send) -> Result<T> {
        self.namespace.run(function)
    }
}
