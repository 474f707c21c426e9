//! Finds what is to be looked through: files, scripts inside of YAML, examples inside of Markdown.
//!
//! YAML is read line by line, which suffices for files that are written by hand in block style.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Directories that hold nothing of ours.
const SKIPPED: [&str; 2] = ["target", ".git"];

/// A piece of text and where it comes from.
#[derive(Debug)]
pub(super) struct Fragment {
    /// The file, relative to the workspace.
    pub(super) file: String,
    /// The line of the file that the text begins with, from 1.
    pub(super) first_line: usize,
    /// The text, without the indentation that it has in the file.
    pub(super) text: String,
}

impl Fragment {
    /// A file as a whole.
    pub(super) fn whole(file: &str, text: String) -> Self {
        Self {
            file: file.to_owned(),
            first_line: 1,
            text,
        }
    }

    /// What to say about the line number `line` of the text, from 1.
    pub(super) fn finding(&self, line: usize, message: &str) -> String {
        format!("{}:{}: {message}", self.file, self.first_line + line - 1)
    }
}

/// The depth of a line's indentation.
pub(super) fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The shell of the workspace.
#[derive(Debug, Default)]
pub(super) struct Shell {
    /// Files that a shell is to run, by their first line.
    pub(super) scripts: Vec<PathBuf>,
    /// Files named `*.sh` that scripts read in.
    pub(super) parts: Vec<PathBuf>,
}

/// Finds every shell script of the workspace.
pub(super) fn shell(root: &Path) -> Result<Shell> {
    let mut shell = Shell::default();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        for (path, is_directory) in entries(root, &directory)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if is_directory {
                if !SKIPPED.contains(&name.as_ref()) {
                    directories.push(path);
                }
            } else if runs_in_a_shell(&root.join(&path)) {
                shell.scripts.push(path);
            } else if name.ends_with(".sh") {
                shell.parts.push(path);
            }
        }
    }
    shell.scripts.sort();
    shell.parts.sort();
    Ok(shell)
}

/// The files with one of the extensions at or below `start`, which need not exist.
pub(super) fn files_in(root: &Path, start: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    if root.join(start).is_file() {
        return Ok(vec![start.to_owned()]);
    }
    let mut files = Vec::new();
    let mut directories = vec![start.to_owned()];
    while let Some(directory) = directories.pop() {
        if !root.join(&directory).is_dir() {
            continue;
        }
        for (path, is_directory) in entries(root, &directory)? {
            let extension = path.extension().unwrap_or_default().to_string_lossy();
            if is_directory {
                directories.push(path);
            } else if extensions.contains(&extension.as_ref()) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// What is in a directory, relative to `root`, and whether it is a directory itself.
fn entries(root: &Path, directory: &Path) -> Result<Vec<(PathBuf, bool)>> {
    let place = root.join(directory);
    let listing =
        fs::read_dir(&place).with_context(|| format!("{} cannot be read", place.display()))?;
    let mut found = Vec::new();
    for entry in listing {
        let entry = entry?;
        found.push((
            directory.join(entry.file_name()),
            entry.file_type()?.is_dir(),
        ));
    }
    Ok(found)
}

/// Whether the first line of a file names a shell.
fn runs_in_a_shell(path: &Path) -> bool {
    use std::io::Read as _;
    let mut start = [0; 64];
    let length = fs::File::open(path).and_then(|mut file| file.read(&mut start));
    let start = String::from_utf8_lossy(&start[..length.unwrap_or(0)]).into_owned();
    start.lines().next().is_some_and(|line| {
        line.starts_with("#!") && (line.ends_with("/sh") || line.ends_with("bash"))
    })
}

/// The scripts under `run:` in a workflow or an action.
pub(super) fn run_scripts(yaml: &Fragment) -> Vec<Fragment> {
    let lines: Vec<&str> = yaml.text.lines().collect();
    let mut scripts = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let key = line.trim_start().trim_start_matches("- ");
        let Some(value) = key.strip_prefix("run:") else {
            continue;
        };
        let depth = line.len() - key.len();
        let (first, text) = match value.trim() {
            "|" | "|-" => (index + 1, block_below(&lines[index + 1..], depth)),
            script => (index, format!("{script}\n")),
        };
        scripts.push(Fragment {
            file: yaml.file.clone(),
            first_line: yaml.first_line + first,
            text,
        });
    }
    scripts
}

/// The lines that are indented by more than `depth`, up to the first that is not, without their
/// common indentation.
fn block_below(lines: &[&str], depth: usize) -> String {
    let belongs = |line: &&&str| line.trim().is_empty() || indentation(line) > depth;
    let block: Vec<&str> = lines.iter().take_while(belongs).copied().collect();
    let common = block
        .iter()
        .filter(|line| !line.trim().is_empty())
        .map(|line| indentation(line))
        .min()
        .unwrap_or(0);
    block
        .iter()
        .map(|line| line.get(common..).unwrap_or("").to_owned() + "\n")
        .collect()
}

/// The fenced blocks of a Markdown document, with what follows the opening fence.
pub(super) fn fenced_blocks(file: &str, markdown: &str) -> Vec<(String, Fragment)> {
    let mut blocks = Vec::new();
    let mut lines = markdown.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else {
            continue;
        };
        let inside: Vec<&str> = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| line.trim() != "```")
            .collect();
        // What stands in a list is indented; what is indented less than its fence does not exist.
        let text = inside
            .iter()
            .map(|inner| inner.get(indentation(line)..).unwrap_or("").to_owned() + "\n")
            .collect();
        let block = Fragment {
            file: file.to_owned(),
            first_line: index + 2,
            text,
        };
        blocks.push((info.trim().to_owned(), block));
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_found_in_both_forms_with_their_lines() {
        let yaml = "steps:\n  - run: echo one\n  - name: two\n    run: |\n      echo two\n\n        echo three\n    env:\n      A: b\n";
        let scripts = run_scripts(&Fragment::whole("w.yml", yaml.to_owned()));
        let found: Vec<_> = scripts
            .iter()
            .map(|script| (script.first_line, script.text.as_str()))
            .collect();
        assert_eq!(
            found,
            [(2, "echo one\n"), (5, "echo two\n\n  echo three\n")]
        );
        assert_eq!(scripts[1].finding(3, "x"), "w.yml:7: x");
    }

    #[test]
    fn fenced_blocks_are_found_with_their_names() {
        let markdown = "a\n```bash curl\nx\n```\n1. b\n   ```yaml\n   jobs:\n     c: d\n   ```\n";
        let blocks = fenced_blocks("d.md", markdown);
        let found: Vec<_> = blocks
            .iter()
            .map(|(info, block)| (info.as_str(), block.first_line, block.text.as_str()))
            .collect();
        assert_eq!(
            found,
            [("bash curl", 3, "x\n"), ("yaml", 7, "jobs:\n  c: d\n")]
        );
    }
}
