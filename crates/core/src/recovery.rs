//! What a restarted daemon does with a deployment that it finds unfinished.
//!
//! The journal says how far the deployment had come; what Docker holds is looked at afresh by whoever
//! carries the decision out. Recovering twice is the same as recovering once.

use std::time::Duration;

use crate::deployment::{Deployment, Status, UnixMillis};

/// How often one deployment is taken up again before an operator is told: something kills the daemon
/// every time. The trying does not end with that: see [`Recovery::AskOperator`].
pub const RECOVERIES_MAX: u32 = 5;

/// What to do with an unfinished deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing was begun, or only a pull: run it from the beginning.
    RunAgain,
    /// Its deadline passed before anything was changed: it failed.
    GiveUp,
    /// A container may have been created: remove it; the deployment failed with nothing changed.
    Discard,
    /// The same, and then run it from the beginning: it was cut short in a job that may run again.
    DiscardAndRunAgain,
    /// The switch had begun: put the previous release back.
    RollBack,
    /// It was committed: finish the clean-up.
    RollForward,
    /// It was taken up too often: it ends, an operator is told, and then the previous release is put back all the
    /// same, as at every further start. What was told to stop may still run at this moment, so that something
    /// runs is no reason to leave it.
    AskOperator,
}

/// Whether a job that was cut short may run again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reruns {
    /// It may.
    Allowed,
    /// Somebody has to decide.
    Forbidden,
}

