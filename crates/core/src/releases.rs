//! The releases of a service that can be gone back to: those that were committed, and those that ran before them without
//! a deployment of their own, as whatever ran before cutover came.

use crate::deployment::{Deployment, PinnedImage, Replica};
use crate::image::ImageRef;
use crate::names::{DeploymentId, Tag};

/// A release of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The deployment that brought it, or that found it running.
    pub deployment: DeploymentId,
    /// Its tag.
    pub tag: Tag,
    /// Its image, if the deployment came so far.
    pub image: Option<PinnedImage>,
    /// The images of all its services.
    pub images: Vec<PinnedImage>,
}

impl Release {
    /// Its image of the same repository as `reference`.
    #[must_use]
    pub fn image_for(&self, reference: &str) -> Option<&PinnedImage> {
        let wanted = reference.parse::<ImageRef>().ok()?;
        let is_same = |image: &&PinnedImage| {
            let found = image.reference.parse::<ImageRef>();
            found.is_ok_and(|found| found.name() == wanted.name())
        };
        self.images.iter().find(is_same)
    }
}

/// The releases that the `committed` deployments tell of, both newest first.
#[must_use]
pub fn releases(committed: &[Deployment]) -> Vec<Release> {
    let is_brought = |id: &str| {
        let mut images = committed.iter().filter_map(|one| one.image.as_ref());
        images.any(|image| image.id == id)
    };
    let mut found = Vec::new();
    for deployment in committed {
        found.push(brought(deployment));
        let before = found_running(deployment);
        found.extend(before.filter(|release| {
            let image = release.image.as_ref();
            image.is_some_and(|image| !is_brought(&image.id))
        }));
    }
    found
}

/// The release with this tag that `deployment` tells of.
#[must_use]
pub fn release_with_tag(deployment: &Deployment, tag: &Tag) -> Option<Release> {
    let all = std::iter::once(brought(deployment)).chain(found_running(deployment));
    all.into_iter().find(|release| release.tag == *tag)
}

fn brought(deployment: &Deployment) -> Release {
    Release {
        deployment: deployment.id.clone(),
        tag: deployment.request.tag.clone(),
        image: deployment.image.clone(),
        images: deployment.images.clone(),
    }
}

/// What ran before it. A release without a tag, or with the tag that the deployment brought, cannot be named. The tag beside
/// a digest is none of the release's: Docker does not look at it.
fn found_running(deployment: &Deployment) -> Option<Release> {
    let Replica {
        image, image_id, ..
    } = deployment.old.first()?;
    let reference = image.parse::<ImageRef>().ok()?;
    let tag = reference.tag().filter(|_| reference.digest().is_none())?;
    let tag = Tag::new(tag).ok()?;
    let pinned = |image: &str, image_id: &str| PinnedImage {
        reference: image.to_owned(),
        digest: None,
        id: image_id.to_owned(),
    };
    (tag != deployment.request.tag).then(|| Release {
        deployment: deployment.id.clone(),
        tag,
        image: Some(pinned(image, image_id)),
        images: deployment
            .old
            .iter()
            .map(|old| pinned(&old.image, &old.image_id))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::{IfUnchanged, Request, UnixMillis, WayBack};
    use crate::names::ServiceName;

    fn image(tag: &str) -> PinnedImage {
        PinnedImage {
            reference: format!("shop:{tag}"),
            digest: None,
            id: format!("id of {tag}"),
        }
    }

    /// A deployment of `tag` that found `before` running.
    fn deployment(number: u8, tag: &str, before: Option<&str>) -> Deployment {
        let request = Request {
            service: ServiceName::new("app").expect("a name"),
            tag: Tag::new(tag).expect("a tag"),
            digest: None,
            actor: "ci".to_owned(),
            delivery_id: None,
            fingerprint: String::new(),
            rollback_to: None,
            way_back: WayBack::Needed,
            if_unchanged: IfUnchanged::LeaveAlone,
        };
        let id = format!("01938f3e-7c1a-7abc-8def-0000000000{number:02}");
        let id = DeploymentId::new(&id).expect("an id");
        let mut deployment = Deployment::requested(id, request, UnixMillis(0));
        deployment.image = Some(image(tag));
        deployment.old.extend(before.map(|before| Replica {
            image: image(before).reference,
            image_id: image(before).id,
            ..Replica::default()
        }));
        deployment
    }

    fn tags(committed: &[Deployment]) -> Vec<String> {
        let releases = releases(committed).into_iter();
        releases.map(|release| release.tag.to_string()).collect()
    }

    #[test]
    fn what_ran_before_the_first_deployment_is_a_release() {
        let first = deployment(1, "v1", Some("v0"));
        assert_eq!(tags(std::slice::from_ref(&first)), ["v1", "v0"]);
        let before = release_with_tag(&first, &Tag::new("v0").expect("a tag"));
        assert_eq!(before.and_then(|before| before.image), Some(image("v0")));
        let own = release_with_tag(&first, &Tag::new("v1").expect("a tag"));
        assert_eq!(own.and_then(|own| own.image), first.image);

        let second = deployment(2, "v2", Some("v1"));
        assert_eq!(tags(&[second, first]), ["v2", "v1", "v0"]);
    }

    #[test]
    fn what_somebody_ran_by_hand_in_between_is_one_too() {
        let first = deployment(1, "v1", None);
        let second = deployment(2, "v2", Some("by-hand"));
        assert_eq!(tags(&[second, first]), ["v2", "by-hand", "v1"]);
    }

    #[test]
    fn what_has_no_tag_of_its_own_cannot_be_named() {
        assert_eq!(tags(&[deployment(1, "v1", Some("v1"))]), ["v1"]);
        let mut first = deployment(1, "v1", Some("v0"));
        for image in [
            "shop".to_owned(),
            format!("shop:1.2@sha256:{}", "ab".repeat(32)),
        ] {
            first.old[0].image = image;
            assert_eq!(tags(std::slice::from_ref(&first)), ["v1"]);
        }
    }
}
