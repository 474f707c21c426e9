//! The action's script: who answered it, what it sends again, and how it ends.

use cutover_api::deployment::Status;

use crate::binary::{Cutover, Ended};
use crate::server::{Act, End, Server};
use crate::views::{EVENTS, SHA, VIEW, answer, deployment, json, outcome, refusal};

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

/// The rest of a deployment that ends like this once it is accepted.
fn accepted(server: &Server, status: Status) {
    let end = deployment(status);
    let accepted = answer(&deployment(Status::Queued));
    server
        .on("POST /deploy", [Act::json(202, accepted)])
        .on(EVENTS, [Act::Stream(vec![outcome(&end)], End::Close)])
        .always(VIEW, Act::json(200, json(&end)));
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
        accepted(&server, Status::Succeeded);
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
    let refused = json(&refusal(403, "forbidden"));
    server.always("POST /deploy", Act::json(403, refused));
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
