//! What Compose says of the project: which services can be deployed, and why others cannot.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cutover_core::compose_version::ComposeVersion;
use cutover_core::image::ImageRef;
use cutover_core::names::ServiceName;
use cutover_core::template::Carries;
use cutover_daemon::driver::command::Compose;
use cutover_daemon::settings::{DockerSettings, find_compose_files};
use serde::{Deserialize, Serialize};

use super::build::Build;
use super::running;
use super::sort::sort;
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
    /// What that variable stands for.
    pub(super) carries: Carries,
    pub(super) profiles: Vec<String>,
    pub(super) health: HealthCheck,
    /// Whether it publishes a port.
    pub(super) publishes: bool,
    /// Whether other services of the project depend on it.
    pub(super) is_needed: bool,
    /// The services that are deployed with it.
    pub(super) with: Vec<String>,
    /// The services that are made again with it, because they run in a namespace of its container.
    pub(super) sharers: Vec<String>,
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

    /// Whether one of `services` is of its release, or a job of that.
    pub(super) fn has_one_of(&self, services: &[String]) -> bool {
        let is_own = |name: &String| {
            let parts = [&self.with, &self.jobs, &self.sharers];
            *name == self.name.as_str() || parts.iter().any(|part| part.contains(name))
        };
        services.iter().any(is_own)
    }

    /// What a release of it is besides itself, as part of a sentence; nothing where it is alone.
    pub(super) fn besides(&self) -> Option<String> {
        let with = [&self.with[..], &self.sharers].concat().join(", ");
        let jobs = match self.jobs.as_slice() {
            [one] => format!("job {one}"),
            several => format!("jobs {}", several.join(", ")),
        };
        match (with.is_empty(), self.jobs.is_empty()) {
            (true, true) => None,
            (false, true) => Some(format!("is released with {with}")),
            (true, false) => Some(format!("waits for the {jobs}")),
            (false, false) => Some(format!("is released with {with}, after the {jobs}")),
        }
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
    /// What `--fix` needs to change its image line, if that can be changed.
    #[serde(skip)]
    pub(super) fixable: Option<Box<Fixable>>,
    /// The services that wait for its end, if it is a job.
    #[serde(skip)]
    pub(super) job_of: Vec<String>,
    /// The services in whose containers' namespaces it runs.
    #[serde(skip)]
    pub(super) shares_with: Vec<String>,
    /// Whether its image may be the project's own.
    #[serde(skip)]
    pub(super) is_own: bool,
}

/// An image line without a tag variable that can be given one.
#[derive(Debug, Clone)]
pub(super) struct Fixable {
    /// The line's value as written.
    pub(super) image: String,
    /// Its part before the tag.
    pub(super) repository: String,
    /// The tag that stands there, if one does.
    pub(super) tag: Option<String>,
    /// Whether the Compose file says how the image is built.
    pub(super) is_built: bool,
    /// Whether the service publishes a port.
    pub(super) publishes: bool,
}

impl Fixable {
    /// The value with the variable in the tag's place, and what stood there as its default.
    pub(super) fn with(&self, variable: &str) -> String {
        let tag = self.tag.as_deref().unwrap_or("latest");
        format!("{}:${{{variable}:-{tag}}}", self.repository)
    }
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
        let made = running::made_in(&docker, &directory_of(&wanted).unwrap_or(directory.clone()));
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
        let directory = match taken.filter(|made| made.directory.is_absolute()) {
            Some(made) => made.directory.clone(),
            None => directory_of(&files).unwrap_or(directory),
        };
        let compose = find_compose(&docker)?;
        let json = describe(&compose, &docker, &directory, &files, AS_WRITTEN)?;
        // A variable that is set nowhere may keep Compose from that.
        let rendered = describe(&compose, &docker, &directory, &files, &[]).ok();
        let (services, others) = sort(&json, rendered.as_deref(), &directory)?;
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

    /// The directory, where Compose would take another one for it.
    pub(super) fn directory_of_its_own(&self) -> Option<&Path> {
        let usual = directory_of(&self.files)?;
        (usual != self.directory).then_some(&self.directory)
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

/// Where Compose looks for `.env` when it is given the files, as the daemon gives them.
fn directory_of(files: &[PathBuf]) -> Option<PathBuf> {
    Some(files.first()?.parent()?.to_owned())
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

/// The project as Compose prints it with these options.
pub(super) fn render_project(project: &Project, options: &[&str]) -> anyhow::Result<Vec<u8>> {
    let Project {
        compose,
        docker,
        directory,
        files,
        ..
    } = project;
    describe(compose, docker, directory, files, options)
}

/// Leaves the variables in their places.
const AS_WRITTEN: &[&str] = &["--no-interpolate"];

/// What Compose makes of the files, with all profiles.
fn describe(
    compose: &Path,
    docker: &DockerSettings,
    directory: &Path,
    files: &[PathBuf],
    options: &[&str],
) -> anyhow::Result<Vec<u8>> {
    let mut command = Command::new(compose);
    command.args(["--ansi", "never", "--profile", "*"]);
    command.arg("--project-directory").arg(directory);
    for file in files {
        command.arg("--file").arg(file);
    }
    command
        .arg("config")
        .args(options)
        .args(["--format", "json"]);
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
