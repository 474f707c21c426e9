//! How mistakes look.

use insta::assert_snapshot;

use super::super::Ink;
use super::{Place, SMALLEST};

#[test]
fn several_kinds_of_mistakes_are_shown_together_with_their_lines() {
    let place = Place::new();
    let text = "\
[server]
listen = \"0.0.0.0:8443\"
metrics = \"127.0.0.1:9464\"

[services.shop]
compose_file = [\"/srv/shop/compose.yaml\"]
healthy_deadline = 120 # two minutes
order = \"start_first\"
";
    let mistakes = place.read(text).expect_err("refused");
    assert_snapshot!(mistakes, @r#"
    error: `server.listen` is `0.0.0.0:8443`, which others can reach, but `server.tls` is missing
     --> /etc/cutover/cutover.toml:2:10
      |
    2 | listen = "0.0.0.0:8443"
      |          ^^^^^^^^^^^^^^
      |
      = help: add `tls = { cert = "…", key = "…" }`, or listen on 127.0.0.1 behind a proxy that speaks TLS

    error: `server.listen` is set, but no key could sign a request
     --> /etc/cutover/cutover.toml:2:10
      |
    2 | listen = "0.0.0.0:8443"
      |          ^^^^^^^^^^^^^^
      |
      = help: add `[auth.hmac.ci]` with `secret_file` and `services`, or remove `listen` to use the unix socket only

    error: there is no key `metrics` in `server`
     --> /etc/cutover/cutover.toml:3:1
      |
    3 | metrics = ****************
      | ^^^^^^^
      |
      = help: known here: `listen`, `tls`, `socket`, `metrics_listen`, `state_directory`, `shutdown_deadline`, `history_days`

    error: there is no key `compose_file` in `services.shop`
     --> /etc/cutover/cutover.toml:6:1
      |
    6 | compose_file = [************************]
      | ^^^^^^^^^^^^
      |
      = help: did you mean `compose_files`?

    error: `services.shop.healthy_deadline` must be a duration
     --> /etc/cutover/cutover.toml:7:20
      |
    7 | healthy_deadline = 120 # two minutes
      |                    ^^^
      |
      = help: durations are written as in Compose, in quotes and with units: "500ms", "90s", "1m30s"

    error: `services.shop.order` must be "stop-first" or "start-first", not "start_first"
     --> /etc/cutover/cutover.toml:8:9
      |
    8 | order = "start_first"
      |         ^^^^^^^^^^^^^
      |
      = help: did you mean "start-first"?

    error: 6 mistakes in /etc/cutover/cutover.toml
    "#);
}

#[test]
fn values_that_may_be_secrets_are_covered() {
    let place = Place::new();
    let text = "[auth.hmac.ci]\nsecret = \"hunter2\"\nservices = [\"shop\"]\n\n[services.shop]\ncompose_files = [\"$DIR/compose.yaml\"]\nenvironment = { DOCKER_HOST = \"tcp://user:pass@host\" }\n";
    let mistakes = place.read(text).expect_err("refused");
    assert_snapshot!(place.without_directory(&mistakes.to_string()), @r#"
    error: `secret_file` is missing in `auth.hmac.ci`
     --> /etc/cutover/cutover.toml:1:12
      |
    1 | [auth.hmac.ci]
      |            ^^
      |
      = help: `secret_file` is the path of a file that holds the shared secret; the secret itself is never written here

    error: there is no key `secret` in `auth.hmac.ci`
     --> /etc/cutover/cutover.toml:2:1
      |
    2 | secret = *********
      | ^^^^^^
      |
      = help: known here: `secret_file`, `services`, `require_freshness`

    error: `DOCKER_HOST` would change what Compose does, so it cannot be set
     --> /etc/cutover/cutover.toml:7:17
      |
    7 | environment = { DOCKER_HOST = ********************** }
      |                 ^^^^^^^^^^^
      |
      = help: use `docker.socket` instead

    error: 3 mistakes in /etc/cutover/cutover.toml
    "#);
}

#[test]
fn syntax_errors_are_shown_alone_and_all_at_once() {
    let place = Place::new();
    let mistakes = place
        .read("[server]\nlisten = 0.0.0.0:8443\n\n[docker\nnonsense = 1\n")
        .expect_err("refused");
    assert_snapshot!(mistakes, @r#"
    error: this is not TOML: invalid float, expected nothing
     --> /etc/cutover/cutover.toml:2:13
      |
    2 | listen = 0.0.0.0:8443
      |             ^^^^^^^^^
      |
      = help: texts are written in quotes, for example "127.0.0.1:8443"

    error: this is not TOML: unclosed table, expected `]`
     --> /etc/cutover/cutover.toml:4:8
      |
    4 | [docker
      |        ^

    error: 2 mistakes in /etc/cutover/cutover.toml
    "#);
}

#[test]
fn a_mistake_about_the_file_has_no_line() {
    let mistakes =
        super::super::load(std::path::Path::new("/none/cutover.toml")).expect_err("refused");
    assert_snapshot!(mistakes, @r#"
    error: cannot read the configuration: it does not exist
    --> /none/cutover.toml
     = help: write one with `cutover init`, or name another with `--config`

    error: 1 mistake in /none/cutover.toml
    "#);
}

#[test]
fn ten_mistakes_are_ten_reports() {
    let place = Place::new();
    let text = "\
[server]
listen = \"localhost\"
soket = \"/run/x.sock\"
shutdown_deadline = 5

[auth.hmac.ci]
secret_file = \"secret\"
services = [\"shop\", \"shop\"]

[docker]
socket = \"tcp://docker\"

[services.shop]
compose_files = [\"$DIR/none.yaml\"]
keep_releases = \"3\"
tag_patern = \"v*\"
health = { http = { port = 0 } }
";
    let mistakes = place.read(text).expect_err("refused");
    let lines: Vec<_> = mistakes
        .iter()
        .filter_map(|mistake| mistake.line())
        .collect();
    assert_eq!(lines, [2, 3, 4, 7, 8, 11, 14, 15, 16, 17]);
    assert_eq!(mistakes.iter().len(), 10);
    let rendered = mistakes.to_string();
    assert_eq!(rendered.matches("error: ").count(), 11, "{rendered}");
    assert!(rendered.ends_with("error: 10 mistakes in /etc/cutover/cutover.toml"));
}

#[test]
fn colors_are_only_there_when_asked_for() {
    let place = Place::new();
    let mistakes = place.read("x = 1\n").expect_err("refused");
    assert!(!mistakes.render(Ink::Plain).contains('\u{1b}'));
    assert!(mistakes.render(Ink::Colored).contains('\u{1b}'));
    assert_eq!(mistakes.render(Ink::Plain), mistakes.to_string());
}

#[test]
fn the_key_that_was_meant_is_suggested() {
    let place = Place::new();
    let help = |text: &str| {
        let mistakes = place.read(text).expect_err("refused");
        let first = mistakes.iter().next().expect("one mistake");
        first.help().unwrap_or_default().to_owned()
    };
    let service = |line: &str| format!("{SMALLEST}{line}\n");
    assert_eq!(
        help(&service("keep_release = 2")),
        "did you mean `keep_releases`?"
    );
    assert_eq!(
        help(&service("healty_deadline = \"2m\"")),
        "did you mean `healthy_deadline`?"
    );
    assert_eq!(
        help(&service("Order = \"stop-first\"")),
        "did you mean `order`?"
    );
    assert_eq!(
        help(&service("secret_file = \"/x\"")),
        "`secret_file` belongs into `[auth.hmac.NAME]`"
    );
    assert_eq!(help("[sevrices]\n"), "did you mean `services`?");
    assert_eq!(
        help("[docker]\nhots = 1\n[services]\n"),
        "known here: `socket`, `config_directory`, `compose`, `cosign`"
    );
    assert_eq!(
        help(&service("order = \"startfirst\"")),
        "did you mean \"start-first\"?"
    );
}