/// Decides about one unfinished deployment; `None` if it has ended.
#[must_use]
pub fn recover(
    deployment: &Deployment,
    now: UnixMillis,
    progress_deadline: Duration,
    reruns: Reruns,
) -> Option<Recovery> {
    let status = deployment.status();
    if status.is_end() {
        return None;
    }
    let too_often = deployment.recoveries >= RECOVERIES_MAX;
    Some(match status {
        Status::Queued | Status::Pulling if too_often => Recovery::GiveUp,
        Status::Queued => Recovery::RunAgain,
        Status::Pulling => {
            let began = deployment.pull_started_at.unwrap_or(deployment.started_at);
            if u128::from(now.since(began)) < progress_deadline.as_millis() {
                Recovery::RunAgain
            } else {
                Recovery::GiveUp
            }
        }
        Status::Staging
            if reruns == Reruns::Allowed && !deployment.jobs_run.is_empty() && !too_often =>
        {
            Recovery::DiscardAndRunAgain
        }
        Status::Staging => Recovery::Discard,
        Status::Switching | Status::Verifying | Status::RollingBack | Status::Committed
            if too_often =>
        {
            Recovery::AskOperator
        }
        Status::Switching | Status::Verifying | Status::RollingBack => Recovery::RollBack,
        Status::Committed => Recovery::RollForward,
        Status::Succeeded
        | Status::Unchanged
        | Status::Failed
        | Status::RolledBack
        | Status::RollbackFailed
        | Status::Cancelled => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::{Cause, Code, Step};
    use crate::deployment::{Event, Failure, Request, WayBack};
    use crate::names::{DeploymentId, ServiceName, Tag};

    const DEADLINE: Duration = Duration::from_millis(1000);

    /// A deployment requested at 0 whose pull began at 100, with `events` after the request.
    fn deployment(events: &[Event], recoveries: u32) -> Deployment {
        let request = Request {
            service: ServiceName::new("app").expect("a service"),
            tag: Tag::new("v1").expect("a tag"),
            digest: None,
            actor: "ci".to_owned(),
            delivery_id: None,
            fingerprint: String::new(),
            rollback_to: None,
            way_back: WayBack::Needed,
            if_unchanged: crate::deployment::IfUnchanged::default(),
        };
        let id = DeploymentId::new("01938f3e-7c1a-7abc-8def-0123456789ab").expect("a UUID");
        let mut deployment = Deployment::requested(id, request, UnixMillis(0));
        for event in events {
            deployment.apply(event, UnixMillis(100)).expect("legal");
        }
        for _ in 0..recoveries {
            deployment
                .apply(&Event::RecoveryStarted, UnixMillis(200))
                .expect("legal");
        }
        deployment
    }

    /// The events that lead to each status.
    fn path(status: Status) -> Vec<Event> {
        let failure = Failure {
            cause: Cause::new(Code::Unhealthy, Step::Verify, "no answer"),
            log: vec![],
        };
        let run = [
            Event::PullStarted {
                reference: "shop:v1".to_owned(),
            },
            Event::StageStarted {
                old: vec![],
                tag_line: None,
            },
            Event::SwitchStarted,
            Event::VerifyStarted {
                checks: "running".to_owned(),
            },
            Event::Committed {
                proof: None,
                proofs: std::collections::BTreeMap::new(),
            },
            Event::Succeeded,
        ];
        let with = |begun: usize, last: Event| [&run[..begun], &[last]].concat();
        let runs = "nothing".to_owned();
        let back = with(4, Event::RollbackStarted(failure.clone()));
        match status {
            Status::Queued => vec![],
            Status::Pulling => run[..1].to_vec(),
            Status::Staging => run[..2].to_vec(),
            Status::Switching => run[..3].to_vec(),
            Status::Verifying => run[..4].to_vec(),
            Status::Committed => run[..5].to_vec(),
            Status::Succeeded => run.to_vec(),
            Status::RollingBack => back,
            Status::RolledBack => [
                &back[..],
                &[Event::RolledBack {
                    condition: None,
                    proof: None,
                }],
            ]
            .concat(),
            Status::RollbackFailed => {
                let cause = failure.cause;
                [&back[..], &[Event::RollbackFailed { cause, runs }]].concat()
            }
            Status::Failed => with(1, Event::Failed(failure)),
            Status::Cancelled => with(0, Event::Cancelled { why: runs }),
            Status::Unchanged => with(
                1,
                Event::FoundUnchanged {
                    container: runs,
                    proof: None,
                },
            ),
        }
    }

    #[track_caller]
    fn check(status: Status, recoveries: u32, now: i64, expected: Option<Recovery>) {
        let deployment = deployment(&path(status), recoveries);
        assert_eq!(deployment.status(), status);
        assert_eq!(
            recover(&deployment, UnixMillis(now), DEADLINE, Reruns::Forbidden,),
            expected
        );
    }

    #[test]
    fn each_status_has_its_way_on() {
        for (status, expected) in [
            (Status::Queued, Recovery::RunAgain),
            (Status::Pulling, Recovery::RunAgain),
            (Status::Staging, Recovery::Discard),
            (Status::Switching, Recovery::RollBack),
            (Status::Verifying, Recovery::RollBack),
            (Status::RollingBack, Recovery::RollBack),
            (Status::Committed, Recovery::RollForward),
        ] {
            check(status, 0, 500, Some(expected));
            check(status, RECOVERIES_MAX - 1, 500, Some(expected));
        }
    }

    #[test]
    fn a_job_that_was_cut_short_runs_again_only_where_it_may() {
        let job = Event::JobStarted {
            service: "migrate".to_owned(),
        };
        let staging = path(Status::Staging);
        let with_job = [&staging[..], &[job]].concat();
        let decided = |events: &[Event], recoveries: u32, reruns: Reruns| {
            let deployment = deployment(events, recoveries);
            recover(&deployment, UnixMillis(1_000_000), DEADLINE, reruns)
        };
        let discard = Some(Recovery::Discard);
        let again = Some(Recovery::DiscardAndRunAgain);
        assert_eq!(decided(&with_job, 0, Reruns::Forbidden), discard);
        assert_eq!(decided(&with_job, 0, Reruns::Allowed), again);
        assert_eq!(decided(&with_job, RECOVERIES_MAX, Reruns::Allowed), discard);
        assert_eq!(decided(&staging, 0, Reruns::Allowed), discard);
    }

    #[test]
    fn what_has_ended_is_left_alone() {
        for &status in Status::ALL.iter().filter(|status| status.is_end()) {
            check(status, 0, 500, None);
            check(status, 0, 1_000_000, None);
        }
    }

    #[test]
    fn taken_up_too_often_it_ends_and_an_operator_is_told() {
        for (status, expected) in [
            (Status::Queued, Recovery::GiveUp),
            (Status::Pulling, Recovery::GiveUp),
            (Status::Staging, Recovery::Discard),
            (Status::Switching, Recovery::AskOperator),
            (Status::Verifying, Recovery::AskOperator),
            (Status::RollingBack, Recovery::AskOperator),
            (Status::Committed, Recovery::AskOperator),
        ] {
            check(status, RECOVERIES_MAX, 500, Some(expected));
            check(status, RECOVERIES_MAX + 1, 500, Some(expected));
        }
    }

    #[test]
    fn a_pull_goes_on_until_its_deadline_and_what_waits_has_none() {
        check(Status::Pulling, 0, 1099, Some(Recovery::RunAgain));
        check(Status::Pulling, 0, 1100, Some(Recovery::GiveUp));
        check(Status::Queued, 0, 1_000_000, Some(Recovery::RunAgain));
    }

    #[test]
    fn the_deadline_counts_from_the_first_pull() {
        let mut deployment = deployment(&path(Status::Pulling), 1);
        let again = Event::PullStarted {
            reference: "shop:v1".to_owned(),
        };
        deployment.apply(&again, UnixMillis(900)).expect("legal");
        let decision = recover(&deployment, UnixMillis(1100), DEADLINE, Reruns::Forbidden);
        assert_eq!(decision, Some(Recovery::GiveUp));
    }

    #[test]
    fn a_clock_set_back_gives_a_pull_more_time() {
        check(Status::Pulling, 0, -1_000_000, Some(Recovery::RunAgain));
    }

    #[test]
    fn a_deadline_has_no_effect_after_the_switch() {
        check(Status::Verifying, 0, 1_000_000, Some(Recovery::RollBack));
        check(Status::Committed, 0, 1_000_000, Some(Recovery::RollForward));
    }
}
