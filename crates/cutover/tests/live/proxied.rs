//! Services behind a proxy, with one replica and with three: behind one that follows Docker's containers by their labels, and
//! behind nginx on the host, which knows the published ports. No request fails, whatever becomes of the release.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use cutover_testkit::images::{HealthCheck, ImageSpec};
use cutover_testkit::label_proxy::LabelProxy;
use cutover_testkit::load::{self, Asked, Load};
use cutover_testkit::nginx::Nginx;
use cutover_testkit::scene::{Scene, Wishes};

use crate::clients::{all_of, expect_none_failed, free_range, scene_of};
use crate::hold::HELD;

/// A service that a proxy finds by its labels.
const LABELED: &str = "\
name: {project}
services:
  app:
    image: {image}
    restart: unless-stopped
    stop_grace_period: 60s
    labels: {proxy.port: \"8080\", traefik.enable: \"true\"}
    deploy: {replicas: {replicas}, update_config: {order: {order}, parallelism: 2}}
";

/// A service that a proxy on the host reaches at its ports.
const PUBLISHED: &str = "\
name: {project}
services:
  app:
    image: {image}
    restart: unless-stopped
    ports: [\"127.0.0.1:{ports}:8080\"]
    deploy: {replicas: {replicas}}
";

/// Docker asks often, and believes the first bad answer: the proxy is to know at once of a container that is about to end.
const CHECKED: HealthCheck = HealthCheck {
    interval: Duration::from_millis(200),
    timeout: Duration::from_secs(10),
    start_period: Duration::from_secs(60),
    start_interval: Duration::from_millis(100),
    retries: 1,
};

/// A release that never becomes healthy fails soon.
const WATCHED: &str = "healthy_deadline = \"8s\"\nmonitor = \"300ms\"\n";

/// A release that ends soon does so while it is watched.
const LONG_WATCHED: &str = "healthy_deadline = \"8s\"\nmonitor = \"5s\"\n";

/// Clients.
const FEW: usize = 4;

/// A release that says that it is unhealthy before it ends.
fn checked(version: &str) -> ImageSpec {
    let spec = ImageSpec::new(version).health_check(CHECKED);
    spec.env("DRAINS_AT_STOP", "1")
}

/// One after the other, how each ends, and what serves then.
fn releases() -> [(ImageSpec, &'static str, &'static str); 4] {
    let with = |version, name, value| checked(version).env(name, value);
    [
        (checked("two"), "succeeded", "two"),
        (with("slow", "START_DELAY_MS", "2000"), "succeeded", "slow"),
        (with("bad", "EXIT_AT_ONCE", "3"), "rolled_back", "slow"),
        (with("ill", "NEVER_HEALTHY", "1"), "rolled_back", "slow"),
    ]
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// What clients of the proxy at this port are answered while the release is deployed.
fn deploy(scene: &mut Scene, port: u16, release: &ImageSpec, outcome: &str) -> Vec<Asked> {
    let release = scene.push(release);
    let load = Load::start_asking(at(port), "/version", FEW);
    drop(scene.deploy(&release).expect(outcome));
    load.stop()
}

/// So many containers of the service run and nothing else of it is there, and each request is answered by this release.
#[track_caller]
fn expect_serves(scene: &Scene, port: u16, version: &str, replicas: usize) {
    scene.wait_until("what is not needed is gone", || {
        all_of(scene, "app").len() == replicas
    });
    let all = all_of(scene, "app");
    let running = all.iter().filter(|one| one["State"]["Running"] == true);
    assert_eq!(running.count(), replicas);
    for _ in 0..2 * replicas {
        let answer = load::ask(at(port), "/version");
        assert_eq!(answer.expect("an answer"), version);
    }
}

fn labeled(replicas: usize, order: &str, service: &str) -> (Scene, LabelProxy) {
    let compose = LABELED
        .replace("{replicas}", &replicas.to_string())
        .replace("{order}", order);
    let wishes = Wishes {
        compose: &compose,
        service,
        ..Wishes::default()
    };
    let scene = scene_of(&wishes, &checked("one"));
    let proxy = LabelProxy::start(scene.project()).expect("a proxy");
    scene.wait_until("the proxy knows the service", || {
        load::ask(at(proxy.port()), "/version").is_ok()
    });
    (scene, proxy)
}

#[test]
fn start_first_no_request_through_a_proxy_that_follows_labels_fails() {
    for replicas in [1, 3] {
        let (mut scene, proxy) = labeled(replicas, "start-first", WATCHED);
        for (release, outcome, serves) in releases() {
            let asked = deploy(&mut scene, proxy.port(), &release, outcome);
            expect_none_failed(&asked);
            expect_serves(&scene, proxy.port(), serves, replicas);
        }
    }
}

/// The proxy sends requests to it until it hears of its end; afterwards, none fails.
#[test]
fn start_first_a_release_that_ends_while_it_is_watched_gets_no_request_afterwards() {
    for replicas in [1, 3] {
        let (mut scene, proxy) = labeled(replicas, "start-first", LONG_WATCHED);
        let dies = checked("bad").env("EXIT_AFTER_MS", "2000");
        drop(deploy(&mut scene, proxy.port(), &dies, "rolled_back"));
        let load = Load::start_asking(at(proxy.port()), "/version", FEW);
        expect_serves(&scene, proxy.port(), "one", replicas);
        expect_none_failed(&load.stop());
    }
}

/// The others serve while one ends, which says so first.
#[test]
fn no_request_through_a_proxy_that_follows_labels_to_one_of_several_replicas_fails() {
    let (mut scene, proxy) = labeled(3, "stop-first", WATCHED);
    for (release, outcome, serves) in releases() {
        let asked = deploy(&mut scene, proxy.port(), &release, outcome);
        expect_none_failed(&asked);
        expect_serves(&scene, proxy.port(), serves, 3);
    }
}

fn published(replicas: u16) -> (Scene, Nginx) {
    let ports = free_range(replicas);
    let range = match ports[..] {
        [only] => only.to_string(),
        _ => format!("{}-{}", ports[0], ports[ports.len() - 1]),
    };
    let compose = PUBLISHED
        .replace("{replicas}", &replicas.to_string())
        .replace("{ports}", &range);
    let scene = scene_of(
        &Wishes {
            compose: &compose,
            service: &format!("{HELD}healthy_deadline = \"8s\"\n"),
            ..Wishes::default()
        },
        &ImageSpec::new("one"),
    );
    let nginx = Nginx::start(&scene.dir().join("nginx"), &ports).expect("nginx");
    (scene, nginx)
}

#[test]
fn no_request_through_nginx_to_published_ports_fails() {
    for replicas in [1, 3] {
        let (mut scene, nginx) = published(replicas);
        let with = |version, name, value| ImageSpec::new(version).env(name, value);
        for (release, outcome, serves) in [
            (ImageSpec::new("two"), "succeeded", "two"),
            (with("slow", "START_DELAY_MS", "2000"), "succeeded", "slow"),
            (with("bad", "EXIT_AT_ONCE", "3"), "rolled_back", "slow"),
            (with("ill", "NEVER_HEALTHY", "1"), "rolled_back", "slow"),
        ] {
            let asked = deploy(&mut scene, nginx.port(), &release, outcome);
            expect_none_failed(&asked);
            expect_serves(&scene, nginx.port(), serves, replicas.into());
        }
        // The requests that are under way when it ends fail: at most two of each client.
        let dies = with("bad", "EXIT_AFTER_MS", "700");
        let asked = deploy(&mut scene, nginx.port(), &dies, "rolled_back");
        let failed = asked.iter().filter(|one| one.outcome.is_err()).count();
        assert!(failed <= 2 * FEW, "{failed} of {}", asked.len());
        expect_serves(&scene, nginx.port(), "slow", replicas.into());
    }
}
