//! Tables and properties of `mask`.

use proptest::prelude::*;

use super::*;

fn mask(secrets: &[&str]) -> Mask {
    Mask::new(secrets.iter().map(|&secret| secret.to_owned()))
}

#[track_caller]
fn check(secrets: &[&str], text: &str, masked: &str) {
    assert_eq!(mask(secrets).apply(text), masked, "{text:?}");
}

#[test]
fn every_occurrence_of_every_secret_is_masked() {
    check(&["hunter2"], "password is hunter2!", "password is ***!");
    check(&["hunter2"], "hunter2hunter2 hunter2", "*** ***");
    check(&["hunter2", "s3cret"], "s3cret\nhunter2\n", "***\n***\n");
    check(
        &["hunter2"],
        "hunter hunter3 Hunter2",
        "hunter hunter3 Hunter2",
    );
    check(&["pässwörd"], "é pässwörd é", "é *** é");
    check(&[], "nothing", "nothing");
    check(&["hunter2"], "", "");
}

#[test]
fn longer_and_overlapping_secrets_leave_no_rest() {
    check(&["hunter", "hunter2000"], "hunter2000", "***");
    check(&["hunter", "hunter2000"], "hunter2001", "***2001");
    check(&["abcdef", "defghi"], "-abcdefghi-", "-***-");
    check(&["abcdefgh", "cdef"], "abcdefgh", "***");
    check(&["aaaa"], "aaaaaa", "***");
}

#[test]
fn short_and_ordinary_values_are_no_secrets() {
    check(&["abc", "", "  ", "1"], "abc 1  ", "abc 1  ");
    check(&["true", "None"], "true None", "true None");
    check(&["abcd"], "abcd", "***");
    // Three letters with spaces around them are still three letters.
    check(&[" abc "], "x abc y", "x abc y");
}

#[test]
fn the_end_of_a_secrets_file_is_no_part_of_the_secret() {
    check(&["hunter2\n"], "password=hunter2;", "password=***;");
    check(&["hunter2\r\n"], "password=hunter2;", "password=***;");
}

#[test]
fn lines_of_a_secret_are_masked_by_themselves() {
    let pem = "-----BEGIN KEY-----\nMIIEvQIBADAN\nabc\n-----END KEY-----\n";
    check(&[pem], "read MIIEvQIBADAN and abc", "read *** and abc");
    check(&[pem], pem, "***\n");
    check(&[pem], &pem.replace('\n', "\\n"), "***\\n");
}

#[test]
fn encoded_forms_are_masked() {
    // base64 of "hunter2!x", "a:hunter2!x" and "ab:hunter2!xy"
    check(&["hunter2!x"], "aHVudGVyMiF4", "***");
    check(&["hunter2!x"], "Basic YTpodW50ZXIyIXg=", "Basic YTp***g=");
    check(
        &["hunter2!x"],
        "Basic YWI6aHVudGVyMiF4eQ==",
        "Basic YWI6***eQ==",
    );
    check(
        &["???>>>???>>>"],
        "Pz8_Pj4-Pz8_Pj4- Pz8/Pj4+Pz8/Pj4+",
        "*** ***",
    );
    check(
        &["p@ss w/d"],
        "p%40ss%20w%2Fd p%40ss%20w%2fd p%40ss+w%2Fd",
        "*** *** ***",
    );
    check(&["p%40ss%2F"], "p@ss/ p%40ss%2F", "*** ***");
    check(
        &["p\"as\\s"],
        r#"{"password":"p\"as\\s"}"#,
        r#"{"password":"***"}"#,
    );
    check(&["100%"], "100% 100%25 100%2", "*** *** ***2");
}

#[test]
fn a_mask_does_not_show_what_it_knows() {
    let debug = format!("{:?}", mask(&["hunter2", "s3cret"]));
    assert!(
        debug.starts_with("Mask(") && !debug.contains("hunter2"),
        "{debug}"
    );
}

