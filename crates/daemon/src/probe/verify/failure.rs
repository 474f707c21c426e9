//! Why a container was not proven.

use std::fmt;

use crate::docker::DockerError;

/// Why a container must go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifyFailure {
    /// It ended, or ended and was started again.
    Exited {
        /// Its exit code.
        code: i64,
        /// Whether the kernel killed it for want of memory.
        oom_killed: bool,
        /// What happened, for a person.
        why: String,
    },
    /// It was not healthy in time, or its health check failed for good.
    Unhealthy {
        /// What happened, for a person.
        why: String,
        /// What its health check printed last.
        last_health_output: Option<String>,
    },
    /// Somebody else changed it.
    Interfered {
        /// What they did, for a person.
        what: String,
    },
    /// Docker did not let us look.
    Docker(DockerError),
}

impl VerifyFailure {
    pub(super) fn interfered(what: impl Into<String>) -> Self {
        Self::Interfered { what: what.into() }
    }

    pub(super) fn stopped_from_outside(signal: &str) -> Self {
        Self::interfered(format!(
            "the container was stopped with signal {signal}, by somebody or because docker itself was stopped"
        ))
    }

    pub(super) fn unhealthy(why: impl fmt::Display) -> Self {
        Self::Unhealthy {
            why: why.to_string(),
            last_health_output: None,
        }
    }
}

impl fmt::Display for VerifyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited {
                oom_killed, why, ..
            } => {
                f.write_str(why)?;
                if *oom_killed {
                    f.write_str("; the kernel killed it for want of memory")?;
                }
                Ok(())
            }
            Self::Unhealthy {
                why,
                last_health_output,
            } => {
                f.write_str(why)?;
                match last_health_output {
                    Some(output) if !why.contains(output.as_str()) => {
                        write!(f, "; its health check printed last: {output}")
                    }
                    _ => Ok(()),
                }
            }
            Self::Interfered { what } => f.write_str(what),
            Self::Docker(error) => write!(f, "the container could not be looked at: {error}"),
        }
    }
}

impl std::error::Error for VerifyFailure {}
