//! Tables and properties of `template`.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(image: &str, repository: &str, variable: &str) {
    let template = image_template(image).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(template.repository_template, repository, "{image}");
    assert_eq!(template.tag_variable, variable, "{image}");
}

#[test]
fn a_variable_that_is_the_whole_tag_is_found() {
    let shop = "ghcr.io/acme/shop";
    for tag in [
        "${APP_IMAGE_TAG}",
        "$APP_IMAGE_TAG",
        "${APP_IMAGE_TAG:-latest}",
        "${APP_IMAGE_TAG-latest}",
        "${APP_IMAGE_TAG:-}",
        "${APP_IMAGE_TAG:?set me}",
        "${APP_IMAGE_TAG?say: shop@1/2 }",
        "${APP_IMAGE_TAG:-${OTHER:-x}}",
    ] {
        check(&format!("{shop}:{tag}"), shop, "APP_IMAGE_TAG");
    }
    check("${REGISTRY}/shop:${TAG}", "${REGISTRY}/shop", "TAG");
    check("$REGISTRY/shop:$TAG", "$REGISTRY/shop", "TAG");
    check(
        "${REGISTRY:-ghcr.io/acme}/shop:${TAG}",
        "${REGISTRY:-ghcr.io/acme}/shop",
        "TAG",
    );
    check(
        "${REGISTRY:-localhost:5000}/shop:${TAG}",
        "${REGISTRY:-localhost:5000}/shop",
        "TAG",
    );
    check("${PREFIX}shop:${TAG}", "${PREFIX}shop", "TAG");
    check("${IMAGE}:${TAG}", "${IMAGE}", "TAG");
    check("${IMAGE:-a@b:c}:${TAG}", "${IMAGE:-a@b:c}", "TAG");
    check(
        "localhost:5000/shop:${tag_1}",
        "localhost:5000/shop",
        "tag_1",
    );
    check("${HOST}:5000/shop:${TAG}", "${HOST}:5000/shop", "TAG");
    check(
        "${A:?set TAG to $TAG}/shop:${TAG}",
        "${A:?set TAG to $TAG}/shop",
        "TAG",
    );
    check("shop:${TAG}", "shop", "TAG");
}

#[test]
fn a_variable_that_is_the_whole_image_is_found() {
    for image in [
        "${APP_IMAGE}",
        "$APP_IMAGE",
        "${APP_IMAGE:-shop:1}",
        "${APP_IMAGE:?set me}",
        "${APP_IMAGE:-${OTHER:-ghcr.io/acme/shop}}",
    ] {
        let template = image_template(image).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(template.tag_variable, "APP_IMAGE", "{image}");
        assert_eq!(template.carries, Carries::Image, "{image}");
    }
}

#[test]
fn of_a_whole_image_only_tag_and_digest_are_replaced() {
    for (image, value) in [
        ("ghcr.io/acme/shop:old", "ghcr.io/acme/shop:new"),
        ("ghcr.io/acme/shop", "ghcr.io/acme/shop:new"),
        ("localhost:5000/shop", "localhost:5000/shop:new"),
        ("localhost:5000/shop:1@sha256:ab", "localhost:5000/shop:new"),
        ("ghcr.io/acme/shop@sha256:ab", "ghcr.io/acme/shop:new"),
        ("shop:1", "shop:new"),
    ] {
        let variable = TagVariable::of_image("APP_IMAGE", image).expect("a repository");
        assert_eq!(variable.value("new"), value, "{image}");
        assert_eq!(variable.carries(), Carries::Image);
    }
    assert_eq!(TagVariable::of_image("APP_IMAGE", ""), None);
    assert_eq!(TagVariable::of_image("APP_IMAGE", ":1"), None);
    let tag = TagVariable::of_tag("TAG");
    assert_eq!(
        (tag.value("new"), tag.carries()),
        ("new".to_owned(), Carries::Tag)
    );
    assert_eq!(
        without_tag("${REGISTRY:-localhost:5000}/shop:${OLD}"),
        Some("${REGISTRY:-localhost:5000}/shop")
    );
}

#[test]
fn a_variable_that_is_the_digest_is_found() {
    use DigestPart::{Hex, Whole};
    for (digest, part) in [
        ("${APP_DIGEST}", Whole),
        ("$APP_DIGEST", Whole),
        ("${APP_DIGEST:-sha256:ab}", Whole),
        ("${APP_DIGEST:?set it}", Whole),
        ("sha256:${APP_DIGEST}", Hex),
        ("sha256:$APP_DIGEST", Hex),
        ("sha256:${APP_DIGEST:-ab}", Hex),
    ] {
        for repository in ["ghcr.io/acme/shop", "${HUB}:5000/shop", "shop"] {
            for tag in ["", ":1.2"] {
                let image = format!("{repository}{tag}@{digest}");
                check(&image, repository, "APP_DIGEST");
                let template = image_template(&image).expect("read before");
                assert_eq!(template.carries, Carries::Digest(part), "{image}");
            }
        }
    }
}

