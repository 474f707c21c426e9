//! The published vectors of `github.com/distribution/reference`, and properties.

use proptest::prelude::*;

use super::*;

const F64: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

fn parse(text: &str) -> Result<ImageRef, InvalidImageRef> {
    text.parse()
}

/// Input, registry, repository, tag and digest; `-` for none, `@F` for a digest of 64 `f`.
const PARTS: &str = "
    test_com                        docker.io           library/test_com        -           -
    test.com:tag                    docker.io           library/test.com        tag         -
    test.com:5000                   docker.io           library/test.com        5000        -
    test.com/repo:tag               test.com            repo                    tag         -
    test:5000/repo                  test:5000           repo                    -           -
    test:5000/repo:tag              test:5000           repo                    tag         -
    test:5000/repo@F                test:5000           repo                    -           @F
    test:5000/repo:tag@F            test:5000           repo                    tag         @F
    lowercase:Uppercase             docker.io           library/lowercase       Uppercase   -
    sub-dom1.foo.com/bar/baz/quux   sub-dom1.foo.com    bar/baz/quux            -           -
    b.gcr.io/test.example.com/my-app:test.example.com \
                                    b.gcr.io            test.example.com/my-app test.example.com -
    xn--n3h.com/myimage:xn--n3h.com xn--n3h.com         myimage                 xn--n3h.com -
    foo_bar.com:8080                docker.io           library/foo_bar.com     8080        -
    foo/foo_bar.com:8080            docker.io           foo/foo_bar.com         8080        -
    192.168.1.1                     docker.io           library/192.168.1.1     -           -
    192.168.1.1:5000/repo:5050      192.168.1.1:5000    repo                    5050        -
    [2001:db8::1]/repo              [2001:db8::1]       repo                    -           -
    [2001:db8:1:2:3:4:5:6]/repo:tag [2001:db8:1:2:3:4:5:6] repo                 tag         -
    [2001:db8::1]:5000/repo:tag@F   [2001:db8::1]:5000  repo                    tag         @F
    [::1]:5000/repo                 [::1]:5000          repo                    -           -
    localhost/shop:1                localhost           shop                    1           -
    localhost:8080@F                docker.io           library/localhost       8080        @F
    localhost:8080/name@F           localhost:8080      name                    -           @F
    test_com/foo                    docker.io           test_com/foo            -           -
    do__cker/docker                 docker.io           do__cker/docker         -           -
    registry.io/foo/project--id.module--name.ver---sion--name \
                                    registry.io         foo/project--id.module--name.ver---sion--name - -
    Asdf.com/foo/bar                Asdf.com            foo/bar                 -           -
    DOCKER/docker                   DOCKER              docker                  -           -
    ghcr.io/acme/shop/api:1f0e      ghcr.io             acme/shop/api           1f0e        -
";

#[track_caller]
fn check(text: &str, registry: &str, repository: &str, tag: Option<&str>, digest: Option<&str>) {
    let image = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(image.registry(), registry, "{text}");
    assert_eq!(image.repository(), repository, "{text}");
    assert_eq!(image.tag(), tag, "{text}");
    assert_eq!(image.digest().map(Digest::as_str), digest, "{text}");
}

#[test]
fn references_fall_into_their_parts() {
    let digest = format!("sha256:{F64}");
    for row in PARTS.trim().lines() {
        let cells: Vec<&str> = row.split_whitespace().collect();
        let [text, registry, repository, tag, pinned] = cells[..] else {
            panic!("five cells: {row}");
        };
        let text = text.replace("@F", &format!("@{digest}"));
        let tag = (tag != "-").then_some(tag);
        let digest = (pinned != "-").then_some(digest.as_str());
        check(&text, registry, repository, tag, digest);
    }
}

#[track_caller]
fn check_normal(text: &str, canonical: &str, familiar: &str) {
    let image = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(image.canonical(), canonical, "{text}");
    assert_eq!(image.familiar(), familiar, "{text}");
    assert_eq!(image.to_string(), familiar, "{text}");
}

