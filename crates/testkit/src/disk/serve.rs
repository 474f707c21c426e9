//! What the kernel asks of the disk.

use std::ffi::OsStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::contents::{Access, Change, Contents, FileId, Synced};

/// The kernel may remember what it was told: nobody but it changes anything.
const REMEMBER: Duration = Duration::from_secs(3600);

/// What is written and read at a time.
const BLOCK: u32 = 4096;

/// How large the disk says that it is, in blocks: nothing here is about a full one.
const BLOCKS: u64 = 1 << 20;

/// A disk in use, and until when it has power.
#[derive(Debug)]
pub(super) struct State {
    contents: Contents,
    changes: u64,
    cut_after: Option<u64>,
}

impl State {
    pub(super) fn new(contents: Contents) -> Self {
        Self {
            contents,
            changes: 0,
            cut_after: None,
        }
    }

    pub(super) fn contents(&self) -> &Contents {
        &self.contents
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// A moment that is past already stays.
    pub(super) fn cut_after(&mut self, changes: u64) {
        self.cut_after = Some(self.cut_after.unwrap_or(changes).min(changes));
    }

    pub(super) fn has_power(&self) -> bool {
        self.cut_after.is_none_or(|cut| self.changes < cut)
    }

    /// The contents, to change or sync them, while there is power.
    fn writable(&mut self) -> Result<&mut Contents, Errno> {
        if !self.has_power() {
            return Err(Errno::EIO);
        }
        self.changes += 1;
        Ok(&mut self.contents)
    }

    fn attributes(&self, ino: INodeNo) -> Result<FileAttr, Errno> {
        if ino == INodeNo::ROOT {
            let access = Access {
                mode: 0o700,
                user: rustix::process::getuid().as_raw(),
                group: rustix::process::getgid().as_raw(),
            };
            return Ok(attributes(ino, FileType::Directory, 0, access));
        }
        let file = self.contents.seen().file(ino.0).ok_or(Errno::ENOENT)?;
        let size = file.bytes.len() as u64;
        Ok(attributes(ino, FileType::RegularFile, size, file.access))
    }

    fn lookup(&self, name: &OsStr) -> Result<FileAttr, Errno> {
        let id = self.contents.seen().find(name).ok_or(Errno::ENOENT)?;
        self.attributes(INodeNo(id))
    }

    fn create(&mut self, name: &OsStr, access: Access) -> Result<FileAttr, Errno> {
        let contents = self.writable()?;
        let (name, file) = (name.to_owned(), contents.new_file());
        contents.change(Change::Link { name, file, access });
        self.attributes(INodeNo(file))
    }

    fn set(
        &mut self,
        ino: INodeNo,
        wanted: (Option<u32>, Option<u32>, Option<u32>),
        size: Option<u64>,
    ) -> Result<FileAttr, Errno> {
        let file: FileId = ino.0;
        let present = self.contents.seen().file(file).ok_or(Errno::ENOENT)?.access;
        let (mode, user, group) = wanted;
        let access = Access {
            mode: mode.map_or(present.mode, permissions),
            user: user.unwrap_or(present.user),
            group: group.unwrap_or(present.group),
        };
        if access != present {
            self.writable()?.change(Change::Allow { file, access });
        }
        if let Some(size) = size {
            let len = place(size)?;
            self.writable()?.change(Change::Resize { file, len });
        }
        self.attributes(ino)
    }

    fn read(&self, ino: INodeNo, offset: u64, size: u32) -> Result<Vec<u8>, Errno> {
        let file = self.contents.seen().file(ino.0).ok_or(Errno::ENOENT)?;
        let begin = place(offset)?.min(file.bytes.len());
        let end = (begin + place(u64::from(size))?).min(file.bytes.len());
        Ok(file.bytes[begin..end].to_vec())
    }

    fn write(&mut self, ino: INodeNo, offset: u64, bytes: &[u8]) -> Result<u32, Errno> {
        let written = u32::try_from(bytes.len()).map_err(|_| Errno::EINVAL)?;
        let (file, offset, bytes) = (ino.0, place(offset)?, bytes.to_vec());
        let change = Change::Write {
            file,
            offset,
            bytes,
        };
        self.writable()?.change(change);
        Ok(written)
    }

    fn unlink(&mut self, name: &OsStr) -> Result<(), Errno> {
        self.lookup(name)?;
        let name = name.to_owned();
        self.writable()?.change(Change::Unlink { name });
        Ok(())
    }

    fn rename(&mut self, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
        self.lookup(from)?;
        let (from, to) = (from.to_owned(), to.to_owned());
        self.writable()?.change(Change::Rename { from, to });
        Ok(())
    }

    fn sync(&mut self, what: Synced) -> Result<(), Errno> {
        self.writable()?.sync(what);
        Ok(())
    }
}

fn place(position: u64) -> Result<usize, Errno> {
    usize::try_from(position).map_err(|_| Errno::EFBIG)
}

/// The permission bits of a mode, which fit in their type.
fn permissions(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).unwrap_or_default()
}

/// Times are of no interest here, so all are the same.
fn attributes(ino: INodeNo, kind: FileType, size: u64, access: Access) -> FileAttr {
    FileAttr {
        ino,
        size,
        blocks: size.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm: access.mode,
        nlink: 1,
        uid: access.user,
        gid: access.group,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}

/// Answers the kernel.
#[derive(Debug)]
pub(super) struct Serving {
    state: Arc<Mutex<State>>,
}

impl Serving {
    pub(super) fn new(state: Arc<Mutex<State>>) -> Self {
        Self { state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer_empty(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

fn answer_attributes(reply: ReplyAttr, result: Result<FileAttr, Errno>) {
    match result {
        Ok(found) => reply.attr(&REMEMBER, &found),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Serving {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.state().lookup(name) {
            Ok(found) => reply.entry(&REMEMBER, &found, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        answer_attributes(reply, self.state().attributes(ino));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        user: Option<u32>,
        group: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        answer_attributes(reply, self.state().set(ino, (mode, user, group), size));
    }

    fn create(
        &self,
        request: &Request,
        _: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let access = Access {
            mode: permissions(mode & !umask),
            user: request.uid(),
            group: request.gid(),
        };
        match self.state().create(name, access) {
            Ok(made) => {
                let flags = FopenFlags::FOPEN_KEEP_CACHE;
                reply.created(&REMEMBER, &made, Generation(0), FileHandle(0), flags);
            }
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.state().read(ino, offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.state().write(ino, offset, bytes) {
            Ok(written) => reply.written(written),
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer_empty(reply, self.state().unlink(name));
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        from: &OsStr,
        _: INodeNo,
        to: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        answer_empty(reply, self.state().rename(from, to));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer_empty(reply, self.state().sync(Synced::File(ino.0)));
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer_empty(reply, self.state().sync(Synced::Names));
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let state = self.state();
        let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
        for (position, (name, id)) in (1..).zip(state.contents.seen().names()).skip(skipped) {
            if reply.add(INodeNo(id), position, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, 0, 0, BLOCK, 255, BLOCK);
    }
}
