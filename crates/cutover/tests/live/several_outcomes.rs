//! Every outcome of a release in the manner of real ones: web, worker and scheduler of one image, their migration, and a
//! neighbour; with the newest and the oldest Compose.

use std::collections::BTreeMap;

use cutover_testkit::engine::packages::ComposeVersion;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{Scene, Wishes};
use serde_json::Value;

use crate::CUTOVER;

const PROJECT: &str = "\
name: {project}
x-release: &release
  image: {image}
  restart: unless-stopped
services:
  migrate:
    image: {image}
    environment: {ROLE: migrate}
    depends_on: {cache: {condition: service_started}}
  web:
    <<: *release
    environment: {ROLE: web}
    depends_on: {migrate: {condition: service_completed_successfully}}
    ports: [\"127.0.0.1:{port}:8080\"]
  worker:
    <<: *release
    environment: {ROLE: worker}
    depends_on: {web: {condition: service_started}}
  scheduler:
    <<: *release
    environment: {ROLE: scheduler}
    depends_on: {worker: {condition: service_started}}
  cache:
    image: {cache}
    restart: unless-stopped
";

/// The services of the release, its job among them.
const OF_RELEASE: [&str; 4] = ["migrate", "scheduler", "web", "worker"];

/// A migration that ends well.
const MIGRATES: (&str, &str) = ("MIGRATE_EXIT_AT_ONCE", "0");

/// What becomes of one release.
struct Row {
    /// What makes its image another one than a good one.
    image: &'static [(&'static str, &'static str)],
    outcome: &'static str,
    /// The cause, and what its sentence says.
    cause: Option<(&'static str, &'static str)>,
}

const GOOD: Row = Row {
    image: &[MIGRATES],
    outcome: "succeeded",
    cause: None,
};

const JOB_FAILS: Row = Row {
    image: &[("MIGRATE_EXIT_AT_ONCE", "3")],
    outcome: "failed",
    cause: Some(("job_failed", "ended with code 3")),
};

const JOB_HANGS: Row = Row {
    image: &[],
    outcome: "failed",
    cause: Some(("job_failed", "did not end within the `job_deadline` of 3s")),
};

const FIRST_FAILS: Row = Row {
    image: &[MIGRATES, ("WEB_EXIT_AT_ONCE", "3")],
    outcome: "rolled_back",
    cause: Some(("container_exited", "service `web`")),
};

const ONE_BETWEEN_FAILS: Row = Row {
    image: &[MIGRATES, ("WORKER_EXIT_AT_ONCE", "3")],
    outcome: "rolled_back",
    cause: Some(("container_exited", "service `worker`")),
};

const LAST_FAILS: Row = Row {
    image: &[MIGRATES, ("SCHEDULER_EXIT_AT_ONCE", "3")],
    outcome: "rolled_back",
    cause: Some(("container_exited", "service `scheduler`")),
};

/// `monitor` begins when the last one was started.
const LAST_EXITS_WHILE_WATCHED: Row = Row {
    image: &[MIGRATES, ("SCHEDULER_EXIT_AFTER_MS", "700")],
    outcome: "rolled_back",
    cause: Some(("container_exited", "service `scheduler`")),
};

/// The first release was deployed. Returns its tag, too.
fn scene(version: ComposeVersion, switch: &str) -> (Scene, String) {
    let settings = format!(
        "compose_service = \"web\"\nmonitor = \"2s\"\njob_deadline = \"3s\"\nswitch = \"{switch}\"\n"
    );
    let wishes = Wishes {
        version,
        compose: PROJECT,
        service: &settings,
        ..Wishes::default()
    };
    let mut scene = Scene::new(CUTOVER, &wishes);
    let cache = scene.push(&ImageSpec::new("cache"));
    let cache = format!("{}:{cache}", scene.repository());
    scene.write_compose(&PROJECT.replace("{cache}", &cache));
    let one = scene.push(&image("one", &GOOD));
    drop(scene.deploy(&one).expect("succeeded"));
    scene.compose(&["up", "-d", "cache"]);
    (scene, one)
}

fn image(version: &str, row: &Row) -> ImageSpec {
    let spec = ImageSpec::new(version);
    row.image
        .iter()
        .fold(spec, |spec, (name, value)| spec.env(name, value))
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    id: String,
    name: String,
    tag: String,
    runs: bool,
}

/// The one container of each service.
#[track_caller]
fn found(scene: &Scene) -> BTreeMap<String, Found> {
    let mut all = BTreeMap::new();
    for container in scene.containers() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let image = text(&container["Config"]["Image"]);
        let found = Found {
            id: text(&container["Id"]),
            name: text(&container["Name"]),
            tag: image.rsplit(':').next().unwrap_or_default().to_owned(),
            runs: container["State"]["Running"] == true,
        };
        let service = text(&container["Config"]["Labels"]["com.docker.compose.service"]);
        let before = all.insert(service, found);
        assert_eq!(before, None, "two containers of one service");
    }
    all
}

