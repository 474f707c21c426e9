//! Mistakes as the operator reads them: all at once, each with its line.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::table::{Note, Noted};

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    span: Option<Range<usize>>,
    line: Option<usize>,
    key: String,
    message: String,
    help: Option<String>,
}

impl Mistake {
    /// The line, counted from 1; none if the mistake is about the file as a whole.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The path of the key, for example `services.shop.keep_releases`; empty if there is none.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is wrong, with the value and what is allowed.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it, where the message does not say it already.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

/// Everything that is wrong with a configuration file; at least one mistake, in the order of the lines.
///
/// `Display` renders all of them with the lines that they are about. What may be a secret is covered with
/// asterisks: values of unknown keys and of `environment`, and what stands in the place of a table, of the
/// path of a secret, or of a name in `environment` or `pass_environment`.
#[derive(Debug, Clone)]
pub struct Mistakes {
    path: PathBuf,
    source: String,
    list: Vec<Mistake>,
}

impl std::error::Error for Mistakes {}

/// Whether a rendering has colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Plain text, for logs and pipes.
    Plain,
    /// With terminal colors; print it through something that removes them where they are not wanted.
    Colored,
}

impl Mistakes {
    /// From what the readers noted about `text`.
    pub(super) fn new(path: &Path, text: &str, noted: Noted) -> Self {
        let mut list: Vec<Mistake> = noted
            .mistakes
            .into_iter()
            .map(|note| with_line(note, text))
            .collect();
        // What has no line, such as a missing section, comes last: a misspelled name may be the cause.
        list.sort_by_key(|mistake| match &mistake.span {
            Some(span) => (span.start, span.end),
            None => (usize::MAX, usize::MAX),
        });
        Self {
            path: path.to_owned(),
            source: covered(text, &noted.hidden),
            list,
        }
    }

    /// One mistake about the file itself, whose text is not known.
    pub(super) fn about_the_file(path: &Path, message: String, help: Option<String>) -> Self {
        let mistake = Mistake {
            span: None,
            line: None,
            key: String::new(),
            message,
            help,
        };
        Self {
            path: path.to_owned(),
            source: String::new(),
            list: vec![mistake],
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Each mistake.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Mistake> {
        self.list.iter()
    }

    /// All mistakes with the lines that they are about, and their number at the end.
    #[must_use]
    pub fn render(&self, ink: Ink) -> String {
        let renderer = match ink {
            Ink::Plain => Renderer::plain(),
            Ink::Colored => Renderer::styled(),
        };
        let path = self.path.display().to_string();
        let mut text = String::new();
        for mistake in &self.list {
            text.push_str(&renderer.render(&[self.group(mistake, &path)]));
            text.push_str("\n\n");
        }
        let count = match self.list.len() {
            1 => "1 mistake".to_owned(),
            several => format!("{several} mistakes"),
        };
        let total = Level::ERROR.primary_title(format!("{count} in {path}"));
        text.push_str(&renderer.render(&[Group::with_title(total)]));
        text
    }

    fn group<'a>(&'a self, mistake: &'a Mistake, path: &'a str) -> Group<'a> {
        let title = Level::ERROR.primary_title(mistake.message.as_str());
        let group = match &mistake.span {
            Some(span) => title.element(
                Snippet::source(self.source.as_str())
                    .path(path)
                    .annotation(AnnotationKind::Primary.span(span.clone())),
            ),
            None => title.element(Origin::path(path)),
        };
        match &mistake.help {
            Some(help) => group.element(Level::HELP.message(help.as_str())),
            None => group,
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Ink::Plain))
    }
}

fn with_line(note: Note, text: &str) -> Mistake {
    let line = note
        .span
        .as_ref()
        .map(|span| text[..span.start].matches('\n').count() + 1);
    Mistake {
        span: note.span,
        line,
        key: note.key,
        message: note.message,
        help: note.help,
    }
}

/// The text with asterisks instead of the `hidden` parts; every other byte stays where it was, so that
/// spans still fit.
fn covered(text: &str, hidden: &[Range<usize>]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for span in hidden {
        for byte in &mut bytes[span.clone()] {
            if *byte != b'\n' {
                *byte = b'*';
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}