#[test]
fn a_digest_is_given_once_it_is_known() {
    let hex = "ab".repeat(32);
    let digest: crate::image::Digest = format!("sha256:{hex}").parse().expect("a digest");
    let zeros = "0".repeat(64);
    for (part, unknown, known) in [
        (
            DigestPart::Whole,
            format!("sha256:{zeros}"),
            format!("sha256:{hex}"),
        ),
        (DigestPart::Hex, zeros.clone(), hex.clone()),
    ] {
        let before = TagVariable::of_digest("APP_DIGEST", part);
        assert!(before.needs_digest());
        assert_eq!(before.value("new"), unknown);
        let after = before.with_digest(&digest);
        assert!(!after.needs_digest());
        assert_eq!(after.value("new"), known);
        assert_eq!(after.carries(), Carries::Digest(part));
        assert_eq!(
            (after.keeps(), after.name.as_str()),
            ("digest", "APP_DIGEST")
        );
        for (variable, hex) in [(&before, &zeros), (&after, &hex)] {
            for (image, requested) in [
                (format!("hub:5000/shop@sha256:{hex}"), "hub:5000/shop:new"),
                (format!("shop:1.2@sha256:{hex}"), "shop:new"),
                ("shop:1.2".to_owned(), "shop:1.2"),
                (format!("tool@sha256:{}", "1".repeat(64)), ""),
            ] {
                let requested = match requested {
                    "" => image.as_str(),
                    requested => requested,
                };
                assert_eq!(variable.requested(&image, "new"), requested, "{image}");
            }
        }
    }
    let tag = TagVariable::of_tag("TAG");
    assert_eq!(tag.with_digest(&digest), tag);
    assert_eq!(tag.requested("shop:new", "new"), "shop:new");
    assert_eq!(
        (tag.end_of_image("new"), tag.keeps()),
        (":new".to_owned(), "tag")
    );
}

#[track_caller]
fn check_problem(image: &str, problem: TemplateProblem, suggestion: &str) {
    let error = image_template(image).expect_err(image);
    assert_eq!(error.problem, problem, "{image}");
    assert_eq!(error.suggestion("shop"), suggestion, "{image}");
    assert!(!error.to_string().ends_with('.'), "{error}");
}

#[test]
fn every_other_line_is_refused_with_the_line_to_write() {
    use TemplateProblem as P;
    let text = str::to_owned;
    let line = "image: ghcr.io/acme/shop:${SHOP_IMAGE_TAG}";
    check_problem("ghcr.io/acme/shop", P::NoTag, line);
    check_problem("ghcr.io/acme/shop:", P::NoTag, line);
    check_problem(
        "ghcr.io/acme/shop:latest",
        P::FixedTag(text("latest")),
        line,
    );
    check_problem(
        "ghcr.io/acme/shop:v${TAG}",
        P::TagOfParts(text("v${TAG}")),
        line,
    );
    check_problem(
        "ghcr.io/acme/shop:${ENV}-$TAG",
        P::TagOfParts(text("${ENV}-$TAG")),
        line,
    );
    check_problem(
        "ghcr.io/acme/shop:$TAG-alpine",
        P::TagOfParts(text("$TAG-alpine")),
        line,
    );
    check_problem(
        "ghcr.io/acme/shop:${A}${B}",
        P::TagOfParts(text("${A}${B}")),
        line,
    );
    check_problem("ghcr.io/acme/shop:$$TAG", P::FixedTag(text("$$TAG")), line);
    check_problem("ghcr.io/acme/shop:$1", P::FixedTag(text("$1")), line);
    check_problem(
        "ghcr.io/acme/shop:${TAG:+x}",
        P::Replaced(text("TAG")),
        line,
    );
    check_problem("ghcr.io/acme/shop:${TAG+x}", P::Replaced(text("TAG")), line);
    check_problem(
        "localhost:5000/shop",
        P::NoTag,
        "image: localhost:5000/shop:${SHOP_IMAGE_TAG}",
    );
    check_problem(
        "${REGISTRY}/shop",
        P::NoTag,
        "image: ${REGISTRY}/shop:${SHOP_IMAGE_TAG}",
    );
}

