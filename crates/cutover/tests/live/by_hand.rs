//! What an operator does by hand: roll back, pause, cancel, plan, check.

use cutover_testkit::engine::packages::ComposeVersion;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::Scene;

use crate::{CUTOVER, identity};

#[test]
fn a_rollback_by_hand_needs_no_registry() {
    let mut scene = Scene::usual(CUTOVER);
    let one = scene.push(&ImageSpec::new("one"));
    let two = scene.push(&ImageSpec::new("two"));
    drop(scene.deploy(&one).expect("succeeded"));
    drop(scene.deploy(&two).expect("succeeded"));
    scene.registry.stop().expect("a stop");
    drop(
        scene
            .run(&["rollback", "app", "--json"])
            .expect("succeeded"),
    );
    assert_eq!(scene.serves(), "one");
    let first = scene.history().last().expect("a deployment")["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let ended = scene
        .run(&["rollback", "app", "--to", &first, "--json"])
        .expect("unchanged");
    assert_eq!(ended.deployment()["rollback_to"], first.as_str());
}

/// What somebody stopped because it is broken is not what they want back.
#[test]
fn a_rollback_of_a_service_that_was_stopped_goes_to_the_release_before() {
    let mut scene = Scene::usual(CUTOVER);
    let (one, two) = (
        scene.push(&ImageSpec::new("one")),
        scene.push(&ImageSpec::new("two")),
    );
    drop(scene.deploy(&one).expect("succeeded"));
    drop(scene.deploy(&two).expect("succeeded"));
    let broken = scene.container()["Id"].as_str().expect("an id").to_owned();
    drop(scene.call_docker("POST", &format!("/containers/{broken}/stop")));
    let ended = scene.run(&["rollback", "app", "--json"]);
    drop(ended.expect("succeeded"));
    assert_eq!(scene.serves(), "one");
}

#[test]
fn a_service_without_an_earlier_release_cannot_be_rolled_back() {
    let mut scene = Scene::usual(CUTOVER);
    let one = scene.push(&ImageSpec::new("one"));
    drop(scene.deploy(&one).expect("succeeded"));
    let before = identity(&scene);
    let ended = scene.run(&["rollback", "app", "--json"]);
    assert_eq!(
        (ended.exit, ended.body["code"].as_str()),
        (1, Some("no_release")),
        "{ended:#?}"
    );
    assert_eq!(identity(&scene), before);
}

#[test]
fn old_images_go_and_the_last_releases_stay() {
    let mut scene = Scene::usual(CUTOVER);
    let shas: Vec<_> = (1..=5)
        .map(|number| scene.push(&ImageSpec::new(&format!("release {number}"))))
        .collect();
    let bad = scene.push(&ImageSpec::new("bad").env("EXIT_AT_ONCE", "1"));
    for sha in &shas {
        drop(scene.deploy(sha).expect("succeeded"));
    }
    drop(scene.deploy(&bad).expect("rolled_back"));
    let has = |sha: &str| {
        let reference = format!("{}:{sha}", scene.repository());
        scene
            .ask_docker(&format!("/images/{reference}/json"))
            .is_some()
    };
    scene.wait_until("old images are gone", || {
        !has(&shas[0]) && !has(&shas[1]) && !has(&bad)
    });
    assert!(
        has(&shas[2]) && has(&shas[3]) && has(&shas[4]),
        "keep_releases is three"
    );
}

#[test]
fn a_paused_service_refuses_and_a_resumed_one_accepts() {
    let mut scene = Scene::usual(CUTOVER);
    let one = scene.push(&ImageSpec::new("one"));
    assert_eq!(scene.run(&["pause", "app", "--why", "stocktaking"]).exit, 0);
    let ended = scene.deploy(&one);
    assert_eq!(
        (ended.exit, ended.body["code"].as_str()),
        (1, Some("paused")),
        "{ended:#?}"
    );
    assert!(
        ended.stderr.contains("stocktaking") || ended.stdout.contains("stocktaking"),
        "{ended:#?}"
    );
    assert!(scene.run(&["status"]).stdout.contains("stocktaking"));
    assert_eq!(scene.run(&["resume", "app"]).exit, 0);
    drop(scene.deploy(&one).expect("succeeded"));
}

#[test]
fn a_plan_touches_nothing_and_a_check_finds_everything_in_order() {
    let mut scene = Scene::usual(CUTOVER);
    let one = scene.push(&ImageSpec::new("one"));
    let two = scene.push(&ImageSpec::new("two"));
    drop(scene.deploy(&one).expect("succeeded"));
    let before = identity(&scene);
    let configuration = scene.configuration().display().to_string();
    let plan = scene.run(&["plan", "app", &two, "--config", &configuration]);
    assert_eq!(plan.exit, 0, "{plan:#?}");
    assert!(
        plan.stdout.contains("stop-first") && plan.stdout.contains("publish a port"),
        "{}",
        plan.stdout
    );
    let missing = scene.run(&["plan", "app", &"e".repeat(40), "--config", &configuration]);
    assert_eq!(missing.exit, 1, "{missing:#?}");
    assert!(
        missing.stdout.contains("image_not_found"),
        "{}",
        missing.stdout
    );
    let check = scene.run(&["check", "--config", &configuration]);
    assert_eq!(check.exit, 0, "{check:#?}");
    assert_eq!(identity(&scene), before);
    assert_eq!(scene.containers().len(), 1);
}

#[test]
fn a_check_finds_one_container_under_two_names() {
    let scene = Scene::usual(CUTOVER);
    // The name of the project is in the file, so only Compose can tell that the copy means the same one.
    let project = scene.project_directory();
    let copy = scene.dir().join("copy.yaml");
    std::fs::copy(project.join("compose.yaml"), &copy).expect("a copy");
    let mut text = std::fs::read_to_string(scene.configuration()).expect("a configuration");
    let again = format!(
        "[services.again]\nproject_directory = {project:?}\ncompose_files = [{copy:?}]\ncompose_service = \"app\"\n"
    );
    text.push_str(&again);
    let configuration = scene.dir().join("twice.toml");
    std::fs::write(&configuration, text).expect("writes");
    let check = scene.run(&["check", "--config", &configuration.display().to_string()]);
    assert_eq!(check.exit, 2, "{check:#?}");
    let found = "both deploy the service `app` of the Compose project";
    assert_eq!(check.stdout.matches(found).count(), 1, "{}", check.stdout);
}

#[test]
fn what_init_writes_is_in_order() {
    let mut scene = Scene::usual(CUTOVER);
    let one = scene.push(&ImageSpec::new("one"));
    drop(scene.deploy(&one).expect("succeeded"));
    let output = tempfile::tempdir().expect("a directory");
    let at = |name: &str| output.path().join(name).display().to_string();
    let project = scene.project_directory().display().to_string();
    let world = cutover_testkit::world();
    let compose = world.compose(ComposeVersion::Newest);
    std::os::unix::fs::symlink(&compose, at("docker-compose")).expect("a link");
    let init = std::process::Command::new(CUTOVER)
        .args(["init", "--directory", &project, "--output", &at("etc")])
        .env("PATH", output.path())
        .output();
    let init = init.expect("it runs");
    assert_eq!(init.status.code(), Some(0), "{init:#?}");
    // Docker is where nobody would look for it, and so is the state of this test.
    let written = output.path().join("etc/cutover.toml");
    let mut text = std::fs::read_to_string(&written).expect("a configuration");
    let state = format!("[server]\nstate_directory = {:?}\n", at("state"));
    text = text.replace("[server]\n", &state);
    let socket = world.socket();
    // `init` found Compose in no usual place, and wrote down where.
    text = text.replace("[docker]\n", &format!("[docker]\nsocket = {socket:?}\n"));
    std::fs::write(&written, text).expect("writes");
    let configuration = written.display().to_string();
    let check = scene.run(&["check", "--config", &configuration]);
    assert_eq!(check.exit, 0, "{check:#?}");
    assert!(check.stdout.contains("stop-first"), "{}", check.stdout);
    // What `check` is for: a project that cannot be deployed is not in order.
    scene.write_compose("services: [");
    let check = scene.run(&["check", "--config", &configuration]);
    assert_eq!(check.exit, 2, "{check:#?}");
}
