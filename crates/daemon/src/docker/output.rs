//! What a container wrote to its standard output and error.

use std::collections::VecDeque;

use bytes::Bytes;
use cutover_api::event::OutputLine;
use cutover_core::mask::CUT;
use futures_util::Stream;
use futures_util::stream;
use http::{Response, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::Docker;
use super::error::DockerError;
use super::query::is_container_name;

/// What is kept of a line, in bytes. Longer ones are data, not messages.
const LINE_LEN_MAX: usize = 8 * 1024;

/// How Docker marks an answer in which standard output and error are told apart.
const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// How much of the last output is kept; whichever is reached first.
#[derive(Debug, Clone, Copy)]
pub struct OutputLimits {
    /// Lines.
    pub lines_max: usize,
    /// Bytes, over all lines.
    pub bytes_max: usize,
}

impl Docker {
    /// The last lines that the container wrote, oldest first.
    ///
    /// # Errors
    /// Also when the container's logging driver cannot be read back; a deployment does not depend on it.
    pub async fn last_output(
        &self,
        id: &str,
        limits: OutputLimits,
    ) -> Result<Vec<OutputLine>, DockerError> {
        let query = format!("tail={}", limits.lines_max);
        self.bounded("reading a container's output", self.bounds.call, async {
            let mut reader = self.output(id, &query).await?;
            let mut kept = VecDeque::new();
            let mut bytes = 0;
            while let Some(line) = reader.next().await {
                bytes += line.line.len();
                kept.push_back(line);
                while kept.len() > limits.lines_max || bytes > limits.bytes_max {
                    let Some(dropped) = kept.pop_front() else {
                        break;
                    };
                    bytes -= dropped.line.len();
                }
            }
            Ok(kept.into())
        })
        .await
    }

    /// What the container writes, from its first line on, live. Ask after it was started.
    ///
    /// The stream ends when the container does, when the connection is cut, or at once when the output cannot
    /// be read: it is there to be looked at, nothing is decided by it.
    pub fn follow_output(&self, id: &str) -> impl Stream<Item = OutputLine> + Send + use<> {
        enum Follow {
            Begin(Box<(Docker, String)>),
            Read(Box<Reader>),
        }
        let begin = Follow::Begin(Box::new((self.clone(), id.to_owned())));
        stream::unfold(begin, |follow| async {
            let mut reader = match follow {
                Follow::Begin(begin) => {
                    let (docker, id) = *begin;
                    let opened = docker.bounded(
                        "following a container's output",
                        docker.bounds.call,
                        docker.output(&id, "follow=1"),
                    );
                    match opened.await {
                        Ok(reader) => Box::new(reader),
                        Err(error) => {
                            tracing::debug!(container = id, %error, "no live output");
                            return None;
                        }
                    }
                }
                Follow::Read(reader) => reader,
            };
            let line = reader.next().await?;
            Some((line, Follow::Read(reader)))
        })
    }

    /// Starts a command that was created, and returns what it prints, live.
    pub(super) async fn start_exec(
        &self,
        id: &str,
    ) -> Result<impl Stream<Item = OutputLine> + Send + use<>, DockerError> {
        let attached = serde_json::json!({ "Detach": false, "Tty": false });
        let path = format!("/exec/{id}/start");
        let reader = Reader {
            // Docker's answer says so only where the connection is upgraded.
            lines: Lines::new(Framing::Multiplexed),
            ..Reader::new(self.wire.post(&path, &attached).await?)
        };
        Ok(stream::unfold(reader, |mut reader| async {
            Some((reader.next().await?, reader))
        }))
    }

    async fn output(&self, id: &str, query: &str) -> Result<Reader, DockerError> {
        if !is_container_name(id) {
            return Err(DockerError::from_status(
                404,
                &format!("No such container: {id}"),
            ));
        }
        let path = format!("/containers/{id}/logs?stdout=1&stderr=1&{query}");
        Ok(Reader::new(self.wire.open(&path).await?))
    }
}

/// Reads lines from Docker's answer.
struct Reader {
    body: Incoming,
    lines: Lines,
    ready: VecDeque<OutputLine>,
    ended: bool,
}

impl Reader {
    fn new(response: Response<Incoming>) -> Self {
        let multiplexed = response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind == MULTIPLEXED);
        Self {
            body: response.into_body(),
            lines: Lines::new(if multiplexed {
                Framing::Multiplexed
            } else {
                Framing::Raw
            }),
            ready: VecDeque::new(),
            ended: false,
        }
    }

    async fn next(&mut self) -> Option<OutputLine> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            if self.ended {
                return None;
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.lines.push(bytes, &mut self.ready);
                    }
                }
                Some(Err(_)) | None => {
                    self.ended = true;
                    self.lines.finish(&mut self.ready);
                }
            }
        }
    }
}

/// How the bytes are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// Each piece has a head of eight bytes with its stream and length.
    Multiplexed,
    /// The container has a terminal: one stream, no heads.
    Raw,
}

/// Turns bytes into lines, never holding more than two lines and a head.
#[derive(Debug)]
struct Lines {
    framing: Framing,
    head: Vec<u8>,
    /// Of the piece that is being read: its stream, and how many bytes are to come.
    piece: (usize, usize),
    partial: [Vec<u8>; 2],
}

const STREAMS: [&str; 2] = ["stdout", "stderr"];
const HEAD_LEN: usize = 8;

