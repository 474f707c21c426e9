//! The routes and the OpenAPI document, made from the same registrations.
//!
//! What a registration cannot say is added by [`complete`]; which refusals there are is in [`refusals`].

mod complete;
mod refusals;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use cutover_api::event::{OutputLine, PullProgress};
use cutover_api::problem::Problem;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use utoipa::OpenApi as _;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Front, deploy, deployments, events, health, services};

pub(super) use refusals::{Cancelling, Change, Refusals, Resource};

/// Where the document is.
const DOCUMENT_PATH: &str = "/openapi.json";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "cutover",
        description = "Deploys Docker Compose services and never leaves them worse off than before. HEAD is answered like GET, without the body.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(Problem, PullProgress, OutputLine)),
    tags(
        (name = "deploy", description = "What CI calls"),
        (name = "deployments", description = "What happened, and what is happening"),
        (name = "services", description = "What runs, and what an operator does about it"),
        (name = "health", description = "For monitoring"),
    ),
)]
struct Document;

/// Every route but that of the document itself.
pub(super) fn routes() -> OpenApiRouter<Front> {
    let mut document = Document::openapi();
    add_security(document.components.get_or_insert_default());
    let mut router = OpenApiRouter::with_openapi(document)
        .routes(routes!(deploy::deploy))
        .routes(routes!(deployments::list))
        .routes(routes!(deployments::show, deployments::cancel))
        .routes(routes!(events::follow))
        .routes(routes!(services::list))
        .routes(routes!(services::show))
        .routes(routes!(services::roll_back))
        .routes(routes!(services::pause, services::resume))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready));
    complete::complete(router.get_openapi_mut());
    router
}

/// The route of the document.
pub(super) fn serve(document: &OpenApi) -> Router<Front> {
    let text = Bytes::from(document.to_pretty_json().unwrap_or_default());
    let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Router::new().route(DOCUMENT_PATH, get(async move || (json, text)))
}

fn add_security(components: &mut Components) {
    let signature = ApiKeyValue::with_description(
        "X-Hub-Signature-256",
        "`sha256=` and the 64 hexadecimal digits of the raw body's HMAC-SHA256",
    );
    let bearer = |description: &str| {
        let mut http = Http::new(HttpAuthScheme::Bearer);
        http.description = Some(description.to_owned());
        SecurityScheme::Http(http)
    };
    components.add_security_scheme(
        "signature",
        SecurityScheme::ApiKey(ApiKey::Header(signature)),
    );
    components.add_security_scheme(
        "watch_token",
        bearer("The `watch_token` of an answer; reads that one deployment"),
    );
    components.add_security_scheme(
        "operator_token",
        bearer("A token under `[auth.operator]` of the configuration"),
    );
}

#[cfg(test)]
mod tests {
    use cutover_core::cause::Code;

    use super::*;
    use crate::http::answer;
    use crate::http::error::RequestCode;

    /// What people read.
    const PAGE: &str = include_str!("../../../../docs/api.md");

    /// The rows of the page's tables of codes, by code and status.
    fn listed() -> Vec<(&'static str, u16)> {
        let row = |line: &'static str| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            let code = cells.next()?.strip_suffix('`')?;
            Some((code, cells.next()?.trim().parse().ok()?))
        };
        PAGE.lines().filter_map(row).collect()
    }

    #[test]
    fn every_code_is_explained_in_the_documentation_with_its_status() {
        let listed = listed();
        let refusals = RequestCode::ALL
            .iter()
            .map(|code| (code.as_str(), code.status().as_u16()));
        let causes = Code::ALL
            .iter()
            .map(|&code| (code.as_str(), answer::status_of(code).as_u16()));
        let expected: Vec<_> = refusals
            .chain(causes)
            .chain([("rolled_back", 500)])
            .collect();
        for row in &expected {
            assert!(listed.contains(row), "{row:?} is not in docs/api.md");
        }
        for row in &listed {
            assert!(expected.contains(row), "{row:?} is only in docs/api.md");
        }
    }

    #[test]
    fn every_route_is_in_the_documentation_and_nothing_else_is() {
        let document = routes().into_openapi();
        let mut routes = vec!["GET /metrics".to_owned()];
        for (path, item) in &document.paths.paths {
            for (method, operation) in [
                ("GET", &item.get),
                ("POST", &item.post),
                ("PUT", &item.put),
                ("DELETE", &item.delete),
            ] {
                if operation.is_some() {
                    routes.push(format!("{method} {path}"));
                }
            }
        }
        for route in &routes {
            assert!(
                PAGE.contains(&format!("`{route}")),
                "{route} is not in docs/api.md"
            );
        }
        let headings = PAGE.lines().filter(|line| line.starts_with("### `"));
        for heading in headings {
            for route in heading.split('`').filter(|part| part.contains(" /")) {
                let route = route.split('?').next().unwrap_or_default();
                assert!(
                    routes.contains(&route.to_owned()),
                    "{route} is only in docs/api.md"
                );
            }
        }
    }

    #[test]
    fn the_document_allows_what_the_daemon_takes() {
        let document = serde_json::to_value(routes().into_openapi()).expect("JSON");
        let fields = &document["components"]["schemas"]["DeployRequest"]["properties"];
        for (field, kind) in [
            ("image_sha", "string"),
            ("service", "string"),
            ("delivery_id", "string"),
            ("timestamp", "integer"),
            ("image_digest", "string"),
        ] {
            assert_eq!(fields[field]["type"], kind, "{field}");
        }
        let required = &document["components"]["schemas"]["DeployRequest"]["required"];
        assert_eq!(*required, serde_json::json!(["image_sha"]));
        let parameters = &document["paths"]["/v1/deployments"]["get"]["parameters"];
        let mut parameters = parameters.as_array().expect("a list").iter();
        let limit = parameters.find(|parameter| parameter["name"] == "limit");
        let limit = limit.expect("the parameter");
        assert_eq!(limit["required"], false);
        let schema = &limit["schema"];
        assert_eq!(schema["type"], "integer");
        let bounds = (schema["minimum"].as_u64(), schema["maximum"].as_u64());
        let allowed = u64::from(crate::http::limits::PAGE_LEN_MAX);
        assert_eq!(bounds, (Some(1), Some(allowed)));
    }

    #[test]
    fn the_document_refers_to_nothing_that_it_does_not_hold() {
        let document = routes().into_openapi();
        let text = document.to_json().expect("JSON");
        let schemas = document.components.expect("components").schemas;
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap_or_default();
            assert!(schemas.contains_key(name), "{name}");
        }
        assert!(text.contains("\"openapi\":\"3."), "{}", &text[..60]);
    }
}
