//! What needs no daemon.

use std::time::{Duration, Instant};

use crate::binary::{Cutover, file};
use crate::server::{Act, Server};
use crate::views::SHA;

#[test]
fn help_lists_every_command_and_every_exit_code() {
    let help = Cutover::new(&["--help"]).run().with_code(0).stdout;
    for word in [
        "serve",
        "deploy",
        "rollback",
        "status",
        "history",
        "show",
        "logs",
        "cancel",
        "pause",
        "resume",
        "plan",
        "check",
        "init",
        "completions",
        "man",
        "Exit codes:",
        "needs an operator",
    ] {
        assert!(help.contains(word), "{word} is missing in:\n{help}");
    }
}

#[test]
fn help_answers_at_once() {
    // The fastest of several, because the machine may be busy with other tests.
    let fastest = (0..20)
        .map(|_| {
            let began = Instant::now();
            Cutover::new(&["--help"]).run().with_code(0);
            began.elapsed()
        })
        .min();
    assert!(fastest < Some(Duration::from_millis(50)), "{fastest:?}");
}

#[test]
fn the_version_is_printed() {
    let version = Cutover::new(&["--version"]).run().with_code(0).stdout;
    assert_eq!(
        version,
        concat!("cutover ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [
        &["depoly"][..],
        &[],
        &["deploy", "app"],
        &["deploy", "../app", SHA],
        &["show", ".."],
        &["status", "--url", "http://example.com"],
        &["status", "--url", "https://user:word@example.com"],
        &["status", "--url", "https://example.com"],
        &["deploy", "app", SHA, "--url", "https://example.com"],
        &["deploy", "app", SHA, "--url", "https://example.com/deploy"],
        &[
            "deploy",
            "app",
            SHA,
            "--url",
            "https://example.com",
            "--secret-file",
            "/nonexistent",
        ],
        &["deploy", "app", SHA, "--secret", "s3cret"],
        &["man", "nothing"],
    ] {
        let ended = Cutover::new(arguments).run().with_code(2);
        assert_eq!(ended.stdout, "", "{arguments:?}");
        assert!(!ended.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn what_is_typed_goes_before_the_environment_and_a_url_before_a_socket() {
    let (typed, set, other) = (Server::start(), Server::start(), Server::start());
    for server in [&typed, &set, &other] {
        server.always("GET /v1/services", Act::json(200, "{\"services\":[]}"));
    }
    let socket = typed.socket().display().to_string();
    let url = typed.url();
    let ask = |arguments: &[&str], url: &str, socket: &str| {
        let arguments = [&["status"], arguments].concat();
        let command = Cutover::new(&arguments).env("CUTOVER_TOKEN", "x");
        let command = command.env("CUTOVER_URL", url);
        command.env("CUTOVER_SOCKET", socket).run().with_code(0);
        [&typed, &set, &other].map(|server| server.lines().len())
    };
    let socket_set = other.socket().display().to_string();
    assert_eq!(
        ask(&["--socket", &socket], &set.url(), &socket_set),
        [1, 0, 0]
    );
    assert_eq!(ask(&["--url", &url], &set.url(), &socket_set), [2, 0, 0]);
    assert_eq!(ask(&[], &set.url(), &socket_set), [2, 1, 0]);
    assert_eq!(ask(&[], "", &socket_set), [2, 1, 1]);
    assert_eq!(ask(&["--url", ""], "", &socket_set), [2, 1, 2]);
    Cutover::new(&["status", "--url", &url, "--socket", &socket])
        .env("CUTOVER_TOKEN", "x")
        .run()
        .with_code(2);
}

#[test]
fn an_empty_secret_is_refused_before_anything_is_sent() {
    let server = Server::start();
    let secret = file("\n");
    let path = secret.path().to_str().expect("a path");
    let ended = Cutover::remote(&server, &["deploy", "app", SHA, "--secret-file", path]);
    let ended = ended.run().with_code(2);
    assert!(ended.stderr.contains("is empty"), "{}", ended.stderr);
    let ended = Cutover::remote(&server, &["deploy", "app", SHA]).env("CUTOVER_SECRET", "");
    ended.run().with_code(2);
    assert_eq!(server.lines(), [""; 0]);
}

#[test]
fn completions_and_manual_pages_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Cutover::new(&["completions", shell])
            .run()
            .with_code(0)
            .stdout;
        assert!(script.contains("rollback"), "{shell}");
    }
    let page = Cutover::new(&["man"]).run().with_code(0).stdout;
    assert!(
        page.contains(".TH cutover 1") && page.contains("cutover\\-deploy(1)"),
        "{page}"
    );
    let page = Cutover::new(&["man", "deploy"]).run().with_code(0).stdout;
    assert!(page.contains(".TH cutover-deploy 1"), "{page}");

    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("man1");
    Cutover::new(&["man", "--directory", path.to_str().expect("a path")])
        .run()
        .with_code(0);
    for page in ["cutover.1", "cutover-deploy.1", "cutover-pause.1"] {
        assert!(path.join(page).exists(), "{page}");
    }
}
