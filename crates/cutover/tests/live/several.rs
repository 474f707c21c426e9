//! A release of several services: one sha, every service of it, all or nothing.

use std::collections::BTreeMap;

use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{Scene, Wishes};
use serde_json::Value;

use crate::CUTOVER;

/// Three services of one image, which differ by their role, and a neighbour.
const PROJECT: &str = "\
name: {project}
services:
  scheduler:
    image: {image}
    restart: unless-stopped
    environment: {ROLE: scheduler}
    depends_on: {worker: {condition: service_started}}
  worker:
    image: {image}
    restart: unless-stopped
    environment: {ROLE: worker}
    depends_on: {app: {condition: service_started}}
  app:
    image: {image}
    restart: unless-stopped
    environment: {ROLE: app}
    depends_on: {cache: {condition: service_started}}
    ports: [\"127.0.0.1:{port}:8080\"]
  cache:
    image: {cache}
    restart: unless-stopped
";

/// Every service but the neighbour, in the order in which they are switched.
const SERVICES: [&str; 3] = ["app", "worker", "scheduler"];

/// A release that runs long enough without ending is good.
const MONITORED: &str = "monitor = \"1s\"\n";

/// The project with its first release running, by hand. Returns the tag of that, too.
fn scene(service: &str) -> (Scene, String) {
    let wishes = Wishes {
        compose: PROJECT,
        service,
        ..Wishes::default()
    };
    let mut scene = Scene::new(CUTOVER, &wishes);
    let cache = scene.push(&ImageSpec::new("cache"));
    let one = scene.push(&ImageSpec::new("one"));
    let cache = format!("{}:{cache}", scene.repository());
    scene.write_compose(&PROJECT.replace("{cache}", &cache));
    scene.write("project/.env", &format!("APP_IMAGE_TAG={one}\n"));
    scene.compose(&["up", "-d"]);
    (scene, one)
}

/// What runs: for each service, id, tag and name of its one container.
fn running(scene: &Scene) -> BTreeMap<String, (String, String, String)> {
    let mut found = BTreeMap::new();
    for container in scene.containers() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        assert_eq!(container["State"]["Running"], true, "{container:#}");
        let image = text(&container["Config"]["Image"]);
        let tag = image.rsplit(':').next().unwrap_or_default().to_owned();
        let service = text(&container["Config"]["Labels"]["com.docker.compose.service"]);
        let (id, name) = (text(&container["Id"]), text(&container["Name"]));
        let before = found.insert(service, (id, tag, name));
        assert_eq!(before, None, "two of one service");
    }
    found
}

/// Every service runs this release under its own name, and `docker compose up -d` by hand changes nothing.
#[track_caller]
fn expect_release(scene: &Scene, tag: &str) {
    let now = running(scene);
    assert_eq!(now.len(), 4, "{now:?}");
    for service in SERVICES {
        let (_, runs, name) = &now[service];
        assert_eq!(runs, tag, "{service}");
        assert_eq!(*name, format!("/{}-{service}-1", scene.project()));
    }
    let env_file = std::fs::read_to_string(scene.project_directory().join(".env"));
    assert_eq!(
        env_file.expect("an env file"),
        format!("APP_IMAGE_TAG={tag}\n")
    );
    scene.compose(&["up", "-d", "--pull", "never"]);
    assert_eq!(running(scene), now, "by hand, nothing changes");
}

fn services(deployment: &Value) -> Vec<&str> {
    let all = deployment["services"].as_array().expect("a list");
    all.iter()
        .map(|one| one["service"].as_str().expect("a name"))
        .collect()
}

#[test]
fn every_service_of_a_release_is_switched_and_its_neighbour_is_not() {
    for service in [MONITORED, "monitor = \"1s\"\nswitch = \"together\"\n"] {
        let (mut scene, _) = scene(service);
        let before = running(&scene);
        let two = scene.push(&ImageSpec::new("two"));
        let configuration = scene.configuration().display().to_string();
        let plan = scene.run(&["plan", "app", &two, "--config", &configuration]);
        let plan = plan.stdout;
        assert!(plan.contains("app, worker, scheduler"), "{plan}");
        let ended = scene.deploy(&two).expect("succeeded");
        assert_eq!(services(ended.deployment()), SERVICES);
        for one in ended.deployment()["services"].as_array().expect("a list") {
            assert!(one["outage_ms"].as_u64().is_some_and(|ms| ms > 0), "{one}");
            assert!(one["proof"].is_string(), "{one}");
        }
        expect_release(&scene, &two);
        let now = running(&scene);
        assert_eq!(now["cache"], before["cache"]);
        assert!(SERVICES.iter().all(|one| now[*one] != before[*one]));

        drop(scene.deploy(&two).expect("unchanged"));
        assert_eq!(running(&scene), now);
    }
}

