//! Services outside of a release that depend on one of it.

use cutover_testkit::engine::packages::ComposeVersion;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{Scene, Wishes};
use serde_json::Value;

use crate::CUTOVER;
use crate::clients::{container, scene_as};

/// A proxy that is to be restarted with the service, and one that is not.
const PROJECT: &str = "\
name: {project}
services:
  app:
    image: {image}
    restart: unless-stopped
    environment: {ROLE: app}
    ports: [\"127.0.0.1:{port}:8080\"]
  proxy:
    image: {client}
    restart: unless-stopped
    depends_on: {app: {condition: service_started, restart: true}}
  other:
    image: {client}
    restart: unless-stopped
    depends_on: {app: {condition: service_started}}
";

fn scene() -> (Scene, String) {
    let scene = scene_as(&Wishes {
        compose: PROJECT,
        service: "monitor = \"1s\"\n",
        ..Wishes::default()
    });
    let image = container(&scene, "app")["Config"]["Image"].clone();
    let tag = image.as_str().and_then(|image| image.rsplit(':').next());
    let one = tag.expect("its tag").to_owned();
    (scene, one)
}

/// The id of a service's container, and when it was started.
fn life(scene: &Scene, service: &str) -> (Value, Value) {
    let found = container(scene, service);
    (found["Id"].clone(), found["State"]["StartedAt"].clone())
}

fn restarted(deployment: &Value) -> Vec<&str> {
    let events = deployment["events"].as_array().expect("a list").iter();
    events
        .filter(|event| event["kind"] == "dependents_restarted")
        .map(|event| event["message"].as_str().expect("a message"))
        .collect()
}

#[test]
fn what_is_to_be_restarted_with_the_service_is_after_the_commit_and_after_a_rollback() {
    let (mut scene, one) = scene();
    let other = life(&scene, "other");
    let two = scene.push(&ImageSpec::new("two"));
    let configuration = scene.configuration().display().to_string();
    let plan = scene.run(&["plan", "app", &two, "--config", &configuration]);
    let told = "proxy, after the commit (`restart: true`)";
    assert!(plan.stdout.contains(told), "{}", plan.stdout);
    let mut before = life(&scene, "proxy");
    let bad = scene.push(&ImageSpec::new("bad").env("APP_EXIT_AT_ONCE", "1"));
    for (tag, outcome, is_restarted) in [
        (&one, "unchanged", false),
        (&two, "succeeded", true),
        (&"0".repeat(40), "failed", false),
        (&bad, "rolled_back", true),
    ] {
        let ended = scene.deploy(tag).expect(outcome);
        let now = life(&scene, "proxy");
        assert_eq!(now.0, before.0, "{outcome}: it is the same container");
        assert_eq!(now.1 != before.1, is_restarted, "{outcome}");
        let told = restarted(ended.deployment());
        assert_eq!(told.len(), usize::from(is_restarted), "{told:?}");
        assert!(
            told.iter().all(|told| told.ends_with(": proxy")),
            "{told:?}"
        );
        before = now;
    }
    assert_eq!(life(&scene, "other"), other);

    // One that is stopped stays so.
    scene.compose(&["stop", "proxy"]);
    let stopped = life(&scene, "proxy");
    let three = scene.push(&ImageSpec::new("three"));
    let ended = scene.deploy(&three).expect("succeeded");
    assert_eq!(restarted(ended.deployment()), [""; 0]);
    assert_eq!(life(&scene, "proxy"), stopped);
}

/// A service in whose network another one runs, which is asked at its port.
const WITH_SIDECAR: &str = "\
name: {project}
services:
  worker:
    image: {image}
    restart: unless-stopped
    environment: {ROLE: worker}
  app:
    image: {image}
    restart: unless-stopped
    environment: {ROLE: app}
    ports: [\"127.0.0.1:{port}:9000\"]
  sidecar:
    image: {tool}
    restart: unless-stopped
    network_mode: service:app
    environment: {LISTEN: \"9000\"}
";

/// Each service's container, and whether it runs.
fn all(scene: &Scene) -> Vec<(Value, Value)> {
    ["app", "sidecar", "worker"]
        .map(|service| life(scene, service))
        .into()
}

#[test]
fn what_runs_in_the_network_of_the_service_is_made_again_with_it_and_comes_back_with_it() {
    for version in [ComposeVersion::Newest, ComposeVersion::Oldest] {
        let wishes = Wishes {
            compose: WITH_SIDECAR,
            service: "monitor = \"1s\"\n",
            version,
            ..Wishes::default()
        };
        let mut scene = Scene::new(CUTOVER, &wishes);
        let tool = scene.push(&ImageSpec::new("sidecar"));
        let tool = format!("{}:{tool}", scene.repository());
        scene.write_compose(&WITH_SIDECAR.replace("{tool}", &tool));
        // Through the network of the service, the other one answers.
        let answers =
            |scene: &Scene| scene.wait_until("it answers", || scene.serves() == "sidecar");
        let one = scene.push(&ImageSpec::new("one"));
        let ended = scene.deploy(&one).expect("succeeded");
        let services = ended.deployment()["services"].as_array().expect("a list");
        let names: Vec<_> = services.iter().map(|one| &one["service"]).collect();
        assert_eq!(names, ["app", "sidecar", "worker"]);
        answers(&scene);
        drop(scene.deploy(&one).expect("unchanged"));

        let before = all(&scene);
        let two = scene.push(&ImageSpec::new("two"));
        drop(scene.deploy(&two).expect("succeeded"));
        let now = all(&scene);
        let ids = |all: &[(Value, Value)]| all.iter().map(|one| one.0.clone()).collect::<Vec<_>>();
        assert!(ids(&now).iter().all(|id| !ids(&before).contains(id)));
        answers(&scene);
        scene.compose(&["up", "-d", "--pull", "never"]);
        assert_eq!(all(&scene), now, "by hand, nothing changes");

        for role in ["APP", "WORKER"] {
            let variable = format!("{role}_EXIT_AT_ONCE");
            let bad = scene.push(&ImageSpec::new("bad").env(&variable, "1"));
            drop(scene.deploy(&bad).expect("rolled_back"));
            assert_eq!(ids(&all(&scene)), ids(&now), "{role}");
            answers(&scene);
            assert_eq!(scene.containers().len(), 3);
            let kept = all(&scene);
            scene.compose(&["up", "-d", "--pull", "never"]);
            assert_eq!(all(&scene), kept, "{role}: by hand, nothing changes");
        }
    }
}
