//! Reading a body as one JSON object, strictly where leniency could be misused.
//!
//! A document in which a field appears twice means different things to different readers, so it is
//! refused; so is anything around the one object. Fields that nobody asks for are kept only to tell a
//! repeated request from another one. Nesting is bounded by the parser, at 128.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use aws_lc_rs::digest;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::error::{ApiError, RequestCode};

/// The fields of the one object in a body.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fields(BTreeMap<String, Value>);

impl Fields {
    /// Reads `body`.
    pub(super) fn read(body: &[u8]) -> Result<Self, ApiError> {
        let text = std::str::from_utf8(body).map_err(|error| malformed(&error))?;
        let document: Document = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        match document {
            Document::Object {
                fields,
                duplicate: None,
            } => Ok(Self(fields)),
            Document::Object {
                duplicate: Some(name),
                ..
            } => Err(ApiError::new(
                RequestCode::DuplicateKey,
                format!(
                    "the field {} appears twice; nothing was changed",
                    quoted(&name)
                ),
            )),
            Document::Other => Err(ApiError::new(
                RequestCode::InvalidRequest,
                "the body is JSON, but not an object; nothing was changed",
            )),
        }
    }

    /// The value of a field; `null` is a value.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// SHA-256, in hexadecimal digits, of what the object says, whatever its order and white space.
    /// The timestamp does not count: a repetition that is signed anew is the same request.
    pub(super) fn fingerprint(&self) -> String {
        let mut canonical = Vec::new();
        let said = self.0.iter().filter(|(name, _)| *name != "timestamp");
        write_object(said, &mut canonical);
        hex::encode(digest::digest(&digest::SHA256, &canonical))
    }
}

/// A name or value from a request, safe and short enough for a message.
pub(super) fn quoted(text: &str) -> String {
    /// Enough to recognize one's own value.
    const SHOWN_MAX: usize = 60;
    let mut shown: String = text.chars().take(SHOWN_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

fn malformed(error: &dyn fmt::Display) -> ApiError {
    ApiError::new(
        RequestCode::MalformedJson,
        format!("the body is not JSON: {error}; nothing was changed"),
    )
}

enum Document {
    Object {
        fields: BTreeMap<String, Value>,
        duplicate: Option<String>,
    },
    Other,
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Top)
    }
}

struct Top;

