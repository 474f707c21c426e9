//! Pulls that succeed, and what is known about images.

use std::path::Path;

use cutover_api::event::PullProgress;
use cutover_core::cause::Code;
use cutover_daemon::docker::credentials;
use cutover_daemon::docker::image::Removal;
use cutover_testkit::images::{HealthCheck, ImageSpec};
use cutover_testkit::registry::{Auth, Login, Registry};

use crate::bench::Bench;

fn registry() -> Registry {
    Registry::start(Auth::None).expect("a registry")
}

#[tokio::test]
async fn an_image_is_pulled_and_pinned() {
    let (bench, registry) = (Bench::new(), registry());
    let spec = ImageSpec::new(&bench.name)
        .label("org.example", "yes")
        .health_check(HealthCheck::default())
        .extra_layer_bytes(3_000_000);
    let digest = registry.push("shop", "1", &spec).expect("pushed");
    let reference = registry.reference("shop", "1");
    let mut told: Vec<PullProgress> = Vec::new();
    let pinned = bench
        .docker
        .pull_pinned(&reference, None, Some(&digest), None, |progress| {
            told.push(progress);
        })
        .await
        .expect("pulled");
    assert_eq!(pinned.reference, reference);
    assert_eq!(pinned.digest.as_deref(), Some(digest.as_str()));
    let last = told.last().expect("progress");
    assert_eq!(last.current_bytes, last.total_bytes);
    assert!(
        last.total_bytes >= 3_000_000 && last.layers_done == last.layers,
        "{last:?}"
    );
    assert!(
        told.is_sorted_by_key(|progress| progress.current_bytes),
        "{told:?}"
    );

    let found = bench
        .docker
        .image(&reference)
        .await
        .expect("an answer")
        .expect("there");
    assert_eq!(found.id, pinned.id);
    assert!(found.has_health_check);
    assert_eq!(
        found.labels.get("org.example").map(String::as_str),
        Some("yes")
    );
    assert!(found.size_bytes > 3_000_000);

    // Again, and by its digest.
    let again = bench
        .docker
        .pull_pinned(&reference, None, None, None, |_| {})
        .await
        .expect("up to date");
    assert_eq!(again, pinned);
    let by_digest = format!("{}@{digest}", reference.rsplit_once(':').expect("a tag").0);
    let again = bench
        .docker
        .pull_pinned(&by_digest, None, None, None, |_| {})
        .await
        .expect("pulled");
    assert_eq!(again.id, pinned.id);
    bench
        .docker
        .remove_image(&reference)
        .await
        .expect("removed");
}

#[tokio::test]
async fn a_tag_that_moved_is_pulled_anew_and_its_digest_is_the_new_one() {
    let (bench, registry) = (Bench::new(), registry());
    let reference = registry.reference("shop", "moving");
    let one = ImageSpec::new("one");
    let first = registry.push("shop", "moving", &one).expect("pushed");
    let one = bench
        .docker
        .pull_pinned(&reference, None, None, None, |_| {})
        .await
        .expect("pulled");
    let second = registry
        .push("shop", "moving", &ImageSpec::new("two"))
        .expect("pushed");
    let two = bench
        .docker
        .pull_pinned(&reference, None, None, None, |_| {})
        .await
        .expect("pulled");
    assert_eq!(one.digest, Some(first.clone()));
    assert_eq!(two.digest, Some(second));
    assert_ne!(one.id, two.id);
    let error = bench
        .docker
        .pull_pinned(&reference, None, Some(&first), None, |_| {})
        .await
        .expect_err("it moved");
    assert_eq!(error.code, Code::DigestMismatch);
    for image in [&one.id, &two.id] {
        bench.docker.remove_image(image).await.expect("removed");
    }
}

#[tokio::test]
async fn an_index_is_pinned_by_its_own_digest_and_only_for_this_platform() {
    let (bench, registry) = (Bench::new(), registry());
    let host = bench
        .docker
        .host_platform()
        .await
        .expect("an answer")
        .architecture;
    let foreign = if host == "arm64" { "s390x" } else { "arm64" };
    // Its own: another test removes what it has pulled.
    let spec = ImageSpec::new(&bench.name);
    let both = [spec.clone(), spec.clone().architecture(foreign)];
    let digest = registry.push_index("shop", "both", &both).expect("pushed");
    let reference = registry.reference("shop", "both");
    let manifest = bench
        .docker
        .manifest(&reference, None)
        .await
        .expect("a manifest");
    assert_eq!(
        (manifest.digest.as_str(), manifest.platforms.len()),
        (digest.as_str(), 2)
    );
    let pinned = bench
        .docker
        .pull_pinned(&reference, None, Some(&digest), None, |_| {})
        .await;
    let pinned = pinned.expect("pulled");
    assert_eq!(pinned.digest, Some(digest));
    bench
        .docker
        .remove_image(&pinned.id)
        .await
        .expect("removed");

    registry.push("shop", "foreign", &both[1]).expect("pushed");
    registry
        .push_index("shop", "index", &both[1..])
        .expect("pushed");
    for tag in ["foreign", "index"] {
        let reference = registry.reference("shop", tag);
        let error = bench
            .docker
            .pull_pinned(&reference, None, None, None, |_| {})
            .await;
        let error = error.expect_err(tag);
        assert_eq!(error.code, Code::PlatformMismatch, "{tag}: {error}");
    }
}

