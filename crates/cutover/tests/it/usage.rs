//! What needs no daemon.

use std::os::unix::fs::PermissionsExt as _;

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
        "help",
        "man",
        "Exit codes:",
        "needs an operator",
    ] {
        assert!(help.contains(word), "{word} is missing in:\n{help}");
    }
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
    let both = ["--url", url.as_str(), "--socket", &socket_set];
    assert_eq!(ask(&both, "", ""), [3, 1, 2]);
    // As CI writes a variable that is not set.
    let empty = ["--url", "", "--socket", socket.as_str()];
    assert_eq!(ask(&empty, &set.url(), &socket_set), [4, 1, 2]);
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

#[test]
fn a_mistake_in_the_configuration_is_json_where_json_was_asked_for() {
    let configuration = file("[services.app]\nproject_directory = \"/\"\nkeep_releases = 1\n");
    let path = configuration.path().display().to_string();
    for arguments in [
        &["check", "--json", "--config", &path][..],
        &["plan", "app", SHA, "--json", "--config", &path],
    ] {
        let ended = Cutover::new(arguments).run().with_code(2);
        let findings: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
        let found = findings.as_array().expect("a list");
        let of_key = |key: &str| {
            let subject = format!("configuration {key}");
            let found = found
                .iter()
                .find(|finding| finding["subject"] == subject.as_str());
            found
                .unwrap_or_else(|| panic!("{key}: {findings:#}"))
                .clone()
        };
        let keep = of_key("services.app.keep_releases");
        assert_eq!(keep["level"], "mistake");
        let said = keep["found"].as_str().expect("a text");
        assert!(
            said.starts_with(&format!("{path}:3: ")) && said.ends_with("not 1"),
            "{said}"
        );
        let help = of_key("services.app.project_directory")["advice"].clone();
        assert!(help.as_str().is_some_and(|help| !help.is_empty()), "{help}");
        assert!(ended.stderr.contains("2 mistakes"), "{}", ended.stderr);
    }
    let silent = Cutover::new(&["check", "--config", &path])
        .run()
        .with_code(2);
    assert_eq!(silent.stdout, "");
}

/// What a hint names is on the server.
#[test]
fn the_documents_are_in_the_binary() {
    for (topic, says) in [
        ("operations", "## Every outcome, and what to do"),
        ("configuration", "services.NAME.monitor"),
        ("github-actions", "merge queue"),
        ("api", "POST /deploy"),
        ("security", "no core dumps"),
        ("proxies", "## Which address cutover listens on"),
        ("deploy", "Usage: cutover deploy"),
    ] {
        let ended = Cutover::new(&["help", topic]).run().with_code(0);
        assert!(ended.stdout.contains(says), "{topic}: {says}");
    }
    let ended = Cutover::new(&["help", "nothing"]).run().with_code(2);
    assert!(
        ended.stderr.contains("topics are operations"),
        "{}",
        ended.stderr
    );
}

/// Found by `check`, and not by the daemon that does not start.
#[test]
fn an_address_that_somebody_listens_on_is_a_mistake() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let directory = tempfile::tempdir().expect("a directory");
    let compose = directory.path().join("compose.yaml");
    std::fs::write(&compose, "services: {}\n").expect("writes");
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "s".repeat(32)).expect("writes");
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&secret, private).expect("a mode");
    let configuration = file(&format!(
        "[auth.hmac.ci]\nsecret_file = {secret:?}\nservices = [\"app\"]\n\
         [server]\nlisten = \"{address}\"\nsocket = {:?}\nstate_directory = {:?}\n\
         [services.app]\ncompose_files = [{compose:?}]\n",
        directory.path().join("cutover.sock"),
        directory.path().join("state"),
    ));
    let path = configuration.path().display().to_string();
    let ended = Cutover::new(&["check", "--config", &path])
        .run()
        .with_code(2);
    let found = format!("listen: cannot listen on {address}: another program listens there");
    assert!(ended.stdout.contains(&found), "{}", ended.stdout);
}

#[test]
fn a_daemon_that_could_never_start_ends_with_2_and_others_with_1() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let write = |name: &str, text: &str, mode: u32| {
        std::fs::write(at(name), text).expect("writes");
        std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).expect("a mode");
    };
    write("compose.yaml", "services: {}\n", 0o644);
    write("secret", &"s".repeat(32), 0o600);
    write("tls.crt", "a certificate", 0o644);
    write("tls.key", "a key", 0o600);
    let configuration = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nTLSsocket = {:?}\nstate_directory = {:?}\n\
         [auth.hmac.ci]\nsecret_file = {:?}\nservices = [\"app\"]\n\
         [docker]\nsocket = {:?}\ncompose = {:?}\nconfig_directory = {:?}\n\
         [services.app]\ncompose_files = [{:?}]\n",
        at("cutover.sock"),
        at("state"),
        at("secret"),
        at("none.sock"),
        at("docker-compose"),
        directory.path(),
        at("compose.yaml"),
    );
    let tls = format!(
        "tls = {{ cert = {:?}, key = {:?} }}\n",
        at("tls.crt"),
        at("tls.key")
    );
    for (version, tls, state, code, said) in [
        ("2.19.1", "", "state", 2, "too old"),
        ("2.29.1", tls.as_str(), "state", 2, "tls.crt"),
        // Another start may find room for it.
        ("2.29.1", "", "secret/state", 1, "state directory"),
    ] {
        let program = format!("#!/bin/sh\necho {version}\n");
        write("docker-compose", &program, 0o755);
        let text = configuration.replace("TLS", tls);
        let text = text.replace("/state\"", &format!("/{state}\""));
        write("cutover.toml", &text, 0o644);
        let path = at("cutover.toml").display().to_string();
        let ended = Cutover::new(&["serve", "--config", &path])
            .run()
            .with_code(code);
        let error = ended.stderr.lines().find(|line| line.contains("error:"));
        assert!(
            error.is_some_and(|line| line.contains(said)),
            "{}",
            ended.stderr
        );
    }
}
