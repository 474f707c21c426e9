//! `cutover init --fix`: image lines without a variable get one, and nothing else changes.

use std::fs;
use std::process::{Command, Output, Stdio};

use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{Scene, Wishes};

use crate::CUTOVER;

/// A project as many are: a fixed tag, once in an anchor, once in a fragment, once in an included file; and a database.
const PROJECT: &str = "\
name: {project}
include: [jobs.yaml]
x-app: &app
  image: \"REPOSITORY:1.4\"   # ours
  restart: unless-stopped
services:
  app:
    <<: *app
    ports: [\"127.0.0.1:{port}:8080\"]
  worker:
    <<: *app
  scheduler: {extends: {file: base.yaml, service: base}}
  db:
    image: postgres:16
    profiles: [never]
";
const BASE: &str = "services:\r\n  base:\r\n    image: REPOSITORY:1.4\r\n";
const JOBS: &str = "services:\n  reports: {image: REPOSITORY:1.4, profiles: [never]}";

fn scene() -> Scene {
    let wishes = Wishes {
        compose: PROJECT,
        service: "monitor = \"1s\"\n",
        ..Wishes::default()
    };
    let scene = Scene::new(CUTOVER, &wishes);
    let repository = scene.repository();
    scene.write_compose(&PROJECT.replace("REPOSITORY", &repository));
    for (name, text) in [("base.yaml", BASE), ("jobs.yaml", JOBS)] {
        let text = text.replace("REPOSITORY", &repository);
        scene.write(&format!("project/{name}"), &text);
    }
    scene
}

fn fix(scene: &Scene, options: &[&str]) -> Output {
    Command::new(CUTOVER)
        .args(["init", "--fix", "--directory"])
        .arg(scene.project_directory())
        .arg("--output")
        .arg(scene.dir().join("init"))
        .args(options)
        .env("DOCKER_HOST", &cutover_testkit::world().docker_host)
        .env("DOCKER_CONFIG", &cutover_testkit::world().docker_config)
        .stdin(Stdio::null())
        .output()
        .expect("it starts")
}

fn files(scene: &Scene) -> [String; 3] {
    ["compose.yaml", "base.yaml", "jobs.yaml"].map(|name| {
        let path = scene.project_directory().join(name);
        fs::read_to_string(path).expect("readable")
    })
}

#[test]
fn a_fixed_tag_becomes_the_default_of_a_variable_and_the_project_can_be_deployed() {
    let mut scene = scene();
    let before = files(&scene);
    // Nobody is there to be asked.
    let shown = fix(&scene, &[]);
    assert_eq!(shown.status.code(), Some(2));
    let diff = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert_eq!(diff.matches("\n+").count(), 6, "{diff}");
    assert!(String::from_utf8_lossy(&shown.stderr).contains("--yes"));
    assert_eq!(files(&scene), before);

    let fixed = fix(&scene, &["--yes"]);
    let said = String::from_utf8_lossy(&fixed.stderr);
    assert_eq!(fixed.status.code(), Some(0), "{said}");
    let after = files(&scene);
    for (before, after) in before.iter().zip(&after) {
        let undone = after.replace("${APP_IMAGE_TAG:-1.4}", "1.4");
        // Between braces, the value had to be quoted.
        let without_quotes = |text: &str| text.replace('"', "");
        assert_eq!(without_quotes(&undone), without_quotes(before));
    }
    assert_eq!(
        fix(&scene, &["--yes"]).status.code(),
        Some(0),
        "there is nothing left to do"
    );
    assert_eq!(files(&scene), after);

    let two = scene.push(&ImageSpec::new("two"));
    let ended = scene.deploy(&two).expect("succeeded");
    let services = ended.deployment()["services"].as_array().expect("a list");
    assert_eq!(services.len(), 3, "{services:?}");
}

#[test]
fn where_compose_reads_another_project_afterwards_every_file_is_as_it_was() {
    let scene = scene();
    // The variable has a value already, which would take the place of the tag.
    scene.write("project/.env", "APP_IMAGE_TAG=9\n");
    let before = files(&scene);
    let refused = fix(&scene, &["--yes"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("is APP_IMAGE_TAG set already?"), "{said}");
    assert_eq!(files(&scene), before);
}

#[test]
fn where_several_images_can_be_meant_the_services_must_be_named() {
    let scene = scene();
    let text = fs::read_to_string(scene.project_directory().join("compose.yaml"));
    let text = text.expect("readable");
    scene.write(
        "project/compose.yaml",
        &format!("{text}  grafana:\n    image: grafana/grafana:11.2.0\n"),
    );
    let before = files(&scene);
    let refused = fix(&scene, &["--yes"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("--service NAME"), "{said}");
    assert_eq!(files(&scene), before);
    let fixed = fix(&scene, &["--yes", "--service", "app"]);
    assert_eq!(fixed.status.code(), Some(0));
    let after = files(&scene).concat();
    assert!(after.contains("image: grafana/grafana:11.2.0\n"));
    assert_eq!(after.matches("${APP_IMAGE_TAG:-1.4}").count(), 3);
}
