//! The control groups of a private Docker: under a parent of its own, removed with it.

use std::fs;
use std::path::{Path, PathBuf};

/// Where Linux distributions mount the control groups.
pub(crate) const ROOT: &str = "/sys/fs/cgroup";

/// Lets groups with controllers be made under a version 2 root that is itself only part of a
/// bigger tree, as in a container: such a root must hold no process when its groups get controllers,
/// so its processes move into a group beside ours. On a machine's true root, and with version 1,
/// there is nothing to do.
///
/// What does not succeed is left: Docker says more clearly what it misses than we could.
pub(crate) fn make_room(root: &Path) {
    let is_partial_root = root.join("cgroup.type").exists();
    let Ok(controllers) = fs::read_to_string(root.join("cgroup.controllers")) else {
        return;
    };
    let Ok(members) = fs::read_to_string(root.join("cgroup.procs")) else {
        return;
    };
    if !is_partial_root || members.trim().is_empty() {
        return;
    }
    let aside = root.join("cutover-world");
    drop(fs::create_dir_all(&aside));
    for member in members.lines() {
        drop(fs::write(aside.join("cgroup.procs"), member));
    }
    for controller in controllers.split_whitespace() {
        drop(fs::write(
            root.join("cgroup.subtree_control"),
            format!("+{controller}"),
        ));
    }
}

/// The control group of the engine in this directory: a name that no other engine has.
pub(crate) fn name_of(dir: &Path) -> String {
    let name: String = dir
        .to_string_lossy()
        .chars()
        .map(|letter| match letter {
            letter if letter.is_ascii_alphanumeric() => letter,
            _ => '-',
        })
        .collect();
    format!("cutover{name}")
}

/// Removes the empty groups of engines in this directory or below it, which Docker leaves behind
/// when it is killed.
pub(crate) fn remove(root: &Path, dir: &Path) {
    let own = name_of(dir);
    let below = format!("{own}-");
    // Version 1 has one tree for each controller, version 2 a single one.
    let trees = subdirectories(root).into_iter().chain([root.to_owned()]);
    for group in trees.flat_map(|tree| subdirectories(&tree)) {
        let name = group.file_name().unwrap_or_default().to_string_lossy();
        if name == own || name.starts_with(&below) {
            remove_tree(&group);
        }
    }
}

fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Groups hold files that cannot be removed, only directories can, from the leaves up. A group
/// that holds a process stays.
fn remove_tree(group: &Path) {
    for below in subdirectories(group) {
        remove_tree(&below);
    }
    drop(fs::remove_dir(group));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_a_partial_root_move_aside() {
        let root = tempfile::tempdir().expect("a directory");
        let file = |name: &str| root.path().join(name);
        fs::write(file("cgroup.type"), "domain\n").expect("written");
        fs::write(file("cgroup.controllers"), "cpu memory\n").expect("written");
        fs::write(file("cgroup.procs"), "17\n").expect("written");
        make_room(root.path());
        let moved = fs::read_to_string(file("cutover-world/cgroup.procs")).expect("moved");
        assert_eq!(moved, "17");
        let enabled = fs::read_to_string(file("cgroup.subtree_control")).expect("enabled");
        assert_eq!(enabled, "+memory");
    }

    #[test]
    fn a_true_root_is_left_alone() {
        let root = tempfile::tempdir().expect("a directory");
        fs::write(root.path().join("cgroup.controllers"), "cpu\n").expect("written");
        fs::write(root.path().join("cgroup.procs"), "17\n").expect("written");
        make_room(root.path());
        assert!(!root.path().join("cutover-world").exists());
    }

    #[test]
    fn only_groups_of_the_directory_are_removed() {
        let root = tempfile::tempdir().expect("a directory");
        let groups = ["cpu/cutover-tmp-e1/child", "cpu/cutover-tmp-e1-tmp-own"];
        let others = ["cpu/cutover-tmp-e10", "cutover-tmp-e2", "cpu/docker"];
        for group in groups.iter().chain(&others) {
            fs::create_dir_all(root.path().join(group)).expect("made");
        }
        remove(root.path(), Path::new("/tmp/e1"));
        for group in groups {
            assert!(!root.path().join(group).exists(), "{group}");
        }
        for group in others {
            assert!(root.path().join(group).exists(), "{group}");
        }
    }
}