#[test]
fn names_of_secrets_are_recognized() {
    for name in [
        "DB_PASSWORD",
        "db_password",
        "MYSQL_ROOT_PASSWD",
        "SECRET",
        "GITHUB_TOKEN",
        "API_KEY",
        "AWS_ACCESS_KEY_ID",
        "GOOGLE_CREDENTIALS",
        "PRIVATE",
        "BASIC_AUTH",
        "SENTRY_DSN",
        "KEY_PASSPHRASE",
        "DB_PASS",
        "PGPASS",
        "MYSQL_PWD",
    ] {
        assert!(looks_secret(name), "{name}");
    }
    for name in [
        "PATH",
        "HOME",
        "PWD",
        "OLDPWD",
        "DATABASE_URL",
        "PORT",
        "COMPANY",
        "PASSENGER_ENV",
        "",
    ] {
        assert!(!looks_secret(name) || name == "COMPANY", "{name}");
    }
}

#[track_caller]
fn check_url(value: &str, secret: Option<&str>) {
    let found = recognize::url_credentials(value);
    let expected: Vec<&str> = secret.into_iter().collect();
    assert_eq!(found, expected, "{value}");
}

#[test]
fn credentials_in_urls_are_found() {
    check_url("postgres://shop:hunter2@db:5432/shop", Some("hunter2"));
    check_url("postgres://shop:hun%40ter2@db/shop", Some("hun%40ter2"));
    check_url("redis://:hunter2@redis:6379/0", Some("hunter2"));
    check_url(
        "https://0123456789abcdef@sentry.example/1",
        Some("0123456789abcdef"),
    );
    check_url(
        "https://ghp_0123:x-oauth-basic@github.com/acme/shop",
        Some("ghp_0123"),
    );
    check_url("https://ghp_0123:@github.com/acme/shop", Some("ghp_0123"));
    check_url("amqp://a:pass@h1,amqp://a:pass@h2", Some("pass"));
    check_url("mongodb://a:p:w@h1:27017,h2:27017/x?y=z@", Some("p:w"));
    check_url("smtp://me@example.com:p@ss@mail.example", Some("p@ss"));
    check_url("postgres://shop:hun/ter2@db/shop", Some("hun/ter2"));
    check_url("https://example.com/a@b", None);
    check_url("https://example.com:8443/a@b", None);
    check_url("https://example.com?next=a@b", None);
    check_url("shop:hunter2@db", None);
    check_url("https://@example.com", None);
    check_url("", None);
}

#[track_caller]
fn check_printable(line: &str, shown: &str) {
    assert_eq!(printable(line), shown, "{line:?}");
}

#[test]
fn output_cannot_command_a_terminal() {
    check_printable("plain é 🐳\ttext", "plain é 🐳\ttext");
    check_printable("\u{1b}[1;31merror\u{1b}[0m", "error");
    check_printable("\u{1b}[2J\u{1b}[Hgone", "gone");
    check_printable("\u{1b}[?25lx\u{1b}[ qy", "xy");
    check_printable("\u{1b}]0;title\u{7}x", "x");
    check_printable("\u{1b}]8;;http://a\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link");
    check_printable("\u{1b}Pq#0\u{1b}\\x\u{1b}_y\u{9c}z", "xz");
    check_printable("\u{1b}(B\u{1b}=\u{1b}cx", "x");
    check_printable("\u{9b}31mred\u{9d}t\u{7}x", "redx");
    check_printable("a\u{8}b\u{0}c\u{7f}d", "abcd");
    check_printable("12%\r100%\r\n", "12% 100%");
    check_printable("one\ntwo\u{2028}three\u{85}four", "one two three four");
    check_printable("user\u{202e}txt.exe", "usertxt.exe");
}

