//! Fetching an image, through Docker, and saying exactly which one it is.
//!
//! A pull ends by itself when nothing moves any more (no byte, no layer) for a while; how long it may take
//! as a whole is the caller's business, who drops the call: Docker then stops as well and keeps what it
//! has. Faults of the network are tried again a few times, answers of the registry are not.

use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptions;
use cutover_api::event::PullProgress;
use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::PinnedImage;
use cutover_core::image::{Digest, ImageRef, InvalidImageRef};
use futures_util::StreamExt;
use tokio::time::Instant;

use self::fault::{Again, Fault};
use self::layers::{Layers, Moved};
use super::Docker;
use super::credentials::{Credentials, CredentialsError, Login};
use super::error::DockerError;
use super::image::Platform;

mod fault;
mod layers;

/// How often a registry that cannot be reached is tried, in all.
pub const PULL_ATTEMPTS_MAX: u32 = 4;

/// Before the second attempt; twice as long before each further one, so that all attempts together outlive
/// a registry's restart behind its load balancer but nobody waits long for a registry that is down.
pub const PULL_RETRY_MIN: Duration = Duration::from_millis(500);

/// Progress is told at most this often; Docker tells it ten times a second for each layer.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Why an image could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct PullError {
    /// The stable word.
    pub code: Code,
    /// What happened, with Docker's or the registry's own words.
    pub detail: String,
}

impl PullError {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
        }
    }

    /// The cause of a deployment that failed by this.
    #[must_use]
    pub fn cause(self) -> Cause {
        Cause::new(self.code, Step::Pull, self.detail)
    }
}

impl From<DockerError> for PullError {
    fn from(error: DockerError) -> Self {
        Self::new(Code::DockerUnavailable, error.to_string())
    }
}

impl From<CredentialsError> for PullError {
    fn from(error: CredentialsError) -> Self {
        Self::new(Code::RegistryDenied, error.to_string())
    }
}

/// What the registry says about a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The digest that the reference resolves to now, `sha256:…`.
    pub digest: String,
    /// What the image is built for; empty if the registry does not say.
    pub platforms: Vec<Platform>,
}

impl Docker {
    /// Fetches `reference` and says which image it is: the one call a deployment needs.
    ///
    /// `platform` is the one that the service asks for, in Docker's words; without one it is this machine's.
    /// With `required`, the registry is asked before anything is fetched whether the tag still means that
    /// digest.
    ///
    /// # Errors
    /// With the code of what is in the way; nothing but unused images may have been added to the machine.
    pub async fn pull_pinned(
        &self,
        reference: &str,
        platform: Option<&str>,
        required: Option<&str>,
        credentials: Option<&Credentials>,
        progress: impl FnMut(PullProgress) + Send,
    ) -> Result<PinnedImage, PullError> {
        if let Some(required) = required {
            let manifest = self.manifest(reference, credentials).await?;
            require(reference, required, &manifest.digest)?;
        }
        let digest = self
            .pull(reference, platform, credentials, progress)
            .await?;
        if let (Some(required), Some(digest)) = (required, &digest) {
            require(reference, required, digest)?;
        }
        let pinned = self.pin(reference, platform).await?;
        // What the registry said just now is more exact than what Docker remembers of this repository.
        Ok(PinnedImage {
            digest: digest.or(pinned.digest),
            ..pinned
        })
    }

