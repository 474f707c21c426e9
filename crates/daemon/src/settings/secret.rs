//! Secrets: read from files that nobody else can read, wiped from memory, never printed.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::files;
use super::surroundings::Surroundings;

/// The shortest secret: as long as the output of SHA-256, below which the signature gets weaker.
pub(super) const SECRET_LEN_MIN: usize = 32;

/// The longest secret; more is a file that was named by mistake.
const SECRET_LEN_MAX: usize = 4096;

/// A secret value. `Debug` does not show it, nothing else prints or serializes it, and its memory is
/// overwritten when it is dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes `bytes` as they are; only [`super::load`] checks their number.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The value, for a signature or a comparison in constant time.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([redacted])")
    }
}

/// Why a secret file was not taken, with what to do.
#[derive(Debug)]
pub(super) struct Unusable {
    pub(super) message: String,
    pub(super) help: String,
}

impl Unusable {
    fn new(message: String, help: String) -> Self {
        Self { message, help }
    }
}

/// How to make a secret, for those who have none yet or a weak one.
fn recipe(path: &Path) -> String {
    format!(
        "make one with `(umask 077; openssl rand -hex 32 > {})`, and give the same value to the sender",
        path.display()
    )
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("cannot read `{}`: {}", path.display(), files::cause(error))
}

/// Reads the secret in the file at `path`, without the newline that editors put at the end.
pub(super) fn read_secret(path: &Path, surroundings: &Surroundings) -> Result<Secret, Unusable> {
    let file = files::open(path).map_err(|error| {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound if surroundings.is_credential(path) => {
                "systemd provides it while the daemon runs, by a line `LoadCredential=` of the unit"
                    .to_owned()
            }
            std::io::ErrorKind::NotFound => recipe(path),
            std::io::ErrorKind::PermissionDenied => {
                "run this as the user of the daemon, or as root".to_owned()
            }
            _ => "name a regular file that holds the secret and nothing else".to_owned(),
        };
        Unusable::new(unreadable(path, &error), help)
    })?;
    check_permissions(path, &file, surroundings)?;
    let bytes = read_bounded(&file).map_err(|error| {
        Unusable::new(
            unreadable(path, &error),
            "name a regular file that holds the secret and nothing else".to_owned(),
        )
    })?;
    check_content(path, &bytes)?;
    Ok(Secret(bytes))
}

/// Refuses what others can read. systemd gives its credentials to the unit's user by an access list,
/// which shows as a permission of the group: there only "others" matter.
fn check_permissions(
    path: &Path,
    file: &File,
    surroundings: &Surroundings,
) -> Result<(), Unusable> {
    let forbidden = if surroundings.is_credential(path) {
        0o007
    } else {
        0o077
    };
    let mode = match file.metadata() {
        Ok(metadata) => metadata.permissions().mode() & 0o777,
        Err(error) => {
            return Err(Unusable::new(
                format!("cannot read the mode of `{}`: {error}", path.display()),
                "put the secret on a file system that has permissions".to_owned(),
            ));
        }
    };
    if let Some(owner) = files::foreign_owner(file) {
        return Err(Unusable::new(
            format!(
                "`{}` belongs to the user {owner}, who can change the secret",
                path.display()
            ),
            format!(
                "replace the secret, and run `chown root {}`",
                path.display()
            ),
        ));
    }
    if mode & forbidden == 0 {
        return Ok(());
    }
    let who = if mode & 0o007 == 0 {
        "its group"
    } else {
        "everybody on this machine"
    };
    Err(Unusable::new(
        format!(
            "`{}` is accessible to {who} (mode {mode:04o}); a secret must be its owner's alone (mode 0600)",
            path.display()
        ),
        format!(
            "run `chmod 600 {}`; if anybody else may have read it, replace the secret as well",
            path.display()
        ),
    ))
}

/// Reads at most one byte more than allowed, into one piece of memory that is never moved.
fn read_bounded(file: &File) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; SECRET_LEN_MAX + 3]);
    let mut len = 0;
    loop {
        match (&*file).read(&mut bytes[len..])? {
            0 => break,
            more => len += more,
        }
    }
    bytes.truncate(len);
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok(bytes)
}

/// Refuses what is too short to protect anything, and what differs from what the sender will use.
fn check_content(path: &Path, bytes: &[u8]) -> Result<(), Unusable> {
    let len = bytes.len();
    let blank = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_whitespace);
    if len == 0 {
        Err(Unusable::new(
            format!("`{}` is empty", path.display()),
            recipe(path),
        ))
    } else if len > SECRET_LEN_MAX {
        Err(Unusable::new(
            format!(
                "`{}` is longer than {SECRET_LEN_MAX} bytes, which is no secret",
                path.display()
            ),
            "name the file that holds the secret and nothing else".to_owned(),
        ))
    } else if blank(bytes.first()) || blank(bytes.last()) {
        Err(Unusable::new(
            format!("the secret in `{}` begins or ends with white space", path.display()),
            "leave nothing in the file but the secret and at most one newline: the sender would sign with another value".to_owned(),
        ))
    } else if len < SECRET_LEN_MIN {
        Err(Unusable::new(
            format!(
                "the secret in `{}` has {len} bytes; at least {SECRET_LEN_MIN} are needed",
                path.display()
            ),
            recipe(path),
        ))
    } else {
        Ok(())
    }
}
