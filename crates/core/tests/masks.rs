//! Which values are masked, measured both ways: secrets that show, and harmless lines that are touched.

use cutover_core::mask::{Mask, secrets_in_arguments, secrets_of};
use proptest::prelude::*;

/// The environment of services, without a secret in it.
const HARMLESS: &str = include_str!("data/harmless.env");

/// How many secrets of kinds that the documents do not name may show, of all.
const SHOWN_MAX: usize = 2;

/// How many harmless lines may be touched, of [`LINES`].
const TOUCHED_MAX: usize = 5;

const LINES: usize = 500;

const SECRETS: usize = 200;

/// The same sequence in every run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 33).expect("31 bits")
    }

    fn text(&mut self, of: &str, len: usize) -> String {
        let of: Vec<char> = of.chars().collect();
        (0..len).map(|_| of[self.next() % of.len()]).collect()
    }
}

const HEX: &str = "0123456789abcdef";
const BASE62: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const SMALL: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";

/// A variable with a secret in its value.
struct Case {
    name: &'static str,
    value: String,
    secret: String,
    /// Whether the documents name this kind: then none may show.
    named: bool,
}

/// Kinds that are named: by a variable's name, in a connection string, in a query, in a web hook's path.
fn named(chance: &mut Chance) -> Vec<Case> {
    let word = |chance: &mut Chance| chance.text(LETTERS, 9);
    let case = |name, value: String, secret: &str| Case {
        name,
        value,
        secret: secret.to_owned(),
        named: true,
    };
    let mut cases = Vec::new();
    for name in [
        "WEBHOOK",
        "MASTERKEY",
        "OAUTH2",
        "DB_PW",
        "SIGNING",
        "JWT",
        "DATABASE_PASSWORD",
        "dbPassword",
        "PGPASS",
        "API_TOKEN",
        "COOKIE_SECRET",
        "APP_KEY",
        "MYSQL_PWD",
        "SALT",
        "BASIC_AUTH",
    ] {
        let secret = word(chance);
        cases.push(case(name, secret.clone(), &secret));
    }
    for form in [
        "Server=db;Database=shop;User Id=sa;Password={};Encrypt=true",
        "Host=db;Username=shop;Pwd={};Pooling=true",
        "jdbc:postgresql://db:5432/shop?user=shop&password={}&ssl=true",
        "jdbc:mysql://db/shop?password={}",
        "host=db port=5432 user=shop password='{}' dbname=shop",
        "postgres://shop:{}@db:5432/shop",
        "redis://:{}@redis:6379/0",
        "smtps://mailer%40example.com:{}@smtp.example.com:465",
        "mongodb://shop:other-word@h1:27017,shop:{}@h2:27017/shop",
        "mongodb+srv://shop:{}@cluster0.example.net/shop?retryWrites=true",
        "{\"user\":\"shop\",\"password\":\"{}\"}",
        "user: shop\npassword: {}\n",
        "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey={}",
    ] {
        let secret = word(chance);
        cases.push(case("CONNECTION", form.replace("{}", &secret), &secret));
    }
    for form in [
        "https://hooks.slack.example/services/T0A1B2C3D/B4E5F6G7H/{}",
        "https://chat.example/api/webhooks/1029384756/{}",
        "https://hooks.example.com/deploy/{}?wait=true",
    ] {
        for alphabet in [BASE62, BASE64_URL] {
            let secret = chance.text(alphabet, 32);
            cases.push(case("NOTIFY_URL", form.replace("{}", &secret), &secret));
        }
    }
    cases
}

/// Kinds that nothing but their look tells.
fn others(chance: &mut Chance) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name, value: String, secret: String| {
        cases.push(Case {
            name,
            value,
            secret,
            named: false,
        });
    };
    for (name, alphabet, len) in [
        ("UPSTREAM", BASE62, 24),
        ("BOT", BASE62, 32),
        ("PEER", HEX, 32),
        ("CLUSTER", HEX, 64),
        ("SENTINEL", BASE64_URL, 43),
        ("LEFT", SMALL, 32),
        ("RIGHT", BASE64, 44),
        ("VENDOR", BASE62, 20),
    ] {
        let secret = chance.text(alphabet, len);
        add(name, secret.clone(), secret);
    }
    for (mark, alphabet, len) in [
        ("ghp_", BASE62, 36),
        ("sk_live_", BASE62, 24),
        ("xoxb-", BASE62, 24),
        ("glpat-", BASE64_URL, 20),
        ("AKIA", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16),
        ("SG.", BASE64_URL, 22),
    ] {
        let secret = format!("{mark}{}", chance.text(alphabet, len));
        add("CI", secret.clone(), secret);
    }
    let jwt = format!(
        "eyJhbGciOiJIUzI1NiJ9.{}.{}",
        chance.text(BASE64_URL, 60),
        chance.text(BASE64_URL, 43)
    );
    add("CALLER", jwt.clone(), jwt);
    let signature = chance.text(BASE62, 43);
    add(
        "UPLOAD",
        format!("https://blob.example/c?sv=2024-11-04&sig={signature}"),
        signature,
    );
    let bot = chance.text(BASE64_URL, 35);
    add(
        "TELEGRAM",
        format!("https://api.telegram.example/bot123456789:{bot}/send"),
        bot,
    );
    cases
}

