//! Whether there is a way back from a release that fails, looked at before anything is touched.
//!
//! The best is the very same container. Where something that it needs for a start is gone, the second best is the
//! previous image in the present definition of the service, which Compose creates without a registry. `plan` and a
//! deployment ask here alike.

use std::collections::BTreeSet;

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::Replica;
use cutover_core::image::{Digest, ImageRef};
use cutover_core::names::Tag;

use crate::driver::project::{ReleaseModel, ServiceModel};
use crate::driver::way_back::missing_for_start;
use crate::driver::{Driver, docker_cause};
use crate::settings::{self, Service};

/// The way back there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WayBack {
    /// Every previous container that ran could be started again, or there is none.
    SameContainer,
    /// One could not; its image would be brought back in the present definition of the service.
    PreviousImage {
        /// What is missing, as sentence fragments.
        missing: String,
    },
    /// There is none.
    None {
        /// What is missing, and why the second best is ruled out, as sentence fragments.
        missing: String,
    },
}

/// Looks whether each of the `old` replicas could be brought back.
///
/// # Errors
/// [`Code::DockerUnavailable`] when Docker does not say.
pub async fn find(
    driver: &Driver,
    service: &Service,
    old: &[Replica],
    model: &ReleaseModel,
) -> Result<WayBack, Cause> {
    let mut missing = Vec::new();
    let mut obstacles = Vec::new();
    let all: BTreeSet<String> = old.iter().map(|old| old.container.clone()).collect();
    for old in old.iter().filter(|old| old.condition.ran()) {
        let of_old = missing_for_start(driver.docker(), &old.container, &all).await;
        let of_old = of_old.map_err(|error| docker_cause(Step::Stage, &error))?;
        if of_old.is_empty() {
            continue;
        }
        let what: Vec<_> = of_old.into_iter().map(|missing| missing.what).collect();
        missing.push(format!(
            "the container {} could not be started again: {}",
            old.name,
            what.join(", and ")
        ));
        if let Err(cause) = previous_release(driver, service, old, Some(model)).await {
            obstacles.push(cause.detail);
        }
    }
    Ok(match (missing.is_empty(), obstacles.is_empty()) {
        (true, _) => WayBack::SameContainer,
        (false, true) => WayBack::PreviousImage {
            missing: missing.join("; "),
        },
        (false, false) => WayBack::None {
            missing: format!("{}; {}", missing.join("; "), obstacles.join("; ")),
        },
    })
}

/// The service of `old` in the previous release, as Compose renders it now, with its image on the machine. `present` is
/// the release as it is rendered for another tag, if that is known.
///
/// # Errors
/// Why it cannot be brought back.
pub async fn previous_release(
    driver: &Driver,
    service: &Service,
    old: &Replica,
    present: Option<&ReleaseModel>,
) -> Result<(Tag, ServiceModel), Cause> {
    let cannot = |why: String| {
        let detail = format!("its image cannot be brought back by Compose: {why}");
        Cause::new(Code::RollbackFailed, Step::RollBack, detail)
    };
    if service.way_back == settings::WayBack::SameContainer {
        return Err(cannot(
            "`way_back = \"same-container\"` allows no other container in its place".to_owned(),
        ));
    }
    if service.compose_files.is_empty() {
        return Err(cannot("the service is not configured any more".to_owned()));
    }
    let Some((tag, digest)) = tag_and_digest(&old.image) else {
        return Err(cannot(format!("`{}` has no tag", old.image)));
    };
    // Nothing can give an image a digest again that does not lead to it any more.
    let known_as = match digest {
        Some(_) => &old.image,
        None => &old.image_id,
    };
    let image = driver.docker().image(known_as).await;
    let image = image.map_err(|error| docker_cause(Step::RollBack, &error))?;
    if image.is_none_or(|image| image.id != old.image_id) {
        return Err(cannot(format!(
            "{} is not on this machine any more",
            old.image
        )));
    }
    let mut read = driver.read(service, &tag).await?;
    if let Some(digest) = &digest {
        read = driver.with_digest(service, &tag, read, digest).await?;
    }
    // Records of 0.1.0 do not name the service.
    let found = match old.service.as_str() {
        "" => Some(read.lead()),
        name => read.service(name),
    };
    let Some(model) = found.cloned() else {
        let name = &old.service;
        return Err(cannot(format!(
            "service `{name}` is not part of the release any more"
        )));
    };
    let is_of_same_project = present.is_none_or(|present| present.lead().project == model.project);
    if model.container_image != old.image || !is_of_same_project {
        return Err(cannot(format!(
            "the Compose file names `{}` now, and the previous container was made from `{}`",
            model.container_image, old.image
        )));
    }
    Ok((tag, model))
}

/// The tag that the project is to be read for, so that it names this image, with the image's digest, if it has one. Then the
/// tag decides nothing, and it is what an image line is described with that has no digest any more.
fn tag_and_digest(image: &str) -> Option<(Tag, Option<Digest>)> {
    let reference = image.parse::<ImageRef>().ok()?;
    let tag = match reference.digest() {
        Some(_) => "TAG",
        None => reference.tag()?,
    };
    Some((Tag::new(tag).ok()?, reference.digest().cloned()))
}
