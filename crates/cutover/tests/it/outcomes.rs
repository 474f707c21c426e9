//! Each outcome has its exit code, its words and its JSON.

use cutover_api::deployment::{Deployment, Status};

use crate::binary::Cutover;
use crate::server::{Act, End, Server};
use crate::views::{
    EVENTS, ID, SHA, VIEW, answer, deployment, event, failed_first, journal, json, outcome, output,
    progress, refusal,
};

/// A server on which the deployment ends like this.
fn ending(status: Status) -> Server {
    ending_as(deployment(status))
}

/// A server on which this deployment ends.
fn ending_as(mut ended: Deployment) -> Server {
    let server = Server::start();
    let status = ended.status;
    ended.events = vec![
        event(1, Status::Pulling, "the image is being pulled"),
        event(2, status, "it is over"),
    ];
    let events = vec![
        journal(1, Status::Pulling, "the image is being pulled"),
        progress(120_000_000),
        ": still here\n\n".to_owned(),
        output("listening on 8080"),
        journal(2, status, "it is over"),
        outcome(&ended),
    ];
    server
        .on(
            "POST /deploy",
            [Act::json(202, answer(&deployment(Status::Queued)))],
        )
        .on(EVENTS, [Act::Stream(events, End::Close)])
        .on(VIEW, [Act::json(200, json(&ended))]);
    server
}

#[test]
fn each_outcome_has_its_exit_code() {
    for (status, code, word) in [
        (Status::Succeeded, 0, "succeeded: app runs"),
        (Status::Unchanged, 0, "unchanged: app already ran"),
        (
            Status::Failed,
            1,
            "failed: the image is not in the registry",
        ),
        (
            Status::Cancelled,
            1,
            "cancelled: a newer request took its place",
        ),
        (
            Status::RolledBack,
            3,
            "rolled back: the new container was not healthy",
        ),
        (
            Status::RollbackFailed,
            4,
            "needs an operator: the previous container",
        ),
    ] {
        let server = ending(status);
        let ended = Cutover::local(&server, &["deploy", "app", SHA])
            .run()
            .with_code(code);
        assert!(ended.stdout.starts_with(word), "{}", ended.stdout);
        let ended = Cutover::local(&ending(status), &["deploy", "app", SHA, "--json"]).run();
        ended.with_code(code);
    }
}

