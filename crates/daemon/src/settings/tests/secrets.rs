//! Secret files: which are taken, and that nothing of them gets out.

use super::super::Secret;
use super::super::surroundings::Surroundings;
use super::{COMPLETE, Place, SMALLEST};

/// A configuration with one key whose secret is in `file`.
fn with_secret(file: &str) -> String {
    format!("[auth.hmac.ci]\nsecret_file = \"$DIR/{file}\"\nservices = [\"shop\"]\n{SMALLEST}")
}

const GOOD: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn what_a_secret_file_may_hold() {
    let place = Place::new();
    let cases = [
        ("", "`$DIR/s` is empty"),
        ("\n", "`$DIR/s` is empty"),
        (
            &GOOD[1..],
            "the secret in `$DIR/s` has 31 bytes; at least 32 are needed",
        ),
        (
            " 0123456789abcdef0123456789abcdef",
            "the secret in `$DIR/s` begins or ends with white space",
        ),
        (
            "0123456789abcdef0123456789abcdef\n\n",
            "the secret in `$DIR/s` begins or ends with white space",
        ),
        (
            &"x".repeat(4097),
            "`$DIR/s` is longer than 4096 bytes, which is no secret",
        ),
        (
            &"x".repeat(9000),
            "`$DIR/s` is longer than 4096 bytes, which is no secret",
        ),
    ];
    for (content, expected) in cases {
        place.write("s", content, 0o600);
        let message = place.message(&with_secret("s"));
        assert_eq!(message, format!("`auth.hmac.ci.secret_file`: {expected}"));
    }
    for content in [
        GOOD,
        "0123456789abcdef0123456789abcdef\n",
        "0123456789abcdef0123456789abcdef\r\n",
    ] {
        place.write("s", content, 0o600);
        let settings = place.read(&with_secret("s")).expect("valid");
        assert_eq!(settings.keys[0].secret.expose(), GOOD.as_bytes());
    }
    place.write("s", &"x".repeat(4096), 0o400);
    assert!(place.read(&with_secret("s")).is_ok());
}

#[test]
fn a_secret_that_others_can_reach_is_refused() {
    let place = Place::new();
    for (mode, who) in [
        (0o640, "its group"),
        (0o620, "its group"),
        (0o604, "everybody on this machine"),
        (0o644, "everybody on this machine"),
    ] {
        place.write("s", GOOD, mode);
        assert_eq!(
            place.message(&with_secret("s")),
            format!(
                "`auth.hmac.ci.secret_file`: `$DIR/s` is accessible to {who} (mode {mode:04o}); a secret must be its owner's alone (mode 0600)"
            )
        );
    }
}

/// Whoever owns it can write what signs requests.
#[test]
fn a_secret_of_another_user_is_refused() {
    let place = Place::new();
    place.write("s", GOOD, 0o600);
    let path = place.directory.path().join("s");
    std::os::unix::fs::chown(&path, Some(1000), None).expect("as root");
    let said = place.message(&with_secret("s"));
    assert!(said.contains("belongs to the user 1000"), "{said}");
}

#[test]
fn a_credential_of_systemd_may_show_permissions_of_the_group() {
    let place = Place::new();
    let surroundings = Surroundings {
        credentials_directory: Some(place.directory.path().to_owned()),
        ..Surroundings::default()
    };
    place.write("s", GOOD, 0o440);
    assert!(place.read_in(&with_secret("s"), &surroundings).is_ok());
    place.write("s", GOOD, 0o444);
    assert!(place.read_in(&with_secret("s"), &surroundings).is_err());
}