#[test]
fn docker_hub_is_normalized_and_familiarized() {
    for text in ["fooo/bar", "docker.io/fooo/bar", "index.docker.io/fooo/bar"] {
        check_normal(text, "docker.io/fooo/bar", "fooo/bar");
    }
    for text in [
        "ubuntu",
        "library/ubuntu",
        "docker.io/ubuntu",
        "index.docker.io/ubuntu",
        "docker.io/library/ubuntu",
    ] {
        check_normal(text, "docker.io/library/ubuntu", "ubuntu");
    }
    check_normal(
        "library/foo/bar",
        "docker.io/library/foo/bar",
        "library/foo/bar",
    );
    check_normal("store/foo/bar", "docker.io/store/foo/bar", "store/foo/bar");
    check_normal("other/library", "docker.io/other/library", "other/library");
    check_normal(
        "127.0.0.1:8000/privatebase",
        "127.0.0.1:8000/privatebase",
        "127.0.0.1:8000/privatebase",
    );
    check_normal("Foo/bar", "Foo/bar", "Foo/bar");
    check_normal(
        "busybox:latest@sha256:86e0e091d0da6bde2456dbb48306f3956bbeb2eae1b5b9a43045843f69fe4aaa",
        "docker.io/library/busybox:latest@sha256:86e0e091d0da6bde2456dbb48306f3956bbeb2eae1b5b9a43045843f69fe4aaa",
        "busybox:latest@sha256:86e0e091d0da6bde2456dbb48306f3956bbeb2eae1b5b9a43045843f69fe4aaa",
    );
    // With a registry in front, 64 digits are a repository and no longer an id.
    check_normal(
        "docker.io/localhost/shop",
        "docker.io/localhost/shop",
        "docker.io/localhost/shop",
    );
    let odd = "docker.io/1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a";
    check_normal(
        odd,
        &odd.replace("io/", "io/library/"),
        &odd.replace("io/", "io/library/"),
    );
}

#[test]
fn what_docker_refuses_is_refused() {
    let long = format!("{}a:tag", "a/".repeat(128));
    let unsupported = format!("validname@invaliddigest:{F64}");
    let too_long_namespace = format!("{}/docker", "this_is_not_a_valid_namespace_".repeat(9));
    for text in [
        "",
        ":justtag",
        "repo:",
        "repo@",
        "@sha256:ff",
        "repo@sha256:ffffffffffffffffffffffffffffffffff",
        &unsupported,
        "Uppercase:tag",
        "test:5000/Uppercase/lowercase:tag",
        &long,
        "aa/asdf$$^/aa",
        "[2001:db8::1]",
        "[2001:db8::1]:5000",
        "[2001:db8::1]:tag",
        "[fe80::1%eth0]:5000/repo",
        "[fe80::1%@invalidzone]:5000/repo",
        "[2001:db8:3:4::192.0.2.33]:5000/debian",
        "fc00::1:5000/debian",
        "[]/repo",
        "[::1]5000/repo",
        "[::1]::5000/repo",
        "https://github.com/docker/docker",
        "docker/Docker",
        "-docker",
        "-docker/docker",
        "-docker.io/docker/docker",
        "docker///docker",
        "docker.io/docker/Docker",
        "docker.io/docker///docker",
        "1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a",
        "docker-/docker",
        "-docker-/docker",
        "____/____",
        "_docker/_docker",
        "dock..er/docker",
        "dock_.er/docker",
        "dock-.er/docker",
        "docker/",
        "docker./docker",
        ".docker/docker",
        "do__cker:8080/docker",
        "registry.com:8080/myapp@sha256:badbadbadbad",
        "registry.com:8080/myapp:invalid~tag",
        "bad_hostname.com:8080/myapp:tag",
        "localhost:http/name",
        "registry.com:8080/myapp@bad",
        "foo.com:/bar",
        "foo.com/",
        "a/a/a/a/",
        "a//a/a",
        "a^a",
        "shop:tag\n",
        "shop: tag",
        "shop:a:b",
        "shop:.hidden",
        "shop:-foo",
        "foo_bar.com/x",
        &too_long_namespace,
    ] {
        assert!(parse(text).is_err(), "{text:?} is accepted");
    }
    let sha512 = format!("repo@sha512:{F64}{F64}");
    assert!(parse(&sha512).is_err(), "only sha256 is supported");
}

