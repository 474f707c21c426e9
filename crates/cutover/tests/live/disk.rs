//! A disk that is too small for the next image: refused before anything is fetched or stopped.

use cutover_testkit::engine::disk::SmallDisk;
use cutover_testkit::images::ImageSpec;
use cutover_testkit::scene::{Scene, Wishes};

use crate::{CUTOVER, identity, on_own_engine_in};

/// What is left free: less than must be free before a pull.
const LEFT_BYTES: u64 = 64 << 20;

#[test]
fn an_image_that_the_disk_has_no_room_for_changes_nothing() {
    let disk = SmallDisk::mount().expect("a disk");
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
        disk.fill_but(LEFT_BYTES).expect("a full disk");
        let (status, problem) = scene.post(&next);
        assert_eq!(status, 507, "{problem:#}");
        assert_eq!(problem["code"], "insufficient_storage");
        assert_eq!(problem["deployment"]["nothing_changed"], true);
        assert_eq!(identity(&scene), before);
        assert_eq!(scene.serves(), "good");
    });
}
