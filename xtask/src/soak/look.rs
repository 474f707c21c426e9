//! One look at everything that could grow.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use cutover_testkit::scene::{Scene, docker_call};
use serde_json::Value;

use crate::bench::resources::{memory, processor_time};
use crate::bench::statistics::{Summary, millis};

/// What was there after some deployments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Look {
    /// How many deployments there had been.
    pub(super) deployments: u32,
    pub(super) containers: u64,
    pub(super) images: u64,
    pub(super) volumes: u64,
    pub(super) networks: u64,
    /// Of the daemon.
    pub(super) descriptors: u64,
    /// Of the daemon.
    pub(super) threads: u64,
    /// Memory of the daemon (RSS), in bytes.
    pub(super) resident: f64,
    /// Files below the state directory.
    pub(super) state_files: u64,
    /// The journal without its log, in bytes.
    pub(super) journal: u64,
    /// The journal's write-ahead log, in bytes.
    pub(super) log: u64,
    /// Time from command to answer since the look before, in milliseconds, the median.
    pub(super) time_ms: f64,
    /// Processor time of the daemon so far, in milliseconds.
    pub(super) processor_ms: f64,
}

impl Look {
    /// Looks when the last deployment is cleaned up, which goes on behind its answer. `times_ms` are those of the
    /// deployments since the look before.
    pub(super) fn at(scene: &Scene, deployments: u32, times_ms: Vec<f64>) -> Result<Self> {
        let pid = scene.daemon_pid().context("the daemon is gone")?;
        let state = scene.dir().join("state");
        // How to create the previous container again is the last thing that a deployment removes.
        scene.wait_until("the clean-up is over", || {
            files_below(&state.join("kept")).is_ok_and(|count| count == 0)
        });
        let bytes = |name: &str| fs::metadata(state.join(name)).map_or(0, |file| file.len());
        Ok(Self {
            deployments,
            containers: count("/containers/json?all=1", None)?,
            images: count("/images/json?all=1", None)?,
            volumes: count("/volumes", Some("Volumes"))?,
            networks: count("/networks", None)?,
            descriptors: entries(Path::new(&format!("/proc/{pid}/fd")))?,
            threads: entries(Path::new(&format!("/proc/{pid}/task")))?,
            resident: memory(pid)?.resident,
            state_files: files_below(&state)?,
            journal: bytes("journal.sqlite"),
            log: bytes("journal.sqlite-wal"),
            time_ms: Summary::of(times_ms).map_or(0.0, |of| of.median),
            processor_ms: millis(processor_time(pid)?),
        })
    }

    /// One line of the table.
    pub(super) fn line(&self) -> String {
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {:.1} | {} | {} | {} | {:.0} | {:.0} |",
            self.deployments,
            self.containers,
            self.images,
            self.volumes,
            self.networks,
            self.descriptors,
            self.threads,
            self.resident / (1024.0 * 1024.0),
            self.state_files,
            self.journal / 1024,
            self.log / 1024,
            self.time_ms,
            self.processor_ms,
        )
    }
}

/// As it stands in the documents.
pub(super) fn table(looks: &[Look]) -> String {
    let mut text = "| deployments | containers | images | volumes | networks | descriptors | threads | RSS (MiB) \
                    | state files | journal (KiB) | its log (KiB) | time, median (ms) | processor time so far (ms) |\n\
                    |---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for look in looks {
        text += &look.line();
        text.push('\n');
    }
    text
}

/// How many Docker lists, on the engine that nothing else uses.
fn count(path: &str, field: Option<&str>) -> Result<u64> {
    let (_, list) = docker_call("GET", path).context("Docker does not answer")?;
    let list = field.map_or(&list, |field| &list[field]);
    let none = Vec::new();
    let list = match list {
        Value::Null => &none,
        list => list
            .as_array()
            .with_context(|| format!("Docker lists nothing at {path}"))?,
    };
    Ok(u64::try_from(list.len())?)
}

fn entries(directory: &Path) -> Result<u64> {
    let listed = fs::read_dir(directory)
        .with_context(|| format!("{} cannot be read", directory.display()))?;
    Ok(u64::try_from(listed.count())?)
}

fn files_below(directory: &Path) -> Result<u64> {
    let mut count = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() {
            files_below(&entry.path())?
        } else {
            1
        };
    }
    Ok(count)
}
