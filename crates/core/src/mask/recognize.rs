//! Which parts of a variable's value are secrets: by its name, or by what they are.
//!
//! Rather too many than too few: a value masked without need costs a look at the server, a secret in a log costs more.
//! But what stands in every log must stay: paths, names of hosts, versions, words.

use super::SECRET_LEN_MIN;

/// A word of a name that makes the value a secret.
const WORDS: [&str; 40] = [
    "AUTH",
    "AUTHORIZATION",
    "BEARER",
    "COOKIE",
    "CREDENTIAL",
    "CREDENTIALS",
    "CREDS",
    "DSN",
    "HMAC",
    "HOOK",
    "JWT",
    "KEY",
    "KEYS",
    "LICENSE",
    "OTP",
    "PASS",
    "PASSCODE",
    "PASSPHRASE",
    "PASSWD",
    "PASSWORD",
    "PASSWORDS",
    "PEPPER",
    "PIN",
    "PRIVATE",
    "PSK",
    "PW",
    "PWD",
    "SALT",
    "SAS",
    "SECRET",
    "SECRETS",
    "SIG",
    "SIGNATURE",
    "SIGNING",
    "TOKEN",
    "TOKENS",
    "OAUTH",
    "OAUTH2",
    "WEBHOOK",
    "WEBHOOKS",
];

/// How a word ends, or begins, that makes the value a secret: `APIKEY`, `PGPASS`, `SECRETKEY`.
const ENDS: [&str; 7] = [
    "KEY", "PASS", "PASSWD", "PASSWORD", "PWD", "SECRET", "TOKEN",
];

/// Words that end like those and mean something else.
const HARMLESS: [&str; 10] = [
    "BYPASS",
    "COMPASS",
    "OVERPASS",
    "UNDERPASS",
    "MONKEY",
    "TURKEY",
    "DONKEY",
    "HOCKEY",
    "JOCKEY",
    "WHISKEY",
];

/// Words at the end of a name whose value says something about the secret and is none: where it is, how long it lives.
const ABOUT: [&str; 46] = [
    "TAG",
    "PORT",
    "FILE",
    "FILES",
    "PATH",
    "DIR",
    "DIRECTORY",
    "TTL",
    "EXPIRY",
    "EXPIRES",
    "EXPIRATION",
    "LIFETIME",
    "TIMEOUT",
    "AGE",
    "LENGTH",
    "SIZE",
    "COUNT",
    "MAX",
    "MIN",
    "LIMIT",
    "ROUNDS",
    "ALGORITHM",
    "ALG",
    "TYPE",
    "METHOD",
    "MODE",
    "BACKEND",
    "PROVIDER",
    "HOST",
    "HOSTNAME",
    "DOMAIN",
    "ISSUER",
    "AUDIENCE",
    "REALM",
    "HEADER",
    "NAME",
    "ENABLED",
    "REQUIRED",
    "URL",
    "URI",
    "HASHER",
    "PREFIX",
    "SOCK",
    "SOCKET",
    "FORMAT",
    "VERSION",
];

/// Words of a name whose value is public and looks like chance: what was built, of which commit.
const PUBLIC: [&str; 14] = [
    "SHA", "SHA1", "SHA256", "COMMIT", "REVISION", "REV", "DIGEST", "CHECKSUM", "HASH", "TAG",
    "VERSION", "IMAGE", "BUILD", "PUBLIC",
];

/// How tokens begin whose makers mark them.
const MARKS: [&str; 32] = [
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xapp-",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "rk_test_",
    "whsec_",
    "sk-",
    "SG.",
    "eyJ",
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "npm_",
    "pypi-",
    "dop_v1_",
    "hf_",
    "AGE-SECRET-KEY-",
    "$2a$",
    "$2b$",
    "$2y$",
    "$argon2",
];

/// From this length on a word may be a token.
const TOKEN_LEN_MIN: usize = 16;

/// A commit, as Git writes it.
const COMMIT_LEN: usize = 40;

/// What of the variable `name` with this value is secret; the value may be secret as a whole.
#[must_use]
pub fn secrets_of(name: &str, value: &str) -> Vec<String> {
    let mut found = secrets_in(value);
    if looks_secret(name) {
        found.push(value.to_owned());
    } else if is_public(name) {
        found.retain(|one| one.trim() != value.trim());
    }
    found
}

