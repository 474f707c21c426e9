//! Which services can be deployed, and which are advised to be.

use super::*;

#[test]
fn a_service_without_a_tag_variable_is_told_the_line_to_write() {
    let place = Place::new();
    let project = place.project(PROJECT);
    let others: Vec<_> = project
        .others
        .iter()
        .map(|other| (other.sentence(), other.instead.as_deref()))
        .collect();
    assert_eq!(
        others,
        [
            (
                "built: it has no `image`: cutover runs images and does not build them".to_owned(),
                Some("image: REPOSITORY:${BUILT_IMAGE_TAG}")
            ),
            (
                "db: its image `postgres:16` has neither a registry nor an owner, so it is an official one of Docker Hub; if it is yours, write both before its name"
                    .to_owned(),
                None
            ),
        ]
    );
    // The database comes first by the alphabet, and nobody wants to deploy it.
    let fixed = br#"{ "services": { "db": { "image": "postgres:16" }, "_x": { "image": "x:$T" },
        "local": { "image": "local:1", "build": "." }, "web": { "image": "ghcr.io/acme/web:1" } } }"#;
    let project = place.project(fixed);
    assert!(project.services.is_empty());
    let failure = nothing_to_deploy(&project);
    let hint = failure.hint();
    assert!(hint.contains("image: local:${LOCAL_IMAGE_TAG}"), "{hint}");
    let order: Vec<_> = project
        .others
        .iter()
        .map(|other| other.service.as_str())
        .collect();
    assert_eq!(order, ["_x", "local", "web", "db"]);
}

#[test]
fn a_service_that_check_refuses_is_left_out_with_its_reason() {
    let place = Place::new();
    let refused = br#"{ "services": {
      "fine": { "image": "x:${A}", "environment": ["B=c"], "restart": "${RESTART:-always}",
                "deploy": { "replicas": "${COUNT}", "restart_policy": { "condition": "any" } } },
      "hooks": { "image": "x:${A}", "pre_start": [{ "command": ["true"] }] },
      "many": { "image": "x:${A}", "container_name": "many", "deploy": { "replicas": "2" } },
      "odd": { "image": "x:${A}", "restart": "sometimes" },
      "none": { "image": "x:${A}", "scale": 0 },
      "start": { "image": "x:${A}", "container_name": "start", "deploy": { "update_config": { "order": "start-first" } } },
      "tunnel": { "image": "x", "network_mode": "container:vpn" },
      "vpn": { "image": "x:${A}", "container_name": "vpn" }
    } }"#;
    let project = place.project(refused);
    assert_eq!(project.names(), ["fine"]);
    let sentences: Vec<String> = project.others.iter().map(Other::sentence).collect();
    for (sentence, words) in sentences.iter().zip([
        "hooks: it has `pre_start` hooks",
        "many: it asks for 2 replicas, which its definition in the Compose file forbids (`container_name: many`",
        "none: it asks for 0 replicas",
        "odd: its restart policy `sometimes`",
        "start: it asks for `order: start-first`",
        "vpn: its container's namespaces are shared by service `tunnel`",
        "tunnel: ",
    ]) {
        assert!(sentence.starts_with(words), "{sentence}");
    }
    assert_eq!(sentences.len(), 7);
    assert!(
        sentences[1].contains("; take that out of the Compose file"),
        "what to change is missing: {}",
        sentences[1]
    );
    let only = br#"{ "services": { "none": { "image": "x:${A}", "scale": 0 } } }"#;
    let failure = nothing_to_deploy(&place.project(only));
    assert!(failure.to_string().contains("it asks for 0 replicas"));
    assert!(
        failure
            .hint()
            .starts_with("nothing was written; change that")
    );
}

#[test]
fn a_service_that_others_wait_for_is_a_job_and_nothing_to_deploy() {
    let place = Place::new();
    let project = place.project(
        br#"{ "services": {
            "migrate": { "image": "ghcr.io/acme/web:${TAG}" },
            "web": { "image": "ghcr.io/acme/web:${TAG}", "depends_on": {
                "db": { "condition": "service_healthy" },
                "migrate": { "condition": "service_completed_successfully" } } },
            "db": { "image": "postgres:16" } } }"#,
    );
    assert_eq!(project.names(), ["web"]);
    assert_eq!(project.services[0].jobs, ["migrate"]);
    let text = configuration::text(&project, Path::new("/s"), None).expect("a text");
    let line = "# Before each release, before anything is stopped, runs: migrate.\n";
    assert_eq!(text.matches(line).count(), 1, "{text}");
    let others: Vec<_> = project.others.iter().map(|other| &other.service).collect();
    assert_eq!(others, ["db"]);
    // Whatever its image, and also where it waits for another one.
    let chain = |replicas: u32| {
        format!(
            r#"{{ "services": {{
            "pull": {{ "image": "alpine/git" }},
            "flyway": {{ "image": "flyway/flyway:11", "depends_on": {{
                "pull": {{ "condition": "service_completed_successfully" }} }} }},
            "web": {{ "image": "ghcr.io/acme/web:${{TAG}}", "scale": {replicas}, "depends_on": {{
                "flyway": {{ "condition": "service_completed_successfully" }} }} }} }} }}"#
        )
    };
    let project = place.project(chain(1).as_bytes());
    assert_eq!(project.services[0].jobs, ["flyway", "pull"]);
    // The job of a service that is not deployed is named with the reason.
    let project = place.project(chain(0).as_bytes());
    let sentences: Vec<String> = project.others.iter().map(Other::sentence).collect();
    assert!(
        sentences[0].starts_with("flyway: it is a job: service `web` waits"),
        "{sentences:?}"
    );
}

