//! Where a path leads, without trusting who owns the directories on the way.
//!
//! A path is walked one name at a time, each opened relative to the directory before it, so that nobody can put
//! something else there between the look and the use. A symbolic link is followed only if whoever made it could
//! have changed what it leads to anyway: it belongs to root, to the user of this process, or to the owner of its
//! target. Otherwise the owner of a directory could have root read and write any file by a link.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat};

/// As many links as Linux follows in one path.
const LINKS_MAX: u32 = 40;

/// A name in a directory, and what stood there at the look.
pub(super) struct Place {
    /// The directory, opened as a place only.
    pub(super) directory: OwnedFd,
    /// The name in it.
    pub(super) name: OsString,
    /// What has this name, if anything has it; opened as a place only.
    pub(super) there: Option<(OwnedFd, Stat)>,
}

impl Place {
    /// Where `path` leads.
    ///
    /// # Errors
    /// What the system said; or that a link on the way leads to what its owner does not own, or to nothing.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        walk(root()?, &path, &mut 0)
    }

    /// Opens what stands there, if it is a regular file that whoever put it there could change.
    ///
    /// Never waits, as opening a pipe would.
    ///
    /// # Errors
    /// What the system said; or what stands there instead.
    pub(super) fn open(&self, how: OFlags) -> io::Result<Option<File>> {
        let Some((_, seen)) = &self.there else {
            return Ok(None);
        };
        self.check(seen)?;
        let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, &self.name, flags, Mode::empty())?;
        let opened = rustix::fs::fstat(&file)?;
        if (opened.st_dev, opened.st_ino) != (seen.st_dev, seen.st_ino) {
            return Err(io::Error::other(
                "somebody replaced it in the moment of the look; try again",
            ));
        }
        Ok(Some(File::from(file)))
    }

    /// Refuses what is no regular file, and a file that somebody may have linked here who may not change it.
    fn check(&self, seen: &Stat) -> io::Result<()> {
        let what = match FileType::from_raw_mode(seen.st_mode) {
            FileType::RegularFile => None,
            FileType::Directory => Some("a directory"),
            FileType::Fifo => Some("a named pipe"),
            FileType::Socket => Some("a socket"),
            _ => Some("a device"),
        };
        if let Some(what) = what {
            return Err(io::Error::other(format!(
                "it is {what} and not a regular file"
            )));
        }
        let owner = rustix::fs::fstat(&self.directory)?.st_uid;
        if seen.st_nlink > 1 && owner != seen.st_uid && !is_trusted(owner) {
            return Err(io::Error::other(format!(
                "it has a second name elsewhere and belongs to the user {}, and its directory belongs to the user {owner}, who may have linked it here: copy it over itself, so that it has one name",
                seen.st_uid
            )));
        }
        Ok(())
    }

    /// The same for everybody who means this place, by whatever path.
    pub(super) fn key(&self) -> io::Result<(u64, u64, OsString)> {
        let directory = rustix::fs::fstat(&self.directory)?;
        Ok((directory.st_dev, directory.st_ino, self.name.clone()))
    }
}

fn walk(from: OwnedFd, path: &Path, links: &mut u32) -> io::Result<Place> {
    let mut here = Place {
        directory: from.try_clone()?,
        name: OsString::from("."),
        there: Some(looked_at(from)?),
    };
    for component in path.components() {
        let name = match component {
            Component::RootDir => {
                here.there = Some(looked_at(root()?)?);
                continue;
            }
            Component::Prefix(_) | Component::CurDir => continue,
            Component::ParentDir => OsStr::new(".."),
            Component::Normal(name) => name,
        };
        let (directory, _) = here.there.ok_or(io::ErrorKind::NotFound)?;
        here = step(directory, name, links)?;
    }
    Ok(here)
}

fn step(directory: OwnedFd, name: &OsStr, links: &mut u32) -> io::Result<Place> {
    let there = match rustix::fs::openat(&directory, name, place_only(), Mode::empty()) {
        Ok(found) => Some(looked_at(found)?),
        Err(rustix::io::Errno::NOENT) => None,
        Err(error) => return Err(error.into()),
    };
    let link = there
        .as_ref()
        .filter(|(_, seen)| FileType::from_raw_mode(seen.st_mode) == FileType::Symlink);
    let Some((link, seen)) = link else {
        return Ok(Place {
            directory,
            name: name.to_owned(),
            there,
        });
    };
    *links += 1;
    if *links > LINKS_MAX {
        return Err(rustix::io::Errno::LOOP.into());
    }
    let target = rustix::fs::readlinkat(link, "", Vec::new())?;
    let target = PathBuf::from(OsStr::from_bytes(target.as_bytes()));
    let found = walk(directory, &target, links)?;
    let Some((_, target_seen)) = &found.there else {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!(
                "the link `{}` leads to `{}`, which does not exist",
                name.display(),
                target.display()
            ),
        ));
    };
    let (owner, target_owner) = (seen.st_uid, target_seen.st_uid);
    if owner != target_owner && !is_trusted(owner) {
        return Err(io::Error::other(format!(
            "the link `{}` belongs to the user {owner} and leads to `{}` of the user {target_owner}; cutover follows links only of root or of the owner of what they lead to: run `chown -h root` for the link, or name its target",
            name.display(),
            target.display()
        )));
    }
    Ok(found)
}

/// Whether this user decides anyway what this process does.
fn is_trusted(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}

fn looked_at(found: OwnedFd) -> io::Result<(OwnedFd, Stat)> {
    let seen = rustix::fs::fstat(&found)?;
    Ok((found, seen))
}

fn root() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/", place_only(), Mode::empty())?)
}

fn place_only() -> OFlags {
    OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC
}
