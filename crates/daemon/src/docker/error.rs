//! What can go wrong between this daemon and Docker, sorted by what the caller does next.

use std::time::Duration;

use cutover_core::mask::beginning;

/// The longest text of Docker's that is kept, in characters: its messages are a line or two, but some
/// quote the output of another program.
const TEXT_LEN_MAX: usize = 2000;

/// Why Docker did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DockerError {
    /// Nobody listens, or the connection was cut before the whole answer had come: whether the request took
    /// effect is unknown. Wait for Docker, look, repeat.
    #[error("docker cannot be reached: {why}")]
    Unreachable {
        /// What the system said.
        why: String,
    },
    /// No answer in time: whether the request took effect is unknown. Look, repeat.
    #[error("docker did not answer within {} s ({what})", bound.as_secs_f64())]
    TimedOut {
        /// What was asked.
        what: &'static str,
        /// How long was waited.
        bound: Duration,
    },
    /// The container or image does not exist.
    #[error("docker says: {message}")]
    NotFound {
        /// Docker's own words.
        message: String,
    },
    /// Something else stands in the way: a name that is taken, a removal under way, an image in use.
    #[error("docker says: {message}")]
    Conflict {
        /// Docker's own words.
        message: String,
    },
    /// Docker refused, or tried and failed. Repeating it unchanged is of no use.
    #[error("docker says: {message} (status {status})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Docker's own words.
        message: String,
    },
    /// What answers is not a Docker that this client can speak with.
    #[error("{why}")]
    Unsupported {
        /// What is the matter, and what to do.
        why: String,
    },
}

impl DockerError {
    /// Whether the request may have taken effect nevertheless, so that only looking can tell.
    #[must_use]
    pub fn is_uncertain(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. })
    }

    /// Whether this is about a container or image that does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    pub(crate) fn unreachable(why: impl std::fmt::Display) -> Self {
        Self::Unreachable {
            why: bounded(&why.to_string()),
        }
    }

    pub(crate) fn unsupported(why: impl Into<String>) -> Self {
        Self::Unsupported { why: why.into() }
    }

    /// The error that an answer with `status` and Docker's `message` is.
    pub(crate) fn from_status(status: u16, message: &str) -> Self {
        let message = bounded(message);
        match status {
            404 => Self::NotFound { message },
            409 => Self::Conflict { message },
            _ => Self::Refused { status, message },
        }
    }
}

impl From<bollard::errors::Error> for DockerError {
    fn from(error: bollard::errors::Error) -> Self {
        use bollard::errors::Error;
        match error {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => Self::from_status(status_code, &message),
            Error::IOError { err } => match err.downcast::<Self>() {
                Ok(ours) => ours,
                Err(err) => Self::unreachable(err),
            },
            Error::HyperResponseError { err } => Self::unreachable(err),
            Error::JsonSerdeError { err } if err.is_eof() => {
                Self::unreachable("the connection was cut in the middle of an answer")
            }
            Error::DockerStreamError { error } => Self::Refused {
                status: 200,
                message: bounded(&error),
            },
            other => Self::unsupported(format!(
                "docker's answer was not understood: {}",
                bounded(&other.to_string())
            )),
        }
    }
}

impl From<DockerError> for bollard::errors::Error {
    /// Carries an error of the transport through bollard, to be taken out again on the other side.
    fn from(error: DockerError) -> Self {
        Self::IOError {
            err: std::io::Error::other(error),
        }
    }
}

/// `text` without surrounding white space, cut to a length that fits an answer.
pub(crate) fn bounded(text: &str) -> String {
    beginning(text.trim(), TEXT_LEN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_transport_comes_through_bollard_unchanged() {
        let error = DockerError::unreachable("no such file");
        let carried = bollard::errors::Error::from(error.clone());
        assert_eq!(DockerError::from(carried), error);
    }

    #[test]
    fn a_status_decides_the_kind() {
        assert!(DockerError::from_status(404, "No such container: x").is_not_found());
        assert!(matches!(
            DockerError::from_status(409, "in use"),
            DockerError::Conflict { .. }
        ));
        assert!(matches!(
            DockerError::from_status(500, "no"),
            DockerError::Refused { status: 500, .. }
        ));
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let cut = bounded(&"ä".repeat(TEXT_LEN_MAX + 5));
        assert_eq!(cut.chars().count(), TEXT_LEN_MAX + 1);
        assert!(cut.ends_with('…'));
    }
}
