//! Tells the services that can be deployed from those that cannot.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cutover_core::image::ImageRef;
use cutover_core::names::ServiceName;
use cutover_core::strategy::{Facts, Strategy, strategy};
use cutover_core::template::{TemplateProblem, image_template};
use cutover_daemon::driver::project::facts_as_written;
use serde::Deserialize;

use super::build::Build;
use super::project::{Deployable, Fixable, HealthCheck, OFFICIAL, Other};
use super::release::releases;
use crate::client::failure::Failure;

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
    let needed: BTreeSet<String> = file.services.values().flat_map(needs).collect();
    let (mut services, mut others) = (Vec::new(), Vec::new());
    for (name, service) in file.services {
        let facts = Facts {
            sharers: sharers.get(&name).cloned().unwrap_or_default(),
            waits_for_its_end: waiting.get(&name).cloned().unwrap_or_default(),
            ..facts_as_written(&service.definition)
        };
        match deployable(&name, service, &facts, directory) {
            Ok(service) => services.push(Deployable {
                is_needed: needed.contains(service.name.as_str()),
                ..service
            }),
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

/// The services on which this one depends.
fn needs(service: &Service) -> Vec<String> {
    let on = service.definition.get("depends_on");
    let on = on.and_then(|on| on.as_object()).into_iter().flatten();
    on.map(|(name, _)| name.clone()).collect()
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
    let other = |why: String| Other {
        service: name.to_owned(),
        why,
        instead: None,
        job_of: None,
        fixable: None,
        is_own,
    };
    if let (false, Strategy::StopFirst { .. }) = (is_own, strategy(facts))
        && image_template(&image).is_err()
    {
        return Err(other(format!(
            "its image `{image}` has neither a registry nor an owner, so it is an official one of Docker Hub; if it is yours, write both before its name"
        )));
    }
    if let Strategy::Refused { why, hint } = strategy(facts) {
        let is_job = !facts.waits_for_its_end.is_empty();
        let template = image_template(&image).ok().filter(|_| is_job);
        return Err(Other {
            job_of: template.map(|template| template.tag_variable),
            ..other(format!("{why}; {hint}"))
        });
    }
    let template = image_template(&image).map_err(|error| Other {
        instead: Some(error.suggestion(name)),
        fixable: error.fixable().map(|(repository, tag)| {
            Box::new(Fixable {
                image: image.clone(),
                repository,
                tag,
                is_built: service.definition.contains_key("build"),
                publishes: service.definition.contains_key("ports"),
            })
        }),
        ..other(match error.problem {
            TemplateProblem::NoImage => {
                "it has no `image`: cutover runs images and does not build them".to_owned()
            }
            _ => error.to_string(),
        })
    })?;
    let name = ServiceName::new(name)
        .map_err(|error| other(format!("its name cannot be used in requests: {error}")))?;
    Ok(Deployable {
        name,
        repository: template.repository_template,
        tag_variable: template.tag_variable,
        profiles: service.profiles,
        publishes: service.definition.contains_key("ports"),
        is_needed: false,
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
