//! Reading a request's body, bounded in size, time and memory, before anybody looks at it.

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::request::Parts;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use std::sync::Arc;

use super::error::{ApiError, RequestCode};
use super::limits::{BODY_BYTES_FREE, BODY_BYTES_HELD_MAX, BODY_BYTES_MAX, Limits};
use super::serve::BodyTime;

/// The memory that all bodies together may take, apart from the [`BODY_BYTES_FREE`] that each has.
#[derive(Debug, Clone)]
pub(super) struct BodyMemory(Arc<Semaphore>);

impl Default for BodyMemory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BODY_BYTES_HELD_MAX)))
    }
}

/// A body and its place in the memory for bodies.
#[derive(Debug)]
pub(super) struct HeldBody {
    pub(super) bytes: Bytes,
    _held: Option<OwnedSemaphorePermit>,
}

/// Whether a body may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Required,
    Optional,
}

/// Reads a JSON body; the checks of its headers come first, so that nothing is read in vain.
pub(super) async fn read_json(
    parts: &Parts,
    body: Body,
    memory: &BodyMemory,
    presence: Presence,
) -> Result<HeldBody, ApiError> {
    let declared = declared_length(&parts.headers)?;
    match declared {
        Length::Absent if presence == Presence::Required => {
            return Err(ApiError::new(
                RequestCode::LengthRequired,
                "the request says nothing about the length of its body; nothing was changed",
            ));
        }
        Length::Known(len) if len > BODY_BYTES_MAX as u64 => return Err(too_large()),
        Length::Absent | Length::Known(0) if presence == Presence::Optional => {
            return Ok(HeldBody {
                bytes: Bytes::new(),
                _held: None,
            });
        }
        _ => {}
    }
    require_plain_json(&parts.headers)?;
    let time = match parts.extensions.get::<BodyTime>() {
        Some(BodyTime(time)) => *time,
        None => Limits::default().body_time,
    };
    match tokio::time::timeout(time, collect(body, declared, memory)).await {
        Ok(read) => read,
        Err(_) => Err(ApiError::new(
            RequestCode::RequestTimeout,
            "the request's body did not arrive in time; nothing was changed",
        )),
    }
}

async fn collect(body: Body, declared: Length, memory: &BodyMemory) -> Result<HeldBody, ApiError> {
    let mut stream: BodyDataStream = body.into_data_stream();
    let mut bytes = BytesMut::new();
    let mut whole: Option<Bytes> = None;
    let mut held: Option<OwnedSemaphorePermit> = None;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| {
            tracing::debug!(%error, "body could not be read");
            ApiError::new(
                RequestCode::BadRequest,
                "the request's body could not be read to its end; nothing was changed",
            )
        })?;
        if bytes.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        let free = BODY_BYTES_FREE.saturating_sub(bytes.len());
        let more = u32::try_from(chunk.len().saturating_sub(free)).unwrap_or(u32::MAX);
        let place = Arc::clone(&memory.0).try_acquire_many_owned(more);
        let place = place.map_err(|_| {
            ApiError::new(
                RequestCode::Overloaded,
                "too many requests are being read at once; nothing was changed",
            )
        })?;
        match &mut held {
            Some(held) => held.merge(place),
            none => *none = Some(place),
        }
        // Most bodies come in one piece. It is not copied, but a part of one is: it would hold on to
        // memory that is not counted while the rest is waited for.
        if declared == Length::Known(chunk.len() as u64) {
            whole = Some(chunk);
        } else {
            bytes.extend_from_slice(&chunk);
        }
    }
    Ok(HeldBody {
        bytes: whole.unwrap_or_else(|| bytes.freeze()),
        _held: held,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Known(u64),
    Chunked,
    Absent,
}

fn declared_length(headers: &HeaderMap) -> Result<Length, ApiError> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return Ok(Length::Chunked);
    }
    let Some(value) = headers.get(CONTENT_LENGTH) else {
        return Ok(Length::Absent);
    };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    length.map(Length::Known).ok_or_else(|| {
        ApiError::new(
            RequestCode::BadRequest,
            "Content-Length is not a number; nothing was changed",
        )
    })
}

/// Exactly one Content-Type, `application/json` with or without parameters, and nothing compressed.
fn require_plain_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let essence = match (types.next(), types.next()) {
        (Some(one), None) => one
            .to_str()
            .ok()
            .map(|text| text.split(';').next().unwrap_or_default().trim()),
        _ => None,
    };
    if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return Err(ApiError::new(
            RequestCode::UnsupportedMediaType,
            "the body is not declared as application/json; nothing was changed",
        ));
    }
    let encoded = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded {
        return Err(ApiError::new(
            RequestCode::UnsupportedEncoding,
            "the body has a Content-Encoding; nothing was changed",
        ));
    }
    Ok(())
}

