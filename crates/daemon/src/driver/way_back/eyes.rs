//! Which of the machine's files this process sees as Docker does.
//!
//! As a unit of systemd, cutover has a `/tmp` and a `/dev` of its own, and may have more hidden from it. What
//! is hidden is told by the mounts of this process.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use super::kind::Kind;

/// As many as Linux follows.
const LINKS_MAX: usize = 40;

/// How the directory is called under which systemd makes a private `/tmp`.
const PRIVATE: &str = "systemd-private-";

/// Where systemd has what it puts over an inaccessible path.
const INACCESSIBLE: &str = "/systemd/inaccessible/";

/// Where `ProtectHome=tmpfs` puts an empty file system.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];

/// What is to be seen at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Something of this kind.
    Present(Kind),
    /// Nothing.
    Gone,
    /// Hidden from this process, or it cannot be asked.
    Unknown,
}

/// A look at the machine's files, with what is hidden from it.
#[derive(Debug)]
pub(super) struct Eyes {
    hidden: Vec<PathBuf>,
}

impl Eyes {
    /// Those of this process; none if its mounts cannot be read.
    pub(super) fn of_this_process() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        Some(Self {
            hidden: mounts.lines().filter_map(hidden).collect(),
        })
    }

    /// What is at `path`, links followed.
    pub(super) fn look(&self, path: &Path) -> Seen {
        // Where a link leads into what is hidden, so is what it leads to.
        let Some(place) = resolved(path) else {
            return Seen::Unknown;
        };
        if self.hidden.iter().any(|hidden| place.starts_with(hidden)) {
            return Seen::Unknown;
        }
        match fs::metadata(path) {
            Ok(found) => Seen::Present(Kind::of(found.file_type())),
            Err(error) if is_absence(&error) => Seen::Gone,
            Err(_) => Seen::Unknown,
        }
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// The mount point of a line of `/proc/self/mountinfo`, if it hides what others see there.
fn hidden(line: &str) -> Option<PathBuf> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (fields.next()?, unescaped(fields.next()?));
    let file_system = file_system.split(' ').next()?;
    let own = root.contains(PRIVATE)
        || root.contains(INACCESSIBLE)
        || (point == Path::new("/dev") && file_system != "devtmpfs")
        || (HOMES.iter().any(|home| point == Path::new(home)) && file_system == "tmpfs");
    own.then_some(point)
}

/// A path of `/proc/self/mountinfo`, in which spaces and the like are `\040`.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match escaped {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

/// Where `path` leads, whether anything is there or not; none if that cannot be told.
fn resolved(path: &Path) -> Option<PathBuf> {
    let mut reached = PathBuf::from("/");
    let mut rest: Vec<OsString> = parts(path);
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == ".." {
            reached.pop();
            continue;
        }
        let next = reached.join(&part);
        match fs::read_link(&next) {
            Ok(target) => {
                links += 1;
                if links > LINKS_MAX {
                    return None;
                }
                if target.is_absolute() {
                    reached = PathBuf::from("/");
                }
                rest.extend(parts(&target));
            }
            // Not a link, or not there.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput || is_absence(&error) => {
                reached = next;
            }
            Err(_) => return None,
        }
    }
    Some(reached)
}

/// The parts of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().rev().filter_map(|part| match part {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_unit_of_systemd_does_not_see_what_it_has_of_its_own() {
        for (line, expected) in [
            // PrivateTmp.
            (
                "300 280 8:1 /tmp/systemd-private-0a-cutover.service-x/tmp /tmp rw - ext4 /dev/sda1 rw",
                Some("/tmp"),
            ),
            (
                "301 280 8:1 /var/tmp/systemd-private-0a-cutover.service-y/tmp /var/tmp rw shared:1 - ext4 /dev/sda1 rw",
                Some("/var/tmp"),
            ),
            // PrivateDevices, and the machine's own.
            (
                "302 280 0:60 / /dev rw,nosuid - tmpfs tmpfs rw,size=4096k",
                Some("/dev"),
            ),
            ("22 27 0:6 / /dev rw,relatime - devtmpfs devtmpfs rw", None),
            // ProtectKernelModules, ProtectHome=yes and =tmpfs, and a home on a disk.
            (
                "303 280 0:25 /systemd/inaccessible/dir /usr/lib/modules ro - tmpfs tmpfs rw",
                Some("/usr/lib/modules"),
            ),
            (
                "304 280 0:25 /systemd/inaccessible/dir /srv/a\\040b ro - tmpfs tmpfs rw",
                Some("/srv/a b"),
            ),
            ("305 280 0:70 / /home ro - tmpfs tmpfs rw", Some("/home")),
            ("306 280 8:2 / /home rw - ext4 /dev/sda2 rw", None),
            // ProtectSystem=full leaves everything visible.
            ("307 280 8:1 /usr /usr ro - ext4 /dev/sda1 rw", None),
            ("27 1 254:0 / / rw,relatime - ext4 /dev/vda rw", None),
            ("28 27 0:30 / /tmp rw - tmpfs tmpfs rw", None),
            ("nonsense", None),
        ] {
            assert_eq!(hidden(line).as_deref(), expected.map(Path::new), "{line}");
        }
    }

    #[test]
    fn what_is_hidden_is_unknown_also_behind_a_link() {
        let directory = tempfile::tempdir().expect("a directory");
        let directory = fs::canonicalize(directory.path()).expect("there");
        let secret = directory.join("hidden");
        let eyes = Eyes {
            hidden: vec![secret.clone()],
        };
        symlink(secret.join("x"), directory.join("absolute")).expect("a link");
        symlink("hidden/../hidden/x", directory.join("relative")).expect("a link");
        symlink("gone", directory.join("dangling")).expect("a link");
        symlink("around", directory.join("around")).expect("a link");
        fs::write(directory.join("file"), "").expect("a file");
        symlink("file", directory.join("link")).expect("a link");
        for (name, expected) in [
            ("hidden/x", Seen::Unknown),
            ("absolute", Seen::Unknown),
            ("relative/y", Seen::Unknown),
            ("around", Seen::Unknown),
            ("hidden-not", Seen::Gone),
            ("dangling", Seen::Gone),
            ("file/below", Seen::Gone),
            ("file", Seen::Present(Kind::File)),
            ("link", Seen::Present(Kind::File)),
            (".", Seen::Present(Kind::Directory)),
        ] {
            assert_eq!(eyes.look(&directory.join(name)), expected, "{name}");
        }
    }

    #[test]
    fn this_process_sees_the_root_of_the_machine() {
        let eyes = Eyes::of_this_process().expect("readable");
        assert_eq!(eyes.look(Path::new("/")), Seen::Present(Kind::Directory));
        assert_eq!(eyes.look(Path::new("/nonexistent/file")), Seen::Gone);
    }
}
