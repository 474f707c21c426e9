//! What cutover promises about speed and size, and whether a run kept it.

use std::fmt;

/// On which side of the bound a value has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    AtMost,
    AtLeast,
}

/// A promise, and what was measured.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) what: &'static str,
    pub(super) bound: Bound,
    pub(super) limit: f64,
    pub(super) measured: f64,
    pub(super) unit: &'static str,
}

impl Target {
    /// A value that must not be exceeded.
    pub(super) fn at_most(
        what: &'static str,
        limit: f64,
        unit: &'static str,
        measured: f64,
    ) -> Self {
        Self {
            what,
            bound: Bound::AtMost,
            limit,
            measured,
            unit,
        }
    }

    /// A value that must be reached.
    pub(super) fn at_least(
        what: &'static str,
        limit: f64,
        unit: &'static str,
        measured: f64,
    ) -> Self {
        Self {
            bound: Bound::AtLeast,
            ..Self::at_most(what, limit, unit, measured)
        }
    }

    /// Whether it was kept. What could not be computed was not kept.
    pub(super) fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtMost => self.measured <= self.limit,
            Bound::AtLeast => self.measured >= self.limit,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.bound {
            Bound::AtMost => "<=",
            Bound::AtLeast => ">=",
        };
        let verdict = if self.is_met() { "met   " } else { "MISSED" };
        write!(
            f,
            "{verdict}  {what:<58} {measured:>9.2} {unit:<3} (target {sign} {limit} {unit})",
            what = self.what,
            measured = self.measured,
            unit = self.unit,
            limit = self.limit,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_at_the_bound_is_met_and_no_value_is_not() {
        assert!(Target::at_most("a", 2.0, "s", 2.0).is_met());
        assert!(!Target::at_most("a", 2.0, "s", 2.1).is_met());
        assert!(Target::at_least("a", 2.0, "s", 2.0).is_met());
        assert!(!Target::at_least("a", 2.0, "s", f64::NAN).is_met());
    }
}
