//! The root of a server, made inside the mount namespace of the process that becomes its systemd.
//!
//! ```text
//! machine's own root, read only ─┐
//! a layer in memory ─────────────┴─ overlay ── empty places: /run, /tmp, /root, units, generators, …
//!                                          ── /dev, /sys, control groups
//!                                          ── Docker and its units, as Debian's packages install them
//! ```

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::groups::Hierarchies;
use super::{INIT, SYSTEMD};
use crate::engine::cgroup;
use crate::engine::command::output_of;
use crate::engine::packages::Packages;

/// Where everything is put together; every Debian has this directory.
const WORKSHOP: &str = "/mnt";
/// What the server has for itself: empty at first, in memory.
const EMPTY: [&str; 16] = [
    "/etc/docker",
    "/etc/systemd/system",
    "/home",
    "/opt",
    "/root",
    "/run",
    "/srv",
    "/tmp",
    "/usr/lib/systemd",
    "/usr/libexec/docker",
    "/usr/local",
    "/var/lib",
    "/var/log",
    "/var/tmp",
    "/dev",
    "/sys",
];
/// The devices of a container.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// The links in `/dev`, and where they lead.
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// The units of systemd that the server has. Everything else of a machine (devices, consoles, logins,
/// time) belongs to the machine that the test runs on.
const UNITS: [&str; 19] = [
    "basic.target",
    "final.target",
    "local-fs.target",
    "multi-user.target",
    "network-online.target",
    "network.target",
    "paths.target",
    "poweroff.target",
    "shutdown.target",
    "slices.target",
    "sockets.target",
    "sysinit.target",
    "systemd-journald-dev-log.socket",
    "systemd-journald.service",
    "systemd-journald.socket",
    "systemd-poweroff.service",
    "timers.target",
    "umount.target",
    "rescue.target",
];
/// What administrators call.
const SYSTEMD_PROGRAMS: [&str; 3] = ["journalctl", "systemctl", "systemd-analyze"];
/// Docker's programs, and where Debian installs them.
const PROGRAMS: [(&str, &str); 13] = [
    ("containerd", "/usr/bin"),
    ("containerd-shim-runc-v2", "/usr/bin"),
    ("docker", "/usr/bin"),
    ("docker-compose", "/usr/libexec/docker/cli-plugins"),
    ("docker-init", "/usr/sbin"),
    ("docker-proxy", "/usr/sbin"),
    ("dockerd", "/usr/sbin"),
    ("ip6tables", "/usr/sbin"),
    ("ip6tables-restore", "/usr/sbin"),
    ("iptables", "/usr/sbin"),
    ("iptables-restore", "/usr/sbin"),
    ("iptables-save", "/usr/sbin"),
    ("runc", "/usr/sbin"),
];
/// Docker's units, and which package has them.
const DOCKER_UNITS: [(&str, &str); 3] = [
    ("docker.io", "docker.service"),
    ("docker.io", "docker.socket"),
    ("containerd", "containerd.service"),
];
/// systemd, over the bus that the server does not have, would have to make Docker's groups.
const DAEMON_JSON: &str = "{ \"exec-opts\": [\"native.cgroupdriver=cgroupfs\"] }\n";

/// Makes the root and moves the process, and with it its whole mount namespace, into it.
pub(super) fn build(process: u32, packages: &Packages, hierarchies: &Hierarchies) -> Result<()> {
    let namespace = MountNamespace { process, packages };
    namespace.mount("tmpfs", "mode=755", WORKSHOP)?;
    let at = |part: &str| format!("{WORKSHOP}/{part}");
    for part in ["upper", "work", "root"] {
        fs::create_dir(namespace.path(&at(part)))?;
    }
    let layers = format!("lowerdir=/,upperdir={},workdir={}", at("upper"), at("work"));
    namespace.mount("overlay", &layers, &at("root"))?;
    let root = Root {
        namespace: &namespace,
        prefix: at("root"),
    };
    root.empty()?;
    root.kernel(hierarchies)?;
    root.devices()?;
    root.packages()?;
    root.systemd()?;
    root.docker()?;
    root.enter()
}

/// The mount namespace of a process, worked on from outside.
struct MountNamespace<'a> {
    process: u32,
    packages: &'a Packages,
}

