//! The way back is shown to exist before the first move, and what would stand in it later is put right.

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{Deployment, WayBack};
use cutover_core::image::ImageRef;

use super::context::Run;
use crate::driver::project::ReleaseModel;
use crate::way_back;

/// Shows that every old replica could be brought back: the very same container, or, where that could not be
/// started again, the previous image in the present definition of the service, which is said beforehand.
///
/// # Errors
/// [`Code::NoWayBack`] with what is missing.
pub(super) async fn find_way_back(run: &mut Run, model: &ReleaseModel) -> Result<(), Cause> {
    let old = run.deployment().old.clone();
    let found = way_back::find(&run.driver, &run.service, &old, model).await?;
    let what = match found {
        way_back::WayBack::SameContainer => return Ok(()),
        way_back::WayBack::PreviousImage { missing } => format!(
            "{missing}; should the new release fail, the previous image is brought back in the present definition of the service, through Compose, and not the very same container"
        ),
        way_back::WayBack::None { missing } => match run.deployment().request.way_back {
            WayBack::Waived => {
                format!("an operator decided to go on without a way back: {missing}")
            }
            WayBack::Needed => return Err(Cause::new(Code::NoWayBack, Step::Stage, missing)),
        },
    };
    run.record.warn(what).await;
    Ok(())
}

/// After a rollback, the reference of each previous container means its image again: the failed release may have
/// been pushed under the same tag. Then `docker compose up` by hand would start what has just failed. A digest means one
/// image for ever, but where Docker keeps images in containerd, it finds them by a tag of their repository.
pub(super) async fn give_references_back(run: &mut Run) {
    for old in run.deployment().old.clone() {
        let docker = run.driver.docker();
        let has_digest = old.image.contains('@');
        let reference = match has_digest {
            true => tag_beside(&old.image, run.deployment()),
            false => Some(old.image.clone()),
        };
        let Some(reference) = reference else { continue };
        let given = async {
            let found = docker.image(&old.image).await?;
            let is_lost = match found {
                Some(found) => !has_digest && found.id != old.image_id,
                None => has_digest,
            };
            if is_lost {
                docker.tag_image(&old.image_id, &reference).await?;
            }
            Ok::<_, crate::docker::DockerError>(is_lost)
        };
        let what = match given.await {
            Ok(false) => continue,
            Ok(true) => format!(
                "on this machine {} means the previous image again; in the registry it means the one that failed: push a release that works under a new tag, or the next pull brings the failed one back",
                reference
            ),
            Err(error) => format!(
                "{} still means the image that failed, and `docker compose up` by hand would start it: {error}",
                reference
            ),
        };
        run.record.warn(what).await;
    }
}

/// The reference of the deployment's image, which may have taken the tag from the image that has the digest in `old`.
fn tag_beside(old: &str, deployment: &Deployment) -> Option<String> {
    let old = old.parse::<ImageRef>().ok()?;
    let mut images = deployment.images.iter();
    let taken = images.find(|image| {
        let new = image.reference.parse::<ImageRef>();
        new.is_ok_and(|new| new.has_repository_of(&old))
    })?;
    Some(taken.reference.clone())
}
