//! A request is signed, sent until it is accepted, and never deployed twice.

use cutover_api::deployment::Status;
use cutover_api::signature::Signature;

use crate::binary::{Cutover, file};
use crate::server::{Act, End, Server};
use crate::views::{
    EVENTS, ID, SHA, VIEW, WATCH_TOKEN, answer, deployment, json, outcome, refusal,
};

/// The rest of a deployment that succeeds once it is accepted.
fn succeeds(server: &Server) {
    let end = deployment(Status::Succeeded);
    server
        .on(EVENTS, [Act::Stream(vec![outcome(&end)], End::Close)])
        .always(VIEW, Act::json(200, json(&end)));
}

fn accepted() -> Act {
    Act::json(202, answer(&deployment(Status::Queued)))
}

#[test]
fn a_local_request_is_complete_and_unsigned() {
    let server = Server::start();
    server.on("POST /deploy", [accepted()]);
    succeeds(&server);
    Cutover::local(&server, &["deploy", "app", SHA, "--digest", "sha256:abc"])
        .run()
        .with_code(0);
    let seen = &server.seen("POST /deploy")[0];
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("prefer"), Some("respond-async"));
    assert_eq!(seen.header("x-hub-signature-256"), None);
    assert_eq!(seen.header("authorization"), None);
    let body = seen.json();
    assert_eq!(body["image_sha"], SHA);
    assert_eq!(body["service"], "app");
    assert_eq!(body["image_digest"], "sha256:abc");
    let now = jiff::Timestamp::now().as_second();
    let age = now - body["timestamp"].as_i64().expect("seconds");
    assert!((0..60).contains(&age), "{age}");
    assert_eq!(body["delivery_id"].as_str().map(str::len), Some(36));
}

#[test]
fn a_request_over_the_network_is_signed_and_its_watch_token_reads_the_rest() {
    let secret = file("a secret of thirty-two characters\n");
    let path = secret.path().to_str().expect("a path");
    let from_file: &[&str] = &["deploy", "app", SHA, "--secret-file", path];
    let from_environment: &[&str] = &["deploy", "app", SHA];
    for arguments in [from_file, from_environment] {
        let server = Server::start();
        server.on("POST /deploy", [accepted()]);
        succeeds(&server);
        Cutover::remote(&server, arguments)
            .env("CUTOVER_SECRET", "a secret of thirty-two characters")
            .run()
            .with_code(0);
        let seen = &server.seen("POST /deploy")[0];
        let header = seen.header("x-hub-signature-256").expect("signed");
        let signature = Signature::parse(header.as_bytes()).expect("well formed");
        assert!(signature.verifies(b"a secret of thirty-two characters", &seen.body));
        let bearer = format!("Bearer {WATCH_TOKEN}");
        for line in [EVENTS, VIEW] {
            assert_eq!(
                server.seen(line)[0].header("authorization"),
                Some(bearer.as_str())
            );
        }
    }
}

