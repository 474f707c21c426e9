//! Questions about containers, and what is done to them.

use std::time::{Duration, Instant};

use cutover_core::deployment::{Condition, RestartPolicy};
use cutover_daemon::docker::container::NetworkMode;
use cutover_daemon::docker::output::OutputLimits;
use cutover_daemon::docker::{AnonymousVolumes, ApiVersion, DockerError};
use cutover_testkit::images::{HealthCheck, ImageSpec};

use crate::bench::{Bench, eventually};

const LIMITS: OutputLimits = OutputLimits {
    lines_max: 100,
    bytes_max: 10_000,
};

fn policy(name: &str, retries_max: i64) -> RestartPolicy {
    RestartPolicy {
        name: name.to_owned(),
        retries_max,
    }
}

#[tokio::test]
async fn docker_says_who_it_is() {
    let docker = Bench::new().docker.clone();
    docker.ping().await.expect("it answers");
    let version = docker.version().await.expect("it answers");
    assert!(version.negotiated >= ApiVersion::OLDEST && version.negotiated <= ApiVersion::NEWEST);
    let platform = docker.host_platform().await.expect("it answers");
    assert_eq!(platform.os, "linux");
    // Tests share the file system with their Docker.
    let free = docker
        .disk_free()
        .await
        .expect("it answers")
        .expect("visible");
    assert!(free.bytes > 0, "{free:?}");
}

#[tokio::test]
async fn every_effect_may_be_repeated() {
    let bench = Bench::new();
    let docker = &bench.docker;
    let id = bench.container(&ImageSpec::new("1"), &[]);
    for _ in 0..2 {
        docker.ensure_started(&id).await.expect("started");
    }
    let found = docker
        .container(&id)
        .await
        .expect("an answer")
        .expect("there");
    assert_eq!(found.condition(), Condition::Running);
    assert_eq!(found.exposed_ports, [8080]);
    assert_eq!(found.network, NetworkMode::Own);
    assert!(!found.probe_addresses().is_empty(), "{found:?}");
    let name = format!("{}-renamed", bench.name);
    for _ in 0..2 {
        docker.ensure_name(&id, &name).await.expect("renamed");
    }
    for wanted in [
        policy("always", 0),
        policy("on-failure", 3),
        policy("no", 0),
    ] {
        for _ in 0..2 {
            docker
                .ensure_restart_policy(&id, &wanted)
                .await
                .expect("set");
        }
        let found = docker
            .container(&name)
            .await
            .expect("an answer")
            .expect("by name");
        assert_eq!(found.restart_policy, wanted);
    }
    for _ in 0..2 {
        docker.ensure_stopped(&id, None).await.expect("stopped");
    }
    let found = docker
        .container(&id)
        .await
        .expect("an answer")
        .expect("there");
    assert_eq!(found.condition(), Condition::Stopped);
    assert!(found.state.finished_at > found.state.started_at);
    for _ in 0..2 {
        docker
            .ensure_removed(&id, AnonymousVolumes::Remove)
            .await
            .expect("removed");
    }
    assert_eq!(docker.container(&id).await, Ok(None));
}