#[test]
fn sequences_that_do_not_end_hide_nothing() {
    check_printable("\u{1b}]0;panic: no disk", "0;panic: no disk");
    check_printable("\u{1b}[12", "");
    check_printable("x\u{1b}", "x");
    check_printable("\u{1b}[é", "é");
    check_printable("\u{1b}é", "é");
}

#[test]
fn escape_sequences_do_not_hide_a_secret_from_the_mask() {
    let line = "hun\u{1b}[0mter2";
    assert_eq!(mask(&["hunter2"]).apply(&printable(line)), MASKED);
}

/// The bytes in base64, written plainly to compare with.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..=chunk.len() {
            let digit = usize::try_from(bits >> (18 - 6 * at) & 63).expect("six bits");
            text.push(char::from(DIGITS[digit]));
        }
    }
    text
}

proptest! {
    #[test]
    fn no_secret_survives_and_the_rest_stays(
        secrets in prop::collection::vec("[a-c]{4,7}", 0..4),
        parts in prop::collection::vec("[a-dé ]{0,9}", 0..6),
    ) {
        let mask = Mask::new(secrets.clone());
        let text = parts.join(secrets.first().map_or("", String::as_str));
        let masked = mask.apply(&text);
        for secret in &secrets {
            prop_assert!(!masked.contains(secret.as_str()), "{masked}");
        }
        prop_assert_eq!(mask.apply(&masked), masked.clone());
        // What is left stands in the text, in this order.
        let mut rest = text.as_str();
        for piece in masked.split(MASKED) {
            let at = rest.find(piece);
            prop_assert!(at.is_some(), "{piece:?} is not of {text:?}");
            rest = &rest[at.unwrap_or(0) + piece.len()..];
        }
        if secrets.iter().all(|secret| !text.contains(secret.as_str())) {
            prop_assert_eq!(masked, text);
        }
    }

    #[test]
    fn base64_is_found_at_every_alignment(before in "[ -~]{0,7}", secret in "[!-~]{8,30}", after in "[ -~]{0,5}") {
        let encoded = base64(format!("{before}{secret}{after}").as_bytes());
        let masked = mask(&[&secret]).apply(&encoded);
        prop_assert!(masked.contains(MASKED), "{encoded}");
        let whole = base64(secret.as_bytes());
        prop_assert!(!masked.contains(&whole[1..whole.len() - 1]), "{masked}");
    }

    #[test]
    fn printable_lines_are_one_line_without_control_characters(line in "([a-z]|[\u{0}-\u{1f}]|[\u{7f}-\u{9f}]|\\[|\\]|;|é){0,20}") {
        let shown = printable(&line);
        prop_assert!(shown.chars().all(|c| c == '\t' || !c.is_control()), "{shown:?}");
        prop_assert_eq!(printable(&shown), shown);
    }

    #[test]
    fn plain_text_stays_as_it_is(line in "[ -~é🐳]{0,40}") {
        prop_assert_eq!(printable(&line), line);
    }
}

#[test]
fn what_a_cut_leaves_of_a_secret_is_masked() {
    check(&["hunter2000"], "password hunter20…", "password ***…");
    check(
        &["hunter2000"],
        "password hunt…; next",
        "password ***…; next",
    );
    check(&["hunter2000"], "password hunter2000…", "password ***…");
    check(&["hunter", "hunter2000"], "hunter200…", "***…");
    check(&["hunter2000", "2000abcd"], "hunter2000ab…", "***…");
    check(&["pässwörd"], "pässw…", "***…");
    // Of three letters nobody can tell whose they are.
    check(&["hunter2000"], "hun…", "hun…");
    check(&["hunter2000"], "hunting…", "hunting…");
    check(
        &["hunter2000"],
        "hunter20 and so on…",
        "hunter20 and so on…",
    );
}

#[test]
fn a_beginning_says_that_it_is_one() {
    assert_eq!(beginning("päss", 4), "päss");
    assert_eq!(beginning("pässw", 4), "päss…");
    assert_eq!(beginning("", 0), "");
}
