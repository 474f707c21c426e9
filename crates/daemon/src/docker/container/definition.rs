//! What a container was created with, as far as a variable of its Compose file may have had a part in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bollard::models::{ContainerConfig, HostConfig, MountPoint};

/// What a container was created with. Its `Debug` shows nothing: a command may hold a password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Definition {
    /// The arguments of its process.
    pub command: Vec<String>,
    /// The program that gets them.
    pub entrypoint: Vec<String>,
    /// As whom it runs; empty for the image's own.
    pub user: String,
    /// The directory or the volume that is mounted, by the path in the container.
    pub mounts: BTreeMap<String, String>,
    /// What of that it may write to.
    pub writable: BTreeSet<String>,
    /// The machine's ports, by the container's, for example `80/tcp`; an empty text where Docker chooses.
    pub published: BTreeMap<String, Vec<String>>,
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition").finish_non_exhaustive()
    }
}

impl Definition {
    pub(super) fn from_docker(
        config: &ContainerConfig,
        host: &HostConfig,
        mounts: Option<&[MountPoint]>,
    ) -> Self {
        let what = |mount: &MountPoint| {
            let name = mount.name.clone().filter(|name| !name.is_empty());
            name.or(mount.source.clone())
        };
        let mount = |mount: &MountPoint| Some((mount.destination.clone()?, what(mount)?));
        let all = || mounts.into_iter().flatten();
        let writable = all().filter(|mount| mount.rw != Some(false));
        let bindings = host.port_bindings.iter().flatten();
        let published = bindings.map(|(port, bindings)| {
            let ports = bindings.iter().flatten();
            let ports = ports.map(|binding| binding.host_port.clone().unwrap_or_default());
            (port.clone(), ports.collect())
        });
        Self {
            command: config.cmd.clone().unwrap_or_default(),
            entrypoint: config.entrypoint.clone().unwrap_or_default(),
            user: config.user.clone().unwrap_or_default(),
            mounts: all().filter_map(mount).collect(),
            writable: writable.filter_map(what).collect(),
            published: published.collect(),
        }
    }
}