#[track_caller]
fn check_refusal(text: &str, message: &str) {
    let error = parse(text).expect_err(text);
    assert!(error.to_string().contains(message), "{text}: {error}");
}

#[test]
fn refusals_name_the_wrong_part() {
    check_refusal(
        "ghcr.io/Acme/shop",
        "the repository `Acme/shop` has upper-case letters",
    );
    check_refusal(
        "foo_bar.com:8080/shop",
        "`foo_bar.com:8080` is not a registry",
    );
    check_refusal("shop:a b", "`a b` is not a tag");
    check_refusal("shop@sha256:12", "`sha256:12` is not a digest");
    check_refusal("a\u{1b}[31m/shop", "`a[31m/shop` is not a repository");
    check_refusal(
        &format!("shop:{}", "a".repeat(200)),
        &format!("`{}…`", "a".repeat(80)),
    );
}

#[test]
fn the_longest_repository_still_fits() {
    let longest = format!("a.io/{}a", "a/".repeat(127));
    assert!(parse(&longest).is_ok());
    assert_eq!(
        parse(&format!("{longest}b")),
        Err(InvalidImageRef::TooLong(256))
    );
}

#[test]
fn another_tag_takes_the_digest_away() {
    let image = parse(&format!("ghcr.io/acme/shop:old@sha256:{F64}")).expect("a reference");
    let tag = Tag::new("new").expect("a tag");
    assert_eq!(image.with_tag(&tag).canonical(), "ghcr.io/acme/shop:new");
    assert_eq!(image.without_tag().canonical(), "ghcr.io/acme/shop");
    let digest: Digest = format!("sha256:{}", "0".repeat(64))
        .parse()
        .expect("a digest");
    let pinned = image.with_tag(&tag).with_digest(digest.clone());
    assert_eq!(
        pinned.canonical(),
        format!("ghcr.io/acme/shop:new@{digest}")
    );
    assert_eq!(digest.short(), "000000000000");
}

#[test]
fn digests_are_sha256_in_lower_case() {
    for wrong in [
        F64.to_owned(),
        format!("sha256:{}", &F64[1..]),
        format!("sha256:{F64}f"),
        format!("sha256:{}", F64.to_uppercase()),
        format!("SHA256:{F64}"),
        format!("sha256:{F64}\n"),
        format!(" sha256:{F64}"),
        "sha256:".to_owned(),
        String::new(),
    ] {
        assert!(wrong.parse::<Digest>().is_err(), "{wrong:?}");
    }
}

/// References of the grammar, written as somebody may write them.
fn reference() -> impl Strategy<Value = String> {
    let registry = "((docker[.]io|index[.]docker[.]io|localhost|[a-zA-Z0-9]{1,3}(-[a-z0-9]{1,3})?[.][a-z]{2,3}|\\[[a-f0-9]{1,4}::[0-9]\\])(:[0-9]{1,5})?/)?";
    let path = "(library/|localhost/|a[.]b/)?[a-z0-9]{1,4}((_|__|-{1,3})[a-z0-9]{1,3}){0,2}(/[a-z0-9]{1,5}([.][a-z0-9]{1,3}){0,2}){0,3}";
    let rest = "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,20})?(@sha256:[0-9a-f]{64})?";
    proptest::string::string_regex(&format!("{registry}{path}{rest}")).expect("a pattern")
}

proptest! {
    #[test]
    fn every_reference_of_the_grammar_is_read_and_survives_printing(text in reference()) {
        let image = parse(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        prop_assert_eq!(&parse(&image.canonical()), &Ok(image.clone()));
        prop_assert_eq!(&parse(&image.familiar()), &Ok(image.clone()));
        prop_assert!(image.canonical().ends_with(&image.familiar()));
    }

    #[test]
    fn no_text_makes_the_parser_panic_and_what_it_accepts_is_stable(text in "\\PC{0,40}|[a-zA-Z0-9:/@._\\[\\]-]{0,40}") {
        if let Ok(image) = parse(&text) {
            prop_assert_eq!(parse(&image.canonical()), Ok(image));
        }
    }
}