    /// Has Docker fetch `reference`, which must have a tag or a digest, for `platform` or this machine's own, and
    /// returns the digest that the registry gave for it.
    ///
    /// The registry is asked even if the image is here: that costs one request, and a tag may have moved.
    ///
    /// # Errors
    /// With the code of what is in the way.
    pub async fn pull(
        &self,
        reference: &str,
        platform: Option<&str>,
        credentials: Option<&Credentials>,
        mut progress: impl FnMut(PullProgress) + Send,
    ) -> Result<Option<String>, PullError> {
        let image = parsed(reference)?;
        // Without either, Docker would fetch every tag of the repository.
        let Some(tag) = image.digest().map(Digest::as_str).or(image.tag()) else {
            return Err(PullError::new(
                Code::ImageNotFound,
                format!("`{reference}` names no tag, so nothing was fetched"),
            ));
        };
        let options = CreateImageOptions {
            from_image: Some(image.name()),
            tag: Some(tag.to_owned()),
            platform: platform.unwrap_or_default().to_owned(),
            ..Default::default()
        };
        let mut attempts = Attempts::new(&image, credentials);
        loop {
            match self.pull_once(&options, credentials, &mut progress).await {
                Ok(digest) => return Ok(digest),
                Err(fault) => attempts.after(fault).await?,
            }
        }
    }

    /// Asks the registry, through Docker, what `reference` is, without fetching it.
    ///
    /// # Errors
    /// With the code of what is in the way.
    pub async fn manifest(
        &self,
        reference: &str,
        credentials: Option<&Credentials>,
    ) -> Result<Manifest, PullError> {
        let image = parsed(reference)?;
        let mut attempts = Attempts::new(&image, credentials);
        loop {
            match self.manifest_once(&image, credentials).await {
                Ok(manifest) => return Ok(manifest),
                Err(fault) => attempts.after(fault).await?,
            }
        }
    }

    /// Says which image `reference` is on this machine, and refuses one that is not for `platform`, or, without
    /// one, cannot run here. Its digest is the one that Docker remembers, if there is just one for this repository.
    ///
    /// # Errors
    /// [`Code::ImageNotFound`] if it is not here, [`Code::PlatformMismatch`] if it is for another platform.
    pub async fn pin(
        &self,
        reference: &str,
        platform: Option<&str>,
    ) -> Result<PinnedImage, PullError> {
        let image = parsed(reference)?;
        let Some(found) = self.image(&image.canonical()).await? else {
            return Err(PullError::new(
                Code::ImageNotFound,
                format!("{reference} is not on this machine"),
            ));
        };
        self.right_platform(reference, &found.platform, platform)
            .await?;
        let digest = found.digest_in(&image).map(|d| d.as_str().to_owned());
        Ok(PinnedImage {
            reference: reference.to_owned(),
            digest,
            id: found.id,
        })
    }

    async fn right_platform(
        &self,
        reference: &str,
        found: &Platform,
        asked_for: Option<&str>,
    ) -> Result<(), PullError> {
        let mismatch = |other: String| {
            let detail = format!("{reference} is built for {found}, {other}");
            Err(PullError::new(Code::PlatformMismatch, detail))
        };
        if let Some(asked_for) = asked_for {
            return match Platform::parse(asked_for) {
                Some(platform) if !found.is(&platform) => {
                    mismatch(format!("the service asks for `platform: {asked_for}`"))
                }
                // Words that Docker knows and we do not: it found an image for them.
                _ => Ok(()),
            };
        }
        let host = self.host_platform().await?;
        if found.runs_on(&host) {
            Ok(())
        } else {
            mismatch(format!("this machine is {host}"))
        }
    }

    async fn manifest_once(
        &self,
        image: &ImageRef,
        credentials: Option<&Credentials>,
    ) -> Result<Manifest, Fault> {
        let name = image.canonical();
        let ask = async {
            self.bollard
                .inspect_registry_image(&name, credentials.map(Into::into))
                .await
                .map_err(DockerError::from)
        };
        let answer = self
            .bounded("asking the registry", self.bounds.manifest, ask)
            .await?;
        let Some(digest) = answer.descriptor.digest else {
            let text = "the registry's answer names no digest";
            return Err(Fault::new(Code::RegistryUnavailable, text, Again::No));
        };
        let platforms = answer.platforms.into_iter().map(Into::into).collect();
        Ok(Manifest { digest, platforms })
    }

