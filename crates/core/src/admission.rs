//! Whether a request may become a deployment, and when.
//!
//! One deployment of a service is under way at a time. One more may wait; a newer request takes its
//! place, because nobody wants the release before the newest one.

use crate::deployment::Status;
use crate::names::DeploymentId;

/// What admission looks at, all about one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceState {
    /// The deployment under way.
    pub current: Option<DeploymentId>,
    /// The deployment that waits for it.
    pub waiting: Option<DeploymentId>,
    /// Why deployments are refused, while an operator has paused the service.
    pub paused: Option<String>,
    /// Why an operator is needed, after a rollback that failed.
    pub needs_operator: Option<String>,
    /// Whether the daemon takes new work.
    pub accepting: Accepting,
    /// What becomes of a request while a deployment is under way.
    pub when_busy: WhenBusy,
}

/// What becomes of a request that comes while a deployment of its service is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenBusy {
    /// It waits for its turn; the newest of those that wait gets it.
    #[default]
    Wait,
    /// It is refused.
    Refuse,
}

/// Whether the daemon takes new work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepting {
    /// It does.
    Yes,
    /// It is still putting right what it found at its start.
    Recovering,
    /// It is stopping.
    ShuttingDown,
}

/// Who asks, as far as admission cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A signed request over the network.
    Client,
    /// Somebody with the rights of an operator, who may deploy to a service that needs one.
    Operator,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It is begun at once.
    Start,
    /// It waits for the deployment under way.
    Wait,
    /// It waits, and the one that waited is cancelled.
    Supersede(DeploymentId),
    /// It is refused; nothing is recorded.
    Refuse(Refusal),
}

/// Why a request is refused before it becomes a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The daemon is still recovering.
    Recovering,
    /// The daemon is stopping.
    ShuttingDown,
    /// An operator paused the service.
    Paused(String),
    /// The service needs an operator.
    NeedsOperator(String),
    /// This deployment of the service is under way, and the service lets none wait.
    Busy(DeploymentId),
}

/// Decides about one request.
#[must_use]
pub fn admit(state: &ServiceState, asker: Asker) -> Admission {
    match state.accepting {
        Accepting::Recovering => return Admission::Refuse(Refusal::Recovering),
        Accepting::ShuttingDown => return Admission::Refuse(Refusal::ShuttingDown),
        Accepting::Yes => {}
    }
    if let Some(why) = &state.paused {
        return Admission::Refuse(Refusal::Paused(why.clone()));
    }
    if let (Some(why), Asker::Client) = (&state.needs_operator, asker) {
        return Admission::Refuse(Refusal::NeedsOperator(why.clone()));
    }
    match (&state.current, &state.waiting) {
        (None, _) => Admission::Start,
        (Some(current), _) if state.when_busy == WhenBusy::Refuse => {
            Admission::Refuse(Refusal::Busy(current.clone()))
        }
        (Some(_), None) => Admission::Wait,
        (Some(_), Some(waiting)) => Admission::Supersede(waiting.clone()),
    }
}

/// What a repeated delivery gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repetition {
    /// The recorded answer, once more.
    Replay,
    /// It is still under way: ask for its outcome instead of asking again.
    InProgress,
    /// The key was used for another request.
    Reused,
}

/// Decides about a request whose delivery id is known.
#[must_use]
pub fn repeated(recorded: (&str, Status), fingerprint: &str) -> Repetition {
    let (recorded_fingerprint, status) = recorded;
    if recorded_fingerprint != fingerprint {
        Repetition::Reused
    } else if status.is_end() {
        Repetition::Replay
    } else {
        Repetition::InProgress
    }
}

/// Whether a deployment in this status can still be cancelled.
#[must_use]
pub fn can_cancel(status: Status) -> bool {
    matches!(status, Status::Queued | Status::Pulling | Status::Staging)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> DeploymentId {
        let text = format!("01938f3e-7c1a-7abc-8def-01234567890{digit}");
        DeploymentId::new(&text).expect("a UUID")
    }

    fn idle() -> ServiceState {
        ServiceState {
            current: None,
            waiting: None,
            paused: None,
            needs_operator: None,
            accepting: Accepting::Yes,
            when_busy: WhenBusy::Wait,
        }
    }

    #[test]
    fn one_runs_one_waits_and_the_newest_replaces_the_waiting_one() {
        let mut state = idle();
        assert_eq!(admit(&state, Asker::Client), Admission::Start);
        state.current = Some(id('1'));
        assert_eq!(admit(&state, Asker::Client), Admission::Wait);
        state.waiting = Some(id('2'));
        assert_eq!(admit(&state, Asker::Client), Admission::Supersede(id('2')));
    }

    #[test]
    fn where_none_may_wait_a_second_one_is_refused() {
        let mut state = ServiceState {
            when_busy: WhenBusy::Refuse,
            ..idle()
        };
        assert_eq!(admit(&state, Asker::Client), Admission::Start);
        state.current = Some(id('1'));
        for asker in [Asker::Client, Asker::Operator] {
            assert_eq!(
                admit(&state, asker),
                Admission::Refuse(Refusal::Busy(id('1')))
            );
        }
    }

    #[test]
    fn only_an_operator_deploys_to_a_service_that_needs_one() {
        let state = ServiceState {
            needs_operator: Some("because".into()),
            ..idle()
        };
        assert_eq!(
            admit(&state, Asker::Client),
            Admission::Refuse(Refusal::NeedsOperator("because".into()))
        );
        assert_eq!(admit(&state, Asker::Operator), Admission::Start);
    }

    #[test]
    fn nobody_deploys_to_a_paused_service_or_a_daemon_that_is_not_ready() {
        let refusal = |state: &ServiceState| match admit(state, Asker::Operator) {
            Admission::Refuse(refusal) => refusal,
            other => panic!("not refused: {other:?}"),
        };
        let paused = ServiceState {
            paused: Some("holiday".into()),
            ..idle()
        };
        assert_eq!(refusal(&paused), Refusal::Paused("holiday".into()));
        let recovering = ServiceState {
            accepting: Accepting::Recovering,
            ..paused
        };
        assert_eq!(refusal(&recovering), Refusal::Recovering);
        let stopping = ServiceState {
            accepting: Accepting::ShuttingDown,
            ..idle()
        };
        assert_eq!(refusal(&stopping), Refusal::ShuttingDown);
    }

    #[test]
    fn a_repeated_delivery_never_runs_twice() {
        for &status in Status::ALL {
            assert_eq!(repeated(("a", status), "b"), Repetition::Reused);
            let expected = if status.is_end() {
                Repetition::Replay
            } else {
                Repetition::InProgress
            };
            assert_eq!(repeated(("a", status), "a"), expected);
        }
    }
}
