//! Writing tar archives, as much of the format as an image layer needs.

/// The size of a header, and what content is padded to.
const BLOCK: usize = 512;

/// An archive in the making. Owner is root, and the time is the epoch, so that equal content makes
/// equal archives.
#[derive(Debug, Default)]
pub(super) struct Tar {
    bytes: Vec<u8>,
}

impl Tar {
    /// Adds a file under a path of at most 100 bytes.
    #[must_use]
    pub(super) fn file(mut self, path: &str, mode: u32, content: &[u8]) -> Self {
        self.bytes.extend(header(path, mode, content.len(), b'0'));
        self.bytes.extend(content);
        self.pad();
        self
    }

    /// Adds a directory; its path ends with a slash.
    #[must_use]
    pub(super) fn directory(mut self, path: &str, mode: u32) -> Self {
        self.bytes.extend(header(path, mode, 0, b'5'));
        self
    }

    /// Adds a symbolic link; both paths have at most 100 bytes.
    #[must_use]
    pub(super) fn link(mut self, path: &str, target: &str) -> Self {
        self.bytes.extend(header_to(path, 0o777, 0, b'2', target));
        self
    }

    /// The whole archive.
    #[must_use]
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.extend([0; 2 * BLOCK]);
        self.bytes
    }

    fn pad(&mut self) {
        let padded = self.bytes.len().next_multiple_of(BLOCK);
        self.bytes.resize(padded, 0);
    }
}

fn header(path: &str, mode: u32, size: usize, kind: u8) -> [u8; BLOCK] {
    header_to(path, mode, size, kind, "")
}

fn header_to(path: &str, mode: u32, size: usize, kind: u8, target: &str) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |offset: usize, text: &[u8]| {
        header[offset..offset + text.len()].copy_from_slice(text);
    };
    put(0, path.as_bytes());
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{size:011o}").as_bytes());
    put(136, b"00000000000");
    // The checksum is computed as if its own field were blank.
    put(148, b"        ");
    put(156, &[kind]);
    put(157, target.as_bytes());
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn the_machines_own_tar_reads_the_archive() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.tar");
        let archive = Tar::default()
            .directory("data/", 0o777)
            .file("data/greeting", 0o640, b"hello")
            .link("data/welcome", "/data/greeting")
            .finish();
        std::fs::write(&path, archive).expect("written");
        let listing = Command::new("tar")
            .args(["--utc", "-tvf"])
            .arg(&path)
            .stderr(Stdio::inherit())
            .output()
            .expect("tar runs");
        let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
        let modes: Vec<&str> = listing
            .lines()
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert_eq!(
            modes,
            ["drwxrwxrwx", "-rw-r-----", "lrwxrwxrwx"],
            "{listing}"
        );
        assert!(listing.contains("welcome -> /data/greeting"), "{listing}");
    }
}
