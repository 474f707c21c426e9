//! What the registrations of the routes cannot say, added to the document: the refusals of any request, response
//! headers, the forms of names, bodies that may be left out, and the document's own resource.

use cutover_api::event::{JOURNAL_EVENT, OUTCOME_EVENT, OUTPUT_EVENT, PROGRESS_EVENT};
use cutover_core::names::{DELIVERY_ID_LEN_MAX, SERVICE_NAME_LEN_MAX};
use utoipa::openapi::header::Header;
use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder, ParameterIn};
use utoipa::openapi::schema::{Object, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, OpenApi, PathItem, RefOr, Required, ResponseBuilder};

use super::{DOCUMENT_PATH, refusals};
use crate::http::request::TIMESTAMP_MAX;
use crate::http::services::WHY_LEN_MAX;

/// The operations whose body may be left out.
const BODY_OPTIONAL: [&str; 2] = ["roll_back", "pause_service"];

/// The schemas of request bodies, whose fields have the forms of [`form`].
const BODIES: [&str; 3] = ["DeployRequest", "RollbackRequest", "PauseRequest"];

/// A hyphenated lower-case UUID.
const UUID: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";

/// The form of a name, as the daemon checks it: its pattern and its greatest length.
pub(super) fn form(name: &str) -> Option<(&'static str, usize)> {
    match name {
        "id" | "to" | "before" => Some((UUID, 36)),
        // A dot is followed by something else, or is the last character: `..` is not allowed.
        "service" => Some((r"^[A-Za-z0-9](\.?[A-Za-z0-9_-])*\.?$", SERVICE_NAME_LEN_MAX)),
        "image_sha" => Some(("^[A-Za-z0-9_][A-Za-z0-9_.-]*$", 128)),
        "delivery_id" => Some(("^[A-Za-z0-9._:-]+$", DELIVERY_ID_LEN_MAX)),
        "image_digest" => Some(("^sha256:[0-9a-f]{64}$", 71)),
        "X-Hub-Signature-256" => Some(("^sha256=[0-9A-Fa-f]{64}$", 71)),
        "why" => Some((r"^[^\u0000-\u001f\u007f-\u009f]*$", WHY_LEN_MAX)),
        _ => None,
    }
}

/// Adds everything.
pub(super) fn complete(document: &mut OpenApi) {
    let own = PathItem::new(HttpMethod::Get, own_resource());
    document.paths.paths.insert(DOCUMENT_PATH.to_owned(), own);
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
        ];
        for operation in operations.into_iter().flatten() {
            add_refusals(operation);
            add_headers(operation);
            add_parameter_forms(operation);
            describe_events(operation);
            let id = operation.operation_id.as_deref().unwrap_or_default();
            if let Some(RefOr::T(body)) = &mut operation.request_body {
                let optional = BODY_OPTIONAL.contains(&id);
                body.required = Some(if optional {
                    Required::False
                } else {
                    Required::True
                });
            }
        }
    }
    let schemas = &mut document.components.get_or_insert_default().schemas;
    for name in BODIES {
        if let Some(RefOr::T(Schema::Object(body))) = schemas.get_mut(name) {
            add_field_forms(body);
        }
    }
}

/// `GET /openapi.json` is open to everybody, as is what it says.
fn own_resource() -> Operation {
    let object = ObjectBuilder::new().schema_type(Type::Object).build();
    let content = ContentBuilder::new().schema(Some(object)).build();
    let response = ResponseBuilder::new()
        .description("This document")
        .content("application/json", content);
    OperationBuilder::new()
        .operation_id(Some("openapi"))
        .tag("health")
        .summary(Some("Shows this document."))
        .response("200", response)
        .security(SecurityRequirement::default())
        .build()
}

/// Refusals of any request, beside what the operation says of the same status.
fn add_refusals(operation: &mut Operation) {
    let known = &mut operation.responses.responses;
    for (status, refusal) in refusals::of_any() {
        match (known.get_mut(&status), refusal) {
            (Some(RefOr::T(known)), RefOr::T(refusal)) => {
                for (kind, content) in refusal.content {
                    known.content.entry(kind).or_insert(content);
                }
            }
            (Some(_), _) => {}
            (None, refusal) => {
                known.insert(status, refusal);
            }
        }
    }
}

