//! What is asked of Docker to create a container again: an older one, and one whose answers are lost.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::*;
use crate::docker::fake::{Asked, FakeDocker, Reply};

const ID: &str = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";

/// In two networks, of which `shop_default` is its own.
fn configuration() -> CreateConfiguration {
    let described = json!({
        "Id": ID, "Image": "sha256:aa",
        "Config": { "Image": "shop:1", "Cmd": ["/shopd"] },
        "HostConfig": { "NetworkMode": "shop_default" },
        "NetworkSettings": { "Networks": {
            "shop_default": { "Aliases": ["app"] }, "shop back": { "Aliases": ["app-back"] },
        } },
    });
    description::read(&described, None).expect("complete")
}

/// A Docker with the image `shop:1`, in which the container is there as soon as `created` says so, in as many
/// networks as were connected.
fn docker(
    created: &'static AtomicBool,
    connected: &'static AtomicU32,
    change: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> FakeDocker {
    FakeDocker::start(move |asked| match asked.line.as_str() {
        "GET /images/shop:1/json" | "GET /images/sha256:aa/json" => {
            Reply::Json(200, json!({ "Id": "sha256:aa" }))
        }
        line if line.starts_with("GET /containers/") && created.load(Ordering::SeqCst) => {
            let mut networks = json!({ "shop_default": {} });
            if connected.load(Ordering::SeqCst) > 0 {
                networks["shop back"] = json!({});
            }
            Reply::Json(
                200,
                json!({
                    "Id": ID, "Name": "/again", "Image": "sha256:aa",
                    "Config": { "Labels": { "by": "test" } },
                    "NetworkSettings": { "Networks": networks },
                }),
            )
        }
        line if line.starts_with("GET /containers/") => Reply::error(404, "No such container"),
        _ => change(asked),
    })
}

async fn again(
    docker: &Docker,
    configuration: &CreateConfiguration,
    by: &str,
) -> Result<String, DockerError> {
    let labels = [("by", by)];
    docker.create_again(configuration, "again", &labels).await
}

#[tokio::test]
async fn an_older_docker_connects_the_further_networks_one_by_one() {
    static CREATED: AtomicBool = AtomicBool::new(false);
    static CONNECTED: AtomicU32 = AtomicU32::new(0);
    let fake = docker(&CREATED, &CONNECTED, |asked| {
        if asked.line == "POST /containers/create?name=again" {
            CREATED.store(true, Ordering::SeqCst);
        } else {
            assert_eq!(asked.line, "POST /networks/shop%20back/connect");
            CONNECTED.fetch_add(1, Ordering::SeqCst);
        }
        Reply::Json(200, json!({}))
    });
    fake.become_version("1.43");
    let docker = fake.client();
    for _ in 0..2 {
        let created = again(&docker, &configuration(), "test").await;
        assert_eq!(created.as_deref(), Ok(ID));
    }
    assert_eq!((fake.count("create"), fake.count("connect")), (1, 1));
    let asked = fake.asked();
    let body = |part: &str| -> Value {
        let asked = asked.iter().find(|asked| asked.line.contains(part));
        serde_json::from_str(&asked.expect("asked").body).expect("JSON")
    };
    assert_eq!(
        body("create")["NetworkingConfig"],
        json!({ "EndpointsConfig": { "shop_default": { "Aliases": ["app"] } } })
    );
    assert_eq!(
        body("connect"),
        json!({ "Container": ID, "EndpointConfig": { "Aliases": ["app-back"] } })
    );
}

#[tokio::test]
async fn a_container_whose_creation_got_no_answer_is_found_and_not_created_twice() {
    static CREATED: AtomicBool = AtomicBool::new(false);
    static CONNECTED: AtomicU32 = AtomicU32::new(1);
    let fake = docker(&CREATED, &CONNECTED, |_| {
        CREATED.store(true, Ordering::SeqCst);
        Reply::Cut
    });
    let docker = fake.client();
    let created = again(&docker, &configuration(), "test").await;
    assert_eq!(created.as_deref(), Ok(ID));
    assert_eq!(fake.count("create"), 1);
}

#[tokio::test]
async fn a_creation_that_did_not_take_place_is_repeated_but_not_for_ever() {
    static CREATED: AtomicBool = AtomicBool::new(false);
    static CONNECTED: AtomicU32 = AtomicU32::new(1);
    static LOST: AtomicU32 = AtomicU32::new(0);
    let fake = docker(&CREATED, &CONNECTED, |_| {
        LOST.fetch_add(1, Ordering::SeqCst);
        Reply::Cut
    });
    let docker = fake.client();
    let created = again(&docker, &configuration(), "test").await;
    let error = created.expect_err("it is not there");
    assert!(error.is_uncertain(), "{error:?}");
    assert_eq!(LOST.load(Ordering::SeqCst), ATTEMPTS_MAX);
}

#[tokio::test]
async fn a_container_of_another_kind_under_the_name_is_left_alone() {
    static CREATED: AtomicBool = AtomicBool::new(true);
    static CONNECTED: AtomicU32 = AtomicU32::new(1);
    let fake = docker(&CREATED, &CONNECTED, |asked| {
        assert!(
            asked.line.starts_with("POST /containers/create"),
            "{asked:?}"
        );
        Reply::error(
            409,
            "Conflict. The container name \"/again\" is already in use",
        )
    });
    let docker = fake.client();
    let created = again(&docker, &configuration(), "somebody else").await;
    let error = created.expect_err("the name is taken");
    assert!(matches!(error, DockerError::Conflict { .. }), "{error:?}");
    let mut other_image = configuration();
    other_image.image_id = "sha256:bb".to_owned();
    let created = again(&docker, &other_image, "test").await;
    let error = created.expect_err("it has another image");
    assert!(error.to_string().contains("sha256:bb"), "{error}");
    assert_eq!(fake.count("DELETE"), 0);
}
