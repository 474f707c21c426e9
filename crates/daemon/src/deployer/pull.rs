//! Brings the images of a release onto the machine.

use cutover_core::cause::{Cause, Step};
use cutover_core::deployment::{Deployment, Event, PinnedImage};
use cutover_core::image::Digest;
use cutover_core::releases::release_with_tag;

use super::bring_in::Release;
use super::causes::journal_cause;
use super::context::Run;
use super::words::Live;
use crate::driver::project::ServiceModel;
use crate::registry::{self, PullOrder};

/// The image of each service, on the machine, with no doubt left about which one it is, and accepted by the rules. Where
/// the release is named by its digest, that is known from here on.
pub(super) async fn pull(
    run: &mut Run,
    release: Release,
) -> Result<(Release, Vec<PinnedImage>), Cause> {
    let images = bring_images(run, &release).await?;
    let deployment = run.deployment();
    let Some(digest) = digest_of(deployment) else {
        return Ok((release, images));
    };
    let tag = &deployment.request.tag;
    let read = run
        .driver
        .with_digest(&run.service, tag, release.model, &digest);
    let model = run
        .unless_given_up(release.deadline, Step::Pull, read)
        .await?;
    Ok((Release { model, ..release }, images))
}

/// The digest of the release's image, once it is recorded.
pub(super) fn digest_of(deployment: &Deployment) -> Option<Digest> {
    deployment.image.as_ref()?.digest.as_ref()?.parse().ok()
}

async fn bring_images(run: &mut Run, release: &Release) -> Result<Vec<PinnedImage>, Cause> {
    let mut pinned: Vec<(&ServiceModel, PinnedImage)> = Vec::new();
    // The configured service's image is the deployment's.
    let lead = release.model.lead();
    let others = release
        .model
        .all()
        .filter(|one| one.compose_service != lead.compose_service);
    for model in [lead].into_iter().chain(others) {
        let same = |(other, _): &&(&ServiceModel, PinnedImage)| {
            other.image == model.image && other.platform == model.platform
        };
        let image = match pinned.iter().find(same) {
            Some((_, image)) => image.clone(),
            None if model.carries_tag => {
                let image = bring_image(run, release, model).await?;
                let image = match model.tag_variable.needs_digest() {
                    true => registry::with_digest(run.driver.docker(), image).await?,
                    false => image,
                };
                accept(run, release, &image).await?;
                image
            }
            // A tool of somebody else's, which the Compose file chose and not the request.
            None => match registry::present(run.driver.docker(), model).await? {
                Some(image) => image,
                None => bring_image(run, release, model).await?,
            },
        };
        pinned.push((model, image));
    }
    let of = |model: &ServiceModel| {
        let mut of = pinned
            .iter()
            .filter(|(one, _)| one.compose_service == model.compose_service);
        of.next().map(|(_, image)| image.clone())
    };
    Ok(release.model.all().filter_map(of).collect())
}

/// Records the image, and refuses it where the rules do.
async fn accept(run: &mut Run, release: &Release, image: &PinnedImage) -> Result<(), Cause> {
    run.forward(Step::Pull, Event::ImagePinned(image.clone()))
        .await?;
    let request = &run.deployment().request;
    if request.rollback_to.is_some() {
        // It was accepted when it came, and the way back needs no network.
        return Ok(());
    }
    let (docker, policy) = (run.driver.docker(), &run.service.image);
    let accepted = registry::accept(docker, image, request.tag.as_str(), policy, &run.cosign);
    run.unless_given_up(release.deadline, Step::Pull, accepted)
        .await
}

async fn bring_image(
    run: &mut Run,
    release: &Release,
    model: &ServiceModel,
) -> Result<PinnedImage, Cause> {
    let request = run.deployment().request.clone();
    let is_lead = model.compose_service == release.model.lead().compose_service;
    if let Some(earlier) = &request.rollback_to {
        let earlier = run
            .journal
            .deployment(earlier)
            .await
            .map_err(|error| journal_cause(Step::Pull, &error))?;
        let earlier = earlier.and_then(|earlier| release_with_tag(&earlier, &request.tag));
        let image = earlier.and_then(|earlier| match is_lead {
            true => earlier.image,
            false => earlier.image_for(&model.image).cloned(),
        });
        return registry::from_local(run.driver.docker(), model, image).await;
    }
    let live = run.record.live().clone();
    let order = PullOrder {
        reference: &model.image,
        platform: model.platform.as_deref(),
        // The digest is that of the image that the request is about.
        digest: request.digest.as_deref().filter(|_| is_lead),
        repository: run.service.image_repository.as_deref().filter(|_| is_lead),
        config_directory: &run.docker_config,
        present_image: release
            .current()
            .map(|container| container.image_id.as_str()),
        bytes_max: run.service.image.bytes_max,
    };
    let driver = run.driver.clone();
    let pulled = registry::pull(driver.docker(), order, move |progress| {
        // Before the registry has said how much there is, there is nothing to show.
        if progress.total_bytes > 0 {
            drop(live.send(Live::Progress(progress)));
        }
    });
    run.unless_given_up(release.deadline, Step::Pull, pulled)
        .await
}
