//! Inputs that need something to happen first: an earlier request, a Docker that is away, a client that is
//! slow.

use std::os::unix::fs::PermissionsExt as _;

use cutover_core::names::ServiceName;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::signer::Signer;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::{Row, Sent, images, right};
use crate::daemon::{Daemon, PROBE, REQUEST_TIME, Reach, Wishes, now, signed};
use crate::wire::Answer;

/// Services that want something of an image or of a request.
pub(super) const STRICT: [&str; 5] = ["large", "labeled", "signed", "busy", "marked"];

/// The label that says what an image was built from.
pub(super) const REVISION: &str = "org.opencontainers.image.revision";

/// A daemon with one service that takes everything and several that are strict, all of them running.
pub(super) async fn daemon() -> Daemon {
    let signer = Signer::new().expect("a key pair");
    let key = signer.public_key();
    let lines = |name| match name {
        "large" => "image_mib_max = 8".to_owned(),
        "labeled" => "require_revision_label = true".to_owned(),
        "signed" => format!("signature = {{ by = {key:?}, transparency_log = false }}"),
        "busy" => "when_busy = \"refuse\"".to_owned(),
        _ => String::new(),
    };
    let wishes = Wishes {
        more: STRICT
            .map(|name| (name, format!("{}\n{PROBE}", lines(name))))
            .to_vec(),
        service: format!("image_repository = \"{{registry}}/shop\"\n{PROBE}"),
        ..Wishes::default()
    };
    let mut daemon = Daemon::start(&wishes).await;
    let sha = daemon.unused_sha();
    let good = ImageSpec::new("good").label(REVISION, &sha);
    daemon.registry.push("shop", &sha, &good).expect("an image");
    signer.sign(&daemon.registry, "shop", &sha).expect("signs");
    for service in ["app"].into_iter().chain(STRICT) {
        let request = daemon.deployment_of(service, &sha);
        let answer = daemon.ask(&request.to_bytes()).await;
        assert_eq!(answer.status, 200, "{service}: {}", answer.body);
    }
    daemon
}

/// Number, name, status and code of each row, and what is played for it.
pub(super) type Listed = (
    &'static str,
    &'static str,
    u16,
    &'static str,
    fn(&mut Daemon) -> Play<'_>,
);

const ROWS: &[Listed] = &[
    (
        "A1",
        "plain HTTP to a TLS port",
        400,
        "bad_request",
        plain_http,
    ),
    (
        "A6",
        "a head that trickles in",
        408,
        "request_timeout",
        slow_head,
    ),
    (
        "A7",
        "a body that trickles in",
        408,
        "request_timeout",
        slow_body,
    ),
    (
        "A25",
        "fields of a foreign payload",
        200,
        "",
        foreign_fields,
    ),
    (
        "A35",
        "fields that would choose",
        422,
        "image_not_found",
        choosing,
    ),
    ("A39", "a repetition", 422, "image_not_found", repeated),
    (
        "A40",
        "a repetition meanwhile",
        409,
        "in_progress",
        meanwhile,
    ),
    ("A41", "the id again", 422, "delivery_id_reused", reused),
    (
        "A44",
        "while it is busy",
        409,
        "deployment_in_progress",
        busy,
    ),
    (
        "A46",
        "it needs somebody",
        409,
        "operator_action_required",
        marked,
    ),
    (
        "A47",
        "without Docker",
        503,
        "docker_unavailable",
        no_docker,
    ),
];

pub(super) fn rows() -> Vec<Row> {
    let row = |&(id, name, status, code, play): &Listed| Row {
        id,
        name,
        sent: Sent::Scene(play),
        status,
        code,
    };
    ROWS.iter().chain(images::ROWS).map(row).collect()
}

pub(super) type Play<'a> = BoxFuture<'a, Option<Answer>>;

/// Deploys `spec` to `service`.
pub(super) async fn deploy(daemon: &mut Daemon, service: &str, spec: &ImageSpec) -> Option<Answer> {
    let sha = daemon.push(spec);
    Some(
        daemon
            .ask(&daemon.deployment_of(service, &sha).to_bytes())
            .await,
    )
}

fn plain_http(_daemon: &mut Daemon) -> Play<'_> {
    Box::pin(async {
        let dir = tempfile::tempdir().expect("a directory");
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a pair");
        let [cert, key] = ["tls.crt", "tls.key"].map(|name| dir.path().join(name));
        std::fs::write(&cert, pair.cert.pem()).expect("writes");
        std::fs::write(&key, pair.signing_key.serialize_pem()).expect("writes");
        let secret = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&key, secret).expect("a mode");
        let wishes = Wishes {
            tls: Some([cert, key]),
            ..Wishes::default()
        };
        let mut raw = Daemon::start(&wishes).await.connect().await;
        raw.send(&right().to_bytes()).await;
        let answer = raw.answer().await.expect("an answer");
        assert!(answer.body.contains("HTTPS"), "{}", answer.body);
        Some(answer)
    })
}

