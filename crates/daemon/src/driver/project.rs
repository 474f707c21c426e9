//! What a Compose project says about the services of a release.
//!
//! Compose reads its own files: we ask it for the project as JSON, once without interpolation, to learn
//! which variable is the image's tag, and once with that variable set to the requested tag. Where the variable is a digest,
//! a third time, when the image is pulled and its digest is known.

mod contents;
mod facts;
mod file;
mod hashes;
mod hooks;
mod neighbours;
mod read;
mod release;
mod render;
mod secrets;
mod tag_variable;
mod unset;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::compose_warnings::unset_variable;
use cutover_core::env_file::written_value;
use cutover_core::image::Digest;
use cutover_core::names::Tag;
use cutover_core::strategy::Facts;
use cutover_core::switch::Order;
use cutover_core::template::{Carries, TagVariable};

use self::file::WrittenFile;
pub(super) use self::hashes::{HashByHand, config_hash, hashes_by_hand};
pub use self::hooks::Hooks;
pub use self::neighbours::Neighbour;
use self::neighbours::WholeFile;
use self::read::{as_written, config};
pub use self::release::{Dependent, ReleaseModel, Role};
use self::render::render;
use self::tag_variable::tag_variable;
use super::command::{Compose, Project};
use super::staging::bodies::DeclaredVolume;
use crate::docker::Container;
use crate::files::outside;
use crate::settings;

/// The service as Compose renders it for one tag.
#[derive(Clone)]
pub struct ServiceModel {
    /// The Compose project.
    pub project: String,
    /// Where Compose looks for `.env`.
    pub directory: PathBuf,
    /// The service's name in the Compose file.
    pub compose_service: String,
    /// What it is for in its release.
    pub role: Role,
    /// Whether its image is of the tag that is deployed; a job may have one of its own.
    pub carries_tag: bool,
    /// The variable that carries the image's tag.
    pub tag_variable: TagVariable,
    /// The services that it is to be restarted with, where it is not switched itself.
    pub restarts_with: Vec<String>,
    /// Where the host has its TCP ports.
    pub published: Vec<String>,
    /// What it depends on, with Compose's own words for each.
    pub depends_on: BTreeMap<String, serde_json::Value>,
    /// The services whose containers' namespaces it runs in, or whose volumes it takes: it is switched with them.
    pub shares_with: Vec<String>,
    /// What is pulled: the image reference with the requested tag in its place.
    pub image: String,
    /// What Compose creates the container of: the same, or the digest in the tag's place.
    pub container_image: String,
    /// `platform`, where the service is not to run on the machine's own.
    pub platform: Option<String>,
    /// What decides about how the service is switched.
    pub facts: Facts,
    /// How its replicas are switched.
    pub rollout: Rollout,
    /// Whether its container, if it is started beside the old one, gets the names of the service when it is proven.
    unannounced: bool,
    /// Its hooks.
    pub hooks: Hooks,
    /// `deploy.update_config.monitor`.
    pub monitor: Option<Duration>,
    /// Whether Compose writes files into the container when it creates it, which no configuration of the container
    /// shows.
    pub has_written_files: bool,
    /// The volumes that the project declares, by Docker's names of them.
    pub volumes: BTreeMap<String, DeclaredVolume>,
    /// A hash of what the container gets that its definition does not show; none where that is nothing.
    pub contents: Option<String>,
    /// What Compose warned of, in its own words.
    pub warnings: Vec<String>,
    /// Names the keys about failures that are not followed, if there are any.
    not_followed: Option<String>,
    /// The variables that Compose would pass through to the container and that are set nowhere.
    not_passed: Vec<String>,
    /// The settings that a variable may be part of, as rendered.
    settings: unset::Settings,
    /// Values that must not be shown: secret-looking variables and Compose secrets.
    pub secrets: Vec<String>,
}

/// How the replicas of a service are switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollout {
    /// How many at once; 0 for all of them.
    pub parallelism: u32,
    /// The pause between those and the next.
    pub delay: Duration,
}

impl ServiceModel {
    /// How many containers it has.
    #[must_use]
    pub fn replicas(&self) -> usize {
        match self.role {
            Role::Switched => self.facts.replicas as usize,
            // As Compose counts, and each is waited for.
            Role::Job | Role::JobAfter => 1,
        }
    }

