//! What is refused although each value by itself is fine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::super::load;
use super::{Place, SMALLEST};

/// A key for the service of [`SMALLEST`].
const KEY: &str = "[auth.hmac.ci]\nsecret_file = \"$DIR/webhook.secret\"\nservices = [\"shop\"]\n";

#[test]
fn a_file_without_services_is_refused() {
    let place = Place::new();
    assert_eq!(place.message(""), "no service is configured");
    assert_eq!(place.message("[services]\n"), "no service is configured");
    assert_eq!(
        place.messages("services = 1\n"),
        [
            "no service is configured",
            "`services` must be a table, not a whole number"
        ]
    );
}

#[test]
fn plain_http_stays_on_the_machine() {
    let place = Place::new();
    let listen = |address: &str| format!("[server]\nlisten = \"{address}\"\n{KEY}{SMALLEST}");
    for fine in [
        "127.0.0.1:8443",
        "[::1]:80",
        "127.8.8.8:0",
        "[::ffff:127.0.0.1]:80",
    ] {
        assert_eq!(place.messages(&listen(fine)), [""; 0], "{fine}");
    }
    for reachable in [
        "0.0.0.0:80",
        "[::]:80",
        "10.0.0.1:80",
        "[::ffff:10.0.0.1]:80",
    ] {
        let message = place.message(&listen(reachable));
        assert!(
            message.ends_with("which others can reach, but `server.tls` is missing"),
            "{message}"
        );
    }
    for wrong in ["localhost:80", "127.0.0.1", ":80"] {
        let message = place.message(&listen(wrong));
        assert!(
            message.contains("must be an IP address with a port"),
            "{message}"
        );
    }
}

#[test]
fn tls_needs_both_files_and_a_listener() {
    let place = Place::new();
    let tls =
        |tls: &str| format!("[server]\nlisten = \"0.0.0.0:443\"\ntls = {tls}\n{KEY}{SMALLEST}");
    assert_eq!(
        place.messages(&tls("{}")),
        [
            "`cert` is missing in `server.tls`",
            "`key` is missing in `server.tls`"
        ]
    );
    place.write("open.key", "a key", 0o644);
    assert_eq!(
        place.message(&tls("{ cert = \"$DIR/tls.crt\", key = \"$DIR/open.key\" }")),
        "`server.tls.key`: `$DIR/open.key` is accessible to everybody on this machine (mode 0644)"
    );
    place.write("open.key", "a key", 0o640);
    assert!(
        place
            .read(&tls("{ cert = \"$DIR/tls.crt\", key = \"$DIR/open.key\" }"))
            .is_ok()
    );
    let text = format!(
        "[server]\ntls = {{ cert = \"$DIR/tls.crt\", key = \"$DIR/tls.key\" }}\n{SMALLEST}"
    );
    assert_eq!(
        place.message(&text),
        "`server.tls` without `server.listen` has no effect"
    );
}

#[test]
fn a_listener_that_nobody_may_use_is_refused() {
    let place = Place::new();
    let text = format!("[server]\nlisten = \"127.0.0.1:8443\"\n{SMALLEST}");
    assert_eq!(
        place.message(&text),
        "`server.listen` is set, but no key could sign a request"
    );
}

#[test]
fn metrics_have_an_address_of_their_own() {
    let place = Place::new();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:80\"\nmetrics_listen = \"127.0.0.1:80\"\n{KEY}{SMALLEST}"
    );
    assert_eq!(
        place.message(&text),
        "`server.metrics_listen` is the address of `server.listen`"
    );
}