fn add_headers(operation: &mut Operation) {
    let id = operation.operation_id.as_deref().unwrap_or_default();
    let is_deployment = matches!(id, "deploy" | "roll_back");
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else {
            continue;
        };
        let mut add = |name: &str, kind: Type, words: &str| {
            let mut header = Header::new(ObjectBuilder::new().schema_type(kind).build());
            header.description = Some(words.to_owned());
            response.headers.insert(name.to_owned(), header.into());
        };
        add(
            "Cache-Control",
            Type::String,
            "How long the answer may be kept: not at all",
        );
        add("X-Content-Type-Options", Type::String, "Always `nosniff`");
        match status.as_str() {
            "401" => add(
                "WWW-Authenticate",
                Type::String,
                "What the resource asks for: a bearer token, or a signature",
            ),
            "405" => add("Allow", Type::String, "The methods of the resource"),
            "409" | "503" | "507" => add(
                "Retry-After",
                Type::Integer,
                "Seconds after which the same request may be accepted",
            ),
            _ => {}
        }
        let has_location = matches!(status.as_str(), "200" | "202")
            || matches!(
                status.as_str(),
                "409" | "422" | "424" | "500" | "503" | "507"
            );
        if is_deployment && has_location {
            add(
                "Location",
                Type::String,
                "The address of the deployment, where there is one",
            );
            add(
                "Idempotent-Replayed",
                Type::String,
                "`true` if this is the recorded answer to an earlier request",
            );
        }
        if is_deployment && status == "202" {
            add("Preference-Applied", Type::String, "`respond-async`");
        }
        if id == "follow_deployment" && status == "200" {
            add(
                "X-Accel-Buffering",
                Type::String,
                "`no`: a proxy passes events on at once",
            );
        }
    }
}

/// What each event of a stream consists of.
fn describe_events(operation: &mut Operation) {
    let Some(RefOr::T(response)) = operation.responses.responses.get_mut("200") else {
        return;
    };
    if let Some(RefOr::T(stream)) = response.content.get_mut("text/event-stream") {
        let text = |words: &str| {
            let text = ObjectBuilder::new().schema_type(Type::String);
            text.description(Some(words))
        };
        let kinds = [JOURNAL_EVENT, PROGRESS_EVENT, OUTPUT_EVENT, OUTCOME_EVENT];
        let kind = text("What the event is about").enum_values(Some(kinds));
        let event = ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some("One event"))
            .property("event", kind)
            .property("data", text("JSON"))
            .property("id", text("The number of a `journal` event"))
            .required("event")
            .required("data");
        stream.schema = Some(event.into());
    }
}

fn add_parameter_forms(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else {
            continue;
        };
        let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema else {
            continue;
        };
        // One that has no value is left out: nothing in an address or a header is null.
        if let SchemaType::Array(types) = &schema.schema_type
            && let Some(kind) = types.iter().find(|kind| **kind != Type::Null)
        {
            schema.schema_type = SchemaType::Type(kind.clone());
        }
        if let Some(form) = form(&parameter.name) {
            add_form(schema, form);
        }
        // A parameter of the query without a value counts as left out.
        if let (ParameterIn::Query, Some(pattern)) = (&parameter.parameter_in, &mut schema.pattern)
        {
            *pattern = format!("^({})?$", pattern.trim_matches(['^', '$']));
        }
    }
}

fn add_field_forms(body: &mut Object) {
    for (name, schema) in &mut body.properties {
        let RefOr::T(Schema::Object(schema)) = schema else {
            continue;
        };
        if let Some(form) = form(name) {
            add_form(schema, form);
        }
        if name == "timestamp" {
            schema.minimum = Some(0.into());
            schema.maximum = Some(TIMESTAMP_MAX.into());
        }
    }
}

fn add_form(schema: &mut Object, (pattern, longest): (&str, usize)) {
    schema.pattern = Some(pattern.to_owned());
    schema.max_length = Some(longest);
}

#[cfg(test)]
mod tests {
    use cutover_core::names::{DeliveryId, DeploymentId, ServiceName, Tag};
    use proptest::strategy::{Strategy as _, ValueTree as _};
    use proptest::test_runner::TestRunner;
    use serde_json::{Value, json};

    /// Whether the daemon takes a name.
    type Takes = fn(&str) -> bool;

    fn document() -> Value {
        let document = super::super::tests::document();
        serde_json::to_value(document).expect("JSON")
    }

    /// Every operation, by its name.
    fn operations(document: &Value) -> Vec<(String, &Value)> {
        let paths = document["paths"].as_object().expect("paths");
        let items = paths.values().filter_map(Value::as_object);
        items
            .flat_map(serde_json::Map::values)
            .map(|operation| {
                let name = operation["operationId"].as_str().expect("a name");
                (name.to_owned(), operation)
            })
            .collect()
    }

    #[test]
    fn every_operation_tells_the_refusals_that_any_request_can_get() {
        let document = document();
        let operations = operations(&document);
        assert_eq!(operations.len(), 13);
        for (name, operation) in operations {
            for status in ["400", "405", "408", "413", "431", "500", "503"] {
                let content = &operation["responses"][status]["content"];
                assert!(
                    content["application/problem+json"].is_object(),
                    "{name} {status}"
                );
            }
            let responses = &operation["responses"];
            assert!(responses["405"]["headers"]["Allow"].is_object(), "{name}");
            assert!(responses["503"]["headers"]["Retry-After"].is_object());
        }
        let ready = &document["paths"]["/readyz"]["get"]["responses"]["503"]["content"];
        assert!(ready["application/json"].is_object(), "{ready}");
    }

