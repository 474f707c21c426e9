//! Whether an image that is on the machine may be run: not too large, of the revision that its tag says,
//! signed by whom the service trusts. Nothing was stopped so far.

use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::PinnedImage;

use super::{Cosign, pull_cause};
use crate::docker::Docker;
use crate::docker::image::Image;
use crate::driver::docker_cause;
use crate::settings::{ImagePolicy, RevisionLabel};

/// What the build writes the commit into (OCI image specification, annotations).
const REVISION_LABEL: &str = "org.opencontainers.image.revision";

/// Accepts `image`, which was pulled as `tag`, or says why it may not run.
///
/// # Errors
/// [`Code::ImageTooLarge`], [`Code::RevisionMismatch`], [`Code::SignatureVerificationFailed`], or what kept
/// Docker from answering.
pub async fn accept(
    docker: &Docker,
    image: &PinnedImage,
    tag: &str,
    policy: &ImagePolicy,
    cosign: &Cosign,
) -> Result<(), Cause> {
    let found = docker.image(&image.id).await;
    let Some(found) = found.map_err(|error| docker_cause(Step::Pull, &error))? else {
        let detail = format!("{} was removed after it was pulled", image.reference);
        return Err(pull_cause(Code::ImageNotFound, detail));
    };
    small_enough(image, found.size_bytes, policy.bytes_max)?;
    of_revision(image, &found, tag, policy.revision_label)?;
    match &policy.signature {
        Some(signature) => cosign.verify(image, signature).await,
        None => Ok(()),
    }
}

/// Whether an image of this size is allowed. Asked during the pull as well, of what the layers take on their
/// way: an image never takes less on the disk.
pub(super) fn small_enough(
    image: &PinnedImage,
    bytes: u64,
    bytes_max: Option<u64>,
) -> Result<(), Cause> {
    match bytes_max.filter(|max| bytes > *max) {
        None => Ok(()),
        Some(max) => Err(too_large(&image.reference, bytes, max)),
    }
}

/// The cause when `reference` takes, or would take, more than it may.
pub(super) fn too_large(reference: &str, bytes: u64, max: u64) -> Cause {
    pull_cause(
        Code::ImageTooLarge,
        format!(
            "{reference} takes {} MiB or more, and `image_mib_max` allows {} MiB",
            bytes >> 20,
            max >> 20
        ),
    )
}

fn of_revision(
    image: &PinnedImage,
    found: &Image,
    tag: &str,
    wanted: RevisionLabel,
) -> Result<(), Cause> {
    let label = found.labels.get(REVISION_LABEL).map(String::as_str);
    if wanted == RevisionLabel::NotRequired || label == Some(tag) {
        return Ok(());
    }
    let says = match label {
        Some(revision) => format!(
            "its label `{REVISION_LABEL}` says `{}`",
            revision.escape_debug()
        ),
        None => format!("it has no label `{REVISION_LABEL}`"),
    };
    Err(pull_cause(
        Code::RevisionMismatch,
        format!("{} should be built from {tag}, but {says}", image.reference),
    ))
}
