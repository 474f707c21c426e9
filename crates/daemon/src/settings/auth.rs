//! `[auth]`: who may deploy what.

use std::collections::BTreeSet;
use std::path::PathBuf;

use cutover_core::names::ServiceName;
use cutover_core::nearest::nearest;

use super::secret::{Secret, read_secret};
use super::surroundings::Surroundings;
use super::table::{Table, Value};
use super::value::shown;

pub(super) const KEYS: &[&str] = &["hmac", "operator"];

pub(super) const HMAC_KEYS: &[&str] = &["secret_file", "services", "require_freshness"];

pub(super) const OPERATOR_KEYS: &[&str] = &["token_file"];

/// A key that signs requests. Several may name the same service: that is how a secret is rotated.
#[derive(Debug, Clone)]
pub struct HmacKey {
    /// Its name in the file, which the journal records as who asked.
    pub name: String,
    /// The shared secret.
    pub secret: Secret,
    /// The services that it may deploy; never empty.
    pub services: BTreeSet<ServiceName>,
    /// Whether its requests must be fresh.
    pub freshness: Freshness,
}

/// Whether a signed request must carry `timestamp` and `delivery_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It must: a copied request is worth nothing after a few minutes.
    Required,
    /// It need not: for senders that sign a payload of their own, such as GitHub's webhooks.
    NotRequired,
}

/// A token that gives the rights of an operator over the network.
#[derive(Debug, Clone)]
pub struct OperatorToken {
    /// Its name in the file, which the journal records as who asked.
    pub name: String,
    /// The token; visible ASCII characters.
    pub token: Secret,
}

/// What `[auth]` holds.
#[derive(Debug, Default)]
pub(super) struct Auth {
    pub(super) keys: Vec<HmacKey>,
    pub(super) operator_tokens: Vec<OperatorToken>,
}

impl Auth {
    /// The path of the entry that already has this secret.
    fn owner_of(&self, secret: &Secret) -> Option<String> {
        let key = self
            .keys
            .iter()
            .find(|key| key.secret.expose() == secret.expose())
            .map(|key| format!("auth.hmac.{}", key.name));
        key.or_else(|| {
            self.operator_tokens
                .iter()
                .find(|other| other.token.expose() == secret.expose())
                .map(|other| format!("auth.operator.{}", other.name))
        })
    }
}

/// The services by name, valid or not, so that a key is not blamed for a mistake of its service.
pub(super) type Names = BTreeSet<String>;

/// Reads `[auth]`; nobody may deploy over the network without it.
pub(super) fn read(
    section: Option<&Value<'_>>,
    services: &Names,
    surroundings: &Surroundings,
) -> Option<Auth> {
    let mut auth = Auth::default();
    let Some(section) = section else {
        return Some(auth);
    };
    let table = section.table(KEYS)?;
    let mut fine = true;
    for value in entries(&table, "hmac") {
        match read_key(&value, services, &auth, surroundings) {
            Some(key) => auth.keys.push(key),
            None => fine = false,
        }
    }
    for value in entries(&table, "operator") {
        match read_operator(&value, &auth, surroundings) {
            Some(token) => auth.operator_tokens.push(token),
            None => fine = false,
        }
    }
    fine.then_some(auth)
}

/// The named entries of a table in `[auth]`, without those whose names cannot stand in the journal.
fn entries<'a>(table: &Table<'a>, key: &str) -> Vec<Value<'a>> {
    let Some(names) = table.get(key).and_then(|value| value.names()) else {
        return Vec::new();
    };
    // A name in the journal and in the logs has the form of a service's.
    names
        .entries()
        .filter(|value| {
            ServiceName::new(value.name).is_ok()
                || value
                    .name_mistake::<()>(
                        format!(
                            "{} is not a name: allowed are 1 to 63 of `A-Za-z0-9._-`, beginning with a letter or digit",
                            shown(value.name)
                        ),
                        None,
                    )
                    .is_some()
        })
        .collect()
}

