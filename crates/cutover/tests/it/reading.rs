//! `status`, `history`, `show` and `logs`.

use cutover_api::deployment::{Deployment, DeploymentPage, Status};
use cutover_api::service::{Member, Paused, Running, Service, ServiceList};

use crate::binary::Cutover;
use crate::server::{Act, End, Server};
use crate::views::{
    EVENTS, ID, OLD_SHA, SHA, VIEW, deployment, event, json, outcome, output, refusal,
};

fn service(name: &str) -> Service {
    Service {
        name: name.to_owned(),
        running: Some(Running {
            container: "c".repeat(64),
            name: format!("shop-{name}-1"),
            image: format!("ghcr.io/acme/shop:{OLD_SHA}"),
            condition: "healthy".to_owned(),
            restarts: 0,
            started_at: Some("2026-01-01T00:00:00.123456789Z".to_owned()),
        }),
        stopped: None,
        running_unknown: None,
        services: Vec::new(),
        paused: None,
        needs_operator: None,
        current: None,
        waiting: None,
        last: Some(deployment(Status::Succeeded)),
    }
}

/// Services of all kinds.
fn services() -> Vec<Service> {
    let mut paused = service("paused");
    paused.paused = Some(Paused {
        why: Some("database\nmigration\u{1b}[2J".to_owned()),
        since: "2026-01-02T00:00:00Z".parse().expect("a moment"),
    });
    let mut broken = service("broken");
    broken.running = None;
    broken.stopped = service("broken").running.map(|stopped| Running {
        condition: "stopped".to_owned(),
        ..stopped
    });
    broken.last = Some(deployment(Status::RollbackFailed));
    broken.needs_operator = Some("no container runs".to_owned());
    let mut busy = service("busy");
    busy.current = Some(deployment(Status::Verifying));
    busy.waiting = Some(Deployment {
        image_sha: OLD_SHA.to_owned(),
        ..deployment(Status::Queued)
    });
    busy.last = None;
    let member = |name: &str, condition: &str| Member {
        service: name.to_owned(),
        container: Some(Running {
            container: name.to_owned(),
            condition: condition.to_owned(),
            ..service("busy").running.expect("it runs")
        }),
    };
    busy.services = vec![
        Member {
            service: "busy".to_owned(),
            container: busy.running.clone(),
        },
        member("worker", "stopped"),
        Member {
            service: "scheduler".to_owned(),
            container: None,
        },
    ];
    vec![service("app"), broken, busy, paused]
}

