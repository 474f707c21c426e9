//! `[services.NAME.signature]`: who must have signed an image before it is run.

use std::path::PathBuf;

use super::table::{Table, Value};
use super::value::shown;

pub(super) const KEYS: &[&str] = &["by", "issuer", "transparency_log"];

/// Who vouches for the identity of a workflow of GitHub Actions.
const GITHUB_ISSUER: &str = "https://token.actions.githubusercontent.com";

/// Who must have signed an image, with cosign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignaturePolicy {
    /// Who.
    pub signer: Signer,
    /// Whether the signature must be in Sigstore's public log.
    pub transparency_log: TransparencyLog,
}

/// Who signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signer {
    /// Whoever has the private key that belongs to this public key.
    Key(PathBuf),
    /// Whoever had a certificate for this identity.
    Identity {
        /// For example the address of a workflow with its branch.
        identity: String,
        /// Who vouched for it.
        issuer: String,
    },
}

/// Whether a signature must be in the public log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransparencyLog {
    /// It must.
    Required,
    /// It need not: for signatures made with `--tlog-upload=false`.
    NotRequired,
}

pub(super) fn read(value: &Value<'_>) -> Option<SignaturePolicy> {
    let table = value.table(KEYS)?;
    let by = table.require(
        "by",
        "the path of a public key, or the identity of a workflow such as \"https://github.com/acme/shop/.github/workflows/deploy.yml@refs/heads/main\"",
    );
    let issuer = table.get("issuer").map(|issuer| read_issuer(&issuer));
    let log = table.get("transparency_log").map(|value| value.boolean());
    let signer = read_signer(&by?, &table, issuer.as_ref().and_then(Option::as_deref))?;
    let transparency_log = match log {
        None | Some(Some(true)) => TransparencyLog::Required,
        Some(Some(false)) if matches!(signer, Signer::Key(_)) => TransparencyLog::NotRequired,
        Some(Some(false)) => {
            return table.get("transparency_log")?.mistake(
                format!(
                    "`{}.transparency_log` must be `true` for an identity: only the log proves when its short-lived certificate was used",
                    value.path
                ),
                None,
            );
        }
        Some(None) => return None,
    };
    issuer
        .is_none_or(|issuer| issuer.is_some())
        .then_some(SignaturePolicy {
            signer,
            transparency_log,
        })
}

fn read_signer(by: &Value<'_>, table: &Table<'_>, issuer: Option<&str>) -> Option<Signer> {
    let text = by.text()?;
    if text.starts_with('/') {
        if let Some(issuer) = table.get("issuer") {
            return issuer.mistake(
                format!("`{}` means nothing beside a public key", issuer.path),
                Some("leave it out, or give an identity in `by`"),
            );
        }
        return by.file().map(Signer::Key);
    }
    if text.contains("://") || text.contains('@') {
        return Some(Signer::Identity {
            identity: text.to_owned(),
            issuer: issuer.unwrap_or(GITHUB_ISSUER).to_owned(),
        });
    }
    by.mistake(
        format!(
            "`{}` must be the absolute path of a public key, or an identity, not {}",
            by.path,
            shown(text)
        ),
        Some(
            "for example \"/etc/cutover/cosign.pub\", or \"https://github.com/acme/shop/.github/workflows/deploy.yml@refs/heads/main\"",
        ),
    )
}

fn read_issuer(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if text.starts_with("https://") {
        return Some(text.to_owned());
    }
    value.mistake(
        format!(
            "`{}` must be the address of an OIDC issuer, beginning with `https://`, not {}",
            value.path,
            shown(text)
        ),
        None,
    )
}