fn slow_head(daemon: &mut Daemon) -> Play<'_> {
    Box::pin(async { trickle(daemon, |bytes| bytes.len() / 4).await })
}

fn slow_body(daemon: &mut Daemon) -> Play<'_> {
    Box::pin(async { trickle(daemon, |bytes| bytes.len() - TRICKLED - 1).await })
}

/// How many bytes trickle in: several times what there is time for, and not to the end.
const TRICKLED: usize = 24;

/// Sends a request at once up to `from`, and then a byte now and then.
async fn trickle(daemon: &Daemon, from: fn(&[u8]) -> usize) -> Option<Answer> {
    let bytes = right().to_bytes();
    let mut raw = daemon.connect().await;
    let (first, rest) = bytes.split_at(from(&bytes));
    raw.send(first).await;
    let answer = raw.trickle(&rest[..TRICKLED], REQUEST_TIME / 4).await;
    assert!(raw.ended().await);
    Some(answer)
}

fn foreign_fields(daemon: &mut Daemon) -> Play<'_> {
    Box::pin(async {
        let running = daemon.journal.page(None, None, 100).await.expect("a page");
        let sha = running[0].request.tag.to_string();
        let body = json!({
            "service": "app", "image_sha": sha, "delivery_id": "foreign", "timestamp": now(),
            "repository": {"full_name": "acme/shop"}, "commits": [{"id": 1}],
        });
        Some(daemon.ask(&signed(&body).to_bytes()).await)
    })
}

fn choosing(daemon: &mut Daemon) -> Play<'_> {
    Box::pin(async {
        let sha = daemon.unused_sha();
        let body = json!({
            "service": "app", "image_sha": sha, "delivery_id": "choosing", "timestamp": now(),
            "image": "evil:latest", "healthcheck_url": "http://evil.example",
            "container_name": "evil", "compose": {"services": {}},
        });
        let answer = daemon.ask(&signed(&body).to_bytes()).await;
        let shown = answer.json()["deployment"].to_string();
        assert!(
            shown.contains("/shop:") && !shown.contains("evil"),
            "{shown}"
        );
        Some(answer)
    })
}

fn repeated(daemon: &mut Daemon) -> Play<'_> {
    Box::pin(async {
        let sha = daemon.unused_sha();
        let request = daemon.deployment(&sha).to_bytes();
        let first = daemon.ask(&request).await;
        let second = daemon.ask(&request).await;
        assert_eq!(first.body, second.body);
        assert_eq!(second.header("idempotent-replayed"), Some("true"));
        Some(second)
    })
}

fn reused(daemon: &mut Daemon) -> Play<'_> {
    Box::pin(async {
        let shas = [daemon.unused_sha(), daemon.unused_sha()];
        let [first, second] = shas.map(|sha| {
            let body = json!({
                "service": "app", "image_sha": sha, "delivery_id": "reused", "timestamp": now(),
            });
            signed(&body).to_bytes()
        });
        daemon.ask(&first).await;
        Some(daemon.ask(&second).await)
    })
}

/// Holds the registry's answer back, so that a deployment of `service` stays under way and changes nothing,
/// while `meanwhile` asks.
async fn while_pulling(daemon: &mut Daemon, service: &str, same: Same) -> Option<Answer> {
    let sha = daemon.unused_sha();
    let first = daemon.deployment_of(service, &sha);
    daemon.registry.hold().expect("holds");
    let accepted = first.clone().with("Prefer", "respond-async").to_bytes();
    assert_eq!(daemon.ask(&accepted).await.status, 202);
    let second = match same {
        Same::Delivery => first,
        Same::Service => daemon.deployment_of(service, &sha),
    };
    let answer = daemon.ask(&second.to_bytes()).await;
    daemon.registry.go_on().expect("goes on");
    daemon.unfinished(0).await;
    Some(answer)
}

/// What two requests have in common.
#[derive(Clone, Copy)]
enum Same {
    Delivery,
    Service,
}

fn meanwhile(daemon: &mut Daemon) -> Play<'_> {
    Box::pin(async {
        let answer = while_pulling(daemon, "app", Same::Delivery).await?;
        assert!(answer.header("location").is_some(), "{}", answer.head);
        Some(answer)
    })
}

fn busy(daemon: &mut Daemon) -> Play<'_> {
    Box::pin(while_pulling(daemon, "busy", Same::Service))
}

fn marked(daemon: &mut Daemon) -> Play<'_> {
    Box::pin(async {
        let service = ServiceName::new("marked").expect("a name");
        let why = Some("of the test");
        let set = daemon.journal.set_needs_operator(&service, why).await;
        set.expect("sets");
        deploy(daemon, "marked", &ImageSpec::new("next")).await
    })
}

fn no_docker(_daemon: &mut Daemon) -> Play<'_> {
    Box::pin(async {
        let wishes = Wishes {
            docker: Reach::Missing,
            ..Wishes::default()
        };
        let mut daemon = Daemon::start(&wishes).await;
        let sha = daemon.unused_sha();
        Some(daemon.ask(&daemon.deployment(&sha).to_bytes()).await)
    })
}
