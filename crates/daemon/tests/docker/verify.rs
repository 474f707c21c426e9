//! The proof of a container, with the real Docker's health checks and real probes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cutover_daemon::probe::verify::{Checks, VerifyFailure, verify};
use cutover_daemon::settings::{Health, HttpProbe, Service, TcpProbe};
use cutover_testkit::images::{HealthCheck, ImageSpec};

use crate::bench::{Bench, PATIENCE, eventually, service};

/// Longer than any test waits: whoever passes or fails in time did not wait for it.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// Starts a container and verifies it; returns how long both took.
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
    let began = Instant::now();
    docker.ensure_started(id).await.expect("started");
    let verified = tokio::time::timeout(PATIENCE, verify(docker, events, id, &checks, None));
    let verified = verified.await.expect("in time").map(drop);
    (verified, began.elapsed())
}

fn checked(version: &str) -> ImageSpec {
    ImageSpec::new(version).health_check(HealthCheck::default())
}

fn probing() -> Service {
    Service {
        health: Health {
            http: Some(HttpProbe {
                path: "/healthz".to_owned(),
                interval: FOR_EVER,
                ..HttpProbe::default()
            }),
            ..Health::default()
        },
        ..service()
    }
}

#[tokio::test]
async fn a_container_passes_by_its_own_health_check() {
    let bench = Bench::new();
    let id = bench.container(&checked("1"), &[]);
    let patient = Service {
        healthy_deadline: Some(FOR_EVER),
        ..service()
    };
    let (verified, _) = start_and_verify(&bench, &id, &patient).await;
    assert_eq!(verified, Ok(()));
    // It runs, so as a restored one it passes at once and without any event.
    let found = bench
        .docker
        .container(&id)
        .await
        .expect("an answer")
        .expect("there");
    let checks = Checks::new(&patient, None, &found).for_rollback();
    let events = bench.docker.watch_container(&id).await.expect("subscribed");
    let verified =
        tokio::time::timeout(PATIENCE, verify(&bench.docker, events, &id, &checks, None));
    let proven = verified.await.expect("at once");
    let began = proven.map(|proven| proven.began);
    assert_eq!(began, Ok(found.state.started_at), "of this life");
}

#[tokio::test]
async fn a_container_passes_by_a_probe_as_soon_as_it_answers() {
    let bench = Bench::new();
    let id = bench.container(&ImageSpec::new("1"), &[]);
    // Long before the first interval is over.
    let (verified, _) = start_and_verify(&bench, &id, &probing()).await;
    assert_eq!(verified, Ok(()));
    let tcp = Service {
        health: Health {
            tcp: Some(TcpProbe::new(8080)),
            ..Health::default()
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
    let patient = Service {
        healthy_deadline: Some(FOR_EVER),
        monitor: Some(PATIENCE),
        ..service()
    };
    let never_unhealthy = HealthCheck {
        retries: 1000,
        ..HealthCheck::default()
    };
    for (spec, code) in [
        (checked("1").env("EXIT_AT_ONCE", "3"), 3),
        (
            ImageSpec::new("1")
                .health_check(never_unhealthy)
                .env("NEVER_HEALTHY", "1")
                .env("EXIT_AFTER_MS", "300")
                .env("EXIT_CODE", "7"),
            7,
        ),
        (ImageSpec::new("1").env("EXIT_AFTER_MS", "700"), 1),
    ] {
        let id = bench.container(&spec, &[]);
        let (verified, _) = start_and_verify(&bench, &id, &patient).await;
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
        healthy_deadline: Some(Duration::from_secs(3)),
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
