//! Which images to remove after a deployment, so that the disk does not fill.
//!
//! Kept are the current release, the previous one whatever the configuration says (it is the way back),
//! older releases up to `keep_releases`, and everything that a container uses. A release counts once
//! however often it was deployed. The same image under two references is never torn apart: as long as one
//! of them is kept, so is the other.

use std::collections::HashSet;
use std::fmt;

use crate::image::{Digest, ImageRef};

/// The current and the previous release are always kept.
pub const KEEP_RELEASES_MINIMUM: usize = 2;

/// An image of one of our releases: how it was named, and what the name stood for then.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoredImage {
    /// The reference that was pulled.
    pub reference: ImageRef,
    /// The image id that Docker gave for it.
    pub id: Digest,
}

/// What is known when old images are to be removed.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    /// The images of the committed releases of a service, newest first; the same may occur repeatedly.
    pub releases: &'a [StoredImage],
    /// The images of deployments of this service that were not committed.
    pub failed: &'a [StoredImage],
    /// The image ids of all containers on the machine, whether they run or not, ours or not.
    pub in_use: &'a [Digest],
}

/// An image to remove.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Removal {
    /// Remove this reference, if it still stands for this id; Docker deletes the image with its last one.
    Reference(StoredImage),
    /// Remove the image by its id: its reference has since been given to an image that is kept.
    Id(Digest),
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reference(image) => write!(f, "{}", image.reference),
            Self::Id(id) => write!(f, "{id}"),
        }
    }
}

/// Decides which images to remove: the failed ones, then old releases from newer to older, each once.
#[must_use]
pub fn images_to_remove(images: Images<'_>, keep_releases: usize) -> Vec<Removal> {
    let kept = kept_releases(images.releases, keep_releases);
    let kept_references: HashSet<&ImageRef> = kept.iter().map(|image| &image.reference).collect();
    let kept_ids: HashSet<&Digest> = kept
        .iter()
        .map(|image| &image.id)
        .chain(images.in_use)
        .collect();

    let mut seen = HashSet::new();
    images
        .failed
        .iter()
        .chain(images.releases)
        .filter(|image| !kept_ids.contains(&image.id))
        .map(|image| {
            if kept_references.contains(&image.reference) {
                Removal::Id(image.id.clone())
            } else {
                Removal::Reference(image.clone())
            }
        })
        .filter(|removal| seen.insert(removal.clone()))
        .collect()
}