#[test]
fn a_service_in_which_the_release_runs_already_is_left_alone() {
    let (mut scene, _) = scene(MONITORED);
    let two = scene.push(&ImageSpec::new("two"));
    drop(scene.deploy(&two).expect("succeeded"));
    let before = running(&scene);
    scene.compose(&["rm", "--stop", "--force", "worker"]);
    let ended = scene.deploy(&two).expect("succeeded");
    assert_eq!(services(ended.deployment()), ["worker"]);
    expect_release(&scene, &two);
    let now = running(&scene);
    assert_ne!(now["worker"], before["worker"]);
    for left in ["app", "scheduler", "cache"] {
        assert_eq!(now[left], before[left]);
    }
}

#[test]
fn one_service_that_fails_returns_every_one_to_the_very_same_container() {
    let (mut scene, one) = scene("monitor = \"2s\"\n");
    let before = running(&scene);
    for (role, misfortune) in [
        ("APP", "EXIT_AT_ONCE"),
        ("WORKER", "EXIT_AT_ONCE"),
        ("SCHEDULER", "EXIT_AT_ONCE"),
        ("SCHEDULER", "EXIT_AFTER_MS"),
    ] {
        let bad = ImageSpec::new("bad").env(&format!("{role}_{misfortune}"), "3");
        let bad = scene.push(&bad);
        let ended = scene.deploy(&bad).expect("rolled_back");
        assert_eq!(ended.cause(), "container_exited");
        let detail = ended.deployment()["cause"]["detail"].to_string();
        let named = format!("service `{}`", role.to_lowercase());
        assert!(detail.contains(&named), "{detail}");
        let log = ended.deployment()["log"].to_string();
        assert!(log.contains("shopd bad: starting"), "{log}");
        assert_eq!(running(&scene), before, "{role} {misfortune}");
        expect_release(&scene, &one);
    }
}

#[test]
fn a_rollback_by_hand_takes_every_service_back() {
    let (mut scene, one) = scene(MONITORED);
    let two = scene.push(&ImageSpec::new("two"));
    drop(scene.deploy(&two).expect("succeeded"));
    drop(
        scene
            .run(&["--json", "rollback", "app"])
            .expect("succeeded"),
    );
    expect_release(&scene, &one);
    drop(
        scene
            .run(&["--json", "rollback", "app"])
            .expect("succeeded"),
    );
    expect_release(&scene, &two);
}

#[test]
fn the_services_can_be_chosen_and_two_names_do_not_share_one() {
    let (mut scene, one) = scene("monitor = \"1s\"\ncompose_services = [\"app\", \"worker\"]\n");
    let before = running(&scene);
    let two = scene.push(&ImageSpec::new("two"));
    let ended = scene.deploy(&two).expect("succeeded");
    assert_eq!(services(ended.deployment()), ["app", "worker"]);
    let now = running(&scene);
    assert_eq!(now["scheduler"], before["scheduler"]);
    assert_eq!(now["scheduler"].1, one);
    let configuration = scene.configuration();
    let text = std::fs::read_to_string(&configuration).expect("a configuration");
    let shop = text.split("[services.app]").nth(1).expect("the service");
    let own = shop.split("\n[").next().expect("its lines");
    let second = own.replace("[\"app\", \"worker\"]", "[\"worker\", \"scheduler\"]");
    let both = format!("{text}\n[services.other]\ncompose_service = \"worker\"\n{second}");
    std::fs::write(&configuration, both).expect("written");
    let configuration = configuration.display().to_string();
    let said = scene.run(&["check", "--config", &configuration]);
    assert_eq!(said.exit, 2);
    let words = "both deploy the service `worker`";
    assert!(said.stdout.contains(words), "{}", said.stdout);
}
