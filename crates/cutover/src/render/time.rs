//! Moments and durations, as people and as programs want them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::render::Audience;

/// Tells moments to an audience.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    now: Timestamp,
    zone: TimeZone,
    audience: Audience,
}

impl Clock {
    /// A clock that reads now, in this machine's time zone.
    pub(crate) fn now(audience: Audience) -> Self {
        Self::at(Timestamp::now(), TimeZone::system(), audience)
    }

    /// A clock that reads `now`.
    pub(crate) fn at(now: Timestamp, zone: TimeZone, audience: Audience) -> Self {
        Self {
            now,
            zone,
            audience,
        }
    }

    /// How long ago for a person, RFC 3339 for a program.
    pub(crate) fn when(&self, moment: Timestamp) -> String {
        match self.audience {
            Audience::Person { .. } => age(self.now.as_second() - moment.as_second()),
            Audience::Pipe => format!("{moment:.0}"),
        }
    }

    /// Date and time for a person, RFC 3339 for a program.
    pub(crate) fn date(&self, moment: Timestamp) -> String {
        match self.audience {
            Audience::Person { .. } => {
                let local = moment.to_zoned(self.zone.clone());
                format!(
                    "{} ({})",
                    local.strftime("%Y-%m-%d %H:%M:%S"),
                    self.when(moment)
                )
            }
            Audience::Pipe => format!("{moment:.0}"),
        }
    }

    /// The time of day for a person, RFC 3339 for a program.
    pub(crate) fn time(&self, moment: Timestamp) -> String {
        match self.audience {
            Audience::Person { .. } => moment
                .to_zoned(self.zone.clone())
                .strftime("%H:%M:%S")
                .to_string(),
            Audience::Pipe => format!("{moment:.0}"),
        }
    }
}

/// How long ago, in one unit.
fn age(seconds: i64) -> String {
    let (minute, hour, day) = (60, 3600, 86_400);
    match seconds {
        i64::MIN..=0 => "just now".to_owned(),
        s if s < minute => format!("{s} s ago"),
        s if s < hour => format!("{} min ago", s / minute),
        s if s < 2 * day => format!("{} h ago", s / hour),
        s => format!("{} d ago", s / day),
    }
}

/// A duration with as much detail as matters at its size.
pub(crate) fn span(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        1000..60_000 => format!("{seconds}.{} s", milliseconds % 1000 / 100),
        60_000..3_600_000 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_suit_the_reader() {
        let moment: Timestamp = "2026-01-02T03:04:05.678Z".parse().expect("a moment");
        let now: Timestamp = "2026-01-02T05:00:00Z".parse().expect("a moment");
        let person = Clock::at(now, TimeZone::UTC, Audience::Person { columns: 80 });
        assert_eq!(person.when(moment), "1 h ago");
        assert_eq!(person.time(moment), "03:04:05");
        assert_eq!(person.date(moment), "2026-01-02 03:04:05 (1 h ago)");
        let pipe = Clock::at(now, TimeZone::UTC, Audience::Pipe);
        assert_eq!(pipe.when(moment), "2026-01-02T03:04:05Z");
        assert_eq!(pipe.time(moment), "2026-01-02T03:04:05Z");
    }

    #[test]
    fn ages_and_spans_use_the_unit_that_fits() {
        for (seconds, text) in [
            (-5, "just now"),
            (0, "just now"),
            (59, "59 s ago"),
            (61, "1 min ago"),
            (7200, "2 h ago"),
            (90_000, "25 h ago"),
            (200_000, "2 d ago"),
        ] {
            assert_eq!(age(seconds), text);
        }
        for (milliseconds, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (12_345, "12.3 s"),
            (60_000, "1 min 0 s"),
            (3_725_000, "1 h 2 min"),
        ] {
            assert_eq!(span(milliseconds), text);
        }
    }
}
