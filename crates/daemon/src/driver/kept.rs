//! How to create the old containers of a deployment again, kept on the disk for as long as the deployment may
//! have to go back.
//!
//! They hold the environment of the containers, and with it secrets. So they are not in the journal, which is
//! kept, shown and copied, but in a file of their own for each deployment, `kept/<deployment>.json` in the state
//! directory, which only its owner can read and which goes with the deployment's end. Calls here touch the disk
//! and return when it has confirmed.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use cutover_core::names::DeploymentId;
use serde::{Deserialize, Serialize};

use crate::docker::CreateConfiguration;
use crate::files::{Access, make_durable, replace};

/// Only the owner may even list it.
const DIRECTORY_MODE: u32 = 0o700;

/// The form of the file; another one is from another version of cutover.
const FORMAT: u32 = 1;

/// The directory of the kept configurations.
#[derive(Debug, Clone)]
pub struct Kept {
    directory: PathBuf,
}

/// A file, as it is written.
#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    containers: &'a [(String, CreateConfiguration)],
}

/// A file, as it is read.
#[derive(Deserialize)]
struct Read {
    format: u32,
    containers: Vec<(String, CreateConfiguration)>,
}

impl Kept {
    /// Those in `state_directory`. Nothing is made yet.
    #[must_use]
    pub fn new(state_directory: &Path) -> Self {
        Self {
            directory: state_directory.join("kept"),
        }
    }

    /// Keeps how to create each of these containers, by their ids, for this deployment; what was kept for it
    /// before is replaced.
    ///
    /// # Errors
    /// What the system said, and of which file; what was kept before is still there.
    pub fn keep(
        &self,
        deployment: &DeploymentId,
        containers: &[(String, CreateConfiguration)],
    ) -> io::Result<()> {
        let written = Written {
            format: FORMAT,
            containers,
        };
        let path = self.file(deployment);
        let text = serde_json::to_vec(&written).map_err(|_| about(&path, "cannot be written"))?;
        self.make_directory()
            .and_then(|()| replace(&path, &text, Access::OWN))
            .map_err(|error| of(&path, &error))
    }

    /// What is kept for this deployment; none if nothing is.
    ///
    /// # Errors
    /// What the system said, and of which file; [`io::ErrorKind::InvalidData`] if the file is damaged or from
    /// another version of cutover. Nothing of its content is in the error.
    pub fn get(
        &self,
        deployment: &DeploymentId,
    ) -> io::Result<Option<Vec<(String, CreateConfiguration)>>> {
        let path = self.file(deployment);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(of(&path, &error)),
        };
        // The reader's own words quote what it read.
        let read: Read = serde_json::from_slice(&text)
            .map_err(|error| about(&path, &format!("is damaged in line {}", error.line())))?;
        if read.format == FORMAT {
            Ok(Some(read.containers))
        } else {
            Err(about(&path, "was written by another version of cutover"))
        }
    }

    /// Forgets what is kept for this deployment, if anything is.
    ///
    /// # Errors
    /// What the system said, and of which file.
    pub fn forget(&self, deployment: &DeploymentId) -> io::Result<()> {
        let path = self.file(deployment);
        match fs::remove_file(&path) {
            Ok(()) => make_durable(&self.directory).map_err(|error| of(&path, &error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(of(&path, &error)),
        }
    }

    /// Forgets everything but what is kept for these deployments, among it what a killed daemon left half
    /// written.
    ///
    /// # Errors
    /// What the system said, and of which file; the others are forgotten.
    pub fn forget_all_but(&self, deployments: &[DeploymentId]) -> io::Result<()> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(of(&self.directory, &error)),
        };
        let wanted: Vec<PathBuf> = deployments.iter().map(|one| self.file(one)).collect();
        let mut failed = None;
        for entry in entries {
            let path = entry.map_err(|error| of(&self.directory, &error))?.path();
            if wanted.contains(&path) {
                continue;
            }
            if let Err(error) = fs::remove_file(&path) {
                failed.get_or_insert(of(&path, &error));
            }
        }
        make_durable(&self.directory).map_err(|error| of(&self.directory, &error))?;
        failed.map_or(Ok(()), Err)
    }

    fn file(&self, deployment: &DeploymentId) -> PathBuf {
        self.directory.join(format!("{deployment}.json"))
    }

    fn make_directory(&self) -> io::Result<()> {
        if self.directory.is_dir() {
            return Ok(());
        }
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(&self.directory)?;
        make_durable(self.directory.parent().unwrap_or(Path::new("/")))
    }
}

