//! A container as Docker describes it, reduced to what decisions are made by.

mod definition;
mod published;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use bollard::models::{
    ContainerInspectResponse, ContainerState, HealthStatusEnum, NetworkSettings,
};
use cutover_core::deployment::{Condition, RestartPolicy};
use cutover_core::mask::beginning;
use jiff::Timestamp;

pub use self::definition::Definition;
pub use self::published::PublishedPort;

/// What is kept of the output of a health check, in characters; Docker keeps 4096 bytes.
const HEALTH_OUTPUT_LEN_MAX: usize = 1000;

/// A container that Docker had to start again is in a restart loop until it has run for so long; Docker itself
/// forgets its back-off after ten seconds.
const RESTARTED_LATELY: Duration = Duration::from_secs(60);

/// One container.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    /// Its id, 64 hexadecimal digits.
    pub id: String,
    /// Its name, without Docker's leading slash.
    pub name: String,
    /// The id of the image it was created from, `sha256:…`.
    pub image_id: String,
    /// The image reference it was created from, as Compose wrote it.
    pub image_ref: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// What it does now.
    pub state: State,
    /// What Docker's health check says; none if it has no health check, or one that is switched off.
    pub health: Option<HealthState>,
    /// The output of the last health check, bounded.
    pub last_health_output: Option<String>,
    /// The health check's timing, if it has one.
    pub health_check: Option<HealthCheck>,
    /// When Docker starts it again by itself.
    pub restart_policy: RestartPolicy,
    /// Its own grace period; none means Docker's default of ten seconds.
    pub stop_timeout: Option<Duration>,
    /// The signal that asks it to end; none means Docker's default, `SIGTERM`.
    pub stop_signal: Option<String>,
    /// Its addresses, over all its networks; empty while it does not run.
    pub addresses: Vec<IpAddr>,
    /// The names under which each of its networks knows it, by the network's name.
    pub aliases: BTreeMap<String, Vec<String>>,
    /// Where its ports are to be found.
    pub network: NetworkMode,
    /// The TCP ports that its image or its Compose file exposes, in ascending order.
    pub exposed_ports: Vec<u16>,
    /// Its TCP ports that the host has, in ascending order.
    pub published: Vec<PublishedPort>,
    /// Its environment, which often holds secrets.
    pub env: Vec<EnvVar>,
    /// What else it was created with.
    pub definition: Definition,
    /// Whether it has a terminal, so that its output is one stream.
    pub tty: bool,
}

/// What a container does now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// It runs; also true while it is paused or waits for its next start.
    pub running: bool,
    /// The process id of its first process on this machine, while it runs.
    pub process: Option<i64>,
    /// It exited and Docker is about to start it again.
    pub restarting: bool,
    /// Its processes are frozen.
    pub paused: bool,
    /// Docker failed to remove it.
    pub dead: bool,
    /// With which code it exited last; 0 if it never did.
    pub exit_code: i64,
    /// The kernel killed it for want of memory.
    pub oom_killed: bool,
    /// When it was started last.
    pub started_at: Option<Timestamp>,
    /// When it ended last.
    pub finished_at: Option<Timestamp>,
    /// How often its restart policy started it again.
    pub restart_count: i64,
    /// What Docker said when it could not be started; empty otherwise.
    pub error: String,
}

impl State {
    /// How long it ran, if it has ended.
    #[must_use]
    pub fn ran_for(&self) -> Option<Duration> {
        let (started_at, finished_at) = (self.started_at?, self.finished_at?);
        Duration::try_from(finished_at.duration_since(started_at)).ok()
    }
}

/// What Docker's health check says of a running container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthState {
    /// No verdict yet.
    Starting,
    /// The last check passed.
    Healthy,
    /// As many checks in a row failed as its `retries` allow.
    Unhealthy,
}

/// The timing of a health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthCheck {
    /// Between two checks.
    pub interval: Duration,
    /// How long one check may take.
    pub timeout: Duration,
    /// How many checks in a row must fail.
    pub retries: u32,
    /// How long failures do not count after the start.
    pub start_period: Duration,
}

/// Where the ports of a container are to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkMode {
    /// At its own addresses.
    Own,
    /// At the host's.
    Host,
    /// Nowhere.
    None,
    /// At those of another container, named here.
    SharedWith(String),
}