/// The refusal of a body that is larger than any may be.
pub(super) fn too_large() -> ApiError {
    ApiError::new(
        RequestCode::BodyTooLarge,
        format!("the body is larger than {BODY_BYTES_MAX} bytes; nothing was changed"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    async fn code(request: http::request::Builder, body: Body) -> Result<usize, RequestCode> {
        let (parts, body) = request.body(body).expect("a request").into_parts();
        read_json(&parts, body, &BodyMemory::default(), Presence::Required)
            .await
            .map(|held| held.bytes.len())
            .map_err(|error| error.code())
    }

    fn json(length: usize) -> http::request::Builder {
        Request::builder()
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .header(CONTENT_LENGTH, length)
    }

    #[tokio::test]
    async fn bodies_are_json_plain_and_bounded() {
        assert_eq!(code(json(2), Body::from("{}")).await, Ok(2));
        assert_eq!(
            code(Request::builder(), Body::empty()).await,
            Err(RequestCode::LengthRequired)
        );
        assert_eq!(
            code(json(BODY_BYTES_MAX + 1), Body::empty()).await,
            Err(RequestCode::BodyTooLarge)
        );
        for wrong in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonx",
            "",
        ] {
            let request = Request::builder()
                .header(CONTENT_LENGTH, 2)
                .header(CONTENT_TYPE, wrong);
            assert_eq!(
                code(request, Body::from("{}")).await,
                Err(RequestCode::UnsupportedMediaType),
                "{wrong}"
            );
        }
        let twice = json(2).header(CONTENT_TYPE, "application/json");
        assert_eq!(
            code(twice, Body::from("{}")).await,
            Err(RequestCode::UnsupportedMediaType)
        );
        let zipped = json(2).header(CONTENT_ENCODING, "gzip");
        assert_eq!(
            code(zipped, Body::from("{}")).await,
            Err(RequestCode::UnsupportedEncoding)
        );
    }

    #[tokio::test]
    async fn a_body_is_the_same_in_one_piece_and_in_several() {
        for pieces in [
            &["{\"a\":1}"][..],
            &["{\"a", "\":1}"],
            &["", "{\"a\":1}", ""],
        ] {
            let pieces = pieces.iter().map(|piece| Ok::<_, std::io::Error>(*piece));
            let body = Body::from_stream(futures_util::stream::iter(pieces));
            let request = json(7).body(body).expect("a request");
            let (parts, body) = request.into_parts();
            let memory = BodyMemory::default();
            let held = read_json(&parts, body, &memory, Presence::Required).await;
            assert_eq!(held.expect("a body").bytes, "{\"a\":1}");
        }
    }

    #[tokio::test]
    async fn a_chunked_body_is_bounded_while_it_grows() {
        let chunk = Bytes::from(vec![b' '; 64 * 1024]);
        let endless = futures_util::stream::repeat_with(move || {
            Ok::<_, std::convert::Infallible>(chunk.clone())
        });
        let request = Request::builder()
            .header(CONTENT_TYPE, "application/json")
            .header(TRANSFER_ENCODING, "chunked");
        assert_eq!(
            code(request, Body::from_stream(endless)).await,
            Err(RequestCode::BodyTooLarge)
        );
    }

    /// Reads a body that comes in these pieces.
    async fn read(memory: &BodyMemory, pieces: &[usize]) -> Result<HeldBody, RequestCode> {
        let pieces = pieces.iter().map(|&len| vec![b' '; len]);
        let request = json(pieces.clone().map(|piece| piece.len()).sum());
        let pieces: Vec<_> = pieces.map(Ok::<_, std::io::Error>).collect();
        let body = Body::from_stream(futures_util::stream::iter(pieces));
        let (parts, body) = request.body(body).expect("a request").into_parts();
        let read = read_json(&parts, body, memory, Presence::Required).await;
        read.map_err(|error| error.code())
    }

    #[tokio::test]
    async fn the_memory_for_bodies_is_bounded_and_given_back() {
        let memory = BodyMemory(Arc::new(Semaphore::new(3)));
        let large = [&[BODY_BYTES_FREE + 2][..], &[BODY_BYTES_FREE - 1, 1, 2]];
        for pieces in large {
            let first = read(&memory, pieces).await.expect("there is room");
            for pieces in large {
                let refused = read(&memory, pieces).await.expect_err("there is none");
                assert_eq!(refused, RequestCode::Overloaded);
            }
            drop(first);
        }
        assert!(read(&memory, large[0]).await.is_ok());
    }

    #[tokio::test]
    async fn a_small_body_is_read_while_others_fill_the_memory() {
        let memory = BodyMemory(Arc::new(Semaphore::new(1)));
        let large = read(&memory, &[BODY_BYTES_FREE + 1]).await;
        let _held = large.expect("there is room");
        for pieces in [&[2][..], &[BODY_BYTES_FREE], &[1, BODY_BYTES_FREE - 1]] {
            assert!(read(&memory, pieces).await.is_ok(), "{pieces:?}");
        }
        let refused = read(&memory, &[1, BODY_BYTES_FREE]).await;
        assert_eq!(refused.expect_err("too much"), RequestCode::Overloaded);
    }
}
