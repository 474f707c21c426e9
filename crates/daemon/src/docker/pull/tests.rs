//! Pulls against a Docker that misbehaves; the words of real registries are tried in `tests/docker`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::*;
use crate::docker::fake::{FakeDocker, Reply};

const SHOP: &str = "ghcr.io/acme/shop:1";

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// A Docker that has the image after a pull that says `lines`.
fn pulling(lines: &'static [&'static str]) -> FakeDocker {
    FakeDocker::start(move |asked| match asked.line.as_str() {
        line if line.starts_with("POST /images/create") => {
            let (sender, pieces) = mpsc::channel(64);
            for line in lines {
                sender.try_send(format!("{line}\r\n")).expect("room");
            }
            // Kept open for ever: Docker went silent.
            std::mem::forget(sender);
            Reply::Pieces(pieces)
        }
        line if line.starts_with("GET /distribution/") => Reply::Json(
            200,
            serde_json::json!({
                "Descriptor": {"digest": digest('a')},
                "Platforms": [{"os": "linux", "architecture": "arm64", "variant": "v8"}],
            }),
        ),
        _ => Reply::error(404, "No such image"),
    })
}

#[tokio::test]
async fn a_pull_that_stands_still_ends_and_is_tried_again() {
    let fake = pulling(&[
        r#"{"status":"Pulling from acme/shop","id":"1"}"#,
        r#"{"status":"Downloading","progressDetail":{"current":10,"total":100},"id":"aa"}"#,
        r#"{"status":"Retrying in 5 seconds","progressDetail":{},"id":"aa"}"#,
    ]);
    let mut seen = Vec::new();
    let error = fake
        .impatient_client()
        .pull(SHOP, None, None, |progress| {
            seen.push(progress.current_bytes);
        })
        .await
        .expect_err("it stands still");
    assert_eq!(error.code, Code::RegistryUnavailable);
    assert!(
        error.detail.contains("in 4 attempts: nothing came for 1 s"),
        "{error}"
    );
    assert_eq!(fake.count("/images/create"), 4);
    assert_eq!(seen, [10, 10, 10, 10]);
    let asked = fake.asked();
    let first = asked
        .iter()
        .find(|a| a.line.contains("create"))
        .expect("asked");
    assert!(
        first.line.contains("fromImage=ghcr.io%2Facme%2Fshop"),
        "{}",
        first.line
    );
    assert!(first.line.contains("tag=1"), "{}", first.line);
}

#[tokio::test]
async fn an_answer_of_the_registry_is_not_asked_for_again() {
    let fake = FakeDocker::start(|_| Reply::error(404, "manifest unknown"));
    let error = fake
        .client()
        .pull(SHOP, None, None, |_| {})
        .await
        .expect_err("unknown");
    assert_eq!(error.code, Code::ImageNotFound);
    assert_eq!(
        error.detail,
        "ghcr.io does not have ghcr.io/acme/shop:1: manifest unknown"
    );
    assert_eq!(fake.count("/images/create"), 1);
}

#[tokio::test]
async fn a_fault_in_the_middle_of_a_pull_is_sorted_by_its_words() {
    let fake = pulling(&[
        r#"{"status":"Downloading","progressDetail":{"current":10,"total":100},"id":"aa"}"#,
        r#"{"errorDetail":{"message":"write /var/lib/docker/tmp/x: no space left on device"},"error":"write /var/lib/docker/tmp/x: no space left on device"}"#,
    ]);
    let error = fake
        .client()
        .pull(SHOP, None, None, |_| {})
        .await
        .expect_err("full");
    assert_eq!(error.code, Code::InsufficientStorage);
    assert_eq!(fake.count("/images/create"), 1);
}

