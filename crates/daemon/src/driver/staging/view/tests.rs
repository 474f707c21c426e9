//! What Compose may do, call by call.

use super::*;

const OLD: &str = "aaaaaaaaaaaaaaaa";
const NEW: &str = "bbbbbbbbbbbbbbbb";

fn old(id: &str, name: &str, service: &str) -> OldContainer {
    OldContainer {
        id: id.into(),
        name: name.into(),
        service: service.into(),
        is_stopped_early: false,
        is_removed_early: false,
    }
}

fn new(id: &str, service: &str, name: &str) -> NewContainer {
    NewContainer::created(id, service, name)
}

fn ask(view: &mut View, method: &str, path: &str, query: &str) -> Decision {
    view.decide(Call {
        method,
        path,
        query,
    })
}

fn replacing() -> View {
    let mut view = View::new(vec![old(OLD, "shop-app-1", "app")], Vec::new());
    let decision = ask(
        &mut view,
        "POST",
        "/containers/create",
        "name=aaaaaaaaaaaa_shop-app-1",
    );
    assert_eq!(
        decision,
        Decision::Create {
            name: "aaaaaaaaaaaa_shop-app-1".into()
        }
    );
    assert!(view.may_create("app", 1));
    view.created(new(NEW, "app", "aaaaaaaaaaaa_shop-app-1"));
    view
}

#[test]
fn replacing_a_container_is_believed_until_the_start() {
    let mut view = replacing();
    assert!(!view.is_hidden(OLD));
    let stop = format!("/containers/{OLD}/stop");
    assert_eq!(ask(&mut view, "POST", &stop, ""), Decision::Believed);
    let old = format!("/containers/{OLD}");
    assert_eq!(
        ask(&mut view, "DELETE", &old, "force=1"),
        Decision::Believed
    );
    assert!(view.is_hidden(OLD) && !view.is_hidden(NEW));
    let rename = format!("/containers/{NEW}/rename");
    assert_eq!(
        ask(&mut view, "POST", &rename, "name=shop-app-1"),
        Decision::Believed
    );
    assert_eq!(view.new_containers()[0].name, "shop-app-1");
    assert_eq!(
        ask(&mut view, "GET", "/containers/shop-app-1/json", ""),
        Decision::ForwardInspectNew
    );
    let gone = Decision::Gone { name: OLD.into() };
    assert_eq!(
        ask(&mut view, "GET", &format!("/containers/{OLD}/json"), ""),
        gone
    );
    let start = format!("/containers/{NEW}/start");
    let container = NEW.to_owned();
    let start = ask(&mut view, "POST", &start, "");
    assert_eq!(start, Decision::Start { container });
}

#[test]
fn nothing_happens_to_the_old_container_before_a_new_one_exists() {
    for (method, path) in [
        ("POST", format!("/containers/{OLD}/stop")),
        ("POST", format!("/containers/{OLD}/start")),
        ("POST", format!("/containers/{OLD}/rename")),
        ("DELETE", format!("/containers/{OLD}")),
    ] {
        let mut view = View::new(vec![old(OLD, "shop-app-1", "app")], Vec::new());
        let decision = ask(&mut view, method, &path, "");
        assert!(
            matches!(decision, Decision::Refuse { .. }),
            "{method} {path}: {decision:?}"
        );
    }
}

#[test]
fn what_goes_with_another_service_may_be_told_to_stop_before_it_has_a_successor() {
    let sidecar = OldContainer {
        is_stopped_early: true,
        is_removed_early: false,
        ..old(OLD, "shop-sidecar-1", "sidecar")
    };
    let mut view = View::new(vec![sidecar], Vec::new());
    let stop = format!("/containers/{OLD}/stop");
    assert_eq!(ask(&mut view, "POST", &stop, ""), Decision::Believed);
    let removed = ask(&mut view, "DELETE", &format!("/containers/{OLD}"), "");
    assert!(matches!(removed, Decision::Refuse { .. }), "{removed:?}");
    assert!(!view.is_hidden(OLD));
}