    #[test]
    fn an_operation_tells_no_refusal_that_it_cannot_give() {
        let document = document();
        for (name, operation) in operations(&document) {
            let has = |status: &str| operation["responses"][status].is_object();
            let deploys = matches!(name.as_str(), "deploy" | "roll_back");
            assert_eq!(has("424"), deploys, "{name}");
            assert_eq!(has("415"), operation["requestBody"].is_object(), "{name}");
            assert_eq!(has("409"), deploys || name == "cancel_deployment", "{name}");
            let public = matches!(name.as_str(), "alive" | "ready" | "openapi");
            assert_eq!(has("401"), !public, "{name}");
        }
    }

    #[test]
    fn every_operation_tells_who_may_ask() {
        let document = document();
        let local = json!({});
        let watch = json!({ "watch_token": [] });
        let operator = json!({ "operator_token": [] });
        let signature = json!({ "signature": [] });
        for (name, operation) in operations(&document) {
            let expected = match name.as_str() {
                "alive" | "openapi" => json!([local]),
                "deploy" => json!([signature, local]),
                "show_deployment" | "follow_deployment" => json!([watch, operator, local]),
                _ => json!([operator, local]),
            };
            assert_eq!(operation["security"], expected, "{name}");
        }
    }

    #[test]
    fn only_bodies_that_the_daemon_wants_are_required() {
        let document = document();
        for (name, required) in [
            ("deploy", true),
            ("roll_back", false),
            ("pause_service", false),
        ] {
            let operations = operations(&document);
            let found = operations.iter().find(|(found, _)| found == name);
            let (_, operation) = found.expect("the operation");
            assert_eq!(operation["requestBody"]["required"], required, "{name}");
        }
    }

    #[test]
    fn answers_tell_their_headers_and_types() {
        let document = document();
        let deploy = &document["paths"]["/deploy"]["post"]["responses"];
        assert!(deploy["200"]["headers"]["Location"].is_object());
        assert!(deploy["202"]["headers"]["Preference-Applied"].is_object());
        assert!(deploy["401"]["headers"]["WWW-Authenticate"].is_object());
        let stream = &document["paths"]["/v1/deployments/{id}/events"]["get"]["responses"]["200"];
        assert!(stream["content"]["text/event-stream"].is_object());
        let own = &document["paths"]["/openapi.json"]["get"]["responses"]["200"];
        assert!(own["content"]["application/json"].is_object());
    }

    #[test]
    fn names_have_their_forms_wherever_they_are_sent() {
        let document = document();
        let parameter = |path: &str, method: &str, name: &str| {
            let list = document["paths"][path][method]["parameters"].as_array();
            let found = list.expect("a list").iter().find(|p| p["name"] == name);
            found.expect("the parameter")["schema"].clone()
        };
        for (path, method, name) in [
            ("/deploy", "post", "X-Hub-Signature-256"),
            ("/v1/deployments/{id}", "delete", "id"),
            ("/v1/deployments/{id}/events", "get", "id"),
            ("/v1/deployments", "get", "service"),
            ("/v1/deployments", "get", "before"),
            ("/v1/services/{service}/pause", "put", "service"),
        ] {
            let schema = parameter(path, method, name);
            assert!(schema["pattern"].is_string(), "{path} {name}: {schema}");
            assert!(schema["maxLength"].is_u64(), "{path} {name}: {schema}");
            assert_eq!(schema["type"], "string", "{path} {name}");
        }
        let schemas = &document["components"]["schemas"];
        for (body, field) in [
            ("DeployRequest", "image_sha"),
            ("DeployRequest", "service"),
            ("DeployRequest", "delivery_id"),
            ("DeployRequest", "image_digest"),
            ("RollbackRequest", "to"),
            ("PauseRequest", "why"),
        ] {
            let schema = &schemas[body]["properties"][field];
            assert!(schema["pattern"].is_string(), "{body} {field}: {schema}");
        }
        let timestamp = &schemas["DeployRequest"]["properties"]["timestamp"];
        assert_eq!(timestamp["minimum"], 0);
        assert_eq!(timestamp["maximum"], 253_402_300_799_i64);
    }

    #[test]
    fn the_daemon_takes_every_name_that_the_document_allows() {
        let takes: [(&str, Takes); 4] = [
            ("service", |text| ServiceName::new(text).is_ok()),
            ("image_sha", |text| Tag::new(text).is_ok()),
            ("delivery_id", |text| DeliveryId::new(text).is_ok()),
            ("id", |text| DeploymentId::new(text).is_ok()),
        ];
        let mut runner = TestRunner::deterministic();
        for (name, takes) in takes {
            let (pattern, longest) = super::form(name).expect("a form");
            let names = proptest::string::string_regex(pattern.trim_matches(['^', '$']));
            let names = names.expect("a pattern");
            for _ in 0..500 {
                let text = names.new_tree(&mut runner).expect("a name").current();
                assert!(text.len() > longest || takes(&text), "{name}: {text:?}");
            }
        }
    }
}
