//! The border between the domain and the rows, in both directions.
//!
//! Every field of a domain type is taken apart by name, so that a new one cannot be forgotten here.

mod replicas;

use aws_lc_rs::digest::{SHA256, digest};
use cutover_core::cause::{Cause, Code, Step};
use cutover_core::deployment::{
    Condition, Event, Failure, IfUnchanged, PinnedImage, Proof, Replica, Request, Status, TagLine,
    UnixMillis, WayBack,
};
use cutover_core::names::{DeliveryId, DeploymentId, InvalidName, ServiceName, Tag};

use super::error::JournalError;
use super::rows::{
    CauseRow, ConditionRow, EVENT_BYTES_MAX, EventRow, FailureRow, ImageRow, ProofRow, ReplicaRow,
    RequestRow, StageStartedRow, StagedRow, TagLineRow,
};

/// The JSON of an event.
///
/// # Errors
/// [`JournalError::TooLarge`].
pub(super) fn to_body(event: &Event) -> Result<String, JournalError> {
    let body = serde_json::to_string(&EventRow::from(event)).map_err(|error| JournalError::Io {
        why: format!(
            "event `{}` cannot be written as JSON: {error}",
            event.kind()
        ),
    })?;
    if body.len() > EVENT_BYTES_MAX {
        return Err(JournalError::TooLarge {
            bytes: body.len(),
            bytes_max: EVENT_BYTES_MAX,
        });
    }
    Ok(body)
}

/// The event that `body` holds.
///
/// # Errors
/// [`JournalError::Corrupt`].
pub(super) fn from_body(body: &str) -> Result<Event, JournalError> {
    let row: EventRow = serde_json::from_str(body)
        .map_err(|error| JournalError::corrupt(format!("an event cannot be read: {error}")))?;
    row.try_into()
}

/// The status that `word` names.
///
/// # Errors
/// [`JournalError::Corrupt`].
pub(super) fn status_from_word(word: &str) -> Result<Status, JournalError> {
    Status::ALL
        .iter()
        .copied()
        .find(|status| status.as_str() == word)
        .ok_or_else(|| JournalError::corrupt(format!("unknown status `{word}`")))
}

/// A delivery as its column has it: nobody takes the id of another's, or of another service's.
pub(super) fn delivery_column(service: &ServiceName, actor: &str, id: &DeliveryId) -> String {
    format!("{service}\n{actor}\n{}", id.as_str())
}

/// The delivery that a request came with, if it came with one, as its column has it.
pub(super) fn delivery_of(request: &Request) -> Option<String> {
    let id = request.delivery_id.as_ref()?;
    Some(delivery_column(&request.service, &request.actor, id))
}

/// What an event's columns must add up to, so that a flipped bit is noticed.
pub(super) fn checksum(deployment: &str, seq: i64, at: UnixMillis, body: &str) -> i64 {
    let covered = format!("{deployment}\n{seq}\n{}\n{body}", at.0);
    let digest = digest(&SHA256, covered.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest.as_ref()[..8]);
    i64::from_be_bytes(first)
}

fn stage_started(old: &[Replica], tag_line: Option<&TagLine>) -> StageStartedRow {
    StageStartedRow {
        old: old.iter().map(ReplicaRow::from).collect(),
        tag_line: tag_line.map(TagLineRow::from),
        previous: None,
    }
}

fn staged(new: &[Replica], jobs: &[Replica]) -> StagedRow {
    StagedRow {
        new: new.iter().map(ReplicaRow::from).collect(),
        jobs: jobs.iter().map(ReplicaRow::from).collect(),
        container: None,
        name: None,
        restart_policy: None,
    }
}

impl From<&Event> for EventRow {
    fn from(event: &Event) -> Self {
        match event {
            Event::Requested(request) => Self::Requested(request.into()),
            Event::PullStarted { reference } => Self::PullStarted {
                reference: reference.clone(),
            },
            Event::ImagePinned(image) => Self::ImagePinned(image.into()),
            Event::FoundUnchanged { container, proof } => Self::FoundUnchanged {
                container: container.clone(),
                proof: proof.map(ProofRow::from),
            },
            Event::StageStarted { old, tag_line } => {
                Self::StageStarted(stage_started(old, tag_line.as_ref()))
            }
            Event::JobStarted { service } => Self::JobStarted {
                service: service.clone(),
            },
            Event::DependentsRestarted { services } => Self::DependentsRestarted {
                services: services.clone(),
            },
            Event::Held {
                connections,
                longest_ms,
            } => Self::Held {
                connections: *connections,
                longest_ms: *longest_ms,
            },
            Event::JobEnded { service, code } => Self::JobEnded {
                service: service.clone(),
                code: *code,
            },
            Event::Staged { new, jobs } => Self::Staged(staged(new, jobs)),
            Event::SwitchStarted => Self::SwitchStarted,
            Event::Switched { service, outage_ms } => Self::Switched {
                service: service.clone(),
                outage_ms: *outage_ms,
            },
            Event::VerifyStarted { checks } => Self::VerifyStarted {
                checks: checks.clone(),
            },
            Event::Committed { proof, proofs } => Self::Committed {
                proof: proof.map(ProofRow::from),
                proofs: proofs
                    .iter()
                    .map(|(service, proof)| (service.clone(), ProofRow::from(*proof)))
                    .collect(),
            },
            Event::Succeeded => Self::Succeeded,
            Event::Failed(failure) => Self::Failed(failure.into()),
            Event::RollbackStarted(failure) => Self::RollbackStarted(failure.into()),
            Event::Restored { outage_ms } => Self::Restored {
                outage_ms: *outage_ms,
            },
            Event::Recreated(recreated) => Self::Recreated(recreated.into()),
            Event::RolledBack { condition, proof } => Self::RolledBack {
                condition: condition.map(ConditionRow::from),
                proof: proof.map(ProofRow::from),
            },
            Event::RollbackFailed { cause, runs } => Self::RollbackFailed {
                cause: cause.into(),
                runs: runs.clone(),
            },
            Event::Cancelled { why } => Self::Cancelled { why: why.clone() },
            Event::RecoveryStarted => Self::RecoveryStarted,
            Event::Warned { what } => Self::Warned { what: what.clone() },
        }
    }
}

