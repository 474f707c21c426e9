//! The systemd unit as text: the one that is shipped, adapted to where things are.

use std::path::{Path, PathBuf};

use cutover_daemon::settings;

use super::project::Project;

/// The unit as shipped.
const UNIT: &str = include_str!("../../../../../dist/cutover.service");

/// Where the unit expects the binary.
const PROGRAM: &str = "/usr/local/bin/cutover";

/// What `ProtectSystem=full` and `ProtectHome=read-only` make read-only.
const PROTECTED: [&str; 5] = ["/usr", "/boot", "/etc", "/home", "/root"];

/// What `PrivateTmp=yes` hides.
const HIDDEN: [&str; 2] = ["/tmp", "/var/tmp"];

/// Where a binary stays and a unit may find it.
const INSTALLED: [&str; 3] = ["/usr", "/opt", "/srv"];

/// The binary that the unit shall run: this one, if it is where binaries stay.
pub(super) fn program() -> PathBuf {
    match std::env::current_exe() {
        Ok(program) if is_below(&program, &INSTALLED) => program,
        _ => PathBuf::from(PROGRAM),
    }
}

/// How to put this binary where the unit expects it, if it is not where binaries stay.
pub(super) fn installation() -> Option<String> {
    let this = std::env::current_exe().ok()?;
    (!is_below(&this, &INSTALLED)).then(|| format!("install -m 0755 {} {PROGRAM}", this.display()))
}

/// The unit at `place` for `project`.
pub(super) fn text(
    project: &Project,
    place: &Path,
    configuration: &Path,
    program: &Path,
) -> String {
    let mut start = format!("ExecStart={} serve", escaped(program));
    if configuration != Path::new(settings::DEFAULT_PATH) {
        start.push_str(&format!(" --config {}", escaped(configuration)));
    }
    let mut unit = UNIT
        .replace("/etc/cutover/cutover.service", &place.display().to_string())
        .replace(&format!("ExecStart={PROGRAM} serve"), &start);
    if is_below(&project.directory, &PROTECTED) {
        unit = unit.replace(
            "#ReadWritePaths=/etc/shop",
            &format!("ReadWritePaths={}", escaped(&project.directory)),
        );
    }
    if is_below(&project.directory, &HIDDEN) {
        unit = unit.replace(
            "PrivateTmp=yes",
            "# The project is in a directory for temporary files, which the daemon must see.\nPrivateTmp=no",
        );
    }
    unit
}

fn is_below(path: &Path, directories: &[&str]) -> bool {
    directories
        .iter()
        .any(|directory| path.starts_with(directory))
}

/// A path as a unit file writes it: quoted, because it may hold spaces, with `%` and `$` standing for
/// themselves.
fn escaped(path: &Path) -> String {
    let text = path.display().to_string().replace('%', "%%");
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"/._-+@:%".contains(&b));
    if plain {
        return text;
    }
    let text = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('$', "$$");
    format!("\"{text}\"")
}
