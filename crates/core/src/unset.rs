//! Whether a new container would lose what the previous one has, because a variable is set nowhere.
//!
//! Compose puts nothing in the place of such a variable and warns. Where the previous container had a value there, it
//! was made with the variable set: the new one would run with an empty password, or mount another directory.

use crate::template::is_blank_without;

/// One setting of a service, as it is written, as it would be now, and as the previous container has it.
///
/// Its values may be secrets: there is no `Debug`, and only the name is ever shown.
#[derive(Clone, PartialEq, Eq)]
#[expect(missing_debug_implementations, reason = "its values may be secrets")]
pub struct Setting {
    /// What it is, for a person: `environment variable DB_PASSWORD`, `mount at /data`.
    pub name: String,
    /// As written, with the variables in their places; none where it comes from a file that cannot be looked into.
    pub written: Option<String>,
    /// As the new container would have it; empty if it would not.
    pub now: String,
    /// As the previous container has it; empty if it does not.
    pub before: String,
}

/// The names of the settings that would lose a value, each with the variable that it was made of if that is known.
pub fn lost<'a>(
    unset: &'a [&'a str],
    settings: &'a [Setting],
) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
    settings
        .iter()
        .filter(|setting| !setting.before.is_empty() && setting.before != setting.now)
        .filter_map(|setting| {
            let name = setting.name.as_str();
            let Some(written) = &setting.written else {
                return setting.now.is_empty().then_some((name, None));
            };
            let of = unset
                .iter()
                .find(|variable| is_blank_without(written, variable));
            of.map(|variable| (name, Some(*variable)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn expect(written: Option<&str>, now: &str, before: &str, expected: Option<Option<&str>>) {
        let settings = [Setting {
            name: "mount at /data".to_owned(),
            written: written.map(str::to_owned),
            now: now.to_owned(),
            before: before.to_owned(),
        }];
        let found: Vec<_> = lost(&["OTHER", "DIR"], &settings).collect();
        let expected: Vec<_> = expected
            .map(|of| ("mount at /data", of))
            .into_iter()
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_the_previous_container_had_by_a_variable_is_lost_without_it() {
        expect(Some("${DIR}"), "", "/srv", Some(Some("DIR")));
        expect(Some("${DIR}/db"), "/db", "/srv/db", Some(Some("DIR")));
        expect(Some("$OTHER/db"), "/db", "/srv/db", Some(Some("OTHER")));
    }

    #[test]
    fn what_was_as_empty_before_is_not_lost() {
        expect(Some("${DIR}"), "", "", None);
        expect(Some("${DIR}/db"), "/db", "/db", None);
        expect(Some("${DIR}/db"), "/db", "", None);
    }

    #[test]
    fn what_another_definition_changes_is_not_lost() {
        expect(Some("/new"), "/new", "/srv", None);
        expect(Some("${DIR:-/new}"), "/new", "/srv", None);
        expect(Some("${SET}"), "/new", "/srv", None);
    }

    #[test]
    fn of_what_comes_from_a_file_only_the_empty_is_lost() {
        expect(None, "", "secret", Some(None));
        expect(None, "other", "secret", None);
    }
}
