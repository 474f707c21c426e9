//! From the fields of a body to a deployment that may be asked for.
//!
//! In this order, so that the first thing wrong is always named alike: freshness, the form of each
//! field, then whether the service exists, whether the caller may deploy it, and whether it accepts
//! the tag.

use std::collections::{BTreeMap, BTreeSet};

use cutover_core::admission::Asker;
use cutover_core::deployment::{IfUnchanged, WayBack};
use cutover_core::names::{DeliveryId, InvalidName, ServiceName, Tag};
use cutover_core::nearest::nearest;
use serde_json::Value;

use super::auth::SIGNATURE_CHALLENGE;
use super::error::{ApiError, RequestCode};
use super::json::{Fields, quoted};
use super::limits::FRESHNESS_SECONDS;
use crate::deployer::NewDeployment;
use crate::settings::{Freshness, Service};

/// The last second of the year 9999; later ones are no dates.
pub(super) const TIMESTAMP_MAX: i64 = 253_402_300_799;

/// Who asks, as far as a body is judged by it.
#[derive(Debug, Clone)]
pub(super) struct Asking<'a> {
    /// What the journal records.
    pub(super) actor: String,
    /// With which rights.
    pub(super) asker: Asker,
    /// Whether `timestamp` and `delivery_id` are required.
    pub(super) freshness: Freshness,
    /// The services that the key may deploy; none means all.
    pub(super) allowed: Option<&'a BTreeSet<ServiceName>>,
}

/// Judges the fields of a body.
pub(super) fn new_deployment(
    fields: &Fields,
    asking: Asking<'_>,
    services: &BTreeMap<ServiceName, Service>,
    now: i64,
) -> Result<NewDeployment, ApiError> {
    let timestamp = timestamp(fields)?;
    if asking.freshness == Freshness::Required && timestamp.is_none() {
        return Err(missing("timestamp"));
    }
    if let (Asker::Client, Some(timestamp)) = (asking.asker, timestamp) {
        check_fresh(timestamp, now)?;
    }
    let tag = name(fields, "image_sha", RequestCode::InvalidImageSha, Tag::new)?
        .ok_or_else(|| missing("image_sha"))?;
    let service = name(
        fields,
        "service",
        RequestCode::InvalidService,
        ServiceName::new,
    )?;
    let delivery_id = name(
        fields,
        "delivery_id",
        RequestCode::InvalidDeliveryId,
        DeliveryId::new,
    )?;
    if asking.freshness == Freshness::Required && delivery_id.is_none() {
        return Err(missing("delivery_id"));
    }
    let digest = name(
        fields,
        "image_digest",
        RequestCode::InvalidImageDigest,
        digest,
    )?;
    let service = match (service, services.len()) {
        (Some(service), _) => service,
        (None, 1) => services
            .keys()
            .next()
            .cloned()
            .ok_or_else(|| missing("service"))?,
        (None, _) => return Err(missing("service")),
    };
    check_policy(&service, &tag, &asking, services)?;
    let way_back = match operators_wish(fields, "no_way_back", asking.asker)? {
        true => WayBack::Waived,
        false => WayBack::Needed,
    };
    let if_unchanged = match operators_wish(fields, "force", asking.asker)? {
        true => IfUnchanged::DeployAgain,
        false => IfUnchanged::LeaveAlone,
    };
    Ok(NewDeployment {
        service,
        tag,
        digest,
        actor: asking.actor,
        asker: asking.asker,
        way_back,
        if_unchanged,
        delivery_id,
        fingerprint: fields.fingerprint(),
    })
}

/// Whether an operator wants what this field names. Of anybody else it is ignored, like every other that a body may
/// hold.
fn operators_wish(fields: &Fields, name: &'static str, asker: Asker) -> Result<bool, ApiError> {
    if asker == Asker::Client {
        return Ok(false);
    }
    match fields.get(name) {
        None => Ok(false),
        Some(Value::Bool(wish)) => Ok(*wish),
        Some(other) => Err(wrong_type(name, "a boolean", other)),
    }
}

