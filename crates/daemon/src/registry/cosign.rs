//! Whether somebody whom the service trusts has signed an image: asked of cosign, which is Sigstore's own
//! program. Signatures are not verified by code of ours.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cutover_core::cause::{Cause, Code};
use cutover_core::deployment::PinnedImage;
use cutover_core::image::ImageRef;
use tokio::process::Command;

use super::pull_cause;
use crate::program::{ProgramError, Running, find_executable};
use crate::settings::{DockerSettings, SignaturePolicy, Signer, TransparencyLog};

/// Fetching a signature and Sigstore's keys takes a second or two; a registry that hangs must not hold the
/// service for long.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What cosign gets of the daemon's environment: where programs and its cache are, and how the network is
/// reached.
const ENVIRONMENT: [&str; 9] = [
    "PATH",
    "HOME",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
];

/// The cosign of this machine.
#[derive(Debug, Clone)]
pub struct Cosign {
    configured: Option<PathBuf>,
    docker_config: PathBuf,
}

impl Cosign {
    /// The configured one, or whichever is in `PATH` when it is needed.
    #[must_use]
    pub fn new(docker: &DockerSettings) -> Self {
        Self {
            configured: docker.cosign.clone(),
            docker_config: docker.config_directory.clone(),
        }
    }

    /// The program, if there is one.
    #[must_use]
    pub fn program(&self) -> Option<PathBuf> {
        find_executable("cosign", self.configured.as_deref(), std::iter::empty())
    }

    /// Proves that `image` is signed as `policy` wants it. Whatever keeps cosign from saying so is a no.
    ///
    /// # Errors
    /// [`Code::SignatureVerificationFailed`] with cosign's own words.
    pub(super) async fn verify(
        &self,
        image: &PinnedImage,
        policy: &SignaturePolicy,
    ) -> Result<(), Cause> {
        let no = |why: &str| {
            let detail = format!("{} is not known to be signed: {why}", image.reference);
            pull_cause(Code::SignatureVerificationFailed, detail)
        };
        let Some(digest) = &image.digest else {
            return Err(no("the registry named no digest for it"));
        };
        let Ok(reference) = image.reference.parse::<ImageRef>() else {
            return Err(no("its name cannot be read"));
        };
        let Some(program) = self.program() else {
            return Err(no(
                "there is no `cosign` on this machine; install it, or set `docker.cosign`",
            ));
        };
        let signed = format!("{}@{digest}", reference.name());
        let command = self.command(&program, &signed, policy);
        let running = Running::start(command, "cosign verify");
        let running = running.map_err(|error| no(&error.to_string()))?;
        match running.output(TIMEOUT).await {
            Ok(_) => Ok(()),
            Err(ProgramError::Failed { message, .. }) => Err(no(cosigns_reason(&message))),
            Err(error) => Err(no(&error.to_string())),
        }
    }

    fn command(&self, program: &Path, signed: &str, policy: &SignaturePolicy) -> Command {
        let mut command = Command::new(program);
        command.args(arguments(signed, policy)).env_clear();
        for name in ENVIRONMENT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("DOCKER_CONFIG", &self.docker_config);
        command
    }
}

/// Of cosign's last lines the one that says why; it warns before it, and repeats it behind it.
fn cosigns_reason(message: &str) -> &str {
    let mut lines = message.split("; ");
    let reason = lines.find_map(|line| line.strip_prefix("Error: "));
    reason.unwrap_or(message)
}

/// What cosign is asked.
fn arguments(signed: &str, policy: &SignaturePolicy) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["verify".into()];
    match &policy.signer {
        Signer::Key(path) => arguments.extend(["--key".into(), path.into()]),
        Signer::Identity { identity, issuer } => arguments.extend([
            "--certificate-identity".into(),
            identity.into(),
            "--certificate-oidc-issuer".into(),
            issuer.into(),
        ]),
    }
    if policy.transparency_log == TransparencyLog::NotRequired {
        arguments.push("--insecure-ignore-tlog=true".into());
    }
    arguments.extend(["--output".into(), "text".into(), signed.into()]);
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosign_is_asked_for_this_very_digest_and_signer() {
        let policy = |signer, transparency_log| SignaturePolicy {
            signer,
            transparency_log,
        };
        let key = Signer::Key("/etc/cutover/cosign.pub".into());
        let asked = arguments("r/a@sha256:1", &policy(key, TransparencyLog::NotRequired));
        let expected = "verify --key /etc/cutover/cosign.pub --insecure-ignore-tlog=true --output text r/a@sha256:1";
        assert_eq!(asked.join(" ".as_ref()), expected);
        let identity = Signer::Identity {
            identity: "https://github.com/acme/shop".to_owned(),
            issuer: "https://issuer.example.com".to_owned(),
        };
        let asked = arguments("r/a@sha256:1", &policy(identity, TransparencyLog::Required));
        let expected = "verify --certificate-identity https://github.com/acme/shop --certificate-oidc-issuer https://issuer.example.com --output text r/a@sha256:1";
        assert_eq!(asked.join(" ".as_ref()), expected);
    }
}
