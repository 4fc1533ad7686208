//! What an object refers to by name and can't work without.

use serde_json::Value;

use crate::kind::Kind;
use crate::manifest::Manifest;

/// Something that an object refers to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// What it is.
    pub to: Referent,
    /// Its name.
    pub name: String,
}

/// What can be referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Referent {
    /// An object that a strategy may make.
    Object(Kind),
    /// A Secret, which only the operator or a person makes.
    Secret,
}

/// All that a manifest refers to, but for what may be missing (`optional: true`).
pub fn references(manifest: &Manifest) -> Vec<Reference> {
    let mut all = References(Vec::new());
    let value = manifest.value();
    if let Some(job) = manifest.after_job() {
        all.push(Referent::Object(Kind::Job), job);
    }
    if manifest.kind() == Kind::RoleBinding {
        all.push(Referent::Object(Kind::Role), text(value, "/roleRef/name"));
        let accounts = list(value, "/subjects")
            .iter()
            .filter(|s| text(s, "/kind") == "ServiceAccount");
        accounts.for_each(|account| all.push(Referent::Object(Kind::ServiceAccount), text(account, "/name")));
    }
    for claim in claims_of_templates(manifest) {
        all.push(Referent::Object(Kind::PersistentVolumeClaim), &claim);
    }
    if let Some(pod) = manifest.pod() {
        all.of_pod(pod);
    }
    all.0
}

struct References(Vec<Reference>);

impl References {
    fn push(&mut self, to: Referent, name: &str) {
        let name = name.to_owned();
        self.0.push(Reference { to, name });
    }

    fn of_pod(&mut self, pod: &Value) {
        const CLAIM: Referent = Referent::Object(Kind::PersistentVolumeClaim);
        const CONFIG_MAP: Referent = Referent::Object(Kind::ConfigMap);
        if let Some(account) = pod
            .get("serviceAccountName")
            .and_then(Value::as_str)
            .filter(|name| *name != "default")
        {
            self.push(Referent::Object(Kind::ServiceAccount), account);
        }
        for volume in list(pod, "/volumes") {
            self.required(volume, "persistentVolumeClaim", "/claimName", CLAIM);
            self.required(volume, "configMap", "/name", CONFIG_MAP);
            self.required(volume, "secret", "/secretName", Referent::Secret);
            for source in list(volume, "/projected/sources") {
                self.required(source, "configMap", "/name", CONFIG_MAP);
                self.required(source, "secret", "/name", Referent::Secret);
            }
        }
        for container in containers(pod) {
            let variables = list(container, "/env")
                .iter()
                .filter_map(|variable| variable.get("valueFrom"));
            for source in variables.chain(list(container, "/envFrom")) {
                self.required(source, "secretKeyRef", "/name", Referent::Secret);
                self.required(source, "secretRef", "/name", Referent::Secret);
                self.required(source, "configMapKeyRef", "/name", CONFIG_MAP);
                self.required(source, "configMapRef", "/name", CONFIG_MAP);
            }
        }
    }

    fn required(&mut self, source: &Value, key: &str, field: &str, to: Referent) {
        let reference = source
            .get(key)
            .filter(|reference| reference.get("optional") != Some(&Value::Bool(true)));
        if let Some(reference) = reference {
            self.push(to, text(reference, field));
        }
    }
}

/// Claims that a `StatefulSet` would make of its templates: pgop makes them itself, so that they can grow.
fn claims_of_templates(manifest: &Manifest) -> Vec<String> {
    let replicas = manifest
        .value()
        .pointer("/spec/replicas")
        .and_then(Value::as_u64)
        .unwrap_or(1);
    let templates = list(manifest.value(), "/spec/volumeClaimTemplates").iter();
    let names = templates.map(|template| text(template, "/metadata/name"));
    names
        .flat_map(|name| (0..replicas).map(move |i| format!("{name}-{}-{i}", manifest.name())))
        .collect()
}

/// Every container of a pod's spec.
pub fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["/containers", "/initContainers"]
        .into_iter()
        .flat_map(|at| list(pod, at))
}

fn list<'a>(value: &'a Value, at: &str) -> &'a [Value] {
    value.pointer(at).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, at: &str) -> &'a str {
    value.pointer(at).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(value: Value) -> Vec<String> {
        let manifest = Manifest::from_value(value).unwrap();
        let name = |reference: Reference| match reference.to {
            Referent::Object(kind) => format!("{kind} {}", reference.name),
            Referent::Secret => format!("Secret {}", reference.name),
        };
        references(&manifest).into_iter().map(name).collect()
    }

    #[test]
    fn a_workload_refers_to_what_its_pods_need() {
        let pod = json!({
            "serviceAccountName": "member",
            "volumes": [
                {"name": "a", "persistentVolumeClaim": {"claimName": "hippo-pvc"}},
                {"name": "b", "configMap": {"name": "hippo-config"}},
                {"name": "c", "secret": {"secretName": "extra", "optional": true}},
                {"name": "d", "projected": {"sources": [{"secret": {"name": "hippo-user"}}]}},
            ],
            "containers": [{"name": "postgres", "image": "x", "envFrom": [{"configMapRef": {"name": "more"}}]}],
        });
        let template = json!({"spec": pod});
        let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "hippo"},
            "spec": {"replicas": 2, "serviceName": "hippo-pods", "selector": {}, "template": template,
                     "volumeClaimTemplates": [{"metadata": {"name": "data"}}]}});
        let of_pod = [
            "ServiceAccount member",
            "PersistentVolumeClaim hippo-pvc",
            "ConfigMap hippo-config",
            "Secret hippo-user",
            "ConfigMap more",
        ];
        let own = [
            "PersistentVolumeClaim data-hippo-0",
            "PersistentVolumeClaim data-hippo-1",
        ];
        assert_eq!(names(set), [own.as_slice(), of_pod.as_slice()].concat());
        let cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"},
            "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": template}}}});
        assert_eq!(names(cron), of_pod);
    }

    #[test]
    fn a_role_binding_refers_to_its_role_and_accounts() {
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "b"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "member"},
            "subjects": [{"kind": "ServiceAccount", "name": "hippo"}, {"kind": "User", "name": "ann"}]});
        assert_eq!(names(binding), ["Role member", "ServiceAccount hippo"]);
    }
}
