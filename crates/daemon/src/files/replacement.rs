//! A new file that is about to take the name of another one.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;

use super::Access;
use super::rights::Rights;

/// The access list in the form of an attribute.
const ACCESS_LIST: &str = "system.posix_acl_access";

/// The most that Linux lets a file have of attributes' names, and of one attribute's value.
const ATTRIBUTE_LEN_MAX: usize = 64 * 1024;

/// What a file has beside mode and owner: its access list and other extended attributes.
#[derive(Debug, Default)]
pub(super) struct Attributes(Vec<(CString, Vec<u8>)>);

impl Attributes {
    /// Those of an open file; none where its file system has none.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let mut names = vec![0; ATTRIBUTE_LEN_MAX];
        let len = match rustix::fs::flistxattr(file, names.as_mut_slice()) {
            Ok(len) => len,
            Err(Errno::OPNOTSUPP) => 0,
            Err(error) => return Err(error.into()),
        };
        let names = names[..len].split(|byte| *byte == 0);
        let mut found = Vec::new();
        for name in names.filter(|name| !name.is_empty()) {
            let name = CString::new(name)?;
            let mut value = vec![0; ATTRIBUTE_LEN_MAX];
            let len = rustix::fs::fgetxattr(file, name.as_c_str(), value.as_mut_slice())?;
            value.truncate(len);
            found.push((name, value));
        }
        Ok(Self(found))
    }

    fn give(&self, file: &File) -> io::Result<()> {
        // What the directory gives to each new file.
        match rustix::fs::fremovexattr(file, ACCESS_LIST) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
        for (name, value) in &self.0 {
            rustix::fs::fsetxattr(file, name.as_c_str(), value, XattrFlags::empty())?;
        }
        Ok(())
    }
}

/// A file that is written and durable under `.NAME.cutover-PID`; without [`Self::finish`] it goes again.
pub(super) struct Replacement<'a> {
    directory: &'a OwnedFd,
    name: OsString,
    temporary: OsString,
    /// Whose directory it is.
    rights: Rights,
}

impl<'a> Replacement<'a> {
    /// Writes the new file.
    ///
    /// # Errors
    /// What the system said; nothing is left.
    pub(super) fn begin(
        directory: &'a OwnedFd,
        name: &OsStr,
        content: &[u8],
        access: Access,
        attributes: &Attributes,
    ) -> io::Result<Self> {
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".cutover-{}", std::process::id()));
        let rights = Rights::of(directory)?;
        let file = rights.lend(|| create(directory, &temporary))?;
        let begun = Self {
            directory,
            name: name.to_owned(),
            temporary,
            rights,
        };
        let write = || write(&file, content, access, attributes);
        match access.owner {
            Some(owner) if owner != rights.owner() => write()?,
            _ => rights.lend(write)?,
        }
        Ok(begun)
    }

    /// Gives the new file the name.
    ///
    /// # Errors
    /// What the system said; the file that had the name has it still.
    pub(super) fn finish(self) -> io::Result<()> {
        // A directory that was opened as a place only cannot be synchronized.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(self.directory, ".", flags, Mode::empty())?;
        self.rights.lend(|| {
            let (from, to) = (&self.temporary, &self.name);
            Ok(rustix::fs::renameat(
                self.directory,
                from,
                self.directory,
                to,
            )?)
        })?;
        Ok(rustix::fs::fsync(directory)?)
    }
}

impl Drop for Replacement<'_> {
    fn drop(&mut self) {
        // Where it has its name by now, this finds nothing.
        let gone = self.rights.lend(|| remove(self.directory, &self.temporary));
        if let Err(error) = gone {
            tracing::warn!(%error, file = %self.temporary.display(), "a temporary file was left behind");
        }
    }
}

fn create(directory: &OwnedFd, temporary: &OsStr) -> io::Result<File> {
    // A file that a killed daemon left goes; a link that somebody else put there is not followed.
    remove(directory, temporary)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    Ok(File::from(rustix::fs::openat(
        directory, temporary, flags, mode,
    )?))
}

fn remove(directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn write(
    mut file: &File,
    content: &[u8],
    access: Access,
    attributes: &Attributes,
) -> io::Result<()> {
    file.write_all(content)?;
    let made = file.metadata()?;
    if let Some((user, group)) = access.owner
        && (made.uid(), made.gid()) != (user, group)
    {
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
        rustix::fs::fchown(file, Some(user), Some(group))?;
    }
    file.set_permissions(Permissions::from_mode(access.mode))?;
    attributes.give(file)?;
    file.sync_all()
}
