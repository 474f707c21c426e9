//! A very small HTTP client: one request, one connection, no runtime.
//!
//! HTTP/1.0 is enough for Docker and for the registry, and ends every answer with the connection.

use std::io::{Read, Write};

use anyhow::{Context as _, Result, bail};

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// Status line and header fields, as they came.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header field.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    fn expect_whole(&self) -> Result<()> {
        let promised = self.header("content-length");
        if let Some(length) = promised.and_then(|text| text.parse::<usize>().ok())
            && self.body.len() < length
        {
            bail!(
                "the connection ended after {} of {length} bytes",
                self.body.len()
            );
        }
        Ok(())
    }

    /// The body as text, for error messages.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().to_owned()
    }
}

/// A request.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// `GET` and so on.
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) target: &'a str,
    /// Header fields, besides `Host`, `Content-Length` and `Connection`.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// The body; may be empty.
    pub(crate) body: &'a [u8],
}

impl<'a> Request<'a> {
    /// A `GET` without header fields.
    pub(crate) fn get(target: &'a str) -> Self {
        Self {
            method: "GET",
            target,
            headers: &[],
            body: &[],
        }
    }

    /// Sends the request and reads the whole answer.
    ///
    /// # Errors
    /// If the connection fails or what comes back is not HTTP.
    pub(crate) fn send(&self, host: &str, mut stream: impl Read + Write) -> Result<Answer> {
        let mut head = format!(
            "{} {} HTTP/1.0\r\nHost: {host}\r\n",
            self.method, self.target
        );
        for (name, value) in self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!(
            "Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(self.body)?;
        let mut received = Vec::new();
        stream.read_to_end(&mut received)?;
        let answer = parse(received)?;
        // A `HEAD` promises a length and sends nothing.
        if self.method != "HEAD" {
            answer.expect_whole()?;
        }
        Ok(answer)
    }
}

fn parse(mut received: Vec<u8>) -> Result<Answer> {
    let Some(end) = received.windows(4).position(|end| end == b"\r\n\r\n") else {
        bail!("the connection ended before an answer came");
    };
    let body = received.split_off(end + 4);
    let head = String::from_utf8_lossy(&received).into_owned();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse().ok())
        .with_context(|| format!("not an HTTP answer: {head:?}"))?;
    Ok(Answer { status, head, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_cut_short_is_an_error() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        let answer = parse(whole.to_vec()).expect("a whole answer");
        assert_eq!((answer.status, answer.text().as_str()), (200, "abc"));
        for length in 0..whole.len() {
            let answer = parse(whole[..length].to_vec());
            let cut = answer.and_then(|answer| answer.expect_whole());
            assert!(cut.is_err(), "{length} bytes");
        }
    }
}
