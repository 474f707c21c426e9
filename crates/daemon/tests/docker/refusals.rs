//! Every way in which a real registry, or the way to it, refuses an image, in Docker's real words.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use cutover_api::event::PullProgress;
use cutover_core::cause::Code;
use cutover_daemon::docker::pull::PullError;
use cutover_daemon::docker::{Bounds, Docker};
use cutover_testkit::images::ImageSpec;
use cutover_testkit::registry::damage::{Damage, Part};
use cutover_testkit::registry::{Auth, Registry};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::bench::{Bench, eventually};

fn registry() -> Registry {
    Registry::start(Auth::None).expect("a registry")
}

/// Both ways to ask for an image must come to the same conclusion, and quote one of these words; which,
/// depends on whether Docker or containerd keeps the images. Returns what they say.
#[track_caller]
fn assert_refused(asked: [Result<(), PullError>; 2], code: Code, words: &[&str]) -> [String; 2] {
    asked.map(|answer| {
        let error = answer.expect_err("refused");
        assert_eq!(error.code, code, "{error}");
        let detail = error.detail.to_lowercase();
        assert!(words.iter().any(|word| detail.contains(word)), "{error}");
        detail
    })
}

async fn ask(bench: &Bench, reference: &str) -> [Result<(), PullError>; 2] {
    [
        bench
            .docker
            .pull(reference, None, None, |_| {})
            .await
            .map(drop),
        bench.docker.manifest(reference, None).await.map(drop),
    ]
}

#[tokio::test]
async fn a_tag_or_a_repository_that_is_not_there() {
    let (bench, registry) = (Bench::new(), registry());
    registry
        .push("shop", "1", &ImageSpec::new("1"))
        .expect("pushed");
    for reference in [
        registry.reference("shop", "2"),
        registry.reference("nothing", "1"),
    ] {
        assert_refused(
            ask(&bench, &reference).await,
            Code::ImageNotFound,
            &["manifest unknown", ": not found"],
        );
    }
}

#[tokio::test]
async fn a_registry_that_is_down_or_has_no_name() {
    let (bench, mut registry) = (Bench::new(), registry());
    registry
        .push("shop", "1", &ImageSpec::new("1"))
        .expect("pushed");
    registry.stop().expect("stopped");
    let reference = registry.reference("shop", "1");
    for detail in assert_refused(
        ask(&bench, &reference).await,
        Code::RegistryUnavailable,
        &["connection refused"],
    ) {
        assert!(detail.contains("in 4 attempts"), "{detail}");
    }
    let asked = ask(&bench, "registry.invalid/shop:1").await;
    assert_refused(asked, Code::RegistryUnavailable, &["registry.invalid"]);
}

#[tokio::test]
async fn a_registry_that_comes_back_meanwhile_is_no_failure() {
    let (bench, registry) = (Bench::new(), registry());
    let spec = ImageSpec::new(&bench.name);
    registry.push("shop", "1", &spec).expect("pushed");
    let proxy = Proxy::start("127.0.0.1:0", registry.addr()).await;
    proxy.refuses.store(true, Ordering::SeqCst);
    let reference = format!("{}/shop:1", proxy.address);
    let docker = bench.docker.clone();
    let pull = tokio::spawn(async move {
        docker
            .pull_pinned(&reference, None, None, None, |_| {})
            .await
    });
    eventually("an attempt", async || {
        proxy.refused.load(Ordering::SeqCst) > 0
    })
    .await;
    proxy.refuses.store(false, Ordering::SeqCst);
    let pinned = pull.await.expect("no panic").expect("pulled");
    bench
        .docker
        .remove_image(&pinned.id)
        .await
        .expect("removed");
}

#[tokio::test]
async fn a_registry_without_tls_where_docker_wants_it() {
    // Docker speaks plain HTTP on loopback addresses only; its own bridge has another one.
    let (bench, registry) = (Bench::new(), registry());
    let gateway = bench.cli(&[
        "network",
        "inspect",
        "bridge",
        "--format",
        "{{(index .IPAM.Config 0).Gateway}}",
    ]);
    let proxy = Proxy::start(&format!("{gateway}:0"), registry.addr()).await;
    let reference = format!("{}/shop:1", proxy.address);
    let asked = ask(&bench, &reference).await;
    for detail in assert_refused(
        asked,
        Code::RegistryUnavailable,
        &["server gave http response to https client"],
    ) {
        // That does not heal by itself, so that it is not tried again.
        assert!(!detail.contains("attempts"), "{detail}");
    }
}

#[tokio::test]
async fn what_a_registry_answers_in_bad_moments() {
    for (status, body, code, words) in [
        (
            "503 Service Unavailable",
            "",
            Code::RegistryUnavailable,
            &["503"][..],
        ),
        (
            "500 Internal Server Error",
            "",
            Code::RegistryUnavailable,
            &["500"],
        ),
        (
            "429 Too Many Requests",
            r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#,
            Code::RegistryUnavailable,
            &["toomanyrequests", "too many requests"],
        ),
        (
            "403 Forbidden",
            r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#,
            Code::RegistryDenied,
            &["denied", "forbidden"],
        ),
        (
            "404 Not Found",
            r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}"#,
            Code::ImageNotFound,
            &["name unknown", ": not found"],
        ),
    ] {
        let bench = Bench::new();
        let address = canned(status, body).await;
        let asked = ask(&bench, &format!("{address}/shop:1")).await;
        assert_refused(asked, code, words);
    }
}

