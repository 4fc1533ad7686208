//! What objects refer to by name.

use std::collections::BTreeSet;

use pgop_core::manifest::Kind;
use pgop_core::reference::{Reference, Referent, references};

use super::Case;
use super::rules::{of, text, title};

/// Everything that is named exists: the strategy makes it, or it is given.
pub(super) fn exist(case: &Case) -> Vec<String> {
    let made: BTreeSet<(Kind, &str)> = case.manifests.iter().map(|m| (m.kind(), m.name())).collect();
    let is_known = |Reference { to, name }: &Reference| match to {
        Referent::Secret => case.given.secrets.contains(name),
        Referent::Object(Kind::PersistentVolumeClaim) if case.given.claims.contains(name) => true,
        Referent::Object(Kind::ServiceAccount) if case.given.account.as_ref() == Some(name) => true,
        // Kubernetes makes it in every namespace.
        Referent::Object(Kind::ConfigMap) if name == "kube-root-ca.crt" => true,
        Referent::Object(kind) => made.contains(&(*kind, name.as_str())),
    };
    let mut problems = Vec::new();
    for m in &case.manifests {
        let missing = references(m).into_iter().filter(|reference| !is_known(reference));
        problems.extend(missing.map(|Reference { to, name }| {
            let what = match to {
                Referent::Secret => "Secret".to_owned(),
                Referent::Object(Kind::PersistentVolumeClaim) => "claim".to_owned(),
                Referent::Object(kind) => kind.to_string(),
            };
            format!("{} refers to the {what} `{name}`, which nobody makes", title(m))
        }));
    }
    // The API server would take any, if the operator had the rights of a ClusterRole itself.
    let wide = of(case, Kind::RoleBinding).filter(|m| text(m.value(), "/roleRef/kind") != "Role");
    problems.extend(wide.map(|m| format!("{} binds something else than a Role of the strategy", title(m))));
    problems
}
