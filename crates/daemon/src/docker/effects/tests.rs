//! Effects whose answers get lost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::docker::AnonymousVolumes;
use crate::docker::fake::{FakeDocker, Reply, container_json};

/// A Docker with one container, whose effects happen but whose answers are lost the first `losses` times.
struct Lossy {
    fake: FakeDocker,
    effects: Arc<AtomicUsize>,
}

fn lossy(losses: usize, lost: fn() -> Reply) -> Lossy {
    let running = AtomicBool::new(false);
    let name = Mutex::new("before".to_owned());
    let removed = AtomicBool::new(false);
    let policy = Mutex::new("no".to_owned());
    let effects = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&effects);
    let fake = FakeDocker::start(move |asked| {
        if asked.line.ends_with("/json") {
            if removed.load(Ordering::SeqCst) {
                return Reply::error(404, "No such container: c");
            }
            let mut container = container_json(
                &name.lock().expect("no panic"),
                running.load(Ordering::SeqCst),
            );
            container["HostConfig"]["RestartPolicy"]["Name"] =
                policy.lock().expect("no panic").clone().into();
            return Reply::Json(200, container);
        }
        let line = asked.line.as_str();
        if line.contains("/start") {
            running.store(true, Ordering::SeqCst);
        } else if line.contains("/stop") {
            running.store(false, Ordering::SeqCst);
        } else if let Some((_, new)) = line.split_once("/rename?name=") {
            *name.lock().expect("no panic") = new.to_owned();
        } else if line.contains("/update") {
            assert!(
                asked
                    .body
                    .contains(r#"{"RestartPolicy":{"Name":"always","MaximumRetryCount":0}}"#),
                "{}",
                asked.body
            );
            *policy.lock().expect("no panic") = "always".to_owned();
        } else if line.starts_with("DELETE") {
            removed.store(true, Ordering::SeqCst);
        }
        if count.fetch_add(1, Ordering::SeqCst) < losses {
            lost()
        } else {
            Reply::done()
        }
    });
    Lossy { fake, effects }
}

fn always() -> RestartPolicy {
    RestartPolicy {
        name: "always".to_owned(),
        retries_max: 0,
    }
}

#[tokio::test]
async fn an_effect_whose_answer_was_lost_is_found_done_and_not_repeated() {
    for lost in [|| Reply::Cut, || Reply::Hang] {
        let all: [&str; 5] = ["start", "stop", "rename", "update", "remove"];
        for effect in all {
            let lossy = lossy(1, lost);
            let docker = lossy.fake.impatient_client();
            let done = match effect {
                "start" => docker.ensure_started("c").await,
                "stop" => docker.ensure_stopped("c", Some(Duration::ZERO)).await,
                "rename" => docker.ensure_name("c", "after").await,
                "update" => docker.ensure_restart_policy("c", &always()).await,
                _ => docker.ensure_removed("c", AnonymousVolumes::Keep).await,
            };
            assert_eq!(done, Ok(()), "{effect}");
            assert_eq!(lossy.effects.load(Ordering::SeqCst), 1, "{effect}");
        }
    }
}

