//! Checks of a container from outside, and the proof that it may stay.
//!
//! A probe goes to the container's own address, so that no other container can answer in its place. It
//! is one attempt with one bound; how often it is repeated, and what a row of answers means, is decided
//! in [`verify`] and in `cutover_core::health`.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;

use self::http::HttpProber;
use crate::docker::Container;
use crate::docker::container::NetworkMode;
use crate::settings::{HttpProbe, TcpProbe};

pub mod command;
pub mod http;
pub mod tcp;
pub mod verify;

/// Why a probe did not succeed, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct ProbeFailure {
    /// What happened.
    pub why: String,
}

impl ProbeFailure {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }
}

/// The port that an HTTP probe goes to: the configured one, or the only one that the container exposes.
///
/// # Errors
/// Which setting is missing.
pub fn http_port(probe: &HttpProbe, container: &Container) -> Result<u16, ProbeFailure> {
    match (probe.port, container.exposed_ports.as_slice()) {
        (Some(port), _) | (None, &[port]) => Ok(port),
        (None, []) => Err(ProbeFailure::new(
            "the container exposes no port: set `health.http.port` of the service",
        )),
        (None, ports) => {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            Err(ProbeFailure::new(format!(
                "the container exposes the ports {}: set `health.http.port` of the service",
                ports.join(", ")
            )))
        }
    }
}

/// Whether probes as these settings want them can be sent to `container` at all, which need not run yet. What
/// cannot be sent would only be noticed when the container runs in place of the old one.
///
/// # Errors
/// Why not, and which setting to change.
pub fn sendable(
    http: Option<&HttpProbe>,
    tcp: Option<&TcpProbe>,
    container: &Container,
) -> Result<(), ProbeFailure> {
    if (http.is_some() || tcp.is_some()) && container.network == NetworkMode::None {
        return Err(ProbeFailure::new(
            "the container has no network (`network_mode: none`), so no probe can reach it: \
             remove `health` of the service, or give the container a network",
        ));
    }
    let Some(http) = http else { return Ok(()) };
    let port = http_port(http, container)?;
    // Its address comes with its start; everything else about the request is known.
    HttpProber::new(Ipv4Addr::LOCALHOST.into(), port, http).map(drop)
}

/// The reason at the bottom of `error`, in few words where it is a well-known one.
fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    match deepest.downcast_ref::<io::Error>() {
        Some(error) => words(error),
        None => deepest.to_string(),
    }
}

/// The words for an error of a connection.
fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::HostUnreachable => "no such host on the container's network".to_owned(),
        _ => error.to_string(),
    }
}

/// A time bound for a message, in seconds.
struct Seconds(std::time::Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs_f64())
    }
}
