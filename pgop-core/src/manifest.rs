//! One desired Kubernetes object, checked against its type.

use serde_json::Value;
use thiserror::Error;

use crate::label;

pub use crate::kind::Kind;

/// Why a value is not a manifest.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// It is no object with `apiVersion`, `kind` and `metadata.name`.
    #[error("a manifest needs apiVersion, kind and metadata.name; {missing} is missing")]
    Incomplete {
        /// The field.
        missing: &'static str,
    },
    /// The kind is not on the list.
    #[error("a strategy can't create {api_version} {kind}; it can create {}", Kind::ALL.map(Kind::as_str).join(", "))]
    UnknownKind {
        /// As written.
        api_version: String,
        /// As written.
        kind: String,
    },
    /// A field has a wrong type or a required one is missing.
    #[error("{kind} {name} does not have the shape of its kind: {source}")]
    Shape {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// A field that the type does not know: a typo would vanish silently.
    #[error("{kind} {name} has no field `{path}`")]
    UnknownField {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// Path of the field.
        path: String,
    },
}

/// One desired object: its shape is right, its name is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    kind: Kind,
    name: String,
    after_job: Option<String>,
    value: Value,
}

impl Manifest {
    /// Checks `value` against the type of its kind. Unknown fields are errors; nulls are dropped.
    ///
    /// ```
    /// use pgop_core::manifest::Manifest;
    /// let text = r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hippo"}, "spec": {"selektor": {}}}"#;
    /// let error = Manifest::from_value(serde_json::from_str(text).unwrap()).unwrap_err();
    /// assert_eq!(error.to_string(), "Service hippo has no field `spec.selektor`");
    /// ```
    pub fn from_value(mut value: Value) -> Result<Self, ManifestError> {
        drop_nulls(&mut value);
        let text = |path: &str| value.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let api_version = text("/apiVersion").ok_or(ManifestError::Incomplete { missing: "apiVersion" })?;
        let kind_name = text("/kind").ok_or(ManifestError::Incomplete { missing: "kind" })?;
        let name = text("/metadata/name").ok_or(ManifestError::Incomplete {
            missing: "metadata.name",
        })?;
        let kind = Kind::parse(&api_version, &kind_name).ok_or(ManifestError::UnknownKind {
            api_version,
            kind: kind_name,
        })?;
        let known = kind.check(&value).map_err(|source| ManifestError::Shape {
            kind,
            name: name.clone(),
            source,
        })?;
        if let Some(path) = lost(&value, &known, &mut String::new()) {
            return Err(ManifestError::UnknownField { kind, name, path });
        }
        let after_job = take_annotation(&mut value, label::AFTER_JOB);
        Ok(Self {
            kind,
            name,
            after_job,
            value,
        })
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Job that has to succeed before this object may exist.
    pub fn after_job(&self) -> Option<&str> {
        self.after_job.as_deref()
    }

    /// The spec of its pods, where it has any.
    pub fn pod(&self) -> Option<&Value> {
        self.value.pointer(self.kind.pod_template()?)?.get("spec")
    }

    /// The object.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Sets an annotation.
    #[cfg(feature = "steps")]
    pub(crate) fn mark(&mut self, key: &str, value: &str) {
        self.value["metadata"]["annotations"][key] = value.into();
    }

    /// The template of its pods, for completion.
    #[cfg(feature = "steps")]
    pub(crate) fn pod_template_mut(&mut self) -> Option<&mut Value> {
        self.value.pointer_mut(self.kind.pod_template()?)
    }

    /// For the completion of metadata and pods, which keeps kind and name.
    #[cfg(feature = "steps")]
    pub(crate) fn value_mut(&mut self) -> &mut Value {
        &mut self.value
    }
}

/// Takes an annotation off an object, and the map with it when it was the only one: an object that was held back hashes like one that was not.
fn take_annotation(value: &mut Value, key: &str) -> Option<String> {
    let metadata = value.pointer_mut("/metadata")?.as_object_mut()?;
    let annotations = metadata.get_mut("annotations")?.as_object_mut()?;
    let taken = annotations.remove(key)?;
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    taken.as_str().map(str::to_owned)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Path of the first field of `given` that is missing in `known`.
fn lost(given: &Value, known: &Value, at: &mut String) -> Option<String> {
    let step = at.len();
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => given.iter().find_map(|(key, value)| {
            if !at.is_empty() {
                at.push('.');
            }
            at.push_str(key);
            let found = match known.get(key) {
                Some(other) => lost(value, other, at),
                None => Some(at.clone()),
            };
            at.truncate(step);
            found
        }),
        (Value::Array(given), Value::Array(known)) => given.iter().zip(known).enumerate().find_map(|(i, (a, b))| {
            at.push('[');
            at.push_str(&i.to_string());
            at.push(']');
            let found = lost(a, b, at);
            at.truncate(step);
            found
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_typo_deep_inside_is_named() {
        let error = Manifest::from_value(json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "hippo"},
            "spec": {"serviceName": "hippo", "selector": {}, "template": {"spec": {"containers": [
                {"name": "postgres", "image": "postgres:17"}, {"name": "side", "imagee": "x"}]}}}
        }))
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "StatefulSet hippo has no field `spec.template.spec.containers[1].imagee`"
        );
    }

    #[test]
    fn kinds_off_the_list_are_refused() {
        let error = Manifest::from_value(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "x"}
        }))
        .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("a strategy can't create rbac.authorization.k8s.io/v1 ClusterRoleBinding")
        );
    }

    #[test]
    fn wrong_types_name_the_object() {
        let error = Manifest::from_value(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "hippo"}, "spec": {"ports": "5432"}
        }))
        .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("Service hippo does not have the shape of its kind"),
            "{error}"
        );
    }

    #[test]
    fn the_gate_is_taken_off_the_object() {
        let manifest = Manifest::from_value(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "hippo", "annotations": {"pgop.dev/after-job": "hippo-restore-1"}}
        }))
        .unwrap();
        assert_eq!(manifest.after_job(), Some("hippo-restore-1"));
        assert_eq!(manifest.value().pointer("/metadata/annotations"), None);
    }
}
