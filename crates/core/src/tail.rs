//! The end of an output: its last lines, within a bound.
//!
//! What explains a failure stands at the end, and an answer must stay small whatever a container prints.

use std::collections::VecDeque;

/// How much of an output is kept. The line that says what was left out comes on top of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TailBounds {
    /// At most so many lines.
    pub lines: usize,
    /// At most so many bytes, line ends not counted.
    pub bytes: usize,
}

/// Takes lines as they come and keeps the last ones.
#[derive(Debug)]
pub struct Tail {
    bounds: TailBounds,
    kept: VecDeque<String>,
    kept_bytes: usize,
    left_out_lines: u64,
    left_out_bytes: u64,
}

impl Tail {
    /// Nothing kept yet.
    #[must_use]
    pub fn new(bounds: TailBounds) -> Self {
        Self {
            bounds,
            kept: VecDeque::new(),
            kept_bytes: 0,
            left_out_lines: 0,
            left_out_bytes: 0,
        }
    }

    /// Takes the next line. Of a line that alone is too long, the end is kept.
    pub fn push(&mut self, line: &str) {
        let too_long = line.len().saturating_sub(self.bounds.bytes);
        let cut = (too_long..=line.len())
            .find(|&at| line.is_char_boundary(at))
            .unwrap_or(line.len());
        self.left_out_bytes += count(cut);
        self.kept_bytes += line.len() - cut;
        self.kept.push_back(line[cut..].to_owned());
        while self.kept.len() > self.bounds.lines || self.kept_bytes > self.bounds.bytes {
            let Some(first) = self.kept.pop_front() else {
                break;
            };
            self.kept_bytes -= first.len();
            self.left_out_bytes += count(first.len());
            self.left_out_lines += 1;
        }
    }

    /// The kept lines, after one that says how much was left out if anything was.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.note()
            .into_iter()
            .chain(self.kept.iter().cloned())
            .collect()
    }

    fn note(&self) -> Option<String> {
        let bytes = self.left_out_bytes;
        match self.left_out_lines {
            0 if bytes == 0 => None,
            0 => Some(format!("({bytes} earlier bytes left out)")),
            1 => Some(format!("(1 earlier line, {bytes} bytes, left out)")),
            lines => Some(format!("({lines} earlier lines, {bytes} bytes, left out)")),
        }
    }
}

/// The end of `text`, after a line that says how much was left out if anything was.
#[must_use]
pub fn bounded(text: &str, bounds: TailBounds) -> String {
    let mut tail = Tail::new(bounds);
    text.lines().for_each(|line| tail.push(line));
    tail.lines().join("\n")
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, lines: usize, bytes: usize, end: &str) {
        assert_eq!(bounded(text, TailBounds { lines, bytes }), end, "{text:?}");
    }

    #[test]
    fn the_end_of_an_output_is_kept() {
        check("a\nb\nc\n", 3, 100, "a\nb\nc");
        check(
            "a\nb\nc\n",
            2,
            100,
            "(1 earlier line, 1 bytes, left out)\nb\nc",
        );
        check(
            "aaa\nbb\nc",
            9,
            3,
            "(1 earlier line, 3 bytes, left out)\nbb\nc",
        );
        check(
            "a\nb\nc\nd",
            1,
            100,
            "(3 earlier lines, 3 bytes, left out)\nd",
        );
        check("", 3, 100, "");
        check("a\n", 0, 100, "(1 earlier line, 1 bytes, left out)");
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_between_characters() {
        check("0123456789", 9, 4, "(6 earlier bytes left out)\n6789");
        check("ééé", 9, 3, "(4 earlier bytes left out)\né");
        check(
            "a\n0123456789",
            9,
            4,
            "(1 earlier line, 7 bytes, left out)\n6789",
        );
        check("ab", 9, 0, "(2 earlier bytes left out)\n");
    }

    proptest! {
        #[test]
        fn bounds_hold_and_nothing_is_unaccounted_for(
            written in prop::collection::vec("[a-zé🐳]{0,12}", 0..12),
            lines in 0_usize..6,
            bytes in 0_usize..30,
        ) {
            let mut tail = Tail::new(TailBounds { lines, bytes });
            for line in &written {
                tail.push(line);
            }
            let kept_bytes: usize = tail.kept.iter().map(String::len).sum();
            prop_assert!(tail.kept.len() <= lines && kept_bytes <= bytes);
            let all: usize = written.iter().map(String::len).sum();
            prop_assert_eq!(count(all), count(kept_bytes) + tail.left_out_bytes);
            prop_assert_eq!(count(written.len()), count(tail.kept.len()) + tail.left_out_lines);
            for (kept, line) in tail.kept.iter().rev().zip(written.iter().rev()) {
                prop_assert!(line.ends_with(kept.as_str()));
            }
        }
    }
}
