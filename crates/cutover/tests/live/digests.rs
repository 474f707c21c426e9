//! Image lines whose variable is the digest, or its hexadecimal part: a request names a tag as always, and Compose and the
//! env file get the digest that the tag means.

use cutover_testkit::engine::packages::ComposeVersion;
use cutover_testkit::faults::Fault;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{Scene, Wishes};
use serde_json::Value;

use crate::tags::use_containerds_store;
use crate::{CUTOVER, newest_ended, on_own_engine, said};

/// Two services of one image, of which one sees the env file.
const PROJECT: &str = "\
name: {project}
services:
  app:
    image: LINE
    restart: unless-stopped
    environment: {ROLE: app}
    env_file: .env
    ports: [\"127.0.0.1:{port}:8080\"]
  worker:
    image: LINE
    restart: unless-stopped
    environment: {ROLE: worker, RELEASE: \"${APP_DIGEST:-}\"}
";

/// An image line and an env file: with `IMAGE` for the repository, `DIGEST` and its part `HEX`.
const LINES: [(&str, &str); 4] = [
    ("IMAGE@${APP_DIGEST}", "APP_DIGEST=DIGEST\n"),
    (
        "${HUB}/shop:1.2@sha256:${APP_DIGEST:?set it}",
        "HUB=HOST # ours\r\nexport APP_DIGEST=\"HEX\"\r\nLEVEL=info\r\n",
    ),
    ("IMAGE@${APP_DIGEST:-DIGEST}", ""),
    ("IMAGE:1.2@$APP_DIGEST", "LEVEL=info\nAPP_DIGEST='DIGEST'"),
];

fn wishes() -> Wishes<'static> {
    Wishes {
        compose: PROJECT,
        service: "monitor = \"1s\"\n",
        ..Wishes::default()
    }
}

/// A release in the registry.
struct Pushed {
    tag: String,
    digest: String,
}

fn push(scene: &mut Scene, spec: &ImageSpec) -> Pushed {
    let tag = scene.push(spec);
    let digest = scene.registry.digest("shop", &tag).expect("an answer");
    Pushed {
        tag,
        digest: digest.expect("it was pushed"),
    }
}

fn broken(scene: &mut Scene) -> Pushed {
    push(
        scene,
        &ImageSpec::new("bad").env("WORKER_EXIT_AT_ONCE", "1"),
    )
}

fn filled_in(scene: &Scene, text: &str, digest: &str) -> String {
    let repository = scene.repository();
    let (host, _) = repository.rsplit_once('/').expect("two parts");
    // The name of the variable is in capitals as well.
    text.replace("APP_DIGEST", "\u{1}")
        .replace("DIGEST", digest)
        .replace("HEX", digest.trim_start_matches("sha256:"))
        .replace("IMAGE", &repository)
        .replace("HOST", host)
        .replace('\u{1}', "APP_DIGEST")
}

/// The containers' ids with the digests that they run, by their names.
fn running(scene: &Scene) -> Vec<(String, String, String)> {
    running_images(scene, '@')
}

/// The same with what stands behind `separator` in the references of their images.
pub(crate) fn running_images(scene: &Scene, separator: char) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |one: &Value| {
        let image = text(&one["Config"]["Image"]);
        let behind = image.rsplit(separator).next().unwrap_or_default();
        (text(&one["Name"]), text(&one["Id"]), behind.to_owned())
    };
    let mut all: Vec<_> = scene.containers().iter().map(of).collect();
    all.sort();
    all
}

pub(crate) fn env_file(scene: &Scene) -> String {
    std::fs::read_to_string(scene.project_directory().join(".env")).unwrap_or_default()
}

/// Both services run this release, the env file is as `expected`, and `docker compose up -d` by hand changes nothing.
#[track_caller]
fn expect_release(scene: &Scene, release: &Pushed, expected: &str) {
    let now = running(scene);
    assert_eq!(now.len(), 2, "{now:?}");
    let runs = |(_, _, digest): &(_, _, String)| *digest == release.digest;
    assert!(now.iter().all(runs), "{now:?}");
    assert_eq!(env_file(scene), expected);
    scene.compose(&["up", "-d", "--pull", "never"]);
    assert_eq!(running(scene), now, "by hand, nothing changes");
}