#[test]
fn an_image_that_comes_whole_from_a_variable_is_the_one_that_it_names_now() {
    let place = Place::new();
    let written = br#"{ "services": { "web": { "image": "${APP_IMAGE}" } } }"#;
    let now = br#"{ "services": { "web": { "image": "ghcr.io/acme/web:old" } } }"#;
    let directory = place.directory.path();
    let (services, _) = sort::sort(written, Some(now), directory).expect("valid");
    assert_eq!(services[0].repository, "ghcr.io/acme/web");
    assert_eq!(services[0].tag_variable, "APP_IMAGE");
    let (services, others) = sort::sort(written, None, directory).expect("valid");
    assert_eq!(services.len(), 0);
    let sentence = others[0].sentence();
    let words = "web: its image comes whole from the variable APP_IMAGE, which names none now";
    assert!(sentence.starts_with(words), "{sentence}");
}

#[test]
fn an_image_that_is_named_by_a_digest_in_a_variable_is_taken() {
    let place = Place::new();
    let project = place.project(
        br#"{ "services": {
            "web": { "image": "ghcr.io/acme/web:1.2@${WEB_DIGEST:?set it}" },
            "api": { "image": "ghcr.io/acme/api@sha256:${API_HASH}" },
            "fixed": { "image": "ghcr.io/acme/web@sha256:abc" }
        } }"#,
    );
    let lines = project.services.iter();
    let lines: Vec<_> = lines
        .map(|one| (one.repository.as_str(), one.tag_variable.as_str()))
        .collect();
    assert_eq!(
        lines,
        [
            ("ghcr.io/acme/api", "API_HASH"),
            ("ghcr.io/acme/web", "WEB_DIGEST")
        ]
    );
    let sentences: Vec<String> = project.others.iter().map(Other::sentence).collect();
    let words = "fixed: the image `ghcr.io/acme/web@sha256:abc` is pinned to a digest that is written out: it needs a variable as its tag, and no digest";
    assert!(sentences[0].starts_with(words), "{sentences:?}");
}

#[test]
fn what_runs_in_the_network_of_a_service_goes_with_it() {
    let place = Place::new();
    let project = place.project(
        br#"{ "services": {
            "web": { "image": "ghcr.io/acme/web:${TAG}" },
            "worker": { "image": "ghcr.io/acme/web:${TAG}" },
            "tunnel": { "image": "acme/tunnel:1", "network_mode": "service:web" },
            "probe": { "image": "acme/probe:1", "pid": "service:tunnel" } } }"#,
    );
    assert_eq!(project.services[0].sharers, ["tunnel", "probe"]);
    let besides = project.services[0].besides();
    assert_eq!(
        besides.as_deref(),
        Some("is released with worker, tunnel, probe")
    );
    assert!(project.others.is_empty());
    let text = configuration::text(&project, Path::new("/s"), None).expect("a text");
    assert!(
        text.contains("container's namespaces: tunnel, probe.\n"),
        "{text}"
    );
}

#[test]
fn what_runs_is_what_the_configuration_means() {
    let place = Place::new();
    let project = Project {
        project_name: Some("live".to_owned()),
        env_files: vec![PathBuf::from("/srv/prod.env")],
        ..place.project(PROJECT)
    };
    let text = configuration::text(&project, Path::new("/s"), None).expect("a text");
    for line in [
        "project_name = \"live\"\n",
        "env_files = [\"/srv/prod.env\"]\n",
    ] {
        assert_eq!(text.matches(line).count(), 2, "{line}: {text}");
    }
}

#[test]
fn how_an_image_is_built_is_taken_into_the_workflow() {
    let place = Place::new();
    let web = place.path("web").display().to_string();
    let json = serde_json::json!({ "services": {
        "shop": { "image": "ghcr.io/acme/shop:${SHOP_TAG}", "build": { "context": web, "target": "release" } },
        "worker": { "image": "ghcr.io/acme/worker:${WORKER_TAG}" },
    }});
    let project = place.project(json.to_string().as_bytes());
    let text = workflow::text(&project, workflow::Front::Daemon).expect("a workflow");
    let built =
        "      image: ghcr.io/acme/shop\n      context: \"web\"\n      target: \"release\"\n";
    assert!(text.contains(built), "{text}");
    // Of the other one nobody knows where it is built.
    let asked = "      image: ghcr.io/acme/worker\n      context: . # the directory";
    assert!(text.contains(asked), "{text}");
}
