//! Programs out of Debian's packages, which are unpacked and not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use cutover_testkit::engine::apt::Apt;
use cutover_testkit::engine::command::output_of;

/// Downloads and unpacks packages, each given as `name/release`, into `dir/name` unless they are there,
/// and returns that directory.
pub(crate) fn fetch(dir: &Path, name: &str, packages: &[&str]) -> Result<PathBuf> {
    let place = dir.join(name);
    if place.exists() {
        return Ok(place);
    }
    eprintln!("fetching {}", packages.join(", "));
    unpack(&dir.join("staging"), packages, &place).with_context(|| {
        format!(
            "the packages {} cannot be had; they come from the Debian mirror of this machine's apt",
            packages.join(", ")
        )
    })?;
    Ok(place)
}

/// Downloads packages and unpacks them into `place`, which is there only when it is whole.
pub(crate) fn unpack(staging: &Path, packages: &[&str], place: &Path) -> Result<()> {
    if staging.exists() {
        fs::remove_dir_all(staging)?;
    }
    let apt = Apt::prepare(&staging.join("apt"))?;
    apt.update()?;
    let archives = staging.join("archives");
    let packages: Vec<_> = packages.iter().map(|&package| package.to_owned()).collect();
    apt.download(&archives, &packages)?;
    let unpacked = staging.join("unpacked");
    fs::create_dir(&unpacked)?;
    for archive in fs::read_dir(&archives)? {
        let mut unpack = Command::new("/usr/bin/dpkg-deb");
        output_of(unpack.arg("-x").arg(archive?.path()).arg(&unpacked))?;
    }
    fs::rename(&unpacked, place)?;
    fs::remove_dir_all(staging)?;
    Ok(())
}