#[track_caller]
fn expect_unchanged(scene: &Scene, release: &Pushed) {
    let before = running(scene);
    let configuration = scene.configuration().display().to_string();
    let plan = [
        "plan",
        "app",
        &release.tag,
        "--config",
        &configuration,
        "--json",
    ];
    let plan: Value = serde_json::from_str(&scene.run(&plan).stdout).expect("a plan");
    assert_eq!(plan["strategy"], "unchanged", "{plan:#}");
    let check = scene.run(&["check", "--config", &configuration]);
    let words = "APP_DIGEST keeps the digest in";
    assert!(check.stdout.contains(words), "{check:#?}");
    drop(scene.deploy(&release.tag).expect("unchanged"));
    assert_eq!(running(scene), before);
}

fn one_line(wishes: &Wishes<'_>, line: &str, settings: &str) {
    let mut scene = Scene::new(CUTOVER, wishes);
    let one = push(&mut scene, &ImageSpec::new("one"));
    scene.write_compose(&PROJECT.replace("LINE", &filled_in(&scene, line, &one.digest)));
    let env = |scene: &Scene, release: &Pushed| match settings {
        "" => filled_in(scene, "APP_DIGEST=DIGEST\n", &release.digest),
        _ => filled_in(scene, settings, &release.digest),
    };
    let first = filled_in(&scene, settings, &one.digest);
    scene.write("project/.env", &first);
    scene.compose(&["up", "-d"]);
    let (before, bad) = (running(&scene), broken(&mut scene));
    drop(scene.deploy(&bad.tag).expect("rolled_back"));
    assert_eq!(running(&scene), before, "{line}");
    expect_release(&scene, &one, &first);

    let two = push(&mut scene, &ImageSpec::new("two"));
    drop(scene.deploy(&two.tag).expect("succeeded"));
    let expected = env(&scene, &two);
    expect_release(&scene, &two, &expected);
    expect_unchanged(&scene, &two);
    let (before, bad) = (running(&scene), broken(&mut scene));
    drop(scene.deploy(&bad.tag).expect("rolled_back"));
    assert_eq!(running(&scene), before, "{line}");
    expect_release(&scene, &two, &expected);

    let three = push(&mut scene, &ImageSpec::new("three"));
    drop(scene.deploy(&three.tag).expect("succeeded"));
    expect_release(&scene, &three, &env(&scene, &three));
    scene.registry.stop().expect("a stop");
    let back = scene.run(&["rollback", "app", "--json"]);
    drop(back.expect("succeeded"));
    expect_release(&scene, &two, &expected);
}

#[test]
fn of_an_image_line_with_a_digest_variable_the_digest_is_replaced() {
    for (line, settings) in LINES {
        one_line(&wishes(), line, settings);
    }
}

#[test]
fn of_an_image_line_with_a_digest_variable_the_digest_is_replaced_with_the_oldest_compose_too() {
    for (line, settings) in &LINES[..2] {
        let wishes = Wishes {
            version: ComposeVersion::Oldest,
            ..wishes()
        };
        one_line(&wishes, line, settings);
    }
}

/// A tag that was pushed again means another image. The digest means the same one.
fn a_moved_tag(wishes: &Wishes<'_>) {
    let scene = Scene::new(CUTOVER, wishes);
    let (line, settings) = LINES[0];
    scene.write_compose(&PROJECT.replace("LINE", &filled_in(&scene, line, "")));
    scene.write("project/.env", "");
    let tag = "a".repeat(40);
    let push = |spec: &ImageSpec| {
        let own = spec.clone().label("scene", scene.project());
        scene.registry.push("shop", &tag, &own).expect("a push")
    };
    let good = Pushed {
        digest: push(&ImageSpec::new("good")),
        tag: tag.clone(),
    };
    drop(scene.deploy(&tag).expect("succeeded"));
    let expected = filled_in(&scene, settings, &good.digest);
    expect_release(&scene, &good, &expected);
    push(&ImageSpec::new("bad").env("WORKER_EXIT_AT_ONCE", "1"));
    drop(scene.deploy(&tag).expect("rolled_back"));
    expect_release(&scene, &good, &expected);
}

