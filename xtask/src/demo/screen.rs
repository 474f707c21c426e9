//! Everything that is printed. Colors only on a terminal.

use std::fs;
use std::io::{IsTerminal as _, stdout};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use cutover_testkit::engine::command::tail_of;

use super::shop::Shop;
use super::surroundings::Surroundings;

const BOLD: &str = "1";
const FAINT: &str = "2";
const GOOD: &str = "32";
const BAD: &str = "1;31";
/// Stands for the directory of the demo's files.
const ELLIPSIS: &str = "...";
const TYPED: &str = "1;36";

/// One act in the table at the end.
#[derive(Debug)]
pub(crate) struct Row {
    /// The act.
    pub(crate) title: &'static str,
    /// The outcome that was promised.
    pub(crate) promised: String,
    /// The one that was observed, in the same words.
    pub(crate) observed: String,
    /// How many requests of visitors failed, and how long the one took that took longest; none where nothing ran before.
    pub(crate) visitors: Option<(usize, Duration)>,
    /// From typing the command to its end.
    pub(crate) took: Duration,
    /// What differs from the promise.
    pub(crate) broken: Vec<String>,
}

/// The reader's screen.
#[derive(Debug)]
pub(crate) struct Screen {
    colored: bool,
}

impl Screen {
    /// Where stdout goes.
    pub(crate) fn for_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            colored: stdout().is_terminal() && !refused,
        }
    }

    /// Whether commands shall print in color.
    pub(crate) fn is_colored(&self) -> bool {
        self.colored
    }

    /// What is used, before anything is done.
    pub(crate) fn welcome(&self, docker: &str, registry: SocketAddr, dir: &Path) {
        let title = "cutover demo: a small shop and its deployments";
        println!("\n{}", self.paint(BOLD, title));
        println!("Docker:    {docker}");
        println!("Registry:  {registry}, started for the demo");
        println!(
            "Files:     {}, shortened to {ELLIPSIS} below",
            dir.display()
        );
    }

    /// A file of the demo.
    pub(crate) fn file(&self, dir: &Path, name: &str) -> Result<()> {
        println!("\n{}", self.paint(BOLD, name));
        self.output(&shortened(&fs::read_to_string(dir.join(name))?, dir));
        println!();
        Ok(())
    }

    /// The environment of the commands that follow.
    pub(crate) fn exports(&self, exports: &[(&str, String)], dir: &Path) {
        let variables: Vec<String> = exports
            .iter()
            .map(|(name, value)| format!("{name}={}", shortened(value, dir)))
            .collect();
        self.typed(&format!("export {}", variables.join(" ")));
        self.typed("export CUTOVER_SECRET=...   # what webhook.secret holds, as CI keeps it");
    }

    /// The beginning of an act.
    pub(crate) fn act(&self, number: usize, title: &str, happens: &str, promise: &str) {
        println!("\n{}", self.paint(BOLD, &format!("{number}. {title}")));
        println!("{happens}\nPromise: {promise}");
    }

    /// A command as it is typed.
    pub(crate) fn typed(&self, command: &str) {
        println!("{}", self.paint(TYPED, &format!("$ {command}")));
    }

    /// What a command printed.
    pub(crate) fn output(&self, text: &str) {
        for line in text.lines() {
            println!("    {line}");
        }
    }

    /// How a command ended.
    pub(crate) fn exit(&self, code: i32) {
        println!("    {}", self.paint(FAINT, &format!("(exit code {code})")));
    }

    /// An answer to a request that no client made.
    pub(crate) fn answer(&self, text: &str) {
        println!("{text}");
    }

    /// What the prober saw.
    pub(crate) fn prober(&self, text: &str) {
        println!("prober: {text}");
    }

    /// Whether the promise was kept.
    pub(crate) fn promise(&self, row: &Row) {
        if row.broken.is_empty() {
            println!("{} {}", self.paint(GOOD, "promise kept:"), row.observed);
        } else {
            let broken = row.broken.join("; ");
            println!("{} {broken}", self.paint(BAD, "PROMISE BROKEN:"));
        }
    }

    /// All acts.
    pub(crate) fn table(&self, rows: &[Row]) {
        let mut cells = vec![
            [
                "act",
                "promised",
                "observed",
                "failed",
                "longest wait",
                "took",
            ]
            .map(str::to_owned),
        ];
        for (number, row) in rows.iter().enumerate() {
            let observed = match (row.promised == row.observed, row.broken.is_empty()) {
                (true, true) => "the same".to_owned(),
                (true, false) => row.broken.join("; "),
                (false, _) => row.observed.clone(),
            };
            cells.push([
                format!("{}. {}", number + 1, row.title),
                row.promised.clone(),
                observed,
                row.visitors
                    .map_or("-".to_owned(), |(failed, _)| format!("{failed} failed")),
                row.visitors
                    .map_or("-".to_owned(), |(_, longest)| span(longest)),
                span(row.took),
            ]);
        }
        println!();
        for (line, row) in layout(&cells).into_iter().enumerate() {
            let style = match line.checked_sub(1).and_then(|index| rows.get(index)) {
                None => BOLD,
                Some(row) if row.broken.is_empty() => GOOD,
                Some(_) => BAD,
            };
            println!("{}", self.paint(style, &row));
        }
    }

    /// The last word.
    pub(crate) fn verdict(&self, rows: &[Row], took: &str) {
        let broken = rows.iter().filter(|row| !row.broken.is_empty()).count();
        let acts = rows.len();
        let (style, text) = match broken {
            0 => (GOOD, format!("All {acts} promises were kept.")),
            broken => (BAD, format!("{broken} of {acts} promises were BROKEN.")),
        };
        println!("\n{} The demo took {took}.", self.paint(style, &text));
    }

    /// The end of cutover's own log, when something is wrong.
    pub(crate) fn log_tail(&self, log: &Path) {
        println!("\ncutover's own log, {}", tail_of(log));
    }

    /// How to look around in what is left running.
    pub(crate) fn look_around(&self, shop: &Shop, surroundings: &Surroundings) {
        let init = surroundings
            .init_pid_file
            .as_ref()
            .and_then(|file| fs::read_to_string(file).ok());
        println!("\nEverything stays as it is until Ctrl-C. In another terminal:\n");
        if let Some(init) = init {
            println!(
                "    nsenter --net=/proc/{}/ns/net   # a shell in the demo's network",
                init.trim()
            );
        }
        println!(
            "    export DOCKER_HOST=unix://{}",
            shop.docker_socket().display()
        );
        for (name, value) in shop.exports() {
            println!("    export {name}={value}");
        }
        println!("    export CUTOVER_SECRET={}", shop.secret());
        let cutover = shop.program().display();
        println!("    {cutover} status");
        println!("    {cutover} history");
        println!(
            "    {cutover} deploy shop {} --url {}",
            super::story::Release::Good.sha(),
            shop.url()
        );
        println!("    curl http://{}/version   # the shop", shop.address());
        println!("    less {}   # cutover's own log", shop.log().display());
        if let Some(bin) = surroundings.registry.parent() {
            println!(
                "    {} ps   # or your own docker client",
                bin.join("docker").display()
            );
        }
    }

    /// The end of the cleaning up.
    pub(crate) fn removed(&self) {
        println!("Removed the demo's containers, network, images, files and processes.");
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.colored {
            format!("\x1b[{style}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// The text with the directory of the demo's files left out.
pub(crate) fn shortened(text: &str, dir: &Path) -> String {
    text.replace(&*dir.to_string_lossy(), ELLIPSIS)
}

/// A duration for people.
pub(crate) fn span(duration: Duration) -> String {
    match duration.as_millis() {
        millis @ 0..1000 => format!("{millis} ms"),
        _ => format!("{:.1} s", duration.as_secs_f32()),
    }
}

/// Lines with the cells of each column below each other.
fn layout<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let line = |row: &[String; COLUMNS]| {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
