//! What Docker and registries say of pulls that failed, and how it is told.

use super::*;

/// Status, words, code, and whether it is tried again.
const SAID: &[(u16, &str, Code, Again)] = &[
    (
        404,
        "manifest for 127.0.0.1:5000/hello:9 not found: manifest unknown: manifest unknown",
        Code::ImageNotFound,
        Again::No,
    ),
    (404, "name unknown", Code::ImageNotFound, Again::No),
    (
        404,
        "failed to resolve reference \"127.0.0.1:5000/hello:9\": 127.0.0.1:5000/hello:9: not found",
        Code::ImageNotFound,
        Again::No,
    ),
    (
        404,
        "pull access denied for acme/shop, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
        Code::RegistryDenied,
        Again::No,
    ),
    (401, "unauthorized", Code::RegistryDenied, Again::No),
    (403, "denied", Code::RegistryDenied, Again::No),
    (
        500,
        "Head \"https://ghcr.io/v2/acme/shop/manifests/1\": unauthorized",
        Code::RegistryDenied,
        Again::No,
    ),
    (
        500,
        "Head \"http://127.0.0.1:5000/v2/hello/manifests/1\": no basic auth credentials",
        Code::RegistryDenied,
        Again::No,
    ),
    (
        500,
        "failed to resolve reference \"ghcr.io/acme/shop:1\": failed to authorize: failed to fetch anonymous token: Get \"https://ghcr.io/token?scope=repository%3Aacme%2Fshop%3Apull&service=ghcr.io\": dial tcp 140.82.121.33:443: i/o timeout",
        Code::RegistryUnavailable,
        Again::Yes,
    ),
    (
        500,
        "failed to authorize: failed to fetch oauth token: Post \"https://auth.docker.io/token\": dial tcp: lookup auth.docker.io: no such host",
        Code::RegistryUnavailable,
        Again::No,
    ),
    (
        500,
        "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://ghcr.io/token: 401 Unauthorized",
        Code::RegistryDenied,
        Again::No,
    ),
    (
        500,
        "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://ghcr.io/token: 403 Forbidden: denied",
        Code::RegistryDenied,
        Again::No,
    ),
    (
        500,
        "failed to authorize: server message: insufficient_scope: authorization failed",
        Code::RegistryDenied,
        Again::No,
    ),
    (
        500,
        "denied: Permission \"artifactregistry.repositories.downloadArtifacts\" denied on resource",
        Code::RegistryDenied,
        Again::No,
    ),
    (
        429,
        "toomanyrequests: You have reached your pull rate limit.",
        Code::RegistryUnavailable,
        Again::No,
    ),
    (
        500,
        "received unexpected HTTP status: 503 Service Unavailable",
        Code::RegistryUnavailable,
        Again::Yes,
    ),
    (
        500,
        "received unexpected HTTP status: 500 Internal Server Error",
        Code::RegistryUnavailable,
        Again::Yes,
    ),
    (
        500,
        "Get \"http://127.0.0.1:5999/v2/\": dial tcp 127.0.0.1:5999: connect: connection refused",
        Code::RegistryUnavailable,
        Again::Yes,
    ),
    (
        500,
        "Get \"https://registry.invalid/v2/\": dial tcp: lookup registry.invalid on 10.0.0.53:53: no such host",
        Code::RegistryUnavailable,
        Again::No,
    ),
    (
        500,
        "Get \"https://10.0.0.1:5000/v2/\": http: server gave HTTP response to HTTPS client",
        Code::RegistryUnavailable,
        Again::No,
    ),
    (
        500,
        "Get \"https://10.0.0.1:5000/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
        Code::RegistryUnavailable,
        Again::No,
    ),
    (
        500,
        "Head \"http://127.0.0.1:5901/v2/cut/manifests/1\": EOF",
        Code::RegistryUnavailable,
        Again::Yes,
    ),
    (200, "unexpected EOF", Code::ImageIncomplete, Again::Yes),
    (
        200,
        "short read: expected 101888 bytes but got 50944: unexpected EOF",
        Code::ImageIncomplete,
        Again::Yes,
    ),
    (
        500,
        "Get \"https://ghcr.io/v2/\": unexpected EOF",
        Code::RegistryUnavailable,
        Again::Yes,
    ),
    (
        200,
        "filesystem layer verification failed for digest sha256:aa",
        Code::ImageIncomplete,
        Again::No,
    ),
    (
        200,
        "image config verification failed for digest sha256:aa",
        Code::ImageIncomplete,
        Again::No,
    ),
    (
        200,
        "error pulling image configuration: download failed after attempts=1: unknown blob",
        Code::ImageIncomplete,
        Again::No,
    ),
    (
        404,
        "blob unknown to registry",
        Code::ImageIncomplete,
        Again::No,
    ),
    (
        200,
        "failed to copy: httpReadSeeker: failed open: could not fetch content descriptor sha256:aa (application/vnd.oci.image.layer.v1.tar+gzip) from remote: not found",
        Code::ImageIncomplete,
        Again::No,
    ),
    (
        200,
        "failed commit on ref \"layer-sha256:aa\": commit failed: unexpected commit digest sha256:bb, expected sha256:aa: failed precondition",
        Code::ImageIncomplete,
        Again::No,
    ),
    (
        200,
        "failed commit on ref \"unknown-sha256:aa\": commit failed: \"unknown-sha256:aa\" failed size validation: 7630 != 7307: failed precondition",
        Code::ImageIncomplete,
        Again::No,
    ),
    (
        200,
        "failed to extract layer sha256:aa: wrong diff id calculated on extraction \"sha256:bb\"",
        Code::ImageIncomplete,
        Again::No,
    ),
    (
        200,
        "write /var/lib/docker/tmp/GetImageBlob1: no space left on device",
        Code::InsufficientStorage,
        Again::No,
    ),
    (
        200,
        "failed to register layer: mkdir /var/lib/docker/overlay2/x: permission denied",
        Code::DockerUnavailable,
        Again::No,
    ),
    (
        200,
        "no matching manifest for linux/amd64 in the manifest list entries",
        Code::PlatformMismatch,
        Again::No,
    ),
    (
        404,
        "no matching manifest for linux/amd64 in the manifest list entries: no match for platform in manifest: not found",
        Code::PlatformMismatch,
        Again::No,
    ),
];

