//! What of a project must not be shown.
//!
//! Compose takes variables from its environment and from env files, hands them to containers as secrets,
//! and quotes lines of its files in its errors. All values that it could have taken are covered, not only
//! the one that counts: one masked without need costs a look at the server.

use std::path::{Path, PathBuf};

use cutover_core::env_file;
use cutover_core::mask::{self, Mask};

use super::file::{File, Service};
use crate::files::outside;
use crate::settings;

/// What Compose says right before it quotes a line of a file.
const BEFORE_A_QUOTE: &[&str] = &[
    "unterminated quoted value",
    "in variable name",
    "Invalid template:",
    "You may need to escape any $ with another $.",
];

/// The values that the output of the service's container and the words of Compose must not show.
pub(super) fn values(
    service: &settings::Service,
    file: &File,
    described: &Service,
    tag_variable: &str,
) -> Vec<String> {
    let variables = variables(service);
    let mut values: Vec<String> = Vec::new();
    for secret in file.secrets.values() {
        values.extend(secret.content.clone());
        if let Some(path) = &secret.file {
            // A secret that cannot be read cannot be given to the container either: Compose will say so.
            values.extend(content_of(path));
        }
        if let Some(name) = &secret.environment {
            let of_that_name = variables.iter().filter(|(found, _)| found == name);
            values.extend(of_that_name.map(|(_, value)| value.clone()));
        }
    }
    // A config is rarely secret as a whole, but it may have passwords in it.
    for config in file.configs.values() {
        let content = config.content.clone();
        let content = content.or_else(|| config.file.as_deref().and_then(content_of));
        values.extend(content.iter().flat_map(|text| mask::secrets_in(text)));
    }
    let rendered = described
        .environment
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
    let hooks = described.pre_stop.iter().chain(&described.post_start);
    for hook in hooks {
        values.extend(mask::secrets_in_arguments(&hook.command().words));
        values.extend(secret_looking(hook.variables()));
    }
    // The tag is no secret, whatever its variable is called.
    let given = variables
        .into_iter()
        .filter(|(name, _)| name != tag_variable);
    values.extend(secret_looking(rendered.chain(given)));
    values
}

/// An error of Compose about the project as it may be shown: without the lines of files that it quotes,
/// and masked. The file, the number of the line and what is wrong with it stay.
pub(super) fn shown(service: &settings::Service, error: &str) -> String {
    let quote = BEFORE_A_QUOTE
        .iter()
        .filter_map(|words| Some(error.find(words)? + words.len()))
        .min();
    let told = match quote {
        Some(quote) => format!("{} (what stands there is not shown)", &error[..quote]),
        None => error.to_owned(),
    };
    Mask::new(secret_looking(variables(service))).apply(&told)
}

/// The content of a file; bytes that are no UTF-8 have places of their own in it.
fn content_of(path: &Path) -> Option<String> {
    let bytes = outside::read(path).ok()??;
    Some(env_file::text_of(&bytes))
}

/// What is secret in the values of variables, by their names or by what they are.
fn secret_looking(variables: impl IntoIterator<Item = (String, String)>) -> Vec<String> {
    let variables = variables.into_iter();
    variables
        .flat_map(|(name, value)| mask::secrets_of(&name, &value))
        .collect()
}

/// The variables that Compose can take for the service's project, from wherever it takes them.
pub(super) fn variables(service: &settings::Service) -> Vec<(String, String)> {
    let own = service.environment.clone().into_iter();
    let passed = service.pass_environment.iter().filter_map(|name| {
        let value = std::env::var_os(name)?;
        Some((name.clone(), value.to_string_lossy().into_owned()))
    });
    let mut found: Vec<_> = own.chain(passed).collect();
    for file in env_files(service) {
        // Compose says so when a file cannot be read.
        let Some(text) = content_of(&file) else {
            continue;
        };
        for (name, written, value) in env_file::variables(&text) {
            found.push((name.to_owned(), written.to_owned()));
            found.extend(value.map(|value| (name.to_owned(), value)));
        }
    }
    found
}

