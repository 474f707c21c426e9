//! On a terminal: a progress bar, colors, short names, relative times.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};

use cutover_api::deployment::{DeploymentPage, Status};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::server::{Act, End, Server};
use crate::views::{
    EVENTS, SHA, VIEW, answer, deployment, journal, json, outcome, output, progress,
};

/// Runs the binary on a terminal of this width and returns all that it wrote, and its exit code.
fn on_terminal(
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
    let server = Server::start();
    server
        .always(
            "POST /deploy",
            Act::json(202, answer(&deployment(Status::Queued))),
        )
        .always(EVENTS, Act::Stream(events, End::Close))
        .always(VIEW, Act::json(200, json(&end)));
    server
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
            text.contains("3f2a9c1b ") && !text.contains(SHA),
            "short for a person: {text:?}"
        );
        assert!(text.contains(" ago"), "{text:?}");
        text.lines()
            .map(|line| line.trim_end().chars().count())
            .max()
    };
    assert!(widest(85) <= Some(85));
    assert!(widest(200) > Some(85), "all columns where there is room");
}
