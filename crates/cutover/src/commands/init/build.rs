//! How the image of a service is built, as the Compose file says under `build`, for the workflow that builds it instead.

use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

/// What `build` of a service says. Paths are relative to the project's directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Build {
    /// The directory that is built; none if it is outside of the project.
    context: Option<PathBuf>,
    /// The Dockerfile, relative to the context.
    dockerfile: Option<String>,
    target: Option<String>,
    /// `NAME=value`; those whose value only the server knows are left out.
    args: Vec<String>,
}

impl Build {
    /// What is written under `build` in a project in `directory`; both the short and the long form.
    pub(super) fn of(written: &Value, directory: &Path) -> Self {
        let empty = Map::new();
        let long = written.as_object().unwrap_or(&empty);
        let text = |key: &str| long.get(key).and_then(Value::as_str).map(str::to_owned);
        let context = written.as_str().map(str::to_owned).or(text("context"));
        Self {
            context: inside(&context.unwrap_or_else(|| ".".to_owned()), directory),
            dockerfile: text("dockerfile").filter(|name| is_plain(name)),
            target: text("target").filter(|name| is_plain(name)),
            args: args(long.get("args")),
        }
    }

    /// Whether the workflow needs to be told where to build.
    pub(super) fn says_where(&self) -> bool {
        self.context.is_some()
    }

    /// The inputs of the workflow, each a line; those with their defaults are left out.
    pub(super) fn inputs(&self) -> String {
        let mut lines = String::new();
        let mut add = |name: &str, value: &str| {
            lines.push_str(&format!("      {name}: {}\n", Value::from(value)));
        };
        let context = self.context.as_deref().unwrap_or(Path::new(""));
        if !context.as_os_str().is_empty() {
            add("context", &context.display().to_string());
        }
        if let Some(dockerfile) = &self.dockerfile {
            // The workflow takes it from the top of the repository, Compose from the context.
            add(
                "dockerfile",
                &context.join(dockerfile).display().to_string(),
            );
        }
        if let Some(target) = &self.target {
            add("target", target);
        }
        if !self.args.is_empty() {
            lines.push_str("      build-args: |\n");
            for arg in &self.args {
                lines.push_str(&format!("        {arg}\n"));
            }
        }
        lines
    }
}

/// The path within the project; none if it leads out of it or has a variable in it.
fn inside(path: &str, directory: &Path) -> Option<PathBuf> {
    if !is_plain(path) || path.contains("://") {
        return None;
    }
    let path = directory.join(path);
    let within = path.strip_prefix(directory).ok()?;
    let parts = within.components();
    let plain: PathBuf = parts.filter(|part| *part != Component::CurDir).collect();
    let leads_out = plain.components().any(|part| part == Component::ParentDir);
    (!leads_out).then_some(plain)
}

/// Whether a text means itself, in the Compose file as in a workflow.
fn is_plain(text: &str) -> bool {
    !text.contains(['$', '\n'])
}

fn args(written: Option<&Value>) -> Vec<String> {
    let of_pair = |(name, value): (&String, &Value)| match value {
        Value::String(text) => Some(format!("{name}={text}")),
        Value::Number(_) | Value::Bool(_) => Some(format!("{name}={value}")),
        _ => None,
    };
    let all: Vec<String> = match written {
        Some(Value::Object(map)) => map.iter().filter_map(of_pair).collect(),
        Some(Value::Array(lines)) => lines
            .iter()
            .filter_map(|line| line.as_str().map(str::to_owned))
            .collect(),
        _ => Vec::new(),
    };
    let is_complete = |arg: &String| arg.contains('=') && is_plain(arg);
    all.into_iter().filter(is_complete).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn expect(written: &Value, inputs: &str) {
        let build = Build::of(written, Path::new("/srv/shop"));
        assert_eq!(build.inputs(), inputs, "{written}");
    }

    #[test]
    fn what_the_compose_file_says_becomes_inputs_of_the_workflow() {
        expect(&json!("."), "");
        expect(&json!("./web"), "      context: \"web\"\n");
        expect(&json!({"context": "/srv/shop"}), "");
        expect(
            &json!({
                "context": "/srv/shop/web", "dockerfile": "Dockerfile.prod", "target": "release",
                "args": {"EDITION": "small", "LEVEL": 3, "SHA": "${SHA}", "PASSED": null},
            }),
            "      context: \"web\"\n      dockerfile: \"web/Dockerfile.prod\"\n      target: \"release\"\n      build-args: |\n        EDITION=small\n        LEVEL=3\n",
        );
        expect(
            &json!({"context": ".", "args": ["EDITION=small", "PASSED"]}),
            "      build-args: |\n        EDITION=small\n",
        );
    }

    #[test]
    fn a_context_outside_of_the_project_is_for_the_reader_to_give() {
        for context in [
            "../web",
            "/srv/other",
            "https://example.com/web.git",
            "${DIR}/web",
        ] {
            let build = Build::of(&json!(context), Path::new("/srv/shop"));
            assert!(!build.says_where(), "{context}");
        }
    }
}
