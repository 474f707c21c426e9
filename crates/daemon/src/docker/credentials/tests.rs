//! The rules of Docker's client, and helpers that misbehave.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;

fn configuration(text: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join(FILE_NAME), text).expect("a file");
    directory
}

/// Puts a helper of this name and body into `directory`, which then serves as `PATH` as well.
///
/// Another process writes it: were the file open for writing here, a test that starts a program at that
/// moment would inherit it, and the kernel would refuse to run the script.
fn program(directory: &TempDir, name: &str, body: &str) {
    let path = directory.path().join(format!("docker-credential-{name}"));
    let mut install = Command::new("install")
        .args(["-m", "755", "/dev/stdin"])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("install");
    let mut stdin = install.stdin.take().expect("a pipe");
    write!(stdin, "#!/bin/sh\n{body}\n").expect("a script");
    drop(stdin);
    assert!(install.wait().expect("install").success());
}

async fn lookup(
    directory: &TempDir,
    registry: &str,
) -> Result<Option<Credentials>, CredentialsError> {
    for_registry_in(directory.path(), registry, &search_path(directory)).await
}

fn search_path(directory: &TempDir) -> OsString {
    std::env::join_paths([directory.path(), Path::new("/bin"), Path::new("/usr/bin")])
        .expect("a search path")
}

#[track_caller]
fn assert_password(
    found: &Result<Option<Credentials>, CredentialsError>,
    user: &str,
    secret: &str,
) {
    let expected = Login::Password {
        username: user.to_owned(),
        password: Zeroizing::new(secret.to_owned()),
    };
    let found = found.as_ref().expect("no error").as_ref();
    assert!(found.expect("credentials").login == expected);
}

#[tokio::test]
async fn without_a_configuration_pulls_are_anonymous() {
    let directory = tempfile::tempdir().expect("a directory");
    assert_eq!(lookup(&directory, "ghcr.io").await, Ok(None));
    let directory = configuration(r#"{"auths": {"ghcr.io": {}}}"#);
    assert_eq!(lookup(&directory, "ghcr.io").await, Ok(None));
    assert_eq!(lookup(&directory, "quay.io").await, Ok(None));
}

#[tokio::test]
async fn entries_are_found_with_and_without_scheme_and_path() {
    // ci:pa:ss, ci:hub
    for (key, registry) in [
        ("ghcr.io", "ghcr.io"),
        ("https://ghcr.io", "ghcr.io"),
        ("http://127.0.0.1:5000/v2/", "127.0.0.1:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("docker.io", "docker.io"),
    ] {
        let directory = configuration(&format!(
            r#"{{"auths": {{"other.example": {{"auth": "eDp5"}}, "{key}": {{"auth": "Y2k6cGE6c3M="}}}}}}"#
        ));
        assert_password(&lookup(&directory, registry).await, "ci", "pa:ss");
    }
    let directory = configuration(r#"{"auths": {"127.0.0.1:5001": {"auth": "Y2k6cGE6c3M="}}}"#);
    assert_eq!(lookup(&directory, "127.0.0.1:5000").await, Ok(None));
}

#[tokio::test]
async fn tokens_and_plain_fields_are_understood() {
    let directory = configuration(
        r#"{"auths": {
            "a.example": {"auth": "Y2k6", "identitytoken": "refresh"},
            "b.example": {"registrytoken": "bearer"},
            "c.example": {"username": "ci", "password": "secret"}
        }}"#,
    );
    let found = lookup(&directory, "a.example")
        .await
        .expect("no error")
        .expect("credentials");
    assert!(matches!(found.login(), Login::IdentityToken(token) if token.as_str() == "refresh"));
    let found = lookup(&directory, "b.example")
        .await
        .expect("no error")
        .expect("credentials");
    assert!(matches!(found.login(), Login::RegistryToken(token) if token.as_str() == "bearer"));
    assert_password(&lookup(&directory, "c.example").await, "ci", "secret");
}

#[tokio::test]
async fn a_damaged_configuration_is_named_and_not_quoted() {
    for text in [
        r#"{"auths": "s3cret"#,
        r#"{"auths": {"ghcr.io": {"auth": 5}}, "x": "s3cret"}"#,
        r#"{"auths": {"ghcr.io": {"auth": "s3cret*"}}}"#,
        r#"{"auths": {"ghcr.io": {"auth": "czNjcmV0"}}}"#,
    ] {
        let directory = configuration(text);
        let error = lookup(&directory, "ghcr.io").await.expect_err(text);
        let words = error.to_string();
        assert!(
            words.contains(&directory.path().join(FILE_NAME).display().to_string()),
            "{words}"
        );
        assert!(!format!("{words}{error:?}").contains("s3cret"), "{words}");
    }
}

#[tokio::test]
async fn a_helper_for_the_registry_goes_before_the_store_and_the_file() {
    let directory = configuration(
        r#"{"auths": {"ghcr.io": {"auth": "eDp5"}},
            "credHelpers": {"ghcr.io": "mine"}, "credsStore": "all"}"#,
    );
    program(
        &directory,
        "mine",
        r#"[ "$*" = get ] && read -r server || [ "$server" = ghcr.io ] && echo '{"ServerURL":"ghcr.io","Username":"ci","Secret":"s3cret"}'"#,
    );
    program(
        &directory,
        "all",
        r#"echo '{"Username":"all","Secret":"store"}'"#,
    );
    let found = lookup(&directory, "ghcr.io").await;
    assert_password(&found, "ci", "s3cret");
    assert!(!format!("{found:?}").contains("s3cret"));
    assert_password(&lookup(&directory, "quay.io").await, "all", "store");
}

