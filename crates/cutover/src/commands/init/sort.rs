//! Tells the services that can be deployed from those that cannot.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cutover_core::image::ImageRef;
use cutover_core::names::ServiceName;
use cutover_core::strategy::{Facts, Strategy, strategy};
use cutover_core::template::{
    Carries, ImageTemplate, TemplateError, TemplateProblem, image_template, without_tag,
};
use cutover_daemon::driver::project::facts_as_written;
use serde::Deserialize;

use super::build::Build;
use super::project::{Deployable, Fixable, HealthCheck, OFFICIAL, Other};
use super::release::releases;
use crate::client::failure::Failure;

/// Why a service without `image` is not deployed.
const NO_IMAGE: &str = "it has no `image`: cutover runs images and does not build them";

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

/// Tells the services that can be deployed from the others. `rendered` is the project with its variables filled in, if it
/// can be read so.
pub(super) fn sort(
    json: &[u8],
    rendered: Option<&[u8]>,
    directory: &Path,
) -> anyhow::Result<(Vec<Deployable>, Vec<Other>)> {
    let file = read(json)?;
    let rendered = rendered.map(read).transpose()?;
    let rendered_image = |name: &str| {
        let service = rendered.as_ref()?.services.get(name)?;
        service.image.clone().filter(|image| !image.is_empty())
    };
    let mut waiting: BTreeMap<String, Vec<String>> = file
        .services
        .keys()
        .map(|name| (name.clone(), waits_for_the_end_of(&file.services, name)))
        .collect();
    let sharers: BTreeMap<String, Vec<String>> = file
        .services
        .iter()
        .map(|(name, service)| (name.clone(), sharers(&file.services, service)))
        .collect();
    let needed: BTreeSet<String> = file.services.values().flat_map(needs).collect();
    let (mut services, mut others) = (Vec::new(), Vec::new());
    for (name, service) in file.services {
        let waiting = waiting.remove(&name).unwrap_or_default();
        let facts = Facts {
            sharers: sharers.get(&name).cloned().unwrap_or_default(),
            waits_for_its_end: waiting
                .iter()
                .map(|one| format!("service `{one}`"))
                .collect(),
            ..facts_as_written(&service.definition)
        };
        let image_now = rendered_image(&name);
        let shares_with = shares_with(&service);
        match deployable(&name, service, &facts, image_now.as_deref(), directory) {
            Ok(service) => services.push(Deployable {
                is_needed: needed.contains(service.name.as_str()),
                ..service
            }),
            Err(other) => others.push(Other {
                job_of: waiting,
                shares_with,
                ..*other
            }),
        }
    }
    // What the project builds itself comes first.
    services.sort_by_key(|service| !(service.is_own() || service.build.is_some()));
    others.sort_by_key(|other| !other.is_own);
    Ok(releases(services, others))
}

fn read(json: &[u8]) -> anyhow::Result<File> {
    serde_json::from_slice(json).map_err(|error| {
        let failure = Failure::usage(
            format!("Compose's answer cannot be read: {error}"),
            "nothing was written; run `docker compose config --format json` to see it",
        );
        failure.into()
    })
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
    waiting.map(|(other, _)| other.clone()).collect()
}

/// The services on which this one depends.
fn needs(service: &Service) -> Vec<String> {
    let on = service.definition.get("depends_on");
    let on = on.and_then(|on| on.as_object()).into_iter().flatten();
    on.map(|(name, _)| name.clone()).collect()
}

/// The services in whose containers' namespaces this one runs.
fn shares_with(service: &Service) -> Vec<String> {
    let modes = ["network_mode", "ipc", "pid"].iter();
    let modes = modes.filter_map(|key| service.definition.get(*key)?.as_str());
    let services = modes.filter_map(|mode| mode.strip_prefix("service:"));
    services.map(str::to_owned).collect()
}

/// The services that run in a namespace of the container of `name`, which they know by its fixed name: Compose does not make
/// them again with it.
fn sharers(all: &BTreeMap<String, Service>, service: &Service) -> Vec<String> {
    let container = service.definition.get("container_name");
    let Some(container) = container.and_then(|container| container.as_str()) else {
        return Vec::new();
    };
    let container = format!("container:{container}");
    let shares = |other: &Service| {
        ["network_mode", "ipc", "pid"].iter().any(|key| {
            let mode = other.definition.get(*key).and_then(|mode| mode.as_str());
            mode == Some(&container)
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

/// The image without its tag, as written; where it comes whole from a variable, as that names it now.
fn repository(template: &ImageTemplate, image_now: Option<&str>) -> Result<String, String> {
    if template.carries != Carries::Image {
        return Ok(template.repository_template.clone());
    }
    let named = image_now.and_then(without_tag);
    named.map(str::to_owned).ok_or_else(|| {
        let variable = &template.tag_variable;
        format!(
            "its image comes whole from the variable {variable}, which names none now; set it once in the env file, for example `{variable}=ghcr.io/acme/shop:latest`: cutover replaces the tag"
        )
    })
}

/// What `--fix` needs to change the image line, if that can be changed.
fn fixable_line(
    error: &TemplateError,
    definition: &serde_json::Map<String, serde_json::Value>,
) -> Option<Box<Fixable>> {
    let (repository, tag) = error.fixable()?;
    Some(Box::new(Fixable {
        image: error.image.clone(),
        repository,
        tag,
        is_built: definition.contains_key("build"),
        publishes: definition.contains_key("ports"),
    }))
}

fn deployable(
    name: &str,
    service: Service,
    facts: &Facts,
    image_now: Option<&str>,
    directory: &Path,
) -> Result<Deployable, Box<Other>> {
    let image = service.image.unwrap_or_default();
    let is_own = service.definition.contains_key("build") || !is_official(&image);
    let other = |why: String| {
        Box::new(Other {
            service: name.to_owned(),
            why,
            instead: None,
            job_of: Vec::new(),
            shares_with: Vec::new(),
            fixable: None,
            is_own,
        })
    };
    let is_refused = matches!(strategy(facts), Strategy::Refused { .. });
    if !is_own && !is_refused && image_template(&image).is_err() {
        return Err(other(format!(
            "its image `{image}` has neither a registry nor an owner, so it is an official one of Docker Hub; if it is yours, write both before its name"
        )));
    }
    let template = image_template(&image);
    let fixable = template.as_ref().err();
    let fixable = fixable.and_then(|error| fixable_line(error, &service.definition));
    if let Strategy::Refused { why, hint } = strategy(facts) {
        return Err(Box::new(Other {
            // The image of a job goes with the release.
            fixable: fixable.filter(|_| is_own && !facts.waits_for_its_end.is_empty()),
            ..*other(format!("{why}; {hint}"))
        }));
    }
    let template = template.map_err(|error| {
        let instead = Some(error.suggestion(name));
        let why = match error.problem {
            TemplateProblem::NoImage => NO_IMAGE.to_owned(),
            _ => error.to_string(),
        };
        Box::new(Other {
            instead,
            fixable,
            ..*other(why)
        })
    })?;
    let repository = repository(&template, image_now).map_err(other)?;
    let name = ServiceName::new(name)
        .map_err(|error| other(format!("its name cannot be used in requests: {error}")))?;
    Ok(Deployable {
        name,
        repository,
        tag_variable: template.tag_variable,
        carries: template.carries,
        profiles: service.profiles,
        publishes: service.definition.contains_key("ports"),
        is_needed: false,
        with: Vec::new(),
        sharers: Vec::new(),
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