impl TryFrom<EventRow> for Event {
    type Error = JournalError;

    fn try_from(row: EventRow) -> Result<Self, JournalError> {
        Ok(match row {
            EventRow::Requested(request) => Self::Requested(request.try_into()?),
            EventRow::PullStarted { reference } => Self::PullStarted { reference },
            EventRow::ImagePinned(image) => Self::ImagePinned(image.into()),
            EventRow::FoundUnchanged { container, proof } => Self::FoundUnchanged {
                container,
                proof: proof.map(Proof::from),
            },
            EventRow::StageStarted(StageStartedRow {
                old,
                tag_line,
                previous,
            }) => Self::StageStarted {
                old: old.into_iter().chain(previous).map(Replica::from).collect(),
                tag_line: tag_line.map(TagLine::from),
            },
            EventRow::Staged(mut staged) => Self::Staged {
                jobs: std::mem::take(&mut staged.jobs)
                    .into_iter()
                    .map(Replica::from)
                    .collect(),
                new: staged.into(),
            },
            EventRow::JobStarted { service } => Self::JobStarted { service },
            EventRow::JobEnded { service, code } => Self::JobEnded { service, code },
            EventRow::DependentsRestarted { services } => Self::DependentsRestarted { services },
            EventRow::Held {
                connections,
                longest_ms,
            } => Self::Held {
                connections,
                longest_ms,
            },
            EventRow::SwitchStarted => Self::SwitchStarted,
            EventRow::Switched { service, outage_ms } => Self::Switched { service, outage_ms },
            EventRow::VerifyStarted { checks } => Self::VerifyStarted { checks },
            EventRow::Committed { proof, proofs } => Self::Committed {
                proof: proof.map(Proof::from),
                proofs: proofs
                    .into_iter()
                    .map(|(service, proof)| (service, Proof::from(proof)))
                    .collect(),
            },
            EventRow::Succeeded => Self::Succeeded,
            EventRow::Failed(failure) => Self::Failed(failure.try_into()?),
            EventRow::RollbackStarted(failure) => Self::RollbackStarted(failure.try_into()?),
            EventRow::Restored { outage_ms } => Self::Restored { outage_ms },
            EventRow::Recreated(recreated) => Self::Recreated(recreated.into()),
            EventRow::RolledBack { condition, proof } => Self::RolledBack {
                condition: condition.map(Condition::from),
                proof: proof.map(Proof::from),
            },
            EventRow::RollbackFailed { cause, runs } => Self::RollbackFailed {
                cause: cause.try_into()?,
                runs,
            },
            EventRow::Cancelled { why } => Self::Cancelled { why },
            EventRow::RecoveryStarted => Self::RecoveryStarted,
            EventRow::Warned { what } => Self::Warned { what },
        })
    }
}

impl From<&Request> for RequestRow {
    fn from(request: &Request) -> Self {
        let Request {
            service,
            tag,
            digest,
            actor,
            delivery_id,
            fingerprint,
            rollback_to,
            way_back,
            if_unchanged,
        } = request;
        Self {
            service: service.as_str().to_owned(),
            tag: tag.as_str().to_owned(),
            digest: digest.clone(),
            actor: actor.clone(),
            delivery_id: delivery_id.as_ref().map(|id| id.as_str().to_owned()),
            fingerprint: fingerprint.clone(),
            rollback_to: rollback_to.as_ref().map(|id| id.as_str().to_owned()),
            no_way_back: *way_back == WayBack::Waived,
            force: *if_unchanged == IfUnchanged::DeployAgain,
        }
    }
}

impl TryFrom<RequestRow> for Request {
    type Error = JournalError;

