//! Files outside of cutover's own directories: env files, the files of Compose secrets, Compose files.
//!
//! Their directories may belong to users who may do less than cutover. [`Place`] says where a path leads; only
//! regular files of a bounded size are read, and nothing waits. What belongs to a file stays with it when it is
//! changed: mode, owner, access lists and other attributes, and its other names.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;

use super::place::Place;
use super::rights::Rights;
use super::{Access, Attributes, OWNER_ONLY, Replacement};

/// The largest file that is read. Env files and secrets have a few kilobytes; a larger one is there by mistake.
const LEN_MAX: u64 = 1024 * 1024;

/// A directory's device and inode, and a name in it.
type Key = (u64, u64, OsString);

/// One change of a file at a time: two services of a project may share an env file and be committed at once. Each
/// file has a lock of its own, so that a file system that hangs holds up only its own services.
static LOCKS: Mutex<BTreeMap<Key, Arc<Mutex<()>>>> = Mutex::new(BTreeMap::new());

/// How [`change`] would write a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// As a whole, by a new file with its name.
    Replaced,
    /// In its place: it has other names, is a mount point, or its directory cannot be written. Not atomic: a power
    /// cut in this moment can leave half of it.
    InPlace,
}

/// The content of the file; none if there is none.
///
/// # Errors
/// What the system said, or why the file is not read: its kind, its size, a link of somebody else.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let place = Place::of(path)?;
    match place.open(OFlags::RDONLY)? {
        Some(file) => content(&file).map(Some),
        None => Ok(None),
    }
}

/// As [`read`], with the bytes that are not UTF-8 replaced; none also for a file that cannot be read.
pub(crate) fn text(path: &Path) -> Option<String> {
    let bytes = read(path).ok()??;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Gives the file the content that `change` makes of what is there; nothing is written where it makes none.
///
/// A new file belongs to whom its directory belongs to, who could not read it otherwise, and is for its owner only.
///
/// # Errors
/// What the system said, or why the file is not touched; it is as it was.
pub fn change(path: &Path, change: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> io::Result<()> {
    let key = Place::of(path)?.key()?;
    let lock = {
        let mut locks = LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(locks.entry(key).or_default())
    };
    let _turn = lock.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Place::of(path)?;
    let Some(present) = place.open(OFlags::RDONLY)? else {
        let Some(changed) = change(&[]) else {
            return Ok(());
        };
        return begin(&place, &changed)?.finish();
    };
    let Some(changed) = change(&content(&present)?) else {
        return Ok(());
    };
    if u64::try_from(changed.len()).is_ok_and(|len| len > LEN_MAX) {
        return Err(too_long());
    }
    if present.metadata()?.nlink() > 1 {
        return write_in_place(&place, &changed);
    }
    let replaced = begin_like(&place, &present, &changed).and_then(Replacement::finish);
    match replaced {
        Err(error) if leaves_room_to_write(&error) => write_in_place(&place, &changed),
        other => other,
    }
}

/// Removes the file, if there is one.
///
/// # Errors
/// What the system said; it is still there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let place = Place::of(path)?;
    let removed = Rights::of(&place.directory)?.lend(|| {
        let removed = rustix::fs::unlinkat(&place.directory, &place.name, AtFlags::empty());
        Ok(removed?)
    });
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Does what [`change`] would do, up to the moment before the file is another.
///
/// # Errors
/// As [`change`].
pub(crate) fn rehearse(path: &Path) -> io::Result<Way> {
    let place = Place::of(path)?;
    let Some(present) = place.open(OFlags::RDONLY)? else {
        begin(&place, &[])?;
        return Ok(Way::Replaced);
    };
    let bytes = content(&present)?;
    let writable = to_write(&place);
    if let Err(error) = &writable
        && is_one_of(error, &[Errno::ROFS, Errno::PERM])
    {
        // Neither can its name be given to another file.
        return writable.map(|_| Way::InPlace);
    }
    if present.metadata()?.nlink() > 1 {
        return writable.map(|_| Way::InPlace);
    }
    match begin_like(&place, &present, &bytes) {
        Ok(_not_finished) => Ok(Way::Replaced),
        Err(error) if leaves_room_to_write(&error) => writable.map(|_| Way::InPlace),
        Err(error) => Err(error),
    }
}

fn begin<'a>(place: &'a Place, content: &[u8]) -> io::Result<Replacement<'a>> {
    let directory = rustix::fs::fstat(&place.directory)?;
    let access = Access {
        mode: OWNER_ONLY,
        owner: Some((directory.st_uid, directory.st_gid)),
    };
    Replacement::begin(
        &place.directory,
        &place.name,
        content,
        access,
        &Attributes::default(),
    )
}

fn begin_like<'a>(place: &'a Place, present: &File, content: &[u8]) -> io::Result<Replacement<'a>> {
    let access = Access::like(&present.metadata()?);
    let attributes = Attributes::of(present)?;
    Replacement::begin(&place.directory, &place.name, content, access, &attributes)
}

/// Whether a file that cannot be replaced, for this reason, can still be written.
fn leaves_room_to_write(error: &io::Error) -> bool {
    // A mount point; a directory that cannot be written; an attribute that cannot be set.
    is_one_of(
        error,
        &[
            Errno::BUSY,
            Errno::ACCESS,
            Errno::PERM,
            Errno::ROFS,
            Errno::OPNOTSUPP,
        ],
    )
}

fn is_one_of(error: &io::Error, kinds: &[Errno]) -> bool {
    Errno::from_io_error(error).is_some_and(|error| kinds.contains(&error))
}

/// The file, opened with its owner's rights.
fn to_write(place: &Place) -> io::Result<Option<File>> {
    match &place.there {
        Some((_, seen)) => Rights::from(seen).lend(|| place.open(OFlags::WRONLY)),
        None => Ok(None),
    }
}

/// Writes the content over the file, and cuts off what is left of a longer one only when that is on the disk.
fn write_in_place(place: &Place, content: &[u8]) -> io::Result<()> {
    let file = to_write(place)?.ok_or(io::ErrorKind::NotFound)?;
    file.write_all_at(content, 0)?;
    file.set_len(u64::try_from(content.len()).unwrap_or(LEN_MAX))?;
    file.sync_all()
}

fn content(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(LEN_MAX + 1).read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()).is_ok_and(|len| len <= LEN_MAX) {
        true => Ok(bytes),
        false => Err(too_long()),
    }
}

fn too_long() -> io::Error {
    io::Error::other(format!(
        "it has more than {} KiB, which no file of this kind has",
        LEN_MAX / 1024
    ))
}

#[cfg(test)]
mod tests;
