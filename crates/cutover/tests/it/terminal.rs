//! On a terminal: a line for each step, a progress bar, colors, short names, relative times; nothing wraps.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};

use cutover_api::deployment::{Deployment, DeploymentPage, Status};
use cutover_api::service::{Running, Service, ServiceList};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::server::{Act, End, Server};
use crate::views::{
    EVENTS, ID, OLD_SHA, SHA, VIEW, answer, deployment, event, failed_first, journal, json,
    outcome, output, progress, refusal,
};

/// Runs the binary on a terminal of this width and returns all that it wrote, and its exit code.
pub(crate) fn on_terminal(
    server: &Server,
    columns: u16,
    arguments: &[&str],
    no_color: Option<&str>,
) -> (String, Option<i32>) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).expect("granted");
    unlockpt(&master).expect("unlocked");
    let size = Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&master, size).expect("sized");
    let name = ptsname(&master, Vec::new()).expect("a name");
    let open = || {
        File::options()
            .read(true)
            .write(true)
            .open(name.to_str().expect("a path"))
            .expect("the terminal")
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_cutover"));
    command
        .args(arguments)
        .env_clear()
        .env("TERM", "xterm-256color")
        .env("CUTOVER_SOCKET", server.socket())
        .envs(no_color.map(|value| ("NO_COLOR", value)))
        .stdin(Stdio::null())
        .stdout(open())
        .stderr(open());
    let mut child = command.spawn().expect("the binary starts");
    drop(command);
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let mut terminal = File::from(master);
    // Reading a terminal whose last writer is gone is an error and the end.
    while let Ok(count @ 1..) = terminal.read(&mut chunk) {
        bytes.extend_from_slice(&chunk[..count]);
    }
    let code = child.wait().expect("waited for").code();
    (String::from_utf8(bytes).expect("UTF-8"), code)
}

fn server() -> Server {
    let end = deployment(Status::Succeeded);
    let events = vec![
        journal(1, Status::Pulling, "the image is being pulled"),
        progress(120_000_000),
        progress(390_000_000),
        journal(2, Status::Verifying, "the new container runs"),
        output("listening \u{1b}]0;title\u{7}on \u{1b}[2J8080"),
        outcome(&end),
    ];
    serving(events, &end)
}

#[test]
fn a_deployment_is_shown_with_a_bar_and_in_color() {
    let (text, code) = on_terminal(&server(), 100, &["deploy", "app", SHA], None);
    assert_eq!(code, Some(0), "{text:?}");
    for part in [
        "pulling 3/7 layers",
        "MB",
        "the new container runs",
        "listening on 8080",
        "succeeded",
    ] {
        assert!(text.contains(part), "{part}: {text:?}");
    }
    assert!(text.contains("\u{1b}[32msucceeded"), "{text:?}");
    assert!(
        !text.contains("\u{1b}]0;"),
        "the container's own sequences are gone: {text:?}"
    );
    assert!(!text.contains("\u{1b}[2J"), "{text:?}");
}

#[test]
fn no_color_is_honored() {
    let (text, code) = on_terminal(&server(), 100, &["deploy", "app", SHA], Some("1"));
    assert_eq!(code, Some(0), "{text:?}");
    assert!(text.contains("succeeded: app runs"), "{text:?}");
    assert!(!text.contains("\u{1b}[3"), "{text:?}");
}

#[test]
fn json_on_a_terminal_has_no_bar() {
    let (text, code) = on_terminal(&server(), 100, &["deploy", "app", SHA, "--json"], None);
    assert_eq!(code, Some(0), "{text:?}");
    assert!(!text.contains("layers ["), "{text:?}");
}

#[test]
fn a_table_fits_the_terminal() {
    let page = DeploymentPage {
        deployments: vec![deployment(Status::Succeeded)],
        next_before: None,
    };
    let server = Server::start();
    server.always("GET /v1/deployments?limit=20", Act::json(200, json(&page)));
    let widest = |columns| {
        let (text, code) = on_terminal(&server, columns, &["history"], Some("1"));
        assert_eq!(code, Some(0), "{text:?}");
        assert!(
            text.contains("3f2a9c1b0d4e ") && !text.contains(SHA),
            "short for a person: {text:?}"
        );
        assert!(text.contains(" ago"), "{text:?}");
        text.lines()
            .map(|line| line.trim_end().chars().count())
            .max()
    };
    assert!(widest(85) <= Some(85));
    assert!(widest(80) <= Some(80));
    assert!(widest(60) <= Some(60));
    assert!(widest(200) > Some(85), "all columns where there is room");
}

