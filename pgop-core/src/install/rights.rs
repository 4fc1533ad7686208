//! The operator's rights, and why it has each.

use std::collections::BTreeMap;

use serde::Serialize;

use super::NAME;
use crate::crd;
use crate::kind::Kind;
use crate::owner::ResourceKind;

const READ: [&str; 3] = ["get", "list", "watch"];

/// One rule of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// API groups; the core group is empty.
    pub api_groups: Vec<&'static str>,
    /// Plural names, with a subresource after `/`.
    pub resources: Vec<String>,
    /// The only objects it holds for; empty for any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// What is allowed.
    pub verbs: Vec<&'static str>,
}

impl Rule {
    fn new(
        group: &'static str,
        resources: impl IntoIterator<Item = impl Into<String>>,
        verbs: &[&'static str],
    ) -> Self {
        let resources = resources.into_iter().map(Into::into).collect();
        Self {
            api_groups: vec![group],
            resources,
            resource_names: Vec::new(),
            verbs: verbs.to_vec(),
        }
    }

    fn only(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.resource_names = names.into_iter().collect();
        self
    }
}

/// What it may do where it looks after resources.
pub fn resource_rules() -> Vec<Rule> {
    let kinds = ResourceKind::ALL.map(ResourceKind::plural);
    let sub = |name: &str| kinds.map(|kind| format!("{kind}/{name}"));
    let mut rules = vec![
        Rule::new(crd::GROUP, kinds, &READ),
        Rule::new(crd::GROUP, sub("status"), &["get", "patch", "update"]),
        // An owner reference with blockOwnerDeletion needs this where OwnerReferencesPermissionEnforcement is on (OpenShift).
        Rule::new(crd::GROUP, sub("finalizers"), &["update"]),
        // A strategy's step may restart a pod of its own.
        Rule::new("", ["pods"], &["get", "list", "watch", "delete"]),
        // Servers tell of themselves through the status of their pods, and nobody can give a right that they don't have. The operator's own use of it is to
        // tell a kubelet that what its pod mounts has changed.
        Rule::new("", ["pods/status"], &["patch"]),
        // Secrets that people made are read; passwords that were lost with a Secret can't be made again, hence no deletion.
        Rule::new("", ["secrets"], &["get", "list", "watch", "create", "patch"]),
        Rule::new("events.k8s.io", ["events"], &["create", "patch"]),
    ];
    // Of Roles and RoleBindings this allows those that give no more than the operator has itself: it holds neither `escalate` nor `bind`.
    let mut by_verbs: BTreeMap<(&str, &[&str]), Vec<&str>> = BTreeMap::new();
    for kind in Kind::ALL {
        by_verbs
            .entry((kind.group(), kind.verbs()))
            .or_default()
            .push(kind.plural());
    }
    rules.extend(
        by_verbs
            .into_iter()
            .map(|((group, verbs), resources)| Rule::new(group, resources, verbs)),
    );
    rules
}

/// What it may do with the definitions of its own resources, which are cluster-wide.
pub fn crd_rules() -> Vec<Rule> {
    let group = "apiextensions.k8s.io";
    let names = ResourceKind::ALL.map(|kind| format!("{}.{}", kind.plural(), crd::GROUP));
    vec![
        // Kubernetes can't restrict `create` by name.
        Rule::new(group, ["customresourcedefinitions"], &["create"]),
        // Waiting until one is served lists and watches it by name.
        Rule::new(
            group,
            ["customresourcedefinitions"],
            &["get", "list", "watch", "update"],
        )
        .only(names),
    ]
}

/// What it may do with the lease that only one operator holds.
pub fn lease_rules() -> Vec<Rule> {
    let group = "coordination.k8s.io";
    vec![
        Rule::new(group, ["leases"], &["create"]),
        Rule::new(group, ["leases"], &["get", "update", "patch"]).only([NAME.to_owned()]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verbs_on(rules: &[Rule], resource: &str) -> Vec<&'static str> {
        rules
            .iter()
            .filter(|r| r.resources.iter().any(|x| x == resource))
            .flat_map(|r| r.verbs.clone())
            .collect()
    }

    #[test]
    fn every_kind_that_a_strategy_may_create_is_covered() {
        let rules = resource_rules();
        for kind in Kind::ALL {
            let rule = rules
                .iter()
                .find(|r| r.resources.iter().any(|x| x == kind.plural()))
                .unwrap();
            assert_eq!(rule.api_groups, [kind.group()], "{kind}");
            for verb in ["get", "list", "watch", "create", "patch"] {
                assert!(rule.verbs.contains(&verb), "{verb} {kind}");
            }
        }
        for kind in ResourceKind::ALL {
            assert_eq!(verbs_on(&rules, kind.plural()), READ);
            assert_eq!(
                verbs_on(&rules, &format!("{}/status", kind.plural())),
                ["get", "patch", "update"]
            );
        }
    }

    #[test]
    fn the_rights_are_the_least_that_work() {
        let rules: Vec<_> = [resource_rules(), crd_rules(), lease_rules()].concat();
        for rule in &rules {
            assert!(
                rule.verbs
                    .iter()
                    .chain(&rule.api_groups)
                    .all(|word| !["*", "escalate", "bind", "impersonate"].contains(word)),
                "{rule:?}"
            );
            for resource in &rule.resources {
                assert!(
                    ![
                        "*",
                        "pods/exec",
                        "pods/attach",
                        "pods/portforward",
                        "clusterroles",
                        "clusterrolebindings",
                        "nodes",
                        "serviceaccounts/token"
                    ]
                    .contains(&resource.as_str()),
                    "{rule:?}"
                );
            }
        }
        assert_eq!(verbs_on(&rules, "pods"), ["get", "list", "watch", "delete"]);
        assert_eq!(verbs_on(&rules, "pods/status"), ["patch"]);
        for kept in [
            "secrets",
            "persistentvolumeclaims",
            "customresourcedefinitions",
            "leases",
        ] {
            assert!(
                !verbs_on(&rules, kept).iter().any(|verb| verb.starts_with("delete")),
                "{kept}"
            );
        }
        let unnamed = crd_rules()
            .into_iter()
            .filter(|r| r.resource_names.is_empty())
            .flat_map(|r| r.verbs);
        assert_eq!(unnamed.collect::<Vec<_>>(), ["create"]);
    }
}
