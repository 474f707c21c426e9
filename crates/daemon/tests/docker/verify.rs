//! The proof of a container, with the real Docker's health checks and real probes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cutover_daemon::probe::verify::{Checks, VerifyFailure, verify};
use cutover_daemon::settings::{Health, HttpProbe, Service, TcpProbe};
use cutover_testkit::images::{HealthCheck, ImageSpec};

use crate::bench::{Bench, PATIENCE, eventually, service};

/// Starts a container and verifies it; returns how long that took from the start.
async fn start_and_verify(
    bench: &Bench,
    id: &str,
    service: &Service,
) -> (Result<(), VerifyFailure>, Duration) {
    let docker = &bench.docker;
    let container = docker
        .container(id)
        .await
        .expect("an answer")
        .expect("there");
    let checks = Checks::new(service, None, &container);
    let events = docker.watch_container(id).await.expect("subscribed");
    docker.ensure_started(id).await.expect("started");
    let began = Instant::now();
    let verified = tokio::time::timeout(PATIENCE, verify(docker, events, id, &checks));
    (verified.await.expect("in time"), began.elapsed())
}

fn checked(version: &str) -> ImageSpec {
    ImageSpec::new(version).health_check(HealthCheck::default())
}

fn probing() -> Service {
    Service {
        health: Health {
            http: Some(HttpProbe {
                path: "/healthz".to_owned(),
                interval: Duration::from_secs(2),
                ..HttpProbe::default()
            }),
            tcp: None,
        },
        ..service()
    }
}

#[tokio::test]
async fn a_container_passes_by_its_own_health_check() {
    let bench = Bench::new();
    let id = bench.container(&checked("1"), &[]);
    let (verified, _) = start_and_verify(&bench, &id, &service()).await;
    assert_eq!(verified, Ok(()));
    // It runs, so as a restored one it passes at once and without any event.
    let found = bench
        .docker
        .container(&id)
        .await
        .expect("an answer")
        .expect("there");
    let checks = Checks::new(&service(), None, &found).for_rollback();
    let events = bench.docker.watch_container(&id).await.expect("subscribed");
    let began = Instant::now();
    assert_eq!(verify(&bench.docker, events, &id, &checks).await, Ok(()));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_container_passes_by_a_probe_as_soon_as_it_answers() {
    let bench = Bench::new();
    let id = bench.container(&ImageSpec::new("1"), &[]);
    let (verified, took) = start_and_verify(&bench, &id, &probing()).await;
    assert_eq!(verified, Ok(()));
    assert!(
        took < Duration::from_secs(2),
        "long before the first interval is over: {took:?}"
    );
    let tcp = Service {
        health: Health {
            http: None,
            tcp: Some(TcpProbe::new(8080)),
        },
        ..service()
    };
    let slow = ImageSpec::new("1").env("START_DELAY_MS", "300");
    let id = bench.container(&slow, &[]);
    let (verified, took) = start_and_verify(&bench, &id, &tcp).await;
    assert_eq!(verified, Ok(()));
    assert!(took >= Duration::from_millis(300), "{took:?}");
}

#[tokio::test]
async fn an_exit_is_told_with_its_code_wherever_it_happens() {
    let bench = Bench::new();
    for (spec, code) in [
        (checked("1").env("EXIT_AT_ONCE", "3"), 3),
        (
            checked("1")
                .env("NEVER_HEALTHY", "1")
                .env("EXIT_AFTER_MS", "300")
                .env("EXIT_CODE", "7"),
            7,
        ),
        (ImageSpec::new("1").env("EXIT_AFTER_MS", "700"), 1),
    ] {
        let id = bench.container(&spec, &[]);
        let (verified, took) = start_and_verify(&bench, &id, &service()).await;
        let failure = verified.expect_err("it ended");
        let VerifyFailure::Exited {
            code: found,
            oom_killed: false,
            ..
        } = failure
        else {
            panic!("{failure:?}");
        };
        assert_eq!(found, code, "{failure}");
        assert!(took < Duration::from_secs(10), "at once: {took:?}");
    }
}

#[tokio::test]
async fn a_container_that_never_becomes_healthy_fails() {
    let bench = Bench::new();
    let never = checked("1").env("NEVER_HEALTHY", "1");
    let id = bench.container(&never, &[]);
    let (verified, _) = start_and_verify(&bench, &id, &service()).await;
    let failure = verified.expect_err("unhealthy");
    assert!(
        failure
            .to_string()
            .contains("Docker reports the container unhealthy"),
        "{failure}"
    );

    let impatient = Service {
        healthy_deadline: Some(Duration::from_millis(500)),
        ..probing()
    };
    let image = ImageSpec::new("1").env("HEALTH_STATUS", "500");
    let id = bench.container(&image, &[]);
    let (verified, _) = start_and_verify(&bench, &id, &impatient).await;
    let failure = verified.expect_err("unhealthy");
    assert!(
        failure.to_string().contains("its HTTP probe says: http://"),
        "{failure}"
    );
    assert!(
        failure
            .to_string()
            .contains("status 500, not 200-299; it says: unhealthy"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_container_that_flaps_does_not_pass() {
    let bench = Bench::new();
    let id = bench.container(&ImageSpec::new("1").env("FLAP", "300"), &[]);
    let mut flapping = probing();
    flapping.min_healthy_time = Duration::from_secs(1);
    flapping.healthy_deadline = Some(Duration::from_secs(3));
    if let Some(http) = &mut flapping.health.http {
        http.interval = Duration::from_millis(50);
    }
    let (verified, took) = start_and_verify(&bench, &id, &flapping).await;
    let failure = verified.expect_err("never healthy for a second");
    assert!(
        matches!(failure, VerifyFailure::Unhealthy { .. }),
        "{failure:?}"
    );
    assert!(took >= Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn a_container_without_any_check_must_run_for_the_monitored_time() {
    let bench = Bench::new();
    let monitored = Service {
        monitor: Some(Duration::from_millis(500)),
        ..service()
    };
    let id = bench.container(&ImageSpec::new("1"), &[]);
    let (verified, took) = start_and_verify(&bench, &id, &monitored).await;
    assert_eq!(verified, Ok(()));
    assert!(took >= Duration::from_millis(500), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_does_by_hand_is_told_as_such() {
    for by_hand in [&["stop"][..], &["rm", "-f"], &["pause"], &["restart"]] {
        let bench = Arc::new(Bench::new());
        let never = ImageSpec::new("1")
            .env("NEVER_HEALTHY", "1")
            .health_check(HealthCheck {
                retries: 1000,
                ..HealthCheck::default()
            });
        let id = bench.container(&never, &[]);
        let verified = tokio::spawn({
            let (bench, id) = (Arc::clone(&bench), id.clone());
            async move { start_and_verify(&bench, &id, &service()).await.0 }
        });
        eventually("the start", async || {
            let found = bench.docker.container(&id).await;
            found.expect("an answer").expect("there").state.running
        })
        .await;
        let command: Vec<&str> = by_hand.iter().copied().chain([id.as_str()]).collect();
        tokio::task::block_in_place(|| bench.cli(&command));
        let failure = verified.await.expect("no panic");
        let failure = failure.expect_err("somebody interfered");
        assert!(
            matches!(failure, VerifyFailure::Interfered { .. }),
            "{by_hand:?}: {failure:?}"
        );
    }
}
