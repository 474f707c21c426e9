//! Against a server of a few lines on the loopback interface.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::*;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Answers every request by what the test says, and keeps the requests.
struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Clone)]
enum Answer {
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// These bytes, then one more for ever after each pause.
    Drip(&'static str, Duration),
    /// A head, then bytes without end.
    Flood,
}

impl Server {
    async fn start(answer: Answer) -> Self {
        Self::listen(answer, None).await
    }

    async fn listen(answer: Answer, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((LOOPBACK, 0)).await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let (answer, kept, tls) = (answer.clone(), Arc::clone(&kept), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                let name = stream.get_ref().1.server_name().map(str::to_owned);
                                kept.lock().expect("no panic").push(format!("sni {name:?}"));
                                serve(stream, answer, &kept).await;
                            }
                        }
                        None => serve::<TcpStream>(stream, answer, &kept).await,
                    }
                });
            }
        });
        Self {
            port,
            requests,
            _task: AbortOnDropHandle::new(task),
        }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic").clone()
    }

    async fn probe(&self, probe: &HttpProbe) -> Result<(), String> {
        let prober = HttpProber::new(LOOPBACK, self.port, probe).expect("a prober");
        let probed = prober.probe().await;
        probed.map_err(|failure| failure.why.replace(&format!(":{}", self.port), ":PORT"))
    }
}

async fn serve<S>(mut stream: S, answer: Answer, kept: &Mutex<Vec<String>>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let text = String::from_utf8_lossy(&request).to_lowercase();
    kept.lock().expect("no panic").push(text);
    match answer {
        Answer::Bytes(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Answer::Drip(head, pause) => {
            let _ = stream.write_all(head.as_bytes()).await;
            while stream.write_all(b"x").await.is_ok() {
                let _ = stream.flush().await;
                tokio::time::sleep(pause).await;
            }
        }
        Answer::Flood => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[b'x'; 64 * 1024]).await.is_ok() {}
        }
    }
}

fn answer(status: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    Answer::Bytes(
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
            .into_bytes(),
    )
}

fn probe() -> HttpProbe {
    HttpProbe {
        path: "/healthz?full=1".to_owned(),
        timeout: Duration::from_secs(10),
        ..HttpProbe::default()
    }
}

#[tokio::test]
async fn a_status_in_range_passes() {
    for (status, range, passes) in [
        ("200 OK", 200..=299, true),
        ("204 No Content", 204..=204, true),
        ("301 Moved", 200..=399, true),
        ("200 OK", 204..=204, false),
        ("503 Busy", 200..=299, false),
    ] {
        let server = Server::start(answer(status, "", "")).await;
        let probe = HttpProbe {
            status: range,
            ..probe()
        };
        assert_eq!(server.probe(&probe).await.is_ok(), passes, "{status}");
    }
}

#[tokio::test]
async fn the_request_names_the_configured_host_and_never_a_proxy() {
    let server = Server::start(answer("200 OK", "", "fine")).await;
    let named = HttpProbe {
        host: Some("shop.example.com".to_owned()),
        ..probe()
    };
    server.probe(&named).await.expect("healthy");
    server.probe(&probe()).await.expect("healthy");
    let requests = server.requests();
    assert!(
        requests[0].starts_with("get /healthz?full=1 http/1.1\r\n"),
        "{}",
        requests[0]
    );
    assert!(
        requests[0].contains("\r\nhost: shop.example.com\r\n"),
        "{}",
        requests[0]
    );
    assert!(
        requests[1].contains(&format!("\r\nhost: 127.0.0.1:{}\r\n", server.port)),
        "{}",
        requests[1]
    );
}