fn of(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn about(path: &Path, what: &str) -> io::Error {
    let text = format!(
        "{}, which says how to create the previous containers again, {what}",
        path.display()
    );
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use serde_json::json;

    use super::*;

    fn id(last: u8) -> DeploymentId {
        DeploymentId::new(&format!("019aa000-0000-7000-8000-0000000000{last:02x}")).expect("an id")
    }

    fn configuration(secret: &str) -> CreateConfiguration {
        serde_json::from_value(json!({
            "image_id": "sha256:aa", "endpoints": {}, "volumes": [],
            "body": { "Image": "shop:1", "Env": [format!("TOKEN={secret}")] },
        }))
        .expect("a configuration")
    }

    #[test]
    fn what_is_kept_is_read_back_and_forgotten_with_its_deployment() {
        let state = tempfile::tempdir().expect("a directory");
        let kept = Kept::new(state.path());
        assert_eq!(kept.get(&id(1)).expect("nothing"), None);
        kept.forget(&id(1)).expect("nothing to forget");
        kept.forget_all_but(&[]).expect("nothing to forget");
        for secret in ["before", "now"] {
            let old = [("c1".to_owned(), configuration(secret))];
            kept.keep(&id(1), &old).expect("kept");
            assert_eq!(
                kept.get(&id(1)).expect("readable").as_deref(),
                Some(&old[..])
            );
        }
        let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o7777;
        assert_eq!(mode(&state.path().join("kept")), 0o700);
        assert_eq!(mode(&kept.file(&id(1))), 0o600);
        for _ in 0..2 {
            kept.forget(&id(1)).expect("forgotten");
            assert_eq!(kept.get(&id(1)).expect("nothing"), None);
        }
    }

    #[test]
    fn at_the_start_only_the_unfinished_deployments_are_remembered() {
        let state = tempfile::tempdir().expect("a directory");
        let kept = Kept::new(state.path());
        for number in 1..4 {
            kept.keep(&id(number), &[]).expect("kept");
        }
        fs::write(state.path().join("kept/.half.cutover-1"), "TOKEN").expect("written");
        kept.forget_all_but(&[id(2), id(9)]).expect("forgotten");
        let left: Vec<_> = fs::read_dir(state.path().join("kept"))
            .expect("readable")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        assert_eq!(left, [kept.file(&id(2))]);
    }

    #[test]
    fn a_damaged_file_is_named_and_not_quoted() {
        let state = tempfile::tempdir().expect("a directory");
        let kept = Kept::new(state.path());
        kept.keep(&id(1), &[("c1".to_owned(), configuration("secret"))])
            .expect("kept");
        let path = kept.file(&id(1));
        let whole = fs::read_to_string(&path).expect("readable");
        for (damaged, words) in [
            (whole[..whole.len() / 2].to_owned(), "is damaged in line 1"),
            (
                whole.replace(r#"{"Env""#, r#"0,{"Env""#),
                "is damaged in line 1",
            ),
            (
                r#"{"format":1,"containers":"secret"}"#.to_owned(),
                "is damaged",
            ),
            (
                whole.replace(r#""format":1"#, r#""format":2"#),
                "another version",
            ),
            (String::new(), "is damaged"),
        ] {
            assert_ne!(damaged, whole);
            fs::write(&path, damaged).expect("written");
            let error = kept.get(&id(1)).expect_err("damaged");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            let text = error.to_string();
            assert!(text.contains(words) && !text.contains("secret"), "{text}");
            assert!(text.contains(path.to_str().expect("UTF-8")), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_an_error_with_its_path() {
        let state = tempfile::tempdir().expect("a directory");
        fs::write(state.path().join("kept"), "in the way").expect("written");
        let kept = Kept::new(state.path());
        let error = kept.keep(&id(1), &[]).expect_err("no directory");
        assert!(error.to_string().contains("/kept/"), "{error}");
    }
}
