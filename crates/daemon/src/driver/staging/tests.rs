//! Calls at the socket, with a Docker of our own behind it.

use std::io::{Read as _, Write as _};
use std::os::unix::net;

use cutover_core::names::DeploymentId;

use super::*;

/// Asks at a socket and returns the whole answer.
fn ask(socket: &Path, call: &str, body: &str) -> String {
    let mut stream = net::UnixStream::connect(socket).expect("the socket");
    let length = body.len();
    let request = format!(
        "{call} HTTP/1.1\r\nhost: docker\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// A Docker that gives one answer to every call.
fn docker_that_answers(directory: &Path, answer: &'static str) -> PathBuf {
    let path = directory.join("docker.sock");
    let listener = net::UnixListener::bind(&path).expect("a socket");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = [0; 4096];
            let read = stream.read(&mut request).expect("a request");
            assert!(read > 0, "an empty request");
            stream.write_all(answer.as_bytes()).expect("an answer");
        }
    });
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_empty_answer_to_connecting_a_network_passes() {
    let directory = tempfile::tempdir().expect("a directory");
    let docker = docker_that_answers(
        directory.path(),
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    );
    let mark = Mark {
        deployment: DeploymentId::new("01938f3e-7c1a-7abc-8def-0123456789ab").expect("a UUID"),
        purpose: rewrite::Purpose::NewRelease,
        service: "web".into(),
        project: "shop".into(),
        services: std::collections::BTreeMap::from([("app".to_owned(), Default::default())]),
        volumes: std::collections::BTreeMap::new(),
    };
    let mut view = View::new(Vec::new(), Vec::new());
    let new = NewContainer::created("bbbbbbbbbbbbbbbb", "app", "shop-app-1");
    view.created(new);
    let path = directory.path().join("staging.sock");
    let socket = StagingSocket::open(&path, &docker, mark, view).expect("a socket");
    let answer = tokio::task::spawn_blocking(move || {
        ask(
            &path,
            "POST /v1.43/networks/shop_back/connect",
            r#"{"Container":"bbbbbbbbbbbbbbbb"}"#,
        )
    });
    let answer = answer.await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    drop(socket);
}

#[test]
fn versions_are_taken_off_paths() {
    assert_eq!(unversioned("/v1.51/containers/json"), "/containers/json");
    assert_eq!(unversioned("/containers/json"), "/containers/json");
    assert_eq!(unversioned("/volumes/x"), "/volumes/x");
    assert_eq!(unversioned("/_ping"), "/_ping");
}