#[test]
fn a_service_needs_a_place_and_is_configured_once() {
    let place = Place::new();
    assert_eq!(
        place.message("[services.shop]\n"),
        "neither `compose_files` nor `project_directory` says where the Compose file is"
    );
    let twice = format!(
        "{SMALLEST}[services.again]\nproject_directory = \"$DIR\"\ncompose_service = \"shop\"\n"
    );
    assert_eq!(
        place.message(&twice),
        "`services.shop` and `services.again` are the same service of the same Compose project"
    );
    let messages = place.messages(&format!("{SMALLEST}{SMALLEST}"));
    assert_eq!(messages, vec!["this name is given twice"; messages.len()]);
    assert!(!messages.is_empty());
    assert_eq!(
        place.message("[services.\"../shop\"]\ncompose_files = [\"$DIR/compose.yaml\"]\n"),
        "\"../shop\" is not a service name: service must be 1 to 63 of `A-Za-z0-9._-`, beginning with a letter or digit, without `..`"
    );
}

/// Directories, files in them, the second service's keys beside `compose_service`, and whether both are one.
const TWO_NAMES: &[(&str, &str, &str, bool)] = &[
    // The name of the project is given once, and is the directory's by default.
    (
        "",
        "",
        "compose_files = [\"$DIR/Shop.1/compose.yaml\"]\nproject_name = \"shop1\"",
        true,
    ),
    (
        "",
        "",
        "compose_files = [\"$DIR/Shop.1/compose.yaml\"]\nproject_name = \"shop\"",
        false,
    ),
    (
        "",
        "",
        "compose_files = [\"$DIR/Shop.1/../Shop.1/compose.yaml\"]",
        true,
    ),
    // Compose does not resolve the link: the project has the link's name, and containers of its own.
    (
        "",
        "",
        "compose_files = [\"$DIR/link/compose.yaml\"]",
        false,
    ),
    (
        "",
        "",
        "compose_files = [\"$DIR/link/compose.yaml\"]\nproject_name = \"shop1\"",
        true,
    ),
    // Another directory of the same name, with the name that Compose gives to it.
    (
        "",
        "",
        "compose_files = [\"$DIR/other/shop1/compose.yaml\"]",
        true,
    ),
    // The name is in the Compose file, or in its variables.
    (
        "name: acme\n",
        "",
        "compose_files = [\"$DIR/link/compose.yaml\"]",
        true,
    ),
    (
        "name: acme\n",
        "",
        "compose_files = [\"$DIR/other/shop1/compose.yaml\"]",
        false,
    ),
    (
        "name: ${NAME}\n",
        "",
        "compose_files = [\"$DIR/link/compose.yaml\"]\nenvironment = { NAME = \"b\" }",
        false,
    ),
    (
        "{\"name\": \"acme\"}\n",
        "",
        "compose_files = [\"$DIR/other/shop1/compose.yaml\"]",
        false,
    ),
    (
        "",
        "COMPOSE_PROJECT_NAME=acme\n",
        "compose_files = [\"$DIR/other/shop1/compose.yaml\"]",
        false,
    ),
];

#[test]
fn one_container_under_two_names_is_refused_where_that_is_certain() {
    for (compose, variables, second, same) in TWO_NAMES {
        let place = Place::new();
        std::fs::create_dir_all(place.path("Shop.1")).expect("a directory");
        std::fs::create_dir_all(place.path("other/shop1")).expect("a directory");
        std::os::unix::fs::symlink("Shop.1", place.path("link")).expect("a link");
        place.write(
            "Shop.1/compose.yaml",
            &format!("{compose}services: {{}}\n"),
            0o644,
        );
        place.write("Shop.1/.env", variables, 0o644);
        place.write("other/shop1/compose.yaml", "services: {}\n", 0o644);
        let text = format!(
            "[services.shop]\ncompose_files = [\"$DIR/Shop.1/compose.yaml\"]\n[services.again]\n{second}\ncompose_service = \"shop\"\n"
        );
        let found = place.messages(&text);
        let expected =
            "`services.shop` and `services.again` are the same service of the same Compose project";
        let expected: &[&str] = if *same { &[expected] } else { &[] };
        assert_eq!(found, expected, "{compose}{variables}{second}");
    }
}

