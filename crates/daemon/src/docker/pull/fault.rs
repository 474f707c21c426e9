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

/// A part of the image is missing in the registry or is not what the manifest says; another attempt gets the same.
/// Before the words for a missing image and those of the disk, because some of these contain them.
const INCOMPLETE: &[&str] = &[
    // Docker's own store.
    "unknown blob",
    "blob unknown",
    "verification failed for digest",
    "layers from manifest don't match image configuration",
    // That of containerd.
    "could not fetch content descriptor",
    "unexpected commit digest",
    "unexpected commit size",
    "failed size validation",
    "wrong diff id calculated on extraction",
    "mismatched image rootfs and manifest layers",
];

/// A layer that ended early: a connection was cut, or, if each attempt ends like this, the registry has no more.
const CUT_SHORT: &[&str] = &["unexpected eof"];

/// How Go begins what it says of a request that got no answer at all, whatever it asked for.
const UNANSWERED: &[&str] = &["get \"http", "head \"http", "post \"http"];

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
        } else if has(INCOMPLETE) {
            (Code::ImageIncomplete, Again::No)
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
        } else if has(CUT_SHORT) && !has(UNANSWERED) {
            (Code::ImageIncomplete, Again::Yes)
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
            Code::ImageIncomplete if attempts > 1 => {
                format!(
                    "a part of {image} ended early in each of {attempts} attempts to pull it from {registry}: {said}"
                )
            }
            Code::ImageIncomplete => {
                format!("{image} is incomplete or damaged in {registry}: {said}")
            }
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
mod tests;
