//! Tables and properties of `health`.

use proptest::prelude::*;

use super::*;

const RULES: HealthRules = HealthRules {
    min_healthy_time: Duration::from_secs(10),
    healthy_deadline: Duration::from_secs(60),
};

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn source(letter: &str) -> Source {
    match letter {
        "d" => Source::HealthCheck,
        "h" => Source::HttpProbe,
        "t" => Source::TcpProbe,
        "r" => Source::Running,
        _ => panic!("no source {letter}"),
    }
}

/// Plays a script such as `d+5 h-7 ?15 x20`: at 5 s the health check says yes, at 7 s the HTTP probe says
/// no, at 15 s somebody asks, at 20 s the container exits (`R` for a restart).
fn play(sources: &str, script: &str) -> HealthWindow {
    let sources = sources.split_terminator("").skip(1).map(source);
    let mut window = HealthWindow::new(RULES, sources);
    for word in script.split_whitespace() {
        let (first, rest) = word.split_at(1);
        let time = |text: &str| at(text.parse().unwrap_or_else(|_| panic!("no time in {word}")));
        match first {
            "?" => window.at(time(rest)),
            "x" => window.exited(time(rest), 1),
            "R" => window.restarted(time(rest)),
            letter => {
                let (sign, rest) = rest.split_at(1);
                let sample = match sign {
                    "+" => Sample::Healthy,
                    _ => Sample::Unhealthy("no".to_owned()),
                };
                window.sample(time(rest), source(letter), sample)
            }
        };
    }
    window
}

fn shown(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Pending => "pending".to_owned(),
        Verdict::Healthy => "healthy".to_owned(),
        Verdict::Unhealthy(why) => why.to_string(),
    }
}

#[track_caller]
fn check(sources: &str, script: &str, verdict: &str) {
    assert_eq!(
        shown(play(sources, script).verdict()),
        verdict,
        "{sources}: {script}"
    );
}

#[test]
fn a_health_check_must_hold_for_the_whole_time() {
    check("d", "", "pending");
    check("d", "d+5", "pending");
    check("d", "d+5 ?14", "pending");
    check("d", "d+5 ?15", "healthy");
    check("d", "d+5 d+9 ?15", "healthy");
    check("d", "d+50 ?60", "healthy");
    check("h", "h+50 h+60", "healthy");
    check("d", "d+5 ?99", "healthy");
}

#[test]
fn dockers_unhealthy_fails_at_once() {
    let unhealthy = "Docker reports the container unhealthy after 7 s: no";
    check("d", "d-7", unhealthy);
    check("d", "d+5 d-7 d+8 ?30", unhealthy);
    check("dh", "h+1 d-7", unhealthy);
}

#[test]
fn a_failed_probe_begins_the_time_anew() {
    check("h", "h+1 h+6 h+11", "healthy");
    check("h", "h+1 h-6 h+11", "pending");
    check("h", "h+1 h-6 h+11 h+16 h+20", "pending");
    check("h", "h+1 h-6 h+11 h+16 h+21", "healthy");
    check("h", "h-1 h-2 h+3 h+13", "healthy");
}

#[test]
fn a_window_of_probes_is_closed_by_a_probe() {
    check("h", "h+1 h+6 ?20", "pending");
    check("h", "h+1 h+6 ?20 h-21", "pending");
    check("h", "h+1 h+6 ?20 h+21", "healthy");
    check("ht", "h+1 t+1 h+11", "pending");
    check("ht", "h+1 t+1 h+11 t+12", "healthy");
}

#[test]
fn all_sources_must_be_healthy_at_the_same_time() {
    check("dh", "d+1 ?30", "pending");
    check("dh", "d+1 h+20 h+29", "pending");
    check("dh", "d+1 h+20 h+30", "healthy");
    check("dh", "h+1 h+30 d+30 h+39", "pending");
    check("dh", "h+1 h+30 d+30 h+40", "healthy");
    check("dht", "d+1 h+2 t+3 h+14 t-12 t+13 h+22 t+24", "pending");
    check("dht", "d+1 h+2 t+3 t-12 t+13 h+23 t+23", "healthy");
}

/// Whatever comes after it: that is when the service answered again.
#[test]
fn the_first_moment_of_health_is_remembered() {
    let first = |sources, script| play(sources, script).first_healthy();
    assert_eq!(first("dh", "d+1 h-2"), None);
    assert_eq!(first("dh", "d+1 h+3 h-4 h+5 h+20"), Some(at(3)));
    assert_eq!(first("", "?10"), None, "nobody says so");
}

#[test]
fn running_alone_is_watched_for_the_monitor_time() {
    check("", "?9", "pending");
    check("", "?10", "healthy");
    check("r", "r+0 ?10", "healthy");
    check("r", "?30", "pending");
    check("", "r-3 r+5 ?14", "pending");
    check("", "r-3 r+5 ?15", "healthy");
}

