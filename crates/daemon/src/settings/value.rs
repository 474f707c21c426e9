//! Typed readers: each returns the value, or notes what is wrong with it and returns none.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cutover_core::duration;
use cutover_core::nearest::nearest;
use toml::de::DeValue;

use super::files;
use super::table::Value;

/// The longest duration that makes sense anywhere; longer ones are slips.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How many characters of a wrong value a message repeats.
const SHOWN_CHARS_MAX: usize = 80;

/// What to do where a secret stands, or may stand, in the place of its file.
const SECRET_HELP: &str = "the secret itself is never written here: put it into a file of its own, with mode 0600, and name that file, beginning with `/`";

/// A value as it is repeated in a message: in quotes, on one line, cut when it is long.
pub(super) fn shown(text: &str) -> String {
    if text.chars().count() > SHOWN_CHARS_MAX {
        let cut: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        format!("\"{}…\"", cut.escape_debug())
    } else {
        format!("\"{}\"", text.escape_debug())
    }
}

impl<'a> Value<'a> {
    /// A text that is not empty.
    pub(super) fn text(&self) -> Option<&'a str> {
        let text = self.text_or_empty()?;
        if text.is_empty() {
            return self.mistake(
                format!("`{}` is empty", self.path),
                Some("give it a value, or leave it out"),
            );
        }
        Some(text)
    }

    /// A text without NUL, which no file name, argument or variable can hold.
    pub(super) fn text_or_empty(&self) -> Option<&'a str> {
        match self.raw() {
            DeValue::String(text) if text.contains('\0') => {
                self.mistake(format!("`{}` contains a NUL character", self.path), None)
            }
            DeValue::String(text) => Some(text),
            _ => self.wrong_type("a text in quotes"),
        }
    }

    /// A list of texts, none of them empty or given twice.
    pub(super) fn texts(&self) -> Option<Vec<Value<'a>>> {
        let elements = self.elements()?;
        let mut seen: Vec<&str> = Vec::new();
        let mut fine = true;
        for element in &elements {
            match element.text() {
                Some(text) if seen.contains(&text) => {
                    fine = false;
                    element.mistake::<()>(
                        format!("`{}` has {} twice", self.path, shown(text)),
                        Some("keep one of the two"),
                    );
                }
                Some(text) => seen.push(text),
                None => fine = false,
            }
        }
        fine.then_some(elements)
    }

    /// A program and its arguments; `example` is shown where there is none.
    pub(super) fn command(&self, example: &str) -> Option<Vec<String>> {
        let words = self.elements()?;
        let command: Option<Vec<String>> = words
            .iter()
            .map(|word| word.text().map(str::to_owned))
            .collect();
        let command = command?;
        if command.first().is_none_or(String::is_empty) {
            return self.mistake(
                format!("`{}` must name a program", self.path),
                Some(&format!("for example {example}")),
            );
        }
        Some(command)
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*choice);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let near =
            nearest(text, words.iter().copied()).map(|word| format!("did you mean \"{word}\"?"));
        self.mistake(
            format!(
                "`{}` must be \"{}\", not {}",
                self.path,
                words.join("\" or \""),
                shown(text)
            ),
            near.as_deref(),
        )
    }

    /// Whether it is this word.
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self.raw(), DeValue::String(text) if text == word)
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Option<bool> {
        match self.raw() {
            DeValue::Boolean(yes) => Some(*yes),
            _ => self.wrong_type("`true` or `false`, without quotes"),
        }
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, allowed: RangeInclusive<u32>) -> Option<u32> {
        let DeValue::Integer(integer) = self.raw() else {
            return self.wrong_type("a whole number");
        };
        let number = u32::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|number| allowed.contains(number));
        if number.is_none() {
            return self.mistake(
                format!(
                    "`{}` must be from {} to {}, not {integer}",
                    self.path,
                    allowed.start(),
                    allowed.end()
                ),
                None,
            );
        }
        number
    }

    /// A TCP port.
    pub(super) fn port(&self) -> Option<u16> {
        self.number(1..=u32::from(u16::MAX))
            .and_then(|number| u16::try_from(number).ok())
    }

    /// A list of TCP ports.
    pub(super) fn ports(&self) -> Option<BTreeSet<u16>> {
        let elements = self.elements()?;
        let ports: Vec<Option<u16>> = elements.iter().map(Value::port).collect();
        ports.into_iter().collect()
    }

    /// A duration of at least `least` and at most a day.
    pub(super) fn duration(&self, least: Duration) -> Option<Duration> {
        self.duration_or("a duration", least)
    }

    /// The same; `allowed` is what is said to be allowed.
    pub(super) fn duration_or(&self, allowed: &str, least: Duration) -> Option<Duration> {
        const HELP: &str = "durations are written as in Compose, in quotes and with units: \"500ms\", \"90s\", \"1m30s\"";
        let DeValue::String(text) = self.raw() else {
            return self.mistake(format!("`{}` must be {allowed}", self.path), Some(HELP));
        };
        let Ok(given) = duration::parse(text) else {
            return self.mistake(
                format!("`{}` must be {allowed}, not {}", self.path, shown(text)),
                Some(HELP),
            );
        };
        if given < least || given > DURATION_MAX {
            return self.mistake(
                format!(
                    "`{}` must be from \"{}\" to \"24h\", not {}",
                    self.path,
                    duration::format(least),
                    shown(text)
                ),
                None,
            );
        }
        Some(given)
    }

    /// An address with a port.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        let text = self.text()?;
        match text.parse() {
            Ok(address) => Some(address),
            Err(_) => self.mistake(
                format!(
                    "`{}` must be an IP address with a port, not {}",
                    self.path,
                    shown(text)
                ),
                Some("for example \"127.0.0.1:8443\", \"0.0.0.0:8443\" or \"[::]:8443\""),
            ),
        }
    }

    /// A path that does not depend on where the daemon was started.
    pub(super) fn path(&self) -> Option<PathBuf> {
        let path = PathBuf::from(self.text()?);
        if path.is_absolute() {
            return Some(path);
        }
        self.mistake(
            format!(
                "`{}` must be an absolute path, not {}",
                self.path,
                shown(&path.to_string_lossy())
            ),
            Some(
                "write it from the root, beginning with `/`; `~` and variables are not expanded here",
            ),
        )
    }

    /// The path of a file that holds a secret. What is no path is not shown: it may be the secret itself,
    /// written where its file belongs.
    pub(super) fn secret_path(&self) -> Option<PathBuf> {
        let path = match self.raw() {
            DeValue::String(text) if text.starts_with('/') => Path::new(text.as_ref()),
            _ => {
                self.hide();
                self.text()?;
                return self.mistake(
                    format!(
                        "`{}` must be the absolute path of a file; what is written here is not shown, because it may be a secret",
                        self.path
                    ),
                    Some(SECRET_HELP),
                );
            }
        };
        if files::is_likely_path(path) {
            return self.path();
        }
        self.hide();
        self.mistake(
            format!(
                "`{}`: there is no such file; what is written here is not shown, because it may be a secret",
                self.path
            ),
            Some(SECRET_HELP),
        )
    }

    /// The path of a regular file that can be read now.
    pub(super) fn file(&self) -> Option<PathBuf> {
        let path = self.path()?;
        match files::open(&path) {
            Ok(_) => Some(path),
            Err(error) => self.mistake(
                format!(
                    "`{}`: cannot read `{}`: {}",
                    self.path,
                    path.display(),
                    files::cause(&error)
                ),
                Some(files::remedy(&error)),
            ),
        }
    }

    /// The path of a directory that exists.
    pub(super) fn directory(&self) -> Option<PathBuf> {
        let path = self.path()?;
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => Some(path),
            Ok(_) => self.mistake(
                format!("`{}`: `{}` is not a directory", self.path, path.display()),
                None,
            ),
            Err(error) => self.mistake(
                format!(
                    "`{}`: cannot use `{}`: {}",
                    self.path,
                    path.display(),
                    files::cause(&error)
                ),
                Some(files::remedy(&error)),
            ),
        }
    }
}
