//! What an answer means, and whether cutover gave it at all.
//!
//! cutover answers JSON, errors as `application/problem+json`, and never 502 or 504. Anything else is
//! from a proxy or another server, and is called that: a proxy's 502 says nothing of the deployment.

use cutover_api::problem::Problem;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use serde::de::DeserializeOwned;
use std::time::Duration;

use crate::client::failure::Failure;

/// Marks an answer that was stored for an earlier request with the same delivery id.
const REPLAYED_HEADER: &str = "idempotent-replayed";

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// The resource that `Location` names: its last path segment.
    pub(crate) located: Option<String>,
    /// How long to wait before asking again.
    pub(crate) retry_after: Option<Duration>,
    /// Whether it is the stored answer to an earlier request.
    pub(crate) origin: Origin,
    /// The body as it came.
    pub(crate) body: Vec<u8>,
}

/// Whether an answer is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Made for this request.
    Fresh,
    /// Stored for an earlier request with the same delivery id.
    Replayed,
}

/// A value that the daemon answered, and the bytes that it came in.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    /// The value.
    pub(crate) value: T,
    /// The bytes.
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The parts of an answer that matter.
    pub(crate) fn new(status: StatusCode, headers: &HeaderMap, body: Vec<u8>) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let located = text(LOCATION.as_str())
            .and_then(|location| location.trim_end_matches('/').rsplit('/').next())
            .map(str::to_owned);
        Self {
            status,
            located,
            retry_after: text(RETRY_AFTER.as_str())
                .and_then(|seconds| seconds.trim().parse().ok())
                .map(Duration::from_secs),
            origin: match text(REPLAYED_HEADER) {
                Some("true") => Origin::Replayed,
                _ => Origin::Fresh,
            },
            body,
        }
    }

    /// The value of a success.
    ///
    /// # Errors
    /// The daemon's refusal, or that cutover did not answer this.
    pub(crate) fn read<T: DeserializeOwned>(self) -> Result<Answer<T>, Failure> {
        if !self.status.is_success() {
            return Err(self.into_failure());
        }
        match serde_json::from_slice(&self.body) {
            Ok(value) => Ok(Answer {
                value,
                body: self.body,
            }),
            Err(_) => Err(self.foreign()),
        }
    }

    /// The value of a success that may have no body.
    ///
    /// # Errors
    /// The daemon's refusal, or that cutover did not answer this.
    pub(crate) fn read_if_any<T: DeserializeOwned>(self) -> Result<Answer<Option<T>>, Failure> {
        if self.status.is_success() && self.body.is_empty() {
            return Ok(Answer {
                value: None,
                body: self.body,
            });
        }
        let answer = self.read()?;
        Ok(Answer {
            value: Some(answer.value),
            body: answer.body,
        })
    }

    /// The refusal that this is, if cutover gave it.
    pub(crate) fn problem(&self) -> Option<Problem> {
        if matches!(
            self.status,
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT
        ) {
            return None;
        }
        serde_json::from_slice(&self.body).ok()
    }

    /// This answer as a failure.
    pub(crate) fn into_failure(self) -> Failure {
        match self.problem() {
            Some(problem) => Failure::Refused {
                problem: Box::new(problem),
                body: self.body,
            },
            None => self.foreign(),
        }
    }

    /// What to say of an answer that is not cutover's.
    pub(crate) fn foreign(&self) -> Failure {
        let status = self.status;
        if status.is_redirection() {
            return Failure::Foreign {
                what: format!("a redirect was answered ({status}); cutover never answers this"),
                hint: "a signed request is not sent on to another address: give the final URL"
                    .to_owned(),
            };
        }
        if status.is_success() {
            return Failure::Foreign {
                what: format!(
                    "something other than cutover answered {status}, or a much newer cutover"
                ),
                hint: "check the URL, and compare `cutover --version` here and on the server"
                    .to_owned(),
            };
        }
        let hint = match status {
            StatusCode::BAD_GATEWAY => {
                "the proxy could not reach the daemon: see `systemctl status cutover` and the proxy's own log"
            }
            StatusCode::GATEWAY_TIMEOUT => {
                "the proxy gave up waiting: raise its read timeout, and turn its response buffering off"
            }
            StatusCode::NOT_FOUND => "check the URL, and the path that the proxy passes on",
            _ => "see the proxy's own log and configuration",
        };
        Failure::Foreign {
            what: format!(
                "a proxy in front of cutover answered {status}; cutover never answers this"
            ),
            hint: hint.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        let status = StatusCode::from_u16(status).expect("a status");
        Reply::new(status, &HeaderMap::new(), body.as_bytes().to_vec())
    }

    #[test]
    fn a_proxys_answer_is_never_taken_for_cutovers() {
        let problem = r#"{"type":"about:blank","title":"x","status":502,"code":"x","detail":"x",
            "hint":"x","retriable":false}"#;
        for (status, body) in [
            (502, "<html>"),
            (502, problem),
            (504, problem),
            (500, "oops"),
            (413, ""),
        ] {
            let failure = reply(status, body).into_failure();
            assert!(
                failure
                    .to_string()
                    .starts_with("a proxy in front of cutover answered"),
                "{status} {body}: {failure}"
            );
        }
        assert!(matches!(
            reply(500, problem).into_failure(),
            Failure::Refused { .. }
        ));
        assert!(matches!(
            reply(200, "<html>").read::<Problem>(),
            Err(Failure::Foreign { .. })
        ));
    }

    #[test]
    fn the_location_names_the_deployment() {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, "/v1/deployments/abc".parse().expect("a value"));
        headers.insert(RETRY_AFTER, "7".parse().expect("a value"));
        let reply = Reply::new(StatusCode::ACCEPTED, &headers, Vec::new());
        assert_eq!(reply.located.as_deref(), Some("abc"));
        assert_eq!(reply.retry_after, Some(Duration::from_secs(7)));
    }
}
