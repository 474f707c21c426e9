//! Every rule for a body's fields, with an example for each.

use super::*;
use axum::response::IntoResponse as _;
use cutover_core::names::TagPattern;
use serde_json::json;

const NOW: i64 = 1_700_000_000;
const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

fn name(text: &str) -> ServiceName {
    ServiceName::new(text).expect("a name")
}

fn services(names: &[&str]) -> BTreeMap<ServiceName, Service> {
    let of = |text: &&str| (name(text), Service::new(name(text), Vec::new()));
    names.iter().map(of).collect()
}

fn client(allowed: Option<&BTreeSet<ServiceName>>) -> Asking<'_> {
    Asking {
        actor: "ci".into(),
        asker: Asker::Client,
        freshness: Freshness::Required,
        allowed,
    }
}

/// A body that is fine, with `changes` laid over it; a change to null takes a field away.
fn body(changes: &Value) -> Fields {
    let mut body = json!({
        "service": "shop", "image_sha": SHA, "delivery_id": "1-1", "timestamp": NOW,
    });
    for (field, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => body.as_object_mut().expect("an object").remove(field),
            value => body
                .as_object_mut()
                .expect("an object")
                .insert(field.clone(), value.clone()),
        };
    }
    Fields::read(body.to_string().as_bytes()).expect("an object")
}

fn texts(texts: &[&str]) -> Vec<Value> {
    texts.iter().copied().map(Value::from).collect()
}

fn numbers(numbers: &[i64]) -> Vec<Value> {
    numbers.iter().copied().map(Value::from).collect()
}

fn judged(fields: &Fields) -> Result<NewDeployment, RequestCode> {
    let services = services(&["shop", "blog"]);
    let allowed = BTreeSet::from([name("shop")]);
    new_deployment(fields, client(Some(&allowed)), &services, NOW).map_err(|error| {
        let code = error.code();
        let detail = error.into_problem().detail;
        assert!(detail.ends_with("; nothing was changed"), "{detail}");
        code
    })
}

#[test]
fn every_allowed_form_of_a_field_is_taken() {
    let sha64 = "ab".repeat(32);
    for fine in [
        json!({}),
        json!({"image_sha": sha64}),
        json!({"image_digest": format!("sha256:{sha64}")}),
        json!({"timestamp": NOW - 300}),
        json!({"timestamp": NOW + 300}),
        json!({"delivery_id": "x".repeat(128)}),
        json!({"image": "evil", "healthcheck_url": "http://evil", "container_name": "x", "compose": {}}),
    ] {
        assert!(judged(&body(&fine)).is_ok(), "{fine}");
    }
}

#[test]
fn a_misspelled_service_is_answered_with_the_nearest_that_the_caller_knows() {
    let known = ["shop", "blog"].map(|name| ServiceName::new(name).expect("a name"));
    let said = |known: &[ServiceName]| format!("{:?}", unknown_service("shpo", known));
    let near = said(&known);
    assert!(near.contains("(did you mean `shop`?); nothing"), "{near}");
    assert!(!said(&known[1..]).contains("did you mean"));
}

#[test]
fn every_other_form_of_a_field_has_its_own_code() {
    use RequestCode as C;
    let sha64 = "ab".repeat(32);
    let sha41 = format!("{SHA}0");
    let [upper, line] = [SHA.to_uppercase(), format!("{SHA}\n")];
    let [short, long] = [&sha64[1..], &sha64].map(|digits| format!("sha256:{digits}"));
    let wrong_shas = [
        &SHA[1..],
        &sha41,
        &upper,
        &line,
        "",
        "latest",
        "../../x",
        "a;reboot",
    ];
    let wrong_digests = [
        &sha64,
        &short,
        &long.to_uppercase(),
        &long.replace('6', "12"),
    ];
    let wrong_services = ["", "a/b", "..", "-shop", "shоp", "shop\0", &"x".repeat(300)];
    for (field, code, wrong) in [
        ("service", C::MissingField, vec![json!(null)]),
        ("image_sha", C::MissingField, vec![json!(null)]),
        ("delivery_id", C::MissingField, vec![json!(null)]),
        ("timestamp", C::MissingField, vec![json!(null)]),
        ("service", C::InvalidType, vec![json!(1), json!({})]),
        ("image_sha", C::InvalidType, vec![json!([SHA])]),
        ("delivery_id", C::InvalidType, vec![json!({})]),
        ("image_digest", C::InvalidType, vec![json!(false)]),
        ("timestamp", C::InvalidType, vec![json!([]), json!(true)]),
        ("image_sha", C::InvalidImageSha, texts(&wrong_shas)),
        (
            "image_digest",
            C::InvalidImageDigest,
            texts(&wrong_digests.each_ref().map(|text| text.as_str())),
        ),
        ("service", C::UnknownService, texts(&["nosuch", "Shop"])),
        ("service", C::Forbidden, texts(&["blog"])),
        ("service", C::InvalidService, texts(&wrong_services)),
        (
            "timestamp",
            C::StaleRequest,
            numbers(&[NOW - 301, NOW + 301, 0]),
        ),
        (
            "timestamp",
            C::InvalidTimestamp,
            numbers(&[-1, 1_000_000_000_000_000_000]),
        ),
        (
            "timestamp",
            C::InvalidTimestamp,
            vec![json!(1.5), json!(u64::MAX)],
        ),
        ("timestamp", C::InvalidTimestamp, texts(&[&NOW.to_string()])),
        (
            "delivery_id",
            C::InvalidDeliveryId,
            texts(&["", &"x".repeat(129), "a b", "é"]),
        ),
    ] {
        for value in wrong {
            let refused = judged(&body(&json!({ field: value }))).map(drop);
            assert_eq!(refused, Err(code), "{field}: {value}");
        }
    }
}

