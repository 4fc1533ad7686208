//! Whether a node is one the pod may run on: node selector, node affinity and taints. Pure.
//! See <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/>.

use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration,
};
use kube::ResourceExt;

/// Node selector and required node affinity.
pub(crate) fn is_wanted(spec: &PodSpec, node: &Node) -> bool {
    let selected = spec
        .node_selector
        .iter()
        .flatten()
        .all(|(name, value)| node.labels().get(name) == Some(value));
    let required = spec.affinity.as_ref().and_then(|affinity| {
        affinity
            .node_affinity
            .as_ref()?
            .required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    selected && required.is_none_or(|selector| selects(selector, node))
}

/// Any of the terms matches.
pub(crate) fn selects(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| term_matches(term, node))
}

fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let name = node.name_any();
    expressions
        .iter()
        .all(|wanted| matches(wanted, node.labels().get(&wanted.key).map(String::as_str)))
        && fields
            .iter()
            .all(|wanted| wanted.key == "metadata.name" && matches(wanted, Some(&name)))
}

fn matches(wanted: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|known| known == value));
    let number = |text: &str| text.parse::<i64>().ok();
    let compared = || Some((number(value?)?, number(values.first()?)?));
    match wanted.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared().is_some_and(|(value, bound)| value > bound),
        "Lt" => compared().is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

/// Whether the pod may be put on a node with these taints. Only those that keep pods off count.
pub(crate) fn tolerates(tolerations: &[Toleration], taints: &[Taint]) -> bool {
    let repelling = taints
        .iter()
        .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
    repelling
        .into_iter()
        .all(|taint| tolerations.iter().any(|toleration| covers(toleration, taint)))
}

fn covers(toleration: &Toleration, taint: &Taint) -> bool {
    let key = toleration.key.as_deref().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    let same_value = toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default();
    toleration
        .effect
        .as_deref()
        .is_none_or(|effect| effect.is_empty() || effect == taint.effect)
        && ((key.is_empty() && exists) || key == taint.key)
        && (exists || same_value)
}

pub(crate) fn taints(node: &Node) -> &[Taint] {
    node.spec
        .as_ref()
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node() -> Node {
        serde_json::from_value(json!({ "metadata": { "name": "sandbox", "labels": { "disk": "ssd", "cores": "8" } } }))
            .unwrap()
    }

    fn wanted(spec: Value) -> bool {
        let mut pod = json!({ "containers": [] });
        for (name, value) in spec.as_object().unwrap() {
            pod[name] = value.clone();
        }
        is_wanted(&serde_json::from_value(pod).unwrap(), &node())
    }

    fn affinity(terms: Value) -> Value {
        json!({ "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } } } })
    }

    fn expression(key: &str, operator: &str, values: &[&str]) -> Value {
        json!([{ "matchExpressions": [{ "key": key, "operator": operator, "values": values }] }])
    }

    #[test]
    fn selectors() {
        assert!(wanted(json!({})));
        assert!(wanted(json!({ "nodeSelector": { "disk": "ssd" } })));
        assert!(!wanted(json!({ "nodeSelector": { "disk": "hdd" } })));
    }

    #[test]
    fn operators() {
        for (key, operator, values, expected) in [
            ("disk", "In", &["ssd", "nvme"][..], true),
            ("disk", "NotIn", &["ssd"], false),
            ("zone", "NotIn", &["a"], true),
            ("disk", "Exists", &[], true),
            ("zone", "DoesNotExist", &[], true),
            ("cores", "Gt", &["4"], true),
            ("cores", "Lt", &["4"], false),
            ("disk", "Gt", &["4"], false),
        ] {
            assert_eq!(
                wanted(affinity(expression(key, operator, values))),
                expected,
                "{key} {operator}"
            );
        }
    }

    #[test]
    fn one_term_is_enough_and_an_empty_one_matches_nothing() {
        let mut terms = expression("disk", "In", &["hdd"]);
        terms
            .as_array_mut()
            .unwrap()
            .push(json!({ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["sandbox"] }] }));
        assert!(wanted(affinity(terms)));
        assert!(!wanted(affinity(json!([{}]))));
    }

    #[test]
    fn taints_and_tolerations() {
        let taint = |effect: &str| -> Vec<Taint> {
            serde_json::from_value(json!([{ "key": "only", "value": "db", "effect": effect }])).unwrap()
        };
        let tolerated =
            |toleration: Value, effect: &str| tolerates(&[serde_json::from_value(toleration).unwrap()], &taint(effect));
        assert!(!tolerates(&[], &taint("NoSchedule")));
        assert!(tolerates(&[], &taint("PreferNoSchedule")));
        assert!(tolerated(json!({ "operator": "Exists" }), "NoExecute"));
        assert!(tolerated(json!({ "key": "only", "value": "db" }), "NoSchedule"));
        assert!(!tolerated(json!({ "key": "only", "value": "web" }), "NoSchedule"));
        assert!(!tolerated(
            json!({ "key": "only", "operator": "Exists", "effect": "NoExecute" }),
            "NoSchedule"
        ));
    }
}