#[test]
fn after_a_lost_answer_the_very_same_bytes_are_sent_again() {
    let under_way = {
        let mut problem = refusal(409, "in_progress");
        problem.watch_token = Some(WATCH_TOKEN.to_owned());
        problem
    };
    let under_way = Act::json(409, json(&under_way))
        .with("location", &format!("/v1/deployments/{ID}"))
        .with("retry-after", "3");
    let server = Server::start();
    server.on("POST /deploy", [Act::Drop, Act::Drop, under_way]);
    succeeds(&server);
    let ended = Cutover::remote(&server, &["deploy", "app", SHA])
        .env("CUTOVER_SECRET", "secret")
        .run()
        .with_code(0);
    let seen = server.seen("POST /deploy");
    assert_eq!(seen.len(), 3);
    for repeated in &seen[1..] {
        assert_eq!(repeated.body, seen[0].body);
        assert_eq!(
            repeated.headers.get("x-hub-signature-256"),
            seen[0].headers.get("x-hub-signature-256")
        );
    }
    assert!(
        ended.stderr.contains("sending the same request again"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("nothing is deployed twice"),
        "{}",
        ended.stderr
    );
    let bearer = format!("Bearer {WATCH_TOKEN}");
    assert_eq!(
        server.seen(EVENTS)[0].header("authorization"),
        Some(bearer.as_str())
    );
}

#[test]
fn a_finished_deployment_that_is_replayed_is_told_and_not_followed() {
    let end = deployment(Status::Succeeded);
    let server = Server::start();
    server
        .on(
            "POST /deploy",
            [Act::json(200, answer(&end)).with("idempotent-replayed", "true")],
        )
        .on(VIEW, [Act::json(200, json(&end))]);
    let ended = Cutover::local(&server, &["deploy", "app", SHA])
        .run()
        .with_code(0);
    assert!(
        ended.stderr.contains("nothing is deployed twice"),
        "{}",
        ended.stderr
    );
    assert_eq!(server.lines(), ["POST /deploy", VIEW]);
}

#[test]
fn a_failed_deployment_that_is_replayed_keeps_its_exit_code() {
    let mut end = deployment(Status::RolledBack);
    end.delivery_id = Some("this-one".to_owned());
    let mut problem = refusal(500, "rolled_back");
    problem.deployment = Some(Box::new(end));
    let replayed = Act::json(500, json(&problem)).with("idempotent-replayed", "true");
    let server = Server::start();
    server
        .on("POST /deploy", [replayed])
        .always(VIEW, Act::Drop);
    let arguments = ["deploy", "app", SHA, "--delivery-id", "this-one"];
    let ended = Cutover::local(&server, &arguments).run().with_code(3);
    assert!(ended.stdout.starts_with("rolled back:"), "{}", ended.stdout);
}

#[test]
fn a_deployment_that_the_daemon_left_in_the_middle_is_followed_to_its_end() {
    let mut left = deployment(Status::Verifying);
    for (line, arguments, delivery_id, status, code) in [
        (
            "POST /deploy",
            &["deploy", "app", SHA, "--delivery-id", "this-one"][..],
            Some("this-one"),
            500,
            "not_ended",
        ),
        (
            "POST /v1/services/app/rollback",
            &["rollback", "app"],
            None,
            500,
            "not_ended",
        ),
        (
            "POST /v1/services/app/rollback",
            &["rollback", "app"],
            None,
            503,
            "shutting_down",
        ),
    ] {
        left.delivery_id = delivery_id.map(str::to_owned);
        let mut problem = refusal(status, code);
        problem.deployment = Some(Box::new(left.clone()));
        problem.watch_token = Some(WATCH_TOKEN.to_owned());
        let server = Server::start();
        let answer = Act::json(status, json(&problem)).with("retry-after", "1");
        server.on(line, [answer]);
        succeeds(&server);
        Cutover::local(&server, arguments).run().with_code(0);
        assert_eq!(server.seen(line).len(), 1, "{line} {code}");
    }
}

#[test]
fn a_busy_daemon_is_waited_for() {
    let busy =
        |status, code| Act::json(status, json(&refusal(status, code))).with("retry-after", "1");
    let server = Server::start();
    server.on(
        "POST /deploy",
        [
            busy(409, "deployment_in_progress"),
            busy(503, "recovering"),
            busy(429, "rate_limited"),
            accepted(),
        ],
    );
    succeeds(&server);
    let ended = Cutover::local(&server, &["deploy", "app", SHA])
        .run()
        .with_code(0);
    assert!(
        ended
            .stderr
            .contains("refused because of recovering; asking again in 1 s"),
        "{}",
        ended.stderr
    );
    let seen = server.seen("POST /deploy");
    let ids: Vec<_> = seen
        .iter()
        .map(|seen| seen.json()["delivery_id"].clone())
        .collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
    // Certainly not accepted so far: a new timestamp keeps a long wait from making the request stale.
    assert!(seen[0].json()["timestamp"].as_i64() < seen[3].json()["timestamp"].as_i64());
}

#[test]
fn waiting_for_a_busy_daemon_is_bounded() {
    let busy =
        Act::json(409, json(&refusal(409, "deployment_in_progress"))).with("retry-after", "1");
    let server = Server::start();
    server.always("POST /deploy", busy);
    let ended = Cutover::local(&server, &["deploy", "app", SHA, "--give-up-after", "2"]).run();
    let ended = ended.with_code(1);
    assert!(
        ended.stderr.contains("deployment_in_progress (HTTP 409)"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_service_unavailable_without_a_time_to_wait_is_a_refusal() {
    let server = Server::start();
    server.on(
        "POST /deploy",
        [Act::json(503, json(&refusal(503, "journal_unwritable")))],
    );
    Cutover::local(&server, &["deploy", "app", SHA])
        .run()
        .with_code(1);
    assert_eq!(server.lines().len(), 1);
}

#[test]
fn an_answer_that_stays_lost_ends_with_5() {
    let server = Server::start();
    server.always("POST /deploy", Act::Drop);
    let ended = Cutover::local(&server, &["deploy", "app", SHA, "--give-up-after", "1"]).run();
    let ended = ended.with_code(5);
    assert!(
        ended.stderr.contains("a deployment may be under way"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("cutover status app"),
        "{}",
        ended.stderr
    );
    assert!(server.seen("POST /deploy").len() > 1);
}

#[test]
fn in_github_actions_a_repeated_step_asks_under_the_same_delivery_id() {
    let server = Server::start();
    server.always(
        "POST /deploy",
        Act::json(403, json(&refusal(403, "forbidden"))),
    );
    let ask = |attempt: &str| {
        Cutover::local(&server, &["deploy", "app", SHA])
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_REPOSITORY_ID", "77")
            .env("GITHUB_RUN_ID", "88")
            .env("GITHUB_RUN_ATTEMPT", attempt)
            .run()
            .with_code(1);
        server.seen("POST /deploy").pop().expect("asked").json()["delivery_id"].clone()
    };
    let first = ask("1");
    assert_eq!(first, format!("github:77:88:1:app:{SHA}"));
    assert_eq!(first, ask("1"));
    assert_ne!(first, ask("2"));
}