#[test]
fn an_exit_or_a_restart_fails_at_once() {
    check("d", "d+5 x7", "the container exited with code 1 after 7 s");
    check("", "x0", "the container exited with code 1 after 0 s");
    check("h", "h+1 R8", "the container restarted after 8 s");
    // The time was full when the news came, but nobody had been told yet.
    check("", "x11", "the container exited with code 1 after 11 s");
    check(
        "d",
        "d+5 d-20",
        "Docker reports the container unhealthy after 20 s: no",
    );
    check(
        "d",
        "d+5 d-70",
        "Docker reports the container unhealthy after 70 s: no",
    );
    check("", "r-20", "pending");
}

#[test]
fn a_verdict_is_final() {
    check("", "?10 x11", "healthy");
    check("d", "d+5 ?15 d-16", "healthy");
    check(
        "d",
        "x3 d+5 ?15",
        "the container exited with code 1 after 3 s",
    );
}

#[test]
fn the_deadline_names_what_is_missing() {
    let late = "the container was not healthy within 60 s: ";
    check("d", "?59", "pending");
    check(
        "d",
        "?60",
        &format!("{late}its health check is still starting"),
    );
    check(
        "dh",
        "d+1 ?61",
        &format!("{late}its HTTP probe never answered"),
    );
    check(
        "dh",
        "h-1 h+2 h-3 ?60",
        &format!("{late}its HTTP probe says: no"),
    );
    check(
        "h",
        "h+55 h+59 h+66",
        &format!("{late}it was healthy for the last 4 s of the 10 s needed"),
    );
    check(
        "d",
        "d+51 ?60",
        &format!("{late}it was healthy for the last 9 s of the 10 s needed"),
    );
    check(
        "h",
        "h+1 h-2 h+55 ?60",
        &format!("{late}it was healthy for the last 0 s of the 10 s needed, after 1 break"),
    );
    check(
        "h",
        "h+1 h-2 h+3 h-4 h+55 ?60",
        &format!("{late}it was healthy for the last 0 s of the 10 s needed, after 2 breaks"),
    );
    // Flapping never lasts for long enough.
    check(
        "h",
        "h+5 h-10 h+15 h-20 h+25 h-30 h+35 h-40 h+45 h-50 h+55 h-59 ?60",
        &format!("{late}its HTTP probe says: no"),
    );
}

#[test]
fn what_comes_late_or_from_elsewhere_does_no_harm() {
    check("d", "d+5 t-6 ?15", "healthy");
    // A sample that arrives after a later one counts from when it arrives.
    check("dh", "h+8 d+5 h+16", "pending");
    check("dh", "h+8 d+5 h+18", "healthy");
    check("dd", "d+5 ?15", "healthy");
}

#[track_caller]
fn check_wakeup(sources: &str, script: &str, wakeup: Option<u64>) {
    assert_eq!(
        play(sources, script).next_wakeup(),
        wakeup.map(at),
        "{sources}: {script}"
    );
}

#[test]
fn the_next_wakeup_is_when_time_alone_decides() {
    check_wakeup("d", "", Some(60));
    check_wakeup("d", "d+5", Some(15));
    check_wakeup("d", "d+55", Some(60));
    check_wakeup("h", "h+5", Some(60));
    check_wakeup("", "", Some(10));
    check_wakeup("d", "d+5 ?15", None);
    check_wakeup("d", "x5", None);
}

#[track_caller]
fn check_deadline(fields: (u64, u64, u64, u32), deadline: u64) {
    let (start_period, interval, timeout, retries) = fields;
    let default = healthy_deadline_default(at(start_period), at(interval), at(timeout), retries);
    assert_eq!(default, at(deadline), "{fields:?}");
}

#[test]
fn the_default_deadline_lets_docker_finish() {
    check_deadline((0, 30, 30, 3), 240);
    check_deadline((120, 10, 5, 5), 210);
    check_deadline((0, 1, 1, 3), 60);
    check_deadline((0, 0, 0, 0), 60);
    let most = healthy_deadline_default(Duration::MAX, Duration::MAX, Duration::MAX, u32::MAX);
    assert_eq!(most, Duration::MAX);
}

#[test]
fn times_are_written_in_seconds() {
    assert_eq!(seconds(Duration::from_millis(60_000)), "60 s");
    assert_eq!(seconds(Duration::from_millis(1_270)), "1.2 s");
    assert_eq!(seconds(Duration::ZERO), "0 s");
    assert_eq!(seconds(Duration::from_secs(119)), "119 s");
    assert_eq!(seconds(Duration::from_secs(190)), "3 min");
    assert_eq!(seconds(Duration::from_secs(90_000)), "25 h");
}

#[derive(Debug, Clone)]
struct Step {
    source: usize,
    healthy: bool,
}