impl Lines {
    fn new(framing: Framing) -> Self {
        Self {
            framing,
            head: Vec::with_capacity(HEAD_LEN),
            piece: (0, 0),
            partial: [Vec::new(), Vec::new()],
        }
    }

    fn push(&mut self, mut bytes: Bytes, ready: &mut VecDeque<OutputLine>) {
        if self.framing == Framing::Raw {
            self.piece = (0, bytes.len());
        }
        while !bytes.is_empty() {
            let (stream, missing) = self.piece;
            if missing > 0 {
                let part = bytes.split_to(missing.min(bytes.len()));
                self.piece.1 -= part.len();
                self.text(stream, &part, ready);
                continue;
            }
            let part = bytes.split_to((HEAD_LEN - self.head.len()).min(bytes.len()));
            self.head.extend_from_slice(&part);
            if let &[stream, _, _, _, a, b, c, d] = self.head.as_slice() {
                let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                self.piece = (usize::from(stream >= 2), len);
                self.head.clear();
            }
        }
    }

    fn text(&mut self, stream: usize, mut text: &[u8], ready: &mut VecDeque<OutputLine>) {
        while !text.is_empty() {
            let end = text.iter().position(|byte| *byte == b'\n');
            let part = &text[..end.unwrap_or(text.len())];
            // One byte more than is kept tells a line that was too long.
            let room = (LINE_LEN_MAX + 1).saturating_sub(self.partial[stream].len());
            self.partial[stream].extend_from_slice(&part[..part.len().min(room)]);
            match end {
                Some(end) => {
                    self.line(stream, ready);
                    text = &text[end + 1..];
                }
                None => return,
            }
        }
    }

    fn line(&mut self, stream: usize, ready: &mut VecDeque<OutputLine>) {
        let mut bytes = std::mem::take(&mut self.partial[stream]);
        let too_long = bytes.len() > LINE_LEN_MAX;
        bytes.truncate(LINE_LEN_MAX);
        let mut line = String::from_utf8_lossy(&bytes).into_owned();
        if too_long {
            // Without the first bytes of a character: the mask must know the place of the cut.
            line.truncate(line.trim_end_matches(char::REPLACEMENT_CHARACTER).len());
            line.push(CUT);
        } else if line.ends_with('\r') {
            line.pop();
        }
        ready.push_back(OutputLine {
            stream: STREAMS[stream].to_owned(),
            line,
        });
    }

    /// The last line of each stream need not end with a line break.
    fn finish(&mut self, ready: &mut VecDeque<OutputLine>) {
        for stream in 0..STREAMS.len() {
            if !self.partial[stream].is_empty() {
                self.line(stream, ready);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(stream: u8, text: &[u8]) -> Vec<u8> {
        let len = u32::try_from(text.len()).expect("short").to_be_bytes();
        let mut piece = vec![stream, 0, 0, 0];
        piece.extend_from_slice(&len);
        piece.extend_from_slice(text);
        piece
    }

    fn lines(framing: Framing, input: &[u8], chunk: usize) -> Vec<(String, String)> {
        let mut lines = Lines::new(framing);
        let mut ready = VecDeque::new();
        for chunk in input.chunks(chunk) {
            lines.push(Bytes::copy_from_slice(chunk), &mut ready);
        }
        lines.finish(&mut ready);
        ready.into_iter().map(|l| (l.stream, l.line)).collect()
    }

    #[test]
    fn the_streams_are_told_apart_however_the_bytes_arrive() {
        let mut input = piece(1, b"one\ntw");
        input.extend(piece(2, b"error\r\n"));
        input.extend(piece(1, b"o\n"));
        input.extend(piece(2, b"\xff end"));
        for chunk in 1..=input.len() {
            let expected = [
                ("stdout", "one"),
                ("stderr", "error"),
                ("stdout", "two"),
                ("stderr", "\u{fffd} end"),
            ]
            .map(|(stream, line)| (stream.to_owned(), line.to_owned()));
            assert_eq!(
                lines(Framing::Multiplexed, &input, chunk),
                expected,
                "{chunk}"
            );
        }
    }

    #[test]
    fn a_terminal_has_one_stream() {
        let found = lines(Framing::Raw, b"\x01one\r\ntwo", 3);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], ("stdout".to_owned(), "\u{1}one".to_owned()));
    }

    #[test]
    fn of_a_secret_across_the_cut_the_mask_leaves_nothing() {
        let secret = "grüße-und-küsse";
        let mask = cutover_core::mask::Mask::new([secret.to_owned()]);
        for before in LINE_LEN_MAX - secret.len()..LINE_LEN_MAX - 4 {
            let input = format!("{}{secret}{}\n", "x".repeat(before), "y".repeat(99));
            let found = lines(Framing::Raw, input.as_bytes(), 1000);
            let shown = mask.apply(&found[0].1);
            assert!(shown.ends_with("x***…"), "{}", &shown[before..]);
        }
    }

    #[test]
    fn an_endless_line_is_cut() {
        let mut input = vec![b'x'; 5 * LINE_LEN_MAX];
        input.extend_from_slice(b"\nnext\n");
        let found = lines(Framing::Raw, &input, 1000);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].1.len(), LINE_LEN_MAX + '…'.len_utf8());
        assert_eq!(found[1].1, "next");
    }
}