#[test]
fn a_digest_that_is_not_one_variable_is_refused() {
    use TemplateProblem as P;
    let text = str::to_owned;
    let line = "image: ghcr.io/acme/shop:${SHOP_IMAGE_TAG}";
    check_problem("ghcr.io/acme/shop@sha256:ab", P::Digest, line);
    check_problem("ghcr.io/acme/shop:${TAG}@sha256:ab", P::Digest, line);
    check_problem("ghcr.io/acme/shop@", P::Digest, line);
    check_problem("ghcr.io/acme/shop@sha256:", P::Digest, line);
    check_problem(
        "ghcr.io/acme/shop:${TAG}@${DIGEST}",
        P::TagAndDigest(text("TAG"), text("DIGEST")),
        line,
    );
    check_problem(
        "ghcr.io/acme/shop:v$TAG@sha256:$HASH",
        P::TagAndDigest(text("TAG"), text("HASH")),
        line,
    );
    check_problem(
        "ghcr.io/acme/shop@sha256:${A}${B}",
        P::DigestOfParts(text("sha256:${A}${B}")),
        line,
    );
    check_problem(
        "ghcr.io/acme/shop@${ALGORITHM}:${HASH}",
        P::DigestOfParts(text("${ALGORITHM}:${HASH}")),
        line,
    );
    check_problem(
        "ghcr.io/acme/shop@sha256:ab${HASH}",
        P::DigestOfParts(text("sha256:ab${HASH}")),
        line,
    );
    check_problem(
        "ghcr.io/acme/shop@${DIGEST:+sha256:ab}",
        P::Replaced(text("DIGEST")),
        line,
    );
}

#[test]
fn lines_that_tell_no_repository_and_lines_that_use_the_tag_twice_are_refused() {
    use TemplateProblem as P;
    let text = str::to_owned;
    let vague = "image: REPOSITORY:${SHOP_IMAGE_TAG}";
    check_problem("${IMAGE:+shop:1}", P::Replaced(text("IMAGE")), vague);
    check_problem("", P::NoImage, vague);
    check_problem("shop:${TAG", P::Syntax(text("${TAG")), vague);
    check_problem("shop:${}", P::Syntax(text("${}")), vague);
    check_problem("shop:${TAG!x}", P::Syntax(text("${TAG!x}")), vague);
    check_problem("shop:${1A}", P::Syntax(text("${1A}")), vague);
    check_problem(
        "${TAG}/shop:${TAG}",
        P::InRepository(text("TAG")),
        "image: ${TAG}/shop:${SHOP_IMAGE_TAG}",
    );
    check_problem(
        "${A:-x${TAG}}/shop:${TAG}",
        P::InRepository(text("TAG")),
        "image: ${A:-x${TAG}}/shop:${SHOP_IMAGE_TAG}",
    );
    check_problem(
        "${HASH}/shop@sha256:${HASH}",
        P::InRepository(text("HASH")),
        "image: ${HASH}/shop:${SHOP_IMAGE_TAG}",
    );
}

#[test]
fn messages_quote_the_line_and_name_the_part() {
    let error = image_template("shop:v${TAG}").expect_err("a tag of parts");
    assert_eq!(
        error.to_string(),
        "the image `shop:v${TAG}` has the tag `v${TAG}`, which is more than one variable: one variable must be the whole tag"
    );
}

#[test]
fn the_suggested_variable_is_made_of_the_service() {
    assert_eq!(suggested_variable("shop"), "SHOP_IMAGE_TAG");
    assert_eq!(suggested_variable("shop-api.v2"), "SHOP_API_V2_IMAGE_TAG");
    assert_eq!(suggested_variable("2fa"), "_2FA_IMAGE_TAG");
}

proptest! {
    #[test]
    fn no_line_makes_the_reader_panic(image in "[a-z$\\{\\}:@/?+A-Z.é-]{0,30}") {
        let _ = image_template(&image).map_err(|error| error.suggestion("shop"));
    }

    #[test]
    fn a_suggested_line_is_accepted(image in "([a-z]{1,3}/){0,2}[a-z]{1,5}(:[a-z]{1,3})?", service in "[a-z0-9][a-z0-9._-]{0,8}") {
        let error = image_template(&image).expect_err("no variable");
        let line = error.suggestion(&service);
        let line = line.strip_prefix("image: ").expect("an image line");
        let template = image_template(line).expect("the suggestion");
        prop_assert_eq!(template.tag_variable, suggested_variable(&service));
        prop_assert_eq!(template.repository_template, image.split(':').next().expect("a repository"));
    }
}

#[test]
fn a_value_is_blank_without_a_variable_that_has_no_default() {
    for (text, expected) in [
        ("${DB}", true),
        ("$DB", true),
        ("postgres://app:${DB}@db/", true),
        ("${DATA:-${DB}}", true),
        ("${DATA-$DB/x}", true),
        ("${DB:-none}", false),
        ("${DB-}", false),
        ("${DB:?set it}", false),
        ("${DB:+set}", false),
        ("${DATA:+${DB}}", false),
        ("$$DB", false),
        ("${DBX}", false),
        ("DB", false),
        ("${DB", false),
    ] {
        assert_eq!(is_blank_without(text, "DB"), expected, "{text}");
    }
}