#[test]
fn after_a_rollback_the_digest_is_found_although_the_tag_was_moved() {
    a_moved_tag(&wishes());
}

#[test]
fn digests_are_found_in_the_image_store_of_containerd_too() {
    on_own_engine(|engine| {
        use_containerds_store(engine);
        let socket = engine.socket();
        let wishes = Wishes {
            docker: Some(&socket),
            ..wishes()
        };
        one_line(&wishes, LINES[1].0, LINES[1].1);
        a_moved_tag(&wishes);
    });
}

/// The registry serves the image of each platform under one digest.
#[test]
fn the_digest_is_that_of_the_image_for_all_platforms() {
    let scene = Scene::new(CUTOVER, &wishes());
    let line = filled_in(&scene, "IMAGE@${APP_DIGEST}\n    platform: linux/s390x", "");
    scene.write_compose(&PROJECT.replace("LINE", &line));
    scene.write("project/.env", "");
    let tag = "a".repeat(40);
    let own = |spec: ImageSpec| spec.label("scene", scene.project());
    // The program inside is this machine's own, so that it runs whatever the image claims to be for.
    let foreign = own(ImageSpec::new("foreign").architecture("s390x"));
    let members = [own(ImageSpec::new("own")), foreign];
    let digest = scene.registry.push_index("shop", &tag, &members);
    let digest = digest.expect("an index");
    drop(scene.deploy(&tag).expect("succeeded"));
    let release = Pushed { tag, digest };
    let expected = format!("APP_DIGEST={}\n", release.digest);
    expect_release(&scene, &release, &expected);
    expect_unchanged(&scene, &release);
}

#[test]
fn lines_in_which_the_digest_is_not_clear_are_refused_with_what_to_write() {
    let mut scene = Scene::new(CUTOVER, &wishes());
    let one = push(&mut scene, &ImageSpec::new("one"));
    let digest = &one.digest;
    for (app, worker, words) in [
        (
            "IMAGE:${TAG}@${APP_DIGEST}",
            "IMAGE:${TAG}@${APP_DIGEST}",
            "has a variable for its tag, TAG, and one for its digest, APP_DIGEST",
        ),
        (
            "IMAGE@DIGEST",
            "IMAGE@DIGEST",
            "is pinned to a digest that is written out",
        ),
        (
            "IMAGE@sha256:${A}${B}",
            "IMAGE@sha256:${A}${B}",
            "which is more than one variable",
        ),
        (
            "IMAGE@${APP_DIGEST}",
            "HOST/worker@${APP_DIGEST}",
            "the images of the services `app` and `worker` are of two repositories and take their digest from one variable, APP_DIGEST",
        ),
    ] {
        let compose = PROJECT.replacen("LINE", &filled_in(&scene, app, digest), 1);
        scene.write_compose(&compose.replace("LINE", &filled_in(&scene, worker, digest)));
        let settings = format!("TAG=1\nA=1\nB=2\nAPP_DIGEST={digest}\n");
        scene.write("project/.env", &settings);
        let ended = scene.deploy(&one.tag).expect("failed");
        assert_eq!(ended.cause(), "invalid_compose", "{app}");
        let said = said(ended.deployment());
        assert!(said.contains(words), "{said}");
        assert_eq!((running(&scene), env_file(&scene)), (Vec::new(), settings));
    }
}