#[tokio::test]
async fn a_helper_is_asked_for_docker_hub_by_its_old_name() {
    let directory = configuration(r#"{"credsStore": "echo"}"#);
    program(
        &directory,
        "echo",
        r#"printf '{"Username":"<token>","Secret":"%s"}' "$(cat)""#,
    );
    let found = lookup(&directory, "docker.io")
        .await
        .expect("no error")
        .expect("credentials");
    assert!(
        matches!(found.login(), Login::IdentityToken(token) if token.as_str() == DOCKER_HUB_KEY)
    );
}

#[tokio::test]
async fn a_helper_that_knows_nothing_leaves_it_to_the_file() {
    let directory =
        configuration(r#"{"auths": {"ghcr.io": {"auth": "Y2k6cGE6c3M="}}, "credsStore": "none"}"#);
    program(
        &directory,
        "none",
        "echo 'credentials not found in native keychain'; exit 1",
    );
    assert_password(&lookup(&directory, "ghcr.io").await, "ci", "pa:ss");
    assert_eq!(lookup(&directory, "quay.io").await, Ok(None));
}

#[tokio::test]
async fn a_helper_that_fails_is_named_with_its_message() {
    let directory = configuration(r#"{"credsStore": "bad"}"#);
    let error = lookup(&directory, "ghcr.io")
        .await
        .expect_err("no such program");
    assert!(
        error.to_string().contains("`docker-credential-bad`"),
        "{error}"
    );
    for (body, words) in [
        (
            "echo 'token has expired'; exit 1",
            "it says: token has expired",
        ),
        ("echo nonsense", "not what credential helpers answer"),
        ("head -c 100000 /dev/zero; exit 0", "longer than 64 KiB"),
    ] {
        program(&directory, "bad", body);
        let error = lookup(&directory, "ghcr.io").await.expect_err(body);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_helper_cannot_be_a_path() {
    let directory = configuration(r#"{"credHelpers": {"ghcr.io": "../../bin/sh"}}"#);
    let error = lookup(&directory, "ghcr.io").await.expect_err("refused");
    assert!(error.to_string().contains("other characters"), "{error}");
}

#[tokio::test]
async fn a_helper_that_hangs_is_killed_with_its_children() {
    let directory = configuration(r#"{"credsStore": "hang"}"#);
    let marks = directory.path().join("child");
    program(
        &directory,
        "hang",
        &format!("sleep 600 & echo $! > {}; wait", marks.display()),
    );
    let began = Instant::now();
    // Long enough for the script to have started its child, which it notes at once.
    let search_path = search_path(&directory);
    let asked = program::get(
        "hang",
        "ghcr.io",
        directory.path(),
        &search_path,
        Duration::from_secs(2),
    );
    let error = asked.await.expect_err("too late");
    assert!(error.to_string().contains("within 2 s"), "{error}");
    let child = std::fs::read_to_string(&marks).expect("the child's id");
    let gone = || {
        // A zombie has ended; it only waits for its parent.
        std::fs::read_to_string(format!("/proc/{}/stat", child.trim()))
            .map_or(true, |stat| stat.contains(") Z "))
    };
    while !gone() {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "the child still runs"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
