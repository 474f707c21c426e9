//! A listener whose process runs out of file descriptors. Alone in its binary, because the limit is one
//! of the whole process.

use std::fs::File;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use cutover_daemon::http::{Limits, Listener, serve};
use cutover_daemon::metrics::Metrics;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

/// Few enough to be used up quickly.
const DESCRIPTORS: u64 = 128;

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_goes_on_when_there_are_descriptors_again() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener::plain(any).expect("a port");
    let address = listener.address().expect("an address");
    let router = Router::new().route("/", get(async || "fine"));
    let never = std::future::pending();
    tokio::spawn(serve(
        listener,
        router,
        Limits::default(),
        Metrics::new(),
        never,
    ));

    let limit = Rlimit {
        current: Some(DESCRIPTORS),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, limit).expect("a lower limit");
    let socket = TcpSocket::new_v4().expect("a socket while there are some");
    let mut used_up = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        used_up.push(file);
    }
    let mut client = socket.connect(address).await.expect("the kernel takes it");
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    client
        .write_all(request)
        .await
        .expect("the kernel takes it");
    let mut answer = String::new();
    let early = tokio::time::timeout(
        Duration::from_millis(500),
        client.read_to_string(&mut answer),
    );
    assert!(early.await.is_err(), "nobody could accept it: {answer}");

    drop(used_up);
    let late = tokio::time::timeout(Duration::from_secs(30), client.read_to_string(&mut answer));
    late.await.expect("an answer in time").expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}