/// Whether the service exists, the caller may deploy it, and it accepts the tag.
fn check_policy(
    service: &ServiceName,
    tag: &Tag,
    asking: &Asking<'_>,
    services: &BTreeMap<ServiceName, Service>,
) -> Result<(), ApiError> {
    let Some(settings) = services.get(service) else {
        // Only of those that the caller may deploy: it need not know of others.
        let known = services
            .keys()
            .filter(|name| asking.allowed.is_none_or(|allowed| allowed.contains(*name)));
        return Err(unknown_service(service.as_str(), known));
    };
    if asking
        .allowed
        .is_some_and(|allowed| !allowed.contains(service))
    {
        return Err(ApiError::new(
            RequestCode::Forbidden,
            format!("this key may not deploy `{service}`; nothing was changed"),
        ));
    }
    let Err(allowed) = settings.allows_tag(tag) else {
        return Ok(());
    };
    Err(ApiError::new(
        RequestCode::InvalidImageSha,
        format!(
            "`image_sha` must be {allowed}, not {}; nothing was changed",
            quoted(tag.as_str())
        ),
    ))
}

/// The refusal of a service that is not configured.
pub(super) fn unknown_service<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a ServiceName>,
) -> ApiError {
    let near = nearest(name, known.into_iter().map(ServiceName::as_str));
    let near = near.map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"));
    ApiError::new(
        RequestCode::UnknownService,
        format!(
            "no service {} is configured{near}; nothing was changed",
            quoted(name)
        ),
    )
}

/// A field that is a string of a checked form; `None` if it is left out.
fn name<T>(
    fields: &Fields,
    field: &'static str,
    invalid: RequestCode,
    check: impl FnOnce(&str) -> Result<T, InvalidName>,
) -> Result<Option<T>, ApiError> {
    match fields.get(field) {
        None => Ok(None),
        Some(Value::String(text)) => check(text).map(Some).map_err(|error| {
            ApiError::new(
                invalid,
                format!(
                    "`{field}` must be {}, not {}; nothing was changed",
                    error.allowed,
                    quoted(text)
                ),
            )
        }),
        Some(other) => Err(wrong_type(field, "a string", other)),
    }
}

/// `sha256:` and 64 lower-case hexadecimal digits.
fn digest(text: &str) -> Result<String, InvalidName> {
    let fine = text.strip_prefix("sha256:").is_some_and(|digits| {
        digits.len() == 64
            && digits
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    });
    if fine {
        Ok(text.to_owned())
    } else {
        Err(InvalidName {
            what: "image_digest",
            allowed: "`sha256:` and 64 lower-case hexadecimal digits",
        })
    }
}

fn timestamp(fields: &Fields) -> Result<Option<i64>, ApiError> {
    match fields.get("timestamp") {
        None => Ok(None),
        Some(Value::Number(number)) => match number.as_i64() {
            Some(seconds) if (0..=TIMESTAMP_MAX).contains(&seconds) => Ok(Some(seconds)),
            _ => Err(invalid_timestamp(&number.to_string())),
        },
        Some(Value::String(text)) => Err(invalid_timestamp(&quoted(text))),
        Some(other) => Err(wrong_type("timestamp", "a number", other)),
    }
}

fn invalid_timestamp(shown: &str) -> ApiError {
    ApiError::new(
        RequestCode::InvalidTimestamp,
        format!(
            "`timestamp` must be whole Unix seconds, as a number, not {shown}; nothing was changed"
        ),
    )
}

fn check_fresh(timestamp: i64, now: i64) -> Result<(), ApiError> {
    let age = now.saturating_sub(timestamp);
    if age.abs() <= FRESHNESS_SECONDS {
        return Ok(());
    }
    let (by, side) = match age {
        1.. => (age, "older than"),
        _ => (age.saturating_neg(), "ahead of"),
    };
    // An operator whose server has the wrong time must see that it is not the senders' fault.
    tracing::warn!(
        seconds = age,
        "correctly signed request refused: its timestamp is too far from this machine's clock"
    );
    Err(ApiError::stale(
        SIGNATURE_CHALLENGE,
        format!(
            "`timestamp` is {by} s {side} the server's clock; at most {FRESHNESS_SECONDS} s are allowed; nothing was changed"
        ),
    ))
}

fn missing(field: &str) -> ApiError {
    ApiError::new(
        RequestCode::MissingField,
        format!("the field `{field}` is missing; nothing was changed"),
    )
}

fn wrong_type(field: &str, expected: &str, found: &Value) -> ApiError {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    ApiError::new(
        RequestCode::InvalidType,
        format!("`{field}` must be {expected}, not {found}; nothing was changed"),
    )
}

#[cfg(test)]
mod tests;