/// What a terminal shows of these bytes in the end, if nothing on it wraps: each line as it was last written.
pub(crate) fn screen(text: &str) -> String {
    let mut lines = vec![String::new()];
    let mut row = 0;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\r' => {}
            '\n' => {
                row += 1;
                lines.resize_with(lines.len().max(row + 1), String::new);
            }
            '\u{1b}' => {
                let end = rest
                    .find(|c: char| c.is_ascii_alphabetic())
                    .expect("a sequence");
                let count = rest[1..end].parse().unwrap_or(1);
                match &rest[end..=end] {
                    "K" => lines[row].clear(),
                    "A" => row = row.saturating_sub(count),
                    _ => {}
                }
                rest = &rest[end + 1..];
            }
            c => lines[row].push(c),
        }
    }
    lines
        .iter()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

/// All steps that a deployment that ends like this one can have taken, with much to say.
fn steps_of(end: &Deployment) -> Vec<(Status, String)> {
    let (image, old) = (
        format!("ghcr.io/acme/shop:{SHA}"),
        format!("ghcr.io/acme/shop:{OLD_SHA}"),
    );
    let pinned = format!(
        "{image} is on the machine, digest sha256:{}",
        "d".repeat(64)
    );
    let mut steps = vec![
        (Status::Queued, format!("ci asked for {SHA}")),
        (
            Status::Pulling,
            format!("making sure that {image} is on the machine"),
        ),
        (Status::Pulling, pinned),
    ];
    if !end.nothing_changed {
        let found = format!("creating the new container; shop-app-1, of {old}, was found healthy");
        let started = "the new container was started; no container of the service ran for 240 ms";
        let watched = "watching the new container: its health check, for at least 5 s";
        steps.extend([
            (Status::Staging, found),
            (Status::Switching, started.to_owned()),
            (Status::Verifying, watched.to_owned()),
        ]);
    }
    let last = match end.status {
        Status::Succeeded => Some((Status::Committed, "the new release is final; cleaning up")),
        Status::RolledBack | Status::RollbackFailed => Some((
            Status::RollingBack,
            "the new release failed; putting the previous one back",
        )),
        _ => None,
    };
    steps.extend(last.map(|(status, text)| (status, text.to_owned())));
    steps.push((end.status, "it is over".to_owned()));
    steps
}

/// The server of a deployment that ends like this one, with a long cause and much output.
fn told_at_length(mut end: Deployment) -> Server {
    if let Some(cause) = &mut end.cause {
        cause.detail += &" and that is told at some length".repeat(4);
        cause.hint += &", and the last health check in the log of this deployment".repeat(2);
        if !end.nothing_changed {
            end.log = (1..=30)
                .map(|i| format!("line {i}{}", " of much output".repeat(8)))
                .collect();
        }
    }
    let steps = steps_of(&end);
    let numbered = || (1..).zip(&steps);
    end.events = numbered()
        .map(|(seq, (status, text))| event(seq, *status, text))
        .collect();
    let mut stream: Vec<String> = numbered()
        .map(|(seq, (status, text))| journal(seq, *status, text))
        .collect();
    stream.insert(2, progress(120_000_000));
    stream.push(outcome(&end));
    serving(stream, &end)
}

/// A server that accepts a deployment, streams this and shows this end of it.
pub(crate) fn serving(stream: Vec<String>, end: &Deployment) -> Server {
    let server = Server::start();
    server
        .always(
            "POST /deploy",
            Act::json(202, answer(&deployment(Status::Queued))),
        )
        .always(EVENTS, Act::Stream(stream, End::Close))
        .always(VIEW, Act::json(200, json(end)));
    server
}

/// No line of it is wider than 80 columns.
#[track_caller]
fn nothing_wraps(text: &str) {
    for line in text.split(['\n', '\r']) {
        let line = screen(line);
        assert!(line.trim_end().chars().count() <= 80, "{line}\n{text:?}");
    }
}

