//! What has grown from the first hundred deployments on.

use super::look::Look;

/// Connections that Docker's client keeps open, and threads that it works on, come and go.
const COME_AND_GO: u64 = 4;

/// Memory may be so many times that of the first hundred.
const MEMORY_MAX: f64 = 1.1;

/// So may the time of a deployment, by the clock: the machine does other things as well.
const TIME_MAX: f64 = 1.5;

/// So may the daemon's processor time for a deployment, and what it adds to the journal.
const EACH_MAX: f64 = 1.25;

/// SQLite folds the log into the journal when it reaches about four megabytes; a look may come just before.
const LOG_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Says what has grown, a line each. The first look is compared with each later one, and the course of the first half
/// with that of the second.
pub(super) fn growth(looks: &[Look]) -> Vec<String> {
    let Some((first, later)) = looks.split_first() else {
        return Vec::new();
    };
    let mut grown = Vec::new();
    for look in later {
        let counts = [
            ("containers", first.containers, look.containers, 0),
            ("images", first.images, look.images, 0),
            ("volumes", first.volumes, look.volumes, 0),
            ("networks", first.networks, look.networks, 0),
            (
                "descriptors",
                first.descriptors,
                look.descriptors,
                COME_AND_GO,
            ),
            ("threads", first.threads, look.threads, COME_AND_GO),
            ("state files", first.state_files, look.state_files, 0),
        ];
        for (what, before, now, spare) in counts {
            if now > before + spare {
                grown.push(at(look, what, &before, &now));
            }
        }
        if look.resident > first.resident * MEMORY_MAX {
            grown.push(at(look, "memory in bytes", &first.resident, &look.resident));
        }
        if look.log > LOG_BYTES_MAX {
            grown.push(at(look, "the journal's log", &LOG_BYTES_MAX, &look.log));
        }
    }
    if let Some(last) = later.last()
        && last.time_ms > first.time_ms * TIME_MAX
    {
        let what = "milliseconds for a deployment";
        grown.push(at(last, what, &first.time_ms, &last.time_ms));
    }
    grown.extend(course(looks));
    grown
}

fn at(
    look: &Look,
    what: &str,
    before: &dyn std::fmt::Display,
    now: &dyn std::fmt::Display,
) -> String {
    format!(
        "{what}: {before} at first, {now} after {} deployments",
        look.deployments
    )
}

/// Something that each deployment adds to, and how to read it off a look.
type Value = (&'static str, fn(&Look) -> f64);

/// What each deployment adds: as much in the second half as in the first.
fn course(looks: &[Look]) -> Vec<String> {
    let (Some(first), Some(last)) = (looks.first(), looks.last()) else {
        return Vec::new();
    };
    let middle = &looks[looks.len() / 2];
    let each = |from: &Look, to: &Look, value: fn(&Look) -> f64| {
        (value(to) - value(from)) / f64::from(to.deployments - from.deployments)
    };
    let values: [Value; 2] = [
        ("processor time of a deployment in ms", |look| {
            look.processor_ms
        }),
        ("bytes that a deployment adds to the journal", |look| {
            (look.journal + look.log) as f64
        }),
    ];
    if first.deployments == middle.deployments || middle.deployments == last.deployments {
        return Vec::new();
    }
    values
        .into_iter()
        .filter_map(|(what, value)| {
            let (before, now) = (each(first, middle, value), each(middle, last, value));
            (now > before * EACH_MAX).then(|| at(last, what, &before, &now))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(hundreds: u32) -> Look {
        Look {
            deployments: hundreds * 100,
            containers: 1,
            images: 3,
            volumes: 2,
            networks: 4,
            descriptors: 20,
            threads: 6,
            resident: 1e7,
            state_files: 4,
            journal: u64::from(hundreds) * 100_000,
            log: 0,
            time_ms: 1000.0,
            processor_ms: f64::from(hundreds) * 2000.0,
        }
    }

    fn grown_by(change: impl Fn(&mut Look)) -> Vec<String> {
        let mut looks: Vec<Look> = (1..=10).map(look).collect();
        for look in &mut looks[5..] {
            change(look);
        }
        growth(&looks)
    }

    #[test]
    fn a_steady_course_is_no_growth_and_one_more_of_anything_is() {
        assert_eq!(grown_by(|_| ()), Vec::<String>::new());
        let changes: [fn(&mut Look); 11] = [
            |look| look.containers += 1,
            |look| look.images += 1,
            |look| look.volumes += 1,
            |look| look.networks += 1,
            |look| look.descriptors += COME_AND_GO + 1,
            |look| look.threads += COME_AND_GO + 1,
            |look| look.state_files += 1,
            |look| look.resident *= 1.2,
            |look| look.log = LOG_BYTES_MAX + 1,
            |look| look.time_ms *= 2.0,
            |look| look.processor_ms *= f64::from(look.deployments) / 500.0,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            assert!(!grown_by(change).is_empty(), "change {number}");
        }
        let square = |look: &mut Look| look.journal *= u64::from(look.deployments) / 100;
        assert!(!grown_by(square).is_empty());
    }
}