#[test]
fn a_pipe_in_the_place_of_a_secret_does_not_hang_the_start() {
    let place = Place::new();
    let path = place.path("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).expect("a pipe");
    assert_eq!(
        place.message(&with_secret("pipe")),
        "`auth.hmac.ci.secret_file`: cannot read `$DIR/pipe`: it is not a regular file"
    );
}

#[test]
fn a_secret_belongs_to_one_key_or_one_operator() {
    let place = Place::new();
    let key = |name: &str| {
        with_secret("webhook.secret")
            .replace(SMALLEST, "")
            .replace("ci", name)
    };
    let message = place.message(&format!("{}{}{SMALLEST}", key("old"), key("new")));
    assert!(
        [
            "`auth.hmac.new.secret_file` is the secret of `auth.hmac.old` as well",
            "`auth.hmac.old.secret_file` is the secret of `auth.hmac.new` as well",
        ]
        .contains(&message.as_str()),
        "{message}"
    );
    let operator = "[auth.operator.alice]\ntoken_file = \"$DIR/webhook.secret\"\n";
    assert_eq!(
        place.message(&format!("{}{operator}{SMALLEST}", key("old"))),
        "`auth.operator.alice.token_file` is the secret of `auth.hmac.old` as well"
    );
    let bob = operator.replace("alice", "bob");
    assert_eq!(
        place.message(&format!("{operator}{bob}{SMALLEST}")),
        "`auth.operator.bob.token_file` is the secret of `auth.operator.alice` as well"
    );
}

#[test]
fn a_token_must_fit_into_a_header() {
    let place = Place::new();
    place.write("s", "0123456789abcdef 0123456789abcdef", 0o600);
    let text = format!("[auth.operator.alice]\ntoken_file = \"$DIR/s\"\n{SMALLEST}");
    assert_eq!(
        place.message(&text),
        "`auth.operator.alice.token_file`: the token in `$DIR/s` has characters that an HTTP header cannot carry"
    );
}

#[test]
fn a_key_needs_services_that_exist() {
    let place = Place::new();
    let key = |services: &str| with_secret("webhook.secret").replace("[\"shop\"]", services);
    assert_eq!(
        place.message(&key("[]")),
        "`auth.hmac.ci.services` is empty, so this key could deploy nothing"
    );
    assert_eq!(
        place.messages(&key("[\"shop\", \"*\", \"shopp\"]")),
        [
            "`auth.hmac.ci.services` names \"*\", which is not configured",
            "`auth.hmac.ci.services` names \"shopp\", which is not configured",
        ]
    );
    assert_eq!(
        place.messages(&format!("[auth.hmac.ci]\n{SMALLEST}")),
        [
            "`secret_file` is missing in `auth.hmac.ci`",
            "`services` is missing in `auth.hmac.ci`"
        ]
    );
    assert_eq!(
        place.message(&with_secret("webhook.secret").replace("hmac.ci", "hmac.\"c i\"")),
        "\"c i\" is not a name: allowed are 1 to 63 of `A-Za-z0-9._-`, beginning with a letter or digit"
    );
}

#[test]
fn no_rendering_shows_a_secret() {
    let place = Place::new();
    let settings = place.read(COMPLETE).expect("valid");
    let debug = format!("{settings:?}");
    assert!(
        !debug.contains("0123456789abcdef") && !debug.contains("abcdefghij"),
        "{debug}"
    );
    assert_eq!(
        format!("{:?}", Secret::new(b"hidden".to_vec())),
        "Secret([redacted])"
    );
    for text in [
        "[auth.hmac.ci]\nsecret = \"hunter2hunter2\"\n",
        "[auth.hmac]\nci = { token = { value = [\"hunter2\"] }, services = [] }\n",
        "[services.shop]\nenvironment = { PASSWORD = \"hunter2\", \"1\" = \"hunter2\", N = 1 }\n",
        "[services.shop.environment]\nPASSWORD = \"hunter2\nNEXT = 1\n",
        "[services.shop.environment]\nA = \"hunter2\"\nA = \"hunter2\"\n",
        "[services.shop]\npassword = hunter2\n",
        "[services.shop]\nenvironment = { A = \"hunter2\", A = \"hunter2\" }\n",
        "[auth.hmac.ci]\nsecret_file = \"hunter2hunter2\"\n",
        "[auth.hmac.ci]\nsecret_file = \"hunter2/hunter2\"\n",
        "[auth.hmac.ci]\nsecret_file = \"/hunter2hunter2=\"\n",
        "[auth.hmac.ci]\nsecret_file = \"/hunter2/hunter2=\"\n",
        "[auth.hmac.ci]\nsecret_file = \"hunter2\\u0000\"\n",
        "[auth.hmac.ci]\nsecret_file = [\"hunter2\"]\n",
        "[auth.hmac.ci]\nhunter2hunter2\n",
        "[auth.hmac]\nci = \"hunter2hunter2\"\n",
        "[auth]\nhmac = \"hunter2hunter2\"\n",
        "[auth.operator.alice]\ntoken_file = \"hunter2hunter2\"\n",
        "[auth.operator.alice]\ntoken_file = \"/hunter2hunter2\"\n",
        "[auth.operator]\nalice = \"hunter2hunter2\"\n",
        "[server]\ntls = { cert = \"$DIR/tls.crt\", key = \"hunter2hunter2\" }\n",
        "[services.shop]\nenvironment = [\"PASSWORD=hunter2\"]\n",
        "[services.shop]\nenvironment = \"PASSWORD=hunter2\"\n",
        "[services.shop]\nenvironment = { \"PASSWORD=hunter2\" = 1 }\n",
        "[services.shop]\npass_environment = [\"PASSWORD=hunter2\"]\n",
        "[services.shop]\npass_environment = [\"PASSWORD=hunter2\", \"PASSWORD=hunter2\"]\n",
        "[services.shop]\npass_environment = \"PASSWORD=hunter2\"\n",
        "[services.shop]\npass_environment = { PASSWORD = \"hunter2\" }\n",
        "[services.shop]\npass_environment = [\n\"PASSWORD=hunter2\n]\n",
    ] {
        let mistakes = place.read(text).expect_err("refused");
        let keys: Vec<&str> = mistakes.iter().map(super::super::Mistake::key).collect();
        let printed = format!("{mistakes}{keys:?}");
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}

#[test]
fn a_wrong_path_of_a_secret_is_shown_and_a_secret_in_its_place_is_not() {
    let place = Place::new();
    assert_eq!(
        place.message(&with_secret("webhok.secret")),
        "`auth.hmac.ci.secret_file`: cannot read `$DIR/webhok.secret`: it does not exist"
    );
    let with = |written: &str| with_secret("").replace("$DIR/\"", &format!("{written}\""));
    assert_eq!(
        place.message(&with("/etc/cutovr/webhook.secret")),
        "`auth.hmac.ci.secret_file`: cannot read `/etc/cutovr/webhook.secret`: it does not exist"
    );
    assert_eq!(
        place.message(&with("0123456789abcdef")),
        "`auth.hmac.ci.secret_file` must be the absolute path of a file; what is written here is not shown, because it may be a secret"
    );
    assert_eq!(
        place.message(&with("/0123456789+abcdef/0123=")),
        "`auth.hmac.ci.secret_file`: there is no such file; what is written here is not shown, because it may be a secret"
    );
}
