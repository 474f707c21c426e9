//! Why a request was refused or a deployment did not succeed.
//!
//! A [`Code`] is the stable word that programs branch on; the text beside it is for a person. Which HTTP
//! status a code becomes is the business of the daemon's `http` module.

/// The step of a deployment in which something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Before anything: waiting for its turn, reading the Compose project.
    Prepare,
    /// Fetching and checking the image.
    Pull,
    /// Compose creating the new container.
    Stage,
    /// Stopping the old container and starting the new one.
    Switch,
    /// Watching the new container.
    Verify,
    /// After the commit point.
    CleanUp,
    /// Putting the old container back.
    RollBack,
    /// What a restarted daemon does with an unfinished deployment.
    Recover,
}

impl Step {
    /// The word on the wire and in texts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Pull => "pull",
            Self::Stage => "stage",
            Self::Switch => "switch",
            Self::Verify => "verify",
            Self::CleanUp => "clean up",
            Self::RollBack => "roll back",
            Self::Recover => "recover",
        }
    }

    /// The step that `word` names.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Self::Prepare,
            Self::Pull,
            Self::Stage,
            Self::Switch,
            Self::Verify,
            Self::CleanUp,
            Self::RollBack,
            Self::Recover,
        ]
        .into_iter()
        .find(|step| step.as_str() == word)
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal,)+) => {
        /// The stable word for a cause, as listed in docs/api.md.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[doc = $doc])+ $name,)+ }

        impl Code {
            /// Every code, in the order of docs/api.md.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The word on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// The code that `word` names.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

codes! {
    /// The registry does not know this tag.
    ImageNotFound = "image_not_found",
    /// The image is for another processor or operating system.
    PlatformMismatch = "platform_mismatch",
    /// The tag resolves to another digest than the request demands.
    DigestMismatch = "digest_mismatch",
    /// The registry refuses these credentials.
    RegistryDenied = "registry_denied",
    /// The registry could not be reached, or answered that it cannot answer now.
    RegistryUnavailable = "registry_unavailable",
    /// Too little free disk for the image.
    InsufficientStorage = "insufficient_storage",
    /// The image is larger than the service allows.
    ImageTooLarge = "image_too_large",
    /// The image's label names another revision than the tag.
    RevisionMismatch = "revision_mismatch",
    /// The image has no valid signature by whom the service trusts.
    SignatureVerificationFailed = "signature_verification_failed",
    /// The project asks for an image that the configuration does not allow.
    PolicyViolation = "policy_violation",
    /// Compose cannot read the project, or it changed into something that cutover does not deploy.
    InvalidCompose = "invalid_compose",
    /// The service asks for something that is not supported yet.
    UnsupportedStrategy = "unsupported_strategy",
    /// Compose could not create the new container.
    StageFailed = "stage_failed",
    /// Compose, while creating the new container, tried to change something outside the service.
    OutsideChange = "outside_change",
    /// The old container could not be stopped or the new one could not be started.
    SwitchFailed = "switch_failed",
    /// The new container exited or restarted while it was watched.
    ContainerExited = "container_exited",
    /// The new container was not healthy in time.
    Unhealthy = "unhealthy",
    /// Somebody else changed the service's containers during the deployment.
    Interfered = "interfered",
    /// The deployment took longer than its `progress_deadline`.
    DeadlineExceeded = "deadline_exceeded",
    /// Docker could not be reached or did what it should not.
    DockerUnavailable = "docker_unavailable",
    /// The journal could not be written, so nothing was begun.
    JournalUnavailable = "journal_unavailable",
    /// The daemon was stopped before this deployment had changed anything.
    ShuttingDown = "shutting_down",
    /// The daemon died during this deployment and put the previous release back.
    Interrupted = "interrupted",
    /// The previous release could not be put back.
    RollbackFailed = "rollback_failed",
    /// The new release failed and there was no previous one.
    NoRollbackTarget = "no_rollback_target",
    /// A newer request took this one's place, or somebody cancelled it.
    Cancelled = "cancelled",
    /// The previous release could not be brought back if the new one failed, so nothing was begun.
    NoWayBack = "no_way_back",
    /// A variable of the Compose file is set nowhere, and the previous container had a value by it.
    UnsetVariable = "unset_variable",
    /// The registry lacks a part of the image, or has a damaged one.
    ImageIncomplete = "image_incomplete",
    /// A job of the release did not end well, so nothing was switched.
    JobFailed = "job_failed",
}

impl Code {
    /// Whether the same release may be deployed later although nobody changes anything. That is a request of
    /// its own, with a delivery id of its own: a repeated delivery gets the recorded answer.
    #[must_use]
    pub fn retriable(self) -> bool {
        matches!(
            self,
            Self::RegistryUnavailable
                | Self::DockerUnavailable
                | Self::JournalUnavailable
                | Self::ShuttingDown
                | Self::Interrupted
                | Self::DeadlineExceeded
        )
    }

    /// What to do next. To deploy again is a new request; in GitHub Actions, to run the job again.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "a table, one row for each cause")]
    pub fn hint(self) -> &'static str {
        match self {
            Self::ImageNotFound => {
                "check that the build pushed this tag to this repository, then deploy again"
            }
            Self::PlatformMismatch => "build the image for the server's platform",
            Self::DigestMismatch => {
                "somebody moved the tag: build again, or send the digest that the registry has now"
            }
            Self::RegistryDenied => {
                "run `docker login` for this registry on the server, as the user that runs cutover"
            }
            Self::RegistryUnavailable => {
                "the registry or the network is at fault, not the release: deploy again in a while"
            }
            Self::InsufficientStorage => {
                "free disk space on the server (`docker system df` shows what uses it), then deploy again"
            }
            Self::ImageTooLarge => {
                "build a smaller image, or raise `image_mib_max` in the server's configuration"
            }
            Self::RevisionMismatch => {
                "build the image with the label `org.opencontainers.image.revision` set to the commit that is its tag"
            }
            Self::SignatureVerificationFailed => {
                "sign the image by its digest in the build, with the key or the workflow that `signature` names in the server's configuration"
            }
            Self::PolicyViolation => {
                "change the Compose file, or `image_repository` in the server's configuration"
            }
            Self::InvalidCompose => {
                "run `cutover check` on the server; it names the file and the line"
            }
            Self::UnsupportedStrategy => {
                "run `cutover check` on the server; it says which setting to change"
            }
            Self::StageFailed => {
                "do what the detail says; where it quotes Compose, `docker compose up` by hand says the same"
            }
            Self::OutsideChange => {
                "bring the rest of the project up by hand once (`docker compose up -d`), then deploy again"
            }
            Self::SwitchFailed => "read Docker's own message in the detail",
            Self::ContainerExited => {
                "read the container's last output in the log of this deployment"
            }
            Self::Unhealthy => {
                "read the container's last output and the last health check in the log of this deployment"
            }
            Self::Interfered => {
                "do not run `docker compose` on this service by hand during a deployment"
            }
            Self::DeadlineExceeded => {
                "raise `progress_deadline`, or look for what was slow in the events"
            }
            Self::DockerUnavailable => {
                "check that Docker runs on the server (`systemctl status docker`), then deploy again"
            }
            Self::JournalUnavailable => {
                "check free space and permissions of the state directory, then deploy again"
            }
            Self::ShuttingDown => "cutover is being restarted: deploy again in a moment",
            Self::Interrupted => {
                "look at `journalctl -u cutover` for why the daemon stopped, then deploy again"
            }
            Self::RollbackFailed => {
                "log in to the server now: `cutover status` says what runs, `cutover help operations` says how to go on"
            }
            Self::NoRollbackTarget => "fix the release and deploy again; the service does not run",
            Self::Cancelled => "no action needed",
            Self::ImageIncomplete => "push the image again, then deploy again",
            Self::JobFailed => {
                "read the job's last output in the log of this deployment, put right what it left half done, and deploy a release that works"
            }
            Self::NoWayBack => {
                "put back what the detail names, or let an operator deploy with `cutover deploy --no-way-back`"
            }
            Self::UnsetVariable => {
                "set the variable in the project's env file, or write `${NAME:-}` in the Compose file where it may be empty, then deploy again"
            }
        }
    }
}

/// Why a deployment did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The stable word.
    pub code: Code,
    /// Where it happened.
    pub step: Step,
    /// What happened, for a person; masked and bounded by whoever makes it.
    pub detail: String,
}

impl Cause {
    /// A cause.
    #[must_use]
    pub fn new(code: Code, step: Step, detail: impl Into<String>) -> Self {
        Self {
            code,
            step,
            detail: detail.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_codes_correspond() {
        for &code in Code::ALL {
            assert_eq!(Code::from_word(code.as_str()), Some(code));
            assert!(!code.hint().ends_with('.'), "{code:?}");
        }
        assert_eq!(Code::from_word("nonsense"), None);
    }
}
