//! Which variable carries the image's tag: one that is the tag, one that is the digest, or one that is the whole image.

use std::collections::BTreeMap;

use cutover_core::cause::Cause;
use cutover_core::template::{Carries, ImageTemplate, TagVariable, image_template};

use super::file::WrittenFile;
use super::read::{as_written, config};
use super::{invalid, missing_service};
use crate::driver::command::{Compose, Project};
use crate::settings;

/// The variable that carries the image's tag: the configured one, or the one in the image's line.
///
/// Not every project can be read as it is written: Compose then looks for a file `${DIR}/c.yaml`, and wants
/// a number where a variable is. Where the variable is configured, it need not be.
pub(super) async fn tag_variable(
    compose: &Compose,
    service: &settings::Service,
) -> Result<TagVariable, Cause> {
    let template = written_template(compose, service).await;
    let template = match (&service.tag_variable, template) {
        (None, template) => template?,
        (Some(configured), Ok(template)) if template.tag_variable == *configured => template,
        (Some(configured), _) => return Ok(TagVariable::of_tag(configured)),
    };
    match template.carries {
        Carries::Tag => Ok(TagVariable::of_tag(template.tag_variable)),
        Carries::Digest(part) => Ok(TagVariable::of_digest(template.tag_variable, part)),
        Carries::Image => image_variable(compose, service, template.tag_variable).await,
    }
}

/// The image's line before its variables are filled in.
async fn written_template(
    compose: &Compose,
    service: &settings::Service,
) -> Result<ImageTemplate, Cause> {
    let name = &service.compose_service;
    let file = as_written(compose, service).await.map_err(|cause| {
        invalid(format!(
            "{}; if Compose reads the project only with its variables filled in, set `services.{}.tag_variable`",
            cause.detail, service.name
        ))
    })?;
    let Some(described) = file.services.get(name) else {
        return Err(missing_service(service, name, file.services.keys()));
    };
    let image = described.image.clone().unwrap_or_default();
    image_template(&image).map_err(|error| {
        invalid(format!(
            "service `{name}`: {error}; write `{}`, or let `cutover init --fix` write the variable",
            error.suggestion(name)
        ))
    })
}

/// A variable that is the whole image, which it names now: its value is kept but for the tag.
async fn image_variable(
    compose: &Compose,
    service: &settings::Service,
    variable: String,
) -> Result<TagVariable, Cause> {
    let name = &service.compose_service;
    let project = Project::new(service, BTreeMap::new());
    let (image, said) = match config::<WrittenFile>(compose, &project).await {
        Ok(file) => {
            let described = file.services.get(name);
            let image = described.and_then(|described| described.image.clone());
            (image.unwrap_or_default(), String::new())
        }
        Err(cause) => (String::new(), format!(" ({})", cause.detail)),
    };
    TagVariable::of_image(&variable, &image).ok_or_else(|| {
        invalid(format!(
            "the image of service `{name}` comes whole from the variable {variable}, which names none now{said}; set it once in the env file, for example `{variable}=ghcr.io/acme/shop:latest`: cutover replaces the tag"
        ))
    })
}
