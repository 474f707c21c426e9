//! Removes images that no release needs any more, after the answer has been given.
//!
//! Only images that a deployment of this service brought are looked at; which of them go is decided by
//! `core::retention`. Docker refuses to remove what a container uses, whoever's it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use cutover_core::deployment::{Deployment, PinnedImage, Status};
use cutover_core::image::{Digest, ImageRef};
use cutover_core::names::ServiceName;
use cutover_core::retention::{Images, Removal, StoredImage, images_to_remove};

use super::context::Run;
use crate::docker::{Docker, DockerError};
use crate::journal::JournalError;
use crate::settings;

/// How far back images are looked for; older ones went when their time came.
const DEPLOYMENTS_MAX: u32 = 100;

/// The configured services, by name.
type Services = BTreeMap<ServiceName, Arc<settings::Service>>;

/// Prunes; what fails is logged and tried again after the next deployment.
///
/// `services` are all that are configured: several may use the same repository, and none loses its way back
/// to another's deployment.
pub(super) async fn prune_images(run: &Run, services: &Services) {
    let service = &run.record.deployment().request.service;
    let removals = match removals(run, services).await {
        Ok(removals) => removals,
        Err(error) => {
            tracing::warn!(service.name = %service, %error, "old images were not looked for");
            return;
        }
    };
    for removal in removals {
        match remove(run.driver.docker(), &removal).await {
            Ok(()) => tracing::debug!(service.name = %service, %removal, "an old image is gone"),
            Err(error) => {
                tracing::warn!(service.name = %service, %removal, %error, "an old image was not removed");
            }
        }
    }
}

async fn removals(run: &Run, services: &Services) -> Result<Vec<Removal>, JournalError> {
    let service = &run.record.deployment().request.service;
    let releases = run.journal.committed(service, DEPLOYMENTS_MAX).await?;
    let all = run
        .journal
        .page(Some(service), None, DEPLOYMENTS_MAX)
        .await?;
    let failed: Vec<_> = all
        .iter()
        .filter(|deployment| {
            matches!(
                deployment.status(),
                Status::Failed | Status::RolledBack | Status::Cancelled
            )
        })
        .flat_map(stored)
        .collect();
    let mut in_use: Vec<_> = all
        .iter()
        .find(|deployment| !deployment.old.is_empty())
        .into_iter()
        .flat_map(|deployment| &deployment.old)
        .filter_map(|old| old.image_id.parse::<Digest>().ok())
        .collect();
    for (name, other) in services.iter().filter(|(name, _)| *name != service) {
        let kept = run.journal.committed(name, other.keep_releases).await?;
        in_use.extend(kept.iter().flat_map(stored).map(|image| image.id));
    }
    let unfinished = run.journal.unfinished().await?;
    in_use.extend(unfinished.iter().flat_map(stored).map(|image| image.id));
    let releases: Vec<Vec<_>> = releases.iter().map(stored).collect();
    // A release has as many images as its services have repositories.
    let of_one = releases.iter().map(Vec::len).max().unwrap_or(1);
    let keep = usize::try_from(run.service.keep_releases).unwrap_or(usize::MAX);
    let keep = keep.saturating_mul(of_one.max(1));
    let releases = releases.concat();
    Ok(images_to_remove(
        Images {
            releases: &releases,
            failed: &failed,
            in_use: &in_use,
        },
        keep,
    ))
}

fn stored(deployment: &Deployment) -> Vec<StoredImage> {
    let stored = |PinnedImage { reference, id, .. }: &PinnedImage| {
        Some(StoredImage {
            reference: reference.parse::<ImageRef>().ok()?,
            id: id.parse::<Digest>().ok()?,
        })
    };
    deployment.images.iter().filter_map(stored).collect()
}

async fn remove(docker: &Docker, removal: &Removal) -> Result<(), DockerError> {
    match removal {
        Removal::Id(id) => docker.remove_image(id.as_str()).await.map(drop),
        Removal::Reference(image) => {
            let reference = image.reference.familiar();
            match docker.image(&reference).await? {
                Some(found) if found.id == image.id.as_str() => {
                    docker.remove_image(&reference).await.map(drop)
                }
                // It stands for something else by now, or is gone.
                _ => Ok(()),
            }
        }
    }
}