#[test]
fn everything_outside_the_service_is_refused() {
    let other = "cccccccccccccccc";
    for (method, path) in [
        ("POST", format!("/containers/{other}/stop")),
        ("POST", format!("/containers/{other}/start")),
        ("POST", format!("/containers/{other}/exec")),
        ("DELETE", format!("/containers/{other}")),
        ("PUT", format!("/containers/{other}/archive")),
        ("POST", format!("/containers/{OLD}/start")),
        ("POST", format!("/containers/{OLD}/exec")),
        ("POST", "/exec/dddd/start".into()),
        ("DELETE", "/networks/shop_default".into()),
        ("DELETE", "/volumes/shop_data".into()),
        ("POST", "/volumes/prune".into()),
        ("POST", "/containers/prune".into()),
        ("POST", "/images/create".into()),
        ("POST", "/build".into()),
        ("POST", "/session".into()),
        ("POST", "/services/create".into()),
        ("PUT", "/volumes/shop_data".into()),
        ("GET", format!("/containers/{other}/archive")),
        ("HEAD", format!("/containers/{other}/archive")),
        ("GET", format!("/containers/{other}/attach/ws")),
        ("GET", format!("/containers/{other}/logs")),
        ("GET", format!("/containers/{other}/export")),
        ("GET", format!("/containers/{OLD}/logs")),
        ("GET", format!("/containers/{NEW}/export")),
        ("GET", "/images/get".into()),
        ("GET", "/images/acme/shop/get".into()),
        ("GET", "/secrets".into()),
        ("GET", "/swarm/unlockkey".into()),
        ("PATCH", "/anything".into()),
    ] {
        let mut view = replacing();
        let decision = ask(&mut view, method, &path, "");
        assert!(
            matches!(decision, Decision::Refuse { .. }),
            "{method} {path}: {decision:?}"
        );
    }
    assert!(!replacing().may_create("app", 1), "a second container");
}

#[test]
fn each_service_of_a_release_is_replaced_for_itself() {
    let (worker, new_worker) = ("cccccccccccccccc", "dddddddddddddddd");
    let mut view = View::new(
        vec![
            old(OLD, "shop-app-1", "app"),
            old(worker, "shop-worker-1", "worker"),
        ],
        Vec::new(),
    );
    view.created(new(NEW, "app", "aaaaaaaaaaaa_shop-app-1"));
    // The worker has no successor yet.
    let stop = format!("/containers/{worker}/stop");
    let refused = ask(&mut view, "POST", &stop, "");
    assert!(matches!(refused, Decision::Refuse { .. }), "{refused:?}");
    assert!(view.may_create("worker", 1));
    view.created(new(new_worker, "worker", "cccccccccccc_shop-worker-1"));
    assert_eq!(ask(&mut view, "POST", &stop, ""), Decision::Believed);
    let gone = ask(&mut view, "DELETE", "/containers/shop-worker-1", "");
    assert_eq!(gone, Decision::Believed);
    assert!(view.is_hidden(worker) && !view.is_hidden(OLD));
    let rename = format!("/containers/{new_worker}/rename");
    ask(&mut view, "POST", &rename, "name=shop-worker-1");
    let names: Vec<_> = view.new_containers().iter().map(|new| &new.name).collect();
    assert_eq!(names, ["aaaaaaaaaaaa_shop-app-1", "shop-worker-1"]);
    let start = ask(&mut view, "POST", "/containers/shop-worker-1/start", "");
    let container = new_worker.to_owned();
    assert_eq!(start, Decision::Start { container });
}

#[test]
fn what_compose_looks_at_to_create_a_container_passes() {
    let other = "cccccccccccccccc";
    for path in [
        "/_ping".into(),
        "/version".into(),
        "/info".into(),
        "/networks".into(),
        "/networks/shop_default".into(),
        "/volumes/shop_data".into(),
        "/images/json".into(),
        "/images/127.0.0.1:5000/acme/shop:1/json".into(),
        format!("/containers/{other}/json"),
        format!("/containers/{NEW}/logs"),
    ] {
        let decision = ask(&mut replacing(), "GET", &path, "");
        assert_eq!(decision, Decision::Forward, "{path}");
    }
    let volume = ask(&mut replacing(), "POST", "/volumes/create", "");
    assert_eq!(volume, Decision::VolumeCreate);
}

#[test]
fn who_only_looks_is_refused_every_change() {
    for (method, path) in [
        ("POST", "/containers/create".into()),
        ("POST", format!("/containers/{OLD}/start")),
        ("DELETE", format!("/containers/{OLD}")),
        ("POST", "/networks/create".into()),
        ("POST", "/networks/shop_default/connect".into()),
        ("POST", "/volumes/create".into()),
        ("PATCH", "/anything".into()),
    ] {
        let mut view = View::only_looking(vec!["parked".into()]);
        let decision = ask(&mut view, method, &path, "name=x");
        assert!(
            matches!(decision, Decision::Refuse { .. }),
            "{method} {path}: {decision:?}"
        );
    }
    let mut view = View::only_looking(vec!["parked".into()]);
    let list = ask(&mut view, "GET", "/containers/json", "");
    assert_eq!(list, Decision::ForwardList);
    assert!(view.is_hidden("parked") && !view.is_hidden(OLD));
}

#[test]
fn hooks_run_in_the_new_container_only() {
    let mut view = replacing();
    let exec = format!("/containers/{NEW}/exec");
    assert_eq!(ask(&mut view, "POST", &exec, ""), Decision::CreateExec);
    view.exec_created("e1");
    assert_eq!(
        ask(&mut view, "POST", "/exec/e1/start", ""),
        Decision::Forward
    );
    assert_eq!(
        ask(&mut view, "GET", "/exec/e1/json", ""),
        Decision::Forward
    );
}