#[test]
fn null_is_a_wrong_type_and_not_a_field_that_is_left_out() {
    let null = Fields::read(br#"{"image_sha":null,"timestamp":1700000000}"#).expect("an object");
    assert_eq!(judged(&null).map(drop), Err(RequestCode::InvalidType));
}

#[test]
fn a_stale_request_is_told_what_would_be_accepted_as_every_401_is() {
    let stale = check_fresh(NOW - 301, NOW).expect_err("too old");
    let answer = stale.into_response();
    assert_eq!(answer.status(), http::StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers()["www-authenticate"], "X-Hub-Signature-256");
}

#[test]
fn what_is_wrong_first_is_named() {
    let stale_and_wrong = json!({"timestamp": 0, "image_sha": "latest", "service": "nosuch"});
    assert_eq!(
        judged(&body(&stale_and_wrong)).map(drop),
        Err(RequestCode::StaleRequest)
    );
    let unknown_and_wrong = json!({"image_digest": "x", "service": "nosuch"});
    assert_eq!(
        judged(&body(&unknown_and_wrong)).map(drop),
        Err(RequestCode::InvalidImageDigest)
    );
}

#[test]
fn the_only_service_need_not_be_named() {
    let one = services(&["shop"]);
    let fields = body(&json!({"service": null}));
    let new = new_deployment(&fields, client(None), &one, NOW).expect("fine");
    assert_eq!(new.service, name("shop"));
}

#[test]
fn a_service_may_widen_which_tags_it_accepts() {
    let mut services = services(&["shop"]);
    let shop = services.get_mut(&name("shop")).expect("configured");
    shop.tag_pattern = Some(TagPattern::new("v*").expect("a pattern"));
    let judged = |tag: &str| {
        let fields = body(&json!({"image_sha": tag}));
        new_deployment(&fields, client(None), &services, NOW).map_err(|error| error.code())
    };
    assert!(judged("v1.2.3").is_ok());
    assert!(judged(SHA).is_ok());
    assert_eq!(
        judged("latest").map(drop),
        Err(RequestCode::InvalidImageSha)
    );
}

#[test]
fn who_need_not_be_fresh_may_leave_out_what_proves_it() {
    let services = services(&["shop"]);
    let bare = body(&json!({"timestamp": null, "delivery_id": null}));
    let stale = body(&json!({"timestamp": 0}));
    let webhook = Asking {
        freshness: Freshness::NotRequired,
        ..client(None)
    };
    assert!(new_deployment(&bare, webhook.clone(), &services, NOW).is_ok());
    let refused = new_deployment(&stale, webhook.clone(), &services, NOW);
    assert_eq!(
        refused.map(drop).map_err(|error| error.code()),
        Err(RequestCode::StaleRequest),
        "a timestamp that is given counts"
    );
    let local = Asking {
        asker: Asker::Operator,
        ..webhook
    };
    assert!(new_deployment(&stale, local, &services, NOW).is_ok());
}

#[test]
fn what_only_an_operator_may_wish_is_ignored_in_a_signed_request() {
    let services = services(&["shop"]);
    let wishes = body(&json!({"no_way_back": true, "force": true}));
    let asked_by = |asker: Asker| {
        let asking = Asking {
            asker,
            ..client(None)
        };
        let new = new_deployment(&wishes, asking, &services, NOW);
        let new = new.unwrap_or_else(|_| panic!("accepted"));
        (new.way_back, new.if_unchanged)
    };
    let (needed, left_alone) = (WayBack::Needed, IfUnchanged::LeaveAlone);
    assert_eq!(asked_by(Asker::Client), (needed, left_alone));
    let (waived, again) = (WayBack::Waived, IfUnchanged::DeployAgain);
    assert_eq!(asked_by(Asker::Operator), (waived, again));
}
