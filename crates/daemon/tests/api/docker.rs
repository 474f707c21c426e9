//! Asks Docker itself what is there, not the daemon.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use cutover_testkit::world;
use serde_json::Value;

use crate::wire::PATIENCE;

/// What Docker answers, as JSON; null for an error or nothing.
pub(crate) fn docker(method: &str, path: &str) -> Value {
    call(method, path).unwrap_or_default()
}

fn call(method: &str, path: &str) -> Option<Value> {
    let mut stream = UnixStream::connect(world().socket()).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    // HTTP/1.0, so that the answer ends with the connection; and no version, so that any Docker has it.
    let request = format!("{method} {path} HTTP/1.0\r\nhost: docker\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let fine = head.split(' ').nth(1)?.starts_with('2');
    fine.then(|| serde_json::from_str(body).ok())?
}
