//! What each of Docker's two image stores keeps of an image whose tag was moved or removed.
//!
//! Measured on Engine 28.5.2, the same in the store of its own (overlay2) and in that of containerd:
//!
//! * An image whose only tag was moved to another one, by `load`, by `tag` or by `pull`, is still there, without
//!   a tag. It is found by its id and can be given a tag again. `docker image prune` takes it unless a container
//!   was created from it.
//! * `docker rmi -f` of the image of a stopped container removes it: it is not found by its id any more, and
//!   cannot be given a tag. `docker start` of the container works all the same, as what the container runs from
//!   stays as long as the container does.

use cutover_daemon::docker::{Docker, DockerError};
use cutover_testkit::engine::Engine;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::registry::{Auth, Registry};

use crate::bench::Bench;
use crate::restarts::own_docker_with;

/// Checks what the head of this file says.
async fn keeps_what_a_container_needs(engine: &Engine) {
    let bench = &Bench::at(&engine.socket());
    let docker = &bench.docker;
    // Loaded over.
    let reference = format!("{}:moving", bench.name);
    bench.load(&reference, &ImageSpec::new("1"));
    let first = id_of(docker, &reference).await;
    bench.load(&reference, &ImageSpec::new("2"));
    assert_ne!(id_of(docker, &reference).await, first);
    expect_taggable(docker, &first, &reference).await;
    // Moved by hand.
    let other = bench.image(&ImageSpec::new("3"));
    bench.cli(&["tag", &other, &reference]);
    expect_taggable(docker, &first, &reference).await;
    // Pulled over, from a registry in the engine's network.
    let registry = engine.namespace().run(|| Registry::start(Auth::None));
    let registry = registry.expect("in the namespace").expect("a registry");
    let pulled = registry.reference("shop", "moving");
    let mut ids = Vec::new();
    for version in ["4", "5"] {
        let spec = ImageSpec::new(version);
        let pushed = engine
            .namespace()
            .run(|| registry.push("shop", "moving", &spec));
        pushed.expect("in the namespace").expect("pushed");
        bench.cli(&["pull", "--quiet", &pulled]);
        ids.push(id_of(docker, &pulled).await);
    }
    assert_ne!(ids[0], ids[1]);
    expect_taggable(docker, &ids[0], &pulled).await;
    bench.cli(&["rmi", &pulled]);

    // Kept for the sake of a stopped container.
    let id = bench.create(&reference, &[]);
    docker.ensure_started(&id).await.expect("started");
    docker.ensure_stopped(&id, None).await.expect("stopped");
    bench.cli(&["tag", &other, &reference]);
    bench.cli(&["image", "prune", "--force"]);
    expect_taggable(docker, &first, &reference).await;
    // Created again from it.
    let configuration = docker.create_configuration(&id).await;
    let configuration = configuration.expect("an answer").expect("there");
    bench.cli(&["rm", &id]);
    bench.cli(&["tag", &other, &reference]);
    let name = format!("{}-again", bench.name);
    let created = docker.create_again(&configuration, &name, &[]).await;
    let id = created.expect("created");
    assert_eq!(id_of(docker, &reference).await, first);
    // Removed in spite of it.
    bench.cli(&["rmi", "--force", &first]);
    assert_eq!(docker.has_image(&first).await, Ok(false));
    let error = docker.tag_image(&first, &reference).await;
    assert!(error.expect_err("gone").is_not_found());
    docker
        .ensure_started(&id)
        .await
        .expect("started without its image");
}

async fn id_of(docker: &Docker, reference: &str) -> String {
    let found = docker.image(reference).await.expect("an answer");
    found.expect("there").id
}

async fn expect_taggable(docker: &Docker, id: &str, reference: &str) {
    assert_eq!(docker.has_image(id).await, Ok(true), "there without a tag");
    for _ in 0..2 {
        docker.tag_image(id, reference).await.expect("tagged");
        assert_eq!(id_of(docker, reference).await, id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dockers_own_store_keeps_the_image_of_a_moved_tag_and_starts_without_an_image() {
    let (engine, _directory) = own_docker_with("{}");
    assert_eq!(engine.storage_driver().expect("an answer"), "overlay2");
    keeps_what_a_container_needs(&engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containerds_store_keeps_the_image_of_a_moved_tag_and_starts_without_an_image() {
    let (engine, _directory) = own_docker_with(Engine::CONTAINERD_IMAGE_STORE);
    assert_eq!(engine.storage_driver().expect("an answer"), "overlayfs");
    keeps_what_a_container_needs(&engine).await;
}

#[tokio::test]
async fn a_reference_with_a_digest_is_given_to_no_other_image() {
    let bench = Bench::new();
    let image = bench.image(&ImageSpec::new("1"));
    let id = id_of(&bench.docker, &image).await;
    let itself = bench.docker.tag_image(&id, &id).await;
    itself.expect("an id names its image already");
    for reference in [
        format!("shop@sha256:{}", "0".repeat(64)),
        format!("sha256:{}", "0".repeat(64)),
        "Shop:1".to_owned(),
    ] {
        let error = bench.docker.tag_image(&id, &reference).await;
        let error = error.expect_err(&reference);
        assert!(
            matches!(error, DockerError::Unsupported { .. }),
            "{error:?}"
        );
    }
}
