//! What belongs to somebody else: other containers of the service, other services of the project, another project of the
//! same files.

use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{SERVICE, Scene, Wishes};

use crate::CUTOVER;

/// A service that may run more than once.
const WITHOUT_PORT: &str =
    "name: {project}\nservices:\n  app:\n    image: {image}\n    restart: unless-stopped\n";

fn scene(compose: &str) -> Scene {
    Scene::new(
        CUTOVER,
        &Wishes {
            compose,
            ..Wishes::default()
        },
    )
}

/// What `cutover check` says.
fn check(scene: &Scene) -> String {
    let configuration = scene.configuration().display().to_string();
    scene.run(&["check", "--config", &configuration]).stdout
}

#[track_caller]
fn expect_said(said: &str, words: &[&str]) {
    for words in words {
        assert_eq!(said.matches(words).count(), 1, "{words}: {said}");
    }
}

fn id_of(scene: &Scene, name: &str) -> String {
    let all = scene.containers();
    let named = format!("/{}-{name}", scene.project());
    let found = all.iter().find(|one| one["Name"] == named.as_str());
    found.unwrap_or_else(|| panic!("no {name}"))["Id"]
        .as_str()
        .expect("an id")
        .to_owned()
}

/// The Compose file says how many there are, and not what was typed by hand.
#[test]
fn a_second_container_goes_after_the_commit_whether_it_runs_or_not() {
    for runs in [true, false] {
        let mut scene = scene(WITHOUT_PORT);
        let releases = ["one", "two"].map(|version| scene.push(&ImageSpec::new(version)));
        scene.write("project/.env", &format!("APP_IMAGE_TAG={}\n", releases[0]));
        scene.compose(&["up", "-d", "--scale", "app=2"]);
        if !runs {
            let stop = format!("/containers/{}/stop", id_of(&scene, "app-2"));
            let stopped = scene.call_docker("POST", &stop);
            assert!(stopped.is_some_and(|(status, _)| status == 204));
        }
        drop(scene.deploy(&"e".repeat(40)).expect("failed"));
        assert_eq!(scene.containers().len(), 2, "nothing was changed");
        drop(scene.deploy(&releases[1]).expect("succeeded"));
        let container = scene.container();
        assert_eq!(container["State"]["Running"], true);
        scene.compose(&["up", "-d", "--pull", "never"]);
        assert_eq!(scene.container()["Id"], container["Id"], "runs: {runs}");
    }
}

#[test]
fn a_missing_env_file_of_another_service_is_told_and_blocks_nothing() {
    let other = "  other:\n    image: nobody/has:this\n    env_file: missing.env\n";
    let mut scene = scene(&format!("{SERVICE}{other}"));
    let one = scene.push(&ImageSpec::new("one"));
    drop(scene.deploy(&one).expect("succeeded"));
    drop(scene.deploy(&one).expect("unchanged"));
    expect_said(&check(&scene), &["missing.env not found"]);
    let status = scene.run(&["status", "app"]).stdout;
    assert!(status.contains(&one), "{status}");
    // Its own is needed.
    let own = format!("{SERVICE}    env_file: own.env\n{other}");
    scene.write_compose(&own);
    let two = scene.push(&ImageSpec::new("two"));
    let refused = scene.deploy(&two).expect("failed");
    assert_eq!(refused.cause(), "invalid_compose");
    let detail = refused.deployment()["cause"]["detail"].to_string();
    assert!(detail.contains("own.env"), "{detail}");
}

#[test]
fn a_service_whose_definition_changes_with_the_tag_is_named_with_the_line_that_keeps_them_apart() {
    let neighbours = "    env_file: .env\n  worker:\n    image: {image}\n    command: [sleep]\n  db:\n    image: nobody/has:this\n    env_file: .env\n  apart:\n    image: nobody/has:this\n    env_file: .env\n    environment: {APP_IMAGE_TAG: \"\"}\n";
    let scene = scene(&format!("{SERVICE}{neighbours}"));
    scene.write("project/.env", "APP_IMAGE_TAG=v0\n");
    let said = check(&scene);
    expect_said(
        &said,
        &[
            "a release is 2 services, in this order: app, worker",
            "service `db` gets its environment from",
            "write `APP_IMAGE_TAG: \"\"`",
        ],
    );
    assert!(!said.contains("apart"), "{said}");
}

