//! Tables that fit the terminal: for a person, columns that do not fit are left out and then cut, for a pipe none is.

use anstyle::Style;

use crate::render::Audience;
use crate::render::style::{BOLD, paint};
use crate::render::text::{cut, width};

/// Between two columns.
const GAP: usize = 2;

/// The narrowest that the last column is cut to.
const LAST_COLUMN_MIN: usize = 12;

/// No other column is cut to less.
const COLUMN_MIN: usize = 6;

/// Whether a column may be left out where the terminal is narrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Always shown.
    Always,
    /// Left out first to last where there is no room.
    WhereItFits,
}

/// A piece of text in a style.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A cell; an empty one shows a dash so that columns can be counted.
    pub(crate) fn new(text: impl Into<String>, style: Style) -> Self {
        let text = text.into();
        Self {
            text: if text.is_empty() {
                "-".to_owned()
            } else {
                text
            },
            style,
        }
    }

    fn width(&self) -> usize {
        width(&self.text)
    }
}

/// Rows under headings.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<(&'static str, Need)>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(headings: &[(&'static str, Need)]) -> Self {
        Self {
            headings: headings.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, a cell for each heading.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.headings.len());
        self.rows.push(cells);
    }

    /// Whether the columns that are always shown need no more than `columns`.
    pub(crate) fn fits(&self, columns: usize) -> bool {
        let always: Vec<usize> = (0..self.headings.len())
            .filter(|&i| self.headings[i].1 == Need::Always)
            .collect();
        total(&self.widths(), &always) <= columns
    }

    /// The table as text.
    pub(crate) fn render(&self, audience: Audience) -> String {
        let mut widths = self.widths();
        let mut shown: Vec<usize> = (0..self.headings.len()).collect();
        let mut last_width = usize::MAX;
        if let Audience::Person { columns } = audience {
            while total(&widths, &shown) > columns {
                let droppable = |&i: &usize| self.headings[i].1 == Need::WhereItFits;
                match shown.iter().rposition(droppable) {
                    Some(position) => shown.remove(position),
                    None => break,
                };
            }
            if let Some((&last, others)) = shown.split_last() {
                let room = columns.saturating_sub(widths[last].min(LAST_COLUMN_MIN) + GAP);
                narrow(&mut widths, others, room);
                let room = columns.saturating_sub(total(&widths, others) + GAP);
                last_width = widths[last].min(room.max(LAST_COLUMN_MIN));
            }
        }
        let heading: Vec<Cell> = (self.headings.iter())
            .map(|(heading, _)| Cell::new(*heading, BOLD))
            .collect();
        std::iter::once(&heading)
            .chain(&self.rows)
            .map(|row| line(row, &widths, &shown, last_width))
            .collect()
    }

    /// The width that each column needs.
    fn widths(&self) -> Vec<usize> {
        (0..self.headings.len())
            .map(|i| {
                let cells = self.rows.iter().map(|row| row[i].width());
                cells.fold(self.headings[i].0.len(), usize::max)
            })
            .collect()
    }
}

/// The width of the shown columns with the gaps between them.
fn total(widths: &[usize], shown: &[usize]) -> usize {
    let text: usize = shown.iter().map(|&i| widths[i]).sum();
    text + GAP * shown.len().saturating_sub(1)
}

/// Takes from the widest of the shown columns, again and again, until they fit into `room` or none is wide.
fn narrow(widths: &mut [usize], shown: &[usize], room: usize) {
    while total(widths, shown) > room {
        match shown.iter().max_by_key(|&&i| widths[i]) {
            Some(&widest) if widths[widest] > COLUMN_MIN => widths[widest] -= 1,
            _ => return,
        }
    }
}

/// One line; the last column is not filled up with spaces.
fn line(row: &[Cell], widths: &[usize], shown: &[usize], last_width: usize) -> String {
    let mut line = String::new();
    for (position, &i) in shown.iter().enumerate() {
        let cell = &row[i];
        if position + 1 == shown.len() {
            line.push_str(&paint(cell.style, cut(&cell.text, last_width)));
        } else {
            let text = cut(&cell.text, widths[i]);
            line.push_str(&paint(cell.style, &text));
            line.push_str(&" ".repeat(widths[i] + GAP - width(&text)));
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::style::PLAIN;

    fn table() -> Table {
        let mut table = Table::new(&[
            ("A", Need::Always),
            ("B", Need::WhereItFits),
            ("NOTE", Need::Always),
        ]);
        let cell = |text: &str| Cell::new(text, PLAIN);
        table.row(vec![
            cell("first"),
            cell("middle"),
            cell("a note of some length"),
        ]);
        table.row(vec![cell("x"), cell(""), cell("")]);
        table
    }

    fn rendered(audience: Audience) -> String {
        anstream::adapter::strip_str(&table().render(audience)).to_string()
    }

    #[test]
    fn a_pipe_gets_everything() {
        insta::assert_snapshot!(rendered(Audience::Pipe), @r"
        A      B       NOTE
        first  middle  a note of some length
        x      -       -
        ");
    }

    #[test]
    fn a_narrow_terminal_gets_what_fits() {
        insta::assert_snapshot!(rendered(Audience::Person { columns: 35 }), @r"
        A      NOTE
        first  a note of some length
        x      -
        ");
        insta::assert_snapshot!(rendered(Audience::Person { columns: 20 }), @r"
        A      NOTE
        first  a note of so…
        x      -
        ");
    }

    #[test]
    fn a_column_that_must_be_shown_is_cut_where_the_terminal_is_narrower_still() {
        let mut table = Table::new(&[
            ("A", Need::Always),
            ("B", Need::Always),
            ("C", Need::Always),
        ]);
        let cell = |text: &str| Cell::new(text, PLAIN);
        table.row(vec![
            cell("a-service-with-a-long-name"),
            cell("3f2a9c1b0d4e"),
            cell("needs an operator: nothing runs"),
        ]);
        assert!(!table.fits(60) && table.fits(73));
        let text = anstream::adapter::strip_str(&table.render(Audience::Person { columns: 40 }))
            .to_string();
        insta::assert_snapshot!(text, @r"
        A             B             C
        a-service-w…  3f2a9c1b0d4e  needs an op…
        ");
    }
}
