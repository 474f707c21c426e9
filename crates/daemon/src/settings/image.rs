//! What an image must be like before it is run: `image_mib_max`, `require_revision_label`, `signature`.

use super::signature::{self, SignaturePolicy};
use super::table::Table;

/// A terabyte: whoever writes more has slipped with the unit.
const IMAGE_MIB_MAX: u32 = 1 << 20;

/// What an image must be like before it is run, beyond its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImagePolicy {
    /// The most that it may take on the disk, in bytes.
    pub bytes_max: Option<u64>,
    /// Whether its label must name the tag.
    pub revision_label: RevisionLabel,
    /// Who must have signed it.
    pub signature: Option<SignaturePolicy>,
}

/// Whether the label `org.opencontainers.image.revision` of an image must be its tag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RevisionLabel {
    /// It must.
    Required,
    /// It may say anything.
    #[default]
    NotRequired,
}

/// Reads what the keys of a service say about its images.
pub(super) fn read(table: &Table<'_>) -> ImagePolicy {
    let mib_max = table.get("image_mib_max");
    let mib_max = mib_max.and_then(|value| value.number(1..=IMAGE_MIB_MAX));
    let required = table.get("require_revision_label");
    let revision_label = match required.and_then(|value| value.boolean()) {
        Some(true) => RevisionLabel::Required,
        Some(false) | None => RevisionLabel::NotRequired,
    };
    ImagePolicy {
        bytes_max: mib_max.map(|mib| u64::from(mib) << 20),
        revision_label,
        signature: table.get("signature").as_ref().and_then(signature::read),
    }
}
