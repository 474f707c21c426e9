//! What a disk holds, what its users see, and the changes that are between the two.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::{Dice, Survives};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// In how many steps the share of the sectors that survive is chosen, from none to all.
const SHARES: u64 = 4;

/// The number of a file, whatever its name.
pub(super) type FileId = u64;

/// Who may do what with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) mode: u16,
    pub(super) user: u32,
    pub(super) group: u32,
}

/// One file.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) bytes: Vec<u8>,
    pub(super) access: Access,
}

/// Names and files. A file without a name is there as long as somebody has it open.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    names: BTreeMap<OsString, FileId>,
    files: BTreeMap<FileId, File>,
}

impl Tree {
    pub(super) fn find(&self, name: &OsStr) -> Option<FileId> {
        self.names.get(name).copied()
    }

    pub(super) fn file(&self, id: FileId) -> Option<&File> {
        self.files.get(&id)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = (&OsString, FileId)> {
        self.names.iter().map(|(name, id)| (name, *id))
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write {
                file,
                offset,
                bytes,
            } => {
                if let Some(file) = self.files.get_mut(file) {
                    let end = offset + bytes.len();
                    if file.bytes.len() < end {
                        file.bytes.resize(end, 0);
                    }
                    file.bytes[*offset..end].copy_from_slice(bytes);
                }
            }
            Change::Resize { file, len } => {
                if let Some(file) = self.files.get_mut(file) {
                    file.bytes.resize(*len, 0);
                }
            }
            Change::Allow { file, access } => {
                if let Some(file) = self.files.get_mut(file) {
                    file.access = *access;
                }
            }
            Change::Link { name, file, access } => {
                self.insert(*file, *access);
                self.names.insert(name.clone(), *file);
            }
            Change::Unlink { name } => {
                self.names.remove(name);
            }
            Change::Rename { from, to } => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
        }
    }

    /// Makes sure that the file is there, empty if it was not.
    fn insert(&mut self, id: FileId, access: Access) {
        let bytes = Vec::new();
        self.files.entry(id).or_insert(File { bytes, access });
    }

    /// Forgets the files that have no name: after a power cut nobody has them open.
    fn forget_nameless(&mut self) {
        let names = &self.names;
        self.files
            .retain(|id, _| names.values().any(|named| named == id));
    }
}

/// One change.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// Bytes of a file.
    Write {
        file: FileId,
        offset: usize,
        bytes: Vec<u8>,
    },
    /// The length of a file.
    Resize { file: FileId, len: usize },
    /// Mode and owner of a file.
    Allow { file: FileId, access: Access },
    /// A name for a new file.
    Link {
        name: OsString,
        file: FileId,
        access: Access,
    },
    /// A name is gone.
    Unlink { name: OsString },
    /// A file has another name, and whatever had it before has none.
    Rename { from: OsString, to: OsString },
}

/// What is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Synced {
    /// Bytes, length, mode and owner of one file.
    File(FileId),
    /// The names.
    Names,
}

impl Synced {
    fn of(change: &Change) -> Self {
        match change {
            Change::Write { file, .. }
            | Change::Resize { file, .. }
            | Change::Allow { file, .. } => Self::File(*file),
            Change::Link { .. } | Change::Unlink { .. } | Change::Rename { .. } => Self::Names,
        }
    }
}

/// A disk in use.
#[derive(Debug)]
pub(super) struct Contents {
    seen: Tree,
    on_disk: Tree,
    /// What leads from `on_disk` to `seen`, in order.
    unsynced: Vec<Change>,
    next: FileId,
}

impl Contents {
    /// A disk that holds `tree`, with nothing changed yet.
    pub(super) fn of(tree: Tree) -> Self {
        Self {
            next: tree.files.keys().last().map_or(FIRST, |last| last + 1),
            seen: tree.clone(),
            on_disk: tree,
            unsynced: Vec::new(),
        }
    }

    /// What users see.
    pub(super) fn seen(&self) -> &Tree {
        &self.seen
    }

    /// A number for a new file.
    pub(super) fn new_file(&mut self) -> FileId {
        self.next += 1;
        self.next - 1
    }

    /// Makes a change that is seen at once and not synced.
    pub(super) fn change(&mut self, change: Change) {
        self.seen.apply(&change);
        self.unsynced.push(change);
    }

    /// Brings what is synced onto the disk, and nothing else.
    pub(super) fn sync(&mut self, what: Synced) {
        if let Synced::File(id) = what
            && let Some(file) = self.seen.file(id)
        {
            // It may have no durable name yet.
            self.on_disk.insert(id, file.access);
        }
        let (synced, unsynced) = std::mem::take(&mut self.unsynced)
            .into_iter()
            .partition::<Vec<_>, _>(|change| Synced::of(change) == what);
        for change in &synced {
            self.on_disk.apply(change);
        }
        self.unsynced = unsynced;
    }

