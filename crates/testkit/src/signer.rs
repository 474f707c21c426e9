//! Signs images with the real cosign and a key of its own, without Sigstore's public services.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use tempfile::TempDir;

use crate::engine::command::output_of;
use crate::registry::Registry;

/// Somebody with a key pair.
#[derive(Debug)]
pub struct Signer {
    dir: TempDir,
}

impl Signer {
    /// Makes a key pair.
    ///
    /// # Errors
    /// If cosign cannot be run.
    ///
    /// # Panics
    /// If the test was not started through `cargo xtask`.
    pub fn new() -> Result<Self> {
        let signer = Self {
            dir: tempfile::Builder::new()
                .prefix("cutover-signer-")
                .tempdir()?,
        };
        signer.cosign(&["generate-key-pair"])?;
        Ok(signer)
    }

    /// The program.
    ///
    /// # Panics
    /// If the test was not started through `cargo xtask`.
    #[must_use]
    pub fn program() -> PathBuf {
        crate::world().packages.program("cosign")
    }

    /// The file of the public key.
    #[must_use]
    pub fn public_key(&self) -> PathBuf {
        self.dir.path().join("cosign.pub")
    }

    /// Signs what `tag` is in the registry, and pushes the signature beside it.
    ///
    /// # Errors
    /// If the registry has no such image, or does not take the signature.
    pub fn sign(&self, registry: &Registry, repository: &str, tag: &str) -> Result<()> {
        let reference = registry.reference(repository, tag);
        self.cosign(&[
            "sign",
            "--key",
            "cosign.key",
            "--tlog-upload=false",
            "--yes",
            &reference,
        ])
    }

    fn cosign(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(Self::program());
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.dir.path())
            .env("COSIGN_PASSWORD", "of the tests");
        output_of(&mut command).map(drop)
    }
}
