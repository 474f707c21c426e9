//! What really goes over the wire, seen from the other side.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;

use super::*;
use crate::docker::Docker;
use crate::docker::credentials::for_registry_in;
use crate::docker::fake::{FakeDocker, Reply, eventually, nowhere};

fn empty() -> Reply {
    Reply::Json(200, serde_json::json!([]))
}

#[tokio::test]
async fn every_request_carries_the_negotiated_version_once() {
    let fake = FakeDocker::start(|_| empty());
    let docker = fake.client();
    docker
        .service_containers("shop", "app")
        .await
        .expect("a list");
    docker
        .containers_labeled("cutover.deployment", None)
        .await
        .expect("a list");
    let lines: Vec<String> = fake.asked().into_iter().map(|asked| asked.line).collect();
    assert_eq!(lines[0], "GET /version");
    assert_eq!(lines.len(), 3, "the version is asked for once: {lines:?}");
    for line in &lines[1..] {
        assert!(line.starts_with("GET /v1.51/containers/json?"), "{line}");
    }
    assert!(
        fake.asked()
            .iter()
            .all(|asked| asked.headers.contains_key("host"))
    );
}

#[tokio::test]
async fn an_older_docker_is_spoken_to_in_its_own_version_and_a_newer_one_in_ours() {
    for (server, spoken) in [("1.42", "1.42"), ("1.53", "1.51")] {
        let fake = FakeDocker::start(|_| empty());
        fake.become_version(server);
        fake.client()
            .containers_labeled("x", None)
            .await
            .expect("a list");
        assert_eq!(fake.count(&format!("/v{spoken}/")), 1, "{server}");
    }
}

#[tokio::test]
async fn a_docker_that_is_replaced_is_asked_for_its_version_again() {
    let fake = FakeDocker::start(|_| empty());
    let docker = fake.client();
    docker.containers_labeled("x", None).await.expect("a list");
    // Downgraded: it refuses the version, and the request is sent again in one that it knows.
    fake.become_version("1.44");
    docker.containers_labeled("x", None).await.expect("a list");
    assert_eq!(fake.count("/v1.44/"), 1);
    // Upgraded: it answers in the old version, and from then on in the newer one.
    fake.become_version("1.47");
    docker.containers_labeled("x", None).await.expect("a list");
    docker.containers_labeled("x", None).await.expect("a list");
    assert_eq!((fake.count("/v1.44/"), fake.count("/v1.47/")), (2, 1));
    assert_eq!(fake.count("/version"), 3);
}

#[tokio::test]
async fn registry_credentials_are_sent_in_the_alphabet_that_docker_reads() {
    // `>>>???` makes both `+` and `/` in the ordinary alphabet.
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(
        directory.path().join("config.json"),
        r#"{"auths": {"ghcr.io": {"username": "ci>>>???", "password": ">>>???~~~ÿÿÿ"}}}"#,
    )
    .expect("a file");
    let credentials = for_registry_in(directory.path(), "ghcr.io", "".as_ref())
        .await
        .expect("readable")
        .expect("credentials");
    let fake = FakeDocker::start(|_| {
        let digest = format!("sha256:{}", "a".repeat(64));
        Reply::Json(
            200,
            serde_json::json!({"Descriptor": {"digest": digest}, "Platforms": null}),
        )
    });
    let manifest = fake
        .client()
        .manifest("ghcr.io/acme/shop:1", Some(&credentials))
        .await;
    manifest.expect("a manifest");
    let asked = fake.asked().pop().expect("a request");
    assert_eq!(
        asked.line,
        "GET /v1.51/distribution/ghcr.io/acme/shop:1/json"
    );
    let header = asked.headers["x-registry-auth"].to_str().expect("text");
    assert!(
        header.contains(['-', '_']) && !header.contains(['+', '/']),
        "{header}"
    );
    let text = URL_SAFE.decode(header).expect("the URL-safe alphabet");
    let sent: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(sent["username"], "ci>>>???");
    assert_eq!(sent["password"], ">>>???~~~ÿÿÿ");
    assert_eq!(sent["serveraddress"], "ghcr.io");
}

#[tokio::test]
async fn nobody_listening_and_a_cut_connection_are_told_from_a_refusal() {
    let error = Docker::new(nowhere()).ping().await.expect_err("nobody");
    assert!(matches!(error, DockerError::Unreachable { .. }), "{error}");
    assert!(
        error.to_string().contains("/nonexistent/docker.sock"),
        "{error}"
    );

    let fake = FakeDocker::start(|_| Reply::Cut);
    let error = fake.client().container("c").await.expect_err("cut");
    assert!(error.is_uncertain(), "{error}");

    let fake = FakeDocker::start(|_| Reply::error(500, "no\n"));
    let error = fake.client().container("c").await.expect_err("refused");
    let message = "no".to_owned();
    assert_eq!(
        error,
        DockerError::Refused {
            status: 500,
            message
        }
    );
}

#[tokio::test]
async fn a_docker_that_hangs_is_given_up_and_hung_up_on() {
    let fake = FakeDocker::start(|_| Reply::Hang);
    let docker = fake.impatient_client();
    let error = docker.container("c").await.expect_err("too late");
    assert!(matches!(error, DockerError::TimedOut { .. }), "{error}");
    // Our side of the connection is closed: nothing of a hanging Docker piles up here.
    let socket = fake.socket();
    eventually("the end of the connection", || connections_to(&socket) == 0).await;
}

/// Open connections of this machine to the socket at `path`; the listening one is not counted.
fn connections_to(path: &Path) -> usize {
    let table = std::fs::read_to_string("/proc/net/unix").expect("linux");
    let path = path.display().to_string();
    let connected = |line: &&str| {
        // The sixth column is the state: 3 is connected.
        let columns: Vec<&str> = line.split_whitespace().collect();
        columns.last() == Some(&path.as_str()) && columns.get(5) == Some(&"03")
    };
    table.lines().filter(connected).count()
}

#[tokio::test]
async fn what_is_not_docker_is_recognized() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("x.sock");
    let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = [0; 1024];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
            let text = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, text).await;
        }
    });
    let error = Docker::new(&path).version().await.expect_err("no docker");
    assert!(matches!(error, DockerError::Unsupported { .. }), "{error}");
}
