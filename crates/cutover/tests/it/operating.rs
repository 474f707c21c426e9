//! `rollback`, `pause`, `resume` and `cancel`.

use cutover_api::deployment::{Deployment, Status};
use cutover_api::service::Service;

use crate::binary::Cutover;
use crate::server::{Act, End, Server};
use crate::views::{EVENTS, ID, VIEW, answer, deployment, json, outcome, refusal};

const CANCEL: &str = "DELETE /v1/deployments/0197a3b4-0000-7000-8000-00000000abcd";

fn view(current: Option<Deployment>) -> String {
    json(&Service {
        name: "app".to_owned(),
        running: None,
        stopped: None,
        running_unknown: None,
        services: Vec::new(),
        paused: None,
        needs_operator: None,
        current,
        waiting: None,
        last: None,
    })
}

#[test]
fn a_rollback_is_followed_like_a_deployment() {
    let end = deployment(Status::Succeeded);
    let server = Server::start();
    server
        .on(
            "POST /v1/services/app/rollback",
            [Act::json(202, answer(&deployment(Status::Queued)))],
        )
        .on(EVENTS, [Act::Stream(vec![outcome(&end)], End::Close)])
        .on(VIEW, [Act::json(200, json(&end))]);
    let ended = Cutover::remote(&server, &["rollback", "app", "--to", ID]);
    let ended = ended.env("CUTOVER_TOKEN", "t0ken").run().with_code(0);
    assert!(ended.stdout.starts_with("succeeded:"), "{}", ended.stdout);
    let seen = &server.seen("POST /v1/services/app/rollback")[0];
    assert_eq!(seen.header("authorization"), Some("Bearer t0ken"));
    assert_eq!(seen.header("prefer"), Some("respond-async"));
    assert_eq!(seen.json(), serde_json::json!({"to": ID}));
}

#[test]
fn a_rollback_whose_answer_is_lost_is_not_asked_for_twice() {
    let server = Server::start();
    server.always("POST /v1/services/app/rollback", Act::Drop);
    let ended = Cutover::local(&server, &["rollback", "app"])
        .run()
        .with_code(5);
    assert!(
        ended
            .stderr
            .contains("`cutover status app` before asking again"),
        "{}",
        ended.stderr
    );
    assert_eq!(server.lines().len(), 1);
}

#[test]
fn a_refused_rollback_ends_with_1() {
    let server = Server::start();
    let mut problem = refusal(409, "no_earlier_release");
    problem.deployment = Some(Box::new(deployment(Status::Succeeded)));
    server.always(
        "POST /v1/services/app/rollback",
        Act::json(409, json(&problem)),
    );
    Cutover::local(&server, &["rollback", "app"])
        .run()
        .with_code(1);
    assert_eq!(server.lines().len(), 1);
}

#[test]
fn pause_and_resume_change_the_service() {
    let server = Server::start();
    let under_way = view(Some(deployment(Status::Pulling)));
    server
        .on(
            "PUT /v1/services/app/pause",
            [Act::json(200, under_way), Act::json(204, "")],
        )
        .on(
            "DELETE /v1/services/app/pause",
            [Act::json(200, view(None))],
        );
    let ended = Cutover::local(&server, &["pause", "app", "--why", "migration"])
        .run()
        .with_code(0);
    assert!(
        ended.stdout.contains("until `cutover resume app`"),
        "{}",
        ended.stdout
    );
    assert!(
        ended
            .stderr
            .contains(&format!("deployment {ID} is under way and goes on")),
        "{}",
        ended.stderr
    );
    assert_eq!(
        server.seen("PUT /v1/services/app/pause")[0].json(),
        serde_json::json!({"why": "migration"})
    );
    Cutover::local(&server, &["pause", "app"])
        .run()
        .with_code(0);
    let ended = Cutover::local(&server, &["resume", "app"])
        .run()
        .with_code(0);
    assert_eq!(ended.stdout, "app accepts deployments again\n");
}

#[test]
fn cancel_says_whether_it_is_over() {
    let server = Server::start();
    let mut too_late = refusal(409, "too_late");
    too_late.deployment = Some(Box::new(deployment(Status::Verifying)));
    server.on(
        CANCEL,
        [
            Act::json(200, json(&deployment(Status::Cancelled))),
            Act::json(202, json(&deployment(Status::Pulling))),
            Act::json(409, json(&too_late)),
        ],
    );
    let cancel = || Cutover::local(&server, &["cancel", ID]).run();
    assert!(
        cancel()
            .with_code(0)
            .stdout
            .contains("is cancelled; nothing was changed")
    );
    assert!(
        cancel()
            .with_code(0)
            .stdout
            .contains("is being cancelled; it is still pulling")
    );
    assert!(cancel().with_code(1).stderr.contains("too_late (HTTP 409)"));
}
