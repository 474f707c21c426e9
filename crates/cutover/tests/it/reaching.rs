//! Where no answer comes, or not from cutover: exit code 5, and what to do.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::binary::{Cutover, file};
use crate::server::{Act, Server};
use crate::views::SHA;

#[test]
fn a_missing_socket_says_how_to_start_the_daemon() {
    for arguments in [&["status"][..], &["deploy", "app", SHA], &["pause", "app"]] {
        let ended = Cutover::new(arguments).env("CUTOVER_SOCKET", "/nonexistent/cutover.sock");
        let ended = ended.run().with_code(5);
        assert!(
            ended
                .stderr
                .contains("no cutover daemon runs on this machine"),
            "{}",
            ended.stderr
        );
        assert!(
            ended.stderr.contains("systemctl start cutover"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn a_dead_socket_says_that_nothing_listens() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("bound"));
    let ended = Cutover::new(&["status"])
        .env("CUTOVER_SOCKET", &socket)
        .run()
        .with_code(5);
    assert!(
        ended.stderr.contains("nothing listens on"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("journalctl --unit cutover"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_closed_port_ends_with_5() {
    // Held and not listened on, so that it refuses and nobody else takes it.
    let closed = tokio::net::TcpSocket::new_v4().expect("a socket");
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    closed.bind(any).expect("a port");
    let port = closed.local_addr().expect("bound").port();
    let url = format!("http://127.0.0.1:{port}");
    let ended = Cutover::new(&["status", "--url", &url])
        .env("CUTOVER_TOKEN", "x")
        .run()
        .with_code(5);
    assert!(
        ended.stderr.contains("nothing listens at"),
        "{}",
        ended.stderr
    );
    let arguments = ["deploy", "app", SHA, "--url", &url, "--give-up-after", "1"];
    let ended = Cutover::new(&arguments)
        .env("CUTOVER_SECRET", "x")
        .run()
        .with_code(5);
    assert!(
        ended.stderr.contains("trying again"),
        "a restarting daemon is waited for: {}",
        ended.stderr
    );
}

#[test]
fn a_proxys_answer_is_called_that() {
    let server = Server::start();
    for (status, words) in [
        (502, "the proxy could not reach the daemon"),
        (504, "raise its read timeout"),
        (429, "see the proxy's own log"),
    ] {
        let page = Act::page(status, "<html><h1>\u{1b}[31mnginx</h1>");
        server.on("GET /v1/services", [page.clone()]);
        let ended = Cutover::local(&server, &["status"]).run().with_code(5);
        let expected = format!("a proxy in front of cutover answered {status}");
        assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("cutover never answers this"),
            "{}",
            ended.stderr
        );
        assert!(ended.stderr.contains(words), "{}", ended.stderr);

        server.always("POST /deploy", page);
        let ended = Cutover::local(&server, &["deploy", "app", SHA, "--give-up-after", "1"]);
        let ended = ended.run().with_code(5);
        assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("a deployment may be under way"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let server = Server::start();
    let away = Act::json(307, "").with("location", "https://elsewhere.example/deploy");
    server.always("POST /deploy", away);
    let ended = Cutover::local(&server, &["deploy", "app", SHA]);
    let ended = ended.run().with_code(5);
    assert!(
        ended.stderr.contains("a redirect was answered"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_request_that_went_elsewhere_is_sent_once_and_nothing_was_changed() {
    for status in [301, 307, 403, 404, 405] {
        let server = Server::start();
        server.always("POST /deploy", Act::page(status, "<html>not here</html>"));
        let ended = Cutover::local(&server, &["deploy", "app", SHA])
            .run()
            .with_code(5);
        assert!(
            ended.stderr.contains("nothing was changed"),
            "{status}: {}",
            ended.stderr
        );
        assert!(
            !ended.stderr.contains("may be under way"),
            "{status}: {}",
            ended.stderr
        );
        assert_eq!(server.lines(), ["POST /deploy"], "{status}");
    }
}

#[test]
fn a_request_that_goes_elsewhere_after_a_lost_answer_may_have_been_accepted() {
    let server = Server::start();
    server.on("POST /deploy", [Act::Drop, Act::page(404, "<html>")]);
    let ended = Cutover::local(&server, &["deploy", "app", SHA])
        .run()
        .with_code(5);
    assert!(
        ended.stderr.contains("a deployment may be under way"),
        "{}",
        ended.stderr
    );
    assert!(
        !ended.stderr.contains("nothing was changed"),
        "{}",
        ended.stderr
    );
    assert_eq!(server.lines().len(), 2);
}

#[test]
fn a_success_that_is_not_cutovers_is_none() {
    let server = Server::start();
    server.on("GET /v1/services", [Act::json(200, "{\"status\":\"ok\"}")]);
    let ended = Cutover::local(&server, &["status"]).run().with_code(5);
    assert!(
        ended
            .stderr
            .contains("something other than cutover answered"),
        "{}",
        ended.stderr
    );
}

/// A server with a certificate for these names, and the certificate as PEM.
fn tls_server(names: &[&str], not_after: Option<(i32, u8, u8)>) -> (Server, String) {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut parameters = rcgen::CertificateParams::new(names).expect("names");
    if let Some((year, month, day)) = not_after {
        parameters.not_after = rcgen::date_time_ymd(year, month, day);
    }
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .expect("a usable certificate");
    (Server::start_with(Some(Arc::new(tls))), certificate.pem())
}

#[test]
fn a_certificate_problem_is_named() {
    let (server, pem) = tls_server(&["localhost"], None);
    let trusted = file(&pem);
    let other = file(&tls_server(&["localhost"], None).1);
    let url = server.tls_url("localhost");
    let status = |url: &str, authority: &std::path::Path| {
        Cutover::new(&["status", "--url", url])
            .env("CUTOVER_TOKEN", "x")
            .env("SSL_CERT_FILE", authority)
            .run()
    };

    server.on("GET /v1/services", [Act::json(200, "{\"services\":[]}")]);
    status(&url, trusted.path()).with_code(0);
    let ended = status(&url, other.path()).with_code(5);
    assert!(
        ended
            .stderr
            .contains("issued by nobody this machine trusts"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("SSL_CERT_FILE"), "{}", ended.stderr);
    let ended = status(&server.tls_url("127.0.0.1"), trusted.path()).with_code(5);
    assert!(
        ended.stderr.contains("is for another name"),
        "{}",
        ended.stderr
    );

    assert!(
        ended.stderr.contains("it is for localhost\n"),
        "{}",
        ended.stderr
    );

    let (expired, pem) = tls_server(&["localhost"], Some((2020, 1, 1)));
    let ended = status(&expired.tls_url("localhost"), file(&pem).path()).with_code(5);
    assert!(ended.stderr.contains("has expired"), "{}", ended.stderr);

    let plain = Server::start();
    let ended = status(&plain.tls_url("localhost"), trusted.path()).with_code(5);
    assert!(
        ended.stderr.contains("does not speak TLS on this port"),
        "{}",
        ended.stderr
    );
}
