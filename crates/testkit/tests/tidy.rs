//! What the architecture forbids, a test forbids; and what the documents cite exists.
//!
//! The sources are read as text, so nothing here depends on what compiles. Every rule collects all of its
//! violations before it fails.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file longer than this holds more than one thing.
const LINES_MAX: usize = 450;

/// Directories that hold what is made and not written.
const SKIPPED: &[&str] = &["target", ".git"];

/// The commands that are, or look through, the daemon's eyes.
const DAEMONS_OWN: &[&str] = &["serve", "check", "plan", "init"];

/// What only something that reads the outside world needs.
const EFFECTS: &[&str] = &[
    "serde",
    "tokio",
    "std::fs",
    "std::net",
    "SystemTime",
    "Instant::now",
];

/// One text file of the repository.
struct File {
    /// Relative to the root, with `/` between its parts.
    path: String,
    text: String,
}

impl File {
    fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// The lines with this word, as `path:line`.
    fn lines_with(&self, word: &str) -> Vec<String> {
        let found = self.text.lines().enumerate();
        found
            .filter(|(_, line)| line.contains(word))
            .map(|(number, _)| format!("{}:{}: {word}", self.path, number + 1))
            .collect()
    }
}

fn root() -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    fs::canonicalize(root).expect("the root of the repository")
}

/// Every text file with one of these endings, or all of them.
fn files(endings: &[&str]) -> Vec<File> {
    let root = root();
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    let files: Vec<File> = paths
        .into_iter()
        .filter_map(|path| {
            let relative = path.strip_prefix(&root).expect("below the root");
            let relative = relative.to_str().expect("UTF-8").to_owned();
            let wanted = endings.is_empty() || endings.iter().any(|end| relative.ends_with(end));
            let text = wanted.then(|| fs::read_to_string(&path).ok()).flatten()?;
            Some(File {
                path: relative,
                text,
            })
        })
        .collect();
    assert!(!files.is_empty(), "no {endings:?} below {}", root.display());
    files
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let entry = entry.expect("an entry");
        let kind = entry.file_type().expect("a kind");
        let name = entry.file_name();
        if kind.is_dir() && !SKIPPED.iter().any(|skipped| name == *skipped) {
            collect(&entry.path(), paths);
        } else if kind.is_file() {
            paths.push(entry.path());
        }
    }
}

#[track_caller]
fn expect_none(violations: &[String], rule: &str) {
    assert!(violations.is_empty(), "{rule}:\n{}", violations.join("\n"));
}

#[test]
fn modules_open_with_their_story() {
    let bare: Vec<_> = files(&[".rs"])
        .into_iter()
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| file.path)
        .collect();
    expect_none(&bare, "a file opens with `//!` and what it is for");
}

#[test]
fn source_files_are_short() {
    let long: Vec<_> = files(&[".rs"])
        .into_iter()
        .filter(|file| !file.is_test() && file.text.lines().count() > LINES_MAX)
        .map(|file| format!("{}: {} lines", file.path, file.text.lines().count()))
        .collect();
    expect_none(
        &long,
        &format!("a source file has at most {LINES_MAX} lines"),
    );
}

#[test]
fn client_commands_do_not_know_the_daemon() {
    let is_daemons_own = |path: &str| {
        DAEMONS_OWN.iter().any(|name| {
            let command = format!("crates/cutover/src/commands/{name}");
            path == format!("{command}.rs") || path.starts_with(&format!("{command}/"))
        })
    };
    let violations: Vec<_> = files(&[".rs"])
        .iter()
        .filter(|file| file.path.starts_with("crates/cutover/src/"))
        .filter(|file| !is_daemons_own(&file.path))
        .flat_map(|file| file.lines_with("cutover_daemon"))
        .collect();
    expect_none(&violations, "a client command knows the wire and no more");
}

