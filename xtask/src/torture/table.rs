//! The table: for each fault, how its rounds ended.

use std::collections::BTreeMap;

use cutover_testkit::torture::verdict::Verdict;

/// How the rounds of each fault ended.
#[derive(Debug, Default)]
pub(super) struct Table(BTreeMap<String, Row>);

#[derive(Debug, Default)]
struct Row {
    rounds: u32,
    old: u32,
    new: u32,
    attention: u32,
    third: u32,
}

impl Table {
    /// Counts one more.
    pub(super) fn add(&mut self, fault: &str, verdict: &Verdict) {
        let row = self.0.entry(fault.to_owned()).or_default();
        row.rounds += 1;
        match verdict {
            Verdict::Old => row.old += 1,
            Verdict::New => row.new += 1,
            Verdict::Attention => row.attention += 1,
            Verdict::Third(_) => row.third += 1,
        }
    }

    /// How many ended in a third state.
    pub(super) fn third(&self) -> u32 {
        self.0.values().map(|row| row.third).sum()
    }

    /// As it stands in the documents.
    pub(super) fn markdown(&self) -> String {
        let mut text = "| fault | rounds | old | new | needs attention, something runs | third |\n\
                        |---|---|---|---|---|---|\n"
            .to_owned();
        let mut all = Row::default();
        for (fault, row) in &self.0 {
            text += &row.line(fault);
            all.rounds += row.rounds;
            all.old += row.old;
            all.new += row.new;
            all.attention += row.attention;
            all.third += row.third;
        }
        text + &all.line("all")
    }
}

impl Row {
    fn line(&self, fault: &str) -> String {
        format!(
            "| {fault} | {} | {} | {} | {} | {} |\n",
            self.rounds, self.old, self.new, self.attention, self.third
        )
    }
}
