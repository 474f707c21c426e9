//! Sorts what Docker says about a pull that failed.
//!
//! Docker passes on the registry's words, and its HTTP status only sometimes: what happened after the
//! first byte of progress comes as words alone. The words here were collected from Engine 28.5 with the
//! overlay2 and with the containerd image store.

use std::time::Duration;

use cutover_core::cause::Code;
use cutover_core::image::ImageRef;

use super::PullError;
use crate::docker::credentials::Credentials;
use crate::docker::error::DockerError;

/// Whether another attempt may go better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// The network or the registry had a bad moment.
    Yes,
    /// The answer will be the same.
    No,
}

/// One attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: Code,
    pub(super) text: String,
    pub(super) again: Again,
}

/// The disk of this machine, which is no fault of the registry. Before the words of refusal, because some
/// of these end in "permission denied".
const LOCAL: &[&str] = &[
    "failed to register layer",
    "failed to extract layer",
    "error creating overlay",
    "error processing tar file",
    "read-only file system",
    "input/output error",
    "failed to create prepare snapshot dir",
];

const PLATFORM: &[&str] = &[
    "no matching manifest for",
    "no match for platform",
    "does not match the specified platform",
    "does not match the detected host platform",
    "cannot be used on this platform",
    "cannot be used with operating system",
];

/// The registry asks to be left alone for longer than a few seconds.
const LIMITED: &[&str] = &["toomanyrequests", "too many requests", "rate limit"];

/// Not "failed to authorize", which the containerd image store says of any trouble on the way to a token, also
/// of a network that is away. A real refusal has one of these words as well.
const DENIED: &[&str] = &[
    "unauthorized",
    "denied",
    "forbidden",
    "authentication required",
    "no basic auth credentials",
    "insufficient_scope",
    "authorization failed",
];

const MISSING: &[&str] = &[
    "manifest unknown",
    "name unknown",
    "manifest invalid",
    "repository name not known",
    "repository does not exist",
];

/// Faults of a connection that heal only when somebody changes something.
const LASTING: &[&str] = &[
    "x509:",
    "tls:",
    "server gave http response to https client",
    "no such host",
    "unsupported protocol scheme",
    "received unexpected http status: 4",
];

impl Fault {
    pub(super) fn new(code: Code, text: impl Into<String>, again: Again) -> Self {
        Self {
            code,
            text: text.into(),
            again,
        }
    }

    /// Nothing moved for `idle`.
    pub(super) fn stalled(idle: Duration) -> Self {
        Self::new(
            Code::RegistryUnavailable,
            format!("nothing came for {} s", idle.as_secs_f64()),
            Again::Yes,
        )
    }

    /// Sorts an answer of Docker's.
    fn sorted(status: u16, message: &str) -> Self {
        let words = message.to_lowercase();
        let has = |list: &[&str]| list.iter().any(|word| words.contains(word));
        let (code, again) = if words.contains("no space left on device") {
            (Code::InsufficientStorage, Again::No)
        } else if has(LOCAL) {
            (Code::DockerUnavailable, Again::No)
        } else if has(PLATFORM) {
            (Code::PlatformMismatch, Again::No)
        } else if status == 429 || has(LIMITED) {
            (Code::RegistryUnavailable, Again::No)
        } else if matches!(status, 401 | 403) || has(DENIED) {
            (Code::RegistryDenied, Again::No)
        } else if status == 404 || has(MISSING) || words.ends_with(": not found") {
            (Code::ImageNotFound, Again::No)
        } else if has(LASTING) {
            (Code::RegistryUnavailable, Again::No)
        } else {
            (Code::RegistryUnavailable, Again::Yes)
        };
        Self::new(code, message, again)
    }

    /// The error for the reader.
    pub(super) fn about(
        self,
        image: &ImageRef,
        credentials: Option<&Credentials>,
        attempts: u32,
    ) -> PullError {
        let registry = image.registry();
        let said = self.text;
        let detail = match self.code {
            Code::ImageNotFound => format!("{registry} does not have {image}: {said}"),
            Code::PlatformMismatch => format!("{image} is not built for this platform: {said}"),
            Code::InsufficientStorage => format!("the disk is too full for {image}: {said}"),
            Code::RegistryDenied => match credentials {
                Some(credentials) => format!(
                    "{registry} refuses {image} to {credentials}, or does not have the repository: {said}"
                ),
                None => format!(
                    "{registry} refuses {image} to somebody without credentials, or does not have the repository: {said}"
                ),
            },
            Code::RegistryUnavailable if attempts > 1 => {
                format!("{image} could not be had from {registry} in {attempts} attempts: {said}")
            }
            Code::RegistryUnavailable => {
                format!("{image} could not be had from {registry}: {said}")
            }
            _ => format!("docker could not store {image}: {said}"),
        };
        PullError::new(self.code, detail)
    }
}