#[test]
fn decisions_have_no_effects() {
    let mut violations = Vec::new();
    for file in files(&[".rs"]) {
        if file.path.starts_with("crates/core/src/") {
            violations.extend(EFFECTS.iter().flat_map(|word| file.lines_with(word)));
        }
    }
    expect_none(&violations, "core decides, and does nothing else");
}

#[test]
fn the_wire_does_not_know_the_domain() {
    let violations: Vec<_> = files(&[".rs", "Cargo.toml"])
        .iter()
        .filter(|file| file.path.starts_with("crates/api/"))
        .flat_map(|file| {
            let mut found = file.lines_with("cutover_core");
            found.extend(file.lines_with("cutover-core"));
            found
        })
        .collect();
    expect_none(&violations, "api does not know core");
}

#[test]
fn only_the_front_knows_http() {
    // The staging socket and the client of Docker speak Docker's HTTP, which is another matter.
    let may = [
        "http",
        "metrics.rs",
        "run.rs",
        "driver/staging",
        "docker/wire",
    ];
    let mut violations = Vec::new();
    for file in files(&[".rs"]) {
        if let Some(below) = file.path.strip_prefix("crates/daemon/src/")
            && !may.iter().any(|prefix| below.starts_with(prefix))
        {
            violations.extend(file.lines_with("axum"));
            violations.extend(file.lines_with("StatusCode"));
        }
    }
    expect_none(&violations, "below `http` nobody knows of HTTP");
}

#[test]
fn nothing_is_switched_off_or_left_for_later() {
    // Put together, so that this file does not hold them.
    let banned = [
        concat!("#[", "ignore"),
        concat!("#[should_", "panic"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
    ];
    let violations: Vec<_> = files(&[".rs"])
        .iter()
        .flat_map(|file| banned.iter().flat_map(|word| file.lines_with(word)))
        .collect();
    expect_none(&violations, "a test runs, and what is shipped is done");
}

#[test]
fn no_file_names_a_place_on_somebodys_machine() {
    let place = concat!("/wo", "rk/");
    let runner = concat!("/home/runner/wo", "rk/");
    let violations: Vec<_> = files(&[])
        .iter()
        .filter(|file| file.text.replace(runner, "").contains(place))
        .flat_map(|file| file.lines_with(place))
        .collect();
    expect_none(&violations, "a path that exists on one machine only");
}

/// The names of all tests in this file.
fn tests_in(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, rest)) = line.split_once("fn ") {
            let name: String = rest
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            if is_test {
                names.insert(name);
            }
            is_test = false;
        } else if !(line.starts_with("#[") || line.starts_with("//") || line.is_empty()) {
            is_test = false;
        }
    }
    names
}

/// What stands between back-ticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The cells of a table's row.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

#[test]
fn the_tests_that_hold_an_invariant_exist() {
    let all: BTreeSet<String> = files(&[".rs"])
        .iter()
        .flat_map(|file| tests_in(&file.text))
        .collect();
    let mut cited = 0;
    let mut violations = Vec::new();
    for file in files(&[".md"]) {
        for cell in held_by(&file.text) {
            let names: Vec<_> = quoted(cell).collect();
            if names.is_empty() {
                violations.push(format!("{}: held by nothing: {cell}", file.path));
            }
            cited += names.len();
            let unknown = names.into_iter().filter(|name| !all.contains(*name));
            violations.extend(unknown.map(|name| format!("{}: no such test: {name}", file.path)));
        }
    }
    assert!(cited > 20, "the table of invariants was not found");
    expect_none(&violations, "a table's column `held by` names tests");
}

/// The cells of all columns headed `held by`.
fn held_by(markdown: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut column = None;
    for line in markdown.lines() {
        let Some(cells) = cells(line) else {
            column = None;
            continue;
        };
        if let Some(head) = cells.iter().position(|cell| *cell == "held by") {
            column = Some(head);
        } else if let Some(cell) = column.and_then(|column| cells.get(column))
            && !cell.starts_with("---")
        {
            found.push(*cell);
        }
    }
    found
}