#[test]
fn of_200_secrets_none_of_the_named_kinds_shows_and_two_of_the_others_at_most() {
    let mut chance = Chance(7);
    let mut cases = Vec::new();
    while cases.len() < SECRETS {
        cases.extend(named(&mut chance));
        cases.extend(others(&mut chance));
    }
    cases.truncate(SECRETS);
    let shown: Vec<&Case> = cases
        .iter()
        .filter(|case| {
            let mask = Mask::new(secrets_of(case.name, &case.value));
            let line = format!("cannot connect with {}: refused", case.secret);
            mask.apply(&line).contains(&case.secret)
        })
        .collect();
    let told: Vec<_> = shown
        .iter()
        .map(|case| format!("{}={}", case.name, case.value))
        .collect();
    assert!(!shown.iter().any(|case| case.named), "{told:#?}");
    let count = shown.len();
    assert!(count <= SHOWN_MAX, "{count} show: {told:#?}");
}

#[test]
fn of_500_harmless_lines_five_are_touched_at_most() {
    let environment: Vec<(&str, &str)> = HARMLESS
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let mask = Mask::new(
        environment
            .iter()
            .flat_map(|(name, value)| secrets_of(name, value)),
    );
    let forms = [
        "2026-11-27T10:44:12.345Z INFO shop::config: {name} is {value}",
        "[2026-11-27 10:44:12 +0000] [1] [WARNING] {value} is deprecated; see https://docs.example.com/{name}",
        "10:44:12.345 [main] ERROR c.e.shop.Loader - cannot use `{value}`: java.io.IOException: no such file (4f1c2b8)",
        "{\"level\":\"info\",\"msg\":\"started\",\"{name}\":\"{value}\",\"pid\":7}",
    ];
    let line = |form: &str, (name, value): &(&str, &str)| {
        form.replace("{name}", name).replace("{value}", value)
    };
    let lines = forms
        .iter()
        .flat_map(|form| environment.iter().map(|variable| line(form, variable)));
    let lines: Vec<String> = lines.take(LINES).collect();
    assert_eq!(lines.len(), LINES);
    let touched: Vec<&String> = lines
        .iter()
        .filter(|line| mask.apply(line) != **line)
        .collect();
    let count = touched.len();
    assert!(count <= TOUCHED_MAX, "{count} are touched: {touched:#?}");
}

#[test]
fn an_argument_behind_an_option_with_a_secret_name_is_a_secret() {
    let arguments = |words: &[&str]| {
        words
            .iter()
            .map(|&word| word.to_owned())
            .collect::<Vec<_>>()
    };
    let found = |words: &[&str]| secrets_in_arguments(&arguments(words));
    assert_eq!(
        found(&["redis-server", "--requirepass", "hunter2"]),
        ["hunter2"]
    );
    assert_eq!(
        found(&["app", "--password=hunter2", "--port", "8080"]),
        ["hunter2"]
    );
    assert_eq!(
        found(&["app", "--token-file", "/run/secrets/token"]),
        [""; 0]
    );
    assert_eq!(found(&["app", "--password", "--verbose"]), [""; 0]);
}

type Encode = fn(&str) -> String;

