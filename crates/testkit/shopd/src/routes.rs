//! What the service answers.
//!
//! | target | answer |
//! |---|---|
//! | `/`, `/version` | the version |
//! | `/healthz` | its health, see [`crate::behavior::Health`] |
//! | `/env?name=X` | an environment variable, 404 if it is not set |
//! | `/file?path=X` | a file's content, 404 with the error if it cannot be read |
//! | `/write?path=X&text=Y` | writes the file, 500 with the error if it cannot |
//! | `/slow?ms=N` | the version, N milliseconds later |

use std::collections::BTreeMap;
use std::time::Duration;

use crate::behavior::Behavior;
use crate::drain;

/// The status and body for a request's target, this long after the start.
pub(crate) fn answer(target: &str, behavior: &Behavior, age: Duration) -> (u16, Vec<u8>) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = parse_query(query);
    let field = |name: &str| query.get(name).map(String::as_str);
    let version = || behavior.version.clone().into_bytes();
    if path != "/healthz" {
        drain::asked();
    }
    match path {
        "/" | "/version" => (200, version()),
        "/healthz" if drain::is_draining() => (503, b"ending".to_vec()),
        "/healthz" => match behavior.health.status_at(age) {
            200 => (200, b"healthy".to_vec()),
            status => (status, b"unhealthy".to_vec()),
        },
        "/env" => match field("name").and_then(std::env::var_os) {
            Some(value) => (200, value.into_encoded_bytes()),
            None => (404, b"not set".to_vec()),
        },
        "/file" => match std::fs::read(field("path").unwrap_or_default()) {
            Ok(content) => (200, content),
            Err(error) => (404, error.to_string().into_bytes()),
        },
        "/write" => {
            let text = field("text").unwrap_or_default();
            match std::fs::write(field("path").unwrap_or_default(), text) {
                Ok(()) => (200, b"written".to_vec()),
                Err(error) => (500, error.to_string().into_bytes()),
            }
        }
        "/slow" => {
            let millis = field("ms").and_then(|text| text.parse().ok());
            std::thread::sleep(Duration::from_millis(millis.unwrap_or(1000)));
            (200, version())
        }
        _ => (404, b"no such page".to_vec()),
    }
}

/// The reason phrase of a status line. Clients look at the number only.
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        404 => "Not Found",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "As Configured",
    }
}

/// The fields of a query string, `%xx` and `+` decoded.
fn parse_query(query: &str) -> BTreeMap<String, String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let digits = String::from_utf8_lossy(&digits).into_owned();
                bytes.extend(u8::from_str_radix(&digits, 16));
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded() {
        let query = parse_query("path=%2Fdata%2Fa&text=one+two&flag");
        assert_eq!(query["path"], "/data/a");
        assert_eq!(query["text"], "one two");
        assert_eq!(query.len(), 2);
    }
}
