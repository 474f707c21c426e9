//! Images that cannot be had, or that may not run.

use cutover_testkit::images::ImageSpec;
use cutover_testkit::registry::{Auth, Login};
use cutover_testkit::signer::Signer;
use serde_json::json;

use super::SHA;
use super::deployments::{Listed, Play, REVISION, deploy};
use crate::daemon::{Daemon, Wishes, now, signed};
use crate::wire::Answer;

pub(super) const ROWS: &[Listed] = &[
    ("A31", "another digest", 422, "digest_mismatch", moved),
    (
        "A48",
        "no such image",
        422,
        "image_not_found",
        unknown_image,
    ),
    ("A49", "a login is missing", 424, "registry_denied", denied),
    (
        "A50",
        "no registry",
        424,
        "registry_unavailable",
        no_registry,
    ),
    (
        "A51",
        "for other processors",
        422,
        "platform_mismatch",
        foreign,
    ),
    ("A52", "a large image", 422, "image_too_large", too_large),
    (
        "A53",
        "no signature",
        422,
        "signature_verification_failed",
        unsigned,
    ),
    (
        "A53",
        "another's signature",
        422,
        "signature_verification_failed",
        missigned,
    ),
    (
        "A54",
        "another revision",
        422,
        "revision_mismatch",
        mislabeled,
    ),
    ("A54", "no revision", 422, "revision_mismatch", unlabeled),
    (
        "A55",
        "a broken Compose file",
        422,
        "invalid_compose",
        broken_compose,
    ),
    (
        "A55",
        "another repository",
        422,
        "policy_violation",
        elsewhere,
    ),
];

fn moved(daemon: &mut Daemon) -> Play<'_> {
    Box::pin(async {
        let sha = daemon.push(&ImageSpec::new("moved"));
        let request = signed(&json!({
            "service": "app", "image_sha": sha, "delivery_id": "moved", "timestamp": now(),
            "image_digest": format!("sha256:{}", "0".repeat(64)),
        }));
        Some(daemon.ask(&request.to_bytes()).await)
    })
}

fn unknown_image(daemon: &mut Daemon) -> Play<'_> {
    Box::pin(async {
        let sha = daemon.unused_sha();
        Some(daemon.ask(&daemon.deployment(&sha).to_bytes()).await)
    })
}

fn denied(_daemon: &mut Daemon) -> Play<'_> {
    Box::pin(async {
        let wishes = Wishes {
            auth: Auth::Basic(Login::Plain),
            ..Wishes::default()
        };
        let mut daemon = Daemon::start(&wishes).await;
        let answer = deploy(&mut daemon, "app", &ImageSpec::new("one")).await?;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let before = daemon.containers();
        daemon.forget_login();
        let answer = deploy(&mut daemon, "app", &ImageSpec::new("two")).await;
        assert_eq!(daemon.containers(), before);
        answer
    })
}

fn no_registry(daemon: &mut Daemon) -> Play<'_> {
    Box::pin(async {
        let sha = daemon.push(&ImageSpec::new("next"));
        daemon.registry.stop().expect("stops");
        let answer = daemon.ask(&daemon.deployment(&sha).to_bytes()).await;
        daemon.registry.restart().expect("starts again");
        assert_eq!(answer.json()["retriable"], json!(true));
        Some(answer)
    })
}

fn foreign(daemon: &mut Daemon) -> Play<'_> {
    let other = if cfg!(target_arch = "x86_64") {
        "arm64"
    } else {
        "amd64"
    };
    Box::pin(async move {
        let spec = ImageSpec::new("foreign").architecture(other);
        deploy(daemon, "app", &spec).await
    })
}

fn too_large(daemon: &mut Daemon) -> Play<'_> {
    Box::pin(async {
        let spec = ImageSpec::new("large").extra_layer_bytes(9 << 20);
        deploy(daemon, "large", &spec).await
    })
}

fn unsigned(daemon: &mut Daemon) -> Play<'_> {
    Box::pin(async { deploy(daemon, "signed", &ImageSpec::new("unsigned")).await })
}

fn missigned(daemon: &mut Daemon) -> Play<'_> {
    Box::pin(async {
        let sha = daemon.push(&ImageSpec::new("signed by somebody else"));
        let somebody = Signer::new().expect("a key pair");
        somebody
            .sign(&daemon.registry, "shop", &sha)
            .expect("signs");
        Some(
            daemon
                .ask(&daemon.deployment_of("signed", &sha).to_bytes())
                .await,
        )
    })
}

fn unlabeled(daemon: &mut Daemon) -> Play<'_> {
    Box::pin(async { deploy(daemon, "labeled", &ImageSpec::new("unlabeled")).await })
}

fn mislabeled(daemon: &mut Daemon) -> Play<'_> {
    Box::pin(async {
        let spec = ImageSpec::new("mislabeled").label(REVISION, SHA);
        deploy(daemon, "labeled", &spec).await
    })
}

fn broken_compose(daemon: &mut Daemon) -> Play<'_> {
    Box::pin(async { with_compose_file(daemon, |_| "services: [".to_owned()).await })
}

fn elsewhere(daemon: &mut Daemon) -> Play<'_> {
    Box::pin(async {
        with_compose_file(daemon, |fine| fine.replace("/shop:", "/elsewhere:")).await
    })
}

/// Deploys while the Compose file of `app` is another one.
async fn with_compose_file(daemon: &mut Daemon, change: impl Fn(&str) -> String) -> Option<Answer> {
    let file = daemon.compose_file();
    let fine = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, change(&fine)).expect("writes");
    let answer = deploy(daemon, "app", &ImageSpec::new("next")).await;
    std::fs::write(&file, fine).expect("writes");
    answer
}