#[test]
fn variables_that_would_lead_compose_elsewhere_are_refused() {
    let place = Place::new();
    let with = |line: &str| format!("{SMALLEST}{line}\n");
    assert_eq!(
        place.message(&with(
            "environment = { TAG = \"1\" }\ntag_variable = \"TAG\""
        )),
        "`TAG` is the tag variable, which each deployment sets"
    );
    assert_eq!(
        place.message(&with(
            "environment = { A = \"1\" }\npass_environment = [\"A\"]"
        )),
        "`A` has a value in `environment` as well"
    );
    assert_eq!(
        place.message(&with("pass_environment = [\"COMPOSE_FILE\"]")),
        "`COMPOSE_FILE` would change what Compose does, so it cannot be set"
    );
    place.write(
        ".env",
        "# files\nexport COMPOSE_FILE=a.yaml:b.yaml\n",
        0o644,
    );
    assert_eq!(
        place.message("[services.shop]\nproject_directory = \"$DIR\"\n"),
        "`$DIR/.env` sets COMPOSE_FILE, which only the `docker compose` command line follows"
    );
    assert!(place.read(SMALLEST).is_ok());
}

#[test]
fn texts_that_no_argument_can_hold_are_refused() {
    let place = Place::new();
    let text = "[services.shop]\ncompose_files = [\"/a\\u0000b\", \"\", 3]\n";
    assert_eq!(
        place.messages(text),
        [
            "`services.shop.compose_files[0]` contains a NUL character",
            "`services.shop.compose_files[1]` is empty",
            "`services.shop.compose_files[2]` must be a text in quotes, not a whole number",
        ]
    );
}

#[test]
fn a_certificate_is_only_verified_for_a_name() {
    let place = Place::new();
    let with = |probe: &str| format!("{SMALLEST}health.http = {{ {probe} }}\n");
    assert_eq!(
        place.message(&with("tls = \"verify\"")),
        "`services.shop.health.http.host` is missing, so there is no name to verify"
    );
    for fine in [
        "tls = \"verify\", host = \"shop.example.com\"",
        "tls = \"insecure\"",
        "host = \"shop.example.com:8080\"",
    ] {
        assert!(place.read(&with(fine)).is_ok(), "{fine}");
    }
}

#[test]
fn the_path_of_a_socket_is_bounded() {
    let place = Place::new();
    let text = |len: usize| {
        format!(
            "[server]\nsocket = \"/{}\"\n{SMALLEST}",
            "s".repeat(len - 1)
        )
    };
    assert!(place.read(&text(107)).is_ok());
    assert!(place.message(&text(108)).contains("at most 107"));
}

#[test]
fn the_file_itself_is_checked_before_it_is_read() {
    let place = Place::new();
    let path = place.path("cutover.toml");
    let message = || {
        let mistakes = load(&path).expect_err("refused");
        let mut messages = mistakes.iter().map(|mistake| {
            assert_eq!(mistake.line(), None);
            mistake.message().to_owned()
        });
        messages.next().expect("one mistake")
    };
    assert_eq!(
        message(),
        "cannot read the configuration: it does not exist"
    );
    let text = SMALLEST.replace("$DIR", &place.directory.path().display().to_string());
    fs::write(&path, text).expect("written");
    assert!(load(&path).is_ok());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("changed");
    assert_eq!(message(), "everybody on this machine may write this file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("changed");
    std::os::unix::fs::chown(&path, Some(1000), None).expect("as root");
    let said = message();
    assert_eq!(
        said,
        "this file belongs to the user 1000, who can change it"
    );
    std::os::unix::fs::chown(&path, Some(0), None).expect("as root");
    fs::write(&path, b"# \xff\n").expect("written");
    assert_eq!(message(), "byte 2 of the file is not UTF-8");
    fs::write(&path, "#".repeat(1024 * 1024 + 1)).expect("written");
    assert_eq!(message(), "the file is longer than 1048576 bytes");
    fs::remove_file(&path).expect("it was there");
    fs::create_dir(&path).expect("created");
    assert_eq!(
        message(),
        "cannot read the configuration: it is not a regular file"
    );
}
