//! Image references, in the grammar of `github.com/distribution/reference` that Docker uses.
//!
//! A reference is parsed once and normalized as Docker does it: `redis` is `docker.io/library/redis`. Two
//! references are equal when Docker would take them for the same image, however they were written. What
//! is deliberately absent: `latest` is never added, because a deployment always names its tag; and a bare
//! image id is not a reference.

use std::fmt;
use std::str::FromStr;

use crate::names::Tag;

/// Docker Hub, which Docker means where no registry is named.
const DEFAULT_REGISTRY: &str = "docker.io";

/// The name Docker Hub had before; still accepted by Docker.
const LEGACY_REGISTRY: &str = "index.docker.io";

/// The namespace of Docker Hub's official images, left out in the familiar form.
const OFFICIAL_NAMESPACE: &str = "library/";

/// The longest repository path, from the distribution library.
const REPOSITORY_LEN_MAX: usize = 255;

const ALGORITHM: &str = "sha256:";

/// The immutable identity of an image or a manifest: `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

impl Digest {
    /// The digest as text, with `sha256:`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve hexadecimal digits, as Docker prints an image id.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[ALGORITHM.len()..ALGORITHM.len() + 12]
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fine = text.strip_prefix(ALGORITHM).is_some_and(is_image_id);
        if fine {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidDigest(shown(text)))
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not a digest; no other algorithm than SHA-256 is in use by registries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a digest: write `sha256:` and 64 lower-case hexadecimal digits")]
pub struct InvalidDigest(String);

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidImageRef {
    /// There is no text.
    #[error("the image reference is empty: write `repository:tag`")]
    Empty,
    /// A bare image id, which Docker never reads as a repository.
    #[error("`{0}` is an image id, not an image reference: write `repository:tag`")]
    ImageId(String),
    /// The part before the first `/` looks like a registry and is not one.
    #[error("`{0}` is not a registry: write a host name or an address, with `:port` if it has one")]
    Registry(String),
    /// The repository has upper-case letters, the most frequent mistake.
    #[error("the repository `{0}` has upper-case letters: write it in lower case")]
    UpperCase(String),
    /// The repository has another form than the grammar allows.
    #[error(
        "`{0}` is not a repository: write lower-case letters, digits and single `.`, `_` or `-` between them, in parts joined by `/`"
    )]
    Repository(String),
    /// The repository is longer than a registry accepts.
    #[error("the repository has {0} characters: at most 255 are allowed")]
    TooLong(usize),
    /// What follows the `:` is not a tag.
    #[error("`{0}` is not a tag: write 1 to 128 of `A-Za-z0-9_.-`, not beginning with `.` or `-`")]
    Tag(String),
    /// What follows the `@` is not a digest.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
}

/// An image reference: registry and repository, with a tag, a digest, both or neither.
///
/// Prints in the familiar form, as Docker does in its lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl ImageRef {
    /// Whether both are of one repository of one registry, whatever their tags and digests.
    #[must_use]
    pub fn has_repository_of(&self, other: &Self) -> bool {
        (self.registry(), self.repository()) == (other.registry(), other.repository())
    }

    /// Where the image is pulled from: host and port, `docker.io` for Docker Hub.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path within the registry, for example `acme/shop` or `library/redis`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if one is named.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one is named.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and repository in full, for example `docker.io/library/redis`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Registry and repository as Docker shows them, for example `redis`.
    ///
    /// Unlike Docker's, it never says something else than it means: `docker.io/localhost/shop` is not
    /// shortened, because `localhost/shop` is another repository.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return self.name();
        }
        let short = match self.repository.strip_prefix(OFFICIAL_NAMESPACE) {
            Some(official) if !official.contains('/') => official,
            _ => &self.repository,
        };
        if split_registry(short).0 == DEFAULT_REGISTRY && !is_image_id(short) {
            short.to_owned()
        } else {
            self.name()
        }
    }

    /// The whole reference with nothing left out, for example `docker.io/library/redis:7`.
    #[must_use]
    pub fn canonical(&self) -> String {
        self.completed(self.name())
    }

    /// The whole reference as Docker shows it, for example `redis:7`.
    #[must_use]
    pub fn familiar(&self) -> String {
        self.completed(self.familiar_name())
    }

    /// The same repository with another tag.
    ///
    /// A digest is left out: it belongs to the former tag, and Docker would follow it and not the tag.
    #[must_use]
    pub fn with_tag(&self, tag: &Tag) -> Self {
        Self {
            tag: Some(tag.as_str().to_owned()),
            digest: None,
            ..self.clone()
        }
    }

    /// The same repository and tag, pinned to `digest`.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// The repository alone, without tag and digest.
    #[must_use]
    pub fn without_tag(&self) -> Self {
        Self {
            tag: None,
            digest: None,
            ..self.clone()
        }
    }

    fn completed(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(digest.as_str());
        }
        name
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.familiar())
    }
}