    /// How many of them are switched at once, one batch after another.
    fn batches(&self) -> impl Iterator<Item = usize> {
        let all = self.replicas();
        let size = match self.rollout.parallelism as usize {
            0 => all,
            size => size,
        };
        (0..all)
            .step_by(size.max(1))
            .map(move |done| size.min(all - done))
    }

    /// Whether it runs to its end, before or after the switch.
    #[must_use]
    pub fn is_job(&self) -> bool {
        self.role != Role::Switched
    }

    /// Which of its containers goes first.
    #[must_use]
    pub fn order(&self) -> Order {
        match self.facts.start_first_wanted {
            true => Order::StartFirst,
            false => Order::StopFirst,
        }
    }

    /// Whether its container is created without the names of the service, and gets them when it is proven.
    #[must_use]
    pub fn is_announced_later(&self) -> bool {
        self.unannounced && self.order() == Order::StartFirst && !self.is_job()
    }

    /// The variables that are set nowhere, as Compose warns.
    pub fn unset_variables(&self) -> impl Iterator<Item = &str> {
        unset::warned_of(self)
    }

    /// What Compose warned of, with what it means for the service.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.warnings.iter().map(|said| match unset_variable(said) {
            Some(variable) => format!(
                "the variable `{variable}` is set nowhere, so Compose puts nothing in its place; set it in the env file, or write `${{{variable}:-}}` where it may be empty"
            ),
            None => format!("Compose warns: {said}"),
        })
    }
}

impl std::fmt::Debug for ServiceModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceModel")
            .field("project", &self.project)
            .field("image", &self.image)
            .finish_non_exhaustive()
    }
}

/// What was known of a project when it was read last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownProject {
    /// The variable that carried the tag.
    pub tag_variable: TagVariable,
    /// The services of the release, and its jobs.
    pub services: Vec<String>,
    /// Those that are switched, in their order.
    pub switched: Vec<String>,
}

/// Reads the project for `tag`. With the variable that carried the tag last time, Compose runs once: if the
/// image then ends in the tag, it is the variable still.
///
/// # Errors
/// [`Code::InvalidCompose`] with Compose's own words, or with what is wrong with the image's line.
pub async fn read(
    compose: &Compose,
    service: &settings::Service,
    tag: &Tag,
    known: Option<KnownProject>,
) -> Result<ReleaseModel, Cause> {
    // What stands before the tag in the value of a variable may be another repository by now.
    let known = known.filter(|known| known.tag_variable.carries() == Carries::Tag);
    if let Some(known) = known {
        let variable = known.tag_variable.clone();
        if let Ok(model) = render(compose, service, tag, variable, &known.services).await {
            return Ok(model);
        }
    }
    let variable = tag_variable(compose, service).await?;
    render(compose, service, tag, variable, &[]).await
}

/// The release of `model` where its image has this digest: if the variable is a digest, the project is read once more.
///
/// # Errors
/// [`Code::InvalidCompose`], also where the project has lost a service of the release meanwhile.
pub async fn with_digest(
    compose: &Compose,
    service: &settings::Service,
    tag: &Tag,
    model: ReleaseModel,
    digest: &Digest,
) -> Result<ReleaseModel, Cause> {
    let variable = &model.lead().tag_variable;
    if !variable.needs_digest() {
        return Ok(model);
    }
    let names: Vec<String> = model.names().into_iter().map(str::to_owned).collect();
    let read = render(compose, service, tag, variable.with_digest(digest), &names).await?;
    // A rollback by hand goes without the jobs.
    let left_out = read.names().into_iter().map(str::to_owned);
    let left_out: Vec<String> = left_out.filter(|name| !names.contains(name)).collect();
    let read = read.without(&left_out);
    if read.names() != names {
        return Err(invalid(
            "the services of the release are others than before its image was pulled: the Compose file was changed meanwhile; nothing was changed, so deploy again",
        ));
    }
    Ok(read)
}

/// What the service would lose that `container` has, because a variable is set nowhere; a sentence each. `of_image` is
/// the environment that the container has from its image, each as `NAME=value`.
pub async fn losses(
    compose: &Compose,
    service: &settings::Service,
    model: &ServiceModel,
    container: &Container,
    of_image: &[String],
) -> Vec<String> {
    if unset::not_found(model).is_empty() {
        return Vec::new();
    }
    // A project that can only be read with its variables filled in tells less; what is empty then is lost all the same.
    let written = as_written(compose, service).await.ok();
    let written = written.as_ref().and_then(|file| {
        let described = file.services.get(&model.compose_service)?;
        Some(&described.rest)
    });
    unset::losses(model, written, container, of_image)
}

