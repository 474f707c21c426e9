//! Image lines of which more is a variable than the tag: the whole image, its registry, its owner. Only tag and digest are
//! replaced in the env file.

use cutover_testkit::engine::packages::ComposeVersion;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{Scene, Wishes};

use crate::CUTOVER;
use crate::digests::{env_file, running_images};

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
    environment: {ROLE: worker}
";

/// An image line and an env file: with `HOST` and `NAME` for the two parts of the repository, and `TAG`.
const LINES: [(&str, &str); 5] = [
    ("${APP_IMAGE}", "APP_IMAGE=HOST/NAME:TAG\n"),
    (
        "${APP_IMAGE:?set it}",
        "HUB=HOST # ours\r\nAPP_IMAGE=\"${HUB}/NAME:TAG\"\r\nLEVEL=info\r\n",
    ),
    ("${APP_IMAGE:-HOST/NAME:TAG}", ""),
    ("${APP_IMAGE-HOST/NAME}:${TAG_OF_APP}", "TAG_OF_APP=TAG\n"),
    (
        "${HUB}/${OWNER:-NAME}:${TAG_OF_APP:-latest}",
        "export HUB='HOST'\nTAG_OF_APP='TAG'\n",
    ),
];

fn scene(version: ComposeVersion) -> Scene {
    let wishes = Wishes {
        compose: PROJECT,
        service: "monitor = \"1s\"\n",
        version,
        ..Wishes::default()
    };
    Scene::new(CUTOVER, &wishes)
}

fn filled_in(scene: &Scene, text: &str, tag: &str) -> String {
    let repository = scene.repository();
    let (host, name) = repository.rsplit_once('/').expect("two parts");
    // What follows is in capitals as well.
    text.replace("TAG_OF_APP", "\u{1}")
        .replace("TAG", tag)
        .replace('\u{1}', "TAG_OF_APP")
        .replace("HOST", host)
        .replace("NAME", name)
}

/// The containers' ids with the tags that they run, by their names.
fn running(scene: &Scene) -> Vec<(String, String, String)> {
    running_images(scene, ':')
}

/// Both services run `tag`, and `docker compose up -d` by hand changes nothing.
#[track_caller]
fn expect_release(scene: &Scene, tag: &str) {
    let now = running(scene);
    assert_eq!(now.len(), 2, "{now:?}");
    assert!(now.iter().all(|(_, _, runs)| runs == tag), "{now:?}");
    scene.compose(&["up", "-d", "--pull", "never"]);
    assert_eq!(running(scene), now, "by hand, nothing changes");
}

fn each_line(version: ComposeVersion, lines: &[(&str, &str)]) {
    for &(line, settings) in lines {
        let mut scene = scene(version);
        let one = scene.push(&ImageSpec::new("one"));
        scene.write_compose(&PROJECT.replace("LINE", &filled_in(&scene, line, &one)));
        let env = |scene: &Scene, tag: &str| filled_in(scene, settings, tag);
        scene.write("project/.env", &env(&scene, &one));
        if line.contains("TAG_OF_APP:-latest") || !line.contains("TAG_OF_APP") {
            scene.compose(&["up", "-d"]);
        }
        let two = scene.push(&ImageSpec::new("two"));
        drop(scene.deploy(&two).expect("succeeded"));
        let expected = match settings {
            "" => filled_in(&scene, "APP_IMAGE=HOST/NAME:TAG\n", &two),
            _ => env(&scene, &two),
        };
        assert_eq!(env_file(&scene), expected, "{line}");
        expect_release(&scene, &two);
        let before = running(&scene);
        drop(scene.deploy(&two).expect("unchanged"));
        assert_eq!(running(&scene), before, "{line}");
        let bad = scene.push(&ImageSpec::new("bad").env("WORKER_EXIT_AT_ONCE", "1"));
        drop(scene.deploy(&bad).expect("rolled_back"));
        assert_eq!(running(&scene), before, "{line}");
        assert_eq!(env_file(&scene), expected, "{line}");
        expect_release(&scene, &two);
    }
}

#[test]
fn of_an_image_in_a_variable_only_the_tag_is_replaced() {
    each_line(ComposeVersion::Newest, &LINES);
}

#[test]
fn of_an_image_in_a_variable_only_the_tag_is_replaced_with_the_oldest_compose_too() {
    // The second one has what the first one has.
    each_line(ComposeVersion::Oldest, &LINES[1..2]);
}

#[test]
fn an_image_that_no_variable_names_yet_is_refused_with_what_to_write() {
    let mut scene = scene(ComposeVersion::Newest);
    scene.write_compose(&PROJECT.replace("LINE", "${APP_IMAGE}"));
    scene.write("project/.env", "");
    let one = scene.push(&ImageSpec::new("one"));
    let ended = scene.deploy(&one).expect("failed");
    assert_eq!(ended.cause(), "invalid_compose");
    let detail = ended.deployment()["cause"]["detail"].to_string();
    let words = "set it once in the env file, for example `APP_IMAGE=ghcr.io/acme/shop:latest`";
    assert!(detail.contains(words), "{detail}");
    assert_eq!(running(&scene), []);
}
