//! After a rollback the tag means the image that runs, and not the one that failed; and the answer says that the
//! registry sees it otherwise.

use cutover_testkit::engine::Engine;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{HTTP_PROBE, Scene, Wishes};

use crate::{CUTOVER, identity, on_own_engine};

/// A tag that moves, as the service allows it.
const MOVING: &str = "stable";

/// The tag of a commit, which somebody pushes twice.
const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

fn expect_the_tag_restored(scene: &Scene, tag: &str) {
    let push = |spec: &ImageSpec| scene.registry.push("shop", tag, spec).expect("a push");
    push(&ImageSpec::new("good"));
    drop(scene.deploy(tag).expect("succeeded"));
    let (image, before) = (scene.container()["Image"].clone(), identity(scene).0);
    let digest = push(&ImageSpec::new("bad").env("EXIT_AT_ONCE", "1"));
    let ended = scene.deploy(tag).expect("rolled_back");
    let reference = format!("{}:{tag}", scene.repository());
    let found = scene.ask_docker(&format!("/images/{reference}/json"));
    let found = found.map(|found| found["Id"].clone());
    assert_eq!(found.as_ref(), Some(&image), "what {reference} means now");
    let events = ended.deployment()["events"].as_array().expect("events");
    let warns = |message: &str| message.contains("registry") && message.contains(&reference);
    let warned = events.iter().filter(|event| event["kind"] == "warned");
    let mut messages = warned.filter_map(|event| event["message"].as_str());
    assert!(messages.any(warns), "no word of {digest}: {events:#?}");
    // What somebody types finds the release that runs.
    scene.compose(&["up", "-d", "--pull", "never"]);
    assert_eq!(identity(scene).0, before);
    assert_eq!(scene.serves(), "good");
}

fn expect_tags_restored(wishes: &Wishes<'_>) {
    let service = format!("{HTTP_PROBE}tag_pattern = \"{MOVING}\"\n");
    let wishes = Wishes {
        service: &service,
        ..wishes.clone()
    };
    let scene = Scene::new(CUTOVER, &wishes);
    expect_the_tag_restored(&scene, SHA);
    expect_the_tag_restored(&scene, MOVING);
}

#[test]
fn after_a_rollback_the_tag_means_the_image_that_runs_again() {
    expect_tags_restored(&Wishes::default());
}

#[test]
fn after_a_rollback_the_tag_means_the_image_that_runs_again_in_the_image_store_of_containerd_too() {
    on_own_engine(|engine| {
        use_containerds_store(engine);
        let socket = engine.socket();
        expect_tags_restored(&Wishes {
            docker: Some(&socket),
            ..Wishes::default()
        });
    });
}

pub(crate) fn use_containerds_store(engine: &mut Engine) {
    engine.stop().expect("a stop");
    let settings = r#"{"features":{"containerd-snapshotter":true}}"#;
    std::fs::write(engine.dir().join("daemon.json"), settings).expect("settings");
    engine.restart().expect("Docker comes back");
    let info = engine.get("/info").expect("an answer");
    let info = String::from_utf8_lossy(&info).into_owned();
    assert!(info.contains("io.containerd.snapshotter"), "{info}");
}
