//! What Compose says of the project: which services can be deployed, and why others cannot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cutover_core::compose_version::ComposeVersion;
use cutover_core::image::ImageRef;
use cutover_core::names::ServiceName;
use cutover_core::strategy::{Facts, Strategy, strategy};
use cutover_core::template::{TemplateProblem, image_template};
use cutover_daemon::driver::command::Compose;
use cutover_daemon::driver::project::facts_as_written;
use cutover_daemon::settings::{DockerSettings, find_compose_files};
use serde::{Deserialize, Serialize};

use super::build::Build;
use super::release::releases;
use super::running;
use crate::client::failure::Failure;
use crate::commands::block_on;

/// The images that Docker Hub itself answers for, and nobody else can push.
pub(super) const OFFICIAL: &str = "docker.io/library/";

/// A Compose project on this machine.
#[derive(Debug)]
pub(super) struct Project {
    /// The directory that `.env` and relative paths belong to, an absolute path.
    pub(super) directory: PathBuf,
    /// The Compose files, absolute paths.
    pub(super) files: Vec<PathBuf>,
    /// Compose's name of the project, where that is another than it would give.
    pub(super) project_name: Option<String>,
    /// The env files that what runs was made with; empty for `.env`.
    pub(super) env_files: Vec<PathBuf>,
    /// What of the project runs and was not taken.
    pub(super) not_taken: Option<String>,
    /// How Compose was found.
    pub(super) docker: DockerSettings,
    /// The Compose binary.
    pub(super) compose: PathBuf,
    /// What can be deployed.
    pub(super) services: Vec<Deployable>,
    /// What cannot.
    pub(super) others: Vec<Other>,
}

/// A service whose image tag is a variable, and which cutover would switch.
#[derive(Debug)]
pub(super) struct Deployable {
    pub(super) name: ServiceName,
    pub(super) repository: String,
    pub(super) tag_variable: String,
    pub(super) profiles: Vec<String>,
    pub(super) health: HealthCheck,
    /// Whether it publishes a port.
    pub(super) publishes: bool,
    /// The services that are deployed with it.
    pub(super) with: Vec<String>,
    /// The jobs that run before each of its releases.
    pub(super) jobs: Vec<String>,
    /// How its image is built, where the Compose file says so.
    pub(super) build: Option<Build>,
}

impl Deployable {
    /// Whether its image may be the project's own.
    pub(super) fn is_own(&self) -> bool {
        !self.full_name().starts_with(OFFICIAL)
    }

    /// The image in full, with its registry, where that is known here.
    pub(super) fn full_name(&self) -> String {
        let image = self.repository.parse::<ImageRef>();
        image.map_or_else(|_| self.repository.clone(), |image| image.name())
    }
}

/// Whether the Compose file says how to tell that a service is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HealthCheck {
    /// It does.
    Described,
    /// It does not; the image may.
    NotDescribed,
}

/// A service that cannot be deployed.
#[derive(Debug, Serialize)]
pub(super) struct Other {
    pub(super) service: String,
    pub(super) why: String,
    /// The line to write instead, where one would do.
    pub(super) instead: Option<String>,
    /// The tag variable of its image, if it is a job.
    #[serde(skip)]
    pub(super) job_of: Option<String>,
    /// Whether its image may be the project's own.
    #[serde(skip)]
    is_own: bool,
}

impl Other {
    pub(super) fn sentence(&self) -> String {
        format!("{}: {}", self.service, self.why)
    }
}

impl Project {
    /// Reads the project in `directory`, made of `files` or of what Compose finds there.
    pub(super) fn read(directory: &Path, files: &[PathBuf]) -> anyhow::Result<Self> {
        let directory = std::path::absolute(directory)?;
        let mut docker = DockerSettings::from_environment();
        if let Some(Ok(socket)) = running::docker_host() {
            docker.socket = socket;
        }
        let wanted: Vec<PathBuf> = files
            .iter()
            .map(std::path::absolute)
            .collect::<std::io::Result<_>>()?;
        let made = running::made_in(&docker, &directory);
        let taken = running::choice(&made, &wanted);
        let files = match (taken, wanted.is_empty()) {
            (Some(made), _) => made.files.clone(),
            (None, false) => wanted,
            (None, true) => find_compose_files(&directory).map_err(|error| {
                Failure::usage(
                    error.to_string(),
                    "nothing was written; go to the project's directory, or give --directory DIR or --file PATH",
                )
            })?,
        };
        // Where Compose looks for `.env` when it is given the files, as the daemon gives them.
        let directory = files
            .first()
            .and_then(|file| file.parent())
            .map_or(directory, Path::to_owned);
        let compose = find_compose(&docker)?;
        let json = describe(&compose, &docker, &directory, &files)?;
        let (services, others) = sort(&json, &directory)?;
        let project_name = taken.map(|made| made.project.clone());
        let project_name = project_name.filter(|name| *name != name_in(&json));
        Ok(Self {
            project_name,
            env_files: taken.map(|made| made.env_files.clone()).unwrap_or_default(),
            not_taken: running::warning(&made, &files),
            directory,
            files,
            docker,
            compose,
            services,
            others,
        })
    }

