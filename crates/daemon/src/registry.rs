//! Brings the image onto the machine, says exactly which one it is, and whether it may run.

mod accept;
mod cosign;

use cutover_api::event::PullProgress;
use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::PinnedImage;
use cutover_core::image::{Digest, ImageRef, InvalidImageRef};

use crate::docker::Docker;
use crate::docker::credentials;
use crate::docker::pull::PullError;
use crate::driver::docker_cause;
use crate::driver::project::ServiceModel;

pub use accept::accept;
pub use cosign::Cosign;

/// What must be free where Docker keeps its images, beyond the size of the image that is there now: room
/// for the new container, logs and our own journal.
const DISK_MARGIN_BYTES: u64 = 256 << 20;

/// What to pull.
#[derive(Debug, Clone, Copy)]
pub struct PullOrder<'a> {
    /// Repository and tag.
    pub reference: &'a str,
    /// The platform that the service asks for in place of the machine's own, in Compose's words.
    pub platform: Option<&'a str>,
    /// The manifest digest that the tag must resolve to.
    pub digest: Option<&'a str>,
    /// The only repository that is allowed, where one is configured.
    pub repository: Option<&'a str>,
    /// Where Docker's `config.json` is.
    pub config_directory: &'a std::path::Path,
    /// The image that runs now: the best guess for the size of the new one.
    pub present_image: Option<&'a str>,
    /// The most that the image may take, in bytes.
    pub bytes_max: Option<u64>,
}

/// Pulls and pins an image.
///
/// # Errors
/// A [`Cause`] of step `pull`; nothing was changed.
pub async fn pull(
    docker: &Docker,
    order: PullOrder<'_>,
    mut progress: impl FnMut(PullProgress) + Send,
) -> Result<PinnedImage, Cause> {
    let reference = parse(order.reference)?;
    allowed_repository(order.reference, order.repository)?;
    enough_disk(docker, order.present_image).await?;
    let credentials = credentials::for_registry(order.config_directory, reference.registry())
        .await
        .map_err(|error| pull_cause(Code::RegistryDenied, error.to_string()))?;
    // An image that grows beyond what is allowed is not fetched to its end.
    let announced = tokio::sync::watch::Sender::new(0_u64);
    let mut announcements = announced.subscribe();
    let pulled = docker.pull_pinned(
        order.reference,
        order.platform,
        order.digest,
        credentials.as_ref(),
        |so_far| {
            announced.send_replace(so_far.total_bytes);
            progress(so_far);
        },
    );
    let max = order.bytes_max.unwrap_or(u64::MAX);
    tokio::select! {
        pulled = pulled => pulled.map_err(PullError::cause),
        Ok(bytes) = announcements.wait_for(|bytes| *bytes > max) => {
            Err(accept::too_large(order.reference, *bytes, max))
        }
    }
}

/// Whether the image that the Compose file asks for is of the one repository that is allowed, where one is
/// configured.
///
/// # Errors
/// [`Code::PolicyViolation`]; nothing was asked of the registry.
pub fn allowed_repository(reference: &str, allowed: Option<&str>) -> Result<(), Cause> {
    let Some(allowed) = allowed else {
        return Ok(());
    };
    let (wanted, allowed) = (parse(reference)?, parse(allowed)?);
    if allowed.has_repository_of(&wanted) {
        return Ok(());
    }
    Err(pull_cause(
        Code::PolicyViolation,
        format!(
            "the Compose file asks for `{reference}`, and `image_repository` allows only `{allowed}`"
        ),
    ))
}

/// The image of an earlier release, from this machine only.
///
/// # Errors
/// [`Code::ImageNotFound`] when it is gone.
pub async fn from_local(
    docker: &Docker,
    model: &ServiceModel,
    image: Option<PinnedImage>,
) -> Result<PinnedImage, Cause> {
    let gone = |what: String| {
        pull_cause(
            Code::ImageNotFound,
            format!("{what}; a rollback uses images on this machine only"),
        )
    };
    let Some(image) = image else {
        return Err(gone("that deployment never had an image".to_owned()));
    };
    let failed = |error| docker_cause(Step::Pull, &error);
    if docker.image(&image.id).await.map_err(failed)?.is_none() {
        return Err(gone(format!(
            "the image {} of `{}` was removed",
            image.id, image.reference
        )));
    }
    parse(&model.image)?;
    // The tag may have been moved or taken off; Compose finds the image by it.
    docker
        .tag_image(&image.id, &model.image)
        .await
        .map_err(failed)?;
    Ok(PinnedImage {
        reference: model.image.clone(),
        ..image
    })
}

