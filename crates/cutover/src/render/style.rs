//! The few colors, and what each means. They disappear where the output is no terminal or `NO_COLOR` is set.

use std::fmt::Display;

use anstyle::{AnsiColor, Effects, Style};

/// Nothing special.
pub(crate) const PLAIN: Style = Style::new();
/// Headings.
pub(crate) const BOLD: Style = Style::new().effects(Effects::BOLD);
/// What matters less.
pub(crate) const FAINT: Style = Style::new().effects(Effects::DIMMED);
/// As wished.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Needs attention soon.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default();
/// Went wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().effects(Effects::BOLD);
/// Under way.
pub(crate) const ACTIVE: Style = AnsiColor::Cyan.on_default();

/// The text in a style.
pub(crate) fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}
