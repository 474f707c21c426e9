//! The action's script: who answered it, what it sends again, and how it ends.

use std::os::unix::fs::PermissionsExt as _;

use cutover_api::deployment::{Deployment, Status};
use cutover_api::signature::Signature;

use crate::binary::{Cutover, Ended, file};
use crate::server::{Act, End, Server};
use crate::views::{
    EVENTS, ID, SHA, VIEW, WATCH_TOKEN, answer, deployment, event, failed_first, json, outcome,
    refusal,
};

const SECRET: &str = "a secret of thirty-two characters";

/// The action, asked to deploy.
fn action(server: &Server) -> Cutover {
    Cutover::action(server)
        .env("CUTOVER_SERVICE", "app")
        .env("CUTOVER_SHA", SHA)
        .env("CUTOVER_SECRET", SECRET)
}

/// The heading of the end, which is no command of the runner.
fn heading(ended: &Ended) -> &str {
    let headings = ["✅", "❌", "🚨", "↩️", "❓", "🚫"];
    let mut lines = ended.stdout.lines();
    lines
        .find(|line| headings.iter().any(|sign| line.starts_with(sign)))
        .unwrap_or_else(|| panic!("no heading in\n{}", ended.stdout))
}

/// The server accepts the next request, and its deployment ends like this.
fn accepted(server: &Server, end: &Deployment) {
    let accepted = answer(&deployment(Status::Queued));
    server.on("POST /deploy", [Act::json(202, accepted)]);
    ends(server, end);
}

/// The deployment ends like this.
fn ends(server: &Server, end: &Deployment) {
    server
        .on(EVENTS, [Act::Stream(vec![outcome(end)], End::Close)])
        .always(VIEW, Act::json(200, json(end)));
}