/// The files that Compose reads variables from: those that it is given, or else `.env`.
fn env_files(service: &settings::Service) -> Vec<PathBuf> {
    if service.env_files.is_empty() {
        vec![service.directory().join(".env")]
    } else {
        service.env_files.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place {
        dir: tempfile::TempDir,
        service: settings::Service,
    }

    fn place() -> Place {
        let dir = tempfile::tempdir().expect("a directory");
        let name = cutover_core::names::ServiceName::new("app").expect("a name");
        let service = settings::Service::new(name, vec![dir.path().join("compose.yaml")]);
        Place { dir, service }
    }

    impl Place {
        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.dir.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path
        }

        /// The values of a project whose secret `tok` is the variable `name`.
        fn values(&self, name: &str) -> Vec<String> {
            let file = serde_json::json!({
                "name": "shop",
                "services": {"app": {"image": "shop:1"}},
                "secrets": {"tok": {"environment": name}},
            });
            let file: File = serde_json::from_value(file).expect("a project");
            values(&self.service, &file, &file.services["app"], "KEY_TAG")
        }
    }

    fn has(values: &[String], value: &str) -> bool {
        values.iter().any(|found| found == value)
    }

    #[test]
    fn a_secret_from_the_environment_is_known_wherever_its_variable_is_set() {
        let mut place = place();
        place.write(".env", "A=1\nSHOP='from $dot'\n");
        assert!(has(&place.values("SHOP"), "from $dot"));
        assert!(!has(&place.values("A"), "from $dot"), "not asked for");

        let (one, two) = (
            place.write(
                "one.env",
                "SHOP=\"from\\tone\"\nAPI_TOKEN=abcdef\nKEY_TAG=v1\nAUTH_TAG=v2345\nAUTH_PORT=8080\n",
            ),
            place.write("two.env", "export SHOP=from-$two\n"),
        );
        place.service.env_files = vec![one, two];
        let values = place.values("SHOP");
        assert!(
            has(&values, "from\tone") && has(&values, "from-$two"),
            "{values:?}"
        );
        assert!(!has(&values, "from $dot"), "`.env` is not read then");
        assert!(has(&values, "abcdef"), "secret by its name");
        for plain in ["v1", "v2345", "8080"] {
            assert!(!has(&values, plain), "{plain} is no secret");
        }

        place
            .service
            .environment
            .insert("SHOP".into(), "from-own".into());
        assert!(has(&place.values("SHOP"), "from-own"));

        let path = std::env::var("PATH").expect("every process has one");
        assert!(!has(&place.values("PATH"), &path));
        place.service.pass_environment.push("PATH".to_owned());
        assert!(has(&place.values("PATH"), &path));
    }

    #[test]
    fn a_pipe_in_the_place_of_an_env_file_or_a_secret_holds_nothing_up() {
        let place = place();
        let made = std::process::Command::new("mkfifo")
            .arg(place.dir.path().join(".env"))
            .arg(place.dir.path().join("token"))
            .status();
        assert!(made.expect("started").success());
        let (done, ended) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let file = serde_json::json!({
                "name": "shop",
                "services": {"app": {"image": "shop:1"}},
                "secrets": {"tok": {"file": place.dir.path().join("token")}},
            });
            let file: File = serde_json::from_value(file).expect("a project");
            let found = values(&place.service, &file, &file.services["app"], "TAG");
            done.send(found).expect("somebody waits");
        });
        let found = ended.recv_timeout(std::time::Duration::from_secs(30));
        assert_eq!(found.expect("nothing waits for a writer"), [""; 0]);
    }

    #[test]
    fn a_mistake_in_an_env_file_is_shown_without_what_stands_there() {
        let place = place();
        let long = "next line";
        for (error, expected) in [
            (
                r#"failed to read /srv/.env: line 4: unterminated quoted value "abc hunter2"#,
                "failed to read /srv/.env: line 4: unterminated quoted value",
            ),
            (
                r#"failed to read /srv/.env: line 2: unexpected character "!" in variable name "DB PASS!WORD hunter2""#,
                r#"failed to read /srv/.env: line 2: unexpected character "!" in variable name"#,
            ),
            (
                r#"unexpected character "!" in variable name near "DB!=hunter2\nNEXT=hunter2""#,
                r#"unexpected character "!" in variable name"#,
            ),
            (
                r#"failed to read /srv/.env: Invalid template: "${hunter2""#,
                "failed to read /srv/.env: Invalid template:",
            ),
            (
                "invalid interpolation format for services.app.environment.P.; You may need to escape any $ with another $.; ${hunter2",
                "invalid interpolation format for services.app.environment.P.; You may need to escape any $ with another $.",
            ),
        ] {
            let shown = shown(&place.service, &format!("{error}; {long}"));
            assert_eq!(
                shown,
                format!("{expected} (what stands there is not shown)")
            );
        }
        let plain = "failed to read /srv/.env: line 2: key cannot contain a space";
        assert_eq!(shown(&place.service, plain), plain);
    }

    #[test]
    fn an_error_does_not_show_the_secrets_of_env_files() {
        let place = place();
        place.write(
            ".env",
            "DB_PASSWORD=hunter2\nURL=https://shop:hunter3@db/\nREGION=eu-1\n",
        );
        let error = "Invalid containerPort: hunter2, hunter3, eu-1";
        assert_eq!(
            shown(&place.service, error),
            "Invalid containerPort: ***, ***, eu-1"
        );
    }
}