/// What is secret in a text, whatever its name: passwords in URLs, values with secret names in connection strings and
/// JSON, tokens.
#[must_use]
pub fn secrets_in(text: &str) -> Vec<String> {
    let mut found = url_credentials(text);
    found.extend(
        named_values(text)
            .filter(|(name, _)| looks_secret(name))
            .map(|(_, value)| value),
    );
    let mut before = "";
    for word in text.split(is_border) {
        // The digest of an image says what it is.
        if before != "sha256" && is_token(word) {
            found.push(word.to_owned());
        }
        before = word;
    }
    found.retain(|one| one.len() >= SECRET_LEN_MIN);
    found
}

/// What is secret in the arguments of a program: besides what [`secrets_in`] finds, the one behind an option with a
/// secret name.
#[must_use]
pub fn secrets_in_arguments(arguments: &[String]) -> Vec<String> {
    let mut found: Vec<String> = arguments.iter().flat_map(|one| secrets_in(one)).collect();
    for pair in arguments.windows(2) {
        let [option, value] = pair else { continue };
        let is_option = option.starts_with('-') && !option.contains('=');
        if is_option && looks_secret(option.trim_start_matches('-')) && !value.starts_with('-') {
            found.push(value.clone());
        }
    }
    found
}

/// Whether the value of a variable of this name is probably a secret.
#[must_use]
pub fn looks_secret(name: &str) -> bool {
    let words = words(name);
    let Some(last) = words.last() else {
        return false;
    };
    // The shell's own PWD and OLDPWD are directories.
    if matches!(name, "PWD" | "OLDPWD") || (words.len() > 1 && ABOUT.contains(&last.as_str())) {
        return false;
    }
    let words = words.iter().map(String::as_str);
    let mut words = words.filter(|word| !HARMLESS.contains(word));
    words.any(|word| {
        WORDS.contains(&word)
            || ENDS.iter().any(|end| word.ends_with(end))
            || ["SECRET", "PASSWORD", "PASSPHRASE", "CREDENTIAL", "TOKEN"]
                .iter()
                .any(|part| word.starts_with(part))
    })
}

fn is_public(name: &str) -> bool {
    let words = words(name);
    words.iter().any(|word| PUBLIC.contains(&word.as_str()))
}

