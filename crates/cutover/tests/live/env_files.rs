//! The env file that holds the tag may be read or mounted by the service itself: its container has the new tag, and
//! `docker compose up -d` by hand finds nothing to change.

use cutover_testkit::engine::packages::ComposeVersion;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{SERVICE, Scene, Wishes};

use crate::{CUTOVER, identity};

/// How a service gets to see the env file.
const READERS: [&str; 3] = [
    "    env_file: .env\n",
    "    volumes: [\"./.env:/settings:ro\"]\n",
    "    volumes: [\".:/project:ro\"]\n",
];

fn scene(reader: &str, version: ComposeVersion) -> Scene {
    let compose = format!("{SERVICE}{reader}");
    Scene::new(
        CUTOVER,
        &Wishes {
            compose: &compose,
            version,
            ..Wishes::default()
        },
    )
}

fn env_file(scene: &Scene) -> String {
    let path = scene.project_directory().join(".env");
    std::fs::read_to_string(path).unwrap_or_default()
}

fn expect_tag(scene: &Scene, reader: &str, tag: &str) {
    let line = format!("APP_IMAGE_TAG={tag}");
    let text = env_file(scene);
    assert!(text.contains(&format!("APP_IMAGE_TAG='{tag}'")), "{text}");
    if reader.contains("env_file") {
        let container = scene.container();
        let env = container["Config"]["Env"].as_array().expect("a list");
        assert!(env.contains(&line.as_str().into()), "{line}: {env:?}");
    }
    let before = identity(scene);
    let told = scene.compose(&["up", "-d", "--pull", "never"]);
    assert_eq!(identity(scene), before, "{reader}: {told}");
}

#[test]
fn a_service_that_sees_the_env_file_sees_the_tag_of_its_release() {
    expect_own_tag(ComposeVersion::Newest);
}

#[test]
fn a_service_that_sees_the_env_file_sees_the_tag_of_its_release_with_the_oldest_compose_too() {
    expect_own_tag(ComposeVersion::Oldest);
}

fn expect_own_tag(version: ComposeVersion) {
    for reader in READERS {
        let mut scene = scene(reader, version);
        let before = "A=1\nAPP_IMAGE_TAG='v0' # the release";
        scene.write("project/.env", before);
        let bad = scene.push(&ImageSpec::new("bad").env("EXIT_AT_ONCE", "1"));
        // There is nothing to go back to; the file is as it was all the same.
        drop(scene.deploy(&bad).expect("rollback_failed"));
        assert_eq!(env_file(&scene), before, "{reader}");
        assert_eq!(scene.run(&["resume", "app"]).exit, 0);

        let one = scene.push(&ImageSpec::new("one"));
        drop(scene.deploy(&one).expect("succeeded"));
        expect_tag(&scene, reader, &one);
        drop(scene.deploy(&one).expect("unchanged"));

        let two = scene.push(&ImageSpec::new("two"));
        drop(scene.deploy(&two).expect("succeeded"));
        expect_tag(&scene, reader, &two);
        drop(scene.deploy(&two).expect("unchanged"));

        drop(scene.deploy(&bad).expect("rolled_back"));
        drop(scene.deploy(&"e".repeat(40)).expect("failed"));
        expect_tag(&scene, reader, &two);
        assert_eq!(env_file(&scene), before.replace("v0", &two), "{reader}");
    }
}

#[test]
fn a_line_or_a_file_that_was_not_there_goes_again() {
    for before in [Some("A=1"), Some("A=1\n"), Some(""), None] {
        let mut scene = scene(READERS[2], ComposeVersion::Newest);
        let path = scene.project_directory().join(".env");
        if let Some(text) = before {
            scene.write("project/.env", text);
        }
        let bad = scene.push(&ImageSpec::new("bad").env("EXIT_AT_ONCE", "1"));
        drop(scene.deploy(&bad).expect("rollback_failed"));
        let after = std::fs::read_to_string(&path).ok();
        assert_eq!(after.as_deref(), before);
    }
}

#[test]
fn a_service_that_does_not_see_the_env_file_finds_the_proven_release_in_it_until_the_commit() {
    let mut scene = scene("", ComposeVersion::Newest);
    let one = scene.push(&ImageSpec::new("one"));
    let slow = scene.push(&ImageSpec::new("slow").env("START_DELAY_MS", "600000"));
    drop(scene.deploy(&one).expect("succeeded"));
    let client = scene.begin(&slow);
    scene.wait_until("the new release is being verified", || {
        scene.history()[0]["status"] == "verifying"
    });
    assert_eq!(env_file(&scene), format!("APP_IMAGE_TAG={one}\n"));
    scene.kill_daemon();
    scene.start_daemon();
    // It attaches again, and sees the end.
    let ended = client.wait_with_output().expect("an end");
    assert_eq!(ended.status.code(), Some(3));
    assert_eq!(env_file(&scene), format!("APP_IMAGE_TAG={one}\n"));
}
