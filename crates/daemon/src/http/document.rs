//! The routes, and the OpenAPI document that describes them.
//!
//! Both are made from one list. The document is made in the tests, which also hold `docs/openapi.json` to it; the
//! daemon serves that file. So a daemon that nobody asks spends no memory on it. What a registration cannot say is
//! added by [`complete`]; which refusals there are is in [`refusals`].

#[cfg(test)]
mod complete;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "only the document needs it, which the tests make")
)]
mod refusals;

use axum::Router;
use axum::routing::{delete, get, post, put};
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use super::{Front, deploy, deployments, events, health, services};

pub(super) use refusals::{Cancelling, Change, Refusals, Resource};

/// Where the document is.
const DOCUMENT_PATH: &str = "/openapi.json";

/// The document.
const DOCUMENT: &str = include_str!("../../../../docs/openapi.json");

/// From the list of routes: the routes and, in tests, what the document is made of.
macro_rules! routes {
    ($($method:ident $path:literal => $module:ident::$handler:ident,)*) => {
        /// Every route.
        pub(super) fn routes() -> Router<Front> {
            Router::new()
                $(.route($path, $method($module::$handler)))*
                .route(DOCUMENT_PATH, get(serve))
        }

        /// Method and path of every route but that of the document itself.
        #[cfg(test)]
        const ROUTES: &[(&str, &str)] = &[$((stringify!($method), $path)),*];

        /// What the handlers' attributes say.
        #[cfg(test)]
        fn described() -> utoipa_axum::router::OpenApiRouter<Front> {
            utoipa_axum::router::OpenApiRouter::new()
                $(.routes(utoipa_axum::routes!($module::$handler)))*
        }
    };
}

routes! {
    post "/deploy" => deploy::deploy,
    get "/v1/deployments" => deployments::list,
    get "/v1/deployments/{id}" => deployments::show,
    delete "/v1/deployments/{id}" => deployments::cancel,
    get "/v1/deployments/{id}/events" => events::follow,
    get "/v1/services" => services::list,
    get "/v1/services/{service}" => services::show,
    post "/v1/services/{service}/rollback" => services::roll_back,
    put "/v1/services/{service}/pause" => services::pause,
    delete "/v1/services/{service}/pause" => services::resume,
    get "/healthz" => health::alive,
    get "/readyz" => health::ready,
}

async fn serve() -> ([(http::HeaderName, HeaderValue); 1], &'static str) {
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json)], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use cutover_api::event::{OutputLine, PullProgress};
    use cutover_api::problem::Problem;
    use cutover_core::cause::Code;
    use utoipa::OpenApi as _;
    use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
    use utoipa::openapi::{Components, OpenApi};
    use utoipa_axum::router::OpenApiRouter;

    use super::*;
    use crate::http::answer;
    use crate::http::error::RequestCode;

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

    /// The document, made anew.
    pub(super) fn document() -> OpenApi {
        let mut document = Document::openapi();
        add_security(document.components.get_or_insert_default());
        let router = OpenApiRouter::with_openapi(document).merge(described());
        let mut document = router.into_openapi();
        complete::complete(&mut document);
        document
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

    /// With `UPDATE_OPENAPI=1` the file is written instead.
    #[test]
    fn the_file_is_what_the_routes_say() {
        let made = document().to_pretty_json().expect("JSON") + "\n";
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
            std::fs::write(file, &made).expect("the file is written");
            return;
        }
        assert!(
            made == DOCUMENT,
            "docs/openapi.json is not what the routes say; write it by \
             `UPDATE_OPENAPI=1 cargo test -p cutover-daemon the_file_is_what_the_routes_say`"
        );
    }

    #[test]
    fn every_route_has_the_method_and_the_path_that_the_document_says() {
        let document = serde_json::to_value(document()).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        let mut said: Vec<_> = paths
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().expect("methods").keys();
                methods.map(move |method| (method.as_str(), path.as_str()))
            })
            .collect();
        let mut served = ROUTES.to_vec();
        served.push(("get", DOCUMENT_PATH));
        said.sort_unstable();
        served.sort_unstable();
        assert_eq!(said, served);
    }

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
        let document = document();
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
        let document = serde_json::to_value(document()).expect("JSON");
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
        let document = document();
        let text = document.to_json().expect("JSON");
        let schemas = document.components.expect("components").schemas;
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap_or_default();
            assert!(schemas.contains_key(name), "{name}");
        }
        assert!(text.contains("\"openapi\":\"3."), "{}", &text[..60]);
    }
}
