//! Which Docker answers, and which version of the API is spoken with it.

use std::fmt;

use serde::Deserialize;

use super::error::DockerError;

/// A version of the Docker Engine API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion {
    /// Before the point.
    pub major: u32,
    /// After the point.
    pub minor: u32,
}

impl ApiVersion {
    /// The oldest that is spoken, that of Engine 23: from here on, `stop` and the output of containers behave
    /// as this client expects.
    pub const OLDEST: Self = Self::new(1, 42);
    /// The newest that this client was tested with, that of Engine 28.5; newer engines speak it as well.
    pub const NEWEST: Self = Self::new(1, 51);

    /// The first in which a container is created with all of its networks, that of Engine 25.
    pub(super) const SEVERAL_NETWORKS: Self = Self::new(1, 44);

    const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// The version that `text` such as `1.51` names.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self::new(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What `GET /version` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerVersion {
    /// The version of the engine, for example `28.5.2`.
    pub engine: String,
    /// The newest API that it speaks.
    pub api: ApiVersion,
    /// The API that is spoken with it.
    pub negotiated: ApiVersion,
    /// The operating system that it runs containers for, for example `linux`.
    pub os: String,
    /// The processor in Docker's words, for example `amd64`.
    pub architecture: String,
}

impl fmt::Display for DockerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (API {})", self.engine, self.api)
    }
}

/// The fields of `GET /version` that count.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VersionAnswer {
    #[serde(default)]
    version: String,
    #[serde(default)]
    api_version: String,
    #[serde(default, rename = "MinAPIVersion")]
    min_api_version: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    arch: String,
}

impl VersionAnswer {
    /// Chooses the version to speak: the newest that both sides know.
    pub(super) fn negotiated(self) -> Result<DockerVersion, DockerError> {
        let Some(api) = ApiVersion::parse(&self.api_version) else {
            return Err(DockerError::unsupported(
                "what listens on docker's socket does not say which API version it speaks: it is not a Docker Engine",
            ));
        };
        if api < ApiVersion::OLDEST {
            return Err(DockerError::unsupported(format!(
                "Docker Engine {} speaks API {api}, too old for cutover: install Docker Engine 23 (API {}) or newer",
                self.version,
                ApiVersion::OLDEST
            )));
        }
        let negotiated = api.min(ApiVersion::NEWEST);
        match ApiVersion::parse(&self.min_api_version) {
            Some(oldest) if oldest > negotiated => Err(DockerError::unsupported(format!(
                "Docker Engine {} no longer speaks API {negotiated}, the newest that this cutover knows: install a newer cutover",
                self.version
            ))),
            _ => Ok(DockerVersion {
                engine: self.version,
                api,
                negotiated,
                os: self.os,
                architecture: self.arch,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(api: &str, oldest: &str) -> Result<DockerVersion, DockerError> {
        let text = format!(
            r#"{{"Version":"x","ApiVersion":"{api}","MinAPIVersion":"{oldest}","Os":"linux","Arch":"amd64"}}"#
        );
        serde_json::from_str::<VersionAnswer>(&text)
            .expect("valid JSON")
            .negotiated()
    }

    #[test]
    fn the_newest_version_that_both_know_is_spoken() {
        for (server, oldest, spoken) in [
            ("1.42", "1.12", "1.42"),
            ("1.51", "1.24", "1.51"),
            ("1.53", "1.44", "1.51"),
            ("2.0", "1.51", "1.51"),
        ] {
            let version = answer(server, oldest).expect(server);
            assert_eq!(version.negotiated.to_string(), spoken, "{server}");
        }
    }

    #[test]
    fn a_docker_that_is_too_old_or_too_new_is_refused_with_what_to_install() {
        for (server, oldest, words) in [
            ("1.41", "1.12", "install Docker Engine 23"),
            ("1.70", "1.60", "install a newer cutover"),
            ("", "", "not a Docker Engine"),
        ] {
            let error = answer(server, oldest).expect_err(server);
            assert!(matches!(error, DockerError::Unsupported { .. }));
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