/// One service, which does not see the env file: that is written after the commit.
const ALONE: &str = "\
name: {project}
services:
  app:
    image: LINE
    restart: unless-stopped
    ports: [\"127.0.0.1:{port}:8080\"]
    volumes: [\"./page.txt:/page.txt:ro\"]
";

/// A scene in which `one` runs alone.
fn alone() -> (Scene, Pushed) {
    let mut scene = Scene::new(CUTOVER, &wishes());
    scene.write("project/page.txt", "a page");
    let line = filled_in(&scene, "IMAGE@${APP_DIGEST}", "");
    scene.write_compose(&ALONE.replace("LINE", &line));
    let one = push(&mut scene, &ImageSpec::new("one"));
    drop(scene.deploy(&one.tag).expect("succeeded"));
    let expected = format!("APP_DIGEST={}\n", one.digest);
    assert_eq!(env_file(&scene), expected);
    (scene, one)
}

#[test]
fn a_daemon_that_died_after_the_commit_writes_the_digest_when_it_is_back() {
    let (mut scene, _) = alone();
    let two = push(&mut scene, &ImageSpec::new("two"));
    // The first update makes Docker start the old one after a power cut, the second is that of the clean-up.
    let updates = std::sync::atomic::AtomicUsize::new(0);
    let is_later = move |call: &str| {
        let order = std::sync::atomic::Ordering::Relaxed;
        call.ends_with("/update") && updates.fetch_add(1, order) > 0
    };
    scene.docker.arm_every(is_later, Fault::StrikeBefore);
    drop(scene.begin(&two.tag));
    scene.wait_until("the clean-up is struck", || scene.docker.struck() > 0);
    scene.docker.disarm();
    scene.start_daemon();
    let ended = newest_ended(&scene);
    assert_eq!(ended["outcome"], "succeeded", "{ended:#}");
    let now = running(&scene);
    assert_eq!(now.len(), 1);
    assert_eq!(now[0].2, two.digest);
    assert_eq!(env_file(&scene), format!("APP_DIGEST={}\n", two.digest));
    scene.compose(&["up", "-d", "--pull", "never"]);
    assert_eq!(running(&scene), now, "by hand, nothing changes");
}

#[test]
fn the_previous_image_comes_back_by_its_digest_where_its_container_cannot_be_started() {
    let (mut scene, one) = alone();
    let before = running(&scene);
    let project = scene.project_directory();
    std::fs::rename(project.join("page.txt"), project.join("moved.txt")).expect("moved");
    let line = filled_in(&scene, "IMAGE@${APP_DIGEST}", "");
    scene.write_compose(&ALONE.replace("LINE", &line).replace("./page", "./moved"));
    let bad = push(&mut scene, &ImageSpec::new("bad").env("EXIT_AT_ONCE", "1"));
    let ended = scene.deploy(&bad.tag).expect("rolled_back");
    let said = said(ended.deployment());
    assert!(said.contains("previous image"), "{said}");
    let now = running(&scene);
    assert_ne!(now, before);
    assert_eq!((now.len(), &now[0].2), (1, &one.digest));
    scene.compose(&["up", "-d", "--pull", "never"]);
    assert_eq!(running(&scene), now, "by hand, nothing changes");
}

#[test]
fn a_job_of_the_release_runs_in_the_image_of_the_digest() {
    let mut scene = Scene::new(CUTOVER, &wishes());
    let line = filled_in(&scene, "IMAGE@${APP_DIGEST}", "");
    let job = "  migrate:\n    image: LINE\n    environment: {ROLE: migrate, MIGRATE_EXIT_AT_ONCE: \"0\"}\n";
    let waits = "    depends_on: {migrate: {condition: service_completed_successfully}}\n";
    let compose = format!("{ALONE}{waits}{job}");
    scene.write_compose(&compose.replace("LINE", &line));
    scene.write("project/page.txt", "a page");
    let (one, two) = (
        push(&mut scene, &ImageSpec::new("one")),
        push(&mut scene, &ImageSpec::new("two")),
    );
    for release in [&one, &two] {
        let ended = scene.deploy(&release.tag).expect("succeeded");
        let jobs = &ended.deployment()["jobs"];
        assert_eq!(jobs[0]["service"], "migrate", "{jobs:#}");
        let expected = format!("APP_DIGEST={}\n", release.digest);
        expect_release(&scene, release, &expected);
    }
    drop(scene.deploy(&two.tag).expect("unchanged"));
    let back = scene
        .run(&["rollback", "app", "--json"])
        .expect("succeeded");
    assert_eq!(back.deployment()["jobs"], serde_json::json!([]));
    assert_eq!(scene.serves(), "one");
    assert_eq!(env_file(&scene), format!("APP_DIGEST={}\n", one.digest));
}
