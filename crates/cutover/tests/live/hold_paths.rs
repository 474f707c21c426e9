//! The hold on every way to a service: several ports, single addresses, IPv6; and the connections that are open already.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use cutover_testkit::engine::remote::Remote;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::load::{self, Asked, Load};
use cutover_testkit::ports::free_port;
use cutover_testkit::scene::{Scene, Wishes};
use cutover_testkit::world;

use crate::clients::{container, gateway, inside, scene_as};
use crate::hold::{HELD, WITHOUT_CHECK, answers, expect_no_failure};

/// A service with these ports, which answers at 8080 and 9090.
const PROJECT: &str = "\
name: {project}
services:
  app:
    image: {image}
    restart: unless-stopped
    environment: {ALSO_LISTEN: 9090}
    ports: {ports}
  client:
    image: {client}
    networks: [elsewhere]
networks:
  elsewhere:
";

/// Clients of each way.
const FEW: usize = 2;

/// Longer than any switch of these tests takes on a busy machine, and shorter than the hold.
const PROMPT: Duration = Duration::from_secs(60);

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A release, how it ends, and what serves then.
const RELEASES: [(&str, &str, &str, &str); 3] = [
    ("two", "START_DELAY_MS=0", "succeeded", "two"),
    ("slow", "START_DELAY_MS=2000", "succeeded", "slow"),
    ("bad", "EXIT_AT_ONCE=3", "rolled_back", "slow"),
];

fn scene(ports: &str, service: &str) -> Scene {
    let compose = PROJECT.replace("{ports}", ports);
    scene_as(&Wishes {
        compose: &compose,
        service,
        ..Wishes::default()
    })
}

fn few(address: SocketAddr) -> Load {
    Load::start_asking(address, "/version", FEW)
}

/// Good releases and a broken one are deployed while these clients ask, and none of them fails.
#[track_caller]
fn expect_none_fails(scene: &mut Scene, loads: impl Fn() -> Vec<(&'static str, Load)>) {
    for (version, variable, outcome, serves) in RELEASES {
        let (name, value) = variable.split_once('=').expect("a variable");
        let release = scene.push(&ImageSpec::new(version).env(name, value));
        let all = answers(loads(), || {
            let ended = scene.deploy(&release).expect(outcome);
            let told = ended.deployment()["events"].to_string();
            assert!(!told.contains("cannot be held"), "{told}");
        });
        expect_no_failure(&all, serves);
        scene.wait_until("nothing is left", || scene.rules_of_hold().is_empty());
    }
}

#[test]
fn no_request_to_one_of_several_published_ports_fails() {
    let (second, third) = (free_port(), free_port());
    let ports = format!("[\"{{port}}:8080\", \"{second}:8080\", \"{third}:9090\"]");
    // Nothing but the ports themselves tells when the service answers.
    let mut scene = scene(&ports, WITHOUT_CHECK);
    let first = scene.address();
    let at = |port| few(SocketAddr::new(LOOPBACK, port));
    expect_none_fails(&mut scene, || {
        vec![
            ("first", few(first)),
            ("second", at(second)),
            ("third", at(third)),
        ]
    });
}

#[test]
fn no_request_to_a_port_of_one_address_fails() {
    let mut scene = scene("[\"127.0.0.1:{port}:8080\"]", HELD);
    let client = container(&scene, "client");
    let host = SocketAddr::new(gateway(&client), scene.address().port());
    let both = format!("[\"127.0.0.1:{{port}}:8080\", \"{host}:8080\"]");
    let image = client["Config"]["Image"].as_str().expect("an image");
    let compose = PROJECT.replace("{ports}", &both);
    scene.write_compose(&compose.replace("{client}", image));
    scene.compose(&["up", "-d"]);
    let loopback = scene.address();
    let client = inside(&client);
    let remote = Remote::join(&world().packages).expect("another machine");
    expect_none_fails(&mut scene, || {
        vec![
            ("loopback", few(loopback)),
            ("one address", few(host)),
            (
                "one address, from a container",
                client.run(|| few(host)).expect("inside"),
            ),
            (
                "one address, from another machine",
                remote.run(|| few(host)).expect("inside"),
            ),
        ]
    });
}

#[test]
fn no_request_by_ipv6_fails() {
    let second = free_port();
    let ports = format!("[\"[::1]:{{port}}:8080\", \"{second}:8080\"]");
    let mut scene = scene(&ports, HELD);
    let at = |port| few(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port));
    let first = scene.address().port();
    expect_none_fails(&mut scene, || {
        vec![
            ("its address", at(first)),
            ("all addresses", at(second)),
            (
                "all addresses, by IPv4",
                few(SocketAddr::new(LOOPBACK, second)),
            ),
        ]
    });
}

