//! Tables and properties of `env_file`.

use proptest::prelude::*;

use super::*;
use crate::template::DigestPart;

#[track_caller]
fn check(before: &str, after: &str) {
    let set = set_variable(before, "TAG", "new");
    assert_eq!(set, after);
    assert_eq!(variable(&set, "TAG").as_deref(), Some("new"), "{after:?}");
    assert_eq!(set_variable(&set, "TAG", "new"), set, "not idempotent");
    let written = written_value(before, "TAG");
    let back = take_back(&set, "TAG", "new", written);
    assert_eq!(back.as_deref(), Some(before), "{after:?} taken back");
}

#[test]
fn only_the_value_changes() {
    check("TAG=old\n", "TAG=new\n");
    check("TAG=old", "TAG=new");
    check("A=1\nTAG=old\nB=2\n", "A=1\nTAG=new\nB=2\n");
    check("A=1\r\nTAG=old\r\nB=2\r\n", "A=1\r\nTAG=new\r\nB=2\r\n");
    check("  TAG = old  \n", "  TAG = new  \n");
    check("export TAG=old\n", "export TAG=new\n");
    check("\texport\t TAG=old\n", "\texport\t TAG=new\n");
    check("TAG: old\n", "TAG: new\n");
    check("\u{feff}TAG=old\n", "\u{feff}TAG=new\n");
    check("TAG=a:b=c\n", "TAG=new\n");
    check("TAG=$OTHER\n", "TAG=new\n");
}

#[test]
fn what_somebody_changed_since_is_not_taken_back() {
    for text in ["TAG=newer\n", "A=1\n", "TAG=$OTHER\n", ""] {
        assert_eq!(take_back(text, "TAG", "new", Some("old")), None, "{text}");
        assert_eq!(take_back(text, "TAG", "new", None), None, "{text}");
    }
    // It was the same before.
    assert_eq!(take_back("TAG=new\n", "TAG", "new", Some("new")), None);
    let added_since = take_back("A=1\nTAG=new\nB=2\n", "TAG", "new", None);
    assert_eq!(added_since.as_deref(), Some("A=1\nB=2\n"));
}

#[test]
fn quotes_and_comments_stay() {
    check("TAG='old' # the release\n", "TAG='new' # the release\n");
    check(
        "TAG=\"old\"   # the release\r\n",
        "TAG=\"new\"   # the release\r\n",
    );
    check("TAG=\"\"\n", "TAG=\"new\"\n");
    check("TAG=''", "TAG='new'");
    check("TAG=old # the release\n", "TAG=new # the release\n");
    check("TAG=old #\n", "TAG=new #\n");
    check("TAG=old#still the value\n", "TAG=new\n");
    check("TAG=\"o\\\"ld\" # x\n", "TAG=\"new\" # x\n");
    check("TAG='o\\'ld'\n", "TAG='new'\n");
    check("TAG=\"o\nl\nd\"\nA=1\n", "TAG=\"new\"\nA=1\n");
    check("TAG='old'A=1\n", "TAG='new'A=1\n");
}

#[test]
fn an_empty_value_is_filled_in() {
    check("TAG=\nA=1\n", "TAG=new\nA=1\n");
    check("TAG=", "TAG=new");
    check("TAG=\r\nA=1\r\n", "TAG=new\r\nA=1\r\n");
    check("TAG: \r\n", "TAG: new\r\n");
    check(
        "TAG= # set by a deployment\n",
        "TAG=new # set by a deployment\n",
    );
    check("TAG=# this is the value\n", "TAG=new\n");
    check("TAG=\t# and this\n", "TAG=\tnew\n");
}

#[test]
fn the_last_assignment_is_the_one_that_counts() {
    check("TAG=1\nTAG=2\nA=3\n", "TAG=1\nTAG=new\nA=3\n");
    check("TAG='1'\n# TAG=2\n", "TAG='new'\n# TAG=2\n");
    check("TAG=1\nTAG\n", "TAG=new\nTAG\n");
}

