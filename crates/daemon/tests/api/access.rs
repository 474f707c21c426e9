//! Who may see and do what.

use serde_json::{Value, json};

use crate::daemon::{Daemon, Request, TOKEN};

/// Requests that only an operator may make, and the status that one gets.
fn operators(id: &str) -> Vec<(Request, u16)> {
    let new = Request::new;
    vec![
        (new("GET /v1/deployments"), 200),
        (new("GET /v1/deployments?service=app&before=&limit=1"), 200),
        (new("GET /v1/services"), 200),
        (new("GET /v1/services/app"), 200),
        (new("GET /v1/services/nosuch"), 404),
        (
            new("PUT /v1/services/app/pause").json(&json!({"why": "a test"})),
            200,
        ),
        (new("DELETE /v1/services/app/pause"), 200),
        (new("POST /v1/services/app/rollback"), 409),
        (new(&format!("DELETE /v1/deployments/{id}")), 409),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_resource_is_for_those_who_may() {
    let (daemon, sha) = Daemon::deployed().await;
    let first = daemon.ask(&daemon.deployment(&sha).to_bytes()).await.json();
    let second = daemon.ask(&daemon.deployment(&sha).to_bytes()).await.json();
    let id = |answer: &Value| {
        answer["deployment"]["id"]
            .as_str()
            .expect("an id")
            .to_owned()
    };
    let token = |answer: &Value| {
        format!(
            "Bearer {}",
            answer["watch_token"].as_str().expect("a token")
        )
    };

    for (request, status) in operators(&id(&first)) {
        let line = request.line.clone();
        let anonymous = daemon.ask(&request.to_bytes()).await;
        assert_eq!(
            (anonymous.status, anonymous.code().as_str()),
            (401, "unauthorized"),
            "{line}"
        );
        assert_eq!(
            anonymous.header("www-authenticate"),
            Some("Bearer"),
            "{line}"
        );
        let watcher = request.clone().with("Authorization", token(&first));
        let watcher = daemon.ask(&watcher.to_bytes()).await;
        assert_eq!(
            (watcher.status, watcher.code().as_str()),
            (403, "forbidden"),
            "{line}"
        );
        let operator = daemon.ask(&request.clone().by_operator().to_bytes()).await;
        assert_eq!(operator.status, status, "{line}: {}", operator.body);
        let local = daemon.ask_locally(&request.to_bytes()).await;
        assert_eq!(local.status, status, "{line}: {}", local.body);
    }

    let unknown = "01938f3e-7c1a-7abc-8def-0123456789ab";
    for (path, authorization, status) in [
        (id(&first), token(&first), 200),
        (id(&first), token(&second), 404),
        (id(&first), format!("Bearer {TOKEN}"), 200),
        (id(&first), format!("Bearer {TOKEN}0"), 401),
        (id(&first), "Bearer nonsense".to_owned(), 401),
        (
            id(&first),
            token(&first).replacen("Bearer", "Basic", 1),
            401,
        ),
        (unknown.to_owned(), token(&first), 404),
        (unknown.to_owned(), format!("Bearer {TOKEN}"), 404),
        (unknown.to_owned(), "Bearer nonsense".to_owned(), 401),
        ("nonsense".to_owned(), token(&first), 404),
    ] {
        for suffix in ["", "/events"] {
            let request = Request::new(&format!("GET /v1/deployments/{path}{suffix}"));
            let anonymous = daemon.ask(&request.to_bytes()).await;
            assert_eq!(anonymous.status, 401, "{path}{suffix}");
            let request = request.with("Authorization", &authorization);
            let answer = daemon.ask(&request.to_bytes()).await;
            assert_eq!(
                answer.status, status,
                "{path}{suffix} {authorization}: {}",
                answer.body
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_an_operators_rights_through_a_proxy() {
    let (daemon, sha) = Daemon::deployed().await;
    let before = daemon.containers();
    let request = daemon.deployment(&sha).without("X-Hub-Signature-256");
    for request in [request, Request::new("GET /v1/services")] {
        let proxied = request.with("X-Forwarded-For", "203.0.113.7");
        let answer = daemon.ask_locally(&proxied.to_bytes()).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "forbidden"),
            "{}",
            answer.body
        );
    }
    assert_eq!(daemon.containers(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_request_is_recorded_with_its_user() {
    let (daemon, sha) = Daemon::deployed().await;
    let body = json!({"service": "app", "image_sha": sha});
    let answer = daemon
        .ask_locally(&Request::new("POST /deploy").json(&body).to_bytes())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let uid = rustix::process::getuid().as_raw();
    assert_eq!(
        answer.json()["deployment"]["actor"],
        json!(format!("local:{uid}"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reasons_and_names_are_for_operators() {
    let (daemon, _) = Daemon::deployed().await;
    let app = cutover_core::names::ServiceName::new("app").expect("a name");
    daemon
        .journal
        .set_needs_operator(&app, Some("a test"))
        .await
        .expect("recorded");
    let request = Request::new("GET /readyz");
    let stranger = daemon.ask(&request.to_bytes()).await;
    assert_eq!(stranger.status, 200, "{}", stranger.body);
    assert_eq!(stranger.json()["services_needing_operator"], json!(1));
    assert_eq!(stranger.json()["needs_operator"], json!([]));
    let operator = daemon.ask(&request.clone().by_operator().to_bytes()).await;
    assert_eq!(operator.json()["needs_operator"], json!(["app"]));
    let local = daemon.ask_locally(&request.to_bytes()).await;
    assert_eq!(local.json()["needs_operator"], json!(["app"]));
}
