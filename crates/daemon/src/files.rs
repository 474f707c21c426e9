//! Replaces a file as a whole: after a crash or a power cut it is the old one or the new one, never a part. And makes
//! directories that are nobody else's.
//!
//! [`outside`] reads and changes files that are not cutover's own, in directories of other users.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

pub(crate) mod outside;
mod place;
mod replacement;
mod rights;

use replacement::{Attributes, Replacement};

/// The mode of a file until its own is set, and of one that holds secrets.
pub(crate) const OWNER_ONLY: u32 = 0o600;

/// Who may read and write a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    /// Permission bits.
    pub(crate) mode: u32,
    /// User and group that it belongs to; none for those of this process.
    pub(crate) owner: Option<(u32, u32)>,
}

impl Access {
    /// Only for this process's user.
    pub(crate) const OWN: Self = Self {
        mode: OWNER_ONLY,
        owner: None,
    };

    /// As the file that this describes.
    pub(crate) fn like(file: &fs::Metadata) -> Self {
        Self {
            mode: file.mode() & 0o7777,
            owner: Some((file.uid(), file.gid())),
        }
    }
}

/// Makes a directory that only this process's user can reach into, unless there is one.
///
/// # Errors
/// What the system said; or that the one that is there belongs to somebody else, or that others can reach into it.
/// That is not changed, because it may be meant so.
pub(crate) fn make_private(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory)?;
    let found = fs::metadata(directory)?;
    let (mode, owner) = (found.mode() & 0o777, found.uid());
    let user = rustix::process::geteuid().as_raw();
    let place = directory.display();
    if owner != user {
        return Err(io::Error::other(format!(
            "it belongs to the user {owner}, and cutover runs as the user {user}: whoever owns it decides what cutover believes; run `chown {user} {place}`, or name another directory"
        )));
    }
    if mode & 0o077 != 0 {
        return Err(io::Error::other(format!(
            "others can reach into it (mode {mode:04o}): run `chmod 700 {place}`, or name another directory"
        )));
    }
    Ok(())
}

/// Makes `content` the content of `path`, which may exist; it is durable when this returns.
///
/// A link at `path` is replaced and not followed. Two threads must not replace one path at once.
///
/// # Errors
/// What the system said; the file is as it was.
pub(crate) fn replace(path: &Path, content: &[u8], access: Access) -> io::Result<()> {
    let directory = File::open(path.parent().unwrap_or(Path::new("/")))?.into();
    let name = path.file_name().unwrap_or_default();
    Replacement::begin(&directory, name, content, access, &Attributes::default())?.finish()
}

/// Makes what was created, renamed or removed in a directory durable.
///
/// # Errors
/// What the system said.
pub(crate) fn make_durable(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_that_others_can_reach_into_is_refused_and_left_as_it_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a/state");
        make_private(&path).expect("made");
        let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        make_private(&path).expect("it is there");
        for loose in [0o777, 0o750, 0o701] {
            fs::set_permissions(&path, fs::Permissions::from_mode(loose)).expect("a mode");
            let said = make_private(&path).expect_err("others can reach it");
            assert!(said.to_string().contains("chmod 700"), "{said}");
            assert_eq!(mode(&path), loose);
        }
    }

    #[test]
    fn a_file_is_replaced_with_its_mode_and_nothing_stays_beside_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        replace(&path, b"one", Access::OWN).expect("made");
        let made = fs::metadata(&path).expect("there");
        assert_eq!(made.mode() & 0o7777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
        let like = Access::like(&fs::metadata(&path).expect("there"));
        // What a killed process left.
        let left = format!(".file.cutover-{}", std::process::id());
        fs::write(directory.path().join(left), "half").expect("written");
        replace(&path, b"two", like).expect("replaced");
        assert_eq!(fs::read(&path).expect("readable"), b"two");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o640);
        let names = fs::read_dir(directory.path()).expect("readable");
        assert_eq!(names.count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_replaced_is_as_it_was() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("taken");
        fs::create_dir(&path).expect("made");
        replace(&path, b"content", Access::OWN).expect_err("a directory is in the way");
        let names = fs::read_dir(directory.path()).expect("readable");
        assert_eq!(names.count(), 1);
        assert!(path.is_dir());
    }
}