#[test]
fn an_error_of_a_proxy_that_speaks_json_is_no_refusal_and_the_same_request_is_sent_again() {
    for (status, body) in [
        (502, r#"{"error":{"code":"bad_gateway"}}"#),
        (504, r#"{"code":"timeout","message":"upstream"}"#),
        (500, r#"{"code":500,"message":"internal"}"#),
        (503, r#"{"code":"E503","message":"no upstream"}"#),
    ] {
        let server = Server::start();
        server.on("POST /deploy", [Act::json(status, body)]);
        accepted(&server, &deployment(Status::Succeeded));
        let ended = action(&server).run().with_code(0);
        let seen = server.seen("POST /deploy");
        assert_eq!(seen.len(), 2, "{status}: {}", ended.stdout);
        assert_eq!(seen[0].body, seen[1].body, "{status}");
        assert!(heading(&ended).starts_with("✅ Deployed"), "{status}");
    }
}

#[test]
fn a_refusal_of_cutover_is_final_and_in_its_words() {
    let server = Server::start();
    let mut refused = refusal(403, "forbidden");
    refused.detail += "; nothing was changed";
    server.always("POST /deploy", Act::json(403, json(&refused)));
    let ended = action(&server).run().with_code(1);
    assert_eq!(
        heading(&ended),
        "❌ Refused, nothing was changed: forbidden (HTTP status 403)"
    );
    assert!(
        ended.stdout.contains("  refused because of forbidden\n"),
        "{}",
        ended.stdout
    );
    assert_eq!(server.seen("POST /deploy").len(), 1);
}

#[test]
fn a_lost_answer_is_asked_for_with_a_new_time_stamp_once_the_old_one_is_old() {
    // A runner whose clock is 250 s further each time that it is looked at.
    let runner = tempfile::tempdir().expect("a directory");
    let clock = runner.path().join("date");
    let script = "#!/bin/sh\nprintf x >>\"$0.looks\"\nlooks=$(wc -c <\"$0.looks\")\necho $((1700000000 + 250 * looks))\n";
    std::fs::write(&clock, script).expect("written");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&clock, executable).expect("a mode");
    let path = std::env::var("PATH").expect("a path");

    let mut under_way = refusal(409, "in_progress");
    under_way.watch_token = Some(WATCH_TOKEN.to_owned());
    let under_way =
        Act::json(409, json(&under_way)).with("location", &format!("/v1/deployments/{ID}"));
    let server = Server::start();
    server.on("POST /deploy", [Act::Drop, under_way]);
    ends(&server, &deployment(Status::Succeeded));
    action(&server)
        .env("PATH", format!("{}:{path}", runner.path().display()))
        .run()
        .with_code(0);

    let seen = server.seen("POST /deploy");
    let [first, second] = seen.as_slice() else {
        panic!("{seen:#?}");
    };
    for request in [first, second] {
        let header = request.header("x-hub-signature-256").expect("signed");
        let signature = Signature::parse(header.as_bytes()).expect("well formed");
        assert!(signature.verifies(SECRET.as_bytes(), &request.body));
    }
    let (mut first, mut second) = (first.json(), second.json());
    assert_ne!(first["timestamp"].take(), second["timestamp"].take());
    assert_eq!(first, second, "the same delivery");
}

#[test]
fn an_operator_is_asked_for_where_the_way_back_failed_and_not_where_there_was_none() {
    for (end, expected) in [
        (
            deployment(Status::RollbackFailed),
            "🚨 An operator is needed: app could not be rolled back",
        ),
        (
            failed_first(),
            "❌ Failed: app does not run; this was its first deployment",
        ),
    ] {
        let server = Server::start();
        accepted(&server, &end);
        let ended = action(&server).run().with_code(4);
        assert_eq!(heading(&ended), expected);
    }
}

#[test]
fn after_a_lost_answer_nothing_is_promised_of_what_something_else_answers() {
    let server = Server::start();
    let page = |status| Act::json(status, "<html>".to_owned());
    server
        .on("POST /deploy", [page(502)])
        .always("POST /deploy", page(404));
    let ended = action(&server).run().with_code(5);
    assert!(heading(&ended).starts_with("❓"), "{}", ended.stdout);
    assert!(
        !ended.stdout.contains("nothing was changed"),
        "{}",
        ended.stdout
    );
}

#[test]
fn the_last_output_stands_under_the_cause_in_the_log_the_annotation_and_on_the_page() {
    let mut end = deployment(Status::RolledBack);
    end.log = vec!["connecting".to_owned(), "::error::no database".to_owned()];
    end.events = vec![event(1, Status::RolledBack, &format!("{SHA} failed"))];
    let server = Server::start();
    accepted(&server, &end);
    let page = file("");
    let ended = action(&server)
        .env("GITHUB_STEP_SUMMARY", page.path())
        .run()
        .with_code(3);
    let cause = "the new container was not healthy within 60 s";
    let log = format!("  {cause}\n  | connecting\n  | ::error::no database\n  What to do: see");
    assert!(ended.stdout.contains(&log), "{}", ended.stdout);
    let annotation = format!("::{cause}%0A| connecting%0A| ::error::no database%0AWhat to do: see");
    assert!(ended.stdout.contains(&annotation), "{}", ended.stdout);
    let page = std::fs::read_to_string(page.path()).expect("the page");
    let block = format!("\n{cause}\n\n\n```text\nconnecting\n::error::no database\n```\n");
    assert!(page.contains(&block), "{page}");
    assert!(
        page.contains("<details><summary>What happened</summary>"),
        "{page}"
    );
    assert!(
        !ended.stdout.contains(SHA) && !page.contains(SHA),
        "{page}\n{}",
        ended.stdout
    );
}

#[test]
fn a_digest_is_asked_for_and_signed_with_the_rest() {
    let digest = format!("sha256:{}", "0d".repeat(32));
    let server = Server::start();
    accepted(&server, &deployment(Status::Succeeded));
    action(&server)
        .env("CUTOVER_DIGEST", &digest)
        .run()
        .with_code(0);
    let seen = server.seen("POST /deploy");
    let body: serde_json::Value = serde_json::from_slice(&seen[0].body).expect("JSON");
    assert_eq!(body["image_digest"], digest.as_str());
    assert_eq!(body["image_sha"], SHA);

    for wrong in ["sha256:0d", "latest", "sha256:\",\"x\":\""] {
        let ended = action(&server).env("CUTOVER_DIGEST", wrong).run();
        let ended = ended.with_code(2);
        assert!(heading(&ended).contains("Wrong usage"), "{wrong}");
    }
    assert_eq!(server.seen("POST /deploy").len(), 1);
}
