//! `[services.NAME]`: what may be deployed. All but the place of the Compose file can be left out; the
//! rest comes from that file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cutover_core::admission::WhenBusy;
use cutover_core::image::ImageRef;
use cutover_core::names::{ServiceName, Tag, TagPattern};

use super::auth::Names;
use super::choices::{
    self, Aliases, JobReruns, Order, Output, SharedVolumes, Switch, UnsetVariables, WayBack,
};
use super::compose_files;
use super::health::{self, Health};
use super::image::{self, ImagePolicy};
use super::project::same_container;
use super::table::{Table, Value};
use super::times;
use super::value::shown;
use super::variables;

pub(super) const KEYS: &[&str] = &[
    "compose_files",
    "project_directory",
    "project_name",
    "env_files",
    "profiles",
    "environment",
    "pass_environment",
    "compose_service",
    "compose_services",
    "jobs_after",
    "release_command",
    "image_repository",
    "tag_variable",
    "tag_pattern",
    "health",
    "healthy_deadline",
    "min_healthy_time",
    "monitor",
    "hold",
    "hold_ports",
    "drain",
    "progress_deadline",
    "job_deadline",
    "job_reruns",
    "keep_releases",
    "order",
    "shared_volumes",
    "aliases",
    "parallelism",
    "delay",
    "switch",
    "when_busy",
    "way_back",
    "unset_variables",
    "output",
    "image_mib_max",
    "require_revision_label",
    "signature",
];

/// The one that runs, the previous one and one more, in case the previous one was bad as well.
const DEFAULT_KEEP_RELEASES: u32 = 3;

/// The release that runs and the previous one: without it there is no way back.
const KEEP_RELEASES_MIN: u32 = 2;

/// More releases than anybody goes back to.
const KEEP_RELEASES_MAX: u32 = 1000;

/// A service that may be deployed. What is `None` comes from the Compose file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name in requests.
    pub name: ServiceName,
    /// The Compose files in the order in which they are laid over each other, each an absolute path;
    /// never empty. With `project_directory` alone, those that Compose finds there.
    pub compose_files: Vec<PathBuf>,
    /// What relative paths in the Compose files start from, and where `.env` is, if not the directory of
    /// the first Compose file.
    pub project_directory: Option<PathBuf>,
    /// Compose's name of the project.
    pub project_name: Option<String>,
    /// Files with variables for the Compose file; without any, Compose's own `.env`.
    pub env_files: Vec<PathBuf>,
    /// Compose's profiles.
    pub profiles: Vec<String>,
    /// Variables for the Compose file.
    pub environment: BTreeMap<String, String>,
    /// Variables for the Compose file that are passed on from the daemon's own environment, where they
    /// are set.
    pub pass_environment: Vec<String>,
    /// The service's name in the Compose file; the same as `name` unless it is given.
    pub compose_service: String,
    /// The services of the Compose file that a release consists of; empty for those whose image line names the tag
    /// variable.
    pub compose_services: Vec<String>,
    /// The services of the Compose file that run to their end after the commit.
    pub jobs_after: Vec<String>,
    /// What is run in a one-off container of the service before anything is stopped; empty for nothing.
    pub release_command: Vec<String>,
    /// The image without its tag.
    pub image_repository: Option<String>,
    /// The variable in the Compose file that holds the tag.
    pub tag_variable: Option<String>,
    /// Which tags may be deployed beside full commit shas.
    pub tag_pattern: Option<TagPattern>,
    /// What must answer besides the container's own health check.
    pub health: Health,
    /// The time within which a new release must have proven itself.
    pub healthy_deadline: Option<Duration>,
    /// How long it must be healthy without a break.
    pub min_healthy_time: Duration,
    /// How long it is watched before it is trusted.
    pub monitor: Option<Duration>,
    /// How long a new connection to a published port waits at most while the service is switched; none for not at all.
    pub hold: Option<Duration>,
    /// The ports at which containers on the host's network are reached.
    pub hold_ports: BTreeSet<u16>,
    /// How long the requests under way may take to end before the service is stopped.
    pub drain: Duration,
    /// The time for pulling the image and creating the container.
    pub progress_deadline: Duration,
    /// The time within which each job of a release must have ended.
    pub job_deadline: Duration,
    /// Whether a job that was cut short may run again.
    pub job_reruns: JobReruns,
    /// How many releases are kept, with their images, the one that runs among them; at least 2.
    pub keep_releases: u32,
    /// Which container goes first.
    pub order: Option<Order>,
    /// Whether both may write to the same volumes for a while.
    pub shared_volumes: SharedVolumes,
    /// When the new one gets the names of the service, where it goes first.
    pub aliases: Option<Aliases>,
    /// How many replicas of a service are switched at once; 0 for all of them.
    pub parallelism: Option<u32>,
    /// The pause between those and the next.
    pub delay: Option<Duration>,
    /// Whether the services of a release are switched one after another.
    pub switch: Switch,
    /// What becomes of a request while a deployment is under way.
    pub when_busy: WhenBusy,
    /// What a failed release may be followed by.
    pub way_back: WayBack,
    /// What a variable of the Compose file that is set nowhere means.
    pub unset_variables: UnsetVariables,
    /// What is shown of what its containers write.
    pub output: Output,
    /// What an image must be like before it is run.
    pub image: ImagePolicy,
}

