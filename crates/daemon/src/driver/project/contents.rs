//! What a container gets that its definition does not show: the content of secrets, configs and mounted files.
//!
//! Compose's hash of a service names them and does not look inside. A hash of what is inside is written on each
//! new container as a label; where it is another one now, the release is not `unchanged`.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};

use super::file::{File, Granted, Mount, SecretFile, Service};
use super::secrets;
use crate::files::outside;
use crate::settings;

/// The hash of all that, in hexadecimal digits; none where the service gets nothing of the kind.
///
/// `changing` are the files that a deployment changes itself: the one with the tag.
pub(super) fn hash(
    service: &settings::Service,
    file: &File,
    described: &Service,
    changing: &[&Path],
) -> Option<String> {
    let mut context = Sum(None);
    let sources = [
        (&described.secrets, &file.secrets),
        (&described.configs, &file.configs),
    ];
    for (granted, all) in sources {
        let names = granted.iter().filter_map(Granted::source);
        for (name, source) in names.filter_map(|name| Some((name, all.get(name)?))) {
            context.add(name.as_bytes());
            add_source(&mut context, service, source);
        }
    }
    let files = described.volumes.iter().filter_map(Mount::bound);
    for (path, access) in files.filter(|(path, _)| !is_one_of(path, changing)) {
        if fs::metadata(path).is_ok_and(|found| found.is_file()) {
            context.add(path.as_os_str().as_encoded_bytes());
            match access {
                MountAccess::Read => add_file(&mut context, path),
                MountAccess::Write => add_identity(&mut context, path),
            }
        }
    }
    let digest = context.0?.finish();
    let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    Some(digits.collect())
}

/// What a container may do with a file that is mounted into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MountAccess {
    /// Its content is what somebody gave it.
    Read,
    /// Its content may be the container's own, as that of a database: only another file in its place counts,
    /// which the container does not see.
    Write,
}

/// A hash that has begun once something was added.
struct Sum(Option<Context>);

impl Sum {
    /// With its length before it, so that two parts are not one other.
    fn add(&mut self, part: &[u8]) {
        let context = self.0.get_or_insert_with(|| Context::new(&SHA256));
        context.update(&part.len().to_le_bytes());
        context.update(part);
    }
}

fn add_source(context: &mut Sum, service: &settings::Service, source: &SecretFile) {
    if let Some(content) = &source.content {
        context.add(content.as_bytes());
    }
    if let Some(name) = &source.environment {
        // All values that Compose could take: one that does not count costs a deployment without need.
        let variables = secrets::variables(service);
        for (_, value) in variables.iter().filter(|(found, _)| found == name) {
            context.add(value.as_bytes());
        }
    }
    if let Some(path) = &source.file {
        add_file(context, path);
        // It is mounted: a new file with the old one's name is not what the container has.
        add_identity(context, path);
    }
}

/// The content; of a file that is not read here, what shows that it was changed.
fn add_file(context: &mut Sum, path: &Path) {
    match outside::read(path) {
        Ok(Some(content)) => context.add(&content),
        Ok(None) => context.add(b"missing"),
        Err(_too_large_or_not_ours) => match fs::metadata(path) {
            Ok(found) => {
                let times = [found.mtime(), found.mtime_nsec()].map(i64::to_le_bytes);
                context.add(&[found.len().to_le_bytes(), times[0], times[1]].concat());
            }
            Err(error) => add_error(context, &error),
        },
    }
}

fn add_identity(context: &mut Sum, path: &Path) {
    match fs::metadata(path) {
        Ok(found) => context.add(&[found.dev(), found.ino()].map(u64::to_le_bytes).concat()),
        Err(error) => add_error(context, &error),
    }
}

fn add_error(context: &mut Sum, error: &io::Error) {
    context.add(format!("{:?}", error.kind()).as_bytes());
}

fn is_one_of(path: &Path, files: &[&Path]) -> bool {
    let real = |path: &Path| fs::canonicalize(path).ok();
    let found = real(path);
    found.is_some() && files.iter().any(|file| real(file) == found)
}

#[cfg(test)]
mod tests {
    use cutover_core::names::ServiceName;

    use super::*;

    struct Place {
        dir: tempfile::TempDir,
        service: settings::Service,
    }

    fn place() -> Place {
        let dir = tempfile::tempdir().expect("a directory");
        let name = ServiceName::new("app").expect("a name");
        let service = settings::Service::new(name, vec![dir.path().join("compose.yaml")]);
        for (name, text) in [
            ("secret", "s1"),
            ("conf", "c1"),
            ("data", "d1"),
            (".env", "V=e1\nTAG=1\n"),
        ] {
            fs::write(dir.path().join(name), text).expect("written");
        }
        Place { dir, service }
    }

    impl Place {
        fn hash(&self, inline: &str) -> Option<String> {
            let at = |name: &str| self.dir.path().join(name);
            let bind = |name: &str, read_only: bool| serde_json::json!({"type": "bind", "source": at(name), "target": "/x", "read_only": read_only});
            let project = serde_json::json!({
                "name": "shop",
                "services": {"app": {
                    "image": "shop:1",
                    "secrets": [{"source": "of_file"}, {"source": "of_variable"}],
                    "configs": [{"source": "inline"}],
                    "volumes": [bind("conf", true), bind("data", false), bind(".env", true)],
                }, "bare": {"image": "shop:1"}},
                "secrets": {"of_file": {"file": at("secret")}, "of_variable": {"environment": "V"}, "other": {"file": "/none"}},
                "configs": {"inline": {"content": inline}},
            });
            let file: File = serde_json::from_value(project).expect("a project");
            let hash_of =
                |name: &str| hash(&self.service, &file, &file.services[name], &[&at(".env")]);
            assert_eq!(hash_of("bare"), None);
            hash_of("app")
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.dir.path().join(name), text).expect("written");
        }

        fn replace(&self, name: &str, text: &str) {
            self.write("new", text);
            let path = |name: &str| self.dir.path().join(name);
            fs::rename(path("new"), path(name)).expect("renamed");
        }
    }

    #[test]
    fn each_change_of_what_the_container_gets_changes_the_hash() {
        let place = place();
        let mut seen = vec![place.hash("i1").expect("a hash")];
        let mut expect_new = |what: &str, hash: Option<String>| {
            let hash = hash.expect("a hash");
            assert!(!seen.contains(&hash), "{what}");
            seen.push(hash);
        };
        expect_new("an inline config", place.hash("i2"));
        place.write(".env", "V=e2\nTAG=1\n");
        expect_new("a secret from the environment", place.hash("i1"));
        place.write("secret", "s2");
        expect_new("a secret's file", place.hash("i1"));
        place.replace("secret", "s2");
        expect_new("the same secret in a new file", place.hash("i1"));
        place.write("conf", "c2");
        expect_new("a mounted file", place.hash("i1"));
        place.replace("data", "d1");
        expect_new("a writable mounted file, replaced", place.hash("i1"));
        fs::remove_file(place.dir.path().join("secret")).expect("removed");
        expect_new("a secret's file that is gone", place.hash("i1"));
    }

    #[test]
    fn what_the_container_writes_and_the_tags_own_line_do_not_count() {
        let place = place();
        let before = place.hash("i1");
        place.write("data", "written by the container");
        place.write(".env", "V=e1\nTAG=2\n");
        assert_eq!(place.hash("i1"), before);
    }
}