impl<'de> Visitor<'de> for Top {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut fields = BTreeMap::new();
        let mut duplicate = None;
        // Read to the end in any case: what is not JSON at all is called that first.
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            match fields.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(value);
                }
                Entry::Occupied(place) => {
                    duplicate.get_or_insert_with(|| place.key().clone());
                }
            }
        }
        Ok(Document::Object { fields, duplicate })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Document, A::Error> {
        // As values and not ignored, because only reading values bounds the nesting.
        while seq.next_element::<Value>()?.is_some() {}
        Ok(Document::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Document, E> {
        Ok(Document::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Document, E> {
        Ok(Document::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Document, E> {
        Ok(Document::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Document, E> {
        Ok(Document::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Document, E> {
        Ok(Document::Other)
    }

    fn visit_unit<E>(self) -> Result<Document, E> {
        Ok(Document::Other)
    }
}

/// Writes `value` in the one form that all equal values share.
fn write_canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for item in items {
                write_canonical(item, out);
                out.push(b',');
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| *name);
            write_object(sorted.into_iter(), out);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.extend_from_slice(value.to_string().as_bytes());
        }
    }
}

fn write_object<'a>(fields: impl Iterator<Item = (&'a String, &'a Value)>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (name, value) in fields {
        out.extend_from_slice(Value::from(name.as_str()).to_string().as_bytes());
        out.push(b':');
        write_canonical(value, out);
        out.push(b',');
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(body: &[u8]) -> Result<(), RequestCode> {
        Fields::read(body).map(drop).map_err(|error| error.code())
    }

    #[test]
    fn only_one_json_object_is_read() {
        let deep = |count: usize| {
            let (open, close) = ("[".repeat(count), "]".repeat(count));
            format!("{{\"a\":{open}{close}}}")
        };
        for (body, expected) in [
            (&b"{}"[..], Ok(())),
            (b" {\"a\": [1, {\"b\": null}]}\n", Ok(())),
            (b"{\"a\":{\"b\":1,\"b\":2}}", Ok(())),
            (b"", Err(RequestCode::MalformedJson)),
            (b" ", Err(RequestCode::MalformedJson)),
            (b"{", Err(RequestCode::MalformedJson)),
            (b"{}x", Err(RequestCode::MalformedJson)),
            (b"{}{}", Err(RequestCode::MalformedJson)),
            (b"{'a':1}", Err(RequestCode::MalformedJson)),
            (b"{\"a\":1,}", Err(RequestCode::MalformedJson)),
            (b"{\"a\":NaN}", Err(RequestCode::MalformedJson)),
            (b"{\"a\":\"\xff\"}", Err(RequestCode::MalformedJson)),
            (b"\xef\xbb\xbf{}", Err(RequestCode::MalformedJson)),
            (b"{\"a\":\"\0\"}", Err(RequestCode::MalformedJson)),
            (b"{}\0", Err(RequestCode::MalformedJson)),
            (b"{\"a\":\"\\ud800\"}", Err(RequestCode::MalformedJson)),
            (b"{\"a\":1,\"a\":1,", Err(RequestCode::MalformedJson)),
            (deep(100).as_bytes(), Ok(())),
            (deep(10_000).as_bytes(), Err(RequestCode::MalformedJson)),
            (
                "[".repeat(10_000).as_bytes(),
                Err(RequestCode::MalformedJson),
            ),
            (b"{\"a\":1,\"a\":2}", Err(RequestCode::DuplicateKey)),
            (b"{\"a\":1,\"\\u0061\":2}", Err(RequestCode::DuplicateKey)),
            (b"[]", Err(RequestCode::InvalidRequest)),
            (b"[1,{\"a\":2}]", Err(RequestCode::InvalidRequest)),
            (b"\"{}\"", Err(RequestCode::InvalidRequest)),
            (b"17", Err(RequestCode::InvalidRequest)),
            (b"-1", Err(RequestCode::InvalidRequest)),
            (b"1.5", Err(RequestCode::InvalidRequest)),
            (b"true", Err(RequestCode::InvalidRequest)),
            (b"null", Err(RequestCode::InvalidRequest)),
        ] {
            let shown: String = String::from_utf8_lossy(body).chars().take(40).collect();
            assert_eq!(code(body), expected, "{shown}");
        }
    }

    #[test]
    fn a_repetition_has_the_same_fingerprint_and_nothing_else_has() {
        let fingerprint = |body: &str| {
            let fields = Fields::read(body.as_bytes()).expect(body);
            fields.fingerprint()
        };
        let first = fingerprint(r#"{"image_sha":"a","x":{"b":[1,2],"a":"\n"},"timestamp":1}"#);
        assert_eq!(
            first,
            fingerprint(r#" {"timestamp":99,"x":{"a":"\u000a","b":[1, 2]},"image_sha":"a"} "#)
        );
        assert_eq!(
            first,
            fingerprint(r#"{"image_sha":"a","x":{"b":[1,2],"a":"\n"}}"#)
        );
        for other in [
            r#"{"image_sha":"b","x":{"b":[1,2],"a":"\n"}}"#,
            r#"{"image_sha":"a","x":{"b":[2,1],"a":"\n"}}"#,
            r#"{"image_sha":"a","x":{"b":[1,2],"a":"\n","timestamp":1}}"#,
            r#"{"image_sha":"a","x":{"b":["1","2"],"a":"\n"}}"#,
            r#"{"image_sha":"a"}"#,
        ] {
            assert_ne!(first, fingerprint(other), "{other}");
        }
    }

    #[test]
    fn shown_values_are_short_and_cannot_break_a_line() {
        assert_eq!(quoted("a\nb\u{1b}"), r#""a\nb\u{1b}""#);
        assert!(quoted(&"x".repeat(1000)).chars().count() < 70);
    }
}
