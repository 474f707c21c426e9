//! A deployment is followed to its end over connections that come and go.

use cutover_api::deployment::Status;
use rustix::process::{Pid, Signal, kill_process};

use crate::binary::Cutover;
use crate::server::{Act, End, Server};
use crate::views::{
    EVENTS, ID, SHA, VIEW, answer, deployment, event, journal, json, outcome, refusal,
};

fn accepting() -> Server {
    let server = Server::start();
    server.on(
        "POST /deploy",
        [Act::json(202, answer(&deployment(Status::Queued)))],
    );
    server
}

#[test]
fn a_cut_stream_is_taken_up_where_it_ended() {
    for cut in [End::Cut, End::Close] {
        let end = deployment(Status::Succeeded);
        let server = accepting();
        let first = vec![
            journal(1, Status::Pulling, "first"),
            journal(2, Status::Staging, "second"),
        ];
        let second = vec![
            journal(2, Status::Staging, "second"),
            journal(3, Status::Switching, "third"),
            outcome(&end),
        ];
        server
            .on(
                EVENTS,
                [
                    Act::Stream(first, cut),
                    Act::Drop,
                    Act::json(503, json(&refusal(503, "recovering"))),
                    Act::Stream(second, End::Close),
                ],
            )
            .always(VIEW, Act::Drop);
        let ended = Cutover::local(&server, &["deploy", "app", SHA])
            .run()
            .with_code(0);
        for message in ["first", "second", "third"] {
            assert_eq!(
                ended.stderr.matches(message).count(),
                1,
                "{message}: {}",
                ended.stderr
            );
        }
        let seen = server.seen(EVENTS);
        let resumed: Vec<_> = seen
            .iter()
            .map(|seen| seen.header("last-event-id"))
            .collect();
        assert_eq!(resumed, [None, Some("2"), Some("2"), Some("2")]);
        assert!(
            ended.stderr.contains("attaching to it again"),
            "{}",
            ended.stderr
        );
        assert_eq!(server.seen("POST /deploy").len(), 1);
    }
}

#[test]
fn the_end_is_learned_from_the_view_where_streams_do_not_come_through() {
    let mut end = deployment(Status::RolledBack);
    end.events = vec![event(1, Status::Pulling, "only in the view")];
    let server = accepting();
    server.always(EVENTS, Act::Drop).on(
        VIEW,
        [
            Act::json(200, json(&deployment(Status::Pulling))),
            Act::json(200, json(&end)),
        ],
    );
    let ended = Cutover::local(&server, &["deploy", "app", SHA])
        .run()
        .with_code(3);
    assert!(
        ended.stderr.contains("only in the view"),
        "{}",
        ended.stderr
    );
}

#[test]
fn without_contact_it_ends_with_5_and_says_how_to_look_later() {
    let server = accepting();
    server.always(EVENTS, Act::Drop).always(VIEW, Act::Drop);
    let ended = Cutover::local(&server, &["deploy", "app", SHA, "--give-up-after", "1"]).run();
    let ended = ended.with_code(5);
    assert!(
        ended.stderr.contains(&format!("`cutover show {ID}`")),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("it goes on on the server"),
        "{}",
        ended.stderr
    );
    assert!(server.seen(EVENTS).len() > 1);
}

#[test]
fn a_deployment_that_may_not_be_watched_ends_with_5_at_once() {
    let server = accepting();
    server.on(
        EVENTS,
        [Act::json(401, json(&refusal(401, "unauthorized")))],
    );
    let ended = Cutover::local(&server, &["deploy", "app", SHA])
        .run()
        .with_code(5);
    assert!(
        ended.stderr.contains(&format!("`cutover show {ID}`")),
        "{}",
        ended.stderr
    );
}

#[test]
fn what_a_proxy_refuses_is_asked_for_again() {
    let end = deployment(Status::Succeeded);
    let server = accepting();
    server
        .on(
            EVENTS,
            [
                Act::page(403, "<html>forbidden</html>"),
                Act::page(404, "<html>not found</html>"),
                Act::page(307, "").with("location", "https://elsewhere.example/"),
                Act::Stream(vec![outcome(&end)], End::Close),
            ],
        )
        .always(VIEW, Act::Drop);
    Cutover::local(&server, &["deploy", "app", SHA])
        .run()
        .with_code(0);
    assert_eq!(server.seen(EVENTS).len(), 4);
}

#[test]
fn a_maintenance_page_is_no_contact() {
    let server = accepting();
    let page = Act::page(200, "<html>back soon</html>");
    server.always(EVENTS, page.clone()).always(VIEW, page);
    let ended = Cutover::local(&server, &["deploy", "app", SHA, "--give-up-after", "1"]).run();
    let ended = ended.with_code(5);
    assert!(
        ended
            .stderr
            .contains("something other than cutover answered 200"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains(&format!("`cutover show {ID}`")),
        "{}",
        ended.stderr
    );
}

#[test]
fn an_answer_that_never_ends_does_not_hold_it_up() {
    let server = accepting();
    server
        .always(EVENTS, Act::Stall(502))
        .always(VIEW, Act::Drop);
    let ended = Cutover::local(&server, &["deploy", "app", SHA, "--give-up-after", "1"]).run();
    let ended = ended.with_code(5);
    assert!(
        ended
            .stderr
            .contains("an answer with the status 502 Bad Gateway did not come to its end"),
        "{}",
        ended.stderr
    );
}

#[test]
fn an_answer_that_is_too_long_is_not_read() {
    let server = accepting();
    let page = Act::page(502, "x".repeat((16 << 20) + 1));
    server.always(EVENTS, page).always(VIEW, Act::Drop);
    let ended = Cutover::local(&server, &["deploy", "app", SHA, "--give-up-after", "1"]).run();
    let ended = ended.with_code(5);
    assert!(
        ended.stderr.contains("answers more than 16777216 bytes"),
        "{}",
        ended.stderr
    );
}

#[test]
fn an_interrupted_command_says_that_the_deployment_goes_on() {
    for signal in [Signal::INT, Signal::TERM] {
        let server = accepting();
        server.on(
            EVENTS,
            [Act::Stream(
                vec![journal(1, Status::Pulling, "pulling")],
                End::Hang,
            )],
        );
        let running = Cutover::local(&server, &["deploy", "app", SHA]).start();
        server.wait_for(EVENTS);
        let pid = Pid::from_raw(running.id().cast_signed()).expect("a process");
        kill_process(pid, signal).expect("signalled");
        let ended = running.end().with_code(130);
        for words in [
            "goes on on the server",
            "cutover logs",
            "cutover show",
            "cutover cancel",
            ID,
        ] {
            assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
        }
    }
}

#[test]
fn what_a_newer_daemon_streams_besides_is_left_out() {
    let end = deployment(Status::Succeeded);
    let server = accepting();
    let events = vec![
        "event: invention\ndata: {}\n\n".to_owned(),
        "event: journal\nid: 1\ndata: {\"seq\":1,\"status\":\"inventing\"}\n\n".to_owned(),
        "event: journal\ndata: not JSON\n\n".to_owned(),
        outcome(&end),
    ];
    server
        .on(EVENTS, [Act::Stream(events, End::Close)])
        .on(VIEW, [Act::json(200, json(&end))]);
    Cutover::local(&server, &["deploy", "app", SHA])
        .run()
        .with_code(0);
}
