//! Required affinity and anti-affinity between pods. Pure.
//! See <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity>.

use k8s_openapi::api::core::v1::{Node, Pod, PodAffinityTerm};
use kube::{ResourceExt, core::Selector};

use crate::ownership::selects;

/// A pod and the node it is on.
pub(crate) type Placed<'a> = (&'a Pod, &'a Node);

fn terms(pod: &Pod, anti: bool) -> &[PodAffinityTerm] {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    let terms = if anti {
        affinity.and_then(|affinity| {
            affinity
                .pod_anti_affinity
                .as_ref()?
                .required_during_scheduling_ignored_during_execution
                .as_deref()
        })
    } else {
        affinity.and_then(|affinity| {
            affinity
                .pod_affinity
                .as_ref()?
                .required_during_scheduling_ignored_during_execution
                .as_deref()
        })
    };
    terms.unwrap_or_default()
}

/// Whether `term`, of a pod in `namespace`, is about `other`.
fn concerns(term: &PodAffinityTerm, namespace: Option<&str>, other: &Pod) -> bool {
    let other_namespace = other.namespace().unwrap_or_default();
    let listed = term.namespaces.as_deref().unwrap_or_default();
    // An empty namespace selector means all; others would need the labels of namespaces, and are taken for none.
    let all = term
        .namespace_selector
        .as_ref()
        .is_some_and(|selector| *selector == k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector::default());
    let here = if listed.is_empty() && term.namespace_selector.is_none() {
        namespace == Some(other_namespace.as_str())
    } else {
        all || listed.contains(&other_namespace)
    };
    here && term.label_selector.as_ref().is_some_and(|selector| {
        Selector::try_from(selector.clone()).is_ok_and(|selector| selects(&selector, &other.metadata))
    })
}

/// Whether both nodes are the same place by the term's topology key.
fn same_place(term: &PodAffinityTerm, a: &Node, b: &Node) -> bool {
    let place = a.labels().get(&term.topology_key);
    place.is_some() && place == b.labels().get(&term.topology_key)
}

/// Why the pod can't stand beside its neighbours on this node, if it can't.
pub(crate) fn objection(pod: &Pod, node: &Node, others: &[Placed<'_>]) -> Option<&'static str> {
    let namespace = pod.metadata.namespace.as_deref();
    for term in terms(pod, false) {
        let near = others
            .iter()
            .any(|(other, place)| concerns(term, namespace, other) && same_place(term, node, place));
        // The first of pods that want to be together finds none: it may start.
        let first = concerns(term, namespace, pod) && !others.iter().any(|(other, _)| concerns(term, namespace, other));
        let founds = first && node.labels().contains_key(&term.topology_key);
        if !near && !founds {
            return Some("node(s) didn't match pod affinity rules");
        }
    }
    for term in terms(pod, true) {
        if others
            .iter()
            .any(|(other, place)| concerns(term, namespace, other) && same_place(term, node, place))
        {
            return Some("node(s) didn't match pod anti-affinity rules");
        }
    }
    for (other, place) in others {
        let theirs = other.metadata.namespace.as_deref();
        if terms(other, true)
            .iter()
            .any(|term| concerns(term, theirs, pod) && same_place(term, node, place))
        {
            return Some("node(s) didn't satisfy existing pods anti-affinity rules");
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(name: &str, affinity: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": "shop", "labels": { "app": "db" } },
            "spec": { "containers": [], "affinity": affinity },
        }))
        .unwrap()
    }

    fn node() -> Node {
        serde_json::from_value(
            json!({ "metadata": { "name": "sandbox", "labels": { "kubernetes.io/hostname": "sandbox" } } }),
        )
        .unwrap()
    }

    fn required(kind: &str, app: &str) -> Value {
        json!({ (kind): { "requiredDuringSchedulingIgnoredDuringExecution": [{
            "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "app": app } },
        }] } })
    }

    #[test]
    fn two_pods_that_keep_apart_do_not_fit_on_one_node() {
        let (node, apart) = (node(), required("podAntiAffinity", "db"));
        let first = pod("db-0", apart.clone());
        assert_eq!(objection(&first, &node, &[]), None);
        assert_eq!(
            objection(&pod("db-1", apart), &node, &[(&first, &node)]),
            Some("node(s) didn't match pod anti-affinity rules")
        );
        let plain = pod("db-2", json!({}));
        assert_eq!(
            objection(&plain, &node, &[(&first, &node)]),
            Some("node(s) didn't satisfy existing pods anti-affinity rules")
        );
    }

    #[test]
    fn pods_that_want_company_need_it_except_the_first_of_its_kind() {
        let node = node();
        assert_eq!(objection(&pod("db-0", required("podAffinity", "db")), &node, &[]), None);
        let lonely = pod("db-0", required("podAffinity", "web"));
        assert_eq!(
            objection(&lonely, &node, &[]),
            Some("node(s) didn't match pod affinity rules")
        );
        let mut web = pod("web-0", json!({}));
        web.labels_mut().insert("app".into(), "web".into());
        assert_eq!(objection(&lonely, &node, &[(&web, &node)]), None);
    }

    #[test]
    fn pods_of_other_namespaces_do_not_count_unless_named() {
        let node = node();
        let mut elsewhere = pod("db-0", json!({}));
        elsewhere.metadata.namespace = Some("other".into());
        let mut apart = required("podAntiAffinity", "db");
        assert_eq!(
            objection(&pod("db-1", apart.clone()), &node, &[(&elsewhere, &node)]),
            None
        );
        apart["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]["namespaceSelector"] = json!({});
        assert!(objection(&pod("db-1", apart), &node, &[(&elsewhere, &node)]).is_some());
    }
}
