//! What runs of the project already: under which name and of which files its containers were made. That is what shall be
//! deployed, whatever else lies in the directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cutover_core::made::Made;
use cutover_daemon::docker::Docker;
use cutover_daemon::labels;
use cutover_daemon::settings::DockerSettings;

use crate::commands::block_on;

/// Docker on the same machine answers at once, or is not asked at all.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How the running containers of `directory` were made, each way once; nothing where Docker does not answer.
pub(super) fn made_in(docker: &DockerSettings, directory: &Path) -> Vec<Made> {
    let docker = Docker::new(&docker.socket);
    let asked = block_on(async {
        let found = docker.containers_labeled(labels::PROJECT, None);
        tokio::time::timeout(TIMEOUT, found).await
    });
    let Ok(Ok(Ok(found))) = asked else {
        return Vec::new();
    };
    let running = found.iter().filter(|container| container.state.running);
    let mut made: Vec<Made> = running
        .filter_map(labels::made)
        .filter(|made| is_in(made, directory))
        .collect();
    made.sort_by(|one, other| one.project.cmp(&other.project));
    made.dedup();
    made
}

fn is_in(made: &Made, directory: &Path) -> bool {
    let is_there = |path: &Path| path.parent() == Some(directory);
    made.directory == directory || made.files.iter().any(|file| is_there(file))
}

/// The one way in which what runs was made, if its files are `wanted` or none are, and are all there.
pub(super) fn choice<'a>(running: &'a [Made], wanted: &[PathBuf]) -> Option<&'a Made> {
    let [made] = running else { return None };
    let fits = wanted.is_empty() || made.files == wanted;
    (fits && !made.files.is_empty() && made.files.iter().all(|file| file.is_file())).then_some(made)
}

/// What a person must know of what runs and was not taken.
pub(super) fn warning(running: &[Made], files: &[PathBuf]) -> Option<String> {
    match running {
        [] => None,
        [made] if made.files == files => None,
        [made] => Some(format!(
            "the project `{}` runs here, made of {}, and the configuration takes {}: if that is not meant, set `project_name` and `compose_files`",
            made.project,
            shown(&made.files),
            shown(files)
        )),
        several => {
            let names: Vec<_> = several
                .iter()
                .map(|made| format!("`{}` of {}", made.project, shown(&made.files)))
                .collect();
            Some(format!(
                "several projects run here ({}), and the configuration takes {}: give --file for the one to deploy, and set `project_name`",
                names.join("; "),
                shown(files)
            ))
        }
    }
}

/// Docker's socket that `DOCKER_HOST` names, or why it names none.
pub(super) fn docker_host() -> Option<Result<PathBuf, String>> {
    let host = std::env::var("DOCKER_HOST").ok()?;
    (!host.is_empty()).then(|| match host.strip_prefix("unix://") {
        Some(path) => Ok(PathBuf::from(path)),
        None => Err(
            "DOCKER_HOST names a Docker that is reached over the network; cutover works with the Docker of its own machine, at its unix socket (`docker.socket`)".to_owned(),
        ),
    })
}

fn shown(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    match paths.is_empty() {
        true => "files that are not known".to_owned(),
        false => paths.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_is_taken_where_there_is_one_way_and_its_files_are_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, "").expect("a file");
            path
        };
        let (prod, dev) = (file("compose.prod.yaml"), file("compose.yaml"));
        let made = |files: &[&PathBuf]| Made {
            project: "live".to_owned(),
            files: files.iter().map(|&file| file.clone()).collect(),
            directory: directory.path().to_owned(),
            env_files: Vec::new(),
        };
        let running = [made(&[&prod])];
        assert_eq!(choice(&running, &[]), Some(&running[0]));
        assert_eq!(
            choice(&running, std::slice::from_ref(&prod)),
            Some(&running[0])
        );
        assert_eq!(choice(&running, std::slice::from_ref(&dev)), None);
        let gone = directory.path().join("gone.yaml");
        assert_eq!(choice(&[made(&[&gone])], &[]), None);
        let both = [made(&[&prod]), made(&[&dev])];
        assert_eq!(choice(&both, &[]), None);

        assert_eq!(warning(&running, &[prod]), None);
        let told = warning(&running, std::slice::from_ref(&dev)).expect("it differs");
        assert!(told.contains("the project `live` runs here"), "{told}");
        assert!(
            warning(&both, &[dev])
                .expect("two")
                .contains("several projects")
        );
        assert!(is_in(&running[0], directory.path()));
        assert!(!is_in(&running[0], Path::new("/srv")));
    }
}
