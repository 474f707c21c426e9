//! The table: for each fault, how its rounds ended.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use cutover_testkit::torture::verdict::Verdict;

/// How the rounds of each fault ended.
#[derive(Debug, Default)]
pub(super) struct Table(BTreeMap<String, Row>);

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    rounds: u32,
    old: u32,
    new: u32,
    attention: u32,
    third: u32,
    /// Of the old and the new ones: nothing runs, as the restart policy or a hand wanted it.
    down: u32,
}

impl Table {
    /// Counts one more; `is_down` if nothing runs in the end.
    pub(super) fn add(&mut self, fault: &str, verdict: &Verdict, is_down: bool) {
        let count = |counts: bool| u32::from(counts);
        let row = self.0.entry(fault.to_owned()).or_default();
        *row += Row {
            rounds: 1,
            old: count(*verdict == Verdict::Old),
            new: count(*verdict == Verdict::New),
            attention: count(*verdict == Verdict::Attention),
            third: count(verdict.is_third()),
            down: count(is_down && !verdict.is_third()),
        };
    }

    /// How many ended in a third state.
    pub(super) fn third(&self) -> u32 {
        self.0.values().map(|row| row.third).sum()
    }

    /// As it stands in the documents.
    pub(super) fn markdown(&self) -> String {
        let mut text = "| fault | rounds | old | new | needs attention, something runs | third | down as the policy or a hand wants it |\n\
                        |---|---|---|---|---|---|---|\n"
            .to_owned();
        let mut all = Row::default();
        for (fault, row) in &self.0 {
            text += &row.line(fault);
            all += *row;
        }
        text + &all.line("all")
    }
}

impl Row {
    fn line(&self, fault: &str) -> String {
        format!(
            "| {fault} | {} | {} | {} | {} | {} | {} |\n",
            self.rounds, self.old, self.new, self.attention, self.third, self.down
        )
    }
}

impl AddAssign for Row {
    fn add_assign(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.old += other.old;
        self.new += other.new;
        self.attention += other.attention;
        self.third += other.third;
        self.down += other.down;
    }
}
