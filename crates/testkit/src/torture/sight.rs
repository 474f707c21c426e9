//! Everything that can be seen of a service, its record and its daemon at one moment.

use std::net::SocketAddr;

use serde_json::Value;

use super::case::Case;
use super::record::Record;
use super::release::Door;
use crate::scene::{Scene, ask};

/// Where the example service listens in its container.
const PORT: u16 = 8080;

/// The newest deployments: more than one case makes.
const NEWEST: &str = "/v1/deployments?limit=5";

/// The service that is a job where there are several.
pub(super) const JOB: &str = "migrate";

/// What can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// The containers of the service; none if Docker does not answer.
    pub containers: Option<Vec<Container>>,
    /// The version that answers where clients ask; empty if none does.
    pub serves: String,
    /// The tag in `.env`.
    pub tag: String,
    /// The deployment that was asked for, if it was recorded.
    pub record: Option<Record>,
    /// How many deployments were recorded since.
    pub records: usize,
    /// Whether the daemon asks for an operator.
    pub needs_operator: bool,
    /// Whether the daemon is ready.
    pub is_ready: bool,
    /// The rules of the packet filter that are there although the deployment has ended.
    pub rules: Vec<String>,
    /// The exit code of the client, once it has ended.
    pub client: Option<i32>,
}

/// One container of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its service.
    pub service: String,
    /// Compose's number of it within its service.
    pub number: u32,
    /// Its name, without Docker's slash.
    pub name: String,
    /// The image reference that it was created from.
    pub image: String,
    /// Whether its process runs.
    pub running: bool,
    /// Whether Docker waits to start it again.
    pub restarting: bool,
    /// When it was started last.
    pub started_at: String,
    /// Its restart policy.
    pub policy: String,
    address: String,
}

impl Container {
    /// Whether it ever ran.
    #[must_use]
    pub fn was_started(&self) -> bool {
        !self.started_at.starts_with("0001-")
    }

    fn of(container: &Value) -> Self {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let labels = &container["Config"]["Labels"];
        let number = labels["com.docker.compose.container-number"].as_str();
        let networks = container["NetworkSettings"]["Networks"].as_object();
        let first = networks.and_then(|networks| networks.values().next());
        Self {
            id: word(&container["Id"]),
            service: word(&labels["com.docker.compose.service"]),
            number: number
                .and_then(|number| number.parse().ok())
                .unwrap_or_default(),
            name: word(&container["Name"]).trim_start_matches('/').to_owned(),
            image: word(&container["Config"]["Image"]),
            running: container["State"]["Running"] == true,
            restarting: container["State"]["Restarting"] == true,
            started_at: word(&container["State"]["StartedAt"]),
            policy: word(&container["HostConfig"]["RestartPolicy"]["Name"]),
            address: first
                .map(|first| word(&first["IPAddress"]))
                .unwrap_or_default(),
        }
    }
}

impl Sight {
    /// Looks at everything. `client` is the exit code of the client, once it has ended.
    #[must_use]
    pub fn of(scene: &Scene, case: &Case, client: Option<i32>) -> Self {
        let containers = containers(scene);
        let (record, records) = newest(scene, &case.known);
        // Asked only then, because it makes the daemon ask Docker, whose last calls a failure shows.
        let is_failed = |record: &Record| record.outcome.as_deref() == Some("rollback_failed");
        let asks = record.as_ref().is_some_and(is_failed);
        let service = asks.then(|| scene.get("/v1/services/app")).flatten();
        let service = service.map(|(_, service)| service);
        let has_ended = |record: &Record| record.outcome.is_some();
        let has_ended = record.as_ref().is_some_and(has_ended);
        Self {
            rules: match has_ended {
                true => scene.rules_of_hold(),
                false => Vec::new(),
            },
            serves: serves(scene, case.shape.door, containers.as_deref()),
            // What a job has run in stays.
            containers: containers.map(|mut all| {
                all.retain(|one| one.service != JOB || one.running);
                all
            }),
            tag: env_tag(scene),
            record,
            records,
            needs_operator: service.is_some_and(|service| service["needs_operator"].is_string()),
            is_ready: scene.is_ready(),
            client,
        }
    }

    /// The containers that run.
    pub fn running(&self) -> impl Iterator<Item = &Container> {
        let all = self.containers.iter().flatten();
        all.filter(|container| container.running)
    }

    /// The same without what changes by itself while nothing happens.
    #[must_use]
    pub fn at_rest(mut self) -> Self {
        self.serves.clear();
        self
    }
}

/// The containers of the service; none if Docker does not answer.
#[must_use]
pub fn containers(scene: &Scene) -> Option<Vec<Container>> {
    let all = scene.try_containers()?;
    Some(all.iter().map(Container::of).collect())
}

/// The version that answers where clients ask.
fn serves(scene: &Scene, door: Door, containers: Option<&[Container]>) -> String {
    if door == Door::Published {
        return scene.serves();
    }
    let running = containers.into_iter().flatten().filter(|one| one.running);
    let addresses = running.filter_map(|one| one.address.parse().ok());
    let answers = addresses.map(|address| ask(SocketAddr::new(address, PORT), "/version"));
    let mut answers: Vec<_> = answers.map(|answer| answer.trim().to_owned()).collect();
    // How many there are is looked at elsewhere.
    answers.dedup();
    answers.join(" and ")
}

/// The newest deployment, unless it is the one that was `known` before; and how many are newer than that.
pub(super) fn newest(scene: &Scene, known: &str) -> (Option<Record>, usize) {
    let page = scene.get(NEWEST).map(|(_, page)| page);
    let page = page.unwrap_or_default();
    let all = page["deployments"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let ids = all.iter().filter_map(|one| one["id"].as_str());
    let newer: Vec<_> = ids.take_while(|id| *id != known).collect();
    let record = newer.first().and_then(|id| {
        let (_, deployment) = scene.get(&format!("/v1/deployments/{id}"))?;
        Some(Record::of(&deployment))
    });
    (record, newer.len())
}

/// The id of the newest deployment; empty if there is none.
#[must_use]
pub fn newest_id(scene: &Scene) -> String {
    let page = scene.get(NEWEST).map(|(_, page)| page);
    let page = page.unwrap_or_default();
    let id = page["deployments"][0]["id"].as_str();
    id.unwrap_or_default().to_owned()
}

/// The tag in `.env`; empty if there is none.
#[must_use]
pub fn env_tag(scene: &Scene) -> String {
    let text = std::fs::read_to_string(scene.project_directory().join(".env"));
    let text = text.unwrap_or_default();
    let mut lines = text.lines();
    let tag = lines.find_map(|line| line.strip_prefix("APP_IMAGE_TAG="));
    tag.unwrap_or_default().trim_matches('"').to_owned()
}