#[test]
fn what_only_looks_like_the_assignment_is_left_alone() {
    check("#TAG=old\n", "#TAG=old\nTAG=new\n");
    check("MYTAG=old\n", "MYTAG=old\nTAG=new\n");
    check("TAG2=old\n", "TAG2=old\nTAG=new\n");
    check("tag=old\n", "tag=old\nTAG=new\n");
    check("exportTAG=old\n", "exportTAG=old\nTAG=new\n");
    check("A='\nTAG=old\n'\n", "A='\nTAG=old\n'\nTAG=new\n");
    check(
        "A=\"x\\\"\nTAG=old\n\"\nB=1\n",
        "A=\"x\\\"\nTAG=old\n\"\nB=1\nTAG=new\n",
    );
    check("A=\"\\\\\"\nTAG=old\n", "A=\"\\\\\"\nTAG=new\n");
    check(
        "not a line of Compose, TAG=old\n",
        "not a line of Compose, TAG=old\nTAG=new\n",
    );
}

#[test]
fn a_missing_assignment_is_added_as_the_last_line() {
    check("", "TAG=new\n");
    check("A=1\n", "A=1\nTAG=new\n");
    check("A=1", "A=1\nTAG=new");
    check("A=1\r\nB=2\r\n", "A=1\r\nB=2\r\nTAG=new\r\n");
    check("A=1\r\nB=2", "A=1\r\nB=2\r\nTAG=new");
    check("# comment", "# comment\nTAG=new");
    check("A=1\n\n", "A=1\n\nTAG=new\n");
    check("\u{feff}", "\u{feff}TAG=new\n");
}

#[track_caller]
fn check_read(text: &str, value: Option<&str>) {
    assert_eq!(variable(text, "TAG").as_deref(), value, "{text:?}");
}

#[test]
fn values_are_read_as_compose_reads_them() {
    check_read("TAG=abc", Some("abc"));
    check_read("TAG=a b  # c", Some("a b"));
    check_read("TAG=a#b", Some("a#b"));
    check_read("TAG= # c", Some("# c"));
    check_read("TAG=", Some(""));
    check_read("TAG=1\nTAG=2", Some("2"));
    check_read("TAG='a\\n$B\\'c'", Some("a\\n$B'c"));
    check_read("TAG=\"a\\n\\\"\\\\$$B\\$C\\q\"", Some("a\n\"\\$B$C\\q"));
    check_read("TAG=5$", Some("5$"));
    check_read("TAG=$B", None);
    check_read("TAG=\"${B:-1}\"", None);
    check_read("TAG=\"\\0123\"", None);
    check_read("TAG=\"open", None);
    check_read("# TAG=1", None);
    check_read("TAG", None);
}

#[test]
fn a_value_that_needs_quotes_gets_them() {
    assert_eq!(
        set_variable("TAG=a # b\n", "TAG", "x y"),
        "TAG=\"x y\" # b\n"
    );
    assert_eq!(
        set_variable("TAG='a' # b\n", "TAG", "$x"),
        "TAG=\"\\$x\" # b\n"
    );
    assert_eq!(set_variable("TAG=a # b\n", "TAG", ""), "TAG=\"\" # b\n");
    assert_eq!(set_variable("", "TAG", "x\ny"), "TAG=\"x\\ny\"\n");
}

/// A piece of an env file; a target is split where its value begins and ends.
#[derive(Debug, Clone)]
enum Line {
    Other(String),
    Target {
        before: String,
        old: String,
        after: String,
    },
}

fn other_line() -> impl Strategy<Value = Line> {
    prop::sample::select(vec![
        "",
        "   ",
        "# a comment with TAG=1",
        "A=1",
        "export B='x' # TAG=2",
        "C: 3",
        "D='first\nTAG=decoy\n# not a comment'",
        "E=\"\\\"\nTAG='decoy'\nexport TAG=decoy\"",
        "TAGS=4",
        "A_TAG=5 # TAG=6",
        "G=${TAG}",
        "H=é # ü",
        "TAG",
        "I=\"$$TAG\"",
    ])
    .prop_map(|text| Line::Other(text.to_owned()))
}