#[tokio::test]
async fn a_container_that_ignores_its_stop_signal_is_killed_after_the_grace_period() {
    let bench = Bench::new();
    let stubborn = ImageSpec::new("1").env("IGNORE_SIGTERM", "1");
    let id = bench.container(&stubborn, &["--stop-timeout", "1"]);
    for grace in [Some(Duration::from_secs(1)), None] {
        bench.docker.ensure_started(&id).await.expect("started");
        // Only a process that listens has set up its signals.
        eventually("the start", async || {
            let read = bench.docker.last_output(&id, LIMITS).await;
            let last = read.expect("readable").pop();
            last.is_some_and(|last| last.line.contains("listening"))
        })
        .await;
        let began = Instant::now();
        bench
            .docker
            .ensure_stopped(&id, grace)
            .await
            .expect("stopped");
        assert!(
            began.elapsed() >= Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
        let found = bench
            .docker
            .container(&id)
            .await
            .expect("an answer")
            .expect("there");
        assert_eq!((found.state.running, found.state.exit_code), (false, 137));
    }
}

#[tokio::test]
async fn a_paused_container_is_started_and_stopped_like_any_other() {
    let bench = Bench::new();
    let id = bench.container(&ImageSpec::new("1"), &[]);
    bench.docker.ensure_started(&id).await.expect("started");
    bench.cli(&["pause", &id]);
    let found = bench
        .docker
        .container(&id)
        .await
        .expect("an answer")
        .expect("there");
    assert_eq!(found.condition(), Condition::Unhealthy);
    bench.docker.ensure_started(&id).await.expect("unpaused");
    let found = bench
        .docker
        .container(&id)
        .await
        .expect("an answer")
        .expect("there");
    assert_eq!(found.condition(), Condition::Running);
    bench.cli(&["pause", &id]);
    bench
        .docker
        .ensure_stopped(&id, Some(Duration::ZERO))
        .await
        .expect("stopped");
}

#[tokio::test]
async fn what_stands_in_the_way_is_told_in_dockers_words() {
    let bench = Bench::new();
    let docker = &bench.docker;
    let image = bench.image(&ImageSpec::new("1"));
    let taken = format!("{}-taken", bench.name);
    bench.create(&image, &["--name", &taken]);
    let id = bench.create(&image, &[]);
    let error = docker.ensure_name(&id, &taken).await.expect_err("taken");
    assert!(matches!(error, DockerError::Conflict { .. }), "{error:?}");
    assert!(error.to_string().contains("already in use"), "{error}");

    let held = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = held.local_addr().expect("bound").port();
    let publish = format!("127.0.0.1:{port}:8080");
    let id = bench.create(&image, &["--publish", &publish]);
    let error = docker
        .ensure_started(&id)
        .await
        .expect_err("the port is taken");
    assert!(matches!(error, DockerError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains(&port.to_string()), "{error}");

    let gone = "0".repeat(64);
    assert!(
        docker
            .ensure_started(&gone)
            .await
            .expect_err("gone")
            .is_not_found()
    );
    assert!(
        docker
            .ensure_stopped(&gone, None)
            .await
            .expect_err("gone")
            .is_not_found()
    );
    assert!(
        docker
            .ensure_name(&gone, "x")
            .await
            .expect_err("gone")
            .is_not_found()
    );
    docker
        .ensure_removed(&gone, AnonymousVolumes::Keep)
        .await
        .expect("as wanted");

    let network = format!("{}-network", bench.name);
    bench.cli(&["network", "create", &network]);
    let id = bench.create(&image, &["--network", &network]);
    bench.cli(&["network", "rm", &network]);
    let error = docker.ensure_started(&id).await.expect_err("no network");
    assert!(!error.is_not_found(), "the container is there: {error:?}");
    assert!(error.to_string().contains(&network), "{error}");
}

#[tokio::test]
async fn anonymous_volumes_stay_or_go_with_the_container() {
    let bench = Bench::new();
    let image = bench.image(&ImageSpec::new("1").volume("/data"));
    for (fate, left) in [(AnonymousVolumes::Remove, 0), (AnonymousVolumes::Keep, 1)] {
        let id = bench.create(&image, &[]);
        let volume = bench.cli(&["inspect", "--format", "{{(index .Mounts 0).Name}}", &id]);
        bench
            .docker
            .ensure_removed(&id, fate)
            .await
            .expect("removed");
        let filter = format!("name={volume}");
        let volumes = bench.cli(&["volume", "ls", "-q", "--filter", &filter]);
        assert_eq!(volumes.lines().count(), left, "{fate:?}");
        if left == 1 {
            bench.cli(&["volume", "rm", &volume]);
        }
    }
}

#[tokio::test]
async fn nothing_that_runs_is_removed_and_nothing_whose_replacement_does_not_run() {
    let bench = Bench::new();
    let docker = &bench.docker;
    let runs = bench.container(&ImageSpec::new("1"), &[]);
    docker.ensure_started(&runs).await.expect("started");
    let down = bench.container(&ImageSpec::new("2"), &[]);
    let keep = AnonymousVolumes::Keep;
    let exists = async |id: &str| docker.container(id).await.expect("an answer").is_some();

    let refused = docker.ensure_removed(&runs, keep).await;
    assert!(
        matches!(refused, Err(DockerError::Conflict { .. })),
        "{refused:?}"
    );
    let beside = docker.ensure_removed_beside(&runs, std::slice::from_ref(&runs), keep);
    let refused = beside.await;
    assert!(
        matches!(refused, Err(DockerError::Conflict { .. })),
        "{refused:?}"
    );
    let state = docker.container(&runs).await.expect("an answer");
    assert!(state.is_some_and(|found| found.state.running));

    let other = bench.container(&ImageSpec::new("3"), &[]);
    let both = [runs.clone(), other];
    let refused = docker.ensure_removed_beside(&down, &both, keep).await;
    assert!(
        matches!(refused, Err(DockerError::Conflict { .. })),
        "{refused:?}"
    );
    assert!(exists(&down).await);
    let beside = docker.ensure_removed_beside(&down, std::slice::from_ref(&runs), keep);
    beside.await.expect("removed");
    assert!(!exists(&down).await);
}

#[tokio::test]
async fn the_containers_of_a_service_are_found_by_composes_labels() {
    let bench = Bench::new();
    let image = bench.image(&ImageSpec::new("1").health_check(HealthCheck::default()));
    let labeled = |service: &str, oneoff: &str| {
        let project = format!("com.docker.compose.project={}", bench.name);
        let service = format!("com.docker.compose.service={service}");
        let oneoff = format!("com.docker.compose.oneoff={oneoff}");
        bench.create(
            &image,
            &["--label", &project, "--label", &service, "--label", &oneoff],
        )
    };
    let mine = labeled("app", "False");
    labeled("app", "True");
    labeled("other", "False");
    let found = bench
        .docker
        .service_containers(&bench.name, "app")
        .await
        .expect("a list");
    let ids: Vec<&str> = found
        .iter()
        .map(|container| container.id.as_str())
        .collect();
    assert_eq!(ids, [mine.as_str()], "stopped, and not a one-off");
    assert_eq!(found[0].image_ref, image);
    let check = found[0].health_check.expect("a health check");
    assert_eq!(
        (check.retries, check.interval),
        (2, Duration::from_millis(250))
    );
    let by_label = bench
        .docker
        .containers_labeled("bench", Some(&bench.name))
        .await;
    assert_eq!(by_label.expect("a list").len(), 3);
    let by_key = bench
        .docker
        .containers_labeled("bench", None)
        .await
        .expect("a list");
    assert!(by_key.len() >= 3);
}