/// The words of a name in capital letters: `dbPassword`, `DB_PASSWORD` and `db-password` have the same two.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = '_';
    for c in name.chars() {
        let begins = before.is_lowercase() && c.is_uppercase();
        if begins || !c.is_alphanumeric() {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_uppercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The passwords of the URLs in a text, or the user where there is none: `hunter2` in
/// `postgres://shop:hunter2@db/shop`. As written; a mask knows the decoded form as well.
pub(super) fn url_credentials(text: &str) -> Vec<String> {
    let after_schemes = text
        .match_indices("://")
        .map(|(at, scheme)| &text[at + scheme.len()..]);
    let mut found: Vec<String> = after_schemes
        .flat_map(|rest| credentials(rest).into_iter().chain(of_more_hosts(rest)))
        .collect();
    found.dedup();
    found
}

/// The passwords of all hosts but the first in `a:one@h1,b:two@h2/path`; a comma in a password looks so as well.
fn of_more_hosts(rest: &str) -> Vec<String> {
    let authority = &rest[..rest
        .find(['/', '?', '#', ' ', '"', '\n'])
        .unwrap_or(rest.len())];
    let others = authority.split(',').skip(1);
    let password = |host: &str| {
        let (userinfo, _) = host.rsplit_once('@')?;
        Some(userinfo.split_once(':')?.1.to_owned())
    };
    others.filter_map(password).collect()
}

/// The secret in `user:password@host/path`.
fn credentials(rest: &str) -> Option<String> {
    let rest = &rest[..rest.find([' ', '"', '\n']).unwrap_or(rest.len())];
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let userinfo = match authority.rsplit_once('@') {
        Some((userinfo, _)) => userinfo,
        // A password with a `/` in it that nobody encoded: what follows the `:` is no port.
        None => {
            let (_, port) = authority.split_once(':')?;
            let is_port = port.bytes().all(|b| b.is_ascii_digit());
            let (userinfo, _) = rest.rsplit_once('@')?;
            (!is_port).then_some(userinfo)?
        }
    };
    let userinfo = match userinfo.rsplit_once("://") {
        // Hosts that are each a URL: the last password of the first is what counts here.
        Some(_) => userinfo
            .split_once('@')
            .map_or(userinfo, |(first, _)| first),
        None => userinfo,
    };
    let secret = match userinfo.split_once(':') {
        // GitHub's way to give a token: it is the user, and the password says so.
        None | Some((_, "" | "x-oauth-basic")) => userinfo.split(':').next()?,
        Some((_, password)) => password,
    };
    (!secret.is_empty()).then(|| secret.to_owned())
}

/// The values that a text gives names to: `name=value`, `"name": "value"`, `name='a value'`.
fn named_values(text: &str) -> impl Iterator<Item = (&str, String)> {
    text.match_indices(['=', ':']).filter_map(|(at, sign)| {
        let before = text[..at].trim_end();
        let is_quoted = before.ends_with(['"', '\'']);
        // A `:` without quotes stands in URLs and times; in YAML a space follows it.
        let is_yaml = text[at + 1..].starts_with(' ');
        if sign == ":" && !is_quoted && !is_yaml {
            return None;
        }
        let before = before.trim_end_matches(['"', '\'', '\\']);
        let start = before.rfind(|c: char| !(c.is_alphanumeric() || "_-.".contains(c)));
        let name = &before[start.map_or(0, |start| {
            start + before[start..].chars().next().map_or(1, char::len_utf8)
        })..];
        let value = value_at(text[at + 1..].trim_start_matches([' ', '\\']));
        (!name.is_empty() && !value.is_empty()).then_some((name, value))
    })
}

/// The value at the beginning of a text, without its quotes.
fn value_at(text: &str) -> String {
    let first = text.chars().next();
    match first.filter(|c| "\"'{".contains(*c)) {
        Some(open) => {
            let close = if open == '{' { '}' } else { open };
            let inner = &text[1..];
            let mut end = inner.len();
            let mut escaped = false;
            for (at, c) in inner.char_indices() {
                if c == close && !escaped {
                    end = at;
                    break;
                }
                escaped = c == '\\' && !escaped;
            }
            inner[..end].trim_end_matches('\\').to_owned()
        }
        None => {
            let end = text.find(|c: char| c.is_whitespace() || ";&,\"'}".contains(c));
            text[..end.unwrap_or(text.len())].to_owned()
        }
    }
}

/// What stands between the words of a text: of a path, a query, a list, JSON.
fn is_border(c: char) -> bool {
    c.is_whitespace() || "/?&=;,:@\"'<>(){}[]#|".contains(c)
}

/// Whether a word is a token: its maker marked it, or it is long and looks like chance.
fn is_token(word: &str) -> bool {
    let is_marked = MARKS.iter().any(|mark| {
        let rest = word.strip_prefix(mark);
        rest.is_some_and(|rest| rest.len() >= 8)
    });
    let parts = word.split(['-', '_', '.', '+', '~', '!', '*', '%', '$']);
    is_marked
        || (!is_uuid(word) && parts.into_iter().any(looks_random))
        || (!is_uuid(word) && looks_random(&without_signs(word)) && has_no_words(word))
}

/// A token may have the signs of base64 for URLs anywhere in it.
fn without_signs(word: &str) -> String {
    word.chars().filter(|c| !"-_+".contains(*c)).collect()
}

/// Whether no part of it between signs reads as a word or a number: `my-shop-2024` does.
fn has_no_words(word: &str) -> bool {
    word.split(['-', '_', '+', '.']).all(|part| {
        part.is_empty()
            || !(part.bytes().all(|b| b.is_ascii_lowercase())
                || part.bytes().all(|b| b.is_ascii_digit()))
            || part.len() <= 2
    })
}

/// Whether a word of letters and digits changes so often between capitals, small letters and digits as chance does.
/// A commit does so too, and is none: it is in every log.
fn looks_random(word: &str) -> bool {
    let is_alphanumeric = word.bytes().all(|b| b.is_ascii_alphanumeric());
    if word.len() < TOKEN_LEN_MIN || !is_alphanumeric || is_commit(word) {
        return false;
    }
    let kind = |b: u8| (b.is_ascii_uppercase(), b.is_ascii_lowercase());
    let bytes = word.as_bytes();
    let changes = bytes
        .windows(2)
        .filter(|two| kind(two[0]) != kind(two[1]))
        .count();
    let digits = bytes.iter().filter(|b| b.is_ascii_digit()).count();
    let is_mixed =
        bytes.iter().any(u8::is_ascii_uppercase) && bytes.iter().any(u8::is_ascii_lowercase);
    let has_letters = digits < bytes.len();
    // Of chance, every second to third sign begins another run; of words written together, every fifth.
    let often = match is_mixed {
        true => changes * 5 >= bytes.len() * 2,
        false => changes * 4 >= bytes.len() || (bytes.len() >= 32 && changes * 6 >= bytes.len()),
    };
    has_letters && often && (digits >= 2 || is_mixed)
}

/// A commit, which is in every log.
fn is_commit(word: &str) -> bool {
    let is_hex = word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_hex && word.len() == COMMIT_LEN
}

fn is_uuid(word: &str) -> bool {
    let parts: Vec<_> = word.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && word.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}
