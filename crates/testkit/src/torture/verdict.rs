//! The verdict: a pure function from a case and what can be seen; its rules are in the parent module.

use super::case::{Case, Member};
use super::chain;
use super::fault::Fault;
use super::record::Record;
use super::release::{Behavior, Release};
use super::sight::{Container, Sight};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The release that ran before.
    Old,
    /// The release that was asked for.
    New,
    /// Somebody has to look, and something runs meanwhile.
    Attention,
    /// Anything else, with every reason.
    Third(Vec<String>),
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
            Self::Attention => "needs attention",
            Self::Third(_) => "third",
        }
    }

    /// Whether it is a defect.
    #[must_use]
    pub fn is_third(&self) -> bool {
        matches!(self, Self::Third(_))
    }
}

/// Judges what is seen.
#[must_use]
pub fn judge(case: &Case, sight: &Sight) -> Verdict {
    let mut complaints = Vec::new();
    if !sight.is_ready {
        complaints.push("the daemon is not ready".to_owned());
    }
    if sight.records > 1 {
        let records = sight.records;
        complaints.push(format!("one request was recorded {records} times"));
    }
    if let Some(record) = &sight.record {
        complaints.extend(chain::complaints(record));
    }
    complaints.extend(client_complaint(sight));
    let left = sight.rules.iter();
    complaints.extend(left.map(|rule| format!("a rule of the hold is left: {rule}")));
    let outcome = sight
        .record
        .as_ref()
        .map(|record| record.outcome.as_deref());
    let verdict = match outcome {
        Some(None) => {
            let status = sight.record.as_ref().map(|record| record.status.as_str());
            complaints.push(format!("the deployment has not ended: {status:?}"));
            Verdict::Old
        }
        Some(Some("succeeded" | "unchanged")) => {
            if case.behavior != Behavior::Good {
                complaints.push("a release that cannot serve is recorded as good".to_owned());
            }
            if is_replaced_by_hand(case, sight) {
                complaints.extend(release_complaints(case, sight, &case.old, false));
                Verdict::Old
            } else {
                complaints.extend(release_complaints(case, sight, &case.new, false));
                Verdict::New
            }
        }
        Some(Some("rollback_failed")) => {
            complaints.extend(attention_complaints(case, sight));
            Verdict::Attention
        }
        // Without a record nothing was begun.
        None | Some(Some(_)) => {
            let same = case.fault.is_none_or(|fault| !fault.is_hand());
            complaints.extend(release_complaints(case, sight, &case.old, same));
            Verdict::Old
        }
    };
    if complaints.is_empty() {
        verdict
    } else {
        Verdict::Third(complaints)
    }
}

/// Whether the client was told something else than what was recorded.
fn client_complaint(sight: &Sight) -> Option<String> {
    let Some(exit) = sight.client else {
        return Some("the client has not ended".to_owned());
    };
    let record = sight.record.as_ref();
    let outcome = record.and_then(|record| record.outcome.as_deref());
    let agrees = match exit {
        0 => matches!(outcome, Some("succeeded" | "unchanged")),
        1 => matches!(outcome, None | Some("failed" | "cancelled")),
        3 => outcome == Some("rolled_back"),
        // It was answered so, and went well later.
        4 => record.is_some_and(|record| record.has("rollback_failed")),
        // The answer was lost.
        5 => true,
        _ => false,
    };
    (!agrees).then(|| format!("the client ended with {exit} and the record says {outcome:?}"))
}

/// What is not as it shall be where this release runs; `same` says whether in the very containers as before.
fn release_complaints(case: &Case, sight: &Sight, release: &Release, same: bool) -> Vec<String> {
    let each = each_member(case, sight).into_iter();
    let mut found: Vec<String> = each
        .flat_map(|(case, sight)| {
            let name = case.lead().name.clone();
            let found = member_complaints(&case, &sight, release, same).into_iter();
            found.map(move |what| format!("{name}: {what}"))
        })
        .collect();
    let stranger = |one: &&Container| !case.members.iter().any(|own| own.is(one));
    let strangers = sight.containers.iter().flatten().filter(stranger);
    found.extend(strangers.map(|one| format!("{} runs still", one.name)));
    found
}

/// The case and what can be seen for each service by itself.
fn each_member(case: &Case, sight: &Sight) -> Vec<(Case, Sight)> {
    let of = |member: &Member| {
        let containers = sight.containers.clone().map(|mut all| {
            all.retain(|one| member.is(one));
            all
        });
        let case = Case {
            members: vec![member.clone()],
            ..case.clone()
        };
        let sight = Sight {
            containers,
            ..sight.clone()
        };
        (case, sight)
    };
    case.members.iter().map(of).collect()
}