impl MountNamespace<'_> {
    /// Where a path of the namespace is found from outside.
    fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.process))
    }

    fn mount(&self, kind: &str, options: &str, place: &str) -> Result<()> {
        let mut words = vec!["mount", "-t", kind];
        if !options.is_empty() {
            words.extend(["-o", options]);
        }
        words.extend(["cutover", place]);
        self.run(&words)
    }

    fn bind(&self, what: &str, place: &str) -> Result<()> {
        self.run(&["mount", "-o", "bind", what, place])
    }

    /// Runs a command of busybox, which needs neither libraries nor `/proc`.
    fn run(&self, words: &[&str]) -> Result<()> {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.process))
            .args(["--mount", "--cgroup", "--"])
            .arg(self.packages.program("busybox"))
            .args(words);
        output_of(&mut command)
            .map(drop)
            .with_context(|| format!("a server could not be made: {}", words.join(" ")))
    }
}

/// The root while it is made.
struct Root<'a> {
    namespace: &'a MountNamespace<'a>,
    prefix: String,
}

impl Root<'_> {
    /// A path of the server, in the mount namespace.
    fn inside(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// A path of the server, from outside.
    fn path(&self, path: &str) -> PathBuf {
        self.namespace.path(&self.inside(path))
    }

    fn mount(&self, kind: &str, options: &str, place: &str) -> Result<()> {
        fs::create_dir_all(self.path(place))?;
        self.namespace.mount(kind, options, &self.inside(place))
    }

    fn write(&self, place: &str, text: &str) -> Result<()> {
        let path = self.path(place);
        fs::create_dir_all(path.parent().context("a file in no directory")?)?;
        fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))
    }

    /// Makes a link in a directory of the server, in place of what is there.
    fn link(&self, target: &Path, place: &str) -> Result<()> {
        let path = self.path(place);
        fs::create_dir_all(path.parent().context("a link in no directory")?)?;
        drop(fs::remove_file(&path));
        symlink(target, &path).with_context(|| format!("{} cannot be made", path.display()))
    }

    fn empty(&self) -> Result<()> {
        for place in EMPTY {
            let mode = if place.ends_with("/tmp") {
                "mode=1777"
            } else {
                "mode=755"
            };
            self.mount("tmpfs", mode, place)?;
        }
        fs::create_dir(self.path("/usr/local/bin"))?;
        let cutover = self.path("/etc/cutover");
        if cutover.exists() {
            fs::remove_dir_all(cutover)?;
        }
        self.write("/etc/machine-id", "00000000000000000000000000c07043\n")?;
        let groups = fs::read_to_string(self.path("/etc/group"))?;
        if !groups.lines().any(|line| line.starts_with("docker:")) {
            self.write("/etc/group", &format!("{groups}docker:x:899:\n"))?;
        }
        Ok(())
    }

    fn kernel(&self, hierarchies: &Hierarchies) -> Result<()> {
        self.mount("sysfs", "", "/sys")?;
        let root = Path::new(cgroup::ROOT);
        if hierarchies.iter().all(|hierarchy| hierarchy.place != root) {
            self.mount("tmpfs", "mode=755", cgroup::ROOT)?;
        }
        for hierarchy in hierarchies.iter() {
            let place = hierarchy.place.to_string_lossy();
            self.mount(&hierarchy.kind, &hierarchy.options, &place)?;
        }
        Ok(())
    }

    fn devices(&self) -> Result<()> {
        for device in DEVICES {
            let place = format!("/dev/{device}");
            self.write(&place, "")?;
            self.namespace.bind(&place, &self.inside(&place))?;
        }
        self.mount("devpts", "newinstance,ptmxmode=0666,mode=620", "/dev/pts")?;
        self.mount("tmpfs", "mode=1777", "/dev/shm")?;
        for (name, target) in DEVICE_LINKS {
            self.link(Path::new(target), &format!("/dev/{name}"))?;
        }
        Ok(())
    }

    /// The packages, where they are outside, which may be another file system.
    fn packages(&self) -> Result<()> {
        let place = self.namespace.packages.dir().display().to_string();
        fs::create_dir_all(self.path(&place))?;
        self.namespace.bind(&place, &self.inside(&place))
    }

    /// systemd and its libraries, with the units that the server has.
    fn systemd(&self) -> Result<()> {
        let packages = self.namespace.packages;
        let first = packages.file("systemd", "lib/systemd/systemd")?;
        let directory = first.parent().context("a program in no directory")?;
        for entry in fs::read_dir(directory)?.flatten() {
            if entry.file_type()?.is_file() {
                let name = entry.file_name();
                let place = format!("/usr/lib/systemd/{}", name.to_string_lossy());
                self.link(&entry.path(), &place)?;
            }
        }
        for program in SYSTEMD_PROGRAMS {
            let target = packages.file("systemd", &format!("bin/{program}"))?;
            self.link(&target, &format!("/usr/bin/{program}"))?;
        }
        for unit in UNITS {
            let from = packages.file("systemd", &format!("lib/systemd/system/{unit}"))?;
            self.unit(&from)?;
        }
        self.libraries()?;
        self.want("sysinit.target", "systemd-journald.service")?;
        self.link(Path::new(SYSTEMD), INIT)
    }

    /// The libraries that the machine does not have itself. Its own are as good where they have the same
    /// name, and what else is on the machine needs them.
    fn libraries(&self) -> Result<()> {
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        for library in self.namespace.packages.libraries()? {
            let files = match fs::read_dir(&library) {
                Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
                Err(_) => vec![library.clone()],
            };
            for file in files {
                let inside = file.strip_prefix(library.parent().unwrap_or(&library))?;
                let place = format!("/usr/lib/{triplet}/{}", inside.display());
                if self.path(&place).symlink_metadata().is_err() {
                    self.link(&file, &place)?;
                }
            }
        }
        Ok(())
    }

    fn docker(&self) -> Result<()> {
        let packages = self.namespace.packages;
        for (program, directory) in PROGRAMS {
            let target = packages.program(program);
            let place = format!("{directory}/{program}");
            if program == "docker-compose" {
                // cutover runs it from its sandbox, which has a `/tmp` and homes of its own: a link into a
                // clone that is there would lead nowhere.
                drop(fs::remove_file(self.path(&place)));
                self.write(&place, "")?;
                let target = target.display().to_string();
                self.namespace.bind(&target, &self.inside(&place))?;
            } else {
                self.link(&target, &place)?;
            }
        }
        for (package, unit) in DOCKER_UNITS {
            self.unit(&packages.file(package, &format!("lib/systemd/system/{unit}"))?)?;
        }
        // Installed, the packages need no environment to find their libraries.
        let environment: String = packages
            .environment()
            .into_iter()
            .filter(|(name, _)| *name != "PATH")
            .map(|(name, value)| format!("Environment={name}={}\n", value.display()))
            .collect();
        for unit in ["docker", "containerd"] {
            self.write(
                &format!("/etc/systemd/system/{unit}.service.d/libraries.conf"),
                &format!("[Service]\n{environment}"),
            )?;
        }
        self.write("/etc/docker/daemon.json", DAEMON_JSON)?;
        self.want("multi-user.target", "docker.service")
    }

    /// Installs a unit.
    fn unit(&self, from: &Path) -> Result<()> {
        let name = from.file_name().context("a unit without a name")?;
        let text = fs::read_to_string(from)
            .with_context(|| format!("{} cannot be read", from.display()))?;
        let place = format!("/usr/lib/systemd/system/{}", name.to_string_lossy());
        self.write(&place, &text)
    }

    /// Enables a unit.
    fn want(&self, target: &str, unit: &str) -> Result<()> {
        let from = Path::new("/usr/lib/systemd/system").join(unit);
        let place = format!("/etc/systemd/system/{target}.wants/{unit}");
        self.link(&from, &place)
    }

    /// Leaves the machine's own root for this one.
    fn enter(&self) -> Result<()> {
        let old = "/mnt/old";
        fs::create_dir_all(self.path(old))?;
        self.namespace
            .run(&["pivot_root", &self.prefix, &self.inside(old)])?;
        self.namespace.run(&["umount", "-l", old])?;
        // As on every machine that runs systemd, which relies on it to hand credentials to a service.
        self.namespace.run(&["mount", "--make-rshared", "/"])
    }
}
