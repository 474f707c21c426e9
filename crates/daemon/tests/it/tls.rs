//! The TLS listener with a real client.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use cutover_daemon::http::{Identity, Limits, Listener, Reload};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::served::{Served, short_limits};
use crate::wire::Raw;

/// A pair in files, and a listener that uses it.
struct Secured {
    served: Served,
    identity: Identity,
    dir: tempfile::TempDir,
}

impl Secured {
    fn new() -> (Self, CertificateDer<'static>) {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> (Self, CertificateDer<'static>) {
        let dir = tempfile::tempdir().expect("a directory");
        let certificate = renew(&dir);
        let [cert, key] = paths(&dir);
        let identity = Identity::load(&cert, &key).expect("a pair");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::tls(any, identity.clone()).expect("a port");
        let secured = Self {
            served: Served::on(listener, limits),
            identity,
            dir,
        };
        (secured, certificate)
    }

    /// A connection by a client that trusts `root` and nobody else.
    async fn connect(
        &self,
        root: &CertificateDer<'static>,
    ) -> std::io::Result<Raw<TlsStream<TcpStream>>> {
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TcpStream::connect(self.served.address).await?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await?;
        Ok(Raw::new(stream))
    }
}

fn paths(dir: &tempfile::TempDir) -> [PathBuf; 2] {
    ["tls.crt", "tls.key"].map(|name| dir.path().join(name))
}

fn renew(dir: &tempfile::TempDir) -> CertificateDer<'static> {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a pair");
    let [cert, key] = paths(dir);
    std::fs::write(cert, pair.cert.pem()).expect("writes");
    std::fs::write(key, pair.signing_key.serialize_pem()).expect("writes");
    pair.cert.der().clone()
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn requests_are_answered_in_http_1_1_over_tls() {
    let (secured, certificate) = Secured::new();
    let mut raw = secured.connect(&certificate).await.expect("connects");
    assert_eq!(raw.io.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    raw.send(REQUEST).await;
    assert_eq!(raw.answer().await.expect("an answer").body, "fine");
}

#[tokio::test]
async fn plain_http_on_the_tls_port_is_told_that_it_speaks_https() {
    let (secured, _certificate) = Secured::new();
    let mut raw = secured.served.connect().await;
    raw.send(REQUEST).await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (400, "bad_request")
    );
    assert!(
        answer.body.contains("this port speaks HTTPS"),
        "{}",
        answer.body
    );
    assert!(raw.answer().await.is_none(), "and that is all");
}

#[tokio::test]
async fn a_handshake_that_does_not_happen_ends_in_time() {
    let (secured, _certificate) = Secured::with(short_limits());
    let mut raw = secured.served.connect().await;
    assert!(raw.answer().await.is_none());
    let counted = secured.served.metrics.encode(&[]).expect("text");
    assert!(
        counted.contains("cutover_tls_handshakes_failed_total 1"),
        "{counted}"
    );
}

#[tokio::test]
async fn a_renewed_certificate_is_served_to_the_next_connection() {
    let (secured, first) = Secured::new();
    let mut before = secured.connect(&first).await.expect("connects");
    let second = renew(&secured.dir);
    assert!(matches!(secured.identity.reload(), Reload::Replaced));
    assert!(secured.connect(&second).await.is_ok());
    assert!(
        secured.connect(&first).await.is_err(),
        "the old one is not served any more"
    );
    before.send(REQUEST).await;
    assert_eq!(before.answer().await.expect("an answer").body, "fine");
}
