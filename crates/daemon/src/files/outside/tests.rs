//! Run as root: whose file it is matters here.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::XattrFlags;

use super::*;

/// A user who may do less than root.
const USER: u32 = 4242;

struct World {
    dir: tempfile::TempDir,
}

/// A directory of root with a file `victim` that is root's alone, and a directory `site` of the user.
fn world() -> World {
    let world = World {
        dir: tempfile::tempdir().expect("a directory"),
    };
    world.write("victim", "precious\n");
    fs::create_dir(world.path("site")).expect("made");
    chown(world.path("site"), Some(USER), Some(USER)).expect("run as root");
    world
}

impl World {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode");
        path
    }

    /// A file of the user.
    fn write_own(&self, name: &str, content: &str) -> PathBuf {
        let path = self.write(name, content);
        chown(&path, Some(USER), Some(USER)).expect("run as root");
        path
    }

    fn link(&self, name: &str, target: &str, owner: u32) -> PathBuf {
        let path = self.path(name);
        symlink(target, &path).expect("linked");
        lchown(&path, Some(owner), Some(owner)).expect("run as root");
        path
    }

    fn content(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("readable")
    }

    fn assert_victim_is_untouched(&self) {
        assert_eq!(self.content("victim"), "precious\n");
        let victim = fs::metadata(self.path("victim")).expect("there");
        assert_eq!((victim.uid(), victim.mode() & 0o777), (0, 0o600));
    }
}

fn append(path: &Path) -> io::Result<()> {
    change(path, |bytes| Some([bytes, b"TAG=1\n"].concat()))
}

fn refused(path: &Path, why: &str) {
    for said in [
        read(path).map(drop).expect_err("not read"),
        append(path).expect_err("not changed"),
        rehearse(path).map(drop).expect_err("not rehearsed"),
    ] {
        assert!(said.to_string().contains(why), "{said}");
    }
}

#[test]
fn a_link_of_a_user_to_a_file_of_root_is_not_followed() {
    let world = world();
    refused(
        &world.link("site/.env", "../victim", USER),
        "belongs to the user 4242",
    );
    // Nor through a directory.
    world.link("site/current", "..", USER);
    refused(
        &world.path("site/current/victim"),
        "belongs to the user 4242",
    );
    world.assert_victim_is_untouched();
}

#[test]
fn a_link_of_the_targets_owner_or_of_root_is_followed_and_stays_a_link() {
    let world = world();
    world.write_own("site/shared.env", "A=1\n");
    let own = world.link("site/.env", "shared.env", USER);
    let roots = world.link("roots", "site", 0);
    append(&own).expect("changed");
    append(&roots.join(".env")).expect("changed");
    assert_eq!(world.content("site/shared.env"), "A=1\nTAG=1\nTAG=1\n");
    let target = fs::metadata(&own).expect("there");
    assert_eq!((target.uid(), target.mode() & 0o777), (USER, 0o600));
    assert!(own.is_symlink());
}

#[test]
fn a_link_that_leads_nowhere_is_named_and_stays() {
    let world = world();
    let link = world.link("site/.env", "gone", USER);
    refused(&link, "leads to `gone`, which does not exist");
    assert!(link.is_symlink());
    refused(&world.link("site/round", "round", USER), "symbolic link");
}

#[test]
fn the_victim_stays_what_it_was_while_its_name_is_put_in_place_and_away() {
    let world = world();
    let (env, file) = (world.path("site/.env"), world.path("site/file"));
    world.link("site/link", "../victim", USER);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                fs::write(&file, "A=1\n").expect("written");
                chown(&file, Some(USER), Some(USER)).expect("run as root");
                fs::rename(&file, &env).expect("renamed");
                symlink("../victim", &file).expect("linked");
                lchown(&file, Some(USER), Some(USER)).expect("run as root");
                fs::rename(&file, &env).expect("renamed");
            }
        });
        let changed = (0..500).filter(|_| append(&env).is_ok()).count();
        ended.store(true, Ordering::Relaxed);
        assert!(changed < 500, "the link was met");
    });
    world.assert_victim_is_untouched();
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let world = world();
    let pipe = world.path("site/.env");
    let made = Command::new("mkfifo").arg(&pipe).status().expect("started");
    assert!(made.success());
    refused(&pipe, "it is a named pipe");
    fs::create_dir(world.path("site/dir")).expect("made");
    refused(&world.path("site/dir"), "it is a directory");
    refused(Path::new("/dev/zero"), "it is a device");
    let long = world.path("site/long");
    let file = File::create(&long).expect("made");
    file.set_len(LEN_MAX + 1).expect("long");
    refused(&long, "more than 1024 KiB");
}