#[test]
fn another_project_of_the_same_files_is_named() {
    let mut scene = scene(&SERVICE.replace("name: {project}\n", ""));
    let one = scene.push(&ImageSpec::new("one"));
    scene.write("project/.env", &format!("APP_IMAGE_TAG={one}\n"));
    // The scene takes away what has its name in the project's.
    let live = format!("{}-live", scene.project());
    scene.compose(&["-p", &live, "up", "-d"]);
    let said = check(&scene);
    scene.compose(&["-p", &live, "down"]);
    expect_said(
        &said,
        &[
            &format!("it runs in the project `{live}`"),
            &format!("project_name = \"{live}\""),
        ],
    );
}

#[test]
fn a_job_and_an_image_that_is_none_are_refused_by_check_and_deployment() {
    let waiting = "  web:\n    image: nobody/has:this\n    depends_on: {app: {condition: service_completed_successfully}}\n";
    let mut scene = scene(&format!("{SERVICE}{waiting}"));
    let one = scene.push(&ImageSpec::new("one"));
    expect_said(&check(&scene), &["it is a job: service `web` waits"]);
    let refused = scene.deploy(&one).expect("failed");
    assert_eq!(refused.cause(), "unsupported_strategy");

    scene.write_compose(
        "name: {project}\nservices:\n  app:\n    image: ${NOWHERE}/shop:${APP_IMAGE_TAG}\n",
    );
    expect_said(&check(&scene), &["which is no image reference"]);
    let refused = scene.deploy(&one).expect("failed");
    assert_eq!(refused.cause(), "invalid_compose");
}

#[test]
fn init_takes_the_project_that_runs_and_not_the_file_with_the_default_name() {
    let mut scene = scene(SERVICE);
    let one = scene.push(&ImageSpec::new("one"));
    let directory = scene.project_directory();
    let prod = directory.join("compose.prod.yaml");
    std::fs::rename(directory.join("compose.yaml"), &prod).expect("renamed");
    let text = std::fs::read_to_string(&prod).expect("readable");
    let live = format!("{}-live", scene.project());
    std::fs::write(&prod, text.replace(scene.project(), "another")).expect("written");
    scene.write(
        "project/compose.yaml",
        "services:\n  dev:\n    image: dev:${DEV_TAG}\n",
    );
    scene.write("project/prod.env", &format!("APP_IMAGE_TAG={one}\n"));
    let prod = prod.display().to_string();
    let env_file = directory.join("prod.env").display().to_string();
    let project = ["-p", &live, "-f", &prod, "--env-file", &env_file];
    scene.compose(&[&project[..], &["up", "-d"]].concat());
    let output = scene.dir().join("init");
    let ended = std::process::Command::new(CUTOVER)
        .args(["init", "--directory"])
        .arg(&directory)
        .arg("--output")
        .arg(&output)
        .env("DOCKER_HOST", &cutover_testkit::world().docker_host)
        .env("DOCKER_CONFIG", &cutover_testkit::world().docker_config)
        .output()
        .expect("it starts");
    scene.compose(&[&project[..], &["down"]].concat());
    let said = String::from_utf8_lossy(&ended.stderr);
    let text = std::fs::read_to_string(output.join("cutover.toml"));
    let text = text.unwrap_or_else(|error| panic!("{error}: {said}"));
    expect_said(
        &text,
        &[
            "[services.app]",
            &format!("compose_files = [\"{prod}\"]"),
            &format!("project_name = \"{live}\""),
            &format!("env_files = [\"{env_file}\"]"),
            "# Docker's socket: DOCKER_HOST was set.",
        ],
    );
    assert!(!text.contains("[services.dev]"), "{text}");
}
