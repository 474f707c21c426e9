//! What an operator reads and does.

use cutover_testkit::images::ImageSpec;
use serde_json::json;

use crate::daemon::{Daemon, Request};
use crate::wire::{Answer, Raw};

async fn operator(daemon: &Daemon, request: Request) -> Answer {
    daemon.ask(&request.by_operator().to_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_service_refuses_with_the_operators_reason_until_it_is_resumed() {
    let (daemon, sha) = Daemon::deployed().await;
    let pause = Request::new("PUT /v1/services/app/pause").json(&json!({"why": "moving house"}));
    let paused = operator(&daemon, pause).await;
    assert_eq!(paused.status, 200, "{}", paused.body);
    assert_eq!(paused.json()["paused"]["why"], json!("moving house"));

    let refused = daemon.ask(&daemon.deployment(&sha).to_bytes()).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (409, "paused"),
        "{}",
        refused.body
    );
    assert!(refused.header("retry-after").is_some());
    assert!(refused.body.contains("moving house"), "{}", refused.body);

    let resumed = operator(&daemon, Request::new("DELETE /v1/services/app/pause")).await;
    assert_eq!(
        (resumed.status, &resumed.json()["paused"]),
        (200, &json!(null))
    );
    assert_eq!(
        daemon.ask(&daemon.deployment(&sha).to_bytes()).await.status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_parameters_are_named() {
    let (daemon, _) = Daemon::deployed().await;
    let new = Request::new;
    for (request, status, code) in [
        (new("GET /v1/deployments?limit=0"), 422, "invalid_parameter"),
        (
            new("GET /v1/deployments?limit=101"),
            422,
            "invalid_parameter",
        ),
        (new("GET /v1/deployments?limit=x"), 422, "invalid_parameter"),
        (
            new("GET /v1/deployments?before=x"),
            422,
            "invalid_parameter",
        ),
        (
            new("GET /v1/deployments?newest=1"),
            422,
            "invalid_parameter",
        ),
        (
            new("GET /v1/deployments?service=nosuch"),
            404,
            "unknown_service",
        ),
        (
            new("POST /v1/services/app/rollback").json(&json!({"to": "x"})),
            422,
            "invalid_parameter",
        ),
        (
            new("POST /v1/services/app/rollback").json(&json!({"to": 1})),
            422,
            "invalid_type",
        ),
        (
            new("POST /v1/services/app/rollback").json(&json!([])),
            422,
            "invalid_request",
        ),
        (
            new("PUT /v1/services/app/pause").json(&json!({"why": "a\nb"})),
            422,
            "invalid_parameter",
        ),
        (
            new("PUT /v1/services/app/pause").body(b"{".to_vec()),
            400,
            "malformed_json",
        ),
        (new("PUT /v1/services/nosuch/pause"), 404, "unknown_service"),
        (new("PATCH /v1/services/app"), 405, "method_not_allowed"),
    ] {
        let line = request.line.clone();
        let answer = operator(&daemon, request).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{line}: {}",
            answer.body
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_release_comes_back_and_the_history_tells_it_page_by_page() {
    let (mut daemon, one) = Daemon::deployed().await;
    let two = daemon.push(&ImageSpec::new("two"));
    assert_eq!(
        daemon.ask(&daemon.deployment(&two).to_bytes()).await.status,
        200
    );
    let back = operator(&daemon, Request::new("POST /v1/services/app/rollback")).await;
    assert_eq!(back.status, 200, "{}", back.body);
    assert_eq!(back.json()["deployment"]["image_sha"], json!(one));
    assert_eq!(back.json()["deployment"]["actor"], json!("operator:alice"));

    let mut seen = Vec::new();
    let mut before = String::new();
    loop {
        let page = Request::new(&format!(
            "GET /v1/deployments?service=app&limit=2&before={before}"
        ));
        let page = operator(&daemon, page).await.json();
        for deployment in page["deployments"].as_array().expect("a list") {
            assert_eq!(deployment["events"], json!([]));
            seen.push(deployment["image_sha"].as_str().expect("a sha").to_owned());
        }
        match page["next_before"].as_str() {
            Some(next) => before = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, [one.clone(), two, one]);

    let service = operator(&daemon, Request::new("GET /v1/services/app"))
        .await
        .json();
    assert_eq!(service["last"]["id"], back.json()["deployment"]["id"]);
    assert_eq!(service["running"]["condition"], json!("running"));
    let list = operator(&daemon, Request::new("GET /v1/services"))
        .await
        .json();
    assert_eq!(list["services"][0]["name"], json!("app"));
    assert_eq!(list["services"][1]["name"], json!("blog"));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_happened_and_are_on_their_own_listener() {
    let (mut daemon, _) = Daemon::deployed().await;
    let unknown = daemon.unused_sha();
    assert_eq!(
        daemon
            .ask(&daemon.deployment(&unknown).to_bytes())
            .await
            .status,
        422
    );
    let address = daemon.server.metrics_address().expect("a listener");
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("connects");
    let mut raw = Raw::new(stream);
    // A name of somebody else's that leads here: a page in a browser on this machine asks so.
    raw.send(&Request::new("GET /metrics").to_bytes()).await;
    assert_eq!(raw.answer().await.expect("an answer").status, 403);
    let own = |line: &str| {
        let request = Request::new(line).without("Host");
        request.with("Host", "localhost:9464").to_bytes()
    };
    raw.send(&own("GET /metrics")).await;
    let text = raw.answer().await.expect("an answer").body;
    for line in [
        "cutover_deployments_total{service=\"app\",outcome=\"succeeded\"} 1",
        "cutover_deployments_total{service=\"app\",outcome=\"failed\"} 1",
        "cutover_http_requests_total{method=\"POST\",route=\"/deploy\",status=\"422\"} 1",
        "cutover_http_refusals_total{code=\"image_not_found\"} 1",
        "cutover_service_needs_operator{service=\"app\"} 0",
        "cutover_deployments_unfinished{service=\"blog\"} 0",
    ] {
        assert!(text.contains(line), "{line} not in:\n{text}");
    }
    raw.send(&own("GET /healthz")).await;
    assert_eq!(raw.answer().await.expect("an answer").status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_served() {
    let (daemon, _) = Daemon::deployed().await;
    let document = daemon
        .ask(&Request::new("GET /openapi.json").to_bytes())
        .await;
    assert_eq!(document.status, 200);
    assert_eq!(document.header("content-type"), Some("application/json"));
    assert!(document.json()["paths"]["/deploy"]["post"].is_object());
}