#[test]
fn a_file_with_two_names_is_changed_under_both() {
    let world = world();
    let env = world.write_own("site/.env", "A=1\n");
    fs::hard_link(&env, world.path("site/other")).expect("linked");
    assert_eq!(rehearse(&env).expect("possible"), Way::InPlace);
    append(&env).expect("changed");
    change(&env, |_| Some(b"B=2\n".to_vec())).expect("made shorter");
    assert_eq!(world.content("site/other"), "B=2\n");
    // A second name that the user may have given to a file of root.
    fs::hard_link(world.path("victim"), world.path("site/hard")).expect("linked");
    refused(&world.path("site/hard"), "second name");
    world.assert_victim_is_untouched();
}

#[test]
fn access_list_and_attributes_stay_with_a_file_that_is_replaced() {
    let world = world();
    let env = world.write_own("site/.env", "A=1\n");
    // Version 2; owner rw, the user 33 r, group none, mask r, others none.
    let entries: [(u16, u16, u32); 5] = [
        (0x01, 6, u32::MAX),
        (0x02, 4, 33),
        (0x04, 0, u32::MAX),
        (0x10, 4, u32::MAX),
        (0x20, 0, u32::MAX),
    ];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    let (acl, note) = ("system.posix_acl_access", "user.note");
    rustix::fs::setxattr(&env, acl, &list, XattrFlags::empty()).expect("access lists");
    rustix::fs::setxattr(&env, note, b"keep", XattrFlags::empty()).expect("attributes");
    let before = fs::metadata(&env).expect("there");
    assert_eq!(rehearse(&env).expect("possible"), Way::Replaced);
    append(&env).expect("changed");
    let after = fs::metadata(&env).expect("there");
    assert_ne!(before.ino(), after.ino(), "replaced as a whole");
    assert_eq!((after.uid(), after.mode()), (before.uid(), before.mode()));
    for (name, expected) in [(acl, list.as_slice()), (note, b"keep")] {
        let mut value = vec![0; 256];
        let len = rustix::fs::getxattr(&env, name, value.as_mut_slice()).expect("there");
        assert_eq!(&value[..len], expected);
    }
    // What its directory gives to new files is not given to one that had no list.
    let default = "system.posix_acl_default";
    rustix::fs::setxattr(world.path("site"), default, &list, XattrFlags::empty()).expect("set");
    let plain = world.write_own("site/plain", "A=1\n");
    rustix::fs::removexattr(&plain, acl).expect("it had the directory's");
    append(&plain).expect("changed");
    rustix::fs::getxattr(&plain, acl, [0; 256].as_mut_slice()).expect_err("no list");
}

#[test]
fn a_mount_point_is_written_in_its_place() {
    let world = world();
    let (source, env) = (world.write("source", "A=1\n"), world.write("env", ""));
    let mount = |arguments: &[&str]| {
        let mut command = Command::new(arguments[0]);
        command.args(&arguments[1..]).arg(&env);
        assert!(command.status().expect("started").success());
    };
    mount(&["mount", "--bind", &source.display().to_string()]);
    let changed = append(&env);
    mount(&["mount", "-o", "remount,bind,ro"]);
    let read_only = rehearse(&env).map_err(|error| Errno::from_io_error(&error));
    let refused = append(&env).map_err(|error| Errno::from_io_error(&error));
    mount(&["umount"]);
    changed.expect("changed");
    assert_eq!(world.content("source"), "A=1\nTAG=1\n");
    assert_eq!(read_only, Err(Some(Errno::ROFS)));
    assert_eq!(refused, Err(Some(Errno::ROFS)));
}

#[test]
fn a_new_file_belongs_to_the_directorys_owner_and_a_rehearsal_leaves_nothing() {
    let world = world();
    let env = world.path("site/.env");
    assert_eq!(rehearse(&env).expect("possible"), Way::Replaced);
    assert_eq!(fs::read_dir(world.path("site")).expect("there").count(), 0);
    assert_eq!(read(&env).expect("looked"), None);
    append(&env).expect("made");
    let made = fs::metadata(&env).expect("there");
    assert_eq!((made.uid(), made.mode() & 0o777), (USER, 0o600));
    assert_eq!(world.content("site/.env"), "TAG=1\n");
    assert_eq!(fs::read_dir(world.path("site")).expect("there").count(), 1);
}

#[test]
fn a_file_in_a_users_directory_is_written_with_the_rights_of_that_user() {
    let world = world();
    let env = world.write_own("site/.env", "TAG=1\n");
    let inode = |path: &Path| fs::metadata(path).expect("there").ino();
    let first = inode(&env);
    append(&env).expect("their directory");
    let second = inode(&env);
    assert_ne!(first, second, "it is replaced");
    // What the user could not do is not done for them: the file itself is still theirs to write.
    fs::set_permissions(world.path("site"), Permissions::from_mode(0o555)).expect("a mode");
    assert_eq!(rehearse(&env).expect("possible"), Way::InPlace);
    append(&env).expect("their file");
    assert_eq!(inode(&env), second);
    let refused = append(&world.path("site/new")).expect_err("not their directory to write");
    assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
}
