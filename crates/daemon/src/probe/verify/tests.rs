//! Containers and Dockers that misbehave in every order; the well-behaved ones are in `tests/docker`.

mod probing;

use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::checks::HealthCheckUse;
use super::*;
use crate::docker::fake::{FakeDocker, Reply, container_json, eventually};
use cutover_core::health::HealthRules;

/// One container in a Docker whose events and state a test plays.
struct Scene {
    fake: FakeDocker,
    container: Arc<Mutex<Option<serde_json::Value>>>,
    streams: mpsc::Receiver<mpsc::Sender<String>>,
    stream: Option<mpsc::Sender<String>>,
}

impl Scene {
    /// The container runs since 21:00:00.
    fn new() -> Self {
        let container = Arc::new(Mutex::new(Some(container_json("c", true))));
        let (sender, streams) = mpsc::channel(16);
        let (sender, shown) = (Mutex::new(sender), Arc::clone(&container));
        let fake = FakeDocker::start(move |asked| {
            if asked.line.starts_with("GET /events") {
                let (feed, pieces) = mpsc::channel(16);
                let _ = sender.lock().expect("no panic").try_send(feed);
                return Reply::Pieces(pieces);
            }
            match shown.lock().expect("no panic").clone() {
                Some(container) => Reply::Json(200, container),
                None => Reply::error(404, "No such container: c"),
            }
        });
        Self {
            fake,
            container,
            streams,
            stream: None,
        }
    }

    /// Begins to verify.
    async fn verify(&mut self, checks: Checks) -> JoinHandle<Result<(), VerifyFailure>> {
        let docker = self.fake.client();
        let events = docker.watch_container("c").await.expect("subscribed");
        self.stream = self.streams.recv().await;
        tokio::spawn(async move {
            let verified = verify(&docker, events, "c", &checks, None).await;
            verified.map(drop)
        })
    }

    /// Changes what Docker says of the container.
    fn container(&self, path: &str, value: impl Into<serde_json::Value>) -> &Self {
        let mut container = self.container.lock().expect("no panic");
        let container = container.as_mut().expect("a container");
        if container.pointer(path).is_none() {
            let (parent, name) = path.rsplit_once('/').expect("a path");
            container.pointer_mut(parent).expect("a parent")[name] = serde_json::Value::Null;
        }
        *container.pointer_mut(path).expect("just made") = value.into();
        self
    }

    fn health(&self, status: &str, output: &str) -> &Self {
        let log = serde_json::json!([{"ExitCode": 1, "Output": output}]);
        self.container(
            "/State/Health",
            serde_json::json!({"Status": status, "Log": log}),
        )
    }

    /// Something happens at 21:00:`second`.
    async fn event(&self, second: i64, action: &str, attributes: serde_json::Value) {
        const NINE_PM: i64 = 1_795_381_200;
        let event = serde_json::json!({
            "Type": "container", "Action": action, "Actor": {"Attributes": attributes},
            "timeNano": (NINE_PM + second) * 1_000_000_000,
        });
        let stream = self.stream.as_ref().expect("subscribed");
        stream.send(format!("{event}\n")).await.expect("a reader");
    }

    async fn event_died(&self, second: i64, code: i64) {
        self.event(
            second,
            "die",
            serde_json::json!({"exitCode": code.to_string()}),
        )
        .await;
    }

    /// The container has ended; Docker says so when asked.
    fn ended(&self) -> &Self {
        self.container("/State/Running", false)
    }
}

fn checks(health_check: HealthCheckUse, min_healthy: u64, deadline: u64) -> Checks {
    Checks {
        health_check,
        http: None,
        tcp: None,
        url: None,
        command: None,
        rules: HealthRules {
            min_healthy_time: Duration::from_millis(min_healthy),
            healthy_deadline: Duration::from_millis(deadline),
        },
        monitor: Duration::ZERO,
        are_held_too: false,
        purpose: Purpose::NewRelease,
    }
}

/// With a health check, and more time than any test takes.
fn patient() -> Checks {
    checks(HealthCheckUse::Counts, 0, 60_000)
}

async fn outcome(verify: JoinHandle<Result<(), VerifyFailure>>) -> Result<(), VerifyFailure> {
    tokio::time::timeout(Duration::from_secs(20), verify)
        .await
        .expect("in time")
        .expect("no panic")
}

#[tokio::test]
async fn a_container_passes_when_docker_calls_it_healthy() {
    let mut scene = Scene::new();
    scene.health("starting", "");
    let verify = scene.verify(patient()).await;
    scene.event(0, "start", serde_json::json!({})).await;
    scene
        .health("healthy", "")
        .event(1, "health_status: healthy", serde_json::json!({}))
        .await;
    assert_eq!(outcome(verify).await, Ok(()));
    let looks = scene.fake.count("/containers/c/json");
    assert_eq!(
        looks, 2,
        "looked at in the beginning and in the end, never polled"
    );
}

