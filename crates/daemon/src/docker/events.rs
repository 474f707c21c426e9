//! What happens to one container, as Docker reports it.
//!
//! The stream survives a cut connection and a restart of Docker: it subscribes again from the moment of
//! the last event, and then describes the container once more ([`Change::Resync`]), because a Docker
//! that was restarted has forgotten its events. So nothing is missed, but things may be told twice.
//!
//! Docker sends the head of its answer a little before it subscribes us. That gap is closed by asking for
//! events *since* the moment before the request, which it replays from memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::Docker;
use super::container::{Container, HealthState};
use super::error::DockerError;
use super::wire::{Wire, percent_encoded};

/// Events that wait for their reader. A container makes a handful; when the reader is busy for long, Docker
/// keeps the rest.
const QUEUE_LEN_MAX: usize = 256;

/// The longest event that is read. It repeats every label of the container.
const EVENT_LEN_MAX: usize = 1024 * 1024;

/// Between two attempts to subscribe again: short at first, because Docker often only dropped the
/// connection, then at a pace that does not disturb a Docker that is starting.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// What is asked for. Docker's own word `health_status` covers all its values; the events of each single
/// health check (`exec_…`) are left out.
const KINDS: &[&str] = &[
    "start",
    "die",
    "oom",
    "kill",
    "restart",
    "pause",
    "unpause",
    "rename",
    "destroy",
    "health_status",
];

/// Something that happened to the container.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerEvent {
    /// When, by Docker's clock; none if it does not say.
    pub at: Option<Timestamp>,
    /// What.
    pub change: Change,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The health check came to a new verdict.
    Health(HealthState),
    /// Its process was started.
    Started,
    /// Its process ended.
    Died {
        /// With this code.
        exit_code: i64,
    },
    /// The kernel killed a process of it for want of memory.
    OutOfMemory,
    /// Somebody had Docker send it a signal; stopping does so as well.
    Signalled {
        /// Its number.
        signal: String,
    },
    /// Somebody had Docker restart it.
    Restarted,
    /// Its processes were frozen.
    Paused,
    /// Its processes were thawed.
    Unpaused,
    /// It got another name.
    Renamed {
        /// The new one.
        name: String,
    },
    /// It was removed.
    Destroyed,
    /// Events may have been missed; this is how the container is now.
    Resync(Box<Container>),
}

/// The events of one container, from the moment of the subscription on.
#[derive(Debug)]
pub struct ContainerEvents {
    events: mpsc::Receiver<ContainerEvent>,
    _reader: AbortOnDropHandle<()>,
}

impl ContainerEvents {
    /// The next event. Waits as long as there is none, also while Docker is away: the caller has the deadline.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> ContainerEvent {
        match self.events.recv().await {
            Some(event) => event,
            // The reader goes on until this end is dropped.
            None => std::future::pending().await,
        }
    }
}

impl Docker {
    /// Subscribes to the events of the container `id` (not its name, which may change).
    ///
    /// An effect that is asked for after this returned is not missed.
    ///
    /// # Errors
    /// Whatever kept Docker from subscribing us; later interruptions are none.
    pub async fn watch_container(&self, id: &str) -> Result<ContainerEvents, DockerError> {
        let since = now();
        let body = self
            .bounded(
                "subscribing to events",
                self.bounds.call,
                subscribe(&self.wire, id, since),
            )
            .await?;
        let (sender, events) = mpsc::channel(QUEUE_LEN_MAX);
        let reader = Reader {
            docker: self.clone(),
            id: id.to_owned(),
            since,
            sender,
        };
        Ok(ContainerEvents {
            events,
            _reader: AbortOnDropHandle::new(tokio::spawn(reader.run(body))),
        })
    }
}

/// Reads the subscription, and renews it for as long as somebody listens.
struct Reader {
    docker: Docker,
    id: String,
    /// Where the next subscription begins, as a time since 1970.
    since: Duration,
    sender: mpsc::Sender<ContainerEvent>,
}

