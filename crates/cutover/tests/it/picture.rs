//! The picture of a terminal in README.md is what a terminal shows.

use cutover_api::deployment::{EventLine, Status};
use jiff::{SignedDuration, Timestamp};

use crate::terminal::{on_terminal, screen, serving};
use crate::views::{OLD_SHA, SHA, deployment, event, json, outcome};

const README: &str = include_str!("../../../../README.md");

/// What is recorded of the release in the picture, each with the milliseconds since the request.
fn recorded() -> Vec<EventLine> {
    let image = format!("ghcr.io/acme/shop:{SHA}");
    let old = format!("ghcr.io/acme/shop:{OLD_SHA}");
    let start: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a moment");
    let all = [
        (0, Status::Queued, format!("local:0 asked for {SHA}")),
        (
            12,
            Status::Pulling,
            format!("making sure that {image} is on the machine"),
        ),
        (
            4_130,
            Status::Pulling,
            format!(
                "{image} is on the machine, digest sha256:{}",
                "e".repeat(64)
            ),
        ),
        (
            4_140,
            Status::Staging,
            format!("creating the new container; shop-app-1, of {old}, was found healthy"),
        ),
        (
            5_060,
            Status::Staging,
            "container 5b1fd2c9a04e was created and is not started yet".to_owned(),
        ),
        (
            5_090,
            Status::Switching,
            "switching to the new container".to_owned(),
        ),
        (
            5_700,
            Status::Switching,
            "the new container was started; no container of the service ran for 410 ms".to_owned(),
        ),
        (
            5_710,
            Status::Verifying,
            "watching the new container: its health check, then 5 s more".to_owned(),
        ),
        (
            8_810,
            Status::RollingBack,
            "the new release failed; putting the previous one back".to_owned(),
        ),
        (
            9_240,
            Status::RollingBack,
            "the previous container is back as it was found".to_owned(),
        ),
        (
            15_020,
            Status::RolledBack,
            "the previous release is in its place again (healthy for 5 s)".to_owned(),
        ),
    ];
    (1..)
        .zip(all)
        .map(|(seq, (after, status, message))| EventLine {
            at: start + SignedDuration::from_millis(after),
            ..event(seq, status, &message)
        })
        .collect()
}

#[test]
fn the_picture_in_the_readme_is_what_a_terminal_shows() {
    let mut end = deployment(Status::RolledBack);
    let cause = end.cause.as_mut().expect("a cause");
    cause.code = "container_exited".to_owned();
    cause.detail = "the container exited with code 1 after 3 s".to_owned();
    cause.hint = "read the container's last output in the log of this deployment".to_owned();
    (end.outage_ms, end.duration_ms) = (Some(3_950), Some(15_020));
    end.log = vec![
        "shop: connecting to db:5432".to_owned(),
        "fatal: password authentication failed for user \"shop\"".to_owned(),
    ];
    let mut stream: Vec<String> = recorded()
        .iter()
        .map(|line| format!("id: {}\nevent: journal\ndata: {}\n\n", line.seq, json(line)))
        .collect();
    stream.push(outcome(&end));
    let server = serving(stream, &end);
    let (text, code) = on_terminal(&server, 80, &["deploy", "app", SHA], Some("1"));
    assert_eq!(code, Some(3), "{text:?}");
    let shown = screen(&text);
    let picture = format!(
        "```console\n$ cutover deploy app {SHA}\n{}\n```\n",
        shown.trim_end()
    );
    assert!(
        README.contains(&picture),
        "README.md should have\n{picture}"
    );
}

#[test]
fn the_readme_has_the_picture_and_the_commands_of_users_before_those_of_developers() {
    let line = |text: &str| {
        let found = README.lines().position(|line| line.starts_with(text));
        found.unwrap_or_else(|| panic!("README.md has no line `{text}`"))
    };
    assert!(line("$ cutover deploy app") < 12, "in the first screen");
    let developers = line("cargo xtask demo").min(line("cargo xtask test"));
    for users in [
        "cutover plan",
        "cutover status",
        "cutover rollback",
        "1. Build the binary",
    ] {
        assert!(line(users) < developers, "{users}");
    }
}
