//! The control groups of a server: in each of the machine's hierarchies one group, which looks to the
//! server as if it were the whole. Version 1, version 2 and both side by side are taken as they are found.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::engine::cgroup;

/// The settings without which a version 1 `cpuset` takes no process.
const CPUSET: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// One hierarchy, as the machine has it mounted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Where.
    pub(super) place: PathBuf,
    /// `cgroup` or `cgroup2`.
    pub(super) kind: String,
    /// What to mount it again with: its controllers or its name.
    pub(super) options: String,
}

/// All hierarchies of this machine.
#[derive(Debug)]
pub(super) struct Hierarchies(Vec<Hierarchy>);

impl Hierarchies {
    /// Looks at what is mounted.
    pub(super) fn of_this_machine() -> Result<Self> {
        cgroup::make_room(Path::new(cgroup::ROOT));
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let found: Vec<_> = mounts.lines().filter_map(hierarchy_in).collect();
        ensure!(
            !found.is_empty(),
            "no control groups are mounted below {}",
            cgroup::ROOT
        );
        Ok(Self(found))
    }

    /// All of them, those that hold others first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Hierarchy> {
        self.0.iter()
    }

    /// Moves a process into a new group of this name, everywhere.
    pub(super) fn move_into(&self, group: &str, process: u32) -> Result<()> {
        for hierarchy in &self.0 {
            let group = hierarchy.place.join(group);
            fs::create_dir_all(&group)?;
            for setting in CPUSET {
                let inherited = fs::read_to_string(hierarchy.place.join(setting));
                if let (Ok(inherited), "cgroup") = (inherited, hierarchy.kind.as_str()) {
                    fs::write(group.join(setting), inherited)?;
                }
            }
            fs::write(group.join("cgroup.procs"), process.to_string())
                .with_context(|| format!("a process could not enter {}", group.display()))?;
        }
        Ok(())
    }
}

/// The name of the group of the server in this directory.
pub(super) fn name_of(dir: &Path) -> String {
    cgroup::name_of(dir)
}

/// Removes the empty groups of the server in this directory.
pub(super) fn remove(dir: &Path) {
    cgroup::remove(Path::new(cgroup::ROOT), dir);
}

/// The hierarchy that a line of `mountinfo` is about, if it is about one:
/// `31 23 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu`.
fn hierarchy_in(line: &str) -> Option<Hierarchy> {
    let (mount, file_system) = line.split_once(" - ")?;
    let place = mount.split(' ').nth(4)?;
    let mut file_system = file_system.split(' ');
    let kind = file_system.next()?;
    if !["cgroup", "cgroup2"].contains(&kind) || !place.starts_with(cgroup::ROOT) {
        return None;
    }
    // The rest is for whoever mounts it first, or says nothing about which hierarchy it is.
    let says_which = |option: &&str| {
        kind == "cgroup"
            && !["rw", "ro", "xattr", "noprefix", "clone_children"].contains(option)
            && !option.starts_with("release_agent=")
    };
    let options: Vec<&str> = file_system.nth(1)?.split(',').filter(says_which).collect();
    Some(Hierarchy {
        place: PathBuf::from(place),
        kind: kind.to_owned(),
        options: options.join(","),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_versions_are_found() {
        let check = |line, expected: Option<(&str, &str, &str)>| {
            let expected = expected.map(|(place, kind, options)| Hierarchy {
                place: place.into(),
                kind: kind.into(),
                options: options.into(),
            });
            assert_eq!(hierarchy_in(line), expected, "{line}");
        };
        check(
            "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct",
            Some(("/sys/fs/cgroup/cpu,cpuacct", "cgroup", "cpu,cpuacct")),
        );
        check(
            "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd",
            Some(("/sys/fs/cgroup/systemd", "cgroup", "name=systemd")),
        );
        check(
            "35 24 0:30 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot",
            Some(("/sys/fs/cgroup", "cgroup2", "")),
        );
        check("31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw", None);
        check("90 23 0:30 / /somewhere/else rw - cgroup2 cgroup2 rw", None);
    }
}
