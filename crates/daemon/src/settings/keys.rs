//! Every key of the configuration file, and the one that was probably meant.
//!
//! The lists are what the readers check against, and what `docs/configuration.md` is compared with.

use cutover_core::nearest::nearest;

use super::{auth, docker, health, server, service, signature};

/// The sections.
pub(super) const TOP: &[&str] = &["server", "auth", "docker", "services"];

/// Every table with fixed keys: its path, where `NAME` stands for a name of the user's, and its keys.
const TABLES: &[(&str, &[&str])] = &[
    ("", TOP),
    ("server", server::KEYS),
    ("server.tls", server::TLS_KEYS),
    ("auth", auth::KEYS),
    ("auth.hmac.NAME", auth::HMAC_KEYS),
    ("auth.operator.NAME", auth::OPERATOR_KEYS),
    ("docker", docker::KEYS),
    ("services.NAME", service::KEYS),
    ("services.NAME.signature", signature::KEYS),
    ("services.NAME.health", health::KEYS),
    ("services.NAME.health.http", health::HTTP_KEYS),
    ("services.NAME.health.tcp", health::TCP_KEYS),
];

/// Every key that holds a value, as a full path.
#[must_use]
pub fn known_keys() -> Vec<String> {
    let full = |table: &str, key: &str| match table {
        "" => key.to_owned(),
        _ => format!("{table}.{key}"),
    };
    TABLES
        .iter()
        .flat_map(|(table, keys)| keys.iter().map(move |key| full(table, key)))
        .filter(|path| {
            let is_table = |(table, _): &(&str, _)| {
                *table == path || *table == format!("{path}.NAME").as_str()
            };
            !TABLES.iter().any(is_table)
        })
        .filter(|path| path != "services")
        .collect()
}

/// What to tell about a key that does not exist in a table with these `keys`.
pub(super) fn suggestion(unknown: &str, keys: &[&'static str]) -> String {
    if let Some(near) = nearest(unknown, keys.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    let elsewhere = TABLES
        .iter()
        .filter(|(table, _)| !table.is_empty())
        .find(|(_, keys)| keys.contains(&unknown));
    if let Some((table, _)) = elsewhere {
        return format!("`{unknown}` belongs into `[{table}]`");
    }
    format!("known here: {}", list(keys))
}

/// Names as they stand in a sentence.
pub(super) fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