/// Every service is of this release, under its own name, the env file says so, and `docker compose up -d` by hand changes
/// nothing. Compose itself runs a job that has ended once more.
#[track_caller]
fn expect_release(scene: &Scene, tag: &str) {
    let now = found(scene);
    for service in OF_RELEASE {
        let one = &now[service];
        assert_eq!(one.tag, tag, "{service}");
        assert_eq!(one.name, format!("/{}-{service}-1", scene.project()));
        assert_eq!(one.runs, service != "migrate", "{service}");
    }
    assert!(now["cache"].runs);
    let env_file = std::fs::read_to_string(scene.project_directory().join(".env"));
    assert_eq!(
        env_file.expect("an env file"),
        format!("APP_IMAGE_TAG={tag}\n")
    );
    let printed = scene.compose(&["up", "-d", "--pull", "never"]);
    let ended = || !found(scene)["migrate"].runs;
    scene.wait_until("the migration has ended", ended);
    assert_eq!(found(scene), now, "by hand, nothing changes: {printed}");
}

#[track_caller]
fn expect(scene: &mut Scene, present: &str, number: usize, row: &Row) -> String {
    let before = found(scene);
    let next = scene.push(&image(&format!("release{number}"), row));
    let ended = scene.deploy(&next).expect(row.outcome);
    let deployment = ended.deployment();
    let now = found(scene);
    assert_eq!(now["cache"], before["cache"]);
    let Some((code, words)) = row.cause else {
        for service in OF_RELEASE {
            assert_ne!(now[service].id, before[service].id, "{service}");
        }
        for one in deployment["services"].as_array().expect("a list") {
            assert!(one["outage_ms"].as_u64().is_some_and(|ms| ms > 0), "{one}");
            assert!(one["proof"].is_string(), "{one}");
        }
        expect_release(scene, &next);
        return next;
    };
    assert_eq!(ended.cause(), code);
    let detail = deployment["cause"]["detail"].to_string();
    assert!(detail.contains(words), "{detail}");
    assert_eq!(deployment["jobs"][0]["service"], "migrate");
    let is_job = code == "job_failed";
    assert_eq!(deployment["nothing_changed"], is_job, "{deployment:#}");
    if is_job {
        let ran = "the job `migrate` ran; cutover does not undo what it did";
        assert!(detail.contains(ran), "{detail}");
    }
    let log = deployment["log"].to_string();
    let said = format!("shopd release{number}: starting");
    assert!(log.contains(&said), "{log}");
    assert_eq!(now, before, "the very same containers");
    expect_release(scene, present);
    present.to_owned()
}

fn play(version: ComposeVersion, switch: &str, rows: &[Row]) {
    let (mut scene, mut present) = scene(version, switch);
    for (number, row) in rows.iter().enumerate() {
        present = expect(&mut scene, &present, number, row);
    }
}

const ALL: [Row; 7] = [
    JOB_FAILS,
    JOB_HANGS,
    FIRST_FAILS,
    ONE_BETWEEN_FAILS,
    GOOD,
    LAST_FAILS,
    LAST_EXITS_WHILE_WATCHED,
];

#[test]
fn all_or_nothing_whatever_fails() {
    play(ComposeVersion::Newest, "in-order", &ALL);
}

#[test]
fn all_or_nothing_whatever_fails_with_the_oldest_compose_too() {
    play(ComposeVersion::Oldest, "in-order", &ALL);
}

#[test]
fn all_or_nothing_when_all_are_switched_at_once() {
    let rows = [FIRST_FAILS, LAST_FAILS, GOOD, LAST_EXITS_WHILE_WATCHED];
    play(ComposeVersion::Newest, "together", &rows);
}