/// What the rules say about a history, second by second, without folding: the verdict at its end.
fn reference(sources: &[Source], steps: &[Option<Step>], rules: HealthRules) -> &'static str {
    let min = usize::try_from(rules.min_healthy_time.as_secs()).expect("small");
    let deadline = usize::try_from(rules.healthy_deadline.as_secs()).expect("small");
    for now in 0..steps.len() {
        let said = |source: usize, healthy: bool| {
            steps[..=now]
                .iter()
                .enumerate()
                .filter_map(move |(at, step)| {
                    let step = step.as_ref()?;
                    (step.source == source && step.healthy == healthy).then_some(at)
                })
        };
        let docker_says_no = sources
            .iter()
            .enumerate()
            .any(|(at, source)| *source == Source::HealthCheck && said(at, false).next().is_some());
        if docker_says_no {
            return "unhealthy";
        }
        // Each source's last unbroken row of yes: its first and its last second.
        let rows: Option<Vec<(usize, usize)>> = (0..sources.len())
            .map(|source| {
                let broken = said(source, false).next_back();
                let row: Vec<usize> = said(source, true)
                    .filter(|at| broken.is_none_or(|b| *at > b))
                    .collect();
                Some((*row.first()?, *row.last()?))
            })
            .collect();
        let complete = rows.is_some_and(|rows| {
            let since = rows.iter().map(|row| row.0).max().unwrap_or(0);
            let probes_reach = rows.iter().zip(sources).all(|(row, source)| {
                matches!(source, Source::HealthCheck | Source::Running) || row.1 >= since + min
            });
            now >= since + min && probes_reach
        });
        if complete && now <= deadline {
            return "healthy";
        }
        if now >= deadline {
            return "unhealthy";
        }
    }
    "pending"
}

fn history() -> impl Strategy<Value = (Vec<Source>, Vec<Option<Step>>, HealthRules)> {
    let all = vec![
        Source::HealthCheck,
        Source::HttpProbe,
        Source::TcpProbe,
        Source::Running,
    ];
    let sources = prop::sample::subsequence(all, 1..=3);
    (sources, 0_u64..6, 0_u64..40).prop_flat_map(|(sources, min, deadline)| {
        let step = (0..sources.len(), prop::bool::weighted(0.9))
            .prop_map(|(source, healthy)| Step { source, healthy });
        let steps = prop::collection::vec(prop::option::of(step), 0..40);
        let rules = HealthRules {
            min_healthy_time: at(min),
            healthy_deadline: at(deadline),
        };
        (Just(sources), steps, Just(rules))
    })
}

proptest! {
    #[test]
    fn the_fold_says_what_the_rules_say((sources, steps, rules) in history()) {
        let mut window = HealthWindow::new(rules, sources.clone());
        let mut before = Verdict::Pending;
        for (second, step) in steps.iter().enumerate() {
            let now = at(u64::try_from(second).expect("small"));
            if let Some(Step { source, healthy }) = step {
                let sample = if *healthy { Sample::Healthy } else { Sample::Unhealthy(String::new()) };
                window.sample(now, sources[*source], sample);
            }
            let verdict = window.at(now).clone();
            prop_assert!(before == Verdict::Pending || before == verdict, "{before:?} became {verdict:?}");
            before = verdict;
        }
        let said = match window.verdict() {
            Verdict::Pending => "pending",
            Verdict::Healthy => "healthy",
            Verdict::Unhealthy(_) => "unhealthy",
        };
        prop_assert_eq!(said, reference(&sources, &steps, rules));
    }

    #[test]
    fn the_verdict_changes_at_the_next_wakeup_and_not_before((sources, steps, rules) in history()) {
        let mut window = HealthWindow::new(rules, sources.clone());
        for (second, step) in steps.iter().enumerate() {
            if let Some(Step { source, healthy }) = step {
                let sample = if *healthy { Sample::Healthy } else { Sample::Unhealthy(String::new()) };
                window.sample(at(u64::try_from(second).expect("small")), sources[*source], sample);
            }
            match window.next_wakeup() {
                None => prop_assert_ne!(window.verdict(), &Verdict::Pending),
                Some(wakeup) => {
                    let (mut early, mut due) = (window.clone(), window.clone());
                    if let Some(just_before) = wakeup.checked_sub(Duration::from_nanos(1)) {
                        prop_assert_eq!(early.at(just_before), &Verdict::Pending);
                    }
                    prop_assert_ne!(due.at(wakeup), &Verdict::Pending);
                }
            }
        }
    }

    #[test]
    fn an_exit_is_never_healthy((sources, steps, rules) in history(), exit in 0_u64..50) {
        let mut window = HealthWindow::new(rules, sources.clone());
        for (second, step) in steps.iter().enumerate() {
            if let Some(Step { source, .. }) = step {
                window.sample(at(u64::try_from(second).expect("small")), sources[*source], Sample::Healthy);
            }
        }
        let decided = window.verdict().clone();
        window.exited(at(exit), 0);
        if decided == Verdict::Pending {
            let exited = Unhealthy::Exited { code: 0, after: at(exit) };
            prop_assert_eq!(window.verdict(), &Verdict::Unhealthy(exited));
        } else {
            prop_assert_eq!(window.verdict(), &decided);
        }
    }
}
