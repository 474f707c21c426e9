//! Images on this machine.

use std::collections::BTreeMap;
use std::fmt;

use bollard::models::ImageInspect;
use bollard::query_parameters::{RemoveImageOptions, TagImageOptions};
use cutover_core::image::{Digest, ImageRef, InvalidImageRef};

use super::Docker;
use super::effects::ATTEMPTS_MAX;
use super::error::DockerError;

/// One image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id, `sha256:…`.
    pub id: String,
    /// The references that name it, in Docker's familiar form.
    pub tags: Vec<ImageRef>,
    /// The manifests that it was pulled by, `repository@sha256:…`.
    pub digests: Vec<ImageRef>,
    /// What it runs on.
    pub platform: Platform,
    /// What it takes on the disk, all layers, in bytes.
    pub size_bytes: u64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The environment that it gives to its containers, each as `NAME=value`.
    pub env: Vec<String>,
    /// Whether it brings a health check of its own.
    pub has_health_check: bool,
}

impl Image {
    /// The manifest digest by which it was pulled from the repository of `image`; none if there is none, or
    /// more than one, so that nobody can say which the tag meant.
    #[must_use]
    pub fn digest_in(&self, image: &ImageRef) -> Option<&Digest> {
        let mut digests = self
            .digests
            .iter()
            .filter(|digest| digest.name() == image.name())
            .filter_map(ImageRef::digest);
        match (digests.next(), digests.next()) {
            (Some(digest), None) => Some(digest),
            _ => None,
        }
    }

    fn from_docker(answer: ImageInspect) -> Option<Self> {
        let config = answer.config.unwrap_or_default();
        let references = |texts: Option<Vec<String>>| {
            let texts = texts.unwrap_or_default();
            texts.iter().filter_map(|text| text.parse().ok()).collect()
        };
        Some(Self {
            id: answer.id?,
            tags: references(answer.repo_tags),
            digests: references(answer.repo_digests),
            platform: Platform {
                os: answer.os.unwrap_or_default(),
                architecture: answer.architecture.unwrap_or_default(),
                variant: answer.variant.filter(|variant| !variant.is_empty()),
            },
            size_bytes: answer
                .size
                .and_then(|size| u64::try_from(size).ok())
                .unwrap_or(0),
            labels: config.labels.unwrap_or_default().into_iter().collect(),
            env: config.env.unwrap_or_default(),
            has_health_check: config
                .healthcheck
                .and_then(|check| check.test)
                .is_some_and(|test| test.first().is_some_and(|first| first != "NONE")),
        })
    }
}

/// An operating system and a processor, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// For example `linux`.
    pub os: String,
    /// For example `amd64` or `arm64`.
    pub architecture: String,
    /// For example `v7`, where the architecture has several.
    pub variant: Option<String>,
}

impl Platform {
    /// What `text` names in the words of Docker and Compose: `linux/arm64`, `linux/arm/v7`, or `arm64` alone.
    /// `None` for an operating system alone, which leaves the processor open.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let mut parts = text.split('/');
        let (os, architecture) = match (parts.next()?, parts.next()) {
            ("linux" | "windows" | "darwin" | "freebsd", None) => return None,
            (architecture, None) => ("linux", architecture),
            (os, Some(architecture)) => (os, architecture),
        };
        let (architecture, implied) = match architecture {
            "x86_64" | "x86-64" => ("amd64", None),
            "i386" => ("386", None),
            "aarch64" => ("arm64", None),
            "armhf" => ("arm", Some("v7")),
            "armel" => ("arm", Some("v6")),
            other => (other, None),
        };
        Some(Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: parts.next().or(implied).map(str::to_owned),
        })
    }

    /// Whether an image for this platform is what was asked for. Many images name no variant, and nobody need
    /// ask for one.
    #[must_use]
    pub fn is(&self, asked_for: &Self) -> bool {
        let variants = self.variant.as_ref().zip(asked_for.variant.as_ref());
        self.os == asked_for.os
            && self.architecture == asked_for.architecture
            && variants.is_none_or(|(found, asked_for)| found == asked_for)
    }

    /// Whether an image for this platform runs on `host`: the same, or the 32-bit sibling that its processor
    /// understands. Docker itself tells the variants apart.
    #[must_use]
    pub fn runs_on(&self, host: &Self) -> bool {
        let sibling = matches!(
            (self.architecture.as_str(), host.architecture.as_str()),
            ("386", "amd64") | ("arm", "arm64")
        );
        self.os == host.os && (self.architecture == host.architecture || sibling)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// What became of an image that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// The reference is gone; so is the image, unless another reference names it.
    Removed,
    /// A container uses it, so it stays.
    InUse,
    /// There was none.
    Missing,
}

