//! Which deployment is meant: the beginning of an id or of a sha, a service, or nothing.

use cutover_api::deployment::{Deployment, DeploymentPage, Status};
use cutover_api::service::{Service, ServiceList};

use crate::binary::Cutover;
use crate::server::{Act, Server};
use crate::views::{OLD_SHA, SHA, deployment, json};

const NEWEST: &str = "0197a3b4-0000-7000-8000-0000000000c3";
const MIDDLE: &str = "0197a3b4-1111-7000-8000-0000000000b2";
const OLDEST: &str = "0197ffff-0000-7000-8000-0000000000a1";

fn of(service: &str, id: &str, sha: &str) -> Deployment {
    Deployment {
        id: id.to_owned(),
        service: service.to_owned(),
        image_sha: sha.to_owned(),
        ..deployment(Status::Succeeded)
    }
}

fn page(deployments: Vec<Deployment>) -> Act {
    let next_before = None;
    Act::json(
        200,
        json(&DeploymentPage {
            deployments,
            next_before,
        }),
    )
}

fn services(names: &[&str]) -> Act {
    let service = |name: &&str| Service {
        name: (*name).to_owned(),
        running: None,
        stopped: None,
        running_unknown: None,
        services: Vec::new(),
        paused: None,
        needs_operator: None,
        current: None,
        waiting: None,
        last: None,
    };
    let services = names.iter().map(service).collect();
    Act::json(200, json(&ServiceList { services }))
}

/// A daemon with two services, of which `web` was deployed last.
fn daemon() -> Server {
    let server = Server::start();
    let all = vec![
        of("web", NEWEST, SHA),
        of("app", MIDDLE, OLD_SHA),
        of("app", OLDEST, SHA),
    ];
    for one in &all {
        let view = format!("GET /v1/deployments/{}", one.id);
        server.always(&view, Act::json(200, json(one)));
    }
    server.always("GET /v1/deployments?limit=100", page(all));
    server.always("GET /v1/services", services(&["app", "quiet", "web"]));
    let none = "GET /v1/deployments?limit=1&service=quiet";
    server.always(none, page(Vec::new()));
    server
}

#[test]
fn a_deployment_is_named_by_a_service_or_the_beginning_of_its_id_or_sha() {
    let server = daemon();
    for (meant, id) in [
        ("web", NEWEST),
        ("app", MIDDLE),
        ("0197a3b4-1", MIDDLE),
        ("0197f", OLDEST),
        (&SHA[..7], NEWEST),
        (&OLD_SHA[..12], MIDDLE),
        (OLDEST, OLDEST),
    ] {
        let arguments = ["show", meant, "--json"];
        let ended = Cutover::local(&server, &arguments).run().with_code(0);
        let shown: Deployment = serde_json::from_str(&ended.stdout).expect("a deployment");
        assert_eq!(shown.id, id, "{meant}");
        assert!(ended.stdout.ends_with('\n'), "for the prompt that follows");
    }
}

#[test]
fn what_names_no_deployment_or_several_is_refused_with_what_would() {
    let server = daemon();
    for (meant, says) in [
        (Some("0197"), MIDDLE),
        (Some("wbe"), "did you mean `web`?"),
        (Some("deadbeef"), "cutover history"),
        (Some("quiet"), "has not been deployed yet"),
        (None, "app, quiet, web"),
    ] {
        let arguments: Vec<&str> = ["logs"].into_iter().chain(meant).collect();
        let ended = Cutover::local(&server, &arguments).run().with_code(2);
        assert!(ended.stderr.contains(says), "{meant:?}: {}", ended.stderr);
    }
}

#[test]
fn the_only_service_need_not_be_named() {
    let server = Server::start();
    let latest = of("app", NEWEST, SHA);
    server.always("GET /v1/services", services(&["app"]));
    let line = "GET /v1/deployments?limit=1&service=app";
    server.always(line, page(vec![latest.clone()]));
    let view = format!("GET /v1/deployments/{NEWEST}");
    server.always(&view, Act::json(200, json(&latest)));
    let ended = Cutover::local(&server, &["show"]).run().with_code(0);
    assert!(ended.stdout.contains(NEWEST), "{}", ended.stdout);
}