/// One environment variable of a container. Its `Debug` does not show the value.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl fmt::Debug for EnvVar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=[hidden]", self.name)
    }
}

impl Container {
    /// How it was found, in the words of the deployment record.
    #[must_use]
    pub fn condition(&self) -> Condition {
        let State {
            running,
            restarting,
            paused,
            dead,
            ..
        } = self.state;
        if !running || dead {
            return Condition::Stopped;
        }
        if restarting || self.was_restarted_lately(Timestamp::now()) {
            return Condition::Restarting;
        }
        if paused {
            return Condition::Unhealthy;
        }
        match self.health {
            None => Condition::Running,
            Some(HealthState::Healthy) => Condition::Healthy,
            Some(HealthState::Starting) => Condition::Starting,
            Some(HealthState::Unhealthy) => Condition::Unhealthy,
        }
    }

    /// Whether its process ended and Docker started it again so lately that it may well end again. Docker's clock
    /// is this machine's.
    fn was_restarted_lately(&self, now: Timestamp) -> bool {
        let started_at = self.state.started_at;
        let lives = started_at.and_then(|at| Duration::try_from(now.duration_since(at)).ok());
        self.state.restart_count > 0 && lives.is_some_and(|lives| lives < RESTARTED_LATELY)
    }

    /// Where a probe may reach it: at its own addresses, of which some may be in networks that this machine has
    /// no way into, or at the loopback one when it shares the host's network.
    #[must_use]
    pub fn probe_addresses(&self) -> Vec<IpAddr> {
        match self.network {
            NetworkMode::Host => vec![IpAddr::from([127, 0, 0, 1])],
            NetworkMode::Own => self.addresses.clone(),
            NetworkMode::None | NetworkMode::SharedWith(_) => Vec::new(),
        }
    }

    /// Reads Docker's description; none if it lacks an id.
    pub(crate) fn from_docker(answer: ContainerInspectResponse) -> Option<Self> {
        let id = answer.id?;
        let config = answer.config.unwrap_or_default();
        let host = answer.host_config.unwrap_or_default();
        let state = answer.state.unwrap_or_default();
        let network = match host.network_mode.as_deref() {
            Some("host") => NetworkMode::Host,
            Some("none") => NetworkMode::None,
            Some(mode) => match mode.strip_prefix("container:") {
                Some(other) => NetworkMode::SharedWith(other.to_owned()),
                None => NetworkMode::Own,
            },
            None => NetworkMode::Own,
        };
        let last_check = state
            .health
            .as_ref()
            .and_then(|health| health.log.as_ref()?.last());
        let last_health_output = last_check
            .and_then(|check| check.output.as_deref())
            .map(str::trim)
            .filter(|output| !output.is_empty())
            .map(|output| beginning(output, HEALTH_OUTPUT_LEN_MAX));
        let published = published::published(&host);
        let definition = Definition::from_docker(&config, &host, answer.mounts.as_deref());
        Some(Self {
            definition,
            name: answer
                .name
                .unwrap_or_default()
                .trim_start_matches('/')
                .to_owned(),
            image_id: answer.image.unwrap_or_default(),
            image_ref: config.image.unwrap_or_default(),
            labels: config.labels.unwrap_or_default().into_iter().collect(),
            created: answer.created.as_deref().and_then(timestamp),
            health: health(&state),
            last_health_output,
            health_check: config.healthcheck.as_ref().and_then(health_check),
            restart_policy: restart_policy(host.restart_policy),
            stop_timeout: config
                .stop_timeout
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map(Duration::from_secs),
            stop_signal: config.stop_signal.filter(|signal| !signal.is_empty()),
            addresses: addresses(answer.network_settings.as_ref()),
            aliases: aliases(answer.network_settings.as_ref()),
            published,
            network,
            exposed_ports: tcp_ports(config.exposed_ports.as_deref().unwrap_or_default()),
            env: env(config.env.unwrap_or_default()),
            tty: config.tty.unwrap_or(false),
            state: self::state(state, answer.restart_count.unwrap_or(0)),
            id,
        })
    }
}

