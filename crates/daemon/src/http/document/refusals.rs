//! Which refusals each kind of resource can answer with, by status.
//!
//! The sets follow the way of a request: everything that is refused before a route is known, then what reading needs,
//! what a body needs, and what a deployment can end with.

use std::collections::BTreeMap;

use cutover_api::problem::{PROBLEM_CONTENT_TYPE, Problem};
use cutover_core::cause::Code;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema as _};

use crate::http::answer;
use crate::http::error::RequestCode;

/// What any request may be refused with, whatever its address.
const OF_ANY: &[RequestCode] = &[
    RequestCode::BadRequest,
    RequestCode::MethodNotAllowed,
    RequestCode::RequestTimeout,
    RequestCode::BodyTooLarge,
    RequestCode::HeadersTooLarge,
    RequestCode::Internal,
    RequestCode::Overloaded,
];

/// What a resource under `/v1` may refuse besides.
const OF_RESOURCES: &[RequestCode] = &[
    RequestCode::Unauthorized,
    RequestCode::Forbidden,
    RequestCode::NotFound,
    RequestCode::UnknownService,
    RequestCode::InvalidParameter,
    RequestCode::Recovering,
    RequestCode::ShuttingDown,
    RequestCode::DockerUnavailable,
    RequestCode::JournalUnavailable,
    RequestCode::InsufficientStorage,
];

/// What a resource that reads a body may refuse besides.
const OF_BODIES: &[RequestCode] = &[
    RequestCode::MalformedJson,
    RequestCode::DuplicateKey,
    RequestCode::LengthRequired,
    RequestCode::UnsupportedMediaType,
    RequestCode::UnsupportedEncoding,
    RequestCode::InvalidRequest,
    RequestCode::InvalidType,
];

type Words<'a> = BTreeMap<u16, Vec<&'a str>>;

/// Refusals of every resource, the public ones included.
pub(super) fn of_any() -> BTreeMap<String, RefOr<Response>> {
    described(words_of(&[OF_ANY]))
}

/// Refusals of a resource that is only read, or changed without a body.
pub(in crate::http) struct Resource;

impl IntoResponses for Resource {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        described(words_of(&[OF_ANY, OF_RESOURCES]))
    }
}

/// Refusals of cancelling.
pub(in crate::http) struct Cancelling;

impl IntoResponses for Cancelling {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        described(words_of(&[OF_ANY, OF_RESOURCES, &[RequestCode::TooLate]]))
    }
}

/// Refusals of a resource that is changed with a body.
pub(in crate::http) struct Change;

impl IntoResponses for Change {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        described(words_of(&[OF_ANY, OF_RESOURCES, OF_BODIES]))
    }
}

/// Refusals of a request for a deployment, and how one can end that did not succeed.
pub(in crate::http) struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut codes = words_of(&[RequestCode::ALL]);
        for &code in Code::ALL {
            let words = codes.entry(answer::status_of(code).as_u16()).or_default();
            if !words.contains(&code.as_str()) {
                words.push(code.as_str());
            }
        }
        codes.entry(500).or_default().push("rolled_back");
        described(codes)
    }
}

fn words_of(sets: &[&[RequestCode]]) -> Words<'static> {
    let mut codes = Words::new();
    for code in sets.iter().copied().flatten() {
        codes
            .entry(code.status().as_u16())
            .or_default()
            .push(code.as_str());
    }
    codes
}

fn described(codes: Words<'_>) -> BTreeMap<String, RefOr<Response>> {
    codes
        .into_iter()
        .map(|(status, words)| (status.to_string(), RefOr::T(refusal(&words))))
        .collect()
}

fn refusal(words: &[&str]) -> Response {
    let schema = Ref::from_schema_name(Problem::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new()
        .description(format!("`{}`", words.join("`, `")))
        .content(PROBLEM_CONTENT_TYPE, content)
        .build()
}
