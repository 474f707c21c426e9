//! What happens in the midst of a deployment.

use std::fmt;
use std::str::FromStr;

use anyhow::bail;

use super::release::Policy;
use crate::engine::LiveRestore;

/// What happens in the midst of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The daemon is killed and started again.
    KillCutover,
    /// Docker is killed and started again; its containers end with it.
    KillDocker,
    /// Docker is stopped and started again.
    RestartDocker,
    /// Every process dies at once, and what a machine forgets without power is gone. Docker comes up first,
    /// then cutover.
    PowerCut,
    /// Docker is killed and started again; its containers go on.
    KillDockerLive,
    /// Docker is stopped and started again; its containers go on.
    RestartDockerLive,
    /// Docker's disk is full for some seconds.
    DiskFull,
    /// A hand types `docker compose up -d`.
    HandUp,
    /// A hand types `docker compose up -d --force-recreate`.
    HandRecreate,
    /// A hand types `docker compose down`.
    HandDown,
    /// A hand types `docker compose restart`.
    HandRestart,
    /// A hand types `docker rm -f` for every container of the service that runs.
    HandRemove,
    /// A hand types `docker container prune -f`.
    HandPrune,
}

impl Fault {
    /// Every fault, in the order of the table.
    pub const ALL: [Self; 13] = [
        Self::KillCutover,
        Self::KillDocker,
        Self::RestartDocker,
        Self::PowerCut,
        Self::KillDockerLive,
        Self::RestartDockerLive,
        Self::DiskFull,
        Self::HandUp,
        Self::HandRecreate,
        Self::HandDown,
        Self::HandRestart,
        Self::HandRemove,
        Self::HandPrune,
    ];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KillCutover => "kill-cutover",
            Self::KillDocker => "kill-docker",
            Self::RestartDocker => "restart-docker",
            Self::PowerCut => "power-cut",
            Self::KillDockerLive => "kill-docker-live-restore",
            Self::RestartDockerLive => "restart-docker-live-restore",
            Self::DiskFull => "disk-full",
            Self::HandUp => "hand-up",
            Self::HandRecreate => "hand-force-recreate",
            Self::HandDown => "hand-down",
            Self::HandRestart => "hand-restart",
            Self::HandRemove => "hand-rm",
            Self::HandPrune => "hand-prune",
        }
    }

    /// Whether a person does it, who may have left a container of their own making.
    #[must_use]
    pub fn is_hand(self) -> bool {
        self.as_str().starts_with("hand-")
    }

    /// Whether Docker leaves a container with this policy down that ran when it happened.
    #[must_use]
    pub fn leaves_down(self, policy: Policy) -> bool {
        match self {
            Self::RestartDocker | Self::PowerCut => {
                matches!(policy, Policy::OnFailure | Policy::No)
            }
            Self::KillDocker => policy != Policy::Always,
            _ => false,
        }
    }

    /// Whether it takes away what runs, on purpose.
    #[must_use]
    pub fn takes_away(self) -> bool {
        matches!(self, Self::HandDown | Self::HandRemove)
    }

    /// How Docker must be configured for it.
    #[must_use]
    pub fn live_restore(self) -> LiveRestore {
        match self {
            Self::KillDockerLive | Self::RestartDockerLive => LiveRestore::On,
            _ => LiveRestore::Off,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Fault {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let found = Self::ALL.into_iter().find(|fault| fault.as_str() == text);
        match found {
            Some(fault) => Ok(fault),
            None => bail!(
                "no such fault; there are {}",
                Self::ALL.map(Self::as_str).join(", ")
            ),
        }
    }
}
