//! Which event may follow which, written down a second time: what the product decides is not asked how it decides.

use super::record::{Record, is_end};

/// The status after an event, as the architecture's drawing has it; none if the event cannot follow.
fn next(status: &str, kind: &str) -> Option<&'static str> {
    let next = match (status, kind) {
        ("", "requested") => "queued",
        ("queued" | "pulling", "pull_started") | ("pulling", "image_pinned") => "pulling",
        ("pulling", "found_unchanged") => "unchanged",
        ("pulling", "stage_started") | ("staging", "staged" | "job_started" | "job_ended") => {
            "staging"
        }
        // Several services are switched one after another, each proven before the next.
        ("staging", "switch_started") | ("switching" | "verifying", "switched") => "switching",
        ("switching", "verify_started") => "verifying",
        ("verifying", "committed") => "committed",
        // What ran before comes back in the place of a committed container that somebody removed.
        ("committed", "recreated" | "dependents_restarted" | "job_started" | "job_ended") => {
            "committed"
        }
        ("committed", "succeeded") => "succeeded",
        ("queued" | "pulling" | "staging", "failed") => "failed",
        ("queued" | "pulling" | "staging", "cancelled") => "cancelled",
        ("switching" | "verifying", "rollback_started")
        | ("rolling_back", "restored" | "recreated" | "dependents_restarted") => "rolling_back",
        ("rolling_back" | "rollback_failed", "rolled_back") => "rolled_back",
        ("rolling_back" | "committed", "rollback_failed") => "rollback_failed",
        // It is tried on after the answer was given.
        ("rollback_failed", "restored" | "recreated" | "warned" | "recovery_started") => {
            "rollback_failed"
        }
        ("switching", "held") => "switching",
        ("verifying", "held") => "verifying",
        ("rolling_back", "held") => "rolling_back",
        _ => return None,
    };
    Some(next)
}

/// What is wrong with the chain of statuses: an event that cannot follow, a status that is not the one that
/// follows, an outcome that is not the last status.
#[must_use]
pub fn complaints(record: &Record) -> Vec<String> {
    let mut found = Vec::new();
    let mut status = String::new();
    for line in &record.events {
        let keeps = matches!(line.kind.as_str(), "warned" | "recovery_started");
        let expected = match next(&status, &line.kind) {
            Some(next) => next.to_owned(),
            None if keeps && !status.is_empty() && !is_end(&status) => status.clone(),
            None => {
                found.push(format!("`{}` cannot follow status `{status}`", line.kind));
                line.status.clone()
            }
        };
        if line.status != expected {
            found.push(format!(
                "after `{}` the status is `{}` and not `{expected}`",
                line.kind, line.status
            ));
        }
        status.clone_from(&line.status);
    }
    if record.status != status {
        found.push(format!(
            "the status is `{}`, and `{status}` after the last event",
            record.status
        ));
    }
    let outcome = is_end(&status).then_some(status);
    if record.outcome != outcome {
        found.push(format!(
            "the outcome is {:?} and not {outcome:?}",
            record.outcome
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::record::Line;
    use super::*;

    fn record(events: &[(&str, &str)]) -> Record {
        let lines = events.iter().map(|(kind, status)| Line {
            kind: (*kind).to_owned(),
            status: (*status).to_owned(),
            at_ms: 0,
            message: String::new(),
        });
        let status = events.last().expect("an event").1.to_owned();
        Record {
            id: String::new(),
            outcome: is_end(&status).then(|| status.clone()),
            status,
            events: lines.collect(),
        }
    }

    #[test]
    fn a_rollback_is_legal_and_a_success_before_the_commit_is_not() {
        let mut events = vec![
            ("requested", "queued"),
            ("pull_started", "pulling"),
            ("image_pinned", "pulling"),
            ("stage_started", "staging"),
            ("staged", "staging"),
            ("switch_started", "switching"),
            ("recovery_started", "switching"),
            ("rollback_started", "rolling_back"),
            ("recreated", "rolling_back"),
            ("restored", "rolling_back"),
            ("rolled_back", "rolled_back"),
        ];
        assert_eq!(complaints(&record(&events)), Vec::<String>::new());
        events.truncate(6);
        events.push(("succeeded", "succeeded"));
        assert_eq!(complaints(&record(&events)).len(), 1);
    }

    #[test]
    fn an_outcome_that_the_events_do_not_have_is_noticed() {
        let mut early = record(&[("requested", "queued")]);
        early.outcome = Some("failed".to_owned());
        assert_eq!(complaints(&early).len(), 1);
    }
}
