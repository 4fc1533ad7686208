//! What pods ask for and what a node has. Pure. Amounts are in thousandths.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, Node, Pod, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::quantity::thousandths;

pub(crate) type Amounts = BTreeMap<String, i128>;

fn amounts(list: Option<&BTreeMap<String, Quantity>>) -> Amounts {
    list.into_iter()
        .flatten()
        .filter_map(|(name, quantity)| Some((name.clone(), thousandths(quantity)?)))
        .collect()
}

/// What is asked for; a limit without a request counts as one.
fn requests(resources: Option<&ResourceRequirements>) -> Amounts {
    let mut requests = amounts(resources.and_then(|resources| resources.limits.as_ref()));
    requests.extend(amounts(resources.and_then(|resources| resources.requests.as_ref())));
    requests
}

fn add(to: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        *to.entry(name.clone()).or_default() += amount;
    }
}

fn raise(to: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let known = to.entry(name.clone()).or_default();
        *known = (*known).max(*amount);
    }
}

/// What the node must have free for the pod: all ordinary containers and sidecars together, or the largest init container with the
/// sidecars started before it, whichever is more.
pub(crate) fn of_pod(pod: &Pod) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::new() };
    let of_container = |container: &Container| requests(container.resources.as_ref());
    let mut sidecars = Amounts::new();
    let mut starting = Amounts::new();
    for container in spec.init_containers.iter().flatten() {
        let own = of_container(container);
        let mut peak = sidecars.clone();
        add(&mut peak, &own);
        raise(&mut starting, &peak);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars = peak;
        }
    }
    let mut demand = sidecars;
    spec.containers
        .iter()
        .for_each(|container| add(&mut demand, &of_container(container)));
    raise(&mut demand, &starting);
    // Resources of the pod as a whole stand above those of its containers.
    demand.extend(requests(spec.resources.as_ref()));
    add(&mut demand, &amounts(spec.overhead.as_ref()));
    demand
}

/// The names of resources that the node has too little of, in words.
pub(crate) fn shortages<'a>(pod: &Pod, node: &Node, others: impl Iterator<Item = &'a Pod>) -> Vec<String> {
    let has = amounts(node.status.as_ref().and_then(|status| status.allocatable.as_ref()));
    let mut used = Amounts::new();
    let mut count = 0;
    for other in others {
        add(&mut used, &of_pod(other));
        count += 1;
    }
    let mut shortages = Vec::new();
    if has.get("pods").is_some_and(|most| (count + 1) * 1000 > *most) {
        shortages.push("Too many pods".to_owned());
    }
    for (name, amount) in of_pod(pod) {
        let free = has.get(&name).copied().unwrap_or_default() - used.get(&name).copied().unwrap_or_default();
        // A node that says nothing of the resource at all is not asked for it, unless it is an extended one.
        let known = has.contains_key(&name) || name.contains('/');
        if amount > 0 && known && amount > free {
            shortages.push(format!("Insufficient {name}"));
        }
    }
    shortages
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(containers: Value, init: Value) -> Pod {
        serde_json::from_value(json!({ "spec": { "containers": containers, "initContainers": init } })).unwrap()
    }

    fn container(cpu: &str) -> Value {
        json!({ "name": cpu, "resources": { "requests": { "cpu": cpu } } })
    }

    fn node() -> Node {
        serde_json::from_value(json!({ "status": { "allocatable": { "cpu": "2", "memory": "4Gi", "pods": "3" } } }))
            .unwrap()
    }

    #[test]
    fn containers_add_up_and_init_containers_do_not() {
        assert_eq!(
            of_pod(&pod(
                json!([container("1"), container("500m")]),
                json!([container("1")])
            ))["cpu"],
            1500
        );
        assert_eq!(
            of_pod(&pod(json!([container("1")]), json!([container("2"), container("3")])))["cpu"],
            3000
        );
    }

    #[test]
    fn sidecars_run_beside_what_starts_after_them() {
        let mut sidecar = container("1");
        sidecar["restartPolicy"] = json!("Always");
        assert_eq!(
            of_pod(&pod(json!([container("1")]), json!([sidecar, container("2")])))["cpu"],
            3000
        );
        assert_eq!(of_pod(&pod(json!([container("2")]), json!([sidecar])))["cpu"], 3000);
    }

    #[test]
    fn a_limit_without_a_request_is_one() {
        let limited = json!([{ "name": "a", "resources": { "limits": { "memory": "1Gi" } } }]);
        assert_eq!(of_pod(&pod(limited, json!([])))["memory"], 1_073_741_824_000);
    }

    #[test]
    fn what_a_node_lacks_is_named() {
        let other = pod(json!([container("1500m")]), json!([]));
        let named =
            |cpu: &str, others: &[Pod]| shortages(&pod(json!([container(cpu)]), json!([])), &node(), others.iter());
        assert!(named("500m", std::slice::from_ref(&other)).is_empty());
        assert_eq!(named("600m", std::slice::from_ref(&other)), ["Insufficient cpu"]);
        let small = pod(json!([]), json!([]));
        assert_eq!(named("1m", &[small.clone(), small.clone(), small]), ["Too many pods"]);
    }

    #[test]
    fn extended_resources_must_be_offered() {
        let gpu = pod(
            json!([{ "name": "a", "resources": { "requests": { "example.com/gpu": "1" } } }]),
            json!([]),
        );
        assert_eq!(shortages(&gpu, &node(), [].iter()), ["Insufficient example.com/gpu"]);
    }
}
