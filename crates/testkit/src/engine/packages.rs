//! Debian's own packages of Docker Engine, Compose, the registry and systemd, downloaded and unpacked
//! under one directory without being installed.
//!
//! ```text
//! DIR/lock                 held while somebody fetches
//! DIR/apt, DIR/staging     only while fetching; what is there is used again after an interruption
//! DIR/unpacked/SLOT        the unpacked packages
//! DIR/bin                  links to the programs, under the names by which they find each other
//! DIR/lib                  links to their libraries
//! DIR/complete             written last: the recipe and the versions
//! ```

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::apt::{Apt, RELEASES};
use super::command::output_of;
use super::recipe::{PROGRAMS, RECIPE, Wanted, recipe_line};

/// What to tell somebody on whose machine the packages cannot be had.
const ADVICE: &str = "the private Docker is made of Debian's packages (docker.io, docker-cli, \
    docker-compose, docker-registry, containerd, runc, iptables, tini, busybox-static, nginx, \
    cosign, systemd), which are \
    downloaded with the machine's own apt from the mirror that it already uses. \
    Run this on Debian 12 or newer, or in a `debian:12` container started with `--privileged`, with \
    the mirror reachable. Trying cutover by hand needs no private Docker: install Docker Engine 23 \
    or newer and Compose 2.20 or newer";

/// Which Compose to run. cutover must work with both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComposeVersion {
    /// The newest that Debian has (2.40 when this was written).
    Newest,
    /// The oldest that Debian has and cutover supports (2.26 when this was written).
    Oldest,
}

/// Unpacked packages.
#[derive(Debug, Clone)]
pub struct Packages {
    dir: PathBuf,
}

impl Packages {
    /// Downloads and unpacks the packages into `dir`, about 100 MB and 400 MB, unless they are
    /// there. Concurrent callers wait for each other; an interrupted call is continued by the next.
    ///
    /// # Errors
    /// If the packages cannot be had on this machine; the error says why and what to do.
    pub fn fetch(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let lock = File::create(dir.join("lock"))?;
        lock.lock()
            .with_context(|| format!("cannot lock {}", dir.display()))?;
        let packages = Self { dir };
        if !packages.is_complete()
            && let Err(error) = packages.unpack_all()
        {
            bail!(
                "no private Docker could be unpacked, nothing was installed: {error:#}\n{ADVICE}"
            );
        }
        Ok(packages)
    }

    /// Opens packages that an earlier [`Packages::fetch`] unpacked into `dir`.
    ///
    /// # Errors
    /// If they are not there, or only in part.
    pub fn open(dir: &Path) -> Result<Self> {
        let packages = Self {
            dir: dir.to_owned(),
        };
        if !packages.is_complete() {
            bail!(
                "{} holds no unpacked packages; run `cargo xtask engine fetch`",
                dir.display()
            );
        }
        Ok(packages)
    }

    /// The directory they are in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The path of a program, such as `dockerd`.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join("bin").join(name)
    }

    /// The path of the standalone Compose binary.
    #[must_use]
    pub fn compose(&self, version: ComposeVersion) -> PathBuf {
        self.program(match version {
            ComposeVersion::Newest => "docker-compose",
            ComposeVersion::Oldest => "docker-compose-oldest",
        })
    }

    /// Where an unpacked package has a file or directory, given without the `usr/` that packages of
    /// earlier releases leave out.
    ///
    /// # Errors
    /// If it is not there.
    pub(crate) fn file(&self, package: &str, inside: &str) -> Result<PathBuf> {
        let package = self.dir.join("unpacked").join(package);
        [package.join("usr").join(inside), package.join(inside)]
            .into_iter()
            .find(|path| path.exists())
            .with_context(|| format!("{} holds no {inside}", package.display()))
    }

    /// The libraries of all packages: files, and directories of libraries that belong to one program.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub(crate) fn libraries(&self) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(self.dir.join("lib"))?;
        Ok(entries.flatten().map(|entry| entry.path()).collect())
    }

    /// A command that runs one of the programs in an environment in which the programs find each
    /// other and their libraries, and nothing of the caller's.
    #[must_use]
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.program(name));
        command.env_clear().envs(self.environment());
        command
    }

    /// The environment in which the programs find each other and their libraries.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, OsString); 3] {
        let mut path = self.dir.join("bin").into_os_string();
        path.push(":/usr/sbin:/usr/bin:/sbin:/bin");
        let libraries = self.dir.join("lib");
        [
            ("PATH", path),
            ("XTABLES_LIBDIR", libraries.join("xtables").into_os_string()),
            ("LD_LIBRARY_PATH", libraries.into_os_string()),
        ]
    }

    /// One line for each program that was tried, as the program prints its version.
    ///
    /// # Errors
    /// If the record of the versions cannot be read.
    pub fn versions(&self) -> Result<Vec<String>> {
        let record = fs::read_to_string(self.complete())?;
        Ok(record.lines().skip(1).map(str::to_owned).collect())
    }

    fn complete(&self) -> PathBuf {
        self.dir.join("complete")
    }

    fn is_complete(&self) -> bool {
        fs::read_to_string(self.complete())
            .is_ok_and(|record| record.lines().next() == Some(recipe_line().as_str()))
    }

    /// Downloads everything, unpacks it beside what is there, and only then takes its place.
    fn unpack_all(&self) -> Result<()> {
        let apt = Apt::prepare(&self.dir.join("apt"))?;
        apt.update()?;
        let staging = self.dir.join("staging");
        let unpacked = staging.join("unpacked");
        if unpacked.exists() {
            fs::remove_dir_all(&unpacked)?;
        }
        let whole = download_first_choices(&apt, &staging);
        let mut record = recipe_line() + "\n";
        for wanted in &RECIPE {
            let version = unpack_one(&apt, wanted, &whole, &staging, &unpacked)?;
            record.extend(version.map(|version| version + "\n"));
        }
        self.link(&unpacked)?;
        fs::write(self.complete(), record)?;
        // Lists and archives are of no more use, and larger than what they gave.
        for part in ["staging", "apt"] {
            fs::remove_dir_all(self.dir.join(part))?;
        }
        Ok(())
    }

    /// Moves the unpacked packages into place and makes the links that lead to programs and libraries.
    fn link(&self, unpacked: &Path) -> Result<()> {
        drop(fs::remove_file(self.complete()));
        for part in ["bin", "lib", "unpacked"] {
            let path = self.dir.join(part);
            if path.exists() {
                fs::remove_dir_all(path)?;
            }
        }
        fs::rename(unpacked, self.dir.join("unpacked"))?;
        fs::create_dir(self.dir.join("bin"))?;
        for (name, inside) in PROGRAMS {
            let link = self.program(name);
            symlink(Path::new("../unpacked").join(inside), &link)?;
            if !link.exists() {
                bail!("the packages hold no {inside}");
            }
        }
        let libraries = self.dir.join("lib");
        fs::create_dir(&libraries)?;
        for wanted in &RECIPE {
            let Some(inside) = library_dir(&self.dir.join("unpacked").join(wanted.slot)) else {
                continue;
            };
            for entry in fs::read_dir(&inside)?.flatten() {
                let target = Path::new("..").join(entry.path().strip_prefix(&self.dir)?);
                symlink(target, libraries.join(entry.file_name()))?;
            }
        }
        Ok(())
    }
}