#[test]
fn status_is_a_table() {
    let server = Server::start();
    let list = ServiceList {
        services: services(),
    };
    server.always("GET /v1/services", Act::json(200, json(&list)));
    let ended = Cutover::local(&server, &["status"]).run().with_code(0);
    insta::assert_snapshot!(ended.stdout, @r"
    SERVICE  RUNS                                      CONDITION  SINCE                 LAST DEPLOYMENT                       NOTE
    app      1111111111111111111111111111111111111111  healthy    2026-01-01T00:00:00Z  succeeded 2026-01-02T03:04:17Z        -
    broken   -                                         stopped    -                     rollback failed 2026-01-02T03:04:17Z  needs an operator: no container runs
    busy     1111111111111111111111111111111111111111  healthy    2026-01-01T00:00:00Z  none                                  scheduler: no container; worker: stopped; deploying 3f2a9c1b0d4e: verifying; 111111111111 waits
    paused   1111111111111111111111111111111111111111  healthy    2026-01-01T00:00:00Z  succeeded 2026-01-02T03:04:17Z        paused: database migration
    ");
    let ended = Cutover::local(&server, &["status", "--json"])
        .run()
        .with_code(0);
    assert_eq!(ended.stdout.trim_end(), json(&list));
}

#[test]
fn status_of_one_service_shows_everything() {
    let server = Server::start();
    for one in services() {
        server.on(
            &format!("GET /v1/services/{}", one.name),
            [Act::json(200, json(&one))],
        );
    }
    let status = |name: &str| {
        Cutover::local(&server, &["status", name])
            .run()
            .with_code(0)
            .stdout
    };
    insta::assert_snapshot!(status("busy"), @r"
    service       busy
    runs          ghcr.io/acme/shop:1111111111111111111111111111111111111111
    condition     healthy, started 2026-01-01T00:00:00Z
    container     shop-busy-1 cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc
    its services  busy 1111111111111111111111111111111111111111 healthy, started 2026-01-01T00:00:00Z
                  worker 1111111111111111111111111111111111111111 stopped
                  scheduler no container
    deployments   accepted
    under way     3f2a9c1b0d4e5f60718293a4b5c6d7e8f9012345 verifying 2026-01-02T03:04:05Z 0197a3b4-0000-7000-8000-00000000abcd
    waiting       1111111111111111111111111111111111111111 queued 2026-01-02T03:04:05Z 0197a3b4-0000-7000-8000-00000000abcd
    ");
    insta::assert_snapshot!(status("broken"), @r"
    service            broken
    runs               nothing; the container shop-broken-1 of ghcr.io/acme/shop:1111111111111111111111111111111111111111 is stopped
    deployments        refused if signed, until `cutover resume broken`; accepted from an operator
    needs an operator  no container runs
    last               3f2a9c1b0d4e5f60718293a4b5c6d7e8f9012345 rollback failed 2026-01-02T03:04:17Z 0197a3b4-0000-7000-8000-00000000abcd
    ");
    insta::assert_snapshot!(status("paused"), @r"
    service      paused
    runs         ghcr.io/acme/shop:1111111111111111111111111111111111111111
    condition    healthy, started 2026-01-01T00:00:00Z
    container    shop-paused-1 cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc
    deployments  paused since 2026-01-02T00:00:00Z: database migration
    last         3f2a9c1b0d4e5f60718293a4b5c6d7e8f9012345 succeeded 2026-01-02T03:04:17Z 0197a3b4-0000-7000-8000-00000000abcd
    ");
}

#[test]
fn an_unknown_service_is_a_refusal() {
    let server = Server::start();
    server.on(
        "GET /v1/services/nope",
        [Act::json(404, json(&refusal(404, "unknown_service")))],
    );
    Cutover::local(&server, &["status", "nope"])
        .run()
        .with_code(1);
}

#[test]
fn history_is_a_table_that_says_how_to_read_on() {
    let server = Server::start();
    let page = DeploymentPage {
        deployments: vec![
            deployment(Status::Verifying),
            deployment(Status::RolledBack),
            deployment(Status::Succeeded),
        ],
        next_before: Some("0197a3b4-0000-7000-8000-000000000001".to_owned()),
    };
    server.always(
        "GET /v1/deployments?limit=3&service=app&before=x",
        Act::json(200, json(&page)),
    );
    let arguments = ["history", "app", "--limit", "3", "--before", "x"];
    let ended = Cutover::local(&server, &arguments).run().with_code(0);
    insta::assert_snapshot!(ended.stdout, @r"
    DEPLOYMENT                            SERVICE  TAG                                       OUTCOME      STARTED               OUTAGE  TOOK    BY
    0197a3b4-0000-7000-8000-00000000abcd  app      3f2a9c1b0d4e5f60718293a4b5c6d7e8f9012345  verifying    2026-01-02T03:04:05Z  -       -       local
    0197a3b4-0000-7000-8000-00000000abcd  app      3f2a9c1b0d4e5f60718293a4b5c6d7e8f9012345  rolled back  2026-01-02T03:04:05Z  240 ms  12.3 s  local
    0197a3b4-0000-7000-8000-00000000abcd  app      3f2a9c1b0d4e5f60718293a4b5c6d7e8f9012345  succeeded    2026-01-02T03:04:05Z  240 ms  12.3 s  local
    ");
    assert_eq!(
        ended.stderr,
        "older ones: cutover history app --before 0197a3b4-0000-7000-8000-000000000001\n"
    );
}

#[test]
fn history_stops_quietly_when_its_reader_has_enough() {
    let server = Server::start();
    let page = DeploymentPage {
        deployments: vec![deployment(Status::Succeeded); 2000],
        next_before: None,
    };
    server.always("GET /v1/deployments?limit=20", Act::json(200, json(&page)));
    let mut running = Cutover::local(&server, &["history"]).start();
    running.close_stdout();
    let ended = running.end().with_code(0);
    assert_eq!(ended.stderr, "");
}

#[test]
fn show_is_a_deployment_in_full() {
    let mut shown = deployment(Status::RolledBack);
    shown.events = vec![
        event(
            1,
            Status::Pulling,
            "pulling \u{1b}]0;title\u{7}ghcr.io/acme/shop",
        ),
        event(2, Status::RolledBack, "the previous container runs again"),
    ];
    shown.log = vec!["panic: no database".to_owned(), "bye\rhidden".to_owned()];
    let server = Server::start();
    server.always(VIEW, Act::json(200, json(&shown)));
    let ended = Cutover::local(&server, &["show", ID]).run().with_code(0);
    insta::assert_snapshot!(ended.stdout, @r"
    deployment  0197a3b4-0000-7000-8000-00000000abcd
    service     app
    tag         3f2a9c1b0d4e5f60718293a4b5c6d7e8f9012345
    outcome     rolled back
    changed     containers were stopped or started
    started     2026-01-02T03:04:05Z
    ended       2026-01-02T03:04:17Z
    took        12.3 s
    outage      240 ms
    by          local
    delivery    delivery-1
    image       ghcr.io/acme/shop:3f2a9c1b0d4e5f60718293a4b5c6d7e8f9012345
    digest      sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd
    image id    sha256:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee
    container   bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
    previous    ghcr.io/acme/shop:1111111111111111111111111111111111111111 (healthy)

    cause
      what  the new container was not healthy within 60 s
      step  verify
      code  unhealthy
      next  see its output

    the new container's last output
      | panic: no database
      | byehidden

    events
      2026-01-02T03:04:06Z  pull       pulling ghcr.io/acme/shop
      2026-01-02T03:04:06Z  rolled back  the previous container runs again
    ");
    let ended = Cutover::local(&server, &["show", ID, "--json"])
        .run()
        .with_code(0);
    assert_eq!(ended.stdout.trim_end(), json(&shown));
}

#[test]
fn logs_prints_what_was_kept_or_says_that_nothing_is() {
    let mut failed = deployment(Status::RolledBack);
    failed.log = vec!["panic: \u{1b}[31mno database".to_owned()];
    let server = Server::start();
    server.on(
        VIEW,
        [
            Act::json(200, json(&failed)),
            Act::json(200, json(&deployment(Status::Succeeded))),
        ],
    );
    let ended = Cutover::local(&server, &["logs", ID]).run().with_code(0);
    assert_eq!(ended.stdout, "panic: no database\n");
    let ended = Cutover::local(&server, &["logs", ID, "-f"])
        .run()
        .with_code(0);
    assert_eq!(ended.stdout, "");
    assert!(
        ended.stderr.contains("no output is kept"),
        "{}",
        ended.stderr
    );
}

#[test]
fn logs_follow_a_deployment_under_way() {
    let stream = || {
        vec![
            output("listening \u{7}on 8080"),
            output("ready"),
            outcome(&deployment(Status::Succeeded)),
        ]
    };
    let server = Server::start();
    server
        .always(VIEW, Act::json(200, json(&deployment(Status::Verifying))))
        .on(
            EVENTS,
            [
                Act::Stream(stream(), End::Close),
                Act::Stream(stream(), End::Close),
            ],
        );
    let ended = Cutover::local(&server, &["logs", ID, "-f"])
        .run()
        .with_code(0);
    assert_eq!(ended.stdout, "listening on 8080\nready\n");
    assert!(
        ended.stderr.contains("ended: succeeded"),
        "{}",
        ended.stderr
    );
    let ended = Cutover::local(&server, &["logs", ID, "-f", "--json"])
        .run()
        .with_code(0);
    let expected = "{\"stream\":\"stdout\",\"line\":\"listening \\u0007on 8080\"}\n{\"stream\":\"stdout\",\"line\":\"ready\"}\n";
    assert_eq!(ended.stdout, expected);
}

#[test]
fn over_the_network_a_token_is_sent() {
    let server = Server::start();
    server.on(VIEW, [Act::json(200, json(&deployment(Status::Succeeded)))]);
    Cutover::remote(&server, &["show", ID])
        .env("CUTOVER_TOKEN", "t0ken")
        .run()
        .with_code(0);
    assert_eq!(
        server.seen(VIEW)[0].header("authorization"),
        Some("Bearer t0ken")
    );
    assert!(server.lines().iter().all(|line| !line.contains(SHA)));
}