/// Its probe would wait itself, so it is asked after the connections have gone on.
#[test]
fn no_request_to_a_service_on_the_hosts_network_fails() {
    let port = free_port();
    let compose = PROJECT.replace("ports: {ports}", "network_mode: host");
    let listen = format!("{{LISTEN: {port}}}");
    let compose = compose.replace("{ALSO_LISTEN: 9090}", &listen);
    let service = HELD.replace("8080", &port.to_string());
    let mut scene = scene_as(&Wishes {
        compose: &compose,
        service: &format!("{service}hold_ports = [{port}]\n"),
        ..Wishes::default()
    });
    let remote = Remote::join(&world().packages).expect("another machine");
    let host = SocketAddr::new(remote.host().into(), port);
    let loopback = SocketAddr::new(LOOPBACK, port);
    let loads = || {
        vec![
            ("loopback", few(loopback)),
            ("host address", few(host)),
            ("another machine", remote.run(|| few(host)).expect("inside")),
        ]
    };
    expect_none_fails(&mut scene, loads);
    let held = &scene.history()[0]["held"];
    assert!(held.as_u64().is_some_and(|held| held > 0), "{held}");
}

fn longest(asked: &[Asked]) -> Duration {
    let all = asked.iter().map(|one| one.took);
    all.max().unwrap_or_default()
}

#[test]
fn a_published_port_at_which_nobody_listens_makes_nobody_wait() {
    let unused = free_port();
    let ports = format!("[\"{{port}}:8080\", \"{unused}:9999\"]");
    let mut scene = scene(&ports, WITHOUT_CHECK);
    for (version, variable, outcome, serves) in RELEASES {
        let (name, value) = variable.split_once('=').expect("a variable");
        let release = scene.push(&ImageSpec::new(version).env(name, value));
        let all = answers(vec![("its port", few(scene.address()))], || {
            drop(scene.deploy(&release).expect(outcome));
        });
        expect_no_failure(&all, serves);
        let longest = longest(&all[0].1);
        assert!(longest < PROMPT, "{version}: {longest:?}");
    }
}

/// The drain ends, although these two go on: one that sends nothing, and one that waits for a late answer.
#[test]
fn connections_that_stay_open_hold_nobody_up_for_longer_than_the_drain() {
    let service = format!("{HELD}drain = \"1s\"\n");
    let mut scene = scene("[\"{port}:8080\"]", &service);
    let two = scene.push(&ImageSpec::new("two"));
    let address = scene.address();
    let idle = TcpStream::connect(address).expect("a connection");
    let late = thread::spawn(move || load::ask(address, "/slow?ms=60000"));
    let all = answers(vec![("others", few(address))], || {
        drop(scene.deploy(&two).expect("succeeded"));
    });
    expect_no_failure(&all, "two");
    assert!(longest(&all[0].1) < PROMPT);
    let cut = late.join().expect("no panic");
    assert!(cut.is_err(), "{cut:?}");
    drop(idle);
}

/// The service ends at once when it is told to stop, whoever waits for an answer.
#[test]
fn a_request_that_is_under_way_at_the_stop_is_answered() {
    let service = format!("{HELD}drain = \"2s\"\n");
    let mut scene = scene("[\"{port}:8080\"]", &service);
    let address = scene.address();
    for version in ["two", "three"] {
        let release = scene.push(&ImageSpec::new(version));
        let slow = Load::start_asking(address, "/slow?ms=1000", 4);
        let all = answers(vec![("slow", slow), ("others", few(address))], || {
            drop(scene.deploy(&release).expect("succeeded"));
        });
        expect_no_failure(&all, version);
    }
}
