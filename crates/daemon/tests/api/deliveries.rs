//! One delivery is one deployment, however often it is sent and whoever hangs up.

use cutover_testkit::images::ImageSpec;
use serde_json::{Value, json};

use crate::daemon::{Daemon, HOOK_SECRET, Request, SECRET, Wishes, now, signed_bytes};

/// The same request, written otherwise and with another time stamp, signed anew.
fn signed_anew(request: &Request) -> Request {
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    let mut text = String::from("{ ");
    for (field, value) in body.as_object().expect("an object").iter().rev() {
        let value = match field.as_str() {
            "timestamp" => &json!(now() - 100),
            _ => value,
        };
        text.push_str(&format!("\"{field}\" : {value} , "));
    }
    text.truncate(text.len() - 3);
    text.push('}');
    signed_bytes(SECRET, text.into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_delivery_gets_the_recorded_answer_and_runs_once() {
    let mut daemon = Daemon::start(&Wishes::default()).await;
    let sha = daemon.push(&ImageSpec::new("one"));
    let request = daemon.deployment(&sha);
    let first = daemon.ask(&request.to_bytes()).await;
    assert_eq!(first.status, 200, "{}", first.body);
    assert_eq!(first.header("idempotent-replayed"), None);
    let before = daemon.containers();
    for again in [
        request.clone(),
        signed_anew(&request),
        request.with("Prefer", "respond-async"),
    ] {
        let answer = daemon.ask(&again.to_bytes()).await;
        assert_eq!((answer.status, &answer.body), (200, &first.body));
        assert_eq!(answer.header("idempotent-replayed"), Some("true"));
    }
    assert_eq!(daemon.containers(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_delivery_is_repeated_with_its_failure() {
    let (mut daemon, _) = Daemon::deployed().await;
    let request = daemon.unused_sha();
    let request = daemon.deployment(&request);
    let first = daemon.ask(&request.to_bytes()).await;
    assert_eq!(
        (first.status, first.code().as_str()),
        (422, "image_not_found")
    );
    let again = daemon.ask(&request.to_bytes()).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_id_belongs_to_one_request() {
    let (mut daemon, sha) = Daemon::deployed().await;
    let request = daemon.deployment(&sha);
    assert_eq!(daemon.ask(&request.to_bytes()).await.status, 200);
    let other = daemon.unused_sha();
    let mut body: Value = serde_json::from_slice(&request.body).expect("JSON");
    body["image_sha"] = json!(other);
    let before = daemon.containers();
    let answer = daemon.ask(&crate::daemon::signed(&body).to_bytes()).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (422, "delivery_id_reused")
    );
    assert!(answer.json()["deployment"].is_null());
    assert_eq!(daemon.containers(), before);
}

/// The action's id can be computed by anybody, who may have a key as well.
#[tokio::test(flavor = "multi_thread")]
async fn another_keys_delivery_with_the_same_id_is_another_delivery() {
    let (daemon, sha) = Daemon::deployed().await;
    let request = daemon.deployment(&sha);
    let first = daemon.ask(&request.to_bytes()).await;
    let others = signed_bytes(HOOK_SECRET, request.body.clone());
    let second = daemon.ask(&others.to_bytes()).await;
    assert_eq!((first.status, second.status), (200, 200));
    let id = |of: &crate::wire::Answer| of.json()["deployment"]["id"].clone();
    assert_ne!(id(&first), id(&second));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_under_way_is_named_instead_of_begun_again() {
    let mut daemon = Daemon::start(&Wishes::default()).await;
    let sha = daemon.push(&ImageSpec::new("one"));
    let request = daemon.deployment(&sha);
    // The deployment does not end before the registry speaks again.
    daemon.registry.hold().expect("holds");
    let accepted = daemon
        .ask(&request.clone().with("Prefer", "respond-async").to_bytes())
        .await;
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    assert_eq!(accepted.header("preference-applied"), Some("respond-async"));
    let id = accepted.json()["deployment"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let location = format!("/v1/deployments/{id}");
    assert_eq!(accepted.header("location"), Some(location.as_str()));

    let again = daemon.ask(&request.to_bytes()).await;
    assert_eq!((again.status, again.code().as_str()), (409, "in_progress"));
    assert_eq!(again.header("location"), Some(location.as_str()));
    assert!(again.header("retry-after").is_some());
    assert_eq!(again.json()["deployment"]["id"], json!(id));
    assert_eq!(again.json()["watch_token"], accepted.json()["watch_token"]);
    assert_eq!(
        again.json()["deployment"]["delivery_id"],
        json!(request.field("delivery_id"))
    );

    // A second waits; a third takes its place.
    let [second, third] = [daemon.unused_sha(), daemon.unused_sha()];
    let waits = daemon.deployment(&second).to_bytes();
    let mut waiting = daemon.connect().await;
    waiting.send(&waits).await;
    daemon.unfinished(2).await;
    let replaces = daemon.deployment(&third).with("Prefer", "respond-async");
    assert_eq!(daemon.ask(&replaces.to_bytes()).await.status, 202);
    let replaced = waiting.answer().await.expect("an answer");
    assert_eq!(
        (replaced.status, replaced.code().as_str()),
        (409, "cancelled")
    );
    assert!(replaced.header("retry-after").is_none());
    assert_eq!(
        replaced.json()["deployment"]["nothing_changed"],
        json!(true)
    );
    assert_eq!(
        replaced.json()["deployment"]["cause"]["code"],
        json!("cancelled")
    );
    daemon.registry.go_on().expect("goes on");
    daemon.unfinished(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_changes_nothing_about_its_deployment() {
    let (mut daemon, _) = Daemon::deployed().await;
    let sha = daemon.push(&ImageSpec::new("two"));
    let request = daemon.deployment(&sha);
    daemon.registry.hold().expect("holds");
    let mut raw = daemon.connect().await;
    raw.send(&request.to_bytes()).await;
    daemon.unfinished(1).await;
    drop(raw);
    daemon.registry.go_on().expect("goes on");
    daemon.unfinished(0).await;
    let answer = daemon.ask(&request.to_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["deployment"]["outcome"], json!("succeeded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_a_foreign_payload_are_not_acted_on() {
    let (daemon, sha) = Daemon::deployed().await;
    let before = daemon.containers();
    let body = json!({
        "service": "app", "image_sha": sha, "delivery_id": "foreign", "timestamp": now(),
        "image": "evil:latest", "healthcheck_url": "http://evil.example", "container_name": "evil",
        "compose": {"services": {}}, "repository": {"full_name": "acme/shop"}, "commits": [{"id": 1}],
    });
    let answer = daemon.ask(&crate::daemon::signed(&body).to_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["deployment"]["outcome"], json!("unchanged"));
    assert_eq!(daemon.containers(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_need_not_be_fresh_signs_a_payload_without_time_and_id() {
    let (daemon, sha) = Daemon::deployed().await;
    let body = json!({"service": "app", "image_sha": sha, "after": sha, "pusher": {"name": "a"}});
    let request = signed_bytes(crate::daemon::HOOK_SECRET, body.to_string().into_bytes());
    let answer = daemon.ask(&request.to_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["deployment"]["actor"], json!("hook"));
}
