//! What the supervisor says, as a pod has it.

use serde::{Deserialize, Serialize};

use crate::supervisor::Condition;

/// Before the type of each condition of ours: a pod's conditions are Kubernetes' and anybody's.
pub(super) const PREFIX: &str = "pgop.dev/";
/// Bytes of a message. Longer ones help nobody, and pods are kept in memory by many.
const LONGEST: usize = 1024;

/// A condition of a pod: <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-conditions>.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodCondition {
    /// `pgop.dev/SettingsInForce` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: Status,
    /// One word for machines.
    #[serde(default)]
    pub reason: String,
    /// One sentence, 1 KiB at most.
    #[serde(default)]
    pub message: String,
    /// Since when it has this status: RFC 3339, whole seconds.
    #[serde(default)]
    pub last_transition_time: String,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nobody can tell.
    Unknown,
}

impl PodCondition {
    /// Whether the other says the same of the same thing, in whatever words.
    pub(super) fn is_still(&self, other: &Self) -> bool {
        self.kind == other.kind && self.status == other.status
    }

    fn is_worded_as(&self, other: &Self) -> bool {
        self.reason == other.reason && self.message == other.message
    }
}

/// How two sets of conditions differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Only in their words.
    Words,
    /// In what they say.
    Status,
}

/// How they differ, if they do. Order is of no matter, and neither is since when: a status that came and went before it could be told is none.
pub(super) fn change(before: &[PodCondition], after: &[PodCondition]) -> Option<Change> {
    let pairs: Vec<_> = after
        .iter()
        .filter_map(|now| Some((before.iter().find(|then| then.is_still(now))?, now)))
        .collect();
    if pairs.len() != after.len() || before.len() != after.len() {
        return Some(Change::Status);
    }
    let is_same = pairs.iter().all(|(then, now)| then.is_worded_as(now));
    (!is_same).then_some(Change::Words)
}

/// The conditions as the pod is to have them; one whose status is that of `known` has it since then.
pub(super) fn told(wanted: &[Condition], known: &[PodCondition], now: &str) -> Vec<PodCondition> {
    let one = |condition: &Condition| {
        let mut told = PodCondition {
            kind: format!("{PREFIX}{}", condition.about),
            status: match condition.holds {
                Some(true) => Status::True,
                Some(false) => Status::False,
                None => Status::Unknown,
            },
            reason: condition.reason.to_owned(),
            message: cut(&condition.message),
            last_transition_time: now.to_owned(),
        };
        if let Some(same) = known.iter().find(|known| known.is_still(&told)) {
            told.last_transition_time.clone_from(&same.last_transition_time);
        }
        told
    };
    wanted.iter().map(one).collect()
}

/// No longer than [`LONGEST`], and whole characters.
fn cut(message: &str) -> String {
    const MORE: &str = "…";
    if message.len() <= LONGEST {
        return message.to_owned();
    }
    let mut ends = (0..=LONGEST - MORE.len()).rev();
    let end = ends.find(|end| message.is_char_boundary(*end)).unwrap_or(0);
    format!("{}{MORE}", &message[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(about: &'static str, holds: Option<bool>, message: &str) -> Condition {
        Condition {
            about,
            holds,
            reason: "Because",
            message: message.to_owned(),
        }
    }

    #[test]
    fn a_time_changes_with_the_status_only() {
        let first = told(&[said("Space", Some(true), "a")], &[], "10:00");
        let reworded = told(&[said("Space", Some(true), "b")], &first, "10:01");
        assert_eq!(
            reworded,
            [PodCondition {
                kind: "pgop.dev/Space".to_owned(),
                status: Status::True,
                reason: "Because".to_owned(),
                message: "b".to_owned(),
                last_transition_time: "10:00".to_owned(),
            }]
        );
        let unknown = told(&[said("Space", None, "b")], &reworded, "10:02");
        assert_eq!(
            (unknown[0].status, unknown[0].last_transition_time.as_str()),
            (Status::Unknown, "10:02")
        );
    }

    #[test]
    fn what_differs_is_told_apart() {
        let of = |said: &[Condition]| told(said, &[], "10:00");
        let both = of(&[said("Space", Some(true), "a"), said("Following", Some(true), "b")]);
        let turned = of(&[said("Following", Some(true), "b"), said("Space", Some(true), "a")]);
        assert_eq!(change(&both, &turned), None);
        let later = told(&[said("Space", Some(true), "a")], &[], "11:00");
        assert_eq!(change(&of(&[said("Space", Some(true), "a")]), &later), None);
        let reworded = of(&[said("Space", Some(true), "c"), said("Following", Some(true), "b")]);
        assert_eq!(change(&both, &reworded), Some(Change::Words));
        for other in [
            of(&[said("Space", Some(false), "a"), said("Following", Some(true), "b")]),
            of(&[said("Space", Some(true), "a")]),
            of(&[said("Space", Some(true), "a"), said("RolesInForce", Some(true), "b")]),
        ] {
            assert_eq!(change(&both, &other), Some(Change::Status), "{other:?}");
            assert_eq!(change(&other, &both), Some(Change::Status), "{other:?}");
        }
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let of = |message: &str| told(&[said("Space", None, message)], &[], "")[0].message.clone();
        assert_eq!(of(&"a".repeat(1024)), "a".repeat(1024));
        assert_eq!(of(&"a".repeat(1025)), format!("{}…", "a".repeat(1021)));
        // 1021 is in the middle of a character of three bytes.
        assert_eq!(of(&"€".repeat(342)), format!("{}…", "€".repeat(340)));
    }

    proptest! {
        #[test]
        fn any_message_fits(message in "\\PC{0,700}") {
            let cut = cut(&message);
            prop_assert!(cut.len() <= LONGEST);
            prop_assert!(cut == message || message.starts_with(cut.strip_suffix('…').unwrap()));
        }
    }
}