#[tokio::test]
async fn a_container_that_is_healthy_already_passes_at_once() {
    let mut scene = Scene::new();
    scene.health("healthy", "");
    let verify = scene.verify(patient().for_rollback()).await;
    assert_eq!(outcome(verify).await, Ok(()));
}

#[tokio::test]
async fn a_container_without_any_check_must_run_for_a_while() {
    let mut scene = Scene::new();
    let began = Instant::now();
    let verify = scene
        .verify(checks(HealthCheckUse::Absent, 300, 60_000))
        .await;
    assert_eq!(outcome(verify).await, Ok(()));
    assert!(began.elapsed() >= Duration::from_millis(300));
    // Put back and never stopped, it has run for years.
    let mut scene = Scene::new();
    scene.container("/State/StartedAt", "2020-01-01T00:00:00Z");
    let verify = scene
        .verify(checks(HealthCheckUse::Absent, 30_000, 60_000).for_rollback())
        .await;
    assert_eq!(outcome(verify).await, Ok(()));
}

#[tokio::test]
async fn an_exit_fails_at_once() {
    let mut scene = Scene::new();
    let verify = scene.verify(patient()).await;
    eventually("the first look", || {
        scene.fake.count("/containers/c/json") == 1
    })
    .await;
    scene.ended().container("/State/OOMKilled", true);
    scene.event_died(2, 137).await;
    let failure = outcome(verify).await.expect_err("it ended");
    assert!(
        matches!(
            failure,
            VerifyFailure::Exited {
                code: 137,
                oom_killed: true,
                ..
            }
        ),
        "{failure:?}"
    );
    assert!(
        failure.to_string().contains("exited with code 137"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_container_that_ended_before_it_was_looked_at_has_failed() {
    let mut scene = Scene::new();
    scene.ended().container("/State/ExitCode", 3);
    scene.container("/State/FinishedAt", "2026-11-22T21:00:01.25Z");
    let verify = scene.verify(patient()).await;
    let failure = outcome(verify).await.expect_err("it ended");
    assert_eq!(
        failure.to_string(),
        "the container exited with code 3 after 1.2 s"
    );
}

#[tokio::test]
async fn an_end_brought_about_from_outside_is_no_fault_of_the_release() {
    let mut scene = Scene::new();
    let verify = scene.verify(patient()).await;
    scene
        .event(2, "kill", serde_json::json!({"signal": "15"}))
        .await;
    scene.event_died(3, 0).await;
    let failure = outcome(verify).await.expect_err("it was stopped");
    assert!(
        matches!(failure, VerifyFailure::Interfered { .. }),
        "{failure:?}"
    );
    // The end may be seen before the signal that brought it about is read.
    let mut scene = Scene::new();
    scene.ended();
    let verify = scene.verify(patient()).await;
    scene
        .event(2, "kill", serde_json::json!({"signal": "15"}))
        .await;
    let failure = outcome(verify).await.expect_err("it was stopped");
    assert!(
        matches!(failure, VerifyFailure::Interfered { .. }),
        "{failure:?}"
    );
    let mut scene = Scene::new();
    let verify = scene.verify(patient()).await;
    scene.event_died(3, 143).await;
    scene
        .event(3, "kill", serde_json::json!({"signal": "15"}))
        .await;
    let failure = outcome(verify).await.expect_err("it was stopped");
    assert!(
        matches!(failure, VerifyFailure::Interfered { .. }),
        "{failure:?}"
    );
    for action in ["destroy", "pause"] {
        let mut scene = Scene::new();
        let verify = scene.verify(patient()).await;
        scene.event(2, action, serde_json::json!({})).await;
        let failure = outcome(verify).await.expect_err("somebody interfered");
        assert!(
            matches!(failure, VerifyFailure::Interfered { .. }),
            "{failure:?}"
        );
    }
}

#[tokio::test]
async fn dockers_word_unhealthy_is_final_and_explained() {
    let mut scene = Scene::new();
    scene.health("starting", "");
    let verify = scene.verify(patient()).await;
    scene
        .health("unhealthy", "no database")
        .event(9, "health_status: unhealthy", serde_json::json!({}))
        .await;
    let failure = outcome(verify).await.expect_err("unhealthy");
    assert!(failure.to_string().ends_with(": no database"), "{failure}");
}

#[tokio::test]
async fn the_deadline_ends_a_container_that_never_becomes_healthy() {
    let mut scene = Scene::new();
    scene.health("starting", "still migrating");
    let verify = scene.verify(checks(HealthCheckUse::Counts, 0, 1_000)).await;
    let failure = outcome(verify).await.expect_err("too late");
    let words = failure.to_string();
    assert!(
        words.contains("its health check is still starting"),
        "{words}"
    );
    assert!(
        words.ends_with("its health check printed last: still migrating"),
        "{words}"
    );
}

#[tokio::test]
async fn a_cut_stream_hides_no_exit() {
    let mut scene = Scene::new();
    let verify = scene.verify(patient()).await;
    eventually("the first look", || {
        scene.fake.count("/containers/c/json") == 1
    })
    .await;
    scene.ended().container("/State/ExitCode", 1);
    // Docker dies with everything it had to tell.
    scene.stream = None;
    scene.fake.go_away();
    scene.fake.come_back();
    let failure = outcome(verify).await.expect_err("it ended");
    assert!(
        matches!(failure, VerifyFailure::Exited { code: 1, .. }),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_cut_stream_hides_no_health() {
    let mut scene = Scene::new();
    scene.health("starting", "");
    let verify = scene.verify(patient()).await;
    eventually("the first look", || {
        scene.fake.count("/containers/c/json") == 1
    })
    .await;
    scene.health("healthy", "");
    scene.stream = None;
    assert_eq!(outcome(verify).await, Ok(()));
}

#[tokio::test]
async fn a_verdict_reached_while_docker_was_away_is_not_believed() {
    let mut scene = Scene::new();
    let verify = scene
        .verify(checks(HealthCheckUse::Absent, 2_000, 60_000))
        .await;
    eventually("the first look", || {
        scene.fake.count("/containers/c/json") == 1
    })
    .await;
    scene.fake.go_away();
    scene.stream = None;
    scene.ended();
    // With the verdict, it is looked at again.
    scene.fake.asked_in_vain("/containers/c/json").await;
    assert!(!verify.is_finished(), "nobody knows");
    scene.fake.come_back();
    let failure = outcome(verify).await.expect_err("it ended with docker");
    assert!(
        matches!(failure, VerifyFailure::Exited { .. }),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_docker_that_stays_away_fails_at_the_deadline() {
    let mut scene = Scene::new();
    let verify = scene
        .verify(checks(HealthCheckUse::Absent, 2_000, 3_000))
        .await;
    eventually("the first look", || {
        scene.fake.count("/containers/c/json") == 1
    })
    .await;
    scene.fake.go_away();
    let failure = outcome(verify).await.expect_err("no docker");
    assert!(matches!(failure, VerifyFailure::Docker(_)), "{failure:?}");
}

#[tokio::test]
async fn a_new_release_that_was_restarted_has_failed() {
    let mut scene = Scene::new();
    let verify = scene.verify(patient()).await;
    eventually("the first look", || {
        scene.fake.count("/containers/c/json") == 1
    })
    .await;
    scene.container("/State/StartedAt", "2026-11-22T21:00:07Z");
    scene.stream = None;
    let failure = outcome(verify).await.expect_err("restarted");
    assert!(
        failure
            .to_string()
            .contains("the container restarted after"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_restored_container_may_be_started_again_by_docker() {
    let mut scene = Scene::new();
    scene
        .health("starting", "")
        .container("/HostConfig/RestartPolicy/Name", "always");
    let verify = scene.verify(patient().for_rollback()).await;
    eventually("the first look", || {
        scene.fake.count("/containers/c/json") == 1
    })
    .await;
    // What an earlier life left behind in the stream does not count.
    scene.event_died(-5, 143).await;
    scene.ended();
    scene.event_died(5, 143).await;
    eventually("a look after the end", || {
        scene.fake.count("/containers/c/json") == 2
    })
    .await;
    scene
        .container("/State/Running", true)
        .container("/State/StartedAt", "2026-11-22T21:00:06Z");
    scene.event(6, "start", serde_json::json!({})).await;
    scene
        .health("healthy", "")
        .event(7, "health_status: healthy", serde_json::json!({}))
        .await;
    assert_eq!(outcome(verify).await, Ok(()));
}

#[tokio::test]
async fn a_restored_container_that_ends_again_and_again_is_given_up() {
    let mut scene = Scene::new();
    scene
        .health("starting", "")
        .container("/HostConfig/RestartPolicy/Name", "always");
    let verify = scene.verify(patient().for_rollback()).await;
    for second in 1..=4 {
        scene.event_died(second, 1).await;
    }
    let failure = outcome(verify).await.expect_err("a crash loop");
    assert!(
        matches!(failure, VerifyFailure::Exited { code: 1, .. }),
        "{failure:?}"
    );
    // Nobody starts one again that has no restart policy.
    let mut scene = Scene::new();
    let verify = scene.verify(patient().for_rollback()).await;
    scene.event_died(1, 1).await;
    assert!(outcome(verify).await.is_err());
}