#[test]
fn the_tests_that_hold_the_promise_exist_where_the_link_leads() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let mut cited = 0;
    let mut violations = Vec::new();
    for (text, target) in links(&readme) {
        if !target.ends_with(".rs") {
            continue;
        }
        cited += 1;
        let source = fs::read_to_string(root().join(&target)).unwrap_or_default();
        let name = text.trim_matches('`');
        if !tests_in(&source).contains(name) {
            violations.push(format!("no test `{name}` in {target}"));
        }
    }
    assert!(cited >= 5, "the promise has five lines");
    expect_none(&violations, "README.md cites tests");
}

/// Text and target of every inline link and image, outside of fenced code.
fn links(markdown: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut is_code = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("](") {
            let text = before.rsplit_once('[').map_or("", |(_, text)| text);
            let target = after.split(')').next().unwrap_or_default();
            // Inside of a code span it only looks like a link.
            if before.matches('`').count() % 2 == 0 {
                found.push((text.to_owned(), target.to_owned()));
            }
            rest = after;
        }
    }
    found
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(markdown: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut is_code = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code && line.starts_with('#') {
            let anchor = line
                .trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect();
            anchors.insert(anchor);
        }
    }
    anchors
}

#[test]
fn links_lead_somewhere() {
    let mut violations = Vec::new();
    for file in files(&[".md"]) {
        let base = root().join(&file.path);
        let base = base.parent().expect("a directory");
        for (_, target) in links(&file.text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let place = if path.is_empty() {
                root().join(&file.path)
            } else {
                base.join(path)
            };
            if !place.exists() {
                violations.push(format!("{}: {target} is not there", file.path));
            } else if !anchor.is_empty() {
                let text = fs::read_to_string(&place).unwrap_or_default();
                if !anchors(&text).contains(anchor) {
                    violations.push(format!("{}: {target} has no such heading", file.path));
                }
            }
        }
    }
    expect_none(&violations, "a relative link leads to what exists");
}

#[test]
fn operators_are_told_what_to_do_about_every_cause() {
    let source = fs::read_to_string(root().join("crates/core/src/cause.rs")).expect("the causes");
    let declared = source
        .split_once("codes! {")
        .and_then(|(_, rest)| rest.split_once("\n}"))
        .map_or("", |(inside, _)| inside);
    let codes: Vec<_> = declared
        .lines()
        .filter_map(|line| line.trim().strip_suffix("\",")?.rsplit_once("= \""))
        .map(|(_, word)| word)
        .collect();
    assert!(codes.len() > 15, "the causes were not found");
    let document = fs::read_to_string(root().join("docs/operations.md")).expect("the document");
    let missing: Vec<_> = codes
        .into_iter()
        .filter(|code| !document.contains(&format!("\n| `{code}` |")))
        .map(str::to_owned)
        .collect();
    expect_none(&missing, "docs/operations.md has a row for every cause");
}

#[test]
fn the_readers_of_these_tests_find_what_they_look_for() {
    let text =
        "#[test]\n// why\nfn one() {}\n\n#[tokio::test]\nasync fn two() {}\nfn not_a_test() {}\n";
    let names: Vec<_> = tests_in(text).into_iter().collect();
    assert_eq!(names, ["one", "two"]);
    assert_eq!(
        links("see [a](b.md#c) and `[x](y)`\n```\n[d](e)\n```\n![f](g.svg)"),
        [
            ("a".to_owned(), "b.md#c".to_owned()),
            ("f".to_owned(), "g.svg".to_owned())
        ]
    );
    let headings = anchors("# Bird's-eye view\n## 1. A secret\n");
    assert!(headings.contains("birds-eye-view"));
    assert!(headings.contains("1-a-secret"));
    assert_eq!(
        held_by("| a | held by |\n|---|---|\n| x | `b` |\n\n| y | z |"),
        ["`b`"]
    );
    assert_eq!(quoted("x `a`, `b`").collect::<Vec<_>>(), ["a", "b"]);
}