impl Service {
    /// A service of which only the place is known; everything else has its default.
    #[must_use]
    pub fn new(name: ServiceName, compose_files: Vec<PathBuf>) -> Self {
        Self {
            compose_service: name.as_str().to_owned(),
            compose_services: Vec::new(),
            jobs_after: Vec::new(),
            release_command: Vec::new(),
            name,
            compose_files,
            project_directory: None,
            project_name: None,
            env_files: Vec::new(),
            profiles: Vec::new(),
            environment: BTreeMap::new(),
            pass_environment: Vec::new(),
            image_repository: None,
            tag_variable: None,
            tag_pattern: None,
            health: Health::default(),
            healthy_deadline: None,
            min_healthy_time: Duration::ZERO,
            monitor: None,
            hold: Some(times::DEFAULT_HOLD),
            hold_ports: BTreeSet::new(),
            drain: times::DEFAULT_DRAIN,
            progress_deadline: times::DEFAULT_PROGRESS_DEADLINE,
            job_deadline: times::DEFAULT_JOB_DEADLINE,
            job_reruns: JobReruns::default(),
            keep_releases: DEFAULT_KEEP_RELEASES,
            order: None,
            shared_volumes: SharedVolumes::default(),
            aliases: None,
            parallelism: None,
            delay: None,
            switch: Switch::default(),
            when_busy: WhenBusy::default(),
            way_back: WayBack::default(),
            unset_variables: UnsetVariables::default(),
            output: Output::default(),
            image: ImagePolicy::default(),
        }
    }

    /// Whether a release with this tag may be deployed; if not, which may, as a sentence fragment.
    ///
    /// # Errors
    /// What is allowed.
    pub fn allows_tag(&self, tag: &Tag) -> Result<(), String> {
        let widened = self.tag_pattern.as_ref();
        if tag.is_commit_sha() || widened.is_some_and(|pattern| pattern.matches(tag)) {
            return Ok(());
        }
        Err(match widened {
            None => "40 or 64 lower-case hexadecimal digits".to_owned(),
            Some(pattern) => {
                format!("40 or 64 lower-case hexadecimal digits, or match `{pattern}`")
            }
        })
    }

    /// Where relative paths in the Compose files start from, and where `.env` is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        let beside_the_file = || self.compose_files.first().and_then(|file| file.parent());
        self.project_directory
            .as_deref()
            .or_else(beside_the_file)
            .unwrap_or(Path::new("/"))
    }
}

/// The names under `[services]`, whether the rest is valid or not.
pub(super) fn names(section: Option<&Value<'_>>) -> Names {
    match section.map(Value::raw) {
        Some(toml::de::DeValue::Table(table)) => table
            .keys()
            .map(|name| name.get_ref().to_string())
            .collect(),
        _ => Names::new(),
    }
}

/// Reads every service that can be read.
pub(super) fn read(section: Option<&Value<'_>>) -> BTreeMap<ServiceName, Service> {
    let mut services: BTreeMap<ServiceName, Service> = BTreeMap::new();
    let Some(table) = section.and_then(|section| section.names()) else {
        return services;
    };
    for value in table.entries() {
        let name = match ServiceName::new(value.name) {
            Ok(name) => Some(name),
            Err(error) => value.name_mistake(
                format!("{} is not a service name: {error}", shown(value.name)),
                None,
            ),
        };
        // The rest is read even if the name is wrong, so that its mistakes are reported as well.
        let service = read_one(&value, name.as_ref());
        let (Some(name), Some(service)) = (name, service) else {
            continue;
        };
        if let Some(other) = services
            .values()
            .find(|other| same_container(other, &service))
        {
            value.name_mistake::<()>(
                format!(
                    "`{}` and `services.{}` are the same service of the same Compose project",
                    value.path, other.name
                ),
                Some(
                    "keep one of the two: a container can only be deployed under one name; if these are two projects, Compose gives both one name: set `project_name` for one of them, or `name:` in its Compose file",
                ),
            );
        }
        services.insert(name, service);
    }
    services
}

