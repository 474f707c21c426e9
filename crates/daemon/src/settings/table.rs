//! Walking the parsed file: tables and values that know their place in it, so that every mistake can
//! point there.

use std::cell::RefCell;
use std::ops::Range;

use cutover_core::nearest::nearest;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys;

/// One mistake, before its line is known.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) span: Option<Range<usize>>,
    pub(super) key: String,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// What the readers found: mistakes, and parts of the file that must not be shown.
#[derive(Debug, Default)]
pub(super) struct Noted {
    pub(super) mistakes: Vec<Note>,
    pub(super) hidden: Vec<Range<usize>>,
}

/// Collects what the readers find while they go on.
#[derive(Debug, Default)]
pub(super) struct Found(RefCell<Noted>);

impl Found {
    /// Notes a mistake and goes on. `key` is its path in the file.
    pub(super) fn note(
        &self,
        span: Option<Range<usize>>,
        key: &str,
        message: String,
        help: Option<String>,
    ) {
        self.0.borrow_mut().mistakes.push(Note {
            span,
            key: key.to_owned(),
            message,
            help,
        });
    }

    /// Keeps every text in `value` out of what is printed: it may be a secret.
    fn hide(&self, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => table.values().for_each(|value| self.hide(value)),
            DeValue::Array(array) => array.iter().for_each(|value| self.hide(value)),
            _ => self.cover(value.span()),
        }
    }

    /// Keeps a part of the file out of what is printed.
    pub(super) fn cover(&self, span: Range<usize>) {
        self.0.borrow_mut().hidden.push(span);
    }

    /// Everything that was noted.
    pub(super) fn into_noted(self) -> Noted {
        self.0.into_inner()
    }
}

/// A table whose keys have been checked.
#[derive(Debug, Clone)]
pub(super) struct Table<'a> {
    path: String,
    key_span: Range<usize>,
    entries: &'a DeTable<'a>,
    /// The keys that unknown ones were probably meant to be.
    misspelled: Vec<&'static str>,
    found: &'a Found,
}

impl<'a> Table<'a> {
    /// The whole file.
    pub(super) fn top(
        document: &'a DeTable<'a>,
        keys: &'static [&'static str],
        found: &'a Found,
    ) -> Self {
        let table = Self {
            path: String::new(),
            key_span: 0..0,
            entries: document,
            misspelled: Vec::new(),
            found,
        };
        table.refusing_unknown(keys)
    }

    /// The value of `key`, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<Value<'a>> {
        self.entries
            .get_key_value(key)
            .map(|(key, value)| self.entry(key, value))
    }

    /// The value of `key`, or a mistake that says what it `is`.
    pub(super) fn require(&self, key: &str, is: &str) -> Option<Value<'a>> {
        let value = self.get(key);
        if value.is_none() && !self.is_misspelled(key) {
            self.found.note(
                Some(self.key_span.clone()),
                &self.path_of(key),
                format!("`{key}` is missing in `{}`", self.path),
                Some(format!("`{key}` is {is}")),
            );
        }
        value
    }

    /// Whether an unknown key was probably meant to be `key`: then it is not missing as well.
    pub(super) fn is_misspelled(&self, key: &str) -> bool {
        self.misspelled.contains(&key)
    }

    /// Where it is in the file, for example `services.shop`.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Every entry, for tables whose keys are the user's own names.
    pub(super) fn entries(&self) -> impl Iterator<Item = Value<'a>> {
        self.entries
            .iter()
            .map(|(key, value)| self.entry(key, value))
    }

    /// Notes that the table as a whole is wrong.
    pub(super) fn mistake(&self, message: String, help: &str) {
        self.found.note(
            Some(self.key_span.clone()),
            &self.path,
            message,
            Some(help.to_owned()),
        );
    }

    fn entry(
        &self,
        key: &'a Spanned<toml::de::DeString<'a>>,
        value: &'a Spanned<DeValue<'a>>,
    ) -> Value<'a> {
        Value {
            path: self.path_of(key.get_ref()),
            name: key.get_ref(),
            key_span: key.span(),
            value,
            found: self.found,
        }
    }

    fn path_of(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    /// Notes every key that means nothing here. Its value is hidden: a `secret = "…"` written where a
    /// `secret_file` belongs must not reach a log.
    fn refusing_unknown(mut self, keys: &'static [&'static str]) -> Self {
        for (key, value) in self.entries {
            let name: &str = key.get_ref();
            if keys.contains(&name) {
                continue;
            }
            self.misspelled.extend(nearest(name, keys.iter().copied()));
            self.found.hide(value);
            let place = match self.path.as_str() {
                "" => "at the top of the file".to_owned(),
                path => format!("in `{path}`"),
            };
            self.found.note(
                Some(key.span()),
                &self.path_of(name),
                format!("there is no key `{}` {place}", name.escape_debug()),
                Some(keys::suggestion(name, keys)),
            );
        }
        self
    }
}

