//! One wrong value for every key.

use super::super::known_keys;
use super::{COMPLETE, Place};

/// A key, a wrong value as TOML, and what is said about it.
const WRONG: &[(&str, &str, &str)] = &[
    (
        "server.listen",
        "8443",
        "`server.listen` must be a text in quotes, not a whole number",
    ),
    (
        "server.tls.cert",
        r#""$DIR/none.crt""#,
        "`server.tls.cert`: cannot read `$DIR/none.crt`: it does not exist",
    ),
    (
        "server.tls.key",
        r#""tls.key""#,
        "`server.tls.key` must be the absolute path of a file; what is written here is not shown, because it may be a secret",
    ),
    (
        "server.socket",
        r#""cutover.sock""#,
        "`server.socket` must be an absolute path, not \"cutover.sock\"",
    ),
    (
        "server.metrics_listen",
        r#""0.0.0.0:9464""#,
        "`server.metrics_listen` must be on the loopback interface, not `0.0.0.0:9464`",
    ),
    (
        "server.state_directory",
        r#""""#,
        "`server.state_directory` is empty",
    ),
    (
        "server.shutdown_deadline",
        "90",
        "`server.shutdown_deadline` must be a duration",
    ),
    (
        "server.history_days",
        "6",
        "`server.history_days` must be from 7 to 3650, not 6",
    ),
    (
        "auth.hmac.NAME.secret_file",
        r#""$DIR""#,
        "`auth.hmac.ci.secret_file`: cannot read `$DIR`: it is not a regular file",
    ),
    (
        "auth.hmac.NAME.services",
        r#"["shpo"]"#,
        "`auth.hmac.ci.services` names \"shpo\", which is not configured",
    ),
    (
        "auth.hmac.NAME.require_freshness",
        r#""no""#,
        "`auth.hmac.ci.require_freshness` must be `true` or `false`, without quotes, not a text",
    ),
    (
        "auth.operator.NAME.token_file",
        r#""$DIR/none""#,
        "`auth.operator.alice.token_file`: cannot read `$DIR/none`: it does not exist",
    ),
    (
        "docker.socket",
        r#""tcp://10.0.0.1:2375""#,
        "`docker.socket` must be the absolute path of a unix socket, not \"tcp://10.0.0.1:2375\"",
    ),
    (
        "docker.config_directory",
        r#""$DIR/.env""#,
        "`docker.config_directory`: `$DIR/.env` is not a directory",
    ),
    (
        "docker.compose",
        r#""$DIR/.env""#,
        "`docker.compose`: `$DIR/.env` is not executable",
    ),
    (
        "docker.cosign",
        r#""$DIR/.env""#,
        "`docker.cosign`: `$DIR/.env` is not executable",
    ),
    (
        "services.NAME.compose_files",
        "[]",
        "`services.shop.compose_files` is empty",
    ),
    (
        "services.NAME.project_directory",
        r#""$DIR/none""#,
        "`services.shop.project_directory`: cannot use `$DIR/none`: it does not exist",
    ),
    (
        "services.NAME.project_name",
        r#""Acme Shop""#,
        "`services.shop.project_name` must be lower-case letters, digits, `_` and `-`, beginning with a letter or digit, not \"Acme Shop\"",
    ),
    (
        "services.NAME.env_files",
        r#"["$DIR/.env", "$DIR/.env"]"#,
        "`services.shop.env_files` has \"$DIR/.env\" twice",
    ),
    (
        "services.NAME.profiles",
        r#"["--all"]"#,
        "`services.shop.profiles[0]` must be a profile's name: letters, digits, `.`, `_` and `-`, beginning with a letter or digit, not \"--all\"",
    ),
    (
        "services.NAME.environment",
        r#"{ DOCKER_HOST = "tcp://10.0.0.1" }"#,
        "`DOCKER_HOST` would change what Compose does, so it cannot be set",
    ),
    (
        "services.NAME.pass_environment",
        r#"["A B"]"#,
        "`services.shop.pass_environment[0]` is not the name of a variable: letters, digits and `_`; it is not shown, because it may hold a value",
    ),
    (
        "services.NAME.compose_service",
        r#""web/1""#,
        "`services.shop.compose_service` must be a service's name in the Compose file: letters, digits, `.`, `_` and `-`, not \"web/1\"",
    ),
    (
        "services.NAME.compose_services",
        r#"["web", "-worker"]"#,
        "`services.shop.compose_services[1]` must be a service's name in the Compose file: letters, digits, `.`, `_` and `-`, not \"-worker\"",
    ),
    (
        "services.NAME.jobs_after",
        r#"["warm up"]"#,
        "`services.shop.jobs_after[0]` must be a service's name in the Compose file: letters, digits, `.`, `_` and `-`, not \"warm up\"",
    ),
    (
        "services.NAME.release_command",
        "[]",
        "`services.shop.release_command` must name a program",
    ),
    (
        "services.NAME.image_repository",
        r#""ghcr.io/acme/shop:latest""#,
        "`services.shop.image_repository` must be an image without tag and digest, for example \"ghcr.io/acme/shop\", not \"ghcr.io/acme/shop:latest\"",
    ),
    (
        "services.NAME.tag_variable",
        r#""${SHOP_TAG}""#,
        "`services.shop.tag_variable` must be the name of a variable: letters, digits and `_`, not \"${SHOP_TAG}\"",
    ),
    (
        "services.NAME.tag_pattern",
        r#""v[0-9]""#,
        "`services.shop.tag_pattern` must be characters of a tag, `*` for any run of them and `?` for any one, for example `v*`, not \"v[0-9]\"",
    ),
    (
        "services.NAME.health.command",
        "[]",
        "`services.shop.health.command` must name a program",
    ),
    (
        "services.NAME.health.http.url",
        r#""app.example.com/health""#,
        "`services.shop.health.http.url` must be an address that begins with http:// or https://, without a user, not \"app.example.com/health\"",
    ),
    (
        "services.NAME.health.http.port",
        "70000",
        "`services.shop.health.http.port` must be from 1 to 65535, not 70000",
    ),
    (
        "services.NAME.health.http.path",
        r#""healthz""#,
        "`services.shop.health.http.path` must begin with `/` and have only visible ASCII characters, not \"healthz\"",
    ),
    (
        "services.NAME.health.http.status",
        r#""2xx""#,
        "`services.shop.health.http.status` must be one HTTP status or a range of them from 100 to 599, not \"2xx\"",
    ),
    (
        "services.NAME.health.http.host",
        r#""http://shop""#,
        "`services.shop.health.http.host` must be a host name, with a port if need be, not \"http://shop\"",
    ),
    (
        "services.NAME.health.http.tls",
        r#""on""#,
        "`services.shop.health.http.tls` must be \"off\" or \"verify\" or \"insecure\", not \"on\"",
    ),
    (
        "services.NAME.health.http.interval",
        r#""1ms""#,
        "`services.shop.health.http.interval` must be from \"10ms\" to \"24h\", not \"1ms\"",
    ),
    (
        "services.NAME.health.http.timeout",
        r#""2""#,
        "`services.shop.health.http.timeout` must be a duration, not \"2\"",
    ),
    (
        "services.NAME.health.http.body_bytes_max",
        "-1",
        "`services.shop.health.http.body_bytes_max` must be from 0 to 16777216, not -1",
    ),
    (
        "services.NAME.health.tcp.port",
        r#""5432""#,
        "`services.shop.health.tcp.port` must be a whole number, not a text",
    ),
    (
        "services.NAME.health.tcp.interval",
        r#""25h""#,
        "`services.shop.health.tcp.interval` must be from \"10ms\" to \"24h\", not \"25h\"",
    ),
    (
        "services.NAME.health.tcp.timeout",
        "2.5",
        "`services.shop.health.tcp.timeout` must be a duration",
    ),
    (
        "services.NAME.healthy_deadline",
        r#""5s""#,
        "`services.shop.min_healthy_time` must be shorter than `healthy_deadline`, or no release could ever succeed",
    ),
    (
        "services.NAME.min_healthy_time",
        r#""2m""#,
        "`services.shop.min_healthy_time` must be shorter than `healthy_deadline`, or no release could ever succeed",
    ),
    (
        "services.NAME.monitor",
        r#""soon""#,
        "`services.shop.monitor` must be a duration, not \"soon\"",
    ),
    (
        "services.NAME.hold",
        r#""on""#,
        "`services.shop.hold` must be \"off\" or a duration, not \"on\"",
    ),
    (
        "services.NAME.hold_ports",
        "[8080, 0]",
        "`services.shop.hold_ports[1]` must be from 1 to 65535, not 0",
    ),
    (
        "services.NAME.drain",
        r#""soon""#,
        "`services.shop.drain` must be a duration, not \"soon\"",
    ),
    (
        "services.NAME.progress_deadline",
        r#""0s""#,
        "`services.shop.progress_deadline` must be from \"10ms\" to \"24h\", not \"0s\"",
    ),
    (
        "services.NAME.job_deadline",
        r#""0s""#,
        "`services.shop.job_deadline` must be from \"10ms\" to \"24h\", not \"0s\"",
    ),
    (
        "services.NAME.job_reruns",
        r#""always""#,
        "`services.shop.job_reruns` must be \"never\" or \"safe\", not \"always\"",
    ),
    (
        "services.NAME.keep_releases",
        "1",
        "`services.shop.keep_releases` must be from 2 to 1000, not 1",
    ),
    (
        "services.NAME.order",
        r#""start_first""#,
        "`services.shop.order` must be \"stop-first\" or \"start-first\", not \"start_first\"",
    ),
    (
        "services.NAME.shared_volumes",
        r#""yes""#,
        "`services.shop.shared_volumes` must be \"refused\" or \"allowed\", not \"yes\"",
    ),
    (
        "services.NAME.aliases",
        r#""never""#,
        "`services.shop.aliases` must be \"when-proven\" or \"at-start\", not \"never\"",
    ),
    (
        "services.NAME.parallelism",
        "1001",
        "`services.shop.parallelism` must be from 0 to 1000, not 1001",
    ),
    (
        "services.NAME.delay",
        r#""soon""#,
        "`services.shop.delay` must be a duration, not \"soon\"",
    ),
    (
        "services.NAME.switch",
        r#""parallel""#,
        "`services.shop.switch` must be \"in-order\" or \"together\", not \"parallel\"",
    ),
    (
        "services.NAME.when_busy",
        r#""queue""#,
        "`services.shop.when_busy` must be \"wait\" or \"refuse\", not \"queue\"",
    ),
    (
        "services.NAME.way_back",
        r#""same""#,
        "`services.shop.way_back` must be \"previous-image\" or \"same-container\", not \"same\"",
    ),
    (
        "services.NAME.unset_variables",
        r#""allow""#,
        "`services.shop.unset_variables` must be \"warn\" or \"refuse\", not \"allow\"",
    ),
    (
        "services.NAME.output",
        r#""hidden""#,
        "`services.shop.output` must be \"masked\" or \"full\" or \"none\", not \"hidden\"",
    ),
    (
        "services.NAME.image_mib_max",
        "0",
        "`services.shop.image_mib_max` must be from 1 to 1048576, not 0",
    ),
    (
        "services.NAME.require_revision_label",
        r#""yes""#,
        "`services.shop.require_revision_label` must be `true` or `false`, without quotes, not a text",
    ),
    (
        "services.NAME.signature.by",
        r#""cosign.pub""#,
        "`services.shop.signature.by` must be the absolute path of a public key, or an identity, not \"cosign.pub\"",
    ),
    (
        "services.NAME.signature.issuer",
        r#""issuer.example.com""#,
        "`services.shop.signature.issuer` must be the address of an OIDC issuer, beginning with `https://`, not \"issuer.example.com\"",
    ),
    (
        "services.NAME.signature.transparency_log",
        "false",
        "`services.shop.signature.transparency_log` must be `true` for an identity: only the log proves when its short-lived certificate was used",
    ),
];

