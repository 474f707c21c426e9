//! The release as Compose renders its project for one value of the variable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cutover_core::cause::Cause;
use cutover_core::image::ImageRef;
use cutover_core::names::Tag;
use cutover_core::template::{Carries, TagVariable};

use super::file::{File, Port, Service};
use super::read::config_and_warnings;
use super::{
    Dependent, ReleaseModel, Role, ServiceModel, contents, invalid, missing_service, release,
    secrets, unset,
};
use crate::driver::command::{Compose, Project};
use crate::settings;

/// The release as Compose renders it with `variable` set for `tag`; `known` are the services that it had the last time.
pub(super) async fn render(
    compose: &Compose,
    service: &settings::Service,
    tag: &Tag,
    variable: TagVariable,
    known: &[String],
) -> Result<ReleaseModel, Cause> {
    let variables = BTreeMap::from([(variable.name.clone(), variable.value(tag.as_str()))]);
    let project = Project::new(service, variables);
    let (file, warnings): (File, _) = config_and_warnings(compose, &project).await?;
    let directory: PathBuf = project.directory().map(PathBuf::from).unwrap_or_default();
    let names = release::services(compose, service, tag, &variable, &file, known).await?;
    let rendered = Rendered {
        service,
        file: &file,
        tag,
        variable: &variable,
        directory: &directory,
        warnings: &warnings,
    };
    let services = names.iter().map(|(name, role)| rendered.model(name, *role));
    let services: Vec<ServiceModel> = services.collect::<Result<_, _>>()?;
    of_one_digest(&services, &variable)?;
    let others = file
        .services
        .iter()
        .filter(|(name, _)| !names.iter().any(|(own, _)| own == *name));
    let dependents = others.map(|(name, described)| {
        Ok(Dependent {
            service: name.clone(),
            with: file.restarts_with(name),
            hooks: described.hooks()?,
        })
    });
    let dependents = dependents.collect::<Result<_, Cause>>()?;
    ReleaseModel::new(services, dependents, &service.compose_service)
        .ok_or_else(|| missing_service(service, &service.compose_service, file.services.keys()))
}

/// A project as Compose renders it for one tag.
struct Rendered<'a> {
    service: &'a settings::Service,
    file: &'a File,
    tag: &'a Tag,
    variable: &'a TagVariable,
    directory: &'a Path,
    warnings: &'a [String],
}

impl Rendered<'_> {
    /// What it says of the service `name`.
    fn model(&self, name: &str, role: Role) -> Result<ServiceModel, Cause> {
        let Self {
            service,
            file,
            tag,
            variable,
            ..
        } = *self;
        let Some(described) = file.services.get(name) else {
            return Err(missing_service(service, name, file.services.keys()));
        };
        let image = described.image.clone().unwrap_or_default();
        let carries_tag = image.ends_with(&variable.end_of_image(tag.as_str()));
        if image.is_empty() && role != Role::Switched {
            return Err(invalid(format!(
                "the job `{name}` of the release has no `image`: cutover runs images and does not build them"
            )));
        }
        let shares_with = file.shares_with(name);
        let goes_with_another = !shares_with.is_empty() && name != service.compose_service;
        if !carries_tag && role == Role::Switched && !goes_with_another {
            return Err(invalid(format!(
                "with {}={} Compose renders the image `{image}` of service `{name}`, which does not end in that {}; \
                 `environment` in the configuration of cutover, or an earlier definition of {}, overrides it",
                variable.name,
                variable.value(tag.as_str()),
                variable.keeps(),
                variable.name
            )));
        }
        if image.parse::<ImageRef>().is_err() {
            return Err(invalid(format!(
                "Compose renders the image `{image}`, which is no image reference; a variable in its line is set nowhere, or to something else than it should be"
            )));
        }
        let default = self.directory.join(".env");
        let changing = service.env_files.iter().chain([&default]);
        let changing: Vec<&Path> = changing.map(PathBuf::as_path).collect();
        Ok(ServiceModel {
            warnings: self.warnings.to_vec(),
            not_followed: described.not_followed(name),
            contents: contents::hash(service, file, described, &changing),
            directory: self.directory.to_owned(),
            compose_service: name.to_owned(),
            role,
            carries_tag,
            tag_variable: variable.clone(),
            restarts_with: file.restarts_with(name),
            published: described
                .ports
                .iter()
                .filter_map(Port::on_the_host)
                .collect(),
            depends_on: described.depends_on(),
            shares_with,
            image: variable.requested(&image, tag.as_str()),
            container_image: image,
            platform: described.platform.clone(),
            facts: file.facts(name, service, described),
            unannounced: is_unannounced(service, described),
            hooks: described.hooks()?,
            monitor: described.monitor()?,
            rollout: described.rollout(service)?,
            not_passed: File::not_passed(described),
            volumes: file.declared_volumes(),
            settings: unset::rendered_settings(file, described),
            has_written_files: file.has_written_files(described),
            secrets: secrets::values(service, file, described, &variable.name),
            project: file.name.clone(),
        })
    }
}

/// Whether a container that goes first gets the names of the service only when it is proven. A proxy that follows Docker's
/// containers would not notice that its address has changed then.
fn is_unannounced(service: &settings::Service, described: &Service) -> bool {
    match service.aliases {
        Some(aliases) => aliases == settings::Aliases::WhenProven,
        None => !described.is_followed_by_a_proxy(),
    }
}

/// Refuses services of several repositories with one variable for their digest: it is that of one image.
fn of_one_digest(services: &[ServiceModel], variable: &TagVariable) -> Result<(), Cause> {
    if !matches!(variable.carries(), Carries::Digest(_)) {
        return Ok(());
    }
    let image = |one: &ServiceModel| one.image.parse::<ImageRef>().ok();
    let mut carriers = services.iter().filter(|one| one.carries_tag);
    let Some(first) = carriers.next() else {
        return Ok(());
    };
    let own = image(first);
    let is_other = |one: &&ServiceModel| {
        let both = own.as_ref().zip(image(one));
        both.is_some_and(|(own, other)| !own.has_repository_of(&other))
    };
    match carriers.find(is_other) {
        None => Ok(()),
        Some(other) => Err(invalid(format!(
            "the images of the services `{}` and `{}` are of two repositories and take their digest from one variable, {}, and a digest is that of one image: write another variable in one of the two image lines, or variables as their tags",
            first.compose_service, other.compose_service, variable.name
        ))),
    }
}