/// A value and its place in the file.
#[derive(Debug, Clone)]
pub(super) struct Value<'a> {
    pub(super) path: String,
    pub(super) name: &'a str,
    key_span: Range<usize>,
    value: &'a Spanned<DeValue<'a>>,
    found: &'a Found,
}

impl<'a> Value<'a> {
    /// What was written.
    pub(super) fn raw(&self) -> &'a DeValue<'a> {
        self.value.get_ref()
    }

    /// Where the key stands.
    pub(super) fn key_span(&self) -> Range<usize> {
        self.key_span.clone()
    }

    /// Notes that this value is wrong, and stands for no value.
    pub(super) fn mistake<T>(&self, message: String, help: Option<&str>) -> Option<T> {
        self.found.note(
            Some(self.value.span()),
            &self.path,
            message,
            help.map(str::to_owned),
        );
        None
    }

    /// Notes that the name before this value is wrong.
    pub(super) fn name_mistake<T>(&self, message: String, help: Option<&str>) -> Option<T> {
        self.found.note(
            Some(self.key_span()),
            &self.path,
            message,
            help.map(str::to_owned),
        );
        None
    }

    /// Notes that the name before this value is wrong, and shows neither: `"PASSWORD=…" = ""` is a slip.
    pub(super) fn hidden_name_mistake<T>(&self, message: String) -> Option<T> {
        self.found.cover(self.key_span());
        self.hide();
        let table = self.path.strip_suffix(self.name).unwrap_or_default();
        let table = table.trim_end_matches('.');
        self.found.note(Some(self.key_span()), table, message, None);
        None
    }

    /// Keeps this value out of what is printed.
    pub(super) fn hide(&self) {
        self.found.hide(self.value);
    }

    /// This value as a table with fixed keys.
    pub(super) fn table(&self, keys: &'static [&'static str]) -> Option<Table<'a>> {
        Some(self.names()?.refusing_unknown(keys))
    }

    /// This value as a table whose keys are the user's own names. What stands in the place of a table is
    /// hidden: `ci = "…"` under `[auth.hmac]`, or a list of `NAME=value` as Compose takes it, is a secret.
    pub(super) fn names(&self) -> Option<Table<'a>> {
        match self.raw() {
            DeValue::Table(entries) => Some(Table {
                path: self.path.clone(),
                key_span: self.key_span(),
                entries,
                misspelled: Vec::new(),
                found: self.found,
            }),
            _ => {
                self.hide();
                self.wrong_type("a table")
            }
        }
    }

    /// This value as an array; each element has the path of the array with its index.
    pub(super) fn elements(&self) -> Option<Vec<Value<'a>>> {
        let DeValue::Array(array) = self.raw() else {
            return self.wrong_type("an array, for example `[\"one\", \"two\"]`");
        };
        let element = |(index, value): (usize, &'a Spanned<DeValue<'a>>)| Value {
            path: format!("{}[{index}]", self.path),
            name: self.name,
            // An element has no key: whatever is wrong, it is the element that is pointed at.
            key_span: value.span(),
            value,
            found: self.found,
        };
        Some(array.iter().enumerate().map(element).collect())
    }

    /// Notes that something else was expected.
    pub(super) fn wrong_type<T>(&self, expected: &str) -> Option<T> {
        let was = match self.raw() {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a point",
            DeValue::Boolean(_) => "`true` or `false`",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.mistake(
            format!("`{}` must be {expected}, not {was}", self.path),
            None,
        )
    }
}
