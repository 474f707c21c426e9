//! The control groups of a private Docker: under a parent of its own, removed with it.

use std::fs;
use std::path::{Path, PathBuf};

/// Where Linux distributions mount the control groups.
pub(super) const ROOT: &str = "/sys/fs/cgroup";

/// Lets groups with controllers be made under a version 2 root that is itself only part of a
/// bigger tree, as in a container: such a root must hold no process when its groups get controllers,
/// so its processes move into a group beside ours. On a machine's true root, and with version 1,
/// there is nothing to do.
///
/// What does not succeed is left: Docker says more clearly what it misses than we could.
pub(super) fn make_room(root: &Path) {
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

/// Removes the groups named `parent`, which Docker leaves behind when it is killed.
pub(super) fn remove(root: &Path, parent: &str) {
    // Version 1 has one tree for each controller, version 2 a single one.
    let trees = fs::read_dir(root).map(|entries| {
        entries
            .flatten()
            .map(|entry| entry.path().join(parent))
            .collect::<Vec<PathBuf>>()
    });
    for group in trees
        .unwrap_or_default()
        .into_iter()
        .chain([root.join(parent)])
    {
        if group.is_dir() {
            remove_tree(&group);
        }
    }
}

/// Groups hold files that cannot be removed, only directories can, from the leaves up.
fn remove_tree(group: &Path) {
    if let Ok(entries) = fs::read_dir(group) {
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove_tree(&entry.path());
            }
        }
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
}
