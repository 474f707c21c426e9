//! Server-sent events as bytes arrive: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

/// The longest line; a journal event is far shorter. What is longer is dropped up to its end.
const LINE_LEN_MAX: usize = 1 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerEvent {
    /// The `event:` field.
    pub(crate) name: String,
    /// The `data:` fields, joined by line breaks.
    pub(crate) payload: String,
}

/// Puts events together from chunks cut anywhere.
#[derive(Debug, Default)]
pub(crate) struct EventParser {
    line: Vec<u8>,
    name: String,
    payload: Option<String>,
    after_return: bool,
}

impl EventParser {
    /// Takes the next bytes and returns the events that they complete.
    pub(crate) fn take(&mut self, chunk: &[u8]) -> Vec<ServerEvent> {
        let mut events = Vec::new();
        for &byte in chunk {
            let line_feed_of_pair = byte == b'\n' && self.after_return;
            self.after_return = byte == b'\r';
            match byte {
                b'\n' if line_feed_of_pair => {}
                b'\n' | b'\r' => events.extend(self.end_line()),
                _ if self.line.len() < LINE_LEN_MAX => self.line.push(byte),
                _ => {}
            }
        }
        events
    }

    /// Ends a line; an empty one ends the event.
    fn end_line(&mut self) -> Option<ServerEvent> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            let payload = self.payload.take()?;
            return Some(ServerEvent { name, payload });
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.payload {
                Some(payload) => {
                    payload.push('\n');
                    payload.push_str(value);
                }
                None => self.payload = Some(value.to_owned()),
            },
            // `id` repeats the journal event's own `seq`; a line that begins with a colon is a comment.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "\u{feff}: hello\r\n\r\nevent: journal\nid: 3\ndata: {\"a\":\ndata:1}\n\n\
        :comment\n\nevent: output\rdata\r\revent: lost\n\ndata: ä\n\ndata: unfinished";

    fn event(name: &str, payload: &str) -> ServerEvent {
        ServerEvent {
            name: name.to_owned(),
            payload: payload.to_owned(),
        }
    }

    #[test]
    fn events_are_the_same_wherever_the_stream_is_cut() {
        let expected = [
            event("journal", "{\"a\":\n1}"),
            event("output", ""),
            event("", "ä"),
        ];
        let bytes = STREAM.as_bytes();
        for cut in 0..=bytes.len() {
            let mut parser = EventParser::default();
            let mut events = parser.take(&bytes[..cut]);
            events.extend(parser.take(&bytes[cut..]));
            assert_eq!(events, expected, "cut at {cut}");
        }
        let mut parser = EventParser::default();
        let events: Vec<_> = bytes
            .iter()
            .flat_map(|&byte| parser.take(&[byte]))
            .collect();
        assert_eq!(events, expected, "byte by byte");
    }

    #[test]
    fn an_endless_line_is_bounded() {
        let mut parser = EventParser::default();
        for _ in 0..40 {
            assert_eq!(parser.take(&[b'x'; 64 << 10]), []);
        }
        assert!(parser.line.len() <= LINE_LEN_MAX);
        assert_eq!(parser.take(b"\ndata: y\n\n"), [event("", "y")]);
    }
}