impl Reader {
    async fn run(mut self, mut body: Incoming) {
        loop {
            if self.read(body).await.is_err() {
                return;
            }
            tracing::debug!(
                container = self.id,
                "the events of docker ended; subscribing again"
            );
            body = self.subscribe_again().await;
            if self.resync().await.is_err() {
                return;
            }
        }
    }

    /// Hands on what `body` tells, until it ends. An error means that nobody listens any more.
    async fn read(&mut self, mut body: Incoming) -> Result<(), ()> {
        let mut pending: Vec<u8> = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(bytes) = frame.into_data() else {
                continue;
            };
            pending.extend_from_slice(&bytes);
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                let Ok(message) = serde_json::from_slice::<Message>(&line) else {
                    continue;
                };
                self.since = message.after().unwrap_or(self.since);
                if let Some(event) = message.event() {
                    self.sender.send(event).await.map_err(drop)?;
                }
            }
            if pending.len() > EVENT_LEN_MAX {
                // Not an event. Subscribing again brings us back to the beginning of one.
                return Ok(());
            }
        }
        Ok(())
    }

    async fn subscribe_again(&self) -> Incoming {
        let mut pause = RETRY_MIN;
        loop {
            let attempt = subscribe(&self.docker.wire, &self.id, self.since);
            if let Ok(Ok(body)) = tokio::time::timeout(self.docker.bounds.call, attempt).await {
                return body;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// Tells how the container is after a gap.
    async fn resync(&self) -> Result<(), ()> {
        let mut pause = RETRY_MIN;
        let change = loop {
            match self.docker.container(&self.id).await {
                Ok(Some(container)) => break Change::Resync(Box::new(container)),
                Ok(None) => break Change::Destroyed,
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(RETRY_MAX);
        };
        let event = ContainerEvent { at: None, change };
        self.sender.send(event).await.map_err(drop)
    }
}

/// The fields of an event that count.
#[derive(Debug, Deserialize)]
struct Message {
    #[serde(rename = "Action", default)]
    action: String,
    #[serde(rename = "Actor", default)]
    actor: Actor,
    #[serde(rename = "timeNano", default)]
    time_nanos: i64,
}

#[derive(Debug, Default, Deserialize)]
struct Actor {
    #[serde(rename = "Attributes", default)]
    attributes: HashMap<String, String>,
}

impl Message {
    /// The moment right after this event.
    fn after(&self) -> Option<Duration> {
        let nanos = u64::try_from(self.time_nanos).ok()?;
        (nanos > 0).then(|| Duration::from_nanos(nanos + 1))
    }

    fn event(&self) -> Option<ContainerEvent> {
        let attribute = |name: &str| self.actor.attributes.get(name);
        let change = match self.action.as_str() {
            "start" => Change::Started,
            "die" => Change::Died {
                exit_code: attribute("exitCode").and_then(|code| code.parse().ok())?,
            },
            "oom" => Change::OutOfMemory,
            "kill" => Change::Signalled {
                signal: attribute("signal").cloned().unwrap_or_default(),
            },
            "restart" => Change::Restarted,
            "pause" => Change::Paused,
            "unpause" => Change::Unpaused,
            "rename" => Change::Renamed {
                name: attribute("name").cloned().unwrap_or_default(),
            },
            "destroy" => Change::Destroyed,
            "health_status: healthy" => Change::Health(HealthState::Healthy),
            "health_status: unhealthy" => Change::Health(HealthState::Unhealthy),
            "health_status: starting" => Change::Health(HealthState::Starting),
            _ => return None,
        };
        let at = (self.time_nanos > 0)
            .then(|| Timestamp::from_nanosecond(i128::from(self.time_nanos)).ok())
            .flatten();
        Some(ContainerEvent { at, change })
    }
}

async fn subscribe(wire: &Arc<Wire>, id: &str, since: Duration) -> Result<Incoming, DockerError> {
    let filters = serde_json::json!({"type": ["container"], "container": [id], "event": KINDS});
    let path = format!(
        "/events?since={}.{:09}&filters={}",
        since.as_secs(),
        since.subsec_nanos(),
        percent_encoded(&filters.to_string())
    );
    Ok(wire.open(&path).await?.into_body())
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
