//! Which answer each end has, and each deployment without one.

use cutover_api::problem::Problem;
use cutover_core::cause::{Cause, Step};
use cutover_core::deployment::{Event, Failure};
use http::header::RETRY_AFTER;

use super::*;
use crate::deployer::tests::{Bare, committed, until_switched};
use crate::http::WatchTokens;
use crate::metrics::Metrics;

#[test]
fn a_failure_that_changed_nothing_is_never_a_500_or_a_proxys_status() {
    for &code in Code::ALL {
        let (status, word) = verdict(Outcome::Failed, Some(code));
        assert_eq!(word, code.as_str());
        assert!(
            ![StatusCode::BAD_GATEWAY, StatusCode::GATEWAY_TIMEOUT].contains(&status),
            "{code:?}"
        );
        assert!(!status.is_success(), "{code:?}");
        if code.retriable() {
            assert_eq!(status, StatusCode::FAILED_DEPENDENCY, "{code:?}");
        }
        assert_ne!(status, StatusCode::SERVICE_UNAVAILABLE, "{code:?}");
    }
}

#[test]
fn the_outcome_decides_before_the_cause() {
    for &code in Code::ALL {
        let cause = Some(code);
        assert_eq!(verdict(Outcome::Succeeded, cause).0, StatusCode::OK);
        assert_eq!(verdict(Outcome::Unchanged, cause).0, StatusCode::OK);
        let rolled_back = verdict(Outcome::RolledBack, cause);
        assert_eq!(
            rolled_back,
            (StatusCode::INTERNAL_SERVER_ERROR, "rolled_back")
        );
        let (status, word) = verdict(Outcome::RollbackFailed, cause);
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(["rollback_failed", "no_rollback_target"].contains(&word));
        assert_eq!(
            verdict(Outcome::Cancelled, cause),
            (StatusCode::CONFLICT, "cancelled")
        );
    }
}

#[test]
fn preferences_are_read_as_a_list() {
    let wanted = |values: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, HeaderValue::from_static(value));
        }
        Wanted::of(&headers)
    };
    for asks in [
        &["respond-async"][..],
        &["wait=10, Respond-Async"],
        &["wait=10", "respond-async; x=1"],
    ] {
        assert_eq!(wanted(asks), Wanted::Acceptance, "{asks:?}");
    }
    for does_not in [&[][..], &["respond-asynchronously"], &["wait=10"]] {
        assert_eq!(wanted(does_not), Wanted::Outcome, "{does_not:?}");
    }
}

/// The answer to whoever waited for `deployment`, and its body.
async fn answered(bare: &Bare, deployment: &Deployment) -> (Response, Problem) {
    let watch = WatchTokens::load_or_create(bare.directory.path()).expect("a key");
    let (deployer, journal) = (bare.deployer.clone(), bare.journal.clone());
    let front = Front::new(deployer, journal, &bare.settings, watch, Metrics::new());
    let response = match outcome(&front, deployment).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    };
    let (head, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX)
        .await
        .expect("a body");
    let problem = serde_json::from_slice(&bytes).expect("a problem");
    (
        Response::from_parts(head, axum::body::Body::empty()),
        problem,
    )
}

#[tokio::test]
async fn a_deployment_that_was_left_in_the_middle_is_no_refusal() {
    let bare = Bare::new().await;
    let mut deployment = bare.accepted("1-1").await;
    let (response, problem) = answered(&bare, &deployment).await;
    assert_eq!(
        (response.status(), problem.code.as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "shutting_down")
    );
    assert!(response.headers().contains_key(RETRY_AFTER));
    assert!(
        problem
            .deployment
            .is_some_and(|shown| shown.nothing_changed)
    );

    for events in [until_switched(), committed()] {
        for event in events {
            bare.apply(&mut deployment, event);
        }
        let (response, problem) = answered(&bare, &deployment).await;
        assert_eq!(
            (response.status(), problem.code.as_str()),
            (StatusCode::INTERNAL_SERVER_ERROR, "not_ended")
        );
        assert!(!problem.retriable);
        assert!(!response.headers().contains_key(RETRY_AFTER));
        let location = format!("/v1/deployments/{}", deployment.id);
        assert_eq!(response.headers()[LOCATION], location.as_str());
        let shown = problem.deployment.expect("the deployment");
        assert!(shown.outcome.is_none() && !shown.nothing_changed);
        assert!(problem.watch_token.is_some());
    }
}

#[tokio::test]
async fn a_recorded_failure_does_not_ask_to_be_repeated() {
    let bare = Bare::new().await;
    for (number, &code) in Code::ALL.iter().enumerate() {
        let mut deployment = bare.accepted(&format!("1-{number}")).await;
        let cause = Cause::new(code, Step::Prepare, "why");
        let failure = Failure {
            cause,
            log: Vec::new(),
        };
        bare.apply(&mut deployment, Event::Failed(failure));
        let (response, problem) = answered(&bare, &deployment).await;
        assert_eq!(
            (problem.code.as_str(), problem.retriable),
            (code.as_str(), code.retriable())
        );
        assert!(!response.headers().contains_key(RETRY_AFTER), "{code:?}");
        assert_ne!(
            response.status(),
            StatusCode::SERVICE_UNAVAILABLE,
            "{code:?}"
        );
    }
}

#[tokio::test]
async fn an_end_is_told_although_the_journal_cannot_be_read() {
    let bare = Bare::new().await;
    let mut deployment = bare.accepted("1-1").await;
    for event in until_switched()
        .into_iter()
        .chain(committed())
        .chain([Event::Succeeded])
    {
        bare.apply(&mut deployment, event);
    }
    bare.hide_events();
    let watch = WatchTokens::load_or_create(bare.directory.path()).expect("a key");
    let (deployer, journal) = (bare.deployer.clone(), bare.journal.clone());
    let front = Front::new(deployer, journal, &bare.settings, watch, Metrics::new());
    assert!(
        front.view(&deployment).await.is_err(),
        "the journal can be read"
    );
    let response = outcome(&front, &deployment).await.expect("the outcome");
    assert_eq!(response.status(), StatusCode::OK);
    let accepted = acceptance(&front, &deployment).await;
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
    // Neither is a repetition while it is under way refused for that.
    let meanwhile = crate::deployer::Refused::InProgress(Box::new(deployment.clone()));
    assert_eq!(
        front.refusal(meanwhile).await.code(),
        RequestCode::InProgress
    );
    // How one goes on that is only in the journal cannot be known: then nothing is promised.
    let unknown = ended(&front, deployment).await.expect_err("cannot be read");
    assert_eq!(unknown.code(), RequestCode::NotEnded);
    let shown = unknown.into_problem().deployment.expect("the deployment");
    assert!(!shown.nothing_changed);
}
