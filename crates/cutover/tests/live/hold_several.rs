//! Several holds at once, and one hold of several services.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Child;

use cutover_testkit::images::ImageSpec;
use cutover_testkit::load::Load;
use cutover_testkit::ports::free_port;
use cutover_testkit::scene::{Ended, Scene, Wishes};

use crate::clients::scene_as;
use crate::hold::{HELD, answers, expect_no_failure};
use crate::{CUTOVER, hold_faults};

/// Two services, each with a port of its own.
const PROJECT: &str = "\
name: {project}
services:
  app:
    image: {image}
    restart: unless-stopped
    environment: {ROLE: app}
    ports: [\"{port}:8080\"]
  worker:
    image: {worker}
    restart: unless-stopped
    environment: {ROLE: worker}
    depends_on: [app]
    ports: [\"{second}:8080\"]
";

/// Clients of each port.
const FEW: usize = 4;

/// The service `app`, and further ones in the same file.
fn scene(compose: &str, second: u16, service: &str) -> Scene {
    let compose = compose.replace("{second}", &second.to_string());
    scene_as(&Wishes {
        compose: &compose,
        service,
        ..Wishes::default()
    })
}

fn loads(all: &[(&'static str, u16)]) -> Vec<(&'static str, Load)> {
    let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let load =
        |&(name, port): &(&'static str, u16)| (name, Load::start_asking(at(port), "/version", FEW));
    all.iter().map(load).collect()
}

/// A release that boots for a while, and one that never runs; on both ways, all is held until the last one is proven.
#[test]
fn no_request_to_any_service_of_a_release_fails() {
    let compose = PROJECT.replace("{worker}", "{image}");
    for switch in ["in-order", "together"] {
        let second = free_port();
        let service = format!("{HELD}switch = \"{switch}\"\n");
        let mut scene = scene(&compose, second, &service);
        let ports = [("app", scene.address().port()), ("worker", second)];
        let good = ImageSpec::new("two").env("WORKER_START_DELAY_MS", "1000");
        let bad = ImageSpec::new("bad").env("WORKER_EXIT_AT_ONCE", "3");
        for (release, outcome) in [(good, "succeeded"), (bad, "rolled_back")] {
            let release = scene.push(&release);
            let all = answers(loads(&ports), || {
                drop(scene.deploy(&release).expect(outcome));
            });
            expect_no_failure(&all, "two");
            scene.wait_until("nothing is left", || scene.rules_of_hold().is_empty());
        }
    }
}

fn client_ended(client: Child) -> Ended {
    Ended::of(&client.wait_with_output().expect("an end"))
}

#[test]
fn no_request_fails_while_services_of_several_projects_are_deployed_at_once() {
    let mut scenes = [(); 3].map(|()| scene(hold_faults::PROJECT, 0, HELD));
    let [one, two, three] = scenes.each_ref().map(|scene| scene.address().port());
    let ports = [("first", one), ("second", two), ("third", three)];
    let releases = [
        ("two", "START_DELAY_MS", "500", "succeeded"),
        ("two", "START_DELAY_MS", "0", "succeeded"),
        ("bad", "EXIT_AT_ONCE", "3", "rolled_back"),
    ];
    let all = answers(loads(&ports), || {
        let begun = scenes.iter_mut().zip(releases).map(|(scene, release)| {
            let (version, variable, value, outcome) = release;
            let sha = scene.push(&ImageSpec::new(version).env(variable, value));
            (scene.begin(&sha), outcome)
        });
        for (client, outcome) in begun.collect::<Vec<_>>() {
            let ended = client_ended(client).expect(outcome);
            let told = ended.deployment()["events"].to_string();
            assert!(!told.contains("cannot be held"), "{told}");
        }
    });
    for (one, serves) in all.into_iter().zip(["two", "two", "one"]) {
        expect_no_failure(&vec![one], serves);
    }
    for scene in &scenes {
        scene.wait_until("nothing is left", || scene.rules_of_hold().is_empty());
    }
}

/// The two services of the project, each with a tag of its own.
fn scene_of_two(second: u16) -> Scene {
    let wishes = Wishes {
        service: HELD,
        ..Wishes::default()
    };
    let mut scene = Scene::new(CUTOVER, &wishes);
    let one = scene.push(&ImageSpec::new("one"));
    let worker = format!("{}:${{WORKER_IMAGE_TAG}}", scene.repository());
    let compose = PROJECT.replace("{worker}", &worker);
    scene.write_compose(&compose.replace("{second}", &second.to_string()));
    let tags = format!("APP_IMAGE_TAG={one}\nWORKER_IMAGE_TAG={one}\n");
    scene.write("project/.env", &tags);
    scene.compose(&["up", "-d"]);
    let text = fs::read_to_string(scene.configuration()).expect("a configuration");
    let own = text.split("[services.app]").nth(1).expect("the service");
    scene.write("cutover.toml", &format!("{text}\n[services.worker]{own}"));
    scene.kill_daemon();
    scene.start_daemon();
    scene
}

#[test]
fn no_request_fails_while_two_services_of_one_project_are_deployed_at_once() {
    let second = free_port();
    let mut scene = scene_of_two(second);
    let ports = [("app", scene.address().port()), ("worker", second)];
    let app = scene.push(&ImageSpec::new("two").env("START_DELAY_MS", "500"));
    let worker = scene.push(&ImageSpec::new("two"));
    let all = answers(loads(&ports), || {
        let first = scene.begin(&app);
        let ended = scene.run(&["deploy", "worker", &worker, "--json"]);
        drop(ended.expect("succeeded"));
        drop(client_ended(first).expect("succeeded"));
    });
    expect_no_failure(&all, "two");
    scene.wait_until("nothing is left", || scene.rules_of_hold().is_empty());
}
