//! A small HTTP client for measuring: requests as bytes made beforehand, and nothing between
//! the caller and the socket.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// The longest that an answer may take; a deployment is answered when it has ended.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A `POST` of JSON, as bytes.
pub(super) fn post(path: &str, signature: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         X-Hub-Signature-256: {signature}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// A `GET`, as bytes.
pub(super) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// How long it is, with its head.
    pub(super) bytes: usize,
}

/// Sends one request on a connection of its own and reads the whole answer.
pub(super) fn send(address: SocketAddr, request: &[u8]) -> Result<Answer> {
    let mut stream =
        TcpStream::connect(address).with_context(|| format!("{address} cannot be reached"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(request)?;
    let mut received = Vec::new();
    loop {
        let mut buffer = [0_u8; 4096];
        let count = stream.read(&mut buffer)?;
        received.extend_from_slice(&buffer[..count]);
        match parse(&received)? {
            Some(answer) => return Ok(answer),
            None if count == 0 => bail!("the connection ended before the answer was whole"),
            None => {}
        }
    }
}

/// The answer, once all of it is there.
fn parse(received: &[u8]) -> Result<Option<Answer>> {
    let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&received[..end]).context("not an HTTP answer")?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse().ok())
        .with_context(|| format!("not an HTTP answer: {head:?}"))?;
    let field = |name: &str| {
        head.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    };
    let length: usize = field("content-length")
        .and_then(|text| text.parse().ok())
        .context("an answer without a length")?;
    let Some(body) = received.get(end + 4..end + 4 + length) else {
        return Ok(None);
    };
    Ok(Some(Answer {
        status,
        body: body.to_vec(),
        bytes: end + 4 + length,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_parsed_when_all_of_it_is_there() {
        let whole =
            b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno\n";
        for length in 0..whole.len() {
            assert!(
                parse(&whole[..length]).expect("HTTP").is_none(),
                "{length} bytes"
            );
        }
        let answer = parse(whole).expect("HTTP").expect("whole");
        assert_eq!((answer.status, answer.body.as_slice()), (401, &b"no\n"[..]));
        assert_eq!(answer.bytes, whole.len());
    }
}
