//! A small file system for an engine or for its images, which can be filled and freed while Docker runs.
//!
//! It is in memory, and full because its size is set to what is in it: filling it takes no room anywhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// Room for an engine, some images, and what must be free before a pull. Only what is used takes memory.
const SIZE_BYTES: u64 = 768 << 20;

/// Docker writes while it is filled: then there is more in it than a moment before.
const FILL_ATTEMPTS: u32 = 50;

/// A small file system in memory. Dropping it unmounts it.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
    /// Where it is a directory of its own, that one.
    _directory: Option<TempDir>,
}

impl SmallDisk {
    /// Mounts an empty one, in a directory whose path is short enough for an engine.
    ///
    /// # Errors
    /// If it cannot be mounted.
    pub fn mount() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("cut").tempdir_in("/tmp")?;
        let mut disk = Self::mount_at(directory.path())?;
        disk._directory = Some(directory);
        Ok(disk)
    }

    /// Mounts an empty one at `path`, such as where an engine that is yet to be started will keep its images.
    ///
    /// # Errors
    /// If it cannot be mounted.
    pub fn mount_at(path: &Path) -> Result<Self> {
        fs::create_dir_all(path)?;
        let disk = Self {
            path: path.to_owned(),
            _directory: None,
        };
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={SIZE_BYTES}"), "tmpfs"]);
        let status = mount.arg(disk.path()).status().context("mount")?;
        ensure!(status.success(), "a file system in memory: {status}");
        Ok(disk)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves so many bytes free.
    ///
    /// # Errors
    /// If that cannot be had.
    pub fn fill_but(&self, left_bytes: u64) -> Result<()> {
        for _ in 0..FILL_ATTEMPTS {
            let room = rustix::fs::statvfs(self.path())?;
            let used_bytes = (room.f_blocks - room.f_bfree) * room.f_frsize;
            if self.resize(used_bytes + left_bytes)? {
                return Ok(());
            }
        }
        anyhow::bail!("what is on the disk grows too fast to fill it")
    }

    /// Gives it its first size back.
    ///
    /// # Errors
    /// If that is refused.
    pub fn free(&self) -> Result<()> {
        ensure!(self.resize(SIZE_BYTES)?, "the disk cannot be freed");
        Ok(())
    }

    /// Returns whether the kernel took it: it refuses a size below what is used.
    fn resize(&self, bytes: u64) -> Result<bool> {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={bytes}")]);
        let output = mount.arg(self.path()).output().context("mount")?;
        Ok(output.status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // There is nobody to tell, and a panic in a drop would hide the test's own failure.
        drop(
            Command::new("umount")
                .arg("--lazy")
                .arg(self.path())
                .status(),
        );
    }
}
