//! Damages what a registry keeps, behind its back: as a push that was broken off or a clean-up that went wrong leaves
//! it.

use std::fs;

use anyhow::{Context as _, Result};

use super::Registry;
use crate::images::ImageSpec;

/// A part of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its configuration.
    Configuration,
    /// Its last layer.
    LastLayer,
}

/// What can be wrong with a part of an image that a registry keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// It is not there.
    Missing,
    /// Its second half is not there.
    CutShort,
    /// One byte of it is another.
    Altered,
}

impl Registry {
    /// Damages a part of an image that was pushed, behind the registry's back.
    ///
    /// # Errors
    /// If the registry does not keep that part.
    ///
    /// # Panics
    /// If the specification names no program and the test was not started through `cargo xtask`.
    pub fn damage(&self, spec: &ImageSpec, part: Part, damage: Damage) -> Result<()> {
        let image = spec.assemble()?;
        let blob = match part {
            Part::Configuration => &image.config,
            Part::LastLayer => image.layers.last().context("an image has layers")?,
        };
        let digits = blob.digest.trim_start_matches("sha256:");
        let file = self
            .dir
            .path()
            .join("storage/docker/registry/v2/blobs/sha256")
            .join(&digits[..2])
            .join(digits)
            .join("data");
        let mut content = fs::read(&file).with_context(|| format!("no {}", file.display()))?;
        let half = content.len() / 2;
        match damage {
            Damage::Missing => return Ok(fs::remove_file(&file)?),
            Damage::CutShort => content.truncate(half),
            Damage::Altered => content[half] ^= 1,
        }
        Ok(fs::write(&file, content)?)
    }
}
