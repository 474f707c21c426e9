//! The files that a configuration names: do they exist, are they what they should be.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path};

use rustix::fs::OFlags;

/// Opens a regular file for reading, without waiting: a pipe in its place cannot hang the daemon's start.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}

/// Who owns an open file that decides what runs here, if that is neither root nor the user of this process.
pub(super) fn foreign_owner(file: &File) -> Option<u32> {
    let owner = file.metadata().ok()?.uid();
    (owner != 0 && owner != rustix::process::geteuid().as_raw()).then_some(owner)
}

/// Whether an absolute path may be meant as one, also if nothing is there: it leads through a directory of
/// `/` that exists. A secret in base64 may begin with `/` as well, and must not be printed as a wrong path.
pub(super) fn is_likely_path(path: &Path) -> bool {
    let mut names = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_)));
    let (first, second) = (names.next(), names.next());
    let through = first.map(|first| Path::new("/").join(first));
    path.exists() || second.is_some() && through.is_some_and(|through| through.is_dir())
}

/// Why a file could not be used, as a fragment.
pub(super) fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::NotADirectory => "a part of its path is not a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// What to do about it.
pub(super) fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "create it, or correct the path",
        io::ErrorKind::PermissionDenied => "run this as the user of the daemon, or as root",
        _ => "correct the path",
    }
}