impl Docker {
    /// The image that `reference`, or an image id, names on this machine; none if there is none.
    ///
    /// # Errors
    /// Whatever kept Docker from answering.
    pub async fn image(&self, reference: &str) -> Result<Option<Image>, DockerError> {
        if !is_image_name(reference) {
            return Ok(None);
        }
        let inspect = async {
            self.bollard
                .inspect_image(reference)
                .await
                .map_err(DockerError::from)
        };
        match self
            .bounded("inspecting an image", self.bounds.call, inspect)
            .await
        {
            Ok(answer) => Ok(Image::from_docker(answer)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes `reference`, and the image with it if nothing else names it. Never by force.
    ///
    /// # Errors
    /// Whatever kept Docker from answering; an answer that was lost leaves the image in one state or the other.
    pub async fn remove_image(&self, reference: &str) -> Result<Removal, DockerError> {
        if !is_image_name(reference) {
            return Ok(Removal::Missing);
        }
        let remove = async {
            self.bollard
                .remove_image(reference, None::<RemoveImageOptions>, None)
                .await
                .map_err(DockerError::from)
        };
        match self
            .bounded("removing an image", self.bounds.remove, remove)
            .await
        {
            Ok(_removed) => Ok(Removal::Removed),
            Err(DockerError::NotFound { .. }) => Ok(Removal::Missing),
            Err(DockerError::Conflict { .. }) => Ok(Removal::InUse),
            Err(error) => Err(error),
        }
    }

    /// Whether the image with this id is on this machine, with or without a tag.
    ///
    /// # Errors
    /// Whatever kept Docker from answering.
    pub async fn has_image(&self, id: &str) -> Result<bool, DockerError> {
        let found = self.image(id).await?;
        Ok(found.is_some_and(|image| image.id == id))
    }

    /// Makes sure that `reference` names the image with this `id`, whichever image it named before.
    ///
    /// # Errors
    /// [`DockerError::NotFound`] if there is no such image; [`DockerError::Unsupported`] if `reference` is none
    /// or names a digest, which belongs to its own image for ever.
    pub async fn tag_image(&self, id: &str, reference: &str) -> Result<(), DockerError> {
        let image: ImageRef = reference.parse().map_err(|error: InvalidImageRef| {
            DockerError::unsupported(format!("`{reference}` is not an image reference: {error}"))
        })?;
        let Some(Image { id, .. }) = self.image(id).await? else {
            return Err(no_such_image(id));
        };
        let options = TagImageOptions {
            repo: Some(image.name()),
            tag: image.tag().map(str::to_owned),
        };
        for _attempt in 0..ATTEMPTS_MAX {
            let named = self.image(reference).await?;
            if named.is_some_and(|named| named.id == id) {
                return Ok(());
            }
            // Docker reads `sha256:…` as an id.
            if image.digest().is_some() || image.repository() == "library/sha256" {
                return Err(DockerError::unsupported(format!(
                    "`{reference}` names a digest, which no other image can be given"
                )));
            }
            let tag = async {
                let tagged = self.bollard.tag_image(&id, Some(options.clone())).await;
                tagged.map_err(DockerError::from)
            };
            let tagged = self.bounded("tagging an image", self.bounds.call, tag);
            match tagged.await {
                Err(lost) if lost.is_uncertain() => self.await_answer(&lost).await?,
                other => other?,
            }
        }
        match self.image(reference).await? {
            Some(named) if named.id == id => Ok(()),
            _ => Err(DockerError::unsupported(format!(
                "`{reference}` does not name the image {id}, although docker was told so {ATTEMPTS_MAX} times: somebody else moves this tag"
            ))),
        }
    }

    /// What this machine's Docker runs.
    ///
    /// # Errors
    /// Whatever kept Docker from answering.
    pub async fn host_platform(&self) -> Result<Platform, DockerError> {
        let version = self.version().await?;
        Ok(Platform {
            os: version.os,
            architecture: version.architecture,
            variant: None,
        })
    }
}

fn no_such_image(id: &str) -> DockerError {
    DockerError::from_status(404, &format!("No such image: {id}"))
}

/// Whether `text` can name an image at all; anything else would become another path of the API.
pub(super) fn is_image_name(text: &str) -> bool {
    !text.is_empty()
        && !text.split('/').any(|part| matches!(part, "" | "." | ".."))
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-:/@[]".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(digests: &[&str]) -> Image {
        let answer = serde_json::json!({
            "Id": "sha256:aa", "RepoDigests": digests, "RepoTags": ["shop:1", "<none>:<none>"],
            "Os": "linux", "Architecture": "arm64", "Variant": "v8", "Size": 42,
        });
        Image::from_docker(serde_json::from_value(answer).expect("bollard reads it"))
            .expect("it has an id")
    }

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    #[test]
    fn the_digest_is_that_of_the_same_repository() {
        let here = format!("ghcr.io/acme/shop@{}", digest('a'));
        let elsewhere = format!("ghcr.io/acme/other@{}", digest('b'));
        let shop: ImageRef = "ghcr.io/acme/shop:1".parse().expect("a reference");
        let found = image(&[&elsewhere, &here]);
        assert_eq!(
            found.digest_in(&shop).map(Digest::as_str),
            Some(&*digest('a'))
        );
        assert_eq!(image(&[&elsewhere]).digest_in(&shop), None);
        let again = format!("ghcr.io/acme/shop@{}", digest('c'));
        assert_eq!(image(&[&here, &again]).digest_in(&shop), None);
    }

    #[test]
    fn an_image_is_read_without_what_is_no_reference() {
        let found = image(&[]);
        assert_eq!(found.tags, ["shop:1".parse().expect("a reference")]);
        assert_eq!(found.platform.to_string(), "linux/arm64/v8");
        assert_eq!(found.size_bytes, 42);
    }

    #[test]
    fn a_platform_runs_on_its_own_kind() {
        let platform = |os: &str, architecture: &str| Platform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: None,
        };
        let host = platform("linux", "amd64");
        assert!(platform("linux", "amd64").runs_on(&host));
        assert!(platform("linux", "386").runs_on(&host));
        assert!(!platform("linux", "arm64").runs_on(&host));
        assert!(!platform("windows", "amd64").runs_on(&host));
    }

    #[test]
    fn a_platform_that_is_asked_for_is_compared_as_docker_means_it() {
        let found = |text| Platform::parse(text).expect(text);
        for (asked_for, fine, other) in [
            ("linux/amd64", "linux/amd64", "linux/arm64"),
            ("linux/x86_64", "linux/amd64", "linux/386"),
            ("arm64", "linux/arm64/v8", "linux/arm/v7"),
            ("linux/aarch64", "linux/arm64", "windows/arm64"),
            ("linux/arm/v7", "linux/arm/v7", "linux/arm/v6"),
            ("Linux/ARM64/v8", "linux/arm64", "linux/amd64"),
            ("armhf", "linux/arm/v7", "linux/arm/v6"),
        ] {
            assert!(found(fine).is(&found(asked_for)), "{asked_for}");
            assert!(!found(other).is(&found(asked_for)), "{asked_for}");
        }
        assert_eq!(Platform::parse("linux"), None);
    }

    #[test]
    fn only_references_and_ids_reach_the_path() {
        for fine in ["shop:1", "127.0.0.1:5000/a/b:c@sha256:0a", "[::1]:5000/x:1"] {
            assert!(is_image_name(fine), "{fine}");
        }
        for bad in ["", "a/../b", "a//b", "/a", "a?x", "a b", "a%2e"] {
            assert!(!is_image_name(bad), "{bad}");
        }
    }
}