    /// What a power cut in this moment leaves.
    pub(super) fn after_power_cut(&self, survives: Survives) -> Tree {
        let mut tree = self.on_disk.clone();
        if let Survives::Some(mut dice) = survives {
            self.write_some(&mut tree, &mut dice);
        }
        tree.forget_nameless();
        tree
    }

    /// A file system writes names, lengths and modes in their order, and bytes when it likes.
    fn write_some(&self, tree: &mut Tree, dice: &mut Dice) {
        let share = dice.below(SHARES + 1);
        let ordered = |change: &&Change| !matches!(change, Change::Write { .. });
        let count = self.unsynced.iter().filter(ordered).count() as u64;
        let mut left = dice.below(count + 1);
        for change in &self.unsynced {
            match change {
                Change::Write {
                    file,
                    offset,
                    bytes,
                } => {
                    for (offset, bytes) in sectors(*offset, bytes) {
                        if dice.below(SHARES) < share {
                            let (file, bytes) = (*file, bytes.to_vec());
                            tree.apply(&Change::Write {
                                file,
                                offset,
                                bytes,
                            });
                        }
                    }
                }
                ordered if left > 0 => {
                    left -= 1;
                    tree.apply(ordered);
                }
                _ => {}
            }
        }
    }
}

/// The number of the first file; 1 is the directory.
const FIRST: FileId = 2;

/// The parts of a write that are in different sectors, each with where it begins.
fn sectors(offset: usize, bytes: &[u8]) -> Vec<(usize, &[u8])> {
    let mut parts = Vec::new();
    let (mut offset, mut rest) = (offset, bytes);
    while !rest.is_empty() {
        let len = (SECTOR - offset % SECTOR).min(rest.len());
        let (part, after) = rest.split_at(len);
        parts.push((offset, part));
        (offset, rest) = (offset + len, after);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCESS: Access = Access {
        mode: 0o600,
        user: 0,
        group: 0,
    };

    fn create(contents: &mut Contents, name: &str) -> FileId {
        let file = contents.new_file();
        let name = name.into();
        contents.change(Change::Link {
            name,
            file,
            access: ACCESS,
        });
        file
    }

    fn write(contents: &mut Contents, file: FileId, offset: usize, bytes: &[u8]) {
        let bytes = bytes.to_vec();
        contents.change(Change::Write {
            file,
            offset,
            bytes,
        });
    }

    fn bytes(tree: &Tree, name: &str) -> Option<Vec<u8>> {
        let id = tree.find(OsStr::new(name))?;
        tree.file(id).map(|file| file.bytes.clone())
    }

    #[test]
    fn bytes_are_kept_with_the_file_and_names_with_the_directory() {
        let mut contents = Contents::of(Tree::default());
        let file = create(&mut contents, "a");
        write(&mut contents, file, 0, b"one");
        contents.sync(Synced::File(file));
        let nameless = contents.after_power_cut(Survives::Nothing);
        assert_eq!(bytes(&nameless, "a"), None);
        contents.sync(Synced::Names);
        write(&mut contents, file, 0, b"two");
        contents.change(Change::Rename {
            from: "a".into(),
            to: "b".into(),
        });
        assert_eq!(bytes(contents.seen(), "b"), Some(b"two".to_vec()));
        let left = contents.after_power_cut(Survives::Nothing);
        assert_eq!(bytes(&left, "a"), Some(b"one".to_vec()));
        assert_eq!(bytes(&left, "b"), None);
    }

    #[test]
    fn a_name_without_its_bytes_is_an_empty_file() {
        let mut contents = Contents::of(Tree::default());
        let file = create(&mut contents, "a");
        write(&mut contents, file, 0, b"one");
        contents.sync(Synced::Names);
        let left = contents.after_power_cut(Survives::Nothing);
        assert_eq!(bytes(&left, "a"), Some(vec![]));
    }

    #[test]
    fn some_sectors_survive_whole_and_others_not_at_all() {
        let (old, new) = ([b'o'; 4 * SECTOR], [b'n'; 4 * SECTOR]);
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut contents = Contents::of(Tree::default());
            let file = create(&mut contents, "a");
            write(&mut contents, file, 0, &old);
            contents.sync(Synced::File(file));
            contents.sync(Synced::Names);
            write(&mut contents, file, 0, &new);
            let left = contents.after_power_cut(Survives::Some(Dice::new(seed)));
            let left = bytes(&left, "a").expect("it was synced");
            let sectors: Vec<_> = left.chunks(SECTOR).map(<[u8]>::to_vec).collect();
            assert!(
                sectors
                    .iter()
                    .all(|sector| sector.iter().all(|byte| *byte == sector[0]))
            );
            seen.insert(sectors.iter().map(|sector| sector[0]).collect::<Vec<_>>());
        }
        assert_eq!(seen.len(), 16, "every mixture of four sectors");
    }
}