    fn try_from(row: RequestRow) -> Result<Self, JournalError> {
        Ok(Self {
            service: ServiceName::new(&row.service)?,
            tag: Tag::new(&row.tag)?,
            digest: row.digest,
            actor: row.actor,
            delivery_id: row
                .delivery_id
                .as_deref()
                .map(DeliveryId::new)
                .transpose()?,
            fingerprint: row.fingerprint,
            rollback_to: row
                .rollback_to
                .as_deref()
                .map(DeploymentId::new)
                .transpose()?,
            way_back: if row.no_way_back {
                WayBack::Waived
            } else {
                WayBack::Needed
            },
            if_unchanged: if row.force {
                IfUnchanged::DeployAgain
            } else {
                IfUnchanged::LeaveAlone
            },
        })
    }
}

impl From<&PinnedImage> for ImageRow {
    fn from(image: &PinnedImage) -> Self {
        let PinnedImage {
            reference,
            digest,
            id,
        } = image;
        Self {
            reference: reference.clone(),
            digest: digest.clone(),
            id: id.clone(),
        }
    }
}

impl From<ImageRow> for PinnedImage {
    fn from(row: ImageRow) -> Self {
        Self {
            reference: row.reference,
            digest: row.digest,
            id: row.id,
        }
    }
}

impl From<&Failure> for FailureRow {
    fn from(failure: &Failure) -> Self {
        let Failure { cause, log } = failure;
        Self {
            cause: cause.into(),
            log: log.clone(),
        }
    }
}

impl TryFrom<FailureRow> for Failure {
    type Error = JournalError;

    fn try_from(row: FailureRow) -> Result<Self, JournalError> {
        Ok(Self {
            cause: row.cause.try_into()?,
            log: row.log,
        })
    }
}

impl From<&Cause> for CauseRow {
    fn from(cause: &Cause) -> Self {
        let Cause { code, step, detail } = cause;
        Self {
            code: code.as_str().to_owned(),
            step: step.as_str().to_owned(),
            detail: detail.clone(),
        }
    }
}

impl TryFrom<CauseRow> for Cause {
    type Error = JournalError;

    fn try_from(row: CauseRow) -> Result<Self, JournalError> {
        let code = Code::from_word(&row.code)
            .ok_or_else(|| JournalError::corrupt(format!("unknown code `{}`", row.code)))?;
        let step = Step::from_word(&row.step)
            .ok_or_else(|| JournalError::corrupt(format!("unknown step `{}`", row.step)))?;
        Ok(Self::new(code, step, row.detail))
    }
}

impl From<InvalidName> for JournalError {
    fn from(invalid: InvalidName) -> Self {
        Self::corrupt(format!("a recorded name is not one: {invalid}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_field_is_passed_over_and_an_unknown_kind_is_not() {
        let event = from_body(r#"{"kind":"switched","outage_ms":7,"port":80}"#);
        assert_eq!(
            event,
            Ok(Event::Switched {
                service: String::new(),
                outage_ms: 7
            })
        );
        for unknown in [
            r#"{"kind":"teleported"}"#,
            r#"{"outage_ms":7}"#,
            r#"{"kind":"switched"}"#,
            r#"{"kind":"failed","cause":{"code":"bad_luck","step":"pull","detail":""},"log":[]}"#,
            r#"{"kind":"failed","cause":{"code":"unhealthy","step":"leap","detail":""},"log":[]}"#,
            "",
        ] {
            assert!(
                matches!(from_body(unknown), Err(JournalError::Corrupt { .. })),
                "{unknown}"
            );
        }
    }

    #[test]
    fn kinds_and_causes_are_stored_under_the_domains_words() {
        let cause = Cause::new(Code::RollbackFailed, Step::RollBack, "gone");
        let event = Event::RollbackFailed {
            cause,
            runs: "nothing".to_owned(),
        };
        let body = to_body(&event).expect("small");
        let json: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(json["kind"], event.kind());
        assert_eq!(json["cause"]["code"], "rollback_failed");
        assert_eq!(json["cause"]["step"], "roll back");
    }

    #[test]
    fn every_status_has_a_word_of_its_own() {
        for &status in Status::ALL {
            assert_eq!(status_from_word(status.as_str()), Ok(status));
        }
        assert!(status_from_word("splendid").is_err());
    }

    #[test]
    fn an_event_is_bounded() {
        let what = "x".repeat(EVENT_BYTES_MAX);
        let refused = to_body(&Event::Warned { what });
        assert!(matches!(refused, Err(JournalError::TooLarge { .. })));
    }

    #[test]
    fn a_checksum_covers_every_column() {
        let at = UnixMillis(5);
        let right = checksum("id", 1, at, "{}");
        assert_ne!(right, checksum("ie", 1, at, "{}"));
        assert_ne!(right, checksum("id", 2, at, "{}"));
        assert_ne!(right, checksum("id", 1, UnixMillis(4), "{}"));
        assert_ne!(right, checksum("id", 1, at, "{ }"));
    }
}
