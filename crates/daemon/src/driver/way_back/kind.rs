//! Of which kind a mounted path is: on the machine now, and in the container since it was started.
//!
//! In the container it is looked at through one of its processes, which needs as many rights as the container
//! has; the unit of systemd gives cutover fewer, and then the kind is not known.

use std::fmt;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

/// What mounting distinguishes: one kind cannot be mounted where another one was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Socket,
    /// A device or a named pipe.
    Device,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Socket => "socket",
            Self::Device => "device",
        })
    }
}

impl Kind {
    pub(super) fn of(found: fs::FileType) -> Self {
        if found.is_dir() {
            Self::Directory
        } else if found.is_file() {
            Self::File
        } else if found.is_socket() {
            Self::Socket
        } else {
            Self::Device
        }
    }
}

/// The root of a running container's files, seen through a process of it; none if there is none to be seen, or
/// this process may not.
pub(super) fn root_of(container: &str) -> Option<OwnedFd> {
    let processes = fs::read_dir("/proc").ok()?;
    let mut roots = processes.flatten().filter_map(|process| {
        let groups = fs::read_to_string(process.path().join("cgroup")).ok()?;
        if !belongs(&groups, container) {
            return None;
        }
        open_root(&process.path().join("root"))
    });
    roots.next()
}

/// Whether a process with these control groups is one of the container's.
fn belongs(groups: &str, container: &str) -> bool {
    groups.lines().any(|line| {
        let last = line.rsplit('/').next().unwrap_or_default();
        last == container || last.strip_suffix(".scope") == Some(&format!("docker-{container}"))
    })
}

fn open_root(path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).ok()
}

/// The kind of what is at `path` below `root`, whose links do not lead out of it.
pub(super) fn below(root: &OwnedFd, path: &Path) -> Option<Kind> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT);
    let found = rustix::fs::fstat(found.ok()?).ok()?;
    Some(match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::File,
        FileType::Socket => Kind::Socket,
        _ => Kind::Device,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_process_belongs_to_the_container_that_its_control_group_is_called_after() {
        for (groups, expected) in [
            ("0::/docker/c1\n", true),
            ("0::/system.slice/docker-c1.scope\n", true),
            ("12:pids:/shop/c1\n11:cpu:/shop/c1\n", true),
            ("0::/../c1\n", true),
            // In a container of a Docker that runs in the container.
            ("0::/docker/c1/docker/c2\n", false),
            ("0::/docker/c11\n", false),
            ("0::/\n", false),
        ] {
            assert_eq!(belongs(groups, "c1"), expected, "{groups}");
        }
    }

    #[test]
    fn a_containers_links_lead_to_its_own_files() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        fs::create_dir_all(root.join("run/etc")).expect("made");
        fs::write(root.join("run/etc/app.yaml"), "").expect("written");
        let _socket = UnixListener::bind(root.join("run/socket")).expect("bound");
        // As `/var/run` is in most images; on this machine `/run/etc/app.yaml` is another one, or none.
        fs::create_dir(root.join("var")).expect("made");
        symlink("/run", root.join("var/run")).expect("a link");
        symlink("../../../../../etc", root.join("var/out")).expect("a link");
        let opened = open_root(root).expect("there");
        for (path, expected) in [
            ("/var/run/etc/app.yaml", Some(Kind::File)),
            ("/var/run/etc", Some(Kind::Directory)),
            ("/var/run/socket", Some(Kind::Socket)),
            ("/var/out/passwd", None),
            ("/nothing", None),
        ] {
            assert_eq!(below(&opened, Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn kinds_are_told_apart() {
        for (path, expected) in [
            ("/", Kind::Directory),
            ("/proc/self/exe", Kind::File),
            ("/dev/null", Kind::Device),
        ] {
            let found = fs::metadata(path).expect("there").file_type();
            assert_eq!(Kind::of(found), expected, "{path}");
        }
    }

    #[test]
    fn a_container_that_nobody_runs_has_no_root() {
        assert!(root_of("no such container").is_none());
    }
}
