//! Watch tokens: who started a deployment may read that one deployment, and nothing else.
//!
//! A token is the deployment's id with a MAC over it, under a key that never leaves the state
//! directory. So no token is stored anywhere, and one that is shown for another deployment is still
//! known to be a token of ours.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use cutover_core::names::DeploymentId;

/// The file in the state directory that holds the key.
pub const KEY_FILE: &str = "watch.key";

/// Bytes of the key: as many as SHA-256 puts out.
const KEY_LEN: usize = 32;

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WatchKeyError {
    /// The system would not read or write it.
    #[error("cannot read or write `{}`: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It does not hold a key.
    #[error(
        "`{}` does not hold {KEY_LEN} bytes; remove it to get a new one (watch tokens given out so far stop working)",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
    },
    /// The system has no random numbers.
    #[error("the system gives no random numbers for a new `{KEY_FILE}`")]
    NoRandomness,
}

/// Makes and checks watch tokens; cheap to clone.
#[derive(Clone)]
pub struct WatchTokens(Arc<hmac::Key>);

impl fmt::Debug for WatchTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WatchTokens([redacted])")
    }
}

impl WatchTokens {
    /// Reads the key in `state_directory`, or makes one at the first start.
    ///
    /// # Errors
    /// Anything that keeps the key from being read or kept.
    pub fn load_or_create(state_directory: &Path) -> Result<Self, WatchKeyError> {
        let path = state_directory.join(KEY_FILE);
        let io = |source| WatchKeyError::Io {
            path: path.clone(),
            source,
        };
        let mut key = Vec::new();
        match fs::File::open(&path) {
            Ok(file) => {
                // One byte more than right, to notice a file that is too long.
                let limit = KEY_LEN as u64 + 1;
                file.take(limit).read_to_end(&mut key).map_err(io)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                key = vec![0; KEY_LEN];
                SystemRandom::new()
                    .fill(&mut key)
                    .map_err(|_| WatchKeyError::NoRandomness)?;
                store(state_directory, &path, &key).map_err(io)?;
            }
            Err(error) => return Err(io(error)),
        }
        if key.len() == KEY_LEN {
            Ok(Self::from_key(&key))
        } else {
            Err(WatchKeyError::Damaged { path })
        }
    }

    fn from_key(key: &[u8]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }

    /// The token that reads this deployment.
    #[must_use]
    pub fn token(&self, id: &DeploymentId) -> String {
        let mac = hmac::sign(&self.0, id.as_str().as_bytes());
        format!("{id}.{}", hex::encode(mac))
    }

    /// The deployment that `token` reads, if it is one of ours; compared in constant time.
    #[must_use]
    pub fn reads(&self, token: &str) -> Option<DeploymentId> {
        let (id, digits) = token.split_once('.')?;
        let id = DeploymentId::new(id).ok()?;
        let mut mac = [0; 32];
        hex::decode_to_slice(digits, &mut mac).ok()?;
        hmac::verify(&self.0, id.as_str().as_bytes(), &mac).ok()?;
        Some(id)
    }
}

/// Writes the key beside its place and renames it, so that a crash leaves a whole key or none.
fn store(state_directory: &Path, path: &Path, key: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("key.new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(key)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    fs::File::open(state_directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn id(last: char) -> DeploymentId {
        let text = format!("01938f3e-7c1a-7abc-8def-0123456789a{last}");
        DeploymentId::new(&text).expect("an id")
    }

    #[test]
    fn a_token_reads_its_own_deployment_only_and_survives_a_restart() {
        let dir = tempfile::tempdir().expect("a directory");
        let tokens = WatchTokens::load_or_create(dir.path()).expect("makes a key");
        let token = tokens.token(&id('a'));
        let again = WatchTokens::load_or_create(dir.path()).expect("reads the key");
        assert_eq!(again.reads(&token), Some(id('a')));
        let other = token.replace("9aa.", "9ab.");
        assert_ne!(other, token);
        assert_eq!(again.reads(&other), None);
        let stranger = tempfile::tempdir().expect("a directory");
        let stranger = WatchTokens::load_or_create(stranger.path()).expect("makes a key");
        assert_eq!(stranger.reads(&token), None);
        for wrong in [
            "",
            ".",
            "x",
            &token[..token.len() - 1],
            &format!("{token}0"),
        ] {
            assert_eq!(again.reads(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_key_is_its_owners_alone_and_a_damaged_one_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        WatchTokens::load_or_create(dir.path()).expect("makes a key");
        let path = dir.path().join(KEY_FILE);
        let mode = fs::metadata(&path).expect("exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for damaged in [&b"short"[..], &[7; 33], b""] {
            fs::write(&path, damaged).expect("writes");
            let error = WatchTokens::load_or_create(dir.path()).expect_err("damaged");
            assert!(matches!(error, WatchKeyError::Damaged { .. }), "{error}");
        }
    }
}