fn read_one(value: &Value<'_>, name: Option<&ServiceName>) -> Option<Service> {
    let table = value.table(KEYS)?;
    let project_directory = table
        .get("project_directory")
        .map(|value| value.directory());
    let directory = project_directory.as_ref().and_then(Option::as_deref);
    let compose_files = compose_files::read(&table, directory);
    let mut service = Service::new(
        name.cloned()
            .unwrap_or_else(|| ServiceName::new("unnamed").expect("a fixed valid name")),
        compose_files.clone().unwrap_or_default(),
    );
    service.project_directory = project_directory.flatten();
    read_compose_arguments(&table, &mut service);
    read_image(&table, &mut service);
    times::read(&table, &mut service);
    service.health = table
        .get("health")
        .as_ref()
        .and_then(health::read)
        .unwrap_or_default();
    if let Some(keep) = table.get("keep_releases")
        && let Some(number) = keep.number(KEEP_RELEASES_MIN..=KEEP_RELEASES_MAX)
    {
        service.keep_releases = number;
    }
    choices::read(&table, &mut service);
    service.image = image::read(&table);
    compose_files.map(|_| service)
}

/// What Compose takes on its command line and from its environment.
fn read_compose_arguments(table: &Table<'_>, service: &mut Service) {
    service.project_name = table.get("project_name").and_then(|value| {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
        matching(
            &value,
            "lower-case letters, digits, `_` and `-`, beginning with a letter or digit",
            |text| text.bytes().all(allowed) && !text.starts_with(['_', '-']),
        )
    });
    if let Some(files) = table.get("env_files").and_then(|value| value.texts()) {
        service.env_files = files.iter().filter_map(Value::file).collect();
    }
    if let Some(profiles) = table.get("profiles").and_then(|value| value.texts()) {
        service.profiles = profiles.iter().filter_map(read_profile).collect();
    }
    service.tag_variable = table
        .get("tag_variable")
        .as_ref()
        .and_then(variables::read_name);
    variables::read(table, service);
    if let Some(value) = table.get("compose_service") {
        service.compose_service = read_compose_service(&value).unwrap_or_default();
    }
    let services = |key| {
        let names = table.get(key).and_then(|value| value.texts());
        let names = names.unwrap_or_default();
        names.iter().filter_map(read_compose_service).collect()
    };
    service.compose_services = services("compose_services");
    service.jobs_after = services("jobs_after");
    let command = table.get("release_command");
    service.release_command = command
        .and_then(|value| value.command("[\"./manage.py\", \"migrate\"]"))
        .unwrap_or_default();
}

fn read_compose_service(value: &Value<'_>) -> Option<String> {
    matching(
        value,
        "a service's name in the Compose file: letters, digits, `.`, `_` and `-`",
        |text| ServiceName::new(text).is_ok(),
    )
}

fn read_profile(value: &Value<'_>) -> Option<String> {
    matching(
        value,
        "a profile's name: letters, digits, `.`, `_` and `-`, beginning with a letter or digit",
        |text| {
            text.starts_with(|c: char| c.is_ascii_alphanumeric())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        },
    )
}

fn read_image(table: &Table<'_>, service: &mut Service) {
    service.image_repository = table.get("image_repository").and_then(|value| {
        matching(
            &value,
            "an image without tag and digest, for example \"ghcr.io/acme/shop\"",
            |text| {
                text.parse::<ImageRef>()
                    .is_ok_and(|image| image.tag().is_none() && image.digest().is_none())
            },
        )
    });
    service.tag_pattern = table.get("tag_pattern").and_then(|value| {
        let text = value.text()?;
        match TagPattern::new(text) {
            Ok(pattern) => Some(pattern),
            Err(error) => value.mistake(
                format!(
                    "`{}` must be {}, not {}",
                    value.path,
                    error.allowed,
                    shown(text)
                ),
                None,
            ),
        }
    });
}

/// A text for which `fine` holds.
fn matching(value: &Value<'_>, allowed: &str, fine: impl Fn(&str) -> bool) -> Option<String> {
    let text = value.text()?;
    if fine(text) {
        return Some(text.to_owned());
    }
    value.mistake(
        format!("`{}` must be {allowed}, not {}", value.path, shown(text)),
        None,
    )
}