#[tokio::test]
async fn the_member_of_an_index_that_the_service_asks_for_is_pulled() {
    let (bench, registry) = (Bench::new(), registry());
    let docker = &bench.docker;
    let host = docker.host_platform().await.expect("an answer");
    let foreign = match host.architecture.as_str() {
        "arm64" => "s390x",
        _ => "arm64",
    };
    // Its own: another test removes what it has pulled.
    let spec = ImageSpec::new(&bench.name);
    let both = [spec.clone(), spec.clone().architecture(foreign)];
    registry.push_index("shop", "both", &both).expect("pushed");
    registry.push("shop", "foreign", &both[1]).expect("pushed");
    let wanted = format!("linux/{foreign}");
    for tag in ["both", "foreign"] {
        let reference = registry.reference("shop", tag);
        let pinned = docker
            .pull_pinned(&reference, Some(&wanted), None, None, |_| {})
            .await
            .expect("pulled");
        let found = docker.image(&pinned.id).await.expect("an answer");
        let found = found.expect("there").platform;
        assert_eq!(found.architecture, foreign, "{tag}");
        let own = host.to_string();
        let error = docker.pin(&reference, Some(&own)).await.expect_err(tag);
        assert_eq!(error.code, Code::PlatformMismatch, "{tag}: {error}");
        docker.remove_image(&reference).await.expect("removed");
    }
}

#[tokio::test]
async fn a_registry_with_a_login_is_pulled_from_as_docker_would() {
    for login in [Login::Plain, Login::Symbols] {
        let bench = Bench::new();
        let registry = Registry::start(Auth::Basic(login)).expect("a registry");
        registry
            .push("shop", "1", &ImageSpec::new(&bench.name))
            .expect("pushed");
        let reference = registry.reference("shop", "1");
        let directory = tempfile::tempdir().expect("a directory");
        write(directory.path(), &registry.docker_config());
        let address = registry.addr().to_string();
        let found = credentials::for_registry(directory.path(), &address)
            .await
            .expect("readable");
        let pinned = bench
            .docker
            .pull_pinned(&reference, None, None, found.as_ref(), |_| {})
            .await;
        let pinned = pinned.expect("pulled");
        bench
            .docker
            .remove_image(&pinned.id)
            .await
            .expect("removed");

        let error = bench
            .docker
            .pull(&reference, None, None, |_| {})
            .await
            .expect_err("anonymous");
        assert_eq!(error.code, Code::RegistryDenied, "{error}");
        assert!(error.detail.contains("without credentials"), "{error}");
        let wrong = serde_json::json!({"auths": {&address: {"username": login.user(), "password": "wrong"}}});
        write(directory.path(), &wrong);
        let found = credentials::for_registry(directory.path(), &address)
            .await
            .expect("readable");
        for error in [
            bench
                .docker
                .pull(&reference, None, found.as_ref(), |_| {})
                .await
                .expect_err("wrong"),
            bench
                .docker
                .manifest(&reference, found.as_ref())
                .await
                .expect_err("wrong"),
        ] {
            assert_eq!(error.code, Code::RegistryDenied, "{error}");
            assert!(
                error
                    .detail
                    .contains(&format!("to user `{}`", login.user())),
                "{error}"
            );
        }
    }
}

fn write(directory: &Path, config: &serde_json::Value) {
    std::fs::write(directory.join("config.json"), config.to_string()).expect("written");
}

#[tokio::test]
async fn an_image_in_use_stays() {
    let bench = Bench::new();
    let image = bench.image(&ImageSpec::new(&bench.name));
    let id = bench.create(&image, &[]);
    assert_eq!(bench.docker.remove_image(&image).await, Ok(Removal::InUse));
    bench.cli(&["rm", &id]);
    let other = format!("{}:other", bench.name);
    bench
        .docker
        .tag_image(&image, &other)
        .await
        .expect("tagged");
    let found = bench
        .docker
        .image(&image)
        .await
        .expect("an answer")
        .expect("there");
    assert_eq!(found.tags.len(), 2);
    assert_eq!(
        bench.docker.remove_image(&image).await,
        Ok(Removal::Removed)
    );
    assert_eq!(
        bench.docker.remove_image(&other).await,
        Ok(Removal::Removed)
    );
    assert_eq!(
        bench.docker.remove_image(&image).await,
        Ok(Removal::Missing)
    );
    assert_eq!(bench.docker.image(&image).await, Ok(None));
}