impl From<DockerError> for Fault {
    fn from(error: DockerError) -> Self {
        match error {
            DockerError::NotFound { message } => Self::sorted(404, &message),
            DockerError::Conflict { message } => Self::sorted(409, &message),
            DockerError::Refused { status, message } => Self::sorted(status, &message),
            // Docker itself asks the registry, so a Docker that does not answer may wait for it in vain.
            DockerError::TimedOut { bound, .. } => Self::stalled(bound),
            DockerError::Unreachable { .. } => {
                Self::new(Code::DockerUnavailable, error.to_string(), Again::Yes)
            }
            DockerError::Unsupported { .. } => {
                Self::new(Code::DockerUnavailable, error.to_string(), Again::No)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status, words, code, and whether it is tried again.
    const SAID: &[(u16, &str, Code, Again)] = &[
        (
            404,
            "manifest for 127.0.0.1:5000/hello:9 not found: manifest unknown: manifest unknown",
            Code::ImageNotFound,
            Again::No,
        ),
        (404, "name unknown", Code::ImageNotFound, Again::No),
        (
            404,
            "failed to resolve reference \"127.0.0.1:5000/hello:9\": 127.0.0.1:5000/hello:9: not found",
            Code::ImageNotFound,
            Again::No,
        ),
        (
            404,
            "pull access denied for acme/shop, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
            Code::RegistryDenied,
            Again::No,
        ),
        (401, "unauthorized", Code::RegistryDenied, Again::No),
        (403, "denied", Code::RegistryDenied, Again::No),
        (
            500,
            "Head \"https://ghcr.io/v2/acme/shop/manifests/1\": unauthorized",
            Code::RegistryDenied,
            Again::No,
        ),
        (
            500,
            "Head \"http://127.0.0.1:5000/v2/hello/manifests/1\": no basic auth credentials",
            Code::RegistryDenied,
            Again::No,
        ),
        (
            500,
            "failed to resolve reference \"ghcr.io/acme/shop:1\": failed to authorize: failed to fetch anonymous token: Get \"https://ghcr.io/token?scope=repository%3Aacme%2Fshop%3Apull&service=ghcr.io\": dial tcp 140.82.121.33:443: i/o timeout",
            Code::RegistryUnavailable,
            Again::Yes,
        ),
        (
            500,
            "failed to authorize: failed to fetch oauth token: Post \"https://auth.docker.io/token\": dial tcp: lookup auth.docker.io: no such host",
            Code::RegistryUnavailable,
            Again::No,
        ),
        (
            500,
            "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://ghcr.io/token: 401 Unauthorized",
            Code::RegistryDenied,
            Again::No,
        ),
        (
            500,
            "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://ghcr.io/token: 403 Forbidden: denied",
            Code::RegistryDenied,
            Again::No,
        ),
        (
            500,
            "failed to authorize: server message: insufficient_scope: authorization failed",
            Code::RegistryDenied,
            Again::No,
        ),
        (
            500,
            "denied: Permission \"artifactregistry.repositories.downloadArtifacts\" denied on resource",
            Code::RegistryDenied,
            Again::No,
        ),
        (
            429,
            "toomanyrequests: You have reached your pull rate limit.",
            Code::RegistryUnavailable,
            Again::No,
        ),
        (
            500,
            "received unexpected HTTP status: 503 Service Unavailable",
            Code::RegistryUnavailable,
            Again::Yes,
        ),
        (
            500,
            "received unexpected HTTP status: 500 Internal Server Error",
            Code::RegistryUnavailable,
            Again::Yes,
        ),
        (
            500,
            "Get \"http://127.0.0.1:5999/v2/\": dial tcp 127.0.0.1:5999: connect: connection refused",
            Code::RegistryUnavailable,
            Again::Yes,
        ),
        (
            500,
            "Get \"https://registry.invalid/v2/\": dial tcp: lookup registry.invalid on 10.0.0.53:53: no such host",
            Code::RegistryUnavailable,
            Again::No,
        ),
        (
            500,
            "Get \"https://10.0.0.1:5000/v2/\": http: server gave HTTP response to HTTPS client",
            Code::RegistryUnavailable,
            Again::No,
        ),
        (
            500,
            "Get \"https://10.0.0.1:5000/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
            Code::RegistryUnavailable,
            Again::No,
        ),
        (
            500,
            "Head \"http://127.0.0.1:5901/v2/cut/manifests/1\": EOF",
            Code::RegistryUnavailable,
            Again::Yes,
        ),
        (200, "unexpected EOF", Code::RegistryUnavailable, Again::Yes),
        (
            200,
            "filesystem layer verification failed for digest sha256:aa",
            Code::RegistryUnavailable,
            Again::Yes,
        ),
        (
            200,
            "write /var/lib/docker/tmp/GetImageBlob1: no space left on device",
            Code::InsufficientStorage,
            Again::No,
        ),
        (
            200,
            "failed to register layer: mkdir /var/lib/docker/overlay2/x: permission denied",
            Code::DockerUnavailable,
            Again::No,
        ),
        (
            200,
            "no matching manifest for linux/amd64 in the manifest list entries",
            Code::PlatformMismatch,
            Again::No,
        ),
        (
            404,
            "no matching manifest for linux/amd64 in the manifest list entries: no match for platform in manifest: not found",
            Code::PlatformMismatch,
            Again::No,
        ),
    ];

    #[test]
    fn dockers_words_are_sorted() {
        for (status, words, code, again) in SAID {
            let fault = Fault::sorted(*status, words);
            assert_eq!(
                (fault.code, fault.again),
                (*code, *again),
                "{status} {words}"
            );
        }
    }

    #[test]
    fn the_detail_names_the_image_and_quotes_docker() {
        let image: ImageRef = "ghcr.io/acme/shop:0a1b".parse().expect("a reference");
        let error = Fault::sorted(404, "manifest unknown").about(&image, None, 1);
        assert_eq!(
            error.detail,
            "ghcr.io does not have ghcr.io/acme/shop:0a1b: manifest unknown"
        );
        let error = Fault::stalled(Duration::from_secs(60)).about(&image, None, 4);
        assert!(
            error
                .detail
                .contains("in 4 attempts: nothing came for 60 s")
        );
    }

    #[test]
    fn a_docker_that_is_away_is_not_the_registrys_fault() {
        let fault = Fault::from(DockerError::unreachable("no such file"));
        assert_eq!(
            (fault.code, fault.again),
            (Code::DockerUnavailable, Again::Yes)
        );
    }
}
