//! What the servers tell through their pods, as conditions of their resource.

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::condition::Fact;
use crate::crd::{Member, Role};

/// Before the type of each condition that an agent writes.
const PREFIX: &str = "pgop.dev/";
/// What an agent tells, and which servers do: `None` is each of them.
const TOLD: [(&str, Option<Role>); 4] = [
    ("SettingsInForce", None),
    ("RolesInForce", Some(Role::Primary)),
    ("Following", Some(Role::Replica)),
    ("Space", None),
];

/// One condition for each thing that a server tells: it holds where it does for all who tell. Those for whom it does not are named, in their own
/// words.
pub(super) fn told(members: &[Member], pods: &[Pod]) -> Vec<Fact> {
    TOLD.iter()
        .filter_map(|(kind, role)| of_all(kind, *role, members, pods))
        .collect()
}

/// Whether servers tell of it, and no step of the operator.
pub(crate) fn is_told(kind: &str) -> bool {
    TOLD.iter().any(|(told, _)| *told == kind)
}

/// Without what no server is there to tell any more. A pod that is being replaced is silent for a moment, and changes nothing.
pub(super) fn without_orphans(conditions: Vec<Condition>, members: &[Member]) -> Vec<Condition> {
    let is_orphan = |condition: &Condition| {
        let told = TOLD.iter().find(|(kind, _)| *kind == condition.type_);
        told.is_some_and(|(_, role)| !members.iter().any(|member| tells(member, *role)))
    };
    conditions
        .into_iter()
        .filter(|condition| !is_orphan(condition))
        .collect()
}

fn tells(member: &Member, role: Option<Role>) -> bool {
    role.is_none_or(|role| member.role == role)
}

fn of_all(kind: &'static str, role: Option<Role>, members: &[Member], pods: &[Pod]) -> Option<Fact> {
    let said: Vec<(&str, &PodCondition)> = members
        .iter()
        .filter(|member| tells(member, role))
        .filter_map(|member| Some((member.name.as_str(), condition(pods, &member.name, kind)?)))
        .collect();
    let of = |status: &str| said.iter().find(|(_, condition)| condition.status == status);
    let (status, speaker) = match (of("False"), of("Unknown")) {
        (Some((_, first)), _) => (Some(false), first),
        (None, Some((_, first))) => (None, first),
        (None, None) => (Some(true), &said.first()?.1),
    };
    let words = |condition: &PodCondition| condition.message.clone().unwrap_or_default();
    let not: Vec<String> = said
        .iter()
        .filter(|(_, condition)| condition.status != "True")
        .map(|(name, condition)| format!("{name}: {}", words(condition)))
        .collect();
    let all: Vec<&str> = said.iter().map(|(name, _)| *name).collect();
    Some(Fact {
        kind,
        status,
        reason: speaker
            .reason
            .clone()
            .filter(|reason| !reason.is_empty())
            .unwrap_or_else(|| "Told".to_owned()),
        message: if not.is_empty() {
            format!("told by {}", all.join(", "))
        } else {
            not.join("; ")
        },
    })
}

/// What that pod says, while it is there to stay.
fn condition<'a>(pods: &'a [Pod], name: &str, kind: &str) -> Option<&'a PodCondition> {
    let pod = pods.iter().find(|pod| pod.metadata.name.as_deref() == Some(name))?;
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|condition| condition.type_.strip_prefix(PREFIX) == Some(kind))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn member(name: &str, role: Role) -> Member {
        Member {
            name: name.to_owned(),
            role,
            ready: true,
            address: None,
            agent: None,
            older: false,
            message: None,
        }
    }

    fn members() -> Vec<Member> {
        vec![
            member("hippo-0", Role::Primary),
            member("hippo-replica-0", Role::Replica),
            member("hippo-replica-1", Role::Replica),
        ]
    }

    fn pod(name: &str, conditions: &[(&str, &str, &str, &str)]) -> Pod {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(kind, status, reason, message)| {
                json!({"type": kind, "status": status, "reason": reason, "message": message})
            })
            .collect();
        serde_json::from_value(json!({"metadata": {"name": name}, "status": {"conditions": conditions}})).unwrap()
    }

    #[test]
    fn who_is_not_well_is_named_in_its_own_words() {
        let good = (
            "pgop.dev/SettingsInForce",
            "True",
            "InForce",
            "the server has read them",
        );
        let bad = ("pgop.dev/SettingsInForce", "False", "Refused", "\"work_mem\" is wrong");
        let checks = (
            "pgop.dev/SettingsInForce",
            "Unknown",
            "Checking",
            "PostgreSQL reads them",
        );
        let settings = |conditions: [_; 3]| {
            let names = ["hippo-0", "hippo-replica-0", "hippo-replica-1"];
            let pods: Vec<Pod> = names
                .iter()
                .zip(conditions)
                .map(|(name, one)| pod(name, &[one]))
                .collect();
            told(&members(), &pods)
        };
        assert_eq!(
            settings([good, good, good]),
            [Fact::new(
                "SettingsInForce",
                true,
                "InForce",
                "told by hippo-0, hippo-replica-0, hippo-replica-1"
            )]
        );
        assert_eq!(
            settings([checks, bad, good]),
            [Fact::new(
                "SettingsInForce",
                false,
                "Refused",
                "hippo-0: PostgreSQL reads them; hippo-replica-0: \"work_mem\" is wrong"
            )]
        );
        let unknown = &settings([good, checks, good])[0];
        assert_eq!(
            (unknown.status, unknown.message.as_str()),
            (None, "hippo-replica-0: PostgreSQL reads them")
        );
    }

    #[test]
    fn only_a_servers_own_word_counts() {
        let mut leaving = pod("hippo-0", &[("pgop.dev/Space", "False", "Low", "full")]);
        leaving.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-30T07:00:00Z")).unwrap();
        let stranger = pod("hippo-1", &[("pgop.dev/Space", "False", "Low", "full")]);
        let kubernetes = pod(
            "hippo-replica-0",
            &[("Ready", "False", "X", ""), ("Space", "False", "X", "")],
        );
        // A primary that once was a replica.
        let primary = pod("hippo-0", &[("pgop.dev/Following", "False", "PrimaryAway", "")]);
        assert_eq!(told(&members(), &[leaving, stranger, kubernetes]), []);
        assert_eq!(told(&members(), &[primary]), []);
    }

    #[test]
    fn what_nobody_is_there_to_tell_goes() {
        let condition = |kind: &str| Condition {
            type_: kind.to_owned(),
            status: "True".to_owned(),
            reason: "Told".to_owned(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: crate::condition::whole_seconds(jiff::Timestamp::UNIX_EPOCH),
        };
        let kinds = |members: &[Member]| -> Vec<String> {
            let all = vec![condition("Ready"), condition("Following"), condition("Space")];
            let left = without_orphans(all, members);
            left.into_iter().map(|condition| condition.type_).collect()
        };
        assert_eq!(kinds(&members()), ["Ready", "Following", "Space"]);
        assert_eq!(kinds(&members()[..1]), ["Ready", "Space"]);
        assert_eq!(kinds(&[]), ["Ready"]);
    }
}