fn state(state: ContainerState, restart_count: i64) -> State {
    State {
        running: state.running.unwrap_or(false),
        process: state.pid.filter(|process| *process > 0),
        restarting: state.restarting.unwrap_or(false),
        paused: state.paused.unwrap_or(false),
        dead: state.dead.unwrap_or(false),
        exit_code: state.exit_code.unwrap_or(0),
        oom_killed: state.oom_killed.unwrap_or(false),
        started_at: state.started_at.as_deref().and_then(timestamp),
        finished_at: state.finished_at.as_deref().and_then(timestamp),
        restart_count,
        error: state.error.unwrap_or_default(),
    }
}

fn health(state: &ContainerState) -> Option<HealthState> {
    match state.health.as_ref()?.status? {
        HealthStatusEnum::STARTING => Some(HealthState::Starting),
        HealthStatusEnum::HEALTHY => Some(HealthState::Healthy),
        HealthStatusEnum::UNHEALTHY => Some(HealthState::Unhealthy),
        HealthStatusEnum::EMPTY | HealthStatusEnum::NONE => None,
    }
}

/// Docker's defaults, for what is 0 or absent in the container's configuration.
fn health_check(config: &bollard::models::HealthConfig) -> Option<HealthCheck> {
    const INTERVAL: Duration = Duration::from_secs(30);
    const RETRIES: u32 = 3;
    match config.test.as_deref() {
        None | Some([]) => return None,
        Some([first, ..]) if first == "NONE" => return None,
        Some(_) => {}
    }
    let nanos = |value: Option<i64>| {
        value
            .and_then(|nanos| u64::try_from(nanos).ok())
            .filter(|nanos| *nanos > 0)
            .map(Duration::from_nanos)
    };
    Some(HealthCheck {
        interval: nanos(config.interval).unwrap_or(INTERVAL),
        timeout: nanos(config.timeout).unwrap_or(INTERVAL),
        retries: config
            .retries
            .and_then(|retries| u32::try_from(retries).ok())
            .filter(|retries| *retries > 0)
            .unwrap_or(RETRIES),
        start_period: nanos(config.start_period).unwrap_or(Duration::ZERO),
    })
}

fn restart_policy(policy: Option<bollard::models::RestartPolicy>) -> RestartPolicy {
    let policy = policy.unwrap_or_default();
    let name = policy.name.map(|name| name.to_string()).unwrap_or_default();
    RestartPolicy {
        name: if name.is_empty() {
            "no".to_owned()
        } else {
            name
        },
        retries_max: policy.maximum_retry_count.unwrap_or(0),
    }
}

/// Every address of the container, in the order of the networks' names so that the first is always the same.
fn addresses(settings: Option<&NetworkSettings>) -> Vec<IpAddr> {
    let networks: BTreeMap<_, _> = settings
        .and_then(|settings| settings.networks.as_ref())
        .into_iter()
        .flatten()
        .collect();
    let text = |address: &Option<String>| address.as_deref().and_then(|text| text.parse().ok());
    let v4 = networks
        .values()
        .filter_map(|endpoint| text(&endpoint.ip_address));
    let v6 = networks
        .values()
        .filter_map(|endpoint| text(&endpoint.global_ipv6_address));
    v4.chain(v6).collect()
}

fn aliases(settings: Option<&NetworkSettings>) -> BTreeMap<String, Vec<String>> {
    settings
        .and_then(|settings| settings.networks.as_ref())
        .into_iter()
        .flatten()
        .map(|(name, endpoint)| (name.clone(), endpoint.aliases.clone().unwrap_or_default()))
        .collect()
}

fn tcp_ports(exposed: &[String]) -> Vec<u16> {
    let mut ports: Vec<u16> = exposed
        .iter()
        .filter_map(|port| match port.split_once('/') {
            Some((number, "tcp")) => number.parse().ok(),
            Some(_) => None,
            None => port.parse().ok(),
        })
        .collect();
    ports.sort_unstable();
    ports
}

fn env(lines: Vec<String>) -> Vec<EnvVar> {
    lines
        .into_iter()
        .filter_map(|line| {
            let (name, value) = line.split_once('=')?;
            Some(EnvVar {
                name: name.to_owned(),
                value: value.to_owned(),
            })
        })
        .collect()
}

/// Docker writes year 1 for "never".
fn timestamp(text: &str) -> Option<Timestamp> {
    let timestamp: Timestamp = text.parse().ok()?;
    (timestamp > Timestamp::UNIX_EPOCH).then_some(timestamp)
}

#[cfg(test)]
mod tests;
