//! Docker itself is restarted or dies while something is under way.

use std::time::Duration;

use cutover_daemon::probe::verify::{Checks, VerifyFailure, verify};
use cutover_daemon::settings::Service;
use cutover_testkit::engine::Engine;
use cutover_testkit::images::{HealthCheck, ImageSpec};

use crate::bench::{Bench, PATIENCE, eventually, service};
use crate::output::LIMITS;

fn own_docker() -> (Engine, tempfile::TempDir) {
    own_docker_with("{}")
}

/// A Docker of one's own with this configuration, and the directory that it lives in.
pub(crate) fn own_docker_with(config: &str) -> (Engine, tempfile::TempDir) {
    let world = cutover_testkit::world();
    let directory = tempfile::Builder::new()
        .prefix("cut")
        .tempdir_in("/tmp")
        .expect("a directory");
    let namespace = world.new_namespace().expect("a namespace");
    let engine = Engine::start_with(&world.packages, &namespace, directory.path(), config);
    (engine.expect("an engine"), directory)
}

/// What happens to Docker while `id` is verified; each ends with a Docker that answers again.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Misfortune {
    Restart,
    Crash,
    PowerCut,
}

pub(crate) fn strike(engine: &mut Engine, misfortune: Misfortune) {
    match misfortune {
        Misfortune::Restart => engine.stop().expect("stopped"),
        Misfortune::Crash => engine.kill_daemon().expect("killed"),
        Misfortune::PowerCut => engine.kill().expect("killed"),
    }
    engine.restart().expect("back");
}

/// Watched for longer than Docker is ever away.
fn watched() -> Service {
    Service {
        monitor: Some(Duration::from_secs(600)),
        ..service()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_container_that_died_with_docker_has_failed() {
    let (mut engine, _directory) = own_docker();
    for misfortune in [Misfortune::Restart, Misfortune::Crash, Misfortune::PowerCut] {
        let bench = Bench::at(&engine.socket());
        let id = bench.container(&ImageSpec::new("1"), &["--restart", "no"]);
        let docker = bench.docker.clone();
        let container = docker
            .container(&id)
            .await
            .expect("an answer")
            .expect("there");
        let checks = Checks::new(&watched(), None, &container);
        let events = docker.watch_container(&id).await.expect("subscribed");
        docker.ensure_started(&id).await.expect("started");
        let verified = tokio::spawn({
            let id = id.clone();
            async move { verify(&docker, events, &id, &checks, None).await }
        });
        tokio::task::block_in_place(|| strike(&mut engine, misfortune));
        let verified = tokio::time::timeout(PATIENCE, verified)
            .await
            .expect("in time");
        let failure = verified.expect("no panic").expect_err("it died");
        assert!(
            matches!(
                failure,
                VerifyFailure::Exited { .. } | VerifyFailure::Interfered { .. }
            ),
            "{misfortune:?}: {failure:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_container_that_docker_starts_again_is_proven() {
    let (mut engine, _directory) = own_docker();
    for misfortune in [Misfortune::Restart, Misfortune::Crash, Misfortune::PowerCut] {
        let bench = Bench::at(&engine.socket());
        // Healthy only some time after it was started, so that Docker goes before it is.
        let slow = ImageSpec::new("1")
            .env("START_DELAY_MS", "1500")
            .health_check(HealthCheck {
                start_period: Duration::from_secs(60),
                ..HealthCheck::default()
            });
        let id = bench.container(&slow, &["--restart", "always"]);
        let docker = bench.docker.clone();
        let container = docker
            .container(&id)
            .await
            .expect("an answer")
            .expect("there");
        let checks = Checks::new(&service(), None, &container).for_rollback();
        let events = docker.watch_container(&id).await.expect("subscribed");
        docker.ensure_started(&id).await.expect("started");
        let before = docker
            .container(&id)
            .await
            .expect("an answer")
            .expect("there");
        let verified = tokio::spawn({
            let (docker, id) = (docker.clone(), id.clone());
            async move { verify(&docker, events, &id, &checks, None).await }
        });
        tokio::task::block_in_place(|| strike(&mut engine, misfortune));
        let verified = tokio::time::timeout(PATIENCE, verified)
            .await
            .expect("in time");
        let proven = verified.expect("no panic").expect("proven");
        let now = docker
            .container(&id)
            .await
            .expect("an answer")
            .expect("there");
        assert!(now.state.running && now.state.started_at > before.state.started_at);
        assert_eq!(proven.began, now.state.started_at, "{misfortune:?}");
    }
}

/// Waits until the container has printed these words.
async fn said(bench: &Bench, id: &str, words: &str) {
    eventually("the container's words", async || {
        let said = bench.docker.last_output(id, LIMITS).await;
        let mut said = said.expect("readable").into_iter();
        said.any(|line| line.line.contains(words))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_survives_a_restart_of_docker() {
    let (mut engine, _directory) = own_docker();
    let bench = Bench::at(&engine.socket());
    let stubborn = ImageSpec::new("1").env("IGNORE_SIGTERM", "1");
    let id = bench.container(&stubborn, &["--restart", "no"]);
    bench.docker.ensure_started(&id).await.expect("started");
    said(&bench, &id, "listening on port").await;
    let stop = tokio::spawn({
        let (docker, id) = (bench.docker.clone(), id.clone());
        async move {
            docker
                .ensure_stopped(&id, Some(Duration::from_secs(30)))
                .await
        }
    });
    // Docker dies while it waits for the container to end.
    said(&bench, &id, "ignoring signal 15").await;
    assert!(!stop.is_finished());
    tokio::task::block_in_place(|| strike(&mut engine, Misfortune::Crash));
    let stopped = tokio::time::timeout(2 * PATIENCE, stop)
        .await
        .expect("in time");
    stopped.expect("no panic").expect("stopped in the end");
    let found = bench
        .docker
        .container(&id)
        .await
        .expect("an answer")
        .expect("there");
    assert!(!found.state.running);
}
