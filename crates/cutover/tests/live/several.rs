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
    depends_on: {worker: {condition: service_started, restart: true}}
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

/// Two services that wait for a migration.
const WITH_JOB: &str = "\
name: {project}
services:
  migrate:
    image: {image}
    environment: {ROLE: migrate}
  worker:
    image: {image}
    restart: unless-stopped
    environment: {ROLE: worker}
    depends_on: {migrate: {condition: service_completed_successfully}}
  app:
    image: {image}
    restart: unless-stopped
    environment: {ROLE: app}
    depends_on: {migrate: {condition: service_completed_successfully}}
    ports: [\"127.0.0.1:{port}:8080\"]
";

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
fn a_rollback_by_hand_takes_every_service_back() {
    let (mut scene, one) = scene(MONITORED);
    let two = scene.push(&ImageSpec::new("two"));
    drop(scene.deploy(&two).expect("succeeded"));
    drop(
        scene
            .run(&["rollback", "app", "--json"])
            .expect("succeeded"),
    );
    expect_release(&scene, &one);
    drop(
        scene
            .run(&["rollback", "app", "--json"])
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

/// An image whose migration ends with this code.
fn migrating(version: &str, code: &str) -> ImageSpec {
    ImageSpec::new(version).env("MIGRATE_EXIT_AT_ONCE", code)
}

/// A project whose first release, with a migration that ended well, was deployed.
fn scene_with_job(service: &str) -> (Scene, String) {
    let wishes = Wishes {
        compose: WITH_JOB,
        service,
        ..Wishes::default()
    };
    let mut scene = Scene::new(CUTOVER, &wishes);
    let one = scene.push(&migrating("one", "0"));
    let ended = scene.deploy(&one).expect("succeeded");
    expect_job(ended.deployment(), &0.into());
    (scene, one)
}

#[track_caller]
fn expect_job(deployment: &Value, code: &Value) {
    let ran = deployment["jobs"].as_array().expect("a list");
    assert_eq!(ran.len(), 1, "{ran:?}");
    assert_eq!(ran[0]["service"], "migrate");
    assert_eq!(ran[0]["exit_code"], *code);
}

/// Ids and states of all containers, by name.
fn states(scene: &Scene) -> BTreeMap<String, (String, bool)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = scene.containers();
    let state = |one: &Value| {
        let runs = one["State"]["Running"] == true;
        (text(&one["Name"]), (text(&one["Id"]), runs))
    };
    all.iter().map(state).collect()
}

#[test]
fn a_job_runs_to_its_end_before_anything_is_stopped() {
    let (mut scene, _) = scene_with_job(MONITORED);
    let names = |scene: &Scene| states(scene).into_keys().collect::<Vec<_>>();
    let expected: Vec<_> = ["app", "migrate", "worker"]
        .map(|name| format!("/{}-{name}-1", scene.project()))
        .into();
    assert_eq!(names(&scene), expected);
    let before = states(&scene);
    let two = scene.push(&migrating("two", "0"));
    let ended = scene.deploy(&two).expect("succeeded");
    expect_job(ended.deployment(), &0.into());
    let kinds: Vec<_> = ended.deployment()["events"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|event| event["kind"].as_str().expect("a kind"))
        .collect();
    let place = |kind: &str| kinds.iter().position(|one| *one == kind);
    assert!(place("job_ended") < place("switch_started"), "{kinds:?}");
    assert_eq!(names(&scene), expected);
    let now = states(&scene);
    assert!(now.iter().all(|(name, state)| before[name] != *state));
    // It is not run again for the same release, and not by a rollback.
    drop(scene.deploy(&two).expect("unchanged"));
    assert_eq!(states(&scene), now);
    scene.compose(&["rm", "--stop", "--force", "worker"]);
    let again = scene.deploy(&two).expect("succeeded");
    assert_eq!(services(again.deployment()), ["worker"]);
    assert_eq!(again.deployment()["jobs"], serde_json::json!([]));
    let back = scene
        .run(&["rollback", "app", "--json"])
        .expect("succeeded");
    assert_eq!(back.deployment()["jobs"], serde_json::json!([]));
}

#[test]
fn a_rollback_after_a_job_says_of_the_services_what_was_seen_of_them() {
    let (mut scene, _) = scene_with_job(MONITORED);
    let before = states(&scene);
    let bad = scene.push(&migrating("bad", "0").env("APP_EXIT_AT_ONCE", "3"));
    let ended = scene.deploy(&bad).expect("rolled_back");
    let deployment = ended.deployment();
    assert!(deployment["proof"].is_string(), "{deployment:#}");
    let events = deployment["events"].as_array().expect("a list");
    let last = events.last().expect("an event")["message"].to_string();
    assert!(!last.contains("stopped"), "{last}");
    expect_job(deployment, &0.into());
    assert_eq!(states(&scene), before);
}

#[test]
fn a_job_that_was_killed_with_the_daemon_is_told_and_not_run_again() {
    let (mut scene, _) = scene_with_job(MONITORED);
    let before = states(&scene);
    let hanging = scene.push(&ImageSpec::new("hanging"));
    let mut client = scene.begin(&hanging);
    let newest = |scene: &Scene| scene.history().into_iter().next();
    let is_job_under_way = || {
        let newest = newest(&scene).filter(|newest| newest["outcome"].is_null());
        newest.is_some_and(|newest| {
            newest["jobs"]
                .as_array()
                .is_some_and(|jobs| !jobs.is_empty())
        })
    };
    scene.wait_until("the job runs", is_job_under_way);
    scene.kill_daemon();
    scene.start_daemon();
    client.wait().expect("it ends");
    let is_over = || newest(&scene).is_some_and(|newest| newest["outcome"] == "failed");
    scene.wait_until("it is given up", is_over);
    let found = newest(&scene).expect("a deployment");
    expect_job(&found, &Value::Null);
    let id = found["id"].as_str().expect("an id").to_owned();
    let (_, found) = scene.get(&format!("/v1/deployments/{id}")).expect("found");
    let detail = found["cause"]["detail"].to_string();
    assert!(detail.contains("the job `migrate` ran"), "{detail}");
    assert_eq!(states(&scene), before);
}

#[test]
fn killed_at_any_step_every_service_is_of_one_release() {
    let (mut scene, one) = scene_with_job(MONITORED);
    let mut present = one;
    for seen in [
        "image_pinned",
        "staged",
        "job_started",
        "switch_started",
        "switched",
        "verify_started",
        "committed",
    ] {
        let next = scene.push(&migrating(seen, "0"));
        let mut client = scene.begin(&next);
        let newest = |scene: &Scene| {
            let newest = scene.history().into_iter().next()?;
            let of_next = newest["image_sha"] == next.as_str();
            of_next.then_some(newest)
        };
        let id = |scene: &Scene| Some(newest(scene)?["id"].as_str()?.to_owned());
        let has_seen = |scene: &Scene| {
            let id = id(scene)?;
            let (_, view) = scene.get(&format!("/v1/deployments/{id}"))?;
            let mut events = view["events"].as_array()?.iter();
            events.find(|event| event["kind"] == seen).map(drop)
        };
        scene.wait_until(seen, || has_seen(&scene).is_some());
        scene.kill_daemon();
        scene.start_daemon();
        let outcome = |scene: &Scene| Some(newest(scene)?["outcome"].as_str()?.to_owned());
        scene.wait_until("it has its end", || outcome(&scene).is_some());
        let outcome = outcome(&scene).expect("an outcome");
        if outcome == "succeeded" {
            present.clone_from(&next);
        }
        client.wait().expect("it ends");
        // What is left to clean up is cleaned up behind the answer.
        let settled = |scene: &Scene| {
            let all = scene.containers();
            all.len() == 3
                && all.iter().all(|one| {
                    let name = one["Name"].as_str().unwrap_or_default();
                    !name.contains("cutover")
                })
        };
        scene.wait_until("all is settled", || settled(&scene));
        for service in ["app", "worker"] {
            let name = format!("/{}-{service}-1", scene.project());
            let all = scene.containers();
            let one = all.iter().find(|one| one["Name"] == name.as_str());
            let one = one.unwrap_or_else(|| panic!("{seen}: no {service}"));
            assert_eq!(one["State"]["Running"], true, "{seen}: {service}");
            let image = one["Config"]["Image"].as_str().expect("an image");
            assert!(
                image.ends_with(&present),
                "{seen}, {outcome}: {service} {image}"
            );
        }
        let env_file = std::fs::read_to_string(scene.project_directory().join(".env"));
        let line = format!("APP_IMAGE_TAG={present}\n");
        assert_eq!(env_file.expect("an env file"), line, "{seen}");
    }
}
