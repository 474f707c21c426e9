//! Jobs beyond the migration that is a service of its own: a command in a one-off container, a tool with an image of its
//! own, what runs after the commit, and what becomes of a job when cutover dies.

use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{Scene, Wishes};
use serde_json::{Value, json};

use crate::CUTOVER;

/// A worker beside the service, and a file that it mounts.
const PROJECT: &str = "\
name: {project}
services:
  app:
    image: {image}
    restart: unless-stopped
    environment: {ROLE: app}
    ports: [\"127.0.0.1:{port}:8080\"]
    volumes: [\"./greeting:/greeting:ro\"]
  worker:
    image: {image}
    restart: unless-stopped
    environment: {ROLE: worker}
";

/// A service that waits for a tool whose image does not name the tag variable, and a job that looks at the service.
const WITH_TOOL: &str = "\
name: {project}
services:
  prepare:
    image: {tool}
    environment: {ROLE: prepare}
  migrate:
    image: {tool}
    environment: {ROLE: migrate}
    depends_on: {prepare: {condition: service_completed_successfully}}
  app:
    image: {image}
    restart: unless-stopped
    environment: {ROLE: app}
    depends_on: {migrate: {condition: service_completed_successfully}}
  warm:
    image: {image}
    environment: {ROLE: warm}
    depends_on: {app: {condition: service_started}}
";

fn scene(compose: &str, service: &str) -> Scene {
    let wishes = Wishes {
        compose,
        service,
        ..Wishes::default()
    };
    Scene::new(CUTOVER, &wishes)
}

/// The jobs that ran, each with its exit code.
fn jobs(deployment: &Value) -> Vec<(String, Value)> {
    let all = deployment["jobs"].as_array().expect("a list").iter();
    all.map(|job| {
        let name = job["service"].as_str().expect("a name").to_owned();
        (name, job["exit_code"].clone())
    })
    .collect()
}

fn job(name: &str, code: impl Into<Value>) -> (String, Value) {
    (name.to_owned(), code.into())
}

/// The ids of all containers, and whether they run.
fn states(scene: &Scene) -> Vec<(String, bool)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = scene.containers();
    let mut states: Vec<_> = all
        .iter()
        .map(|one| (text(&one["Id"]), one["State"]["Running"] == true))
        .collect();
    states.sort();
    states
}

fn kinds(deployment: &Value) -> Vec<String> {
    let events = deployment["events"].as_array().expect("a list").iter();
    events
        .map(|event| event["kind"].as_str().expect("a kind").to_owned())
        .collect()
}

fn messages(deployment: &Value) -> String {
    let events = deployment["events"].as_array().expect("a list").iter();
    let lines: Vec<&str> = events
        .filter_map(|event| event["message"].as_str())
        .collect();
    lines.join("\n")
}

/// Of the project's containers, by name: also those of `docker compose run`.
fn names(scene: &Scene) -> Vec<String> {
    let all = scene.compose(&["ps", "--all", "--orphans=false", "--format", "{{.Name}}"]);
    let mut names: Vec<String> = all.lines().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn a_release_command_runs_in_a_one_off_container_before_anything_is_stopped() {
    let command = "release_command = [\"/shopd\", \"as\", \"migrate\"]\nmonitor = \"1s\"\n";
    let mut scene = scene(PROJECT, command);
    scene.write("project/greeting", "hello");
    let migrating =
        |version: &str, code: &str| ImageSpec::new(version).env("MIGRATE_EXIT_AT_ONCE", code);
    let one = scene.push(&migrating("one", "0"));
    drop(scene.deploy(&one).expect("succeeded"));
    let before = states(&scene);

    let two = scene.push(&migrating("two", "0"));
    let configuration = scene.configuration().display().to_string();
    let plan = scene.run(&["plan", "app", &two, "--config", &configuration]);
    let told = "`/shopd as migrate`, before anything is stopped";
    assert!(plan.stdout.contains(told), "{}", plan.stdout);
    let ended = scene.deploy(&two).expect("succeeded");
    let deployment = ended.deployment();
    assert_eq!(jobs(deployment), [job("release_command", 0)]);
    let kinds = kinds(deployment);
    let place = |kind: &str| kinds.iter().position(|one| one == kind);
    assert!(place("job_ended") < place("switch_started"), "{kinds:?}");
    let of_the_release = ["app", "worker"].map(|name| format!("{}-{name}-1", scene.project()));
    assert_eq!(
        names(&scene),
        of_the_release,
        "the one-off container is gone"
    );
    let now = states(&scene);
    assert!(now.iter().all(|state| !before.contains(state)));
    scene.compose(&["up", "-d", "--pull", "never"]);
    assert_eq!(states(&scene), now, "by hand, nothing changes");

    // Not again for the same release, nor by a rollback.
    drop(scene.deploy(&two).expect("unchanged"));
    let back = scene
        .run(&["rollback", "app", "--json"])
        .expect("succeeded");
    assert_eq!(jobs(back.deployment()), []);

    let before = states(&scene);
    let bad = scene.push(&migrating("bad", "3"));
    let ended = scene.deploy(&bad).expect("failed");
    assert_eq!(ended.cause(), "job_failed");
    let deployment = ended.deployment();
    assert_eq!(deployment["nothing_changed"], true);
    assert_eq!(jobs(deployment), [job("release_command", 3)]);
    let log = deployment["log"].to_string();
    assert!(log.contains("cannot connect to the database"), "{log}");
    assert_eq!(states(&scene), before);
    assert_eq!(names(&scene), of_the_release);
}

#[test]
fn a_release_command_sees_what_the_service_sees() {
    let command = "release_command = [\"/shopd\", \"cat\", \"/greeting\"]\nmonitor = \"1s\"\n";
    let mut scene = scene(PROJECT, command);
    scene.write("project/greeting", "hello from the mounted file\n");
    let one = scene.push(&ImageSpec::new("one"));
    let ended = scene.deploy(&one).expect("succeeded");
    assert_eq!(jobs(ended.deployment()), [job("release_command", 0)]);
    let two = scene.push(&ImageSpec::new("two"));
    let said = scene.run(&["deploy", "app", &two]);
    assert!(
        said.stderr.contains("hello from the mounted file"),
        "{}",
        said.stderr
    );
}

/// The tool is pushed; what it does is `roles`.
fn scene_with_tool(service: &str, roles: &[(&str, &str)]) -> Scene {
    let mut scene = scene(WITH_TOOL, service);
    let tool = ImageSpec::new("tool").env("PREPARE_EXIT_AT_ONCE", "0");
    let tool = roles
        .iter()
        .fold(tool, |tool, (name, value)| tool.env(name, value));
    let tool = scene.push(&tool);
    let tool = format!("{}:{tool}", scene.repository());
    scene.write_compose(&WITH_TOOL.replace("{tool}", &tool));
    scene
}

#[test]
fn a_job_with_an_image_of_its_own_runs_with_each_release() {
    let mut scene = scene_with_tool(
        "monitor = \"1s\"\ncompose_services = [\"app\"]\n",
        &[("MIGRATE_EXIT_AT_ONCE", "0")],
    );
    let both = [job("prepare", 0), job("migrate", 0)];
    let one = scene.push(&ImageSpec::new("one"));
    let ended = scene.deploy(&one).expect("succeeded");
    assert_eq!(jobs(ended.deployment()), both);
    drop(scene.deploy(&one).expect("unchanged"));
    let two = scene.push(&ImageSpec::new("two"));
    let ended = scene.deploy(&two).expect("succeeded");
    assert_eq!(
        jobs(ended.deployment()),
        both,
        "its image is the same as before"
    );
    let now = states(&scene);
    assert_eq!(now.len(), 3, "{now:?}");
}

#[test]
fn what_runs_after_the_commit_is_a_warning_where_it_fails() {
    let service = "monitor = \"1s\"\njobs_after = [\"warm\"]\n";
    let mut scene = scene_with_tool(service, &[("MIGRATE_EXIT_AT_ONCE", "0")]);
    let warming =
        |version: &str, code: &str| ImageSpec::new(version).env("WARM_EXIT_AT_ONCE", code);
    let before = [job("prepare", 0), job("migrate", 0)];
    for (version, code) in [("one", 0), ("two", 3), ("three", 0)] {
        let tag = scene.push(&warming(version, &code.to_string()));
        let ended = scene.deploy(&tag).expect("succeeded");
        let deployment = ended.deployment();
        let expected = [&before[..], &[job("warm", code)]].concat();
        assert_eq!(jobs(deployment), expected);
        let kinds = kinds(deployment);
        let last = |kind: &str| kinds.iter().rposition(|one| one == kind);
        assert!(last("committed") < last("job_ended"), "{kinds:?}");
        let told = messages(deployment);
        let warned = "the job `warm` ended with code 3; the release runs all the same";
        assert_eq!(told.contains(warned), code == 3, "{told}");
        assert_eq!(states(&scene).len(), 4);
    }
    scene.compose(&["up", "-d", "--pull", "never", "app"]);
    let last = scene.history().into_iter().next().expect("one");
    assert_eq!(last["outcome"], "succeeded");
}

#[test]
fn a_job_that_may_run_again_does_so_when_cutover_has_died() {
    let service = "monitor = \"1s\"\njob_reruns = \"safe\"\ncompose_services = [\"app\"]\n";
    let slow = [
        ("MIGRATE_EXIT_AFTER_MS", "3000"),
        ("MIGRATE_EXIT_CODE", "0"),
    ];
    let mut scene = scene_with_tool(service, &slow);
    let one = scene.push(&ImageSpec::new("one"));
    let mut client = scene.begin(&one);
    let newest = |scene: &Scene| scene.history().into_iter().next();
    let is_under_way = || {
        let jobs = newest(&scene).map(|newest| jobs(&newest));
        jobs.is_some_and(|jobs| jobs.contains(&job("migrate", json!(null))))
    };
    scene.wait_until("the job runs", is_under_way);
    scene.kill_daemon();
    scene.start_daemon();
    let is_over = || newest(&scene).is_some_and(|newest| newest["outcome"] == "succeeded");
    scene.wait_until("it is run again", is_over);
    client.wait().expect("it ends");
    let found = newest(&scene).expect("one");
    let expected = [
        job("prepare", 0),
        job("migrate", json!(null)),
        job("prepare", 0),
        job("migrate", 0),
    ];
    assert_eq!(jobs(&found), expected);
    assert_eq!(states(&scene).len(), 3);
}
