//! A disk that is too small for the next image: refused before anything is fetched or stopped.

use std::path::Path;
use std::process::Command;

use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{Scene, Wishes};

use crate::{CUTOVER, identity, on_own_engine_in};

/// Room for an engine, an image and what must be free before a pull.
const SIZE: &str = "size=768m";

/// What is left free: less than must be free before a pull.
const LEFT_BYTES: u64 = 64 << 20;

/// The file that takes the room.
const FILLER: &str = "full";

/// A small file system in memory. Dropping it unmounts it.
pub(crate) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    pub(crate) fn mount() -> Self {
        let directory = tempfile::Builder::new().prefix("cut").tempdir_in("/tmp");
        let disk = Self(directory.expect("a directory"));
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]);
        assert!(mount.arg(disk.path()).status().expect("mount").success());
        disk
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all of it but `left` bytes.
    pub(crate) fn fill(&self, left: u64) {
        let free = rustix::fs::statvfs(self.path()).expect("numbers");
        let free = free.f_bavail * free.f_frsize;
        let file = std::fs::File::create(self.path().join(FILLER)).expect("a file");
        let taken = free.checked_sub(left).expect("enough room");
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, taken)
            .expect("takes the room");
    }

    /// Gives back what [`Self::fill`] took.
    pub(crate) fn free(&self) {
        std::fs::remove_file(self.path().join(FILLER)).expect("the file goes");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut unmount = Command::new("umount");
        let unmounted = unmount.arg("--lazy").arg(self.path()).status();
        // A second panic would hide why the test failed.
        if !std::thread::panicking() {
            assert!(unmounted.is_ok_and(|status| status.success()), "umount");
        }
    }
}

#[test]
fn an_image_that_the_disk_has_no_room_for_changes_nothing() {
    let disk = SmallDisk::mount();
    on_own_engine_in(disk.path(), |engine| {
        let socket = engine.socket();
        let mut scene = Scene::new(
            CUTOVER,
            &Wishes {
                docker: Some(&socket),
                ..Wishes::default()
            },
        );
        let good = scene.push(&ImageSpec::new("good"));
        let next = scene.push(&ImageSpec::new("next"));
        drop(scene.deploy(&good).expect("succeeded"));
        let before = identity(&scene);
        disk.fill(LEFT_BYTES);
        let (status, problem) = scene.post(&next);
        assert_eq!(status, 507, "{problem:#}");
        assert_eq!(problem["code"], "insufficient_storage");
        assert_eq!(problem["deployment"]["nothing_changed"], true);
        assert_eq!(identity(&scene), before);
        assert_eq!(scene.serves(), "good");
    });
}