/// The same of one service.
fn member_complaints(case: &Case, sight: &Sight, release: &Release, same: bool) -> Vec<String> {
    let container = same.then_some(case.lead().container.as_str());
    let Some(containers) = &sight.containers else {
        return vec!["Docker does not answer".to_owned()];
    };
    let containers: Vec<Container> = containers
        .iter()
        .filter(|one| !is_left_by_hand(case, one))
        .cloned()
        .collect();
    let mut found = Vec::new();
    let tag = match is_replaced_by_hand(case, sight) {
        true => &case.new.tag,
        false => &release.tag,
    };
    if sight.tag != *tag {
        found.push(format!(".env has the tag `{}` and not `{tag}`", sight.tag));
    }
    let may_be_down = may_be_down(case, sight.record.as_ref());
    let [only] = containers.as_slice() else {
        if !(containers.is_empty() && may_be_down) {
            found.push(format!(
                "{} containers: {}",
                containers.len(),
                names(&containers)
            ));
        }
        return found;
    };
    if only.restarting || !only.running {
        if !may_be_down {
            found.push("nothing runs".to_owned());
        }
    } else if case.lead().service == "app" && sight.serves != release.version {
        found.push(format!(
            "`{}` answers and not `{}`",
            sight.serves, release.version
        ));
    }
    if !only.image.ends_with(&release.tag) {
        found.push(format!("the container has the image {}", only.image));
    }
    if container.is_some_and(|container| container != only.id) {
        found.push("another container than the one before".to_owned());
    }
    if only.name != case.lead().name {
        found.push(format!("the container is called {}", only.name));
    }
    if only.policy != case.shape.policy.as_str() {
        found.push(format!("the restart policy is `{}`", only.policy));
    }
    found
}

/// What is not as it shall be where an operator is asked for.
fn attention_complaints(case: &Case, sight: &Sight) -> Vec<String> {
    let mut found = Vec::new();
    if !sight.needs_operator {
        found.push("the record asks for an operator and the service does not".to_owned());
    }
    let record = sight.record.as_ref();
    let said = record.map_or("", |record| record.last_message("rollback_failed"));
    for (case, of_one) in each_member(case, sight) {
        let name = &case.lead().name;
        let running: Vec<_> = of_one.running().collect();
        match running.as_slice() {
            [] if may_be_down(&case, record) => {}
            [] => found.push(format!("{name}: nothing runs")),
            [only] if !said.contains(&only.name) => {
                found.push(format!("{} runs, and the record says: {said}", only.name));
            }
            [_] => {}
            several => {
                let names: Vec<_> = several.iter().map(|one| one.name.as_str()).collect();
                found.push(format!("{name}: several run: {}", names.join(", ")));
            }
        }
    }
    found
}

/// Whether nothing runs because a person or the Compose file wants it so.
fn may_be_down(case: &Case, record: Option<&Record>) -> bool {
    let Some(fault) = case.fault else {
        return false;
    };
    let switched_ms = record.and_then(|record| record.first("switch_started"));
    let is_early = switched_ms.is_none_or(|switched_ms| case.span.until_ms <= switched_ms);
    let ended_ms = record.and_then(Record::ended_ms);
    // It was at it when the record ended, or later.
    let is_late = ended_ms.is_some_and(|ended_ms| ended_ms <= case.span.until_ms);
    let ended_by_policy = fault.leaves_down(case.shape.policy);
    (ended_by_policy || fault.takes_away()) && (is_early || is_late)
}

/// Whether a Compose typed by hand created this container and could not start it: Docker refused it the name that
/// cutover's own had by then.
#[must_use]
pub fn is_left_by_hand(case: &Case, container: &Container) -> bool {
    let (id, name) = container.name.split_once('_').unwrap_or_default();
    let is_temporary = id.len() == 12 && name == case.lead().name;
    case.fault == Some(Fault::HandRecreate) && is_temporary && !container.was_started()
}

/// Whether a hand that was still at it when the record ended as succeeded has brought back the release that `.env`
/// named when it began: the commit came after it had read that file.
#[must_use]
pub fn is_replaced_by_hand(case: &Case, sight: &Sight) -> bool {
    let brings_back = matches!(case.fault, Some(Fault::HandUp | Fault::HandRecreate));
    let record = sight.record.as_ref();
    let succeeded_ms = record.and_then(|record| record.first("succeeded"));
    let is_amid =
        succeeded_ms.is_some_and(|at_ms| case.span.from_ms <= at_ms && at_ms <= case.span.until_ms);
    let [only] = sight.containers.as_deref().unwrap_or_default() else {
        return false;
    };
    brings_back
        && is_amid
        && only.id != case.lead().container
        && only.image.ends_with(&case.old.tag)
}

fn names(containers: &[Container]) -> String {
    let name = |one: &Container| {
        let what = if one.running { "running" } else { "stopped" };
        format!("{} ({what})", one.name)
    };
    containers.iter().map(name).collect::<Vec<_>>().join(", ")
}
