//! Which processes do nothing when they are asked to end.

/// Whether a process does anything at `signal`, for example `SIGTERM`, from what `/proc/PID/status` shows of it (proc(5)).
///
/// The first process of a PID namespace has no default actions: a signal that it does not catch does nothing (pid_namespaces(7)).
/// One that is blocked is taken in another way, as by `signalfd`. What is not known counts as a process that does.
#[must_use]
pub fn handles(status: &str, signal: &str) -> bool {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.strip_prefix(':')).map(str::trim)
    };
    let is_first = field("NSpid").and_then(|all| all.split_whitespace().last()) == Some("1");
    let Some(number) = number(signal).filter(|_| is_first) else {
        return true;
    };
    let has = |name: &str| {
        let set = field(name).and_then(|set| u64::from_str_radix(set, 16).ok());
        set.is_none_or(|set| set & (1 << (number - 1)) != 0)
    };
    has("SigCgt") || has("SigBlk")
}

/// Docker takes names with and without `SIG`, and numbers. The numbers are those of the usual machines; the others differ.
fn number(signal: &str) -> Option<u32> {
    let upper = signal.to_uppercase();
    match upper.strip_prefix("SIG").unwrap_or(&upper) {
        "HUP" => Some(1),
        "INT" => Some(2),
        "QUIT" => Some(3),
        "TERM" => Some(15),
        "WINCH" => Some(28),
        other => other
            .parse()
            .ok()
            .filter(|number| (1..=31).contains(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tnode\nPid:\t4242\nNSpid:\t4242\t1\nSigQ:\t0/1\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001000\nSigCgt:\t0000000100000002\n";

    #[test]
    fn a_first_process_ignores_what_it_does_not_catch() {
        for signal in ["SIGTERM", "TERM", "term", "15", "SIGQUIT", "sigwinch"] {
            assert!(!handles(STATUS, signal), "{signal}");
        }
        assert!(handles(STATUS, "SIGINT"), "it is caught");
        let catches = STATUS.replace("0000000100000002", "0000000100004002");
        assert!(handles(&catches, "SIGTERM"));
        let blocks = STATUS.replace("SigBlk:\t0000000000000000", "SigBlk:\t0000000000004000");
        assert!(handles(&blocks, "SIGTERM"), "signalfd");
    }

    #[test]
    fn what_is_not_known_counts_as_handled() {
        let shares = STATUS.replace("\t4242\t1\n", "\t4242\n");
        assert!(
            handles(&shares, "SIGTERM"),
            "it shares the host's namespace"
        );
        for signal in ["SIGRTMIN+3", "", "0", "64", "-1", "SIG"] {
            assert!(handles(STATUS, signal), "{signal}");
        }
        for status in [
            "",
            "rubbish",
            "NSpid:\t7\t1\n",
            "NSpid:\t7\t1\nSigCgt:\tz\n",
        ] {
            assert!(handles(status, "SIGTERM"), "{status:?}");
        }
    }
}
