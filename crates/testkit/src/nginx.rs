//! nginx on the host, in front of published ports.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::engine::wait::wait_for;
use crate::ports::free_port;
use crate::scene::PATIENCE;

/// A running nginx. Dropping it ends it.
#[derive(Debug)]
pub struct Nginx {
    child: Child,
    port: u16,
}

impl Nginx {
    /// Starts it on a port of all addresses of the calling thread's network namespace. Each request goes to the next one of
    /// these ports of the host, on a connection of its own. It keeps its files in `dir`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(dir: &Path, backends: &[u16]) -> Result<Self> {
        let port = free_port();
        fs::create_dir_all(dir)?;
        let file = dir.join("nginx.conf");
        fs::write(&file, configuration(dir, port, backends))?;
        let child = crate::world()
            .packages
            .command("nginx")
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .context("nginx could not be started")?;
        let mut nginx = Self { child, port };
        wait_for("nginx", PATIENCE, || {
            if let Some(status) = nginx.child.try_wait()? {
                bail!("nginx ended: {status}");
            }
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok())
        })?;
        Ok(nginx)
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // One process: there is no worker beside it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// It waits for a connection and for an answer longer than any hold.
fn configuration(dir: &Path, port: u16, backends: &[u16]) -> String {
    let dir = dir.display();
    let servers = backends.iter();
    let servers: String = servers
        .map(|backend| format!("    server 127.0.0.1:{backend};\n"))
        .collect();
    let kept: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {dir}/{kind};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid {dir}/pid;\nerror_log {dir}/error.log;\nevents {{}}\n\
         http {{\n  access_log off;\n{kept}  proxy_connect_timeout 120s;\n  proxy_read_timeout 120s;\n\
         \x20 upstream app {{\n{servers}  }}\n\
         \x20 server {{\n    listen {port};\n    location / {{ proxy_pass http://app; }}\n  }}\n}}\n"
    )
}