/// The complete configuration with another value at `key`.
fn with(key: &str, value: &str) -> String {
    let mut document: toml::Table = COMPLETE.parse().expect("valid TOML");
    let key = match key {
        key if key.starts_with("auth.hmac.") => key.replace("NAME", "ci"),
        key if key.starts_with("auth.operator.") => key.replace("NAME", "alice"),
        key => key.replace("NAME", "shop"),
    };
    let mut names = key.split('.').collect::<Vec<_>>();
    let last = names.pop().expect("a key");
    let table = names.iter().fold(&mut document, |table, name| {
        table[*name].as_table_mut().expect(name)
    });
    let value: toml::Table = format!("value = {value}").parse().expect("valid TOML");
    let before = table.insert(last.to_owned(), value["value"].clone());
    assert!(before.is_some(), "COMPLETE has no {key}");
    toml::to_string(&document).expect("valid TOML")
}

#[test]
fn every_key_has_a_wrong_value_that_is_refused() {
    let place = Place::new();
    for (key, value, expected) in WRONG {
        assert_eq!(place.messages(&with(key, value)), [*expected], "{key}");
    }
}

#[test]
fn no_key_is_forgotten_in_these_tests() {
    let tested: Vec<&str> = WRONG.iter().map(|(key, _, _)| *key).collect();
    for key in known_keys() {
        assert!(tested.contains(&key.as_str()), "{key} has no wrong value");
    }
    assert_eq!(tested.len(), known_keys().len());
}

#[test]
fn every_key_of_the_wrong_type_is_refused_at_its_place() {
    let place = Place::new();
    for key in known_keys() {
        let mistakes = place
            .read(&with(&key, "1979-05-27"))
            .expect_err("a date is never right");
        let shown: Vec<_> = mistakes.iter().map(|mistake| mistake.message()).collect();
        let named = key
            .replace("hmac.NAME", "hmac.ci")
            .replace("operator.NAME", "operator.alice")
            .replace("NAME", "shop");
        assert!(
            mistakes
                .iter()
                .any(|mistake| mistake.key() == named && mistake.line().is_some()),
            "{key}: {shown:?}"
        );
    }
}
