//! The variable that a deployment sets, and its value for each release.

use super::{ALGORITHM, Carries, DigestPart, without_tag};
use crate::image::Digest;

/// What stands for a digest that is not known yet: the project is read before the image is pulled. No image has it.
const UNKNOWN_DIGEST: &str =
    "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// The variable that a deployment sets, and its value for each release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagVariable {
    /// Its name, for example `APP_IMAGE_TAG`.
    pub name: String,
    form: Form,
}

/// What the value consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Tag,
    /// The whole image, of which this is the repository.
    Image {
        repository: String,
    },
    /// A digest, or a part of it, once it is known.
    Digest {
        part: DigestPart,
        digest: Option<Digest>,
    },
}

impl TagVariable {
    /// One that is the tag.
    #[must_use]
    pub fn of_tag(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            form: Form::Tag,
        }
    }

    /// One that is the whole image, which is `image` now; none where that names no repository.
    #[must_use]
    pub fn of_image(name: impl Into<String>, image: &str) -> Option<Self> {
        let repository = without_tag(image)?.to_owned();
        Some(Self {
            name: name.into(),
            form: Form::Image { repository },
        })
    }

    /// One that is this part of a digest, which is not known yet.
    #[must_use]
    pub fn of_digest(name: impl Into<String>, part: DigestPart) -> Self {
        Self {
            name: name.into(),
            form: Form::Digest { part, digest: None },
        }
    }

    /// The same for a release whose image has this digest: it is in the value where that is no tag.
    #[must_use]
    pub fn with_digest(&self, digest: &Digest) -> Self {
        let form = match &self.form {
            Form::Digest { part, .. } => Form::Digest {
                part: *part,
                digest: Some(digest.clone()),
            },
            other => other.clone(),
        };
        Self {
            name: self.name.clone(),
            form,
        }
    }

    /// What it stands for.
    #[must_use]
    pub fn carries(&self) -> Carries {
        match &self.form {
            Form::Tag => Carries::Tag,
            Form::Image { .. } => Carries::Image,
            Form::Digest { part, .. } => Carries::Digest(*part),
        }
    }

    /// What of the image it keeps, in a word.
    #[must_use]
    pub fn keeps(&self) -> &'static str {
        match self.form {
            Form::Tag | Form::Image { .. } => "tag",
            Form::Digest { .. } => "digest",
        }
    }

    /// Whether its value is not known before the image is pulled.
    #[must_use]
    pub fn needs_digest(&self) -> bool {
        matches!(self.form, Form::Digest { digest: None, .. })
    }

    /// Its value for the release with this tag. Where it is a digest that is not known, the value is one that no image
    /// has.
    #[must_use]
    pub fn value(&self, tag: &str) -> String {
        match &self.form {
            Form::Tag => tag.to_owned(),
            Form::Image { repository } => format!("{repository}:{tag}"),
            Form::Digest { part, .. } => {
                let digest = self.digest();
                let hex = digest.strip_prefix(ALGORITHM).unwrap_or(digest);
                match part {
                    DigestPart::Whole => digest.to_owned(),
                    DigestPart::Hex => hex.to_owned(),
                }
            }
        }
    }

    /// What every image ends in that the variable names, for the release with this tag.
    #[must_use]
    pub fn end_of_image(&self, tag: &str) -> String {
        match self.form {
            Form::Tag | Form::Image { .. } => format!(":{tag}"),
            Form::Digest { .. } => format!("@{}", self.digest()),
        }
    }

    /// What the registry is asked for, given `image` with the variable filled in. A digest is what the answer tells, so the
    /// question is for the tag of the release, whatever tag is written beside the digest.
    #[must_use]
    pub fn requested(&self, image: &str, tag: &str) -> String {
        let is_named = image.ends_with(&self.end_of_image(tag));
        match (&self.form, without_tag(image)) {
            (Form::Digest { .. }, Some(repository)) if is_named => format!("{repository}:{tag}"),
            _ => image.to_owned(),
        }
    }

    fn digest(&self) -> &str {
        match &self.form {
            Form::Digest {
                digest: Some(digest),
                ..
            } => digest.as_str(),
            _ => UNKNOWN_DIGEST,
        }
    }
}
