//! A client that sends bytes as they are, right or wrong.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The longest that anything here may take; whoever waits longer waits in vain.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Raw<IO> {
    pub(crate) io: IO,
    read: Vec<u8>,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header, if it is there.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body as JSON; null if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The body's `code`; empty if there is none.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Raw<IO> {
    pub(crate) fn new(io: IO) -> Self {
        Self {
            io,
            read: Vec::new(),
        }
    }

    /// Sends bytes; a peer that has hung up is noticed when its answer is read.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        drop(self.io.write_all(bytes).await);
        drop(self.io.flush().await);
    }

    /// Sends these bytes one by one, each a `pace` after the last, until an answer comes.
    ///
    /// # Panics
    /// If every byte was awaited, as by a bound that begins anew with each of them.
    pub(crate) async fn trickle(&mut self, bytes: &[u8], pace: Duration) -> Answer {
        for byte in bytes {
            self.send(&[*byte]).await;
            if tokio::time::timeout(pace, self.more()).await.is_ok() {
                return self.answer().await.expect("an answer");
            }
        }
        panic!("every byte was awaited");
    }

    /// Reads one answer; `None` if the connection ends without one.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        tokio::time::timeout(PATIENCE, self.read_answer())
            .await
            .expect("an answer or an end in time")
    }

    /// Whether nothing more comes.
    pub(crate) async fn ended(&mut self) -> bool {
        let mut byte = [0; 1];
        let read = tokio::time::timeout(PATIENCE, self.io.read(&mut byte));
        !matches!(read.await.expect("a byte or an end in time"), Ok(1))
    }

    async fn read_answer(&mut self) -> Option<Answer> {
        let head_len = loop {
            if let Some(at) = find(&self.read, b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&self.read[..head_len]).into_owned();
        self.read.drain(..head_len);
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let mut answer = Answer {
            status: status.expect("a status"),
            head,
            body: String::new(),
        };
        let body = match answer.header("content-length") {
            Some(len) => self.sized(len.parse().expect("a length")).await?,
            None => self.chunked().await?,
        };
        answer.body = String::from_utf8_lossy(&body).into_owned();
        Some(answer)
    }

    async fn sized(&mut self, len: usize) -> Option<Vec<u8>> {
        while self.read.len() < len {
            self.more().await?;
        }
        Some(self.read.drain(..len).collect())
    }

    async fn chunked(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let Some(at) = find(&self.read, b"\r\n") else {
                self.more().await?;
                continue;
            };
            let size = String::from_utf8_lossy(&self.read[..at]).into_owned();
            let size = usize::from_str_radix(size.trim(), 16).expect("a chunk's size");
            self.read.drain(..at + 2);
            let chunk = self.sized(size + 2).await?;
            if size == 0 {
                return Some(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    async fn more(&mut self) -> Option<()> {
        match self.io.read_buf(&mut self.read).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