#[test]
fn no_outcome_wraps_at_80_columns_and_none_shows_a_whole_sha() {
    for end in [
        deployment(Status::Succeeded),
        deployment(Status::Unchanged),
        deployment(Status::Failed),
        deployment(Status::Cancelled),
        deployment(Status::RolledBack),
        deployment(Status::RollbackFailed),
        failed_first(),
    ] {
        let server = told_at_length(end);
        for arguments in [&["deploy", "app", SHA][..], &["show", ID]] {
            let (text, _) = on_terminal(&server, 80, arguments, None);
            nothing_wraps(&text);
            assert!(!text.contains(SHA) && !text.contains(OLD_SHA), "{text}");
            assert!(text.contains("3f2a9c1b0d4e"), "{text}");
        }
    }
}

#[test]
fn no_service_wraps_at_80_columns() {
    let mut service = service();
    service.name = "a-service-with-a-rather-long-name".to_owned();
    service.needs_operator = Some("no container of the service runs ".repeat(5));
    let server = Server::start();
    let list = ServiceList {
        services: vec![service.clone()],
    };
    let one = format!("GET /v1/services/{}", service.name);
    server
        .always("GET /v1/services", Act::json(200, json(&list)))
        .always(&one, Act::json(200, json(&service)));
    for arguments in [&["status"][..], &["status", service.name.as_str()]] {
        let (text, code) = on_terminal(&server, 80, arguments, Some("1"));
        assert_eq!(code, Some(0), "{text}");
        nothing_wraps(&text);
        assert!(
            text.contains("3f2a9c1b0d4e") && !text.contains(SHA),
            "{text}"
        );
    }
}

fn service() -> Service {
    Service {
        name: "app".to_owned(),
        running: Some(Running {
            container: "c".repeat(64),
            name: "shop-app-1".to_owned(),
            image: format!("ghcr.io/acme/shop:{SHA}"),
            condition: "healthy".to_owned(),
            started_at: Some("2026-01-01T00:00:00Z".to_owned()),
            restarts: 0,
        }),
        stopped: None,
        running_unknown: None,
        services: Vec::new(),
        paused: None,
        needs_operator: None,
        current: None,
        waiting: None,
        last: Some(deployment(Status::RollbackFailed)),
    }
}

#[test]
fn no_refusal_wraps_at_80_columns() {
    let mut problem = refusal(409, "paused");
    problem.detail = "service `app` is paused ".repeat(10);
    problem.hint = "wait until it is resumed ".repeat(10);
    let server = Server::start();
    server.always("POST /deploy", Act::json(403, json(&problem)));
    let (text, code) = on_terminal(&server, 80, &["deploy", "app", SHA], Some("1"));
    assert_eq!(code, Some(1), "{text}");
    nothing_wraps(&text);
}

#[test]
fn a_rollback_has_a_line_for_each_step_and_the_last_output_under_the_cause() {
    let mut end = deployment(Status::RolledBack);
    end.log = vec![
        "connecting to db:5432".to_owned(),
        "panic: no database".to_owned(),
    ];
    let steps = [
        (Status::Queued, "ci asked for it"),
        (Status::Pulling, "the image is on the machine"),
        (Status::Staging, "container bbb was created"),
        (Status::Switching, "the new container was started"),
        (Status::Verifying, "watching the new container"),
        (
            Status::RollingBack,
            "the new release failed: it was not healthy; putting the previous one back",
        ),
        (
            Status::RolledBack,
            "the previous release is in its place again (healthy for 5 s)",
        ),
    ];
    let mut stream: Vec<String> = (1..)
        .zip(steps)
        .map(|(seq, (status, text))| journal(seq, status, text))
        .collect();
    stream.push(outcome(&end));
    let server = serving(stream, &end);
    let (text, code) = on_terminal(&server, 80, &["deploy", "app", SHA], Some("1"));
    assert_eq!(code, Some(3), "{text:?}");
    insta::assert_snapshot!(screen(&text), @r"
    deploying 3f2a9c1b0d4e to app, deployment 0197a3b4-0000-7000-8000-00000000abcd
    ✓ queue          0 ms  ci asked for it
    ✓ pull           0 ms  the image is on the machine
    ✓ stage          0 ms  container bbb was created
    ✓ switch         0 ms  the new container was started
    ✗ verify         0 ms  watching the new container
    ✓ roll back      0 ms  the previous release is in its place again (healthy for
                           5 s)
    rolled back: the new container was not healthy within 60 s
      | connecting to db:5432
      | panic: no database
      changed     app runs ghcr.io/acme/shop:111111111111 again (healthy for 5 s)
      next        see its output
      code        unhealthy
      outage      240 ms
      took        12.3 s
      deployment  0197a3b4-0000-7000-8000-00000000abcd
    ");
}
