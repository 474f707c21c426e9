//! A proxy that follows Docker's events and the labels of containers, as Traefik does: each HTTP request goes to the
//! next one of the labeled containers that run and are healthy.
//!
//! It differs from Traefik in two points, both in favor of the one who deploys behind it: it looks at the containers at
//! once when one starts, dies or changes its health (Traefik waits for two seconds unless told otherwise), and it opens a
//! connection for each request, so that none is sent on one that the container has closed. Bytes are moved by
//! `shopd forward`, a process of its own; here it is told where to.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use reqwest::Url;
use serde_json::{Value, json};

use crate::engine::wait::wait_for;
use crate::ports::free_port;
use crate::scene::{PATIENCE, docker_call};

/// Its value is the port at which a container answers.
pub const LABEL: &str = "proxy.port";

/// The proxy. Dropping it ends it.
#[derive(Debug)]
pub struct LabelProxy {
    child: Child,
    port: u16,
    events: UnixStream,
}

impl LabelProxy {
    /// Starts it on a port of all addresses of the calling thread's network namespace, in front of the containers of this
    /// Compose project.
    ///
    /// # Errors
    /// If it cannot be started, or Docker does not answer.
    pub fn start(project: &str) -> Result<Self> {
        let events = subscribe(project)?;
        let running = path("/containers/json", &json!({ "label": labels(project) }))?;
        let port = free_port();
        let mut child = Command::new(&crate::world().shopd)
            .args(["forward", &port.to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .context("the proxy could not be started")?;
        let told = child.stdin.take().context("it has an input")?;
        let following = events.try_clone()?;
        let proxy = Self {
            child,
            port,
            events,
        };
        thread::spawn(move || follow(&running, following, told));
        wait_for("the proxy", PATIENCE, || {
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok())
        })?;
        Ok(proxy)
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for LabelProxy {
    fn drop(&mut self) {
        drop(self.events.shutdown(Shutdown::Both));
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn labels(project: &str) -> [String; 2] {
    let of_project = format!("com.docker.compose.project={project}");
    [LABEL.to_owned(), of_project]
}

/// The path of a question to Docker about what passes these filters.
fn path(what: &str, filters: &Value) -> Result<String> {
    let filters = [("filters", filters.to_string())];
    let url = Url::parse_with_params(&format!("http://docker{what}"), filters)?;
    Ok(format!("{what}?{}", url.query().unwrap_or_default()))
}

/// Whatever may change where requests go.
fn subscribe(project: &str) -> Result<UnixStream> {
    let kinds = ["start", "die", "health_status"];
    let events = path(
        "/events",
        &json!({ "label": labels(project), "event": kinds }),
    )?;
    let asked = format!("GET {events} HTTP/1.0\r\nHost: docker\r\n\r\n");
    let mut events = UnixStream::connect(crate::world().socket())?;
    events.write_all(asked.as_bytes())?;
    let mut head = [0; 4096];
    let count = events.read(&mut head)?;
    ensure!(
        head[..count].starts_with(b"HTTP/1.0 200 "),
        "Docker tells no events: {}",
        String::from_utf8_lossy(&head[..count])
    );
    Ok(events)
}

/// Tells the proxy the backends of now, and of each time that something happens, until events or proxy end.
fn follow(running: &str, mut events: UnixStream, mut told: ChildStdin) {
    let mut happened = [0; 4096];
    loop {
        // Without an answer of Docker's nobody knows of a container that would answer.
        let backends = look(running).unwrap_or_default();
        let line: Vec<String> = backends.iter().map(ToString::to_string).collect();
        let is_told = told.write_all((line.join(" ") + "\n").as_bytes()).is_ok();
        if !is_told || !events.read(&mut happened).is_ok_and(|count| count > 0) {
            return;
        }
    }
}

fn look(running: &str) -> Result<Vec<SocketAddr>> {
    let (_, all) = docker_call("GET", running).context("Docker does not answer")?;
    let all = all.as_array().context("Docker answers no list")?;
    Ok(all.iter().filter_map(backend).collect())
}

/// Where a container answers, if it is healthy or has no health check.
fn backend(container: &Value) -> Option<SocketAddr> {
    let status = container["Status"].as_str()?;
    let is_healthy = !status.contains('(') || status.contains("(healthy)");
    let port = container["Labels"][LABEL].as_str()?.parse().ok()?;
    let networks = container["NetworkSettings"]["Networks"].as_object()?;
    let address = networks.values().next()?["IPAddress"].as_str()?;
    is_healthy.then_some(SocketAddr::new(address.parse().ok()?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_containers_that_are_healthy_or_have_no_check_get_requests() {
        for (status, expected) in [
            ("Up 2 seconds", true),
            ("Up 2 seconds (healthy)", true),
            ("Up 2 seconds (health: starting)", false),
            ("Up 2 minutes (unhealthy)", false),
        ] {
            let container = json!({
                "Status": status, "Labels": { LABEL: "8080" },
                "NetworkSettings": { "Networks": { "one": { "IPAddress": "172.18.0.2" } } },
            });
            let expected = expected.then_some(SocketAddr::from(([172, 18, 0, 2], 8080)));
            assert_eq!(backend(&container), expected, "{status}");
        }
    }
}