/// Whether the container of the service, or what Compose makes of its definition, is another one when `env_file` names
/// `tag`: it mounts the file, or gets its environment from it.
pub async fn sees_env_file(
    compose: &Compose,
    service: &settings::Service,
    model: &ServiceModel,
    tag: &Tag,
    env_file: &Path,
) -> bool {
    let mut mounted = unset::mounted(&model.settings).map(Path::new);
    if mounted.any(|source| source.is_absolute() && env_file.starts_with(source)) {
        return true;
    }
    if let Some(value) = unset::environment_of(&model.settings, &model.tag_variable.name) {
        // Compose was given the tag: another value comes from a file.
        return value != model.tag_variable.value(tag.as_str());
    }
    let is_set = outside::text(env_file)
        .is_some_and(|text| written_value(&text, &model.tag_variable.name).is_some());
    if is_set {
        // Then the service would have it, too.
        return false;
    }
    let written = as_written(compose, service).await.ok();
    let described = written
        .as_ref()
        .and_then(|file| file.services.get(&model.compose_service));
    described.is_some_and(|described| neighbours::reads(&described.rest, env_file))
}

/// The services of the project that are not part of the release and whose definition changes with its tag, which
/// `env_file` names.
///
/// # Errors
/// [`Code::InvalidCompose`] with Compose's own words.
pub async fn neighbours(
    compose: &Compose,
    service: &settings::Service,
    model: &ReleaseModel,
    env_file: &Path,
) -> Result<Vec<Neighbour>, Cause> {
    let rendered = async |digit: &str| {
        let mut variable = model.lead().tag_variable.clone();
        if let Ok(digest) = format!("sha256:{}", digit.repeat(64)).parse() {
            variable = variable.with_digest(&digest);
        }
        let value = variable.value(&digit.repeat(40));
        let variables = BTreeMap::from([(variable.name, value)]);
        config::<WholeFile>(compose, &Project::new(service, variables)).await
    };
    let (one, other) = (rendered("0").await?, rendered("1").await?);
    // A project that can only be read with its variables filled in does not tell who reads which file.
    let written = as_written(compose, service).await.ok();
    let (own, variable) = (model.names(), &model.lead().tag_variable.name);
    let both = [&one, &other];
    Ok(neighbours::neighbours(
        &own,
        variable,
        env_file,
        both,
        written.as_ref(),
    ))
}

/// The name of the Compose project, with its variables filled in: before that, `name: ${STACK}` reads as the name of
/// another project.
///
/// # Errors
/// [`Code::InvalidCompose`] with Compose's own words.
pub async fn name(compose: &Compose, service: &settings::Service) -> Result<String, Cause> {
    // The name does not depend on the tag, but the project may not be read without one.
    let tag = async |variable: TagVariable| {
        let value = variable.value("any");
        let variables = BTreeMap::from([(variable.name, value)]);
        let project = Project::new(service, variables);
        let file = config::<WrittenFile>(compose, &project).await?;
        Ok(file.name)
    };
    if let Some(variable) = &service.tag_variable {
        return tag(TagVariable::of_tag(variable)).await;
    }
    let project = Project::new(service, BTreeMap::new());
    match config::<WrittenFile>(compose, &project).await {
        Ok(file) => Ok(file.name),
        Err(_) => tag(tag_variable(compose, service).await?).await,
    }
}

/// What decides about how a service is switched, as far as its definition before interpolation tells: for
/// `init`, when no service is configured yet and the variables need not have values.
#[must_use]
pub fn facts_as_written(definition: &serde_json::Map<String, serde_json::Value>) -> Facts {
    facts::facts_as_written(definition)
}

fn invalid(detail: impl Into<String>) -> Cause {
    Cause::new(Code::InvalidCompose, Step::Prepare, detail)
}

fn missing_service<'a>(
    service: &settings::Service,
    name: &str,
    known: impl Iterator<Item = &'a String>,
) -> Cause {
    let known: Vec<_> = known.map(String::as_str).collect();
    let key = match name == service.compose_service {
        true => "`compose_service` or `profiles`",
        false => "`profiles`",
    };
    invalid(format!(
        "the Compose project has no service `{name}` (it has {}); set {key}",
        known.join(", ")
    ))
}