#[tokio::test]
async fn a_network_that_recovers_is_forgotten() {
    let attempts = AtomicUsize::new(0);
    let fake = FakeDocker::start(move |asked| {
        if asked.line.contains("/images/create") && attempts.fetch_add(1, Ordering::SeqCst) < 2 {
            return Reply::error(500, "dial tcp 10.0.0.1:443: connect: connection refused");
        }
        if asked.line.contains("/images/create") {
            return Reply::Json(
                200,
                serde_json::json!({"status": format!("Digest: {}", digest('b'))}),
            );
        }
        Reply::Json(
            200,
            serde_json::json!({"Id": "sha256:ee", "Os": "linux", "Architecture": "amd64"}),
        )
    });
    let pinned = fake
        .client()
        .pull_pinned(SHOP, None, None, None, |_| {})
        .await
        .expect("had");
    assert_eq!(fake.count("/images/create"), 3);
    assert_eq!(pinned.reference, SHOP);
    assert_eq!(pinned.digest, Some(digest('b')));
    assert_eq!(pinned.id, "sha256:ee");
}

#[tokio::test]
async fn a_moved_tag_is_refused_before_anything_is_fetched() {
    let fake = pulling(&[]);
    let error = fake
        .client()
        .pull_pinned(SHOP, None, Some(&digest('b')), None, |_| {})
        .await
        .expect_err("another digest");
    assert_eq!(error.code, Code::DigestMismatch);
    assert!(error.detail.contains(&digest('a')) && error.detail.contains(&digest('b')));
    assert_eq!(fake.count("/images/create"), 0);
}

#[tokio::test]
async fn an_image_for_another_platform_is_refused() {
    let fake = FakeDocker::start(|_| {
        Reply::Json(
            200,
            serde_json::json!({"Id": "sha256:ee", "Os": "linux", "Architecture": "arm64"}),
        )
    });
    let error = fake.client().pin(SHOP, None).await.expect_err("arm64");
    assert_eq!(error.code, Code::PlatformMismatch);
    assert_eq!(
        error.detail,
        "ghcr.io/acme/shop:1 is built for linux/arm64, this machine is linux/amd64"
    );
}

#[tokio::test]
async fn the_platform_that_the_service_asks_for_counts_and_not_the_machines() {
    let fake = FakeDocker::start(|asked| {
        if asked.line.contains("/images/create") {
            let digest = format!("Digest: {}", digest('b'));
            return Reply::Json(200, serde_json::json!({ "status": digest }));
        }
        Reply::Json(
            200,
            serde_json::json!({"Id": "sha256:ee", "Os": "linux", "Architecture": "arm64"}),
        )
    });
    let docker = fake.client();
    let arm = docker.pull_pinned(SHOP, Some("linux/arm64"), None, None, |_| {});
    assert_eq!(arm.await.expect("as asked for").id, "sha256:ee");
    let asked = fake.asked();
    let mut create = asked.iter().filter(|a| a.line.contains("/images/create"));
    let line = &create.next().expect("asked").line;
    assert!(line.contains("platform=linux%2Farm64"), "{line}");
    let error = docker.pin(SHOP, Some("linux/amd64")).await;
    assert_eq!(
        error.expect_err("arm64").detail,
        "ghcr.io/acme/shop:1 is built for linux/arm64, the service asks for `platform: linux/amd64`"
    );
}

#[tokio::test]
async fn a_pull_that_is_given_up_is_cancelled_in_docker() {
    let held: &'static Mutex<Option<mpsc::Sender<String>>> = Box::leak(Box::default());
    let fake = FakeDocker::start(move |_| {
        let (sender, pieces) = mpsc::channel(1);
        *held.lock().expect("no panic") = Some(sender);
        Reply::Pieces(pieces)
    });
    let docker = fake.client();
    let pull = tokio::spawn(async move { docker.pull(SHOP, None, None, |_| {}).await });
    crate::docker::fake::eventually("the pull", || fake.count("/images/create") == 1).await;
    pull.abort();
    // Docker sees that nobody reads any more.
    crate::docker::fake::eventually("the end of the pull", || {
        held.lock()
            .expect("no panic")
            .as_ref()
            .is_some_and(mpsc::Sender::is_closed)
    })
    .await;
}

#[tokio::test]
async fn without_a_tag_nothing_is_fetched() {
    let fake = pulling(&[]);
    let error = fake
        .client()
        .pull("ghcr.io/acme/shop", None, None, |_| {})
        .await
        .expect_err("no tag");
    assert_eq!(error.code, Code::ImageNotFound);
    assert_eq!(fake.asked().len(), 0);
}
