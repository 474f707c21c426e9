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

/// A service that nothing outside of its container reaches.
const LONELY: &str = "name: {project}\nservices:\n  app:\n    image: {image}\n    network_mode: none\n    tmpfs: [/run]\n";

#[test]
fn a_command_in_the_container_proves_a_release_that_nothing_outside_reaches() {
    for (file, outcome) in [
        ("/proc/1/status", "succeeded"),
        ("/run/ready", "rollback_failed"),
    ] {
        let service = format!(
            "health.command = [\"/shopd\", \"cat\", \"{file}\"]\nhealthy_deadline = \"5s\"\n"
        );
        let mut scene = Scene::new(
            CUTOVER,
            &Wishes {
                compose: LONELY,
                service: &service,
                ..Wishes::default()
            },
        );
        let one = scene.push(&ImageSpec::new("one"));
        let ended = scene.deploy(&one).expect(outcome);
        let text = ended.deployment().to_string();
        match outcome {
            "succeeded" => assert!(text.contains("the command `/shopd` in it"), "{text}"),
            _ => assert!(
                text.contains("`/shopd` in the container: exit code"),
                "{text}"
            ),
        }
    }
}

#[test]
fn a_release_is_asked_by_the_way_that_users_come_in() {
    let mut scene = Scene::usual(CUTOVER);
    let (good, bad) = (
        scene.push(&ImageSpec::new("good")),
        scene.push(&ImageSpec::new("bad")),
    );
    let asking = |scene: &mut Scene, path: &str| {
        let probe = format!(
            "health.http = {{ url = \"http://{}{path}\", interval = \"50ms\" }}\nhealthy_deadline = \"5s\"\n",
            scene.address()
        );
        let configuration = std::fs::read_to_string(scene.configuration()).expect("readable");
        let before = configuration
            .lines()
            .filter(|line| !line.starts_with("health") && !line.starts_with("healthy"))
            .map(|line| format!("{line}\n"))
            .collect::<String>();
        let section = "[services.app]\n";
        scene.write(
            "cutover.toml",
            &before.replace(section, &format!("{section}{probe}")),
        );
        scene.stop_daemon();
        scene.start_daemon();
    };
    asking(&mut scene, "/healthz");
    let ended = scene.deploy(&good).expect("succeeded");
    let text = ended.deployment().to_string();
    assert!(text.contains("a probe of http://"), "{text}");
    asking(&mut scene, "/nowhere");
    let ended = scene.deploy(&bad).expect("rolled_back");
    let detail = ended.deployment()["cause"]["detail"].to_string();
    assert!(detail.contains("/nowhere: status 404"), "{detail}");
}
