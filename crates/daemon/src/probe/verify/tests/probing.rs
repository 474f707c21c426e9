//! Probes beside the health check.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::settings::{HttpProbe, TcpProbe};

/// Answers one request after the other with these, and ends when all were given.
async fn serve(answers: [&'static str; 3]) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let served = tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = [0; 1024];
            drop(stream.read(&mut request).await);
            let text = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(text.as_bytes()).await.expect("a reader");
        }
    });
    (port, served)
}

#[tokio::test]
async fn probes_count_beside_the_health_check_and_the_first_is_sent_at_once() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let probe = TcpProbe {
        interval: Duration::from_secs(30),
        ..TcpProbe::new(listener.local_addr().expect("bound").port())
    };
    let with_probe = Checks {
        tcp: Some(probe),
        ..patient()
    };
    let mut scene = Scene::new();
    scene
        .container("/HostConfig/NetworkMode", "host")
        .health("healthy", "");
    let verify = scene.verify(with_probe.clone()).await;
    assert_eq!(
        outcome(verify).await,
        Ok(()),
        "long before the interval is over"
    );
    // It is not ready yet, and the interval is long: it is probed again soon all the same, and docker's word
    // alone is not enough.
    let (port, served) = serve(["503 Not Yet", "503 Not Yet", "200 OK"]).await;
    let with_http = Checks {
        http: Some(HttpProbe {
            port: Some(port),
            interval: Duration::from_secs(30),
            ..HttpProbe::default()
        }),
        ..patient()
    };
    let verify = scene.verify(with_http).await;
    assert_eq!(outcome(verify).await, Ok(()));
    let served = tokio::time::timeout(Duration::from_secs(20), served).await;
    served.expect("all three are taken").expect("no panic");
    // A container without an address cannot be probed.
    let mut scene = Scene::new();
    scene.container("/HostConfig/NetworkMode", "none");
    let verify = scene.verify(with_probe).await;
    let failure = outcome(verify).await.expect_err("no address");
    assert!(
        failure.to_string().contains("has no address of its own"),
        "{failure}"
    );
}