#[test]
fn dockers_words_are_sorted() {
    for (status, words, code, again) in SAID {
        let fault = Fault::sorted(*status, words);
        assert_eq!(
            (fault.code, fault.again),
            (*code, *again),
            "{status} {words}"
        );
    }
}

#[test]
fn the_detail_names_the_image_and_quotes_docker() {
    let image: ImageRef = "ghcr.io/acme/shop:0a1b".parse().expect("a reference");
    let error = Fault::sorted(404, "manifest unknown").about(&image, None, 1);
    assert_eq!(
        error.detail,
        "ghcr.io does not have ghcr.io/acme/shop:0a1b: manifest unknown"
    );
    let error = Fault::stalled(Duration::from_secs(60)).about(&image, None, 4);
    assert!(
        error
            .detail
            .contains("in 4 attempts: nothing came for 60 s")
    );
}

#[test]
fn an_incomplete_image_is_told_apart_from_a_registry_that_is_away() {
    let image: ImageRef = "ghcr.io/acme/shop:0a1b".parse().expect("a reference");
    let error = Fault::sorted(200, "unknown blob").about(&image, None, 1);
    assert_eq!(
        error.detail,
        "ghcr.io/acme/shop:0a1b is incomplete or damaged in ghcr.io: unknown blob"
    );
    let error = Fault::sorted(200, "unexpected EOF").about(&image, None, 4);
    assert_eq!(
        error.detail,
        "a part of ghcr.io/acme/shop:0a1b ended early in each of 4 attempts to pull it from ghcr.io: unexpected EOF"
    );
    assert!(!error.code.retriable() && error.code.hint().starts_with("push the image again"));
}

#[test]
fn a_docker_that_is_away_is_not_the_registrys_fault() {
    let fault = Fault::from(DockerError::unreachable("no such file"));
    assert_eq!(
        (fault.code, fault.again),
        (Code::DockerUnavailable, Again::Yes)
    );
}
