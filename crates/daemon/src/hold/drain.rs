//! Waits, for a moment, until the connections that a container has are over.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use cutover_core::hold::{listening_ports, open_connections};
use tokio::time::Instant;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// So many looks in a row must show none: a connection may be between two tables.
const LOOKS: u32 = 3;

/// What is looked at: the tables of one network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drained {
    /// A process in it; none for this one's own.
    pub process: Option<i32>,
    /// The ports of it.
    pub ports: BTreeSet<u16>,
}

/// Waits until no connection to these ports is open, at most for `bound`. What cannot be read counts as nothing.
pub async fn drain(all: &[Drained], bound: Duration) {
    let began = Instant::now();
    let mut without = 0;
    while began.elapsed() < bound && without < LOOKS {
        let open: usize = all.iter().map(open).sum();
        without = if open == 0 { without + 1 } else { 0 };
        if without < LOOKS {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn open(of: &Drained) -> usize {
    let tables = tables(of.process).into_iter();
    tables
        .map(|table| open_connections(&table, &of.ports))
        .sum()
}

/// Those of these ports at which a process listens in this network namespace.
#[must_use]
pub fn listening(ports: &BTreeSet<u16>) -> BTreeSet<u16> {
    let tables = tables(None).into_iter();
    let all: BTreeSet<u16> = tables.flat_map(|table| listening_ports(&table)).collect();
    all.intersection(ports).copied().collect()
}

/// The kernel's tables of TCP sockets; what cannot be read is left out.
fn tables(process: Option<i32>) -> Vec<String> {
    let process = match process {
        Some(process) => process.to_string(),
        None => "thread-self".to_owned(),
    };
    let tables = ["tcp", "tcp6"].map(|table| format!("/proc/{process}/net/{table}"));
    let tables = tables
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok());
    tables.collect()
}
