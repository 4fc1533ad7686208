//! Conditions, as <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md> has them.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// One condition as it is now, before it is merged with what was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Its type, such as `Ready`.
    pub kind: &'static str,
    /// True, false or unknown.
    pub status: Option<bool>,
    /// One `CamelCase` word.
    pub reason: String,
    /// A sentence for people; never empty, because an empty one is written as `null`, which the API server refuses.
    pub message: String,
}

impl Fact {
    /// A condition that is known.
    pub fn new(kind: &'static str, status: bool, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind,
            status: Some(status),
            reason: reason.into(),
            message: message.into(),
        }
    }
}

/// The conditions that follow from `facts`; the time of a transition changes only with the status. Conditions of `old` that no fact
/// speaks of are kept as they are.
pub fn merge(old: &[Condition], facts: Vec<Fact>, generation: Option<i64>, now: Timestamp) -> Vec<Condition> {
    let kept = old
        .iter()
        .filter(|c| !facts.iter().any(|fact| fact.kind == c.type_))
        .cloned();
    let mut all: Vec<Condition> = kept.collect();
    for fact in facts {
        let status = match fact.status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let before = old.iter().find(|c| c.type_ == fact.kind && c.status == status);
        let last_transition_time = before.map_or_else(|| whole_seconds(now), |c| c.last_transition_time.clone());
        all.push(Condition {
            type_: fact.kind.to_owned(),
            status: status.to_owned(),
            reason: fact.reason,
            message: fact.message,
            observed_generation: generation,
            last_transition_time,
        });
    }
    all.sort_by_key(|c| ORDER.iter().position(|kind| *kind == c.type_).unwrap_or(ORDER.len()));
    all
}

/// The order in which people read them.
const ORDER: [&str; 10] = [
    "Accepted",
    "Restored",
    "Progressing",
    "Ready",
    "Degraded",
    "SettingsInForce",
    "RolesInForce",
    "Following",
    "Space",
    "Complete",
];

/// Kubernetes keeps whole seconds; more would make the written and the read one differ.
pub(crate) fn whole_seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// The condition of that type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == kind)
}

/// Whether it is true.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|c| c.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_changes_only_with_the_status() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let first = merge(&[], vec![Fact::new("Ready", false, "Starting", "a")], Some(1), at(10));
        let same = merge(
            &first,
            vec![Fact::new("Ready", false, "Starting", "b")],
            Some(2),
            at(20),
        );
        assert_eq!(same[0].last_transition_time.0, at(10));
        assert_eq!((same[0].message.as_str(), same[0].observed_generation), ("b", Some(2)));
        let turned = merge(&same, vec![Fact::new("Ready", true, "Serving", "c")], Some(2), at(30));
        assert_eq!(turned[0].last_transition_time.0, at(30));
        let with_more = merge(&turned, vec![Fact::new("Accepted", true, "Valid", "")], Some(2), at(40));
        assert_eq!(
            with_more.iter().map(|c| c.type_.as_str()).collect::<Vec<_>>(),
            ["Accepted", "Ready"]
        );
    }
}