/// A secret must belong to one key only: it is what tells the keys apart, and with them what they may deploy
/// and whether their requests must be fresh.
fn read_key(
    value: &Value<'_>,
    services: &Names,
    others: &Auth,
    surroundings: &Surroundings,
) -> Option<HmacKey> {
    let table = value.table(HMAC_KEYS)?;
    let secret = table
        .require(
            "secret_file",
            "the path of a file that holds the shared secret; the secret itself is never written here",
        )
        .and_then(|value| {
            let (_, secret) = read_secret_file(&value, surroundings)?;
            match others.owner_of(&secret) {
                None => Some(secret),
                Some(other) => value.mistake(
                    format!("`{}` is the secret of `{other}` as well", value.path),
                    Some("give every key a secret of its own, or name all services under one key"),
                ),
            }
        });
    let services = table
        .require(
            "services",
            "the services that this key may deploy, for example `[\"shop\"]`",
        )
        .and_then(|value| read_services(&value, services));
    let freshness = match table.get("require_freshness") {
        None => Some(Freshness::Required),
        Some(value) => value.boolean().map(|required| match required {
            true => Freshness::Required,
            false => Freshness::NotRequired,
        }),
    };
    Some(HmacKey {
        name: value.name.to_owned(),
        secret: secret?,
        services: services?,
        freshness: freshness?,
    })
}

fn read_secret_file(value: &Value<'_>, surroundings: &Surroundings) -> Option<(PathBuf, Secret)> {
    let path = value.secret_path()?;
    match read_secret(&path, surroundings) {
        Ok(secret) => Some((path, secret)),
        Err(unusable) => value.mistake(
            format!("`{}`: {}", value.path, unusable.message),
            Some(&unusable.help),
        ),
    }
}

fn read_services(value: &Value<'_>, configured: &Names) -> Option<BTreeSet<ServiceName>> {
    let elements = value.texts()?;
    if elements.is_empty() {
        return value.mistake(
            format!(
                "`{}` is empty, so this key could deploy nothing",
                value.path
            ),
            Some("name at least one service, or remove the key"),
        );
    }
    let mut services = BTreeSet::new();
    let mut fine = true;
    for element in elements {
        let name = element.text()?;
        match ServiceName::new(name) {
            Ok(service) if configured.contains(name) => {
                services.insert(service);
            }
            _ => {
                fine = false;
                let names: Vec<&str> = configured.iter().map(String::as_str).collect();
                let help = match nearest(name, names.iter().copied()) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("add a section `[services.{name}]`, or leave it out"),
                };
                element.mistake::<()>(
                    format!(
                        "`{}` names {}, which is not configured",
                        value.path,
                        shown(name)
                    ),
                    Some(&help),
                );
            }
        }
    }
    fine.then_some(services)
}

/// A token must belong to one name only: the journal says who asked, and CI must never hold the
/// rights of an operator.
fn read_operator(
    value: &Value<'_>,
    others: &Auth,
    surroundings: &Surroundings,
) -> Option<OperatorToken> {
    let table = value.table(OPERATOR_KEYS)?;
    let file = table.require(
        "token_file",
        "the path of a file that holds the token; the token itself is never written here",
    )?;
    let (path, token) = read_secret_file(&file, surroundings)?;
    if !token.expose().iter().all(u8::is_ascii_graphic) {
        return file.mistake(
            format!(
                "`{}`: the token in `{}` has characters that an HTTP header cannot carry",
                file.path,
                path.display()
            ),
            Some("use letters and digits only, for example from `openssl rand -hex 32`"),
        );
    }
    if let Some(other) = others.owner_of(&token) {
        return file.mistake(
            format!("`{}` is the secret of `{other}` as well", file.path),
            Some("give every operator token a value of its own"),
        );
    }
    Some(OperatorToken {
        name: value.name.to_owned(),
        token,
    })
}
