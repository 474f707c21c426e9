//! What Compose may do, call by call.

use super::*;

const OLD: &str = "aaaaaaaaaaaaaaaa";
const NEW: &str = "bbbbbbbbbbbbbbbb";

fn ask(view: &mut View, method: &str, path: &str, query: &str) -> Decision {
    view.decide(Call {
        method,
        path,
        query,
    })
}

fn replacing() -> View {
    let old = OldContainer {
        id: OLD.into(),
        name: "shop-app-1".into(),
    };
    let mut view = View::new(Some(old), Vec::new());
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
    view.created(NEW, "aaaaaaaaaaaa_shop-app-1");
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
    assert_eq!(
        view.new_container().map(|new| new.name.as_str()),
        Some("shop-app-1")
    );
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
    assert_eq!(ask(&mut view, "POST", &start, ""), Decision::Start);
}

#[test]
fn nothing_happens_to_the_old_container_before_a_new_one_exists() {
    let old = OldContainer {
        id: OLD.into(),
        name: "shop-app-1".into(),
    };
    for (method, path) in [
        ("POST", format!("/containers/{OLD}/stop")),
        ("POST", format!("/containers/{OLD}/start")),
        ("POST", format!("/containers/{OLD}/rename")),
        ("DELETE", format!("/containers/{OLD}")),
    ] {
        let mut view = View::new(Some(old.clone()), Vec::new());
        let decision = ask(&mut view, method, &path, "");
        assert!(
            matches!(decision, Decision::Refuse { .. }),
            "{method} {path}: {decision:?}"
        );
    }
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
    let second = ask(
        &mut replacing(),
        "POST",
        "/containers/create",
        "name=shop-app-2",
    );
    assert!(matches!(second, Decision::Refuse { .. }), "{second:?}");
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