    async fn pull_once(
        &self,
        options: &CreateImageOptions,
        credentials: Option<&Credentials>,
        progress: &mut (impl FnMut(PullProgress) + Send),
    ) -> Result<Option<String>, Fault> {
        let options = Some(options.clone());
        let mut answers = self
            .bollard
            .create_image(options, None, credentials.map(Into::into));
        let idle = self.bounds.pull_idle;
        let mut layers = Layers::default();
        let mut moved_at = Instant::now();
        // When the progress that is not told yet may be told.
        let mut due: Option<Instant> = None;
        let mut told_at: Option<Instant> = None;
        let mut digest = None;
        loop {
            let stalled_at = moved_at + idle;
            let wakeup = due.map_or(stalled_at, |due| due.min(stalled_at));
            let answer = match tokio::time::timeout_at(wakeup, answers.next()).await {
                Err(_elapsed) if Instant::now() >= stalled_at => return Err(Fault::stalled(idle)),
                Err(_elapsed) => {
                    (due, told_at) = (None, Some(Instant::now()));
                    progress(layers.progress());
                    continue;
                }
                Ok(None) => break,
                Ok(Some(answer)) => answer.map_err(DockerError::from)?,
            };
            digest = named_digest(&answer).or(digest);
            if layers.note(&answer) == Moved::Yes {
                moved_at = Instant::now();
                due = due.or(Some(told_at.map_or(moved_at, |at| at + PROGRESS_INTERVAL)));
            }
        }
        progress(layers.progress());
        Ok(digest)
    }
}

/// The digest that Docker names once, after it has asked the registry.
fn named_digest(answer: &CreateImageInfo) -> Option<String> {
    let text = answer.status.as_deref()?.strip_prefix("Digest: ")?;
    let digest: Digest = text.parse().ok()?;
    answer.id.is_none().then(|| digest.as_str().to_owned())
}

/// Counts the attempts to get something from a registry.
struct Attempts<'a> {
    image: &'a ImageRef,
    credentials: Option<&'a Credentials>,
    made: u32,
    pause: Duration,
}

impl<'a> Attempts<'a> {
    fn new(image: &'a ImageRef, credentials: Option<&'a Credentials>) -> Self {
        Self {
            image,
            credentials,
            made: 0,
            pause: PULL_RETRY_MIN,
        }
    }

    /// After an attempt that failed: waits for the next one to be made, or says that there is none.
    async fn after(&mut self, fault: Fault) -> Result<(), PullError> {
        self.made += 1;
        if fault.again == Again::No || self.made == PULL_ATTEMPTS_MAX {
            return Err(fault.about(self.image, self.credentials, self.made));
        }
        tracing::warn!(
            image = %self.image, attempt = self.made, fault = fault.text,
            "the registry was not to be had; trying again"
        );
        tokio::time::sleep(self.pause).await;
        self.pause *= 2;
        Ok(())
    }
}

fn parsed(reference: &str) -> Result<ImageRef, PullError> {
    reference
        .parse()
        .map_err(|error: InvalidImageRef| PullError::new(Code::ImageNotFound, error.to_string()))
}

fn require(reference: &str, required: &str, found: &str) -> Result<(), PullError> {
    if required == found {
        return Ok(());
    }
    Err(PullError::new(
        Code::DigestMismatch,
        format!("{reference} is {found} in the registry, but the request demands {required}"),
    ))
}

impl From<&Credentials> for DockerCredentials {
    fn from(credentials: &Credentials) -> Self {
        let mut out = Self {
            serveraddress: Some(credentials.server().to_owned()),
            ..Self::default()
        };
        match credentials.login() {
            Login::Password { username, password } => {
                out.username = Some(username.clone());
                out.password = Some(password.to_string());
            }
            Login::IdentityToken(token) => out.identitytoken = Some(token.to_string()),
            Login::RegistryToken(token) => out.registrytoken = Some(token.to_string()),
        }
        out
    }
}

impl From<bollard::models::OciPlatform> for Platform {
    fn from(platform: bollard::models::OciPlatform) -> Self {
        Self {
            os: platform.os.unwrap_or_default(),
            architecture: platform.architecture.unwrap_or_default(),
            variant: platform.variant.filter(|variant| !variant.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests;
