//! A private apt: its own sources, state and cache, so that packages of several Debian releases
//! can be downloaded and verified without touching the machine's own package system.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::command::output_of;

/// The releases whose packages are looked at. Names, not roles: `stable` changes its meaning.
pub const RELEASES: [&str; 3] = ["bookworm", "trixie", "sid"];
/// What signs the archive; part of every Debian machine.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Where a machine says which mirror it uses.
const SOURCES: &str = "/etc/apt/sources.list";
const SOURCES_DIR: &str = "/etc/apt/sources.list.d";

/// An apt configuration of our own.
#[derive(Debug)]
pub struct Apt {
    config: PathBuf,
}

impl Apt {
    /// Writes the configuration under `dir`; what an earlier call downloaded there is used again.
    ///
    /// # Errors
    /// If the machine has no apt, no Debian keyring or no Debian mirror, or `dir` is not writable.
    pub fn prepare(dir: &Path) -> Result<Self> {
        for tool in ["/usr/bin/apt-get", "/usr/bin/dpkg-deb"] {
            ensure!(Path::new(tool).exists(), "this machine has no {tool}");
        }
        ensure!(
            Path::new(KEYRING).exists(),
            "this machine has no {KEYRING} (package debian-archive-keyring)"
        );
        let mirror = machine_mirror()?;
        for part in ["state/lists/partial", "cache/archives/partial", "empty"] {
            fs::create_dir_all(dir.join(part))
                .with_context(|| format!("{} cannot be created", dir.display()))?;
        }
        let releases = RELEASES.join(" ");
        fs::write(
            dir.join("debian.sources"),
            format!(
                "Types: deb\nURIs: {mirror}\nSuites: {releases}\nComponents: main\nSigned-By: {KEYRING}\n"
            ),
        )?;
        let at = dir.display();
        let access = machine_access()?;
        // The machine's own apt.conf.d is left out: its hooks (package search indexes and the like)
        // would run for our update. Only what it takes to reach the mirror is taken over.
        let config = format!(
            "Dir::State \"{at}/state\";\n\
             Dir::State::status \"/var/lib/dpkg/status\";\n\
             Dir::Cache \"{at}/cache\";\n\
             Dir::Etc::main \"/dev/null\";\n\
             Dir::Etc::parts \"{at}/empty\";\n\
             Dir::Etc::sourcelist \"{at}/debian.sources\";\n\
             Dir::Etc::sourceparts \"{at}/empty\";\n\
             Dir::Etc::preferences \"/dev/null\";\n\
             Dir::Etc::preferencesparts \"{at}/empty\";\n\
             Acquire::Languages \"none\";\n\
             Acquire::Retries \"3\";\n\
             APT::Sandbox::User \"\";\n\
             APT::Update::Error-Mode \"any\";\n\
             {access}"
        );
        let path = dir.join("apt.conf");
        fs::write(&path, config)?;
        Ok(Self { config: path })
    }

    /// Downloads the package lists of all [`RELEASES`].
    ///
    /// # Errors
    /// If one of them cannot be had; the error holds what apt said.
    pub fn update(&self) -> Result<()> {
        output_of(self.command().args(["--quiet", "update"])).map(drop)
    }

    /// Downloads packages, each given as `name/release`, into a directory. What is there and whole
    /// is not downloaded again.
    ///
    /// # Errors
    /// If one of them cannot be had; the error holds what apt said.
    pub fn download(&self, into: &Path, packages: &[String]) -> Result<()> {
        fs::create_dir_all(into)?;
        let mut command = self.command();
        command.args(["--quiet", "download"]).args(packages);
        output_of(command.current_dir(into)).map(drop)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("/usr/bin/apt-get");
        command.env("APT_CONFIG", &self.config).env("LC_ALL", "C");
        command
    }
}

/// How the machine's own apt reaches its mirror and judges it (proxies, certificates, whether a
/// mirror that is kept back counts as expired), as configuration lines.
fn machine_access() -> Result<String> {
    let settings = output_of(Command::new("/usr/bin/apt-config").args([
        "dump",
        "--no-empty",
        "--format",
        "%F \"%v\";%n",
        "Acquire",
    ]))?;
    let is_access = |line: &&str| {
        ["Acquire::http::", "Acquire::https::", "Acquire::Check-"]
            .iter()
            .any(|name| line.starts_with(name))
    };
    Ok(settings
        .lines()
        .filter(is_access)
        .map(|line| format!("{line}\n"))
        .collect())
}

/// The Debian mirror of the machine's own apt sources.
fn machine_mirror() -> Result<String> {
    let mut files = vec![PathBuf::from(SOURCES)];
    if let Ok(entries) = fs::read_dir(SOURCES_DIR) {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    files
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .find_map(|text| mirror_in(&text))
        .with_context(|| {
            format!("no Debian mirror is named in {SOURCES} or in the files of {SOURCES_DIR}")
        })
}

/// The first Debian archive that an apt source file names, in either of apt's two formats.
fn mirror_in(text: &str) -> Option<String> {
    let lines = || {
        text.lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim())
    };
    let one_line = lines().filter_map(|line| {
        let mut words = line.strip_prefix("deb ")?.split_whitespace().peekable();
        if words.peek()?.starts_with('[') {
            words.by_ref().find(|word| word.ends_with(']'))?;
        }
        words.next()
    });
    let stanzas = lines()
        .filter_map(|line| line.strip_prefix("URIs:"))
        .flat_map(str::split_whitespace);
    one_line
        .chain(stanzas)
        .find(|uri| is_archive(uri))
        .map(str::to_owned)
}

/// Whether an address is Debian's archive itself, not its security archive nor somebody else's
/// packages for Debian.
fn is_archive(uri: &str) -> bool {
    let last = uri.trim_end_matches('/').rsplit('/').next();
    matches!(last, Some("debian" | "debian.list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_found_in_a_stanza_file() {
        let text = "Types: deb\n# http://old.example/debian\nURIs: https://mirror.example/debian-security\n\
                    Suites: trixie-security\n\nTypes: deb\nURIs: https://mirror.example/debian/\nSuites: trixie\n";
        assert_eq!(
            mirror_in(text).as_deref(),
            Some("https://mirror.example/debian/")
        );
    }

    #[test]
    fn the_mirror_is_found_in_a_one_line_file() {
        let text = "deb https://tools.example/apt bookworm main\n#deb http://no.example/debian sid main\n\
                    deb [ arch=amd64 signed-by=/k.gpg ] http://mirror.example/debian bookworm main\n";
        assert_eq!(
            mirror_in(text).as_deref(),
            Some("http://mirror.example/debian")
        );
    }

    #[test]
    fn a_machine_without_debian_sources_has_no_mirror() {
        assert_eq!(
            mirror_in("deb http://archive.example/ubuntu noble main"),
            None
        );
    }
}
