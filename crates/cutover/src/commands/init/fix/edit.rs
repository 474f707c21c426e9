//! The edit of one Compose file: `image` lines get another value, every other byte stays.

use saphyr_parser::{Event, Parser, ScalarStyle};

/// An `image` line that was changed, for the eye.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// The number of the line, from 1.
    pub(super) line: usize,
    pub(super) before: String,
    pub(super) after: String,
}

/// A value of a key in the file, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Value {
    key: String,
    text: String,
    style: ScalarStyle,
    /// Where it begins and ends, in bytes.
    start: usize,
    end: usize,
    line: usize,
}

/// Why a file cannot be changed, a sentence fragment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum EditError {
    /// It is no YAML.
    #[error("it cannot be read as YAML: {0}")]
    Yaml(String),
    /// The line is written in a form that is not changed.
    #[error(
        "line {line} has the image in a form that is not changed; write `image: {wanted}` there"
    )]
    Form {
        /// The number of the line.
        line: usize,
        /// What to write.
        wanted: String,
    },
}

/// The file in which each `image` whose value is the first of a pair has the second one as its value, and what was
/// changed.
pub(super) fn edit(
    text: &str,
    images: &[(String, String)],
) -> Result<(String, Vec<Change>), EditError> {
    let values = values(text)?;
    let mut edited = text.to_owned();
    let mut changes = Vec::new();
    // From the end, so that the places before stay right.
    for value in values.iter().rev().filter(|value| value.key == "image") {
        let Some((_, wanted)) = images.iter().find(|(image, _)| *image == value.text) else {
            continue;
        };
        let unchangeable = || EditError::Form {
            line: value.line,
            wanted: wanted.clone(),
        };
        let written = &text[value.start..value.end];
        let quote = match value.style {
            ScalarStyle::SingleQuoted => "'",
            ScalarStyle::DoubleQuoted => "\"",
            _ => "",
        };
        // Over several lines, with a tag before it, or with characters written in a way of their own.
        let plainly = format!("{quote}{}{quote}", value.text);
        // The parser counts what follows a quoted value to it.
        let rest = written.strip_prefix(&plainly).map(str::trim_start);
        if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('#')) {
            return Err(unchangeable());
        }
        let end = value.start + plainly.len();
        let mut candidates = vec![format!("{quote}{wanted}{quote}")];
        if quote.is_empty() {
            // Between braces, a plain value may not have braces.
            candidates.push(format!("\"{wanted}\""));
        }
        let expected = |edited: &str| {
            let mut expected: Vec<_> = self::values(edited).ok()?;
            let place = expected.iter_mut().find(|one| one.start == value.start)?;
            (place.key == "image" && place.text == *wanted).then_some(expected.len())
        };
        let next = candidates.iter().find_map(|candidate| {
            let next = [&edited[..value.start], candidate, &edited[end..]].concat();
            (expected(&next) == Some(values.len())).then_some(next)
        });
        let before = line_at(&edited, value.start);
        edited = next.ok_or_else(unchangeable)?;
        changes.push(Change {
            line: value.line,
            before,
            after: line_at(&edited, value.start),
        });
    }
    changes.reverse();
    Ok((edited, changes))
}

/// The paths that the file names by `include` and `extends`, as written.
pub(super) fn named_files(text: &str) -> Vec<String> {
    let values = values(text).unwrap_or_default().into_iter();
    let named = values.filter(|value| matches!(value.key.as_str(), "file" | "path" | "include"));
    named.map(|value| value.text).collect()
}

fn line_at(text: &str, place: usize) -> String {
    let start = text[..place].rfind('\n').map_or(0, |found| found + 1);
    let end = text[place..]
        .find('\n')
        .map_or(text.len(), |found| place + found);
    text[start..end].trim_end_matches('\r').to_owned()
}

/// What the parser is in, while it goes through the file.
enum Inside {
    /// A mapping; the key whose value comes next.
    Mapping(Option<String>),
    /// A list that is the value of this key.
    List(String),
}

/// The scalar values in the file, each with its key; those in a list with the key of the list.
fn values(text: &str) -> Result<Vec<Value>, EditError> {
    let places: Vec<usize> = text
        .char_indices()
        .map(|(place, _)| place)
        .chain([text.len()])
        .collect();
    let place = |index: usize| places.get(index).copied().unwrap_or(text.len());
    let mut inside: Vec<Inside> = Vec::new();
    let mut values = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| EditError::Yaml(error.to_string()))?;
        let key = match inside.last() {
            Some(Inside::Mapping(key)) => key.clone(),
            Some(Inside::List(key)) => Some(key.clone()),
            None => Some(String::new()),
        };
        match event {
            Event::MappingStart(..) => inside.push(Inside::Mapping(None)),
            Event::SequenceStart(..) => inside.push(Inside::List(key.unwrap_or_default())),
            Event::MappingEnd | Event::SequenceEnd => {
                inside.pop();
                ended(&mut inside, None);
            }
            Event::Scalar(value, style, ..) => {
                let name = value.to_string();
                if let Some(key) = key {
                    values.push(Value {
                        key,
                        text: name.clone(),
                        style,
                        start: place(span.start.index()),
                        end: place(span.end.index()),
                        line: span.start.line(),
                    });
                }
                ended(&mut inside, Some(name));
            }
            Event::Alias(_) => ended(&mut inside, Some(String::new())),
            _ => {}
        }
    }
    Ok(values)
}

