//! What the failure policy of a Job says of a failed pod. Pure.
//! See <https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy>.

use k8s_openapi::api::{
    batch::v1::{Job, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule},
    core::v1::{ContainerStatus, Pod},
};
use kube::ResourceExt;

/// What the first rule that applies says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ruling {
    /// No rule applies, or the rule says `Count`.
    Count,
    Ignore,
    /// The Job fails, with this message.
    FailJob(String),
}

pub(crate) fn ruling(job: &Job, pod: &Pod) -> Ruling {
    let rules = job
        .spec
        .as_ref()
        .and_then(|spec| spec.pod_failure_policy.as_ref())
        .map(|policy| policy.rules.as_slice());
    for (number, rule) in rules.unwrap_or_default().iter().enumerate() {
        let Some(cause) = applies(rule, pod) else { continue };
        return match rule.action.as_str() {
            "Ignore" => Ruling::Ignore,
            "FailJob" => Ruling::FailJob(format!("{cause} matching FailJob rule at index {number}")),
            _ => Ruling::Count,
        };
    }
    Ruling::Count
}

/// Why the rule applies, in words.
fn applies(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
    if let Some(wanted) = &rule.on_exit_codes {
        let (container, code) = ended(pod).find(|(container, code)| code_matches(wanted, container, *code))?;
        return Some(format!(
            "Container {} for pod {name} failed with exit code {code}",
            container.name
        ));
    }
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    rule.on_pod_conditions.iter().flatten().find_map(|wanted| {
        let status = wanted.status.as_deref().filter(|status| !status.is_empty());
        let status = status.unwrap_or("True");
        let found = conditions
            .iter()
            .find(|condition| condition.type_ == wanted.type_ && condition.status == status)?;
        Some(format!("Pod {name} has condition {}", found.type_))
    })
}

fn ended(pod: &Pod) -> impl Iterator<Item = (&ContainerStatus, i32)> {
    let status = pod.status.as_ref();
    let init = status
        .and_then(|status| status.init_container_statuses.as_deref())
        .unwrap_or_default();
    let ordinary = status
        .and_then(|status| status.container_statuses.as_deref())
        .unwrap_or_default();
    init.iter()
        .chain(ordinary)
        .filter_map(|container| Some((container, container.state.as_ref()?.terminated.as_ref()?.exit_code)))
}

fn code_matches(wanted: &PodFailurePolicyOnExitCodesRequirement, container: &ContainerStatus, code: i32) -> bool {
    if code == 0
        || wanted
            .container_name
            .as_ref()
            .is_some_and(|name| *name != container.name)
    {
        return false;
    }
    let listed = wanted.values.contains(&code);
    if wanted.operator == "NotIn" { !listed } else { listed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn ruled(rules: Value, pod: Value) -> Ruling {
        let job = serde_json::from_value(json!({ "metadata": {}, "spec": {
            "template": { "spec": { "containers": [] } }, "podFailurePolicy": { "rules": rules },
        } }))
        .unwrap();
        ruling(&job, &serde_json::from_value(pod).unwrap())
    }

    fn exited(code: i32) -> Value {
        json!({ "metadata": { "name": "a", "namespace": "shop" }, "status": { "containerStatuses": [{
            "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": { "terminated": { "exitCode": code } },
        }] } })
    }

    #[test]
    fn the_first_rule_that_applies_decides() {
        let rules = json!([
            { "action": "Ignore", "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }] },
            { "action": "FailJob", "onExitCodes": { "operator": "In", "values": [42] } },
            { "action": "Ignore", "onExitCodes": { "operator": "NotIn", "values": [1], "containerName": "main" } },
        ]);
        assert_eq!(
            ruled(rules.clone(), exited(42)),
            Ruling::FailJob(
                "Container main for pod shop/a failed with exit code 42 matching FailJob rule at index 1".into()
            )
        );
        assert_eq!(ruled(rules.clone(), exited(7)), Ruling::Ignore);
        assert_eq!(ruled(rules.clone(), exited(1)), Ruling::Count);
        let mut disrupted = exited(42);
        disrupted["status"]["conditions"] = json!([{ "type": "DisruptionTarget", "status": "True" }]);
        assert_eq!(ruled(rules, disrupted), Ruling::Ignore);
    }

    #[test]
    fn a_container_that_ended_well_matches_no_code() {
        let rules = json!([{ "action": "FailJob", "onExitCodes": { "operator": "NotIn", "values": [1] } }]);
        assert_eq!(ruled(rules, exited(0)), Ruling::Count);
    }
}
