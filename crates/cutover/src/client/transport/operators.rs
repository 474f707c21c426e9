//! How somebody who may not open the daemon's socket gets in: as root, or as a member of a group that the daemon
//! looks for when it starts.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The group whose members may use the socket.
const GROUP: &str = "cutover";

/// What the user of this machine can do who may not open the socket at `path`.
pub(super) fn hint(path: &Path) -> String {
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let socket = fs::metadata(path).map(|socket| socket.gid()).ok();
    hint_for(group_id(&groups), socket)
}

/// The hint for a machine on which the group has this id, if it exists, and the socket belongs to this group, if that
/// can be seen.
fn hint_for(group: Option<u32>, socket: Option<u32>) -> String {
    let join = format!("`sudo usermod --append --groups {GROUP} NAME`");
    let restart =
        "`sudo systemctl restart cutover`, for the daemon looks for the group at its start";
    let steps = match (group, socket) {
        (None, _) => {
            format!("`sudo groupadd --system {GROUP}`, {join}, {restart}; then log in again")
        }
        (Some(group), Some(socket)) if group != socket => {
            format!("{join}, {restart}; then log in again")
        }
        (Some(_), _) => format!("{join}, then log in again"),
    };
    format!("run it as root (`sudo cutover …`), or as a member of the group `{GROUP}`: {steps}")
}

/// The id of the group in the text of `/etc/group`.
fn group_id(groups: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _password, id) = (fields.next()?, fields.next()?, fields.next()?);
        (name == GROUP).then(|| id.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_has_the_steps_that_are_missing_and_no_others() {
        let steps = |group, socket| {
            let hint = hint_for(group, socket);
            assert!(hint.contains("`sudo cutover …`"), "{hint}");
            assert!(
                hint.contains("usermod --append --groups cutover NAME"),
                "{hint}"
            );
            (
                hint.contains("groupadd"),
                hint.contains("systemctl restart"),
            )
        };
        assert_eq!(steps(None, None), (true, true));
        assert_eq!(steps(None, Some(0)), (true, true));
        assert_eq!(steps(Some(998), Some(0)), (false, true));
        assert_eq!(steps(Some(998), Some(998)), (false, false));
        assert_eq!(steps(Some(998), None), (false, false));
    }

    #[test]
    fn the_group_is_found_by_its_whole_name() {
        let groups = "root:x:0:\ncutover-x:x:7:\ncutover:x:998:alice\nbroken\n";
        assert_eq!(group_id(groups), Some(998));
        assert_eq!(group_id("cutover-x:x:7:\n"), None);
    }
}