    /// The names of the services that can be deployed.
    pub(super) fn names(&self) -> Vec<String> {
        self.services
            .iter()
            .map(|service| service.name.to_string())
            .collect()
    }

    /// The Compose files in a sentence.
    pub(super) fn shown_files(&self) -> String {
        let shown: Vec<String> = self
            .files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        shown.join(", ")
    }

    /// What to know besides.
    pub(super) fn warnings(&self) -> Vec<String> {
        let docker_host = running::docker_host().and_then(Result::err);
        self.not_taken
            .clone()
            .into_iter()
            .chain(docker_host)
            .collect()
    }
}

/// The name of the project in Compose's JSON.
fn name_in(json: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    serde_json::from_slice::<Named>(json).map_or_else(|_| String::new(), |named| named.name)
}

/// Finds Compose as the daemon does, and refuses one that is too old.
fn find_compose(docker: &DockerSettings) -> anyhow::Result<PathBuf> {
    let unusable = |what: String| {
        Failure::usage(
            what,
            "nothing was written; install docker-compose-plugin 2.20 or newer",
        )
    };
    let compose = Compose::find(docker).map_err(|error| unusable(error.to_string()))?;
    let version = block_on(compose.version())?.map_err(|error| unusable(error.to_string()))?;
    version
        .parse::<ComposeVersion>()
        .map_err(|error| unusable(error.to_string()))?
        .supported()
        .map_err(|error| unusable(error.to_string()))?;
    Ok(compose.program().to_owned())
}