/// The newest releases that are kept, counted by image.
fn kept_releases(releases: &[StoredImage], keep_releases: usize) -> Vec<&StoredImage> {
    let keep = keep_releases.max(KEEP_RELEASES_MINIMUM);
    let mut ids = HashSet::new();
    releases
        .iter()
        .take_while(|image| {
            ids.insert(&image.id);
            ids.len() <= keep
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_removal_is_told_by_what_is_removed() {
        let image = image("v1=a");
        assert_eq!(Removal::Id(image.id.clone()).to_string(), image.id.as_str());
        assert_eq!(
            Removal::Reference(image).to_string(),
            "ghcr.io/acme/shop:v1"
        );
    }

    /// `v1=a` is the reference `shop:v1` that stood for the image `aaa…`.
    fn image(text: &str) -> StoredImage {
        let (tag, digit) = text.split_once('=').expect("reference=id");
        StoredImage {
            reference: format!("ghcr.io/acme/shop:{tag}")
                .parse()
                .expect("a reference"),
            id: id(digit),
        }
    }

    fn id(digit: &str) -> Digest {
        format!("sha256:{}", digit.repeat(64))
            .parse()
            .expect("a digest")
    }

    fn images(text: &str) -> Vec<StoredImage> {
        text.split_whitespace().map(image).collect()
    }

    fn shown(removal: &Removal) -> String {
        match removal {
            Removal::Reference(image) => image.reference.tag().expect("a tag").to_owned(),
            Removal::Id(id) => id.short()[..1].to_owned(),
        }
    }

    #[track_caller]
    fn check(releases: &str, failed: &str, in_use: &str, keep: usize, removed: &str) {
        let (releases, failed) = (images(releases), images(failed));
        let in_use: Vec<Digest> = in_use.split_whitespace().map(id).collect();
        let known = Images {
            releases: &releases,
            failed: &failed,
            in_use: &in_use,
        };
        let answer: Vec<String> = images_to_remove(known, keep).iter().map(shown).collect();
        assert_eq!(answer.join(" "), removed);
    }

    #[test]
    fn releases_beyond_the_kept_ones_are_removed() {
        check("v4=4 v3=3 v2=2 v1=1", "", "4", 3, "v1");
        check("v4=4 v3=3 v2=2 v1=1", "", "4", 9, "");
        check("", "", "", 3, "");
    }

    #[test]
    fn current_and_previous_are_kept_whatever_is_configured() {
        check("v3=3 v2=2 v1=1", "", "3", 0, "v1");
        check("v3=3 v2=2 v1=1", "", "", 1, "v1");
        check("v1=1", "", "", 0, "");
    }

    #[test]
    fn a_release_counts_once_however_often_it_was_deployed() {
        check("v1=1 v2=2 v1=1 v2=2 v0=0", "", "1", 3, "");
        check("v1=1 v2=2 v1=1 v2=2 v0=0", "", "1", 2, "v0");
        check("v1=1 v1=1 v0=0", "", "1", 2, "");
    }

    #[test]
    fn failed_images_are_removed_at_once() {
        check("v3=3 v2=2", "v4=4 v5=5 v4=4", "3", 5, "v4 v5");
        check("", "v1=1", "", 5, "v1");
    }

    #[test]
    fn an_image_in_use_is_kept() {
        check("v4=4 v3=3 v2=2 v1=1", "v5=5", "4 1 5", 2, "v2");
    }

    #[test]
    fn an_image_shared_with_a_kept_release_is_kept() {
        check("v4=4 v3=3 v2=4 v1=1", "v9=3", "", 2, "v1");
    }

    #[test]
    fn a_reference_that_now_names_a_kept_image_is_not_removed() {
        check("v2=4 v3=3 v2=2 v1=1", "v3=5", "", 2, "5 2 v1");
    }

    #[test]
    fn two_references_of_one_old_image_are_both_removed() {
        check("v4=4 v3=3 v2=1 v1=1", "", "", 2, "v2 v1");
    }

    fn some_images() -> impl Strategy<Value = Vec<StoredImage>> {
        let one = (0_u8..6, 0_u8..8).prop_map(|(tag, id)| image(&format!("v{tag}={id}")));
        prop::collection::vec(one, 0..8)
    }

    fn ids_of(images: &[StoredImage]) -> Vec<Digest> {
        images.iter().map(|image| image.id.clone()).collect()
    }

    proptest! {
        #[test]
        fn what_is_needed_is_never_removed_and_the_rest_always(
            releases in some_images(),
            failed in some_images(),
            used in some_images(),
            keep in 0_usize..5,
        ) {
            let in_use = ids_of(&used);
            let known = Images { releases: &releases, failed: &failed, in_use: &in_use };
            let removals = images_to_remove(known, keep);

            // Counted here in another way: the distinct ids in order.
            let mut order = Vec::new();
            for id in ids_of(&releases) {
                if !order.contains(&id) {
                    order.push(id);
                }
            }
            let kept = &order[..order.len().min(keep.max(2))];
            let needed = |id: &Digest| kept.contains(id) || in_use.contains(id);

            let mut gone = Vec::new();
            for (at, removal) in removals.iter().enumerate() {
                prop_assert!(!removals[..at].contains(removal), "twice: {removal:?}");
                let id = match removal {
                    Removal::Reference(image) => {
                        // The reference is not what a kept release goes by.
                        let current = releases.first().is_some_and(|first| first.reference == image.reference);
                        prop_assert!(!current, "current: {image:?}");
                        &image.id
                    }
                    Removal::Id(id) => id,
                };
                prop_assert!(!needed(id), "needed: {id}");
                gone.push(id.clone());
            }
            for id in order.iter().chain(&ids_of(&failed)) {
                prop_assert!(needed(id) || gone.contains(id), "left behind: {id}");
            }
            for previous in releases.iter().take(2) {
                prop_assert!(!gone.contains(&previous.id));
            }
        }

        #[test]
        fn keeping_more_never_removes_more(releases in some_images(), failed in some_images(), keep in 0_usize..6) {
            let known = Images { releases: &releases, failed: &failed, in_use: &[] };
            let ids = |keep| -> HashSet<Digest> {
                images_to_remove(known, keep).into_iter().map(|removal| match removal {
                    Removal::Reference(image) => image.id,
                    Removal::Id(id) => id,
                }).collect()
            };
            prop_assert!(ids(keep + 1).is_subset(&ids(keep)));
        }
    }
}
