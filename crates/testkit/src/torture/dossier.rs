//! What is kept of a third state, for whoever looks for the reason.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::case::Case;
use super::ground::Ground;
use super::sight::Sight;

/// Writes everything into a directory.
pub(super) fn write(
    directory: &Path,
    heading: &str,
    ground: &Ground,
    case: &Case,
    sight: &Sight,
    log: &str,
) -> Result<()> {
    fs::create_dir_all(directory)?;
    let write = |name: &str, text: &str| fs::write(directory.join(name), text);
    write(
        "summary.txt",
        &format!("{heading}\n\n{case:#?}\n\n{sight:#?}\n"),
    )?;
    let containers = ground.scene.try_containers().unwrap_or_default();
    write("containers.json", &format!("{:#}", json!(containers)))?;
    write("docker-calls.txt", &ground.scene.docker.last_calls())?;
    if let Some(record) = &sight.record {
        let lines = record.events.iter().map(|line| {
            let since_ms = line.at_ms - case.span.from_ms;
            format!(
                "{since_ms:+} ms {} [{}] {}\n",
                line.kind, line.status, line.message
            )
        });
        write("events.txt", &lines.collect::<String>())?;
    }
    write("daemon.log", log)?;
    let docker = ground.engine().dir().join("dockerd.log");
    drop(fs::copy(docker, directory.join("dockerd.log")));
    Ok(())
}