/// The same image with the digest by which Docker finds it on this machine, which Compose is given in place of a tag.
///
/// # Errors
/// [`Code::ImageNotFound`] where no digest of its repository leads to it.
pub async fn with_digest(docker: &Docker, image: PinnedImage) -> Result<PinnedImage, Cause> {
    let reference = parse(&image.reference)?;
    let failed = |error| docker_cause(Step::Pull, &error);
    let known = docker.image(&image.id).await.map_err(failed)?;
    let known = known.map(|known| known.digests).unwrap_or_default();
    let known = known.iter().filter(|one| one.has_repository_of(&reference));
    let known = known.filter_map(ImageRef::digest).map(Digest::as_str);
    for digest in image.digest.as_deref().into_iter().chain(known) {
        let by_digest = format!("{}@{digest}", reference.name());
        let found = docker.image(&by_digest).await.map_err(failed)?;
        if found.is_some_and(|found| found.id == image.id) {
            return Ok(PinnedImage {
                digest: Some(digest.to_owned()),
                ..image
            });
        }
    }
    let detail = format!(
        "the image line has a digest, and this machine knows none of `{}` (image {}), as of one that was loaded from a file; push the image to its registry and deploy it from there, or write a variable as its tag",
        image.reference, image.id
    );
    Err(pull_cause(Code::ImageNotFound, detail))
}

/// The image of a job that is not of the release's tag, if this machine has it: as `docker compose up` it is then not
/// pulled again.
///
/// # Errors
/// Whatever kept Docker from answering.
pub async fn present(docker: &Docker, model: &ServiceModel) -> Result<Option<PinnedImage>, Cause> {
    if model.platform.is_some() {
        // Which platform the image is of that has the name is not known.
        return Ok(None);
    }
    let found = docker.image(&model.image).await;
    let found = found.map_err(|error| docker_cause(Step::Pull, &error))?;
    Ok(found.map(|found| PinnedImage {
        reference: model.image.clone(),
        digest: None,
        id: found.id,
    }))
}

async fn enough_disk(docker: &Docker, present_image: Option<&str>) -> Result<(), Cause> {
    let failed = |error| docker_cause(Step::Pull, &error);
    let Some(free) = docker.disk_free().await.map_err(failed)? else {
        return Ok(());
    };
    let present_bytes = match present_image {
        Some(id) => docker
            .image(id)
            .await
            .map_err(failed)?
            .map_or(0, |image| image.size_bytes),
        None => 0,
    };
    let needed_bytes = present_bytes.saturating_add(DISK_MARGIN_BYTES);
    if free.bytes >= needed_bytes {
        return Ok(());
    }
    let mib = |bytes: u64| bytes >> 20;
    let detail = format!(
        "{} MiB are free in {}, where Docker keeps its images, and {} MiB are needed: the size of the present image and {} MiB",
        mib(free.bytes),
        free.path.display(),
        mib(needed_bytes),
        mib(DISK_MARGIN_BYTES)
    );
    Err(pull_cause(Code::InsufficientStorage, detail))
}

fn parse(text: &str) -> Result<ImageRef, Cause> {
    text.parse().map_err(|error: InvalidImageRef| {
        pull_cause(
            Code::InvalidCompose,
            format!("`{text}` is not an image reference: {error}"),
        )
    })
}

fn pull_cause(code: Code, detail: String) -> Cause {
    Cause::new(code, Step::Pull, detail)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::docker::fake::{FakeDocker, Reply};

    fn digest(letter: &str) -> String {
        format!("sha256:{}", letter.repeat(64))
    }

    /// What is known of the image with the id `1…` by these digests, of which only `b…` leads to it.
    async fn known(recorded: Option<&str>, digests: &[&str]) -> Result<Option<String>, Cause> {
        let names = digests.iter().map(|letter| match *letter {
            "c" => format!("hub.example.com/other@{}", digest("c")),
            letter => format!("hub.example.com/shop@{}", digest(letter)),
        });
        let names: Vec<String> = names.collect();
        let fake = FakeDocker::start(move |asked| {
            let leads = [digest("1"), format!("hub.example.com/shop@{}", digest("b"))];
            let path = asked.line.strip_prefix("GET /images/");
            match path.and_then(|path| path.strip_suffix("/json")) {
                Some(name) if leads.iter().any(|one| name.ends_with(one)) => {
                    Reply::Json(200, json!({ "Id": digest("1"), "RepoDigests": names }))
                }
                _ => Reply::error(404, "No such image"),
            }
        });
        let image = PinnedImage {
            reference: "hub.example.com/shop:v1".to_owned(),
            digest: recorded.map(digest),
            id: digest("1"),
        };
        let found = with_digest(&Docker::new(&fake.socket()), image).await;
        found.map(|image| image.digest)
    }

    #[tokio::test]
    async fn the_digest_is_one_that_leads_to_the_image() {
        let right = Some(digest("b"));
        for (recorded, digests) in [
            (Some("b"), &["b"][..]),
            (Some("b"), &[]),
            (None, &["b"]),
            (Some("a"), &["c", "a", "b"]),
        ] {
            let found = known(recorded, digests).await.expect("a digest");
            assert_eq!(found, right, "{recorded:?} {digests:?}");
        }
        for (recorded, digests) in [(None, &[][..]), (None, &["c"]), (Some("a"), &["a"])] {
            let cause = known(recorded, digests)
                .await
                .expect_err("none leads there");
            assert_eq!(cause.code, Code::ImageNotFound, "{recorded:?} {digests:?}");
        }
    }
}
