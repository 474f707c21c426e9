//! schemathesis, which compares what the daemon answers with what its document says. It is a Python program: Python
//! comes from Debian's packages, unpacked and not installed, and the program from PyPI, both into the build directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use cutover_testkit::engine::command::output_of;

use crate::debian;

/// The version that is run; another one asks other questions.
const VERSION: &str = "4.32.5";

/// The variable that tells the test where the program is.
pub(crate) const VARIABLE: &str = "CUTOVER_TEST_SCHEMATHESIS";

/// Python and the libraries that a small machine may lack. The oldest release's packages run on every later one.
const PYTHON: [&str; 17] = [
    "python3.11-minimal/bookworm",
    "python3.11/bookworm",
    "libpython3.11-minimal/bookworm",
    "libpython3.11-stdlib/bookworm",
    "python3-pip-whl/bookworm",
    "libssl3/bookworm",
    "libffi8/bookworm",
    "libsqlite3-0/bookworm",
    "libexpat1/bookworm",
    "zlib1g/bookworm",
    "libbz2-1.0/bookworm",
    "liblzma5/bookworm",
    "libreadline8/bookworm",
    "libtinfo6/bookworm",
    "libncursesw6/bookworm",
    "libuuid1/bookworm",
    "libdb5.3/bookworm",
];

/// Where the program is, once it is fetched.
pub(crate) fn program() -> PathBuf {
    place().join("schemathesis")
}

fn place() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools"))
        .join(format!("schemathesis-{VERSION}"))
}

/// Fetches it unless it is there, and sees that it runs.
///
/// # Errors
/// If Debian's packages or PyPI cannot be had: what the document says would not be checked.
pub(crate) fn fetch() -> Result<()> {
    let place = place();
    if !place.exists() {
        let tools = place.parent().context("it has a parent")?;
        fs::create_dir_all(tools)?;
        // The program's file says where it is, so it is made in its place and is there only when it is whole.
        let python = debian::fetch(tools, "python", &PYTHON)?;
        let library = tools.join(format!("schemathesis-{VERSION}.library"));
        install(&python, &library)?;
        let unfinished = tools.join("schemathesis.new");
        fs::create_dir_all(&unfinished)?;
        write_program(&unfinished.join("schemathesis"), &python, &library)?;
        fs::rename(&unfinished, &place)?;
    }
    let version = output_of(Command::new(program()).arg("--version"))?;
    ensure!(
        version.contains(VERSION),
        "schemathesis {VERSION} is wanted, and {} says: {version}",
        program().display()
    );
    Ok(())
}

/// Puts the program and what it needs into `library`, by the pip that Debian has as a wheel.
fn install(python: &Path, library: &Path) -> Result<()> {
    let wheels = python.join("usr/share/python-wheels");
    let pip = fs::read_dir(&wheels)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("pip-")
        })
        .with_context(|| format!("there is no pip in {}", wheels.display()))?;
    eprintln!("fetching schemathesis {VERSION}");
    let mut command = interpreter(python)?;
    command
        .arg(pip.join("pip"))
        .args([
            "install",
            "--quiet",
            "--upgrade",
            "--disable-pip-version-check",
        ])
        .arg("--target")
        .arg(library)
        .arg(format!("schemathesis=={VERSION}"));
    output_of(&mut command).context("schemathesis cannot be had; it comes from PyPI")?;
    Ok(())
}

/// The unpacked Python, with its own libraries.
fn interpreter(python: &Path) -> Result<Command> {
    let mut command = Command::new(python.join("usr/bin/python3.11"));
    command
        .env("PYTHONHOME", python.join("usr"))
        .env("LD_LIBRARY_PATH", libraries(python)?);
    Ok(command)
}

fn libraries(python: &Path) -> Result<String> {
    let mut found = Vec::new();
    for parent in ["usr/lib", "lib"] {
        let Ok(entries) = fs::read_dir(python.join(parent)) else {
            continue;
        };
        let all = entries
            .flatten()
            .map(|entry| entry.path().display().to_string());
        found.extend(all.filter(|path| path.contains("-linux-")));
    }
    ensure!(
        !found.is_empty(),
        "there are no libraries in {}",
        python.display()
    );
    Ok(found.join(":"))
}

/// A program that runs it with the unpacked Python, whatever the caller's environment is.
fn write_program(path: &Path, python: &Path, library: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let text = format!(
        "#!/bin/sh\nexport PYTHONHOME='{}' PYTHONPATH='{}' LD_LIBRARY_PATH='{}'\nexec '{}' -c 'from schemathesis.cli import schemathesis; schemathesis()' \"$@\"\n",
        fs::canonicalize(python.join("usr"))?.display(),
        fs::canonicalize(library)?.display(),
        libraries(&fs::canonicalize(python)?)?,
        fs::canonicalize(python.join("usr/bin/python3.11"))?.display(),
    );
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
