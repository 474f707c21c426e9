//! What probes can see of a container, and what is said when they can see nothing.

use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{SERVICE, Scene, Wishes};

use super::{CUTOVER, identity};

/// A probe that goes to the only port that the container exposes.
const NO_PORT: &str = "health.http = { path = \"/healthz\", interval = \"50ms\" }\n";

#[test]
fn a_probe_that_cannot_be_sent_is_refused_before_anything_is_stopped() {
    let mut scene = Scene::new(
        CUTOVER,
        &Wishes {
            service: NO_PORT,
            ..Wishes::default()
        },
    );
    let good = scene.push(&ImageSpec::new("good"));
    let two_ports = scene.push(&ImageSpec::new("two").expose(9000));
    let next = scene.push(&ImageSpec::new("next"));
    drop(scene.deploy(&good).expect("succeeded"));
    let before = identity(&scene);

    let ended = scene.deploy(&two_ports).expect("failed");
    assert_eq!(ended.cause(), "stage_failed");
    let detail = ended.deployment()["cause"]["detail"].to_string();
    assert!(
        detail.contains("8080, 9000: set `health.http.port`"),
        "{detail}"
    );
    assert_eq!(ended.deployment()["nothing_changed"], true);
    assert_eq!(identity(&scene), before, "neither replaced nor restarted");

    let lonely = SERVICE
        .lines()
        .filter(|line| !line.contains("ports:"))
        .chain(["    network_mode: none\n"])
        .collect::<Vec<_>>()
        .join("\n");
    scene.write_compose(&lonely);
    let ended = scene.deploy(&next).expect("failed");
    assert_eq!(ended.cause(), "stage_failed");
    let detail = ended.deployment()["cause"]["detail"].to_string();
    assert!(detail.contains("network_mode: none"), "{detail}");
    assert_eq!(identity(&scene), before, "neither replaced nor restarted");
    assert_eq!(scene.containers().len(), 1, "what was staged is gone");
}
