//! The hooks of a service: commands that are run in its container when it has started, and before it is stopped.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::docker::exec::Command;

/// The hooks of a service that cutover has to run where Compose does not start or stop the container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Before the container is stopped, one after another.
    pub pre_stop: Vec<Command>,
    /// When the container was started, one after another.
    pub post_start: Vec<Command>,
    /// How long the process may take to end, and so all of `pre_stop` as well.
    pub stop_grace: Duration,
}

/// A hook as Compose renders it.
#[derive(Deserialize)]
pub(super) struct WrittenHook {
    command: Option<Vec<String>>,
    user: Option<String>,
    #[serde(default)]
    privileged: bool,
    working_dir: Option<String>,
    #[serde(default)]
    environment: BTreeMap<String, Option<String>>,
}

impl WrittenHook {
    /// The command that it is.
    pub(super) fn command(&self) -> Command {
        // Compose prints each `$` twice, so that its output can be read as a Compose file.
        let plain = |text: &String| text.replace("$$", "$");
        let environment = self.environment.iter();
        let env = environment.map(|(name, value)| match value {
            Some(value) => format!("{name}={}", plain(value)),
            None => name.clone(),
        });
        Command {
            words: self.command.iter().flatten().map(plain).collect(),
            user: self.user.as_ref().map(plain),
            privileged: self.privileged,
            working_dir: self.working_dir.as_ref().map(plain),
            env: env.collect(),
        }
    }

    /// Its variables that have a value.
    pub(super) fn variables(&self) -> impl Iterator<Item = (String, String)> {
        let variables = self.environment.iter();
        variables.filter_map(|(name, value)| Some((name.clone(), value.clone()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_read_as_compose_prints_it() {
        let written = r#"{
            "command": ["sh", "-c", "echo $$HOME $$$$"],
            "user": "1000",
            "privileged": true,
            "working_dir": "/srv",
            "environment": {"A": "$$1", "GONE": null}
        }"#;
        let hook: WrittenHook = serde_json::from_str(written).expect("a hook");
        let words = ["sh", "-c", "echo $HOME $$"].map(str::to_owned);
        let env = ["A=$1", "GONE"].map(str::to_owned);
        let expected = Command {
            words: words.into(),
            user: Some("1000".to_owned()),
            privileged: true,
            working_dir: Some("/srv".to_owned()),
            env: env.into(),
        };
        assert!(hook.command() == expected);
        let least: WrittenHook = serde_json::from_str(r#"{"command":null}"#).expect("a hook");
        assert!(least.command() == Command::default());
    }
}
