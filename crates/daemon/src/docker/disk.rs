//! How much room is left where Docker keeps images.

use std::path::{Path, PathBuf};

use super::Docker;
use super::error::DockerError;

/// Where containerd keeps images by default, when Docker leaves them to it.
const CONTAINERD_ROOT: &str = "/var/lib/containerd";

/// The word by which Docker says that containerd keeps the images.
const SNAPSHOTTER: &str = "io.containerd.snapshotter.v1";

/// Free space on one file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFree {
    /// The directory that was asked about.
    pub path: PathBuf,
    /// What is left for new files, in bytes.
    pub bytes: u64,
}

impl Docker {
    /// The free space where Docker keeps images; none if this process cannot see that directory, for example
    /// because it runs in a container or Docker in another mount namespace.
    ///
    /// # Errors
    /// Whatever kept Docker from answering.
    pub async fn disk_free(&self) -> Result<Option<DiskFree>, DockerError> {
        let ask = async { self.bollard.info().await.map_err(DockerError::from) };
        let answer = self
            .bounded("asking where images are kept", self.bounds.call, ask)
            .await?;
        let mut paths: Vec<PathBuf> = answer
            .docker_root_dir
            .map(PathBuf::from)
            .into_iter()
            .collect();
        let by_containerd = answer
            .driver_status
            .into_iter()
            .flatten()
            .flatten()
            .any(|word| word == SNAPSHOTTER);
        if by_containerd {
            paths.push(PathBuf::from(CONTAINERD_ROOT));
        }
        // A file system that hangs must not hang the runtime.
        let measured = tokio::task::spawn_blocking(move || {
            paths
                .iter()
                .filter_map(|path| free(path))
                .min_by_key(|free| free.bytes)
        });
        self.bounded("measuring free space", self.bounds.call, async {
            Ok(measured.await.ok().flatten())
        })
        .await
    }
}

fn free(path: &Path) -> Option<DiskFree> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some(DiskFree {
        path: path.to_owned(),
        bytes: found.f_bavail.saturating_mul(found.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_exists_has_a_measure_and_another_has_none() {
        assert!(free(Path::new("/")).is_some());
        assert_eq!(free(Path::new("/nonexistent/docker")), None);
    }
}