#[tokio::test]
async fn a_host_that_is_an_address_does_not_lead_the_probe_elsewhere() {
    let server = Server::start(answer("200 OK", "", "")).await;
    for host in ["127.0.0.2", "127.0.0.2:1", "[::1]"] {
        let probe = HttpProbe {
            host: Some(host.to_owned()),
            ..probe()
        };
        server.probe(&probe).await.expect("the container itself");
    }
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn an_unexpected_answer_is_quoted_without_control_characters() {
    let server = Server::start(answer("500 No", "", "database\r\n\x1b[31mdown")).await;
    assert_eq!(
        server.probe(&probe()).await,
        Err("http://127.0.0.1:PORT/healthz?full=1: status 500, not 200-299; it says: database  down".to_owned())
    );
    let server = Server::start(answer("302 Found", "location: /healthz?full=1\r\n", "")).await;
    let words = server.probe(&probe()).await.expect_err("a loop");
    assert!(
        words.contains("redirects to /healthz?full=1 are not followed"),
        "{words}"
    );
    assert_eq!(server.requests().len(), 1, "not followed");
}

#[tokio::test]
async fn of_a_secret_across_the_cut_of_a_quote_the_mask_leaves_nothing() {
    let secret = "schlüssel-hunter2";
    let mask = cutover_core::mask::Mask::new([secret.to_owned()]);
    // Cut after so many characters, and, behind a space that is not quoted, after so many bytes.
    for before in ["x".repeat(190), format!("{}x", " ".repeat(789))] {
        let body = format!("{before}{secret}{}", "y".repeat(900));
        let server = Server::start(answer("500 No", "", &body)).await;
        let words = server.probe(&probe()).await.expect_err("500");
        let shown = mask.apply(&words);
        assert!(shown.ends_with("x***…"), "{shown}");
    }
}

#[tokio::test]
async fn a_body_that_never_ends_fails_in_time_and_in_bounds() {
    let short = HttpProbe {
        timeout: Duration::from_millis(300),
        ..probe()
    };
    for head in ["HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
        let server = Server::start(Answer::Drip(head, Duration::from_millis(20))).await;
        let words = server.probe(&short).await.expect_err(head);
        assert!(
            words.ends_with("no complete answer within 0.3 s"),
            "{words}"
        );
    }
    let server = Server::start(Answer::Flood).await;
    let words = server.probe(&probe()).await.expect_err("10 GB");
    assert!(
        words.ends_with("the answer is longer than 65536 bytes"),
        "{words}"
    );
}

#[tokio::test]
async fn a_connection_that_fails_is_told_in_few_words() {
    // Held and not listened on, so that it refuses and nobody else takes it.
    let closed = TcpSocket::new_v4().expect("a socket");
    closed.bind((LOOPBACK, 0).into()).expect("a port");
    let port = closed.local_addr().expect("bound").port();
    let prober = HttpProber::new(LOOPBACK, port, &probe()).expect("a prober");
    let words = prober.probe().await.expect_err("closed").why;
    assert!(words.ends_with(": connection refused"), "{words}");

    let server = Server::start(Answer::Bytes(b"SSH-2.0-OpenSSH\r\n".to_vec())).await;
    let words = server.probe(&probe()).await.expect_err("no HTTP");
    assert!(words.contains("invalid HTTP"), "{words}");
}

/// A server's side of TLS with this certificate.
fn acceptor(made: &rcgen::CertifiedKey<rcgen::KeyPair>) -> TlsAcceptor {
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.expect("a key"))
        .expect("a server");
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn tls_is_verified_or_not_as_configured_and_carries_the_name() {
    let names = vec!["shop.example.com".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let tls = acceptor(&made);
    let server = Server::listen(answer("200 OK", "", ""), Some(tls)).await;
    let insecure = HttpProbe {
        host: Some("shop.example.com".to_owned()),
        tls: HttpTls::OnWithoutVerification,
        ..probe()
    };
    server.probe(&insecure).await.expect("healthy");
    assert!(
        server
            .requests()
            .contains(&r#"sni Some("shop.example.com")"#.to_owned())
    );
    let verified = HttpProbe {
        tls: HttpTls::On,
        ..insecure
    };
    let prober = HttpProber::new(LOOPBACK, server.port, &verified);
    // Where the machine has no authorities at all, the prober says so instead.
    let words = match prober {
        Ok(prober) => prober.probe().await.expect_err("self-signed").why,
        Err(failure) => failure.why,
    };
    assert!(words.to_lowercase().contains("certificate"), "{words}");
    let plain = server.probe(&probe()).await;
    assert!(plain.is_err(), "plain HTTP to a TLS port");
}

#[tokio::test]
async fn a_url_is_asked_as_it_is_and_its_certificate_is_checked() {
    let asked = async |scheme: &str, server: &Server| {
        let probe = UrlProbe {
            url: format!("{scheme}://localhost:{}/health?deep=1", server.port),
            http: HttpProbe::default(),
        };
        // Where the machine has no authorities at all, the prober says so instead.
        let prober = HttpProber::of_url(&probe).map_err(|failure| failure.why)?;
        prober.probe().await.map_err(|failure| failure.why)
    };
    let server = Server::start(answer("200 OK", "", "fine")).await;
    asked("http", &server).await.expect("healthy");
    let requests = server.requests();
    assert!(
        requests[0].starts_with("get /health?deep=1 http/1.1\r\n")
            && requests[0].contains(&format!("\r\nhost: localhost:{}\r\n", server.port)),
        "{}",
        requests[0]
    );
    let broken = Server::start(answer("502 Bad Gateway", "", "")).await;
    let words = asked("http", &broken).await.expect_err("502");
    assert!(words.contains("status 502, not 200-299"), "{words}");

    let names = vec!["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let own = Server::listen(answer("200 OK", "", ""), Some(acceptor(&made))).await;
    let words = asked("https", &own)
        .await
        .expect_err("nobody vouches for it");
    assert!(words.to_lowercase().contains("certificate"), "{words}");
    assert_eq!(own.requests().len(), 0);
}
