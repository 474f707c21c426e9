//! What a run leaves: tables on the terminal, files for the documentation, and the promises beside what
//! was measured.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::target::Target;

/// Where the files go, and the verdicts so far.
#[derive(Debug)]
pub(super) struct Report {
    directory: PathBuf,
    targets: Vec<Target>,
    said: String,
}

impl Report {
    pub(super) fn new(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory)
            .with_context(|| format!("{} cannot be created", directory.display()))?;
        Ok(Self {
            directory: directory.to_owned(),
            targets: Vec::new(),
            said: String::new(),
        })
    }

    /// Writes a file.
    pub(super) fn write(&self, name: &str, content: &str) -> Result<()> {
        let path = self.directory.join(name);
        fs::write(&path, content)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        eprintln!("wrote {}", path.display());
        Ok(())
    }

    /// Prints a text, which the summary repeats.
    pub(super) fn say(&mut self, text: &str) {
        println!("{text}");
        self.said.push_str(text);
        self.said.push('\n');
    }

    /// Writes everything said so far.
    pub(super) fn write_summary(&self, name: &str) -> Result<()> {
        self.write(name, &self.said)
    }

    /// Notes what came of a promise.
    pub(super) fn judge(&mut self, target: Target) {
        self.targets.push(target);
    }

    /// Prints what came of the promises, and returns how many were not kept.
    pub(super) fn verdict(&mut self) -> usize {
        let targets = std::mem::take(&mut self.targets);
        for target in &targets {
            self.say(&target.to_string());
        }
        targets.iter().filter(|target| !target.is_met()).count()
    }
}

/// A table of text, the first column to the left and the others to the right.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&str]) -> Self {
        Self {
            rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()],
        }
    }

    pub(super) fn row(&mut self, title: &str, cells: Vec<String>) {
        let mut row = vec![title.to_owned()];
        row.extend(cells);
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 {
                    write!(f, "{cell:<width$}")?;
                } else {
                    write!(f, "  {cell:>width$}")?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