/// A key or a value ended: after a key comes its value, after a value the next key.
fn ended(inside: &mut [Inside], scalar: Option<String>) {
    if let Some(Inside::Mapping(key)) = inside.last_mut() {
        *key = match key.take() {
            // A mapping or a list as a key: no file has one.
            None => Some(scalar.unwrap_or_default()),
            Some(_) => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: &str = "ghcr.io/acme/shop:${APP_IMAGE_TAG:-1.4}";

    fn edited(text: &str) -> Result<(String, Vec<Change>), EditError> {
        edit(
            text,
            &[("ghcr.io/acme/shop:1.4".to_owned(), WANTED.to_owned())],
        )
    }

    #[test]
    fn only_the_value_is_another() {
        for text in [
            "services:\n  app:\n    image: ghcr.io/acme/shop:1.4\n    restart: always\n",
            "services:\r\n  app:\r\n    image: ghcr.io/acme/shop:1.4\r\n",
            "services: # größer 🐳\n  app:\n    image:   ghcr.io/acme/shop:1.4   # ours\n",
            "services:\n  app:\n    image: 'ghcr.io/acme/shop:1.4'",
            "services:\n  app:\n    image: \"ghcr.io/acme/shop:1.4\"   # ours\n    restart: always\n",
            "services:\n  app:\n    image: \"ghcr.io/acme/shop:1.4\"\n",
            "x-app: &app\n  image: ghcr.io/acme/shop:1.4\nservices:\n  app:\n    <<: *app\n",
        ] {
            let (found, changes) = edited(text).expect(text);
            assert_eq!(found, text.replace("ghcr.io/acme/shop:1.4", WANTED));
            assert_eq!(changes.len(), 1, "{text}");
            assert!(changes[0].after.contains(WANTED), "{changes:?}");
            assert!(!changes[0].after.ends_with('\r'), "{changes:?}");
        }
    }

    #[test]
    fn between_braces_the_value_is_quoted() {
        let text = "services: {app: {image: ghcr.io/acme/shop:1.4, restart: always}}\n";
        let (found, _) = edited(text).expect("changed");
        let quoted = format!("\"{WANTED}\"");
        assert_eq!(found, text.replace("ghcr.io/acme/shop:1.4", &quoted));
    }

    #[test]
    fn every_line_with_that_image_is_changed_and_no_other() {
        let text = "services:\n  web:\n    image: ghcr.io/acme/shop:1.4\n  worker:\n    image: ghcr.io/acme/shop:1.4\n    labels:\n      image: ghcr.io/acme/shop:1.5\n    command: [image, 'ghcr.io/acme/shop:1.4']\n  db:\n    image: postgres:16\n";
        let (found, changes) = edited(text).expect("changed");
        assert_eq!(found.matches(WANTED).count(), 2, "{found}");
        let lines: Vec<_> = changes.iter().map(|change| change.line).collect();
        assert_eq!(lines, [3, 5]);
        assert_eq!(found.replace(WANTED, "ghcr.io/acme/shop:1.4"), text);
    }

    #[test]
    fn what_is_not_understood_is_not_changed() {
        assert!(matches!(edited("a: [\n"), Err(EditError::Yaml(_))));
        for text in [
            "services:\n  app:\n    image: !!str ghcr.io/acme/shop:1.4\n",
            "services:\n  app:\n    image: \"ghcr.io/acme\\u002fshop:1.4\"\n",
        ] {
            let said = edited(text).expect_err(text).to_string();
            assert!(said.contains(&format!("write `image: {WANTED}`")), "{said}");
        }
    }

    #[test]
    fn the_files_that_a_file_names_are_found() {
        let text = "include:\n  - common.yaml\n  - path: [a.yaml, b.yaml]\nservices:\n  app:\n    extends:\n      file: base.yaml\n      service: app\n";
        let named = named_files(text);
        for file in ["common.yaml", "a.yaml", "b.yaml", "base.yaml"] {
            assert!(named.contains(&file.to_owned()), "{file}: {named:?}");
        }
    }
}
