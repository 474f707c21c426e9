//! Accepted requests whose image or project is not right: what ran runs on untouched, and the answer
//! names the cause.

use cutover_testkit::images::ImageSpec;
use serde_json::json;

use crate::daemon::{Daemon, Reach, Request, Wishes};
use crate::wire::Answer;

/// Checks what all failures that changed nothing have in common.
#[track_caller]
fn expect(answer: &Answer, status: u16, code: &str) {
    let found = (answer.status, answer.code());
    assert_eq!(found, (status, code.to_owned()), "{}", answer.body);
    let problem = answer.json();
    let deployment = &problem["deployment"];
    assert_eq!(deployment["outcome"], json!("failed"), "{problem:#}");
    assert_eq!(deployment["nothing_changed"], json!(true));
    assert_eq!(deployment["cause"]["code"], json!(code));
    assert_eq!(problem["retriable"], deployment["cause"]["retriable"]);
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.ends_with("; nothing was changed"), "{detail}");
    let location = format!(
        "/v1/deployments/{}",
        deployment["id"].as_str().expect("an id")
    );
    assert_eq!(answer.header("location"), Some(location.as_str()));
    assert!(problem["watch_token"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_had_leaves_everything_as_it_was() {
    let (mut daemon, _) = Daemon::deployed().await;
    let before = daemon.containers();
    let unknown = daemon.unused_sha();
    let answer = daemon.ask(&daemon.deployment(&unknown).to_bytes()).await;
    expect(&answer, 422, "image_not_found");
    assert_eq!(daemon.containers(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_fails_is_answered_with_what_runs_now() {
    let (mut daemon, _) = Daemon::deployed().await;
    let before = daemon.containers();
    let bad = daemon.push(&ImageSpec::new("bad").env("EXIT_AT_ONCE", "3"));
    let answer = daemon.ask(&daemon.deployment(&bad).to_bytes()).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (500, "rolled_back"),
        "{}",
        answer.body
    );
    let problem = answer.json();
    assert_eq!(problem["deployment"]["outcome"], json!("rolled_back"));
    assert_eq!(
        problem["deployment"]["cause"]["code"],
        json!("container_exited")
    );
    assert_eq!(problem["deployment"]["nothing_changed"], json!(false));
    let ids = |containers: &[(String, String)]| {
        containers
            .iter()
            .map(|(id, _)| id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&daemon.containers()), ids(&before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_release_that_fails_has_nothing_to_go_back_to() {
    let mut daemon = Daemon::start(&Wishes::default()).await;
    let bad = daemon.push(&ImageSpec::new("bad").env("EXIT_AT_ONCE", "3"));
    let answer = daemon.ask(&daemon.deployment(&bad).to_bytes()).await;
    let found = (answer.status, answer.code());
    assert_eq!(
        found,
        (500, "no_rollback_target".to_owned()),
        "{}",
        answer.body
    );

    // Nothing ran before and nothing runs now: the next release may come.
    let next = daemon.push(&ImageSpec::new("good"));
    let answer = daemon.ask(&daemon.deployment(&next).to_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_without_docker_refuses_and_says_so() {
    let wishes = Wishes {
        docker: Reach::Missing,
        ..Wishes::default()
    };
    let mut daemon = Daemon::start(&wishes).await;
    let sha = daemon.unused_sha();
    let answer = daemon.ask(&daemon.deployment(&sha).to_bytes()).await;
    let code = answer.code();
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(
        ["recovering", "docker_unavailable"].contains(&code.as_str()),
        "{code}"
    );
    assert!(answer.header("retry-after").is_some());

    let ready = daemon.ask(&Request::new("GET /readyz").to_bytes()).await;
    assert_eq!((ready.status, &ready.json()["ready"]), (503, &json!(false)));
    assert!(ready.header("retry-after").is_some());
    let alive = daemon.ask(&Request::new("GET /healthz").to_bytes()).await;
    assert_eq!((alive.status, &alive.json()["alive"]), (200, &json!(true)));
}