/// Ways in which programs write a text, each made with another implementation than the mask's where there is one.
fn encoders() -> Vec<(&'static str, Encode)> {
    vec![
        ("as it is", str::to_owned),
        ("JSON", |text| json(text, false)),
        ("JSON in ASCII", |text| json(text, true)),
        ("JSON in JSON", |text| json(&json(text, false), false)),
        ("JSON in JSON in JSON", |text| {
            json(&json(&json(text, false), false), false)
        }),
        ("JSON of PHP", |text| json(text, true).replace('/', "\\/")),
        ("JSON of Go", |text| {
            json(text, false)
                .replace('<', "\\u003c")
                .replace('>', "\\u003e")
                .replace('&', "\\u0026")
        }),
        ("encodeURIComponent", |text| percent(text, "-_.!~*'()")),
        ("quote", |text| percent(text, "-_.~/")),
        ("a form", |text| percent(text, "-_.~").replace("%20", "+")),
        ("lower-case percent", |text| {
            lower_percent(&percent(text, "-_.~"))
        }),
        ("hex", |text| {
            text.bytes().map(|byte| format!("{byte:02x}")).collect()
        }),
        ("HEX", |text| {
            text.bytes().map(|byte| format!("{byte:02X}")).collect()
        }),
        ("HTML", |text| {
            let text = text
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;");
            text.replace('"', "&quot;").replace('\'', "&#39;")
        }),
        ("HTML in numbers", |text| {
            let one = |c: char| match "&<>\"'".contains(c) {
                true => format!("&#{};", u32::from(c)),
                false => c.to_string(),
            };
            text.chars().map(one).collect()
        }),
        ("bytes of Python", |text| {
            let one = |byte: u8| match byte {
                b'\\' | b'\'' => format!("\\{}", char::from(byte)),
                0x20..0x7f => char::from(byte).to_string(),
                _ => format!("\\x{byte:02x}"),
            };
            text.bytes().map(one).collect()
        }),
        ("the shell", |text| text.replace('\'', "'\\''")),
        ("shlex", |text| text.replace('\'', "'\"'\"'")),
    ]
}

fn json(text: &str, ascii: bool) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if ascii && !c.is_ascii() => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out
}

fn percent(text: &str, left: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || left.as_bytes().contains(&byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn lower_percent(text: &str) -> String {
    let mut out = String::new();
    let mut digits = 0;
    for c in text.chars() {
        digits = if c == '%' {
            2
        } else {
            usize::saturating_sub(digits, 1)
        };
        let is_digit = c != '%' && (digits > 0 || out.chars().rev().nth(1) == Some('%'));
        match is_digit {
            true => out.push(c.to_ascii_lowercase()),
            false => out.push(c),
        }
    }
    out
}

proptest! {
    #[test]
    fn no_value_shows_in_any_form(secret in "[a-zA-Z0-9<>&'\"/\\\\ é🐳+=?%#-]{6,24}") {
        // What is around it is no part of it.
        let secret = format!("x{secret}y");
        let mask = Mask::new([secret.clone()]);
        for (what, encode) in encoders() {
            let written = encode(&secret);
            let masked = mask.apply(&format!("before {written} after"));
            prop_assert_eq!(masked, "before *** after", "{} of {}", what, secret);
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_do_not_show(bytes in prop::collection::vec(0xa1_u8..=0xff, 8..20)) {
        let text = cutover_core::env_file::text_of(&bytes);
        let mask = Mask::new([text]);
        let latin1: String = bytes.iter().copied().map(char::from).collect();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        for written in [latin1, String::from_utf8_lossy(&bytes).into_owned(), hex] {
            let masked = mask.apply(&format!("before {written} after"));
            prop_assert_eq!(masked, "before *** after", "{}", written);
        }
    }
}

#[test]
fn utf8_that_was_read_as_latin1_does_not_show() {
    let mask = Mask::new(["¡¡¡¡".to_owned()]);
    let masked = mask.apply("before Â¡Â¡Â¡Â¡ after, or ¡¡¡¡");
    assert_eq!(masked, "before *** after, or ***");
}

#[test]
fn a_secret_of_seven_bytes_does_not_show_in_base64_or_base32_wherever_it_begins() {
    // "hunter2" with 0 to 4 bytes before it, and one behind it.
    let mask = Mask::new(["hunter2".to_owned()]);
    for (written, masked) in [
        ("aHVudGVyMiE=", "***E="),
        ("YWh1bnRlcjIh", "YW***h"),
        ("YWJodW50ZXIyIQ==", "YWJ***IQ=="),
        ("NB2W45DFOIZCC===", "***CC==="),
    ] {
        let found = mask.apply(written);
        assert!(found.contains("***"), "{written}: {found}, as {masked}");
        assert!(found.len() < written.len() / 2 + 6, "{written}: {found}");
    }
}