fn target_line() -> impl Strategy<Value = Line> {
    let start = prop::sample::select(vec!["", "  ", "\t", "export ", " export  "]);
    let separator = prop::sample::select(vec!["=", " = ", "= ", ": "]);
    let quote = prop::sample::select(vec!["", "'", "\""]);
    let end = prop::sample::select(vec!["", "  ", " # the release", " #"]);
    (start, separator, quote, "[a-zA-Z0-9_.-]{1,8}", end).prop_map(
        |(start, separator, quote, old, end)| Line::Target {
            before: format!("{start}TAG{separator}{quote}"),
            old,
            after: format!("{quote}{end}"),
        },
    )
}

fn rendered(lines: &[Line], line_end: &str, final_end: &str) -> String {
    let lines: Vec<String> = lines
        .iter()
        .map(|line| match line {
            Line::Other(text) => text.clone(),
            Line::Target { before, old, after } => format!("{before}{old}{after}"),
        })
        .collect();
    lines.join(line_end) + final_end
}

proptest! {
    #[test]
    fn every_other_byte_of_a_file_stays(
        mut lines in prop::collection::vec(prop_oneof![3 => other_line(), 1 => target_line()], 0..8),
        line_end in prop::sample::select(vec!["\n", "\r\n"]),
        ended: bool,
        new in "[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,39}",
    ) {
        let final_end = if ended { line_end } else { "" };
        let before = rendered(&lines, line_end, final_end);
        let after = set_variable(&before, "TAG", &new);

        let last = lines.iter_mut().rev().find_map(|line| match line {
            Line::Target { old, .. } => Some(old),
            Line::Other(_) => None,
        });
        let expected = if let Some(old) = last {
            new.clone_into(old);
            rendered(&lines, line_end, final_end)
        } else {
            let own = after.strip_prefix(&before);
            prop_assert_eq!(own.map(|own| own.trim().to_owned()), Some(format!("TAG={new}")));
            after.clone()
        };
        prop_assert_eq!(&after, &expected);
        prop_assert_eq!(variable(&after, "TAG"), Some(new.clone()));
        prop_assert_eq!(&set_variable(&after, "TAG", &new), &after);
    }

    #[test]
    fn any_value_that_is_set_is_read_again(
        text in "((TAG|A|export TAG)(=|: )('[a-z ]{0,4}'|\"[a-z ]{0,4}\"|[a-z ]{0,4})( #x)?\n){0,4}",
        value in "[a-z $\\\\\"'#\n\r=é]{0,10}",
    ) {
        let after = set_variable(&text, "TAG", &value);
        prop_assert_eq!(variable(&after, "TAG"), Some(value));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[TAG=:'\"\\\\ #\r\n\té\u{feff}$]{0,40}", value in "\\PC{0,10}") {
        let after = set_variable(&text, "TAG", &value);
        prop_assert!(after.len() + text.len() >= value.len());
        let _ = variable(&text, "TAG");
    }
}

#[test]
fn every_variable_comes_as_written_and_as_read() {
    let text = "A=1\n# B=2\nC='x y' # note\nD=\"a\\tb\"\nA=p$q\nbroken line\n";
    let found: Vec<_> = variables(text).collect();
    assert_eq!(
        found,
        [
            ("A", "1", Some("1".to_owned())),
            ("C", "x y", Some("x y".to_owned())),
            ("D", "a\\tb", Some("a\tb".to_owned())),
            ("A", "p$q", None),
        ]
    );
}

#[test]
fn bytes_that_are_no_utf8_stay_where_they_are() {
    let private = "\u{10ffe9}".as_bytes();
    let all: Vec<u8> = (0..=u8::MAX).collect();
    for before in [
        b"# caf\xe9\nTAG=1\nNAME=\xc3\xa9\xff\n",
        all.as_slice(),
        private,
    ] {
        assert_eq!(bytes_of(&text_of(before)), before);
    }
    let changed = set_variable(&text_of(b"# caf\xe9\nTAG=1 # \xa0\n"), "TAG", "2");
    assert_eq!(bytes_of(&changed), b"# caf\xe9\nTAG=2 # \xa0\n");
    assert_eq!(text_of("caf\u{e9}".as_bytes()), "caf\u{e9}");
}

#[test]
fn a_digest_takes_the_place_of_another_one_and_gives_it_back() {
    let digest: crate::image::Digest = format!("sha256:{}", "ab".repeat(32))
        .parse()
        .expect("a digest");
    for (part, old) in [
        (DigestPart::Whole, format!("sha256:{}", "cd".repeat(32))),
        (DigestPart::Hex, "cd".repeat(32)),
    ] {
        let variable = TagVariable::of_digest("DIGEST", part).with_digest(&digest);
        let new = variable.value("new");
        for text in [
            "DIGEST=OLD\n",
            "export DIGEST='OLD' # the shop\r\nB=2\r\n",
            "A=1\nDIGEST=\"OLD\"",
            "DIGEST=\n",
        ] {
            let (text, expected) = (text.replace("OLD", &old), text.replace("OLD", &new));
            let expected = expected.replace("DIGEST=\n", &format!("DIGEST={new}\n"));
            let set = set_tag(&text, &variable, "new");
            assert_eq!(set.as_deref(), Some(expected.as_str()), "{text}");
            assert_eq!(set_tag(&expected, &variable, "new"), None, "{expected}");
            let before = written_value(&text, "DIGEST");
            let back = take_back(&expected, "DIGEST", &new, before);
            assert_eq!(back.as_deref(), Some(text.as_str()), "{expected}");
            assert_eq!(take_back(&expected, "DIGEST", "new", before), None);
        }
        let added = set_tag("A=1\n", &variable, "new");
        let expected = format!("A=1\nDIGEST={new}\n");
        assert_eq!(added.as_deref(), Some(expected.as_str()));
        let back = take_back(&expected, "DIGEST", &new, None);
        assert_eq!(back.as_deref(), Some("A=1\n"));
    }
}

#[test]
fn of_an_image_only_the_tag_is_replaced() {
    let variable = TagVariable::of_image("IMAGE", "ghcr.io/acme/shop:old").expect("an image");
    for (text, expected) in [
        (
            "IMAGE=ghcr.io/acme/shop:old\n",
            "IMAGE=ghcr.io/acme/shop:new\n",
        ),
        (
            "IMAGE=ghcr.io/acme/shop # the shop\n",
            "IMAGE=ghcr.io/acme/shop:new # the shop\n",
        ),
        (
            "export IMAGE='ghcr.io/acme/shop:old'\r\n",
            "export IMAGE='ghcr.io/acme/shop:new'\r\n",
        ),
        (
            "R=ghcr.io/acme\nIMAGE=\"${R}/shop:old\"\nB=2\n",
            "R=ghcr.io/acme\nIMAGE=\"${R}/shop:new\"\nB=2\n",
        ),
        ("R=a\nIMAGE=$R/shop@sha256:ab\n", "R=a\nIMAGE=$R/shop:new\n"),
        ("R=a\nIMAGE=${R}:${OLD}\n", "R=a\nIMAGE=${R}:new\n"),
        // What is known to be another image, or may have a tag within, is written anew.
        ("IMAGE=${FULL}\n", "IMAGE=ghcr.io/acme/shop:new\n"),
        ("IMAGE=other:old\n", "IMAGE=ghcr.io/acme/shop:new\n"),
        ("IMAGE=\n", "IMAGE=ghcr.io/acme/shop:new\n"),
        ("A=1\n", "A=1\nIMAGE=ghcr.io/acme/shop:new\n"),
    ] {
        let set = set_tag(text, &variable, "new");
        assert_eq!(set.as_deref(), Some(expected), "{text}");
        assert_eq!(set_tag(expected, &variable, "new"), None, "{expected}");
        let before = written_value(text, "IMAGE");
        let back = take_back(expected, "IMAGE", "new", before);
        assert_eq!(back.as_deref(), Some(text), "{expected}");
        assert_eq!(take_back(expected, "IMAGE", "newer", before), None);
    }
}