#[tokio::test]
async fn a_pull_of_an_image_that_the_registry_keeps_in_part_says_to_push_it_again() {
    for (part, damage) in [
        (Part::LastLayer, Damage::Missing),
        (Part::LastLayer, Damage::Altered),
        (Part::LastLayer, Damage::CutShort),
        (Part::Configuration, Damage::Missing),
        (Part::Configuration, Damage::Altered),
    ] {
        let (bench, registry) = (Bench::new(), registry());
        let spec = ImageSpec::new(&bench.name).extra_layer_bytes(100_000);
        registry.push("shop", "1", &spec).expect("pushed");
        registry.damage(&spec, part, damage).expect("damaged");
        let reference = registry.reference("shop", "1");
        let pull = bench.docker.pull(&reference, None, None, |_| {}).await;
        let error = pull.expect_err("it is damaged");
        let what = format!("{part:?} {damage:?}: {error}");
        assert_eq!(error.code, Code::ImageIncomplete, "{what}");
        // Only a layer that ends early may have been cut by the network, which is what containerd's store says of it.
        let again = error.detail.contains("attempts to pull");
        assert!(damage == Damage::CutShort || !again, "{what}");
    }
}

/// A registry that exists, and answers everything else with this.
async fn canned(status: &'static str, body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        // Docker tries TLS first, which begins with this byte, and goes on without TLS when it
                        // gets an answer in HTTP.
                        Ok(0x16) => {
                            let answer = b"HTTP/1.0 400 Bad Request\r\n\r\nno TLS here\n";
                            let _ = stream.write_all(answer).await;
                            return;
                        }
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let (status, body) = if head.starts_with("GET /v2/ ") {
                    ("200 OK", "{}")
                } else {
                    (status, body)
                };
                let length = body.len();
                let mut answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                );
                if !head.starts_with("HEAD") {
                    answer.push_str(body);
                }
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_registry_that_falls_silent_in_the_middle_of_a_layer() {
    let (bench, registry) = (Bench::new(), registry());
    let spec = ImageSpec::new(&bench.name).extra_layer_bytes(30_000_000);
    registry.push("shop", "1", &spec).expect("pushed");
    let proxy = Proxy::start("127.0.0.1:0", registry.addr()).await;
    proxy.stalls.store(true, Ordering::SeqCst);
    let bounds = Bounds {
        pull_idle: Duration::from_secs(1),
        ..Bounds::default()
    };
    let docker = Docker::with_bounds(bench.docker.socket(), bounds);
    let reference = format!("{}/shop:1", proxy.address);
    let mut bytes = 0;
    let pull = docker.pull(&reference, None, None, |progress: PullProgress| {
        bytes = progress.current_bytes.max(bytes);
    });
    let error = pull.await.expect_err("it stalls");
    assert_eq!(error.code, Code::RegistryUnavailable);
    assert!(
        error.detail.contains("in 4 attempts: nothing came for 1 s"),
        "{error}"
    );
    assert!(bytes > 0, "it had begun");
    // And when it speaks again, the same pull goes through, however slow the machine is.
    proxy.stalls.store(false, Ordering::SeqCst);
    let docker = &bench.docker;
    let pinned = docker
        .pull_pinned(&reference, None, None, None, |_| {})
        .await
        .expect("pulled");
    docker.remove_image(&pinned.id).await.expect("removed");
}

/// Forwards to a registry; on request nothing after the first five megabytes of a connection, or nothing.
struct Proxy {
    address: SocketAddr,
    stalls: Arc<AtomicBool>,
    refuses: Arc<AtomicBool>,
    /// How many connections were refused.
    refused: Arc<AtomicUsize>,
    _server: AbortOnDropHandle<()>,
}

impl Proxy {
    async fn start(listen: &str, target: SocketAddr) -> Self {
        let listener = TcpListener::bind(listen).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let stalls = Arc::new(AtomicBool::new(false));
        let stalling = Arc::clone(&stalls);
        let (refuses, refused) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (refusing, counted) = (Arc::clone(&refuses), Arc::clone(&refused));
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if refusing.load(Ordering::SeqCst) {
                    counted.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                tokio::spawn(forward(client, target, Arc::clone(&stalling)));
            }
        });
        Self {
            address,
            stalls,
            refuses,
            refused,
            _server: AbortOnDropHandle::new(server),
        }
    }
}

async fn forward(client: TcpStream, target: SocketAddr, stalls: Arc<AtomicBool>) {
    const FREE_BYTES: usize = 5_000_000;
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    });
    let mut sent = 0;
    let mut piece = vec![0; 64 * 1024];
    while let Ok(len) = from_server.read(&mut piece).await {
        if len == 0 || to_client.write_all(&piece[..len]).await.is_err() {
            return;
        }
        sent += len;
        while sent > FREE_BYTES && stalls.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
