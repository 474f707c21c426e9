//! `cargo xtask dist`: the binary as it is given to users, one file that needs nothing else.
//!
//! It is linked statically with the C library of the machine that builds it, so that it runs on every
//! Linux of the same architecture. An environment variable is enough to lose that without a word
//! (`RUSTFLAGS` replaces the flags of configuration files), therefore the file itself is looked at.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail, ensure};
use aws_lc_rs::digest::{SHA256, digest};

use crate::world;

/// What makes the result static. An explicit `--target` goes with it: without one, the flags would
/// apply to the macros that run inside the compiler as well, which cannot be static.
const STATIC: &str = "-C target-feature=+crt-static";

/// The finished binary.
#[derive(Debug, Clone)]
pub(crate) struct Binary {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its size.
    pub(crate) bytes: usize,
    /// The SHA-256 of its content, in hexadecimal digits.
    pub(crate) sha256: String,
}

/// Builds the binary and says where it is.
pub(crate) fn run() -> Result<ExitCode> {
    let binary = build()?;
    println!("{}", binary.path.display());
    println!("size   {} bytes", binary.bytes);
    println!("sha256 {}", binary.sha256);
    println!("linked statically");
    Ok(ExitCode::SUCCESS)
}

/// Builds the binary and copies it to `target/dist/cutover`.
///
/// # Errors
/// If it cannot be built, or is not static.
pub(crate) fn build() -> Result<Binary> {
    let triple = world::host_triple()?;
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--release", "--locked"])
        .args(["--package", "cutover", "--target", &triple])
        .env("RUSTFLAGS", STATIC)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("CARGO_TARGET_DIR", world::target_dir())
        .current_dir(world::workspace_dir())
        .status()
        .context("cargo could not be started")?;
    ensure!(status.success(), "cutover could not be built ({status})");
    let built = world::target_dir().join(triple).join("release/cutover");
    let dist = world::target_dir().join("dist");
    fs::create_dir_all(&dist)?;
    let path = dist.join("cutover");
    // Replaced and not overwritten: the old one may be running.
    let unfinished = dist.join("cutover.new");
    fs::copy(&built, &unfinished)
        .with_context(|| format!("{} cannot be copied", built.display()))?;
    fs::rename(&unfinished, &path)?;
    inspect(&path)
}

/// Looks at a binary and refuses one that is not static.
///
/// # Errors
/// If it cannot be read or is not static.
pub(crate) fn inspect(path: &Path) -> Result<Binary> {
    let content = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    match linkage(&content).with_context(|| path.display().to_string())? {
        Linkage::Static => Ok(Binary {
            path: path.to_owned(),
            bytes: content.len(),
            sha256: hex::encode(digest(&SHA256, &content)),
        }),
        Linkage::Dynamic => bail!(
            "{} is not linked statically: it names a program interpreter",
            path.display()
        ),
    }
}

/// How a program comes by the C library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Linkage {
    /// It is part of the program.
    Static,
    /// An interpreter that the program names loads it.
    Dynamic,
}

/// Reads the program headers of a 64-bit little-endian ELF file, which is all that cutover is built
/// for. A program that is loaded by another names it in a header of type `PT_INTERP`.
fn linkage(file: &[u8]) -> Result<Linkage> {
    const PT_INTERP: u64 = 3;
    ensure!(
        file.starts_with(b"\x7fELF\x02\x01"),
        "not a 64-bit little-endian ELF file"
    );
    let table = number(file, 0x20, 8)?;
    let entry_bytes = number(file, 0x36, 2)?;
    let entries = number(file, 0x38, 2)?;
    ensure!(entries > 0, "an ELF file without program headers");
    for index in 0..entries {
        if number(file, table + index * entry_bytes, 4)? == PT_INTERP {
            return Ok(Linkage::Dynamic);
        }
    }
    Ok(Linkage::Static)
}

/// The little-endian number of so many bytes at this place of the file.
fn number(file: &[u8], at: u64, bytes: usize) -> Result<u64> {
    let start = usize::try_from(at)?;
    let field = start
        .checked_add(bytes)
        .and_then(|end| file.get(start..end))
        .context("the ELF file is cut short")?;
    Ok(field
        .iter()
        .rev()
        .fold(0, |number, &byte| (number << 8) | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file of nothing but its header and program headers of these types.
    fn elf(types: &[u32]) -> Vec<u8> {
        let mut file = vec![0_u8; 0x40];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[0x20] = 0x40;
        file[0x36] = 56;
        file[0x38] = u8::try_from(types.len()).expect("few headers");
        for kind in types {
            let mut entry = [0_u8; 56];
            entry[..4].copy_from_slice(&kind.to_le_bytes());
            file.extend(entry);
        }
        file
    }

    #[test]
    fn a_program_that_names_an_interpreter_is_not_static() {
        assert_eq!(linkage(&elf(&[6, 3, 1])).ok(), Some(Linkage::Dynamic));
        assert_eq!(linkage(&elf(&[6, 1, 1])).ok(), Some(Linkage::Static));
    }

    #[test]
    fn what_is_no_whole_program_is_refused() {
        assert!(linkage(b"#!/bin/sh\n").is_err());
        let whole = elf(&[1, 1]);
        assert!(linkage(&whole[..whole.len() - 56]).is_err());
        assert!(linkage(&elf(&[])).is_err());
    }
}