/// Where an unpacked package has its libraries: `usr/lib/MACHINE-linux-gnu`, or the same without `usr`.
fn library_dir(package: &Path) -> Option<PathBuf> {
    ["usr/lib", "lib"]
        .iter()
        .filter_map(|inside| fs::read_dir(package.join(inside)).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .find(|path| path.to_string_lossy().contains("-linux-"))
}

/// Downloads and unpacks one package, from the first release whose package runs here. Returns
/// what its program says about its version, if one is tried.
fn unpack_one(
    apt: &Apt,
    wanted: &Wanted,
    whole: &[&str],
    staging: &Path,
    unpacked: &Path,
) -> Result<Option<String>> {
    let name = wanted.name;
    let place = unpacked.join(wanted.slot);
    let mut refusals = Vec::new();
    for release in wanted.releases {
        let archives = staging.join(release);
        let fetched = if *release == wanted.releases[0] && whole.contains(release) {
            Ok(())
        } else {
            apt.download(&archives, &[format!("{name}/{release}")])
        };
        let attempt = fetched
            .and_then(|()| find_archive(&archives, name))
            .and_then(|archive| unpack(&archive, &place))
            .and_then(|()| try_out(wanted, &place));
        match attempt {
            Ok(version) => return Ok(version),
            Err(error) => refusals.push(format!("{name} of {release}: {error:#}")),
        }
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
    }
    bail!("{}", refusals.join("\n"))
}

/// Downloads what is tried first with one call of apt for each release, because each call reads
/// all package lists. Returns the releases for which that succeeded; the packages of the others
/// are then downloaded one by one, so that each finds its second choice.
fn download_first_choices(apt: &Apt, staging: &Path) -> Vec<&'static str> {
    let download = |release: &&str| {
        let packages: Vec<String> = RECIPE
            .iter()
            .filter(|wanted| wanted.releases[0] == *release)
            .map(|wanted| format!("{}/{release}", wanted.name))
            .collect();
        apt.download(&staging.join(release), &packages).is_ok()
    };
    RELEASES.into_iter().filter(download).collect()
}

/// The archive of a package among those of its release.
fn find_archive(dir: &Path, name: &str) -> Result<PathBuf> {
    let is_archive = |path: &PathBuf| {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        file.starts_with(&format!("{name}_")) && file.ends_with(".deb")
    };
    fs::read_dir(dir)?
        .flatten()
        .map(|entry| entry.path())
        .find(is_archive)
        .with_context(|| format!("apt left no package {name} in {}", dir.display()))
}

fn unpack(archive: &Path, place: &Path) -> Result<()> {
    fs::create_dir_all(place)?;
    let mut command = Command::new("/usr/bin/dpkg-deb");
    output_of(command.arg("-x").arg(archive).arg(place)).map(drop)
}

/// Runs the package's program, to see whether the machine's C library is new enough for it.
fn try_out(wanted: &Wanted, place: &Path) -> Result<Option<String>> {
    let Some((program, argument)) = wanted.trial else {
        return Ok(None);
    };
    let program = place.join(program);
    let answer = output_of(Command::new(&program).arg(argument))?;
    let version = answer.lines().next().unwrap_or_default();
    // Some programs name themselves as they were called, with the whole path.
    let version = version.replace(&*program.to_string_lossy(), "");
    Ok(Some(format!("{}: {}", wanted.slot, version.trim())))
}