#[test]
fn a_success_is_told_step_by_step() {
    let ended = Cutover::local(&ending(Status::Succeeded), &["deploy", "app", SHA])
        .run()
        .with_code(0);
    insta::assert_snapshot!(ended.stderr, @r"
    cutover: deploying 3f2a9c1b0d4e to app, deployment 0197a3b4-0000-7000-8000-00000000abcd
      pulled 120.0 MB of 400.0 MB, 3 of 7 layers
      | listening on 8080
    2026-01-02T03:04:06Z  ✓ pull           0 ms  it is over
    ");
    insta::assert_snapshot!(ended.stdout, @r"
    succeeded: app runs ghcr.io/acme/shop:3f2a9c1b0d4e (healthy for 5 s)
      changed     app ran ghcr.io/acme/shop:111111111111 before
      outage      240 ms
      took        12.3 s
      deployment  0197a3b4-0000-7000-8000-00000000abcd
    ");
}

#[test]
fn a_rollback_says_what_was_changed_and_what_to_do() {
    let ended = Cutover::local(&ending(Status::RolledBack), &["deploy", "app", SHA])
        .run()
        .with_code(3);
    insta::assert_snapshot!(ended.stdout, @r"
    rolled back: the new container was not healthy within 60 s
      changed     app runs ghcr.io/acme/shop:111111111111 again (healthy for 5 s)
      next        see its output
      code        unhealthy
      outage      240 ms
      took        12.3 s
      deployment  0197a3b4-0000-7000-8000-00000000abcd
    ");
}

#[test]
fn a_failure_says_that_nothing_was_changed() {
    let ended = Cutover::local(&ending(Status::Failed), &["deploy", "app", SHA])
        .run()
        .with_code(1);
    insta::assert_snapshot!(ended.stdout, @r"
    failed: the image is not in the registry
      changed     nothing: app still runs ghcr.io/acme/shop:111111111111
      next        push it first
      code        image_not_found
      took        12.3 s
      deployment  0197a3b4-0000-7000-8000-00000000abcd
    ");
}

#[test]
fn a_first_deployment_that_fails_asks_for_no_operator() {
    let ended = Cutover::local(&ending_as(failed_first()), &["deploy", "app", SHA])
        .run()
        .with_code(4);
    insta::assert_snapshot!(ended.stdout, @r"
    failed: the new container exited, and there is nothing to go back to
      changed     app does not run; this was its first deployment
      next        fix the release and deploy again
      code        no_rollback_target
      took        12.3 s
      deployment  0197a3b4-0000-7000-8000-00000000abcd
    ");
}

#[test]
fn what_is_told_at_an_end_without_a_way_back_is_told_once() {
    let mut end = deployment(Status::RollbackFailed);
    let cause = end.cause.as_ref().expect("a cause").detail.clone();
    let last = format!("{cause}; what runs now: nothing");
    end.events = vec![event(1, Status::RollbackFailed, &last)];
    let server = Server::start();
    server
        .on(
            "POST /deploy",
            [Act::json(202, answer(&deployment(Status::Queued)))],
        )
        .on(EVENTS, [Act::Stream(vec![outcome(&end)], End::Close)])
        .on(VIEW, [Act::json(200, json(&end))]);
    let ended = Cutover::local(&server, &["deploy", "app", SHA])
        .run()
        .with_code(4);
    insta::assert_snapshot!(ended.stdout, @r"
    needs an operator: the previous container could not be started
      changed     what runs now: nothing
      next        start it by hand
      code        rollback_failed
      outage      240 ms
      took        12.3 s
      deployment  0197a3b4-0000-7000-8000-00000000abcd
    ");
}

#[test]
fn the_containers_last_lines_stand_under_the_cause_or_beside_the_json() {
    let mut end = deployment(Status::RolledBack);
    end.log = (1..=25).map(|i| format!("line {i}")).collect();
    end.log.push("panic: \u{1b}[31mno database".to_owned());
    let server = Server::start();
    server
        .always(
            "POST /deploy",
            Act::json(202, answer(&deployment(Status::Queued))),
        )
        .always(EVENTS, Act::Stream(vec![outcome(&end)], End::Close))
        .always(VIEW, Act::json(200, json(&end)));
    let ended = Cutover::local(&server, &["deploy", "app", SHA])
        .run()
        .with_code(3);
    assert!(
        ended.stdout.starts_with(
            "rolled back: the new container was not healthy within 60 s\n  \
             | … (6 of 26 lines left out)\n  | line 7\n"
        ),
        "{}",
        ended.stdout
    );
    let last = "  | line 25\n  | panic: no database\n  changed ";
    assert!(ended.stdout.contains(last), "{}", ended.stdout);
    assert!(!ended.stderr.contains("panic"), "once: {}", ended.stderr);

    let ended = Cutover::local(&server, &["deploy", "app", SHA, "--json"])
        .run()
        .with_code(3);
    assert!(
        ended.stderr.contains("  | panic: no database\n"),
        "{}",
        ended.stderr
    );
}

#[test]
fn json_is_the_final_body_byte_by_byte() {
    let body = format!(
        "{{ \"future\" : [1,2 ],{}\n\n",
        &json(&deployment(Status::RolledBack))[1..]
    );
    let server = Server::start();
    server
        .on(
            "POST /deploy",
            [Act::json(202, answer(&deployment(Status::Queued)))],
        )
        .on(
            EVENTS,
            [Act::Stream(
                vec![outcome(&deployment(Status::RolledBack))],
                End::Close,
            )],
        )
        .on(VIEW, [Act::json(200, body.clone())]);
    let ended = Cutover::local(&server, &["deploy", "app", SHA, "--json"])
        .run()
        .with_code(3);
    assert_eq!(ended.stdout, body);
    assert!(
        ended.stderr.contains(ID),
        "progress goes on on stderr: {}",
        ended.stderr
    );
}

#[test]
fn the_streamed_outcome_counts_where_the_view_cannot_be_read_any_more() {
    let end = deployment(Status::Succeeded);
    let server = Server::start();
    server
        .on(
            "POST /deploy",
            [Act::json(202, answer(&deployment(Status::Queued)))],
        )
        .on(EVENTS, [Act::Stream(vec![outcome(&end)], End::Close)])
        .on(VIEW, [Act::Drop]);
    let ended = Cutover::local(&server, &["deploy", "app", SHA, "--json"])
        .run()
        .with_code(0);
    assert_eq!(ended.stdout.trim_end(), json(&end));
}

#[test]
fn a_refused_request_ends_with_1_and_says_that_nothing_was_changed() {
    let refused = json(&refusal(403, "forbidden"));
    let server = Server::start();
    server.always("POST /deploy", Act::json(403, refused.clone()));
    let ended = Cutover::local(&server, &["deploy", "app", SHA])
        .run()
        .with_code(1);
    insta::assert_snapshot!(ended.stderr, @r"
    error: refused because of forbidden
      changed  nothing: the request was refused
      next     do something about forbidden
      code     forbidden (HTTP 403)
    ");
    assert_eq!(ended.stdout, "");

    let mut told = refusal(403, "forbidden");
    told.detail += "; nothing was changed";
    let once = Server::start();
    once.always("POST /deploy", Act::json(403, json(&told)));
    let once = Cutover::local(&once, &["deploy", "app", SHA])
        .run()
        .with_code(1);
    assert_eq!(once.stderr, ended.stderr, "a fact is told once");

    let ended = Cutover::local(&server, &["deploy", "app", SHA, "--json"])
        .run()
        .with_code(1);
    assert_eq!(ended.stdout.trim_end(), refused);
}

#[test]
fn the_exit_code_counts_even_where_nobody_reads_the_result() {
    let server = ending(Status::RolledBack);
    let mut running = Cutover::local(&server, &["deploy", "app", SHA]).start();
    running.close_stdout();
    running.end().with_code(3);
}
