//! The containers of a deployment and what was seen of them: as this version records them, and as 0.1.0 did, which knew one of each side.

use cutover_core::deployment::{
    Condition, Origin, Proof, Recreated, Replica, RestartPolicy, TagBefore, TagLine, Witness,
};

use crate::journal::rows::{
    ConditionRow, OriginRow, ProofRow, RecreatedRow, ReplicaRow, RestartPolicyRow, StagedRow,
    TagBeforeRow, TagLineRow,
};

impl From<&TagLine> for TagLineRow {
    fn from(line: &TagLine) -> Self {
        let TagLine {
            file,
            variable,
            digest,
            before,
        } = line;
        Self {
            file: file.clone(),
            variable: variable.clone(),
            digest: digest.clone(),
            before: match before {
                TagBefore::Value(value) => TagBeforeRow::Value(value.clone()),
                TagBefore::NoLine => TagBeforeRow::NoLine,
                TagBefore::NoFile => TagBeforeRow::NoFile,
            },
        }
    }
}

impl From<TagLineRow> for TagLine {
    fn from(row: TagLineRow) -> Self {
        Self {
            file: row.file,
            variable: row.variable,
            digest: row.digest,
            before: match row.before {
                TagBeforeRow::Value(value) => TagBefore::Value(value),
                TagBeforeRow::NoLine => TagBefore::NoLine,
                TagBeforeRow::NoFile => TagBefore::NoFile,
            },
        }
    }
}

impl From<&Replica> for ReplicaRow {
    fn from(replica: &Replica) -> Self {
        let Replica {
            project,
            service,
            number,
            container,
            name,
            image,
            image_id,
            restart_policy,
            aliases,
            condition,
        } = replica;
        Self {
            project: project.clone(),
            service: service.clone(),
            number: *number,
            container: container.clone(),
            name: name.clone(),
            image: image.clone(),
            image_id: image_id.clone(),
            restart_policy: restart_policy.into(),
            aliases: aliases.clone(),
            condition: (*condition).into(),
        }
    }
}

impl From<ReplicaRow> for Replica {
    fn from(row: ReplicaRow) -> Self {
        Self {
            project: row.project,
            service: row.service,
            number: row.number,
            container: row.container,
            name: row.name,
            image: row.image,
            image_id: row.image_id,
            restart_policy: row.restart_policy.into(),
            aliases: row.aliases,
            condition: row.condition.into(),
        }
    }
}

impl From<&Recreated> for RecreatedRow {
    fn from(recreated: &Recreated) -> Self {
        let Recreated {
            replaces,
            replica,
            from,
        } = recreated;
        Self {
            replaces: replaces.clone(),
            replica: replica.into(),
            from: match from {
                Origin::SameConfiguration => OriginRow::SameConfiguration,
                Origin::PreviousImage => OriginRow::PreviousImage,
            },
        }
    }
}

impl From<RecreatedRow> for Recreated {
    fn from(row: RecreatedRow) -> Self {
        Self {
            replaces: row.replaces,
            replica: row.replica.into(),
            from: match row.from {
                OriginRow::SameConfiguration => Origin::SameConfiguration,
                OriginRow::PreviousImage => Origin::PreviousImage,
            },
        }
    }
}

impl From<&RestartPolicy> for RestartPolicyRow {
    fn from(policy: &RestartPolicy) -> Self {
        let RestartPolicy { name, retries_max } = policy;
        Self {
            name: name.clone(),
            retries_max: *retries_max,
        }
    }
}

impl From<RestartPolicyRow> for RestartPolicy {
    fn from(row: RestartPolicyRow) -> Self {
        Self {
            name: row.name,
            retries_max: row.retries_max,
        }
    }
}

impl From<StagedRow> for Vec<Replica> {
    /// 0.1.0 recorded of the only new container what it needed to go on with.
    fn from(row: StagedRow) -> Self {
        let only = row.container.map(|container| Replica {
            number: 1,
            container,
            name: row.name.unwrap_or_default(),
            restart_policy: row
                .restart_policy
                .map(RestartPolicy::from)
                .unwrap_or_default(),
            ..Replica::default()
        });
        row.new.into_iter().map(Replica::from).chain(only).collect()
    }
}

impl From<Proof> for ProofRow {
    fn from(proof: Proof) -> Self {
        let Proof {
            by,
            for_ms,
            answered_after_ms,
        } = proof;
        Self {
            checked: by == Witness::Check,
            for_ms,
            answered_after_ms,
        }
    }
}

impl From<ProofRow> for Proof {
    fn from(row: ProofRow) -> Self {
        Self {
            by: if row.checked {
                Witness::Check
            } else {
                Witness::Nobody
            },
            for_ms: row.for_ms,
            answered_after_ms: row.answered_after_ms,
        }
    }
}

impl From<Condition> for ConditionRow {
    fn from(condition: Condition) -> Self {
        match condition {
            Condition::Healthy => Self::Healthy,
            Condition::Running => Self::Running,
            Condition::Starting => Self::Starting,
            Condition::Unhealthy => Self::Unhealthy,
            Condition::Restarting => Self::Restarting,
            Condition::Stopped => Self::Stopped,
        }
    }
}

impl From<ConditionRow> for Condition {
    fn from(row: ConditionRow) -> Self {
        match row {
            ConditionRow::Healthy => Self::Healthy,
            ConditionRow::Running => Self::Running,
            ConditionRow::Starting => Self::Starting,
            ConditionRow::Unhealthy => Self::Unhealthy,
            ConditionRow::Restarting => Self::Restarting,
            ConditionRow::Stopped => Self::Stopped,
        }
    }
}
