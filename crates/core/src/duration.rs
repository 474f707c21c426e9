//! Durations as Compose writes them: `90s`, `1m30s`, `500ms`, `1h`, `1.5s`.
//!
//! <https://github.com/compose-spec/compose-spec/blob/main/11-extension.md#specifying-durations>

use std::time::Duration;

/// A text that is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a duration such as `90s`, `1m30s` or `500ms`")]
pub struct InvalidDuration;

const UNITS: &[(&str, f64)] = &[
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("h", 3600.0),
    ("m", 60.0),
    ("s", 1.0),
];

/// Reads a duration: one or more numbers, each with its unit; `0` needs none.
///
/// # Errors
/// [`InvalidDuration`] for anything else, and for what is longer than a hundred years.
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or(InvalidDuration)?;
        let number: f64 = rest[..digits].parse().map_err(|_| InvalidDuration)?;
        let (unit, factor) = UNITS
            .iter()
            .find(|(unit, _)| rest[digits..].starts_with(unit))
            .ok_or(InvalidDuration)?;
        seconds += number * factor;
        rest = &rest[digits + unit.len()..];
    }
    let sensible = !text.is_empty() && seconds <= 100.0 * 366.0 * 86_400.0;
    if !sensible {
        return Err(InvalidDuration);
    }
    // To the nanosecond, which is what Docker counts in.
    Duration::try_from_secs_f64(seconds).map_err(|_| InvalidDuration)
}

/// Writes a duration as [`parse`] reads it, for example `1m30s`.
#[must_use]
pub fn format(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    match (seconds / 60, seconds % 60, millis) {
        (0, 0, millis) if millis > 0 => format!("{millis}ms"),
        (0, seconds, 0) => format!("{seconds}s"),
        (0, seconds, millis) => format!("{seconds}.{millis:03}s"),
        (minutes, 0, _) => format!("{minutes}m"),
        (minutes, seconds, _) => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_compose_writes_them() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("1.5s", 1500),
            ("90s", 90_000),
            ("1m30s", 90_000),
            ("1h0m10s", 3_610_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for wrong in [
            "",
            "10",
            "s",
            "1x",
            "-1s",
            "1 s",
            ".",
            "1m30",
            "1e9h",
            "99999999999999999999h",
        ] {
            assert_eq!(parse(wrong), Err(InvalidDuration), "{wrong}");
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        for (millis, text) in [
            (0, "0s"),
            (250, "250ms"),
            (1500, "1.500s"),
            (90_000, "1m30s"),
            (120_000, "2m"),
        ] {
            let duration = Duration::from_millis(millis);
            assert_eq!(format(duration), text);
            assert_eq!(parse(text), Ok(duration));
        }
    }
}
