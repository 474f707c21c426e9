//! The rights of another user, for what is written on their behalf.
//!
//! A file in a user's directory is made and renamed with that user's rights: it counts towards their quota, a file
//! server that does not trust root takes it, and a directory that they exchange in the same moment gets them nothing
//! that they could not have done themselves.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::Stat;
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};

/// A user and a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rights {
    user: u32,
    group: u32,
}

impl Rights {
    /// Those of the owner of an open directory.
    pub(super) fn of(directory: impl AsFd) -> io::Result<Self> {
        Ok(Self::from(&rustix::fs::fstat(directory)?))
    }

    /// The user and the group.
    pub(super) fn owner(self) -> (u32, u32) {
        (self.user, self.group)
    }

    /// Does `work` with these rights and no others. Those of root are not taken from root, and a process that is not
    /// root has only its own.
    ///
    /// # Errors
    /// What `work` said; or that the process may not take another user's rights, and `work` was not done.
    pub(super) fn lend<T>(self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if self.user == 0 || !geteuid().is_root() {
            return work();
        }
        let _taken = Taken::take(self)?;
        work()
    }
}

impl From<&Stat> for Rights {
    fn from(seen: &Stat) -> Self {
        Self {
            user: seen.st_uid,
            group: seen.st_gid,
        }
    }
}

/// This thread has another user's rights until this is dropped. Nothing that is awaited can come between: the
/// functions of this folder do not wait.
struct Taken;

impl Taken {
    fn take(rights: Rights) -> io::Result<Self> {
        set_thread_res_gid(None, Gid::from_raw(rights.group), None)?;
        let taken = Self;
        set_thread_res_uid(None, Uid::from_raw(rights.user), None)?;
        Ok(taken)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let back = set_thread_res_uid(None, Uid::ROOT, None)
            .and_then(|()| set_thread_res_gid(None, Gid::ROOT, None));
        if back.is_err() {
            // The real user is root all the time, so that Linux has no reason to refuse. A daemon with a thread that
            // acts as somebody else must not go on.
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

    use super::*;

    const SOMEBODY: Rights = Rights {
        user: 12_345,
        group: 54_321,
    };

    #[test]
    fn what_is_done_with_a_users_rights_is_theirs_and_no_more() {
        assert!(geteuid().is_root(), "the tests run as root");
        let directory = tempfile::tempdir().expect("a directory");
        let (theirs, roots) = (
            directory.path().join("theirs"),
            directory.path().join("roots"),
        );
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        fs::create_dir(&theirs).expect("made");
        chown(&theirs, Some(SOMEBODY.user), Some(SOMEBODY.group)).expect("given");
        fs::write(&roots, "secret").expect("written");
        fs::set_permissions(&roots, fs::Permissions::from_mode(0o600)).expect("a mode");
        let made = SOMEBODY.lend(|| {
            let refused = fs::read(&roots).expect_err("it is root's");
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
            fs::write(theirs.join("file"), "content")
        });
        made.expect("their directory");
        let file = fs::metadata(theirs.join("file")).expect("there");
        assert_eq!((file.uid(), file.gid()), SOMEBODY.owner());
        assert_eq!(fs::read(&roots).expect("root again"), b"secret");
        let failed: io::Result<()> = SOMEBODY.lend(|| fs::write(&roots, "theirs"));
        failed.expect_err("it is root's");
        assert!(geteuid().is_root());
        assert_eq!(fs::read(&roots).expect("readable"), b"secret");
    }
}
