//! Secrets and tokens: read from a file or the environment, never from an argument, never printed.

use std::fmt;
use std::path::Path;

use crate::client::failure::Failure;

/// The environment variable that holds the signing secret, for CI.
pub(crate) const SECRET_VARIABLE: &str = "CUTOVER_SECRET";

/// The environment variable that holds an operator token.
pub(crate) const TOKEN_VARIABLE: &str = "CUTOVER_TOKEN";

/// A signing secret or a bearer token. Its `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// The secret itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([REDACTED])")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// Reads a secret from `file`, or else from the environment variable; none if neither is given.
/// White space around it, such as an editor's line break, does not belong to it; the daemon takes no secret
/// that begins or ends with some.
///
/// # Errors
/// [`Failure::Usage`] for a file that cannot be read, and for an empty secret.
pub(crate) fn read(file: Option<&Path>, variable: &str) -> Result<Option<Secret>, Failure> {
    let (text, origin) = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Failure::usage(
                    format!("{} cannot be read: {error}", path.display()),
                    "nothing was sent; check the path and who may read it",
                )
            })?;
            (text, path.display().to_string())
        }
        None => match std::env::var(variable) {
            Ok(text) => (text, variable.to_owned()),
            Err(std::env::VarError::NotPresent) => return Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                return Err(Failure::usage(
                    format!("{variable} is not UTF-8"),
                    "nothing was sent; cutover's own secrets and tokens are plain ASCII",
                ));
            }
        },
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(Failure::usage(
            format!("{origin} is empty"),
            "nothing was sent; in CI this usually means that the secret is not available to this \
             workflow, for instance in a pull request from a fork",
        ));
    }
    Ok(Some(Secret(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_around_it_does_not_belong_to_the_secret() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("secret");
        std::fs::write(&file, " s3cret\r\n").expect("written");
        let secret = read(Some(&file), "CUTOVER_UNSET").expect("readable");
        assert_eq!(secret.as_ref().map(Secret::reveal), Some("s3cret"));
        assert_eq!(format!("{secret:?}"), "Some(Secret([REDACTED]))");
    }

    #[test]
    fn an_empty_secret_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("secret");
        std::fs::write(&file, "\n").expect("written");
        assert!(read(Some(&file), "CUTOVER_UNSET").is_err());
        assert!(read(Some(&directory.path().join("none")), "CUTOVER_UNSET").is_err());
        assert_eq!(read(None, "CUTOVER_UNSET").expect("none is fine"), None);
    }
}