impl FromStr for ImageRef {
    type Err = InvalidImageRef;

    /// Parses and normalizes, as Docker's `ParseNormalizedNamed` does.
    ///
    /// Stricter in two points: only SHA-256 digests, and `host_name.com/shop`, whose first part can be no
    /// host name, is refused instead of becoming a name without a registry.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(InvalidImageRef::Empty);
        }
        if is_image_id(text) {
            return Err(InvalidImageRef::ImageId(shown(text)));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        let (registry, rest) = split_registry(rest);
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        if !is_registry(registry) {
            return Err(InvalidImageRef::Registry(shown(registry)));
        }
        let official = registry == DEFAULT_REGISTRY && !path.contains('/');
        let repository = if official {
            format!("{OFFICIAL_NAMESPACE}{path}")
        } else {
            path.to_owned()
        };
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(InvalidImageRef::UpperCase(shown(path)));
        }
        if !path.split('/').all(is_path_component) {
            return Err(InvalidImageRef::Repository(shown(path)));
        }
        if repository.len() > REPOSITORY_LEN_MAX {
            return Err(InvalidImageRef::TooLong(repository.len()));
        }
        if let Some(tag) = tag {
            Tag::new(tag).map_err(|_| InvalidImageRef::Tag(shown(tag)))?;
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

/// Splits off the registry; Docker tells it from a namespace by a `.`, a `:`, an upper-case letter or the
/// name `localhost`.
fn split_registry(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((LEGACY_REGISTRY, rest)) => (DEFAULT_REGISTRY, rest),
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_REGISTRY, text),
    }
}

/// Whether this is what Docker takes for the id of an image: 64 lower-case hexadecimal digits.
fn is_image_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_registry(text: &str) -> bool {
    // The last `:` begins the port, unless it stands inside the brackets of an IPv6 address.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port_fits =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    port_fits && (is_ipv6_address(host) || host.split('.').all(is_host_component))
}

fn is_ipv6_address(host: &str) -> bool {
    host.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|address| {
            !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
        })
}

fn is_host_component(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Lower-case letters and digits, with one `.`, one or two `_`, or any number of `-` between them.
fn is_path_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends_fit = bytes.first().is_some_and(|&b| alphanumeric(b))
        && bytes.last().is_some_and(|&b| alphanumeric(b));
    ends_fit
        && bytes
            .split(|&b| alphanumeric(b))
            .all(|separator| match separator {
                b"" | b"." | b"_" | b"__" => true,
                dashes => dashes.iter().all(|&b| b == b'-'),
            })
}

/// A text from outside as it may stand in a message: bounded and without control characters.
fn shown(text: &str) -> String {
    const SHOWN_LEN_MAX: usize = 80;
    let mut shown: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(SHOWN_LEN_MAX)
        .collect();
    if text.chars().count() > SHOWN_LEN_MAX {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