#[tokio::test]
async fn an_effect_that_did_not_take_place_is_repeated() {
    let tries = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tries);
    let fake = FakeDocker::start(move |asked| {
        if asked.line.ends_with("/json") {
            let running = count.load(Ordering::SeqCst) >= 3;
            return Reply::Json(200, container_json("c", running));
        }
        match count.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Reply::Cut,
            _ => Reply::done(),
        }
    });
    fake.client()
        .ensure_started("c")
        .await
        .expect("the third attempt");
    assert_eq!(tries.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn an_effect_that_is_lost_again_and_again_ends_in_an_error() {
    let fake = FakeDocker::start(|asked| {
        if asked.line.ends_with("/json") {
            Reply::Json(200, container_json("c", false))
        } else {
            Reply::Cut
        }
    });
    let error = fake
        .client()
        .ensure_started("c")
        .await
        .expect_err("no answer");
    assert!(error.is_uncertain(), "{error}");
    assert_eq!(fake.count("/start"), 3);
}

#[tokio::test]
async fn a_docker_that_is_restarted_meanwhile_is_awaited() {
    let lossy = lossy(1, || Reply::Hang);
    let docker = lossy.fake.client();
    let mut fake = lossy.fake;
    let effect = tokio::spawn(async move { docker.ensure_name("c", "after").await });
    crate::docker::fake::eventually("the first attempt", || fake.count("/rename") == 1).await;
    fake.go_away();
    fake.asked_in_vain("/_ping").await;
    assert!(!effect.is_finished(), "it waits for docker");
    fake.come_back();
    effect.await.expect("no panic").expect("found done");
}

#[tokio::test]
async fn what_is_already_so_is_fine_and_a_refusal_is_not() {
    let fake = FakeDocker::start(|asked| match asked.line.as_str() {
        line if line.ends_with("/json") => Reply::Json(200, container_json("mine", true)),
        line if line.contains("/rename?name=mine") => Reply::error(
            400,
            "Renaming a container with the same name as its current name",
        ),
        line if line.contains("/rename") => Reply::error(
            409,
            r#"Conflict. The container name "/taken" is already in use by container "d""#,
        ),
        line if line.contains("/start") => Reply::Json(304, serde_json::Value::Null),
        _ => Reply::error(500, "cannot stop container: it did not end"),
    });
    let docker = fake.client();
    docker.ensure_name("c", "mine").await.expect("already so");
    docker.ensure_started("c").await.expect("already so");
    let error = docker.ensure_name("c", "taken").await.expect_err("taken");
    assert!(matches!(error, DockerError::Conflict { .. }), "{error}");
    let error = docker
        .ensure_stopped("c", Some(Duration::ZERO))
        .await
        .expect_err("it runs on");
    assert!(error.to_string().contains("it did not end"), "{error}");
    assert_eq!(fake.count("/stop?t=0"), 1, "a refusal is not repeated");
}

#[tokio::test]
async fn a_container_that_is_gone_is_told_from_a_network_that_is_gone() {
    let fake = FakeDocker::start(|_| Reply::error(404, "No such container: c"));
    let docker = fake.client();
    assert!(
        docker
            .ensure_started("c")
            .await
            .expect_err("gone")
            .is_not_found()
    );
    assert!(
        docker
            .ensure_stopped("c", None)
            .await
            .expect_err("gone")
            .is_not_found()
    );
    docker
        .ensure_removed("c", AnonymousVolumes::Remove)
        .await
        .expect("as wanted");
    assert_eq!(
        fake.count("DELETE /v1.51/containers/c?v=true&force=false"),
        1
    );

    let fake = FakeDocker::start(|asked| {
        if asked.line.ends_with("/json") {
            Reply::Json(200, container_json("c", false))
        } else {
            Reply::error(404, "network shop_default not found")
        }
    });
    let error = fake
        .client()
        .ensure_started("c")
        .await
        .expect_err("no network");
    assert!(
        matches!(error, DockerError::Refused { status: 404, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_removal_that_somebody_else_began_is_awaited() {
    let looks = AtomicUsize::new(0);
    let fake = FakeDocker::start(move |asked| {
        if asked.line.starts_with("DELETE") {
            return Reply::error(409, "removal of container c is already in progress");
        }
        match looks.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Reply::Json(200, container_json("c", false)),
            _ => Reply::error(404, "No such container: c"),
        }
    });
    fake.client()
        .ensure_removed("c", AnonymousVolumes::Keep)
        .await
        .expect("gone at last");
}

#[tokio::test]
async fn a_paused_container_is_unpaused() {
    let paused = Arc::new(AtomicBool::new(true));
    let fake = FakeDocker::start(move |asked| {
        if asked.line.ends_with("/json") {
            let mut container = container_json("c", true);
            container["State"]["Paused"] = paused.load(Ordering::SeqCst).into();
            return Reply::Json(200, container);
        }
        if asked.line.ends_with("/unpause") {
            paused.store(false, Ordering::SeqCst);
            return Reply::done();
        }
        Reply::error(409, "cannot start a paused container, try unpause instead")
    });
    fake.client().ensure_started("c").await.expect("runs");
    assert_eq!(fake.count("/unpause"), 1);
}

#[tokio::test]
async fn an_id_that_is_no_name_never_reaches_docker() {
    let fake = FakeDocker::start(|_| Reply::done());
    let docker = fake.client();
    let error = docker
        .ensure_started("../images/x")
        .await
        .expect_err("no such container");
    assert!(error.is_not_found());
    assert_eq!(fake.asked().len(), 0);
}
