//! How the containers of a Compose project were made: under which name, of which files. Compose writes it on each.

use std::path::{Path, PathBuf};

/// What a Compose project is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its name.
    pub project: String,
    /// The Compose files, in their order.
    pub files: Vec<PathBuf>,
    /// What relative paths in them start from.
    pub directory: PathBuf,
    /// The env files that were named; empty for `.env` in the directory.
    pub env_files: Vec<PathBuf>,
}

impl Made {
    /// What is made of these labels' values: the project, the Compose files, the directory, the env files. Compose
    /// separates files with commas.
    #[must_use]
    pub fn of_labels(project: &str, files: &str, directory: &str, env_files: &str) -> Self {
        let paths = |text: &str| -> Vec<PathBuf> {
            let paths = text.split(',').filter(|path| !path.is_empty());
            paths.map(PathBuf::from).collect()
        };
        Self {
            project: project.to_owned(),
            files: paths(files),
            directory: PathBuf::from(directory),
            env_files: paths(env_files),
        }
    }

    /// Whether both are made of a common file, or in the same directory.
    fn is_related(&self, other: &Self) -> bool {
        self.directory == other.directory
            || self.files.iter().any(|file| other.files.contains(file))
    }

    fn reads_env_of(&self, other: &Self) -> bool {
        let default = |made: &Self| made.directory.join(".env");
        let files = |made: &Self| match made.env_files.as_slice() {
            [] => vec![default(made)],
            files => files.to_vec(),
        };
        files(self) == files(other)
    }
}

/// In what the configuration differs from what runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What was found.
    pub found: String,
    /// What to do.
    pub advice: String,
}

/// How `running`, the containers of a service of some projects, was made otherwise than `configured` would make it; each
/// kind of difference once.
#[must_use]
pub fn differences(running: &[Made], configured: &Made) -> Vec<Difference> {
    let mut found: Vec<Difference> = Vec::new();
    let own: Vec<&Made> = running
        .iter()
        .filter(|made| made.project == configured.project)
        .collect();
    if own.is_empty() {
        let others = running.iter().filter(|made| made.is_related(configured));
        found.extend(others.map(|made| other_project(made, configured)));
    }
    for made in own {
        if made.files != configured.files {
            found.push(other_files(made, configured));
        } else if !made.reads_env_of(configured) {
            found.push(other_env_files(made));
        }
    }
    found.dedup();
    found
}

fn other_project(made: &Made, configured: &Made) -> Difference {
    let advice = if made.files == configured.files {
        format!(
            "if that is the service to deploy, set `project_name = \"{}\"`; otherwise the first deployment starts a second one beside it",
            made.project
        )
    } else {
        format!(
            "if that is the service to deploy, set `project_name = \"{}\"` and `compose_files = {}`; otherwise the first deployment starts a second one beside it",
            made.project,
            list(&made.files)
        )
    };
    Difference {
        found: format!(
            "it runs in the project `{}`, made of {}, and the configuration means the project `{}`, in which it has no container",
            made.project,
            shown(&made.files),
            configured.project
        ),
        advice,
    }
}

fn other_files(made: &Made, configured: &Made) -> Difference {
    Difference {
        found: format!(
            "what runs was made of {}, and the configuration names {}: the next deployment takes the definition from there",
            shown(&made.files),
            shown(&configured.files)
        ),
        advice: format!(
            "if that is not meant, set `compose_files = {}`",
            list(&made.files)
        ),
    }
}

fn other_env_files(made: &Made) -> Difference {
    let files = match made.env_files.as_slice() {
        [] => vec![made.directory.join(".env")],
        files => files.to_vec(),
    };
    Difference {
        found: format!(
            "what runs was made with the variables of {}, which the configuration does not name",
            shown(&files)
        ),
        advice: format!("if they are needed, set `env_files = {}`", list(&files)),
    }
}

fn shown(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    match paths.is_empty() {
        true => "files that are not known".to_owned(),
        false => paths.join(" and "),
    }
}

/// As the configuration has it.
fn list(paths: &[PathBuf]) -> String {
    let quoted = |path: &PathBuf| format!("{:?}", Path::display(path).to_string());
    let paths: Vec<_> = paths.iter().map(quoted).collect();
    format!("[{}]", paths.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(project: &str, files: &str, env_files: &str) -> Made {
        Made::of_labels(project, files, "/srv", env_files)
    }

    fn found(running: &[Made], configured: &Made) -> Vec<String> {
        let differences = differences(running, configured).into_iter();
        differences
            .map(|one| format!("{}; {}", one.found, one.advice))
            .collect()
    }

    #[test]
    fn what_runs_as_configured_is_no_difference() {
        let configured = made("shop", "/srv/a.yaml,/srv/b.yaml", "");
        let running = [
            configured.clone(),
            made("shop", "/srv/a.yaml,/srv/b.yaml", "/srv/.env"),
        ];
        assert_eq!(found(&running, &configured), [""; 0]);
        assert_eq!(found(&[], &configured), [""; 0]);
        let mut elsewhere = made("other", "/opt/compose.yaml", "");
        elsewhere.directory = PathBuf::from("/opt");
        assert_eq!(found(&[elsewhere], &configured), [""; 0]);
    }

    #[test]
    fn another_project_of_the_same_files_is_named() {
        let configured = made("srv", "/srv/compose.yaml", "");
        let running = [made("live", "/srv/compose.yaml", "")];
        let [told] = &found(&running, &configured)[..] else {
            panic!("not one")
        };
        assert!(told.contains("project `live`") && told.contains("project_name = \"live\"`; "));
        // A second stack of the same files that has its own container is meant.
        let both = [running[0].clone(), configured.clone()];
        assert_eq!(found(&both, &configured), [""; 0]);
    }

    #[test]
    fn another_file_than_the_one_that_runs_is_named() {
        let configured = made("shop", "/srv/compose.yaml", "");
        let running = made("shop", "/srv/compose.prod.yaml", "");
        let [told] = &found(&[running.clone(), running], &configured)[..] else {
            panic!("not one")
        };
        assert!(
            told.contains("compose_files = [\"/srv/compose.prod.yaml\"]"),
            "{told}"
        );
        let running = [made("live", "/srv/compose.prod.yaml", "")];
        let [told] = &found(&running, &configured)[..] else {
            panic!("not one")
        };
        assert!(
            told.contains("project_name = \"live\"` and `compose_files"),
            "{told}"
        );
    }

    #[test]
    fn an_env_file_that_what_runs_was_made_with_is_named() {
        let configured = made("shop", "/srv/compose.yaml", "");
        let running = [made("shop", "/srv/compose.yaml", "/srv/prod.env")];
        let [told] = &found(&running, &configured)[..] else {
            panic!("not one")
        };
        assert!(told.contains("env_files = [\"/srv/prod.env\"]"), "{told}");
    }
}