/// What Compose makes of the files, with all profiles, and with variables as written.
fn describe(
    compose: &Path,
    docker: &DockerSettings,
    directory: &Path,
    files: &[PathBuf],
) -> anyhow::Result<Vec<u8>> {
    let mut command = Command::new(compose);
    command.args(["--ansi", "never", "--profile", "*"]);
    for file in files {
        command.arg("--file").arg(file);
    }
    command.args(["config", "--no-interpolate", "--format", "json"]);
    command
        .current_dir(directory)
        .stdin(Stdio::null())
        .env_clear();
    for name in ["PATH", "HOME"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.env("DOCKER_CONFIG", &docker.config_directory);
    let unreadable = |why: String| {
        Failure::usage(
            format!("Compose cannot read the project: {why}"),
            "nothing was written; correct the Compose file until `docker compose config` is content",
        )
    };
    let output = command
        .output()
        .map_err(|error| unreadable(error.to_string()))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        let words = String::from_utf8_lossy(&output.stderr);
        let last = words.lines().rev().find(|line| !line.trim().is_empty());
        Err(unreadable(last.unwrap_or("it says nothing").to_owned()).into())
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    services: BTreeMap<String, Service>,
}

#[derive(Deserialize)]
struct Service {
    image: Option<String>,
    #[serde(default)]
    profiles: Vec<String>,
    healthcheck: Option<serde_json::Value>,
    /// All else, of which the daemon reads what it would refuse.
    #[serde(flatten)]
    definition: serde_json::Map<String, serde_json::Value>,
}

/// Tells the services that can be deployed from the others.
pub(super) fn sort(json: &[u8], directory: &Path) -> anyhow::Result<(Vec<Deployable>, Vec<Other>)> {
    let file: File = serde_json::from_slice(json).map_err(|error| {
        Failure::usage(
            format!("Compose's answer cannot be read: {error}"),
            "nothing was written; run `docker compose config --format json` to see it",
        )
    })?;
    let waiting: BTreeMap<String, Vec<String>> = file
        .services
        .keys()
        .map(|name| (name.clone(), waits_for_the_end_of(&file.services, name)))
        .collect();
    let sharers: BTreeMap<String, Vec<String>> = file
        .services
        .iter()
        .map(|(name, service)| (name.clone(), sharers(&file.services, name, service)))
        .collect();
    let (mut services, mut others) = (Vec::new(), Vec::new());
    for (name, service) in file.services {
        let facts = Facts {
            sharers: sharers.get(&name).cloned().unwrap_or_default(),
            waits_for_its_end: waiting.get(&name).cloned().unwrap_or_default(),
            ..facts_as_written(&service.definition)
        };
        match deployable(&name, service, &facts, directory) {
            Ok(service) => services.push(service),
            Err(other) => others.push(other),
        }
    }
    // What the project builds itself comes first.
    services.sort_by_key(|service| !(service.is_own() || service.build.is_some()));
    others.sort_by_key(|other| !other.is_own);
    Ok(releases(services, others))
}

/// The services that wait for `name` to end well: to them it is a job.
fn waits_for_the_end_of(all: &BTreeMap<String, Service>, name: &str) -> Vec<String> {
    let waits = |other: &Service| {
        let on = other
            .definition
            .get("depends_on")
            .and_then(|on| on.get(name));
        let condition = on.and_then(|on| on.get("condition")?.as_str());
        condition == Some("service_completed_successfully")
    };
    let waiting = all.iter().filter(|(_, other)| waits(other));
    waiting
        .map(|(other, _)| format!("service `{other}`"))
        .collect()
}

/// The services that run in a namespace of the container of `name`, as far as the file says.
fn sharers(all: &BTreeMap<String, Service>, name: &str, service: &Service) -> Vec<String> {
    let of_service = format!("service:{name}");
    let container = service.definition.get("container_name");
    let container =
        container.and_then(|container| Some(format!("container:{}", container.as_str()?)));
    let shares = |other: &Service| {
        ["network_mode", "ipc", "pid"].iter().any(|key| {
            let mode = other.definition.get(*key).and_then(|mode| mode.as_str());
            mode.is_some_and(|mode| mode == of_service || Some(mode) == container.as_deref())
        })
    };
    let sharing = all.iter().filter(|(_, other)| shares(other));
    sharing
        .map(|(other, _)| format!("service `{other}`"))
        .collect()
}

/// Whether an image is one that Docker Hub itself answers for, and nobody else can push.
fn is_official(image: &str) -> bool {
    let named = image.parse::<ImageRef>();
    named.is_ok_and(|named| named.name().starts_with(OFFICIAL))
}

fn deployable(
    name: &str,
    service: Service,
    facts: &Facts,
    directory: &Path,
) -> Result<Deployable, Other> {
    let image = service.image.unwrap_or_default();
    let is_own = service.definition.contains_key("build") || !is_official(&image);
    if let (false, Strategy::StopFirst { .. }) = (is_own, strategy(facts))
        && image_template(&image).is_err()
    {
        return Err(Other {
            service: name.to_owned(),
            why: format!(
                "its image `{image}` has neither a registry nor an owner, so it is an official one of Docker Hub; if it is yours, write both before its name"
            ),
            instead: None,
            job_of: None,
            is_own,
        });
    }
    if let Strategy::Refused { why, hint } = strategy(facts) {
        return Err(Other {
            service: name.to_owned(),
            why: format!("{why}; {hint}"),
            instead: None,
            job_of: (!facts.waits_for_its_end.is_empty())
                .then(|| image_template(&image).ok())
                .flatten()
                .map(|template| template.tag_variable),
            is_own,
        });
    }
    let template = image_template(&image).map_err(|error| Other {
        service: name.to_owned(),
        is_own,
        job_of: None,
        why: match error.problem {
            TemplateProblem::NoImage => {
                "it has no `image`: cutover runs images and does not build them".to_owned()
            }
            _ => error.to_string(),
        },
        instead: Some(error.suggestion(name)),
    })?;
    let name = ServiceName::new(name).map_err(|error| Other {
        service: name.to_owned(),
        why: format!("its name cannot be used in requests: {error}"),
        instead: None,
        job_of: None,
        is_own,
    })?;
    Ok(Deployable {
        name,
        repository: template.repository_template,
        tag_variable: template.tag_variable,
        profiles: service.profiles,
        publishes: service.definition.contains_key("ports"),
        with: Vec::new(),
        jobs: Vec::new(),
        build: service
            .definition
            .get("build")
            .map(|written| Build::of(written, directory)),
        health: match service.healthcheck {
            Some(_) => HealthCheck::Described,
            None => HealthCheck::NotDescribed,
        },
    })
}
