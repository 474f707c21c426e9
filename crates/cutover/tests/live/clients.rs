//! A service and somebody who asks it all the time: the beginning of the scenes that count the requests that fail.

use std::net::IpAddr;

use cutover_testkit::engine::namespace::Namespace;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::load::{Asked, Load};
use cutover_testkit::ports::free_port;
use cutover_testkit::scene::{Scene, Wishes};
use serde_json::Value;

use crate::CUTOVER;

/// The project with its release `one` running, by hand. `{client}` in the Compose file is an image that is no release.
pub(crate) fn scene_as(wishes: &Wishes<'_>) -> Scene {
    scene_of(wishes, &ImageSpec::new("one"))
}

/// The same with this first release.
pub(crate) fn scene_of(wishes: &Wishes<'_>, one: &ImageSpec) -> Scene {
    let mut scene = Scene::new(CUTOVER, wishes);
    let one = scene.push(one);
    let client = format!("{}:{one}", scene.repository());
    scene.write_compose(&wishes.compose.replace("{client}", &client));
    scene.write("project/.env", &format!("APP_IMAGE_TAG={one}\n"));
    scene.compose(&["up", "-d"]);
    scene
}

/// The containers of a service.
pub(crate) fn all_of(scene: &Scene, service: &str) -> Vec<Value> {
    let mut all = scene.containers();
    all.retain(|one| one["Config"]["Labels"]["com.docker.compose.service"] == service);
    all
}

/// The one container of a service.
#[track_caller]
pub(crate) fn container(scene: &Scene, service: &str) -> Value {
    let mut all = all_of(scene, service);
    let names: Vec<&Value> = all.iter().map(|one| &one["Name"]).collect();
    assert_eq!(all.len(), 1, "{names:?}\n{}", scene.log_tail());
    all.remove(0)
}

/// The network of a container.
pub(crate) fn inside(container: &Value) -> Namespace {
    let namespace = Namespace::of_container(container["Id"].as_str().expect("an id"));
    namespace.expect("its network")
}

/// The host as a container sees it.
pub(crate) fn gateway(container: &Value) -> IpAddr {
    let networks = container["NetworkSettings"]["Networks"].as_object();
    let network = networks.and_then(|all| all.values().next());
    let gateway = network.and_then(|one| one["Gateway"].as_str());
    let gateway = gateway.and_then(|address| address.parse().ok());
    gateway.expect("an address of the host")
}

/// What is asked of `app` by its name, in the network of `client`, while `work` is done.
pub(crate) fn asked_by_name(scene: &mut Scene, work: impl FnOnce(&mut Scene)) -> Vec<Asked> {
    let client = inside(&container(scene, "client"));
    let load = client.run(|| Load::by_name("app", 8080)).expect("inside");
    work(scene);
    load.stop()
}

#[track_caller]
pub(crate) fn expect_none_failed(asked: &[Asked]) {
    let failed: Vec<_> = asked.iter().filter(|one| one.outcome.is_err()).collect();
    let (count, some) = (failed.len(), &failed[..failed.len().min(5)]);
    assert_eq!(count, 0, "of {}: {some:?}", asked.len());
}

/// So many ports that follow each other.
pub(crate) fn free_range(count: u16) -> Vec<u16> {
    let mut ports: Vec<u16> = Vec::new();
    while ports.len() < usize::from(count) {
        let next = free_port();
        if ports.last().is_some_and(|last| last + 1 != next) {
            ports.clear();
        }
        ports.push(next);
    }
    ports
}
