//! A disk that loses power: what was not synced is gone, or a part of it is.
//!
//! One directory, served through FUSE from memory. A write, a truncation, a new name, a rename and a removal are
//! seen at once by whoever looks, as in a page cache. They reach the disk when they are synced: the bytes of a file
//! with the file, its name with the directory. [`Mounted::cut_power_after`] lets the disk fail at a chosen call,
//! and [`Mounted::power_cut`] gives back what was on it at that moment.
//!
//! ```text
//!  test ──► kernel ──► serve ──► contents: what is seen, what is on the disk, and the changes between the two
//! ```
//!
//! It promises less than ext4 or XFS do: syncing a file does not make its name durable, and of what was not synced
//! any set of sectors may have been written, in any order. Two things it does not play: a disk that lies about what
//! it has synced, and damage to what has been synced.

mod contents;
mod serve;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fuser::{BackgroundSession, Config, MountOption};
use rustix::mount::{UnmountFlags, unmount};
use tempfile::TempDir;

use contents::{Contents, Tree};
use serve::{Serving, State};

/// Pseudo-random numbers from a seed: the same seed is the same run (splitmix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall as `seed` says.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What a power cut leaves of the changes that were not synced.
#[derive(Debug, Clone)]
pub enum Survives {
    /// None of them.
    Nothing,
    /// Of the bytes any set of sectors; of names, lengths and modes those up to some moment.
    Some(Dice),
}

/// A disk that is not mounted.
#[derive(Debug, Default)]
pub struct Disk {
    tree: Tree,
}

impl Disk {
    /// Mounts the disk, which takes the right to mount: a mount namespace of its own, as root or as root of a user
    /// namespace of its own.
    ///
    /// # Errors
    /// That of the system.
    pub fn mount(self) -> io::Result<Mounted> {
        let directory = tempfile::tempdir()?;
        let state = Arc::new(Mutex::new(State::new(Contents::of(self.tree))));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("cutover-test-disk".to_owned())];
        let serving = Serving::new(Arc::clone(&state));
        let session = fuser::spawn_mount(serving, directory.path(), &config)?;
        Ok(Mounted {
            state,
            directory,
            _session: session,
        })
    }
}

/// A mounted disk.
#[derive(Debug)]
pub struct Mounted {
    state: Arc<Mutex<State>>,
    directory: TempDir,
    _session: BackgroundSession,
}

impl Mounted {
    /// Its directory. There are no directories below it.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// How often something was changed or synced so far.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.state().changes()
    }

    /// From change number `changes` on, counted from the mount, every change and every sync fails and does nothing.
    pub fn cut_power_after(&self, changes: u64) {
        self.state().cut_after(changes);
    }

    /// Whether changes are still taken.
    #[must_use]
    pub fn has_power(&self) -> bool {
        self.state().has_power()
    }

    /// Takes the power away, now or at the moment that was chosen before, and returns what is on the disk. Who has
    /// files open there can still read them, and change nothing.
    #[must_use]
    pub fn power_cut(self, survives: Survives) -> Disk {
        let mut state = self.state();
        state.cut_after(0);
        let tree = state.contents().after_power_cut(survives);
        drop(state);
        Disk { tree }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Mounted {
    /// Detached, because somebody may still have a file open; the kernel ends the rest when that is closed.
    fn drop(&mut self) {
        let _unmounted_with_the_namespace = unmount(self.path(), UnmountFlags::DETACH);
    }
}
