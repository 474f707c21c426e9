//! Caddy in front of a published port, which tries again for 30 seconds: Debian's package, unpacked and not installed.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use cutover_testkit::engine::wait::wait_for;
use cutover_testkit::ports::free_port;

use crate::bench::stage::PATIENCE;
use crate::debian;

/// The package and its release. It links nothing but the C library.
const PACKAGE: &str = "caddy/bookworm";

/// Downloads and unpacks it into `dir`, unless it is there, and returns the program.
pub(in crate::bench) fn fetch(dir: &Path) -> Result<PathBuf> {
    let place = debian::fetch(dir, "caddy", &[PACKAGE])?;
    Ok(place.join("usr/bin/caddy"))
}

/// A running Caddy. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Caddy {
    child: Child,
    port: u16,
}

impl Caddy {
    /// Starts it on a port of all addresses, in front of this one.
    pub(super) fn start(program: &Path, dir: &Path, service: SocketAddr) -> Result<Self> {
        let port = free_port();
        let file = dir.join("Caddyfile");
        fs::write(
            &file,
            format!(
                "{{\n\tadmin off\n\tauto_https off\n}}\nhttp://:{port} {{\n\
                 \treverse_proxy {service} {{\n\t\tlb_try_duration 30s\n\t}}\n}}\n"
            ),
        )?;
        let child = Command::new(program)
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(&file)
            .env("HOME", dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(dir.join("caddy.log"))?)
            .spawn()
            .with_context(|| format!("{} could not be started", program.display()))?;
        let mut caddy = Self { child, port };
        wait_for("Caddy", PATIENCE, || {
            if let Some(status) = caddy.child.try_wait()? {
                bail!("Caddy ended: {status}");
            }
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok())
        })?;
        Ok(caddy)
    }

    /// Where it listens.
    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Caddy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
