//! Resources from files: YAML or JSON, several documents.

use std::io::Read;
use std::path::{Path, PathBuf};

use pgop_core::ResourceKind;
use pgop_core::crd;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use crate::preview::Resource;

/// Why a file can't be used.
#[derive(Debug, Error)]
pub enum InputError {
    /// It can't be read.
    #[error("{path} can't be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no YAML.
    #[error("{path} is no YAML or JSON: {problem}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        problem: String,
    },
    /// It holds something else.
    #[error("{path}, document {number}: {problem}")]
    Document {
        /// The file.
        path: PathBuf,
        /// Which one, from 1.
        number: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// There is nothing in it.
    #[error("{path} holds no resource")]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a file, or standard input for `-`.
pub fn read(path: &Path, directory: &Path) -> Result<Vec<Resource>, InputError> {
    let failed = |source| InputError::Read {
        path: path.to_owned(),
        source,
    };
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).map_err(failed)?;
        text
    } else {
        std::fs::read_to_string(directory.join(path)).map_err(failed)?
    };
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Vec<Resource>, InputError> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| InputError::Syntax {
        path: path.to_owned(),
        problem: error.without_snippet().to_string(),
    })?;
    let mut resources = Vec::new();
    for (i, document) in documents.into_iter().enumerate().filter(|(_, d)| !d.is_null()) {
        let wrong = |problem| InputError::Document {
            path: path.to_owned(),
            number: i + 1,
            problem,
        };
        let is_list = document.get("kind").and_then(Value::as_str) == Some("List");
        let items = match document {
            Value::Object(mut map) if is_list => match map.remove("items") {
                Some(Value::Array(items)) => items,
                _ => return Err(wrong("a List needs items".to_owned())),
            },
            other => vec![other],
        };
        for item in items {
            resources.push(resource(&item).map_err(wrong)?);
        }
    }
    if resources.is_empty() {
        Err(InputError::Empty { path: path.to_owned() })
    } else {
        Ok(resources)
    }
}

fn resource(value: &Value) -> Result<Resource, String> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let ours = format!("{}/{}", crd::GROUP, crd::VERSION);
    let known = ResourceKind::ALL.map(ResourceKind::as_str);
    if api_version != ours || !known.contains(&kind.as_str()) {
        let found = if kind.is_empty() {
            "no kind".to_owned()
        } else {
            format!("{api_version} {kind}")
        };
        return Err(format!(
            "has {found}, and pgo creates {ours} {}; use kubectl for the rest",
            known.join(", ")
        ));
    }
    match kind.as_str() {
        "PgDatabase" => typed(value).map(|r| Resource::Database(Box::new(r))),
        "PgCluster" => typed(value).map(|r| Resource::Cluster(Box::new(r))),
        _ => typed(value).map(|r| Resource::Backup(Box::new(r))),
    }
}

/// Reads the typed resource. A field that it does not know is an error: the API server would drop it without a word.
fn typed<R: DeserializeOwned + serde::Serialize>(value: &Value) -> Result<R, String> {
    let resource: R = serde_json::from_value(value.clone()).map_err(|e| e.to_string())?;
    let known = serde_json::to_value(&resource).map_err(|e| e.to_string())?;
    match unknown(value.get("spec"), known.get("spec"), "spec") {
        Some(path) => Err(format!("there is no field `{path}`")),
        None => Ok(resource),
    }
}

/// Path of the first field that was given and is not known. Empty ones may vanish.
fn unknown(given: Option<&Value>, known: Option<&Value>, path: &str) -> Option<String> {
    let is_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    match (given?, known) {
        (given, None) if is_nothing(given) => None,
        (_, None) => Some(path.to_owned()),
        (Value::Object(given), Some(Value::Object(known))) => given
            .iter()
            .find_map(|(key, value)| unknown(Some(value), known.get(key), &format!("{path}.{key}"))),
        (Value::Array(given), Some(Value::Array(known))) => given
            .iter()
            .enumerate()
            .find_map(|(i, value)| unknown(Some(value), known.get(i), &format!("{path}[{i}]"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Resource>, String> {
        parse(Path::new("x.yaml"), text).map_err(|e| e.to_string())
    }

    #[test]
    fn several_documents_and_lists_are_read_in_order() {
        let text = "\
apiVersion: pgop.dev/v1alpha1
kind: PgDatabase
metadata: {name: a}
---
---
apiVersion: v1
kind: List
items:
- {apiVersion: pgop.dev/v1alpha1, kind: PgCluster, metadata: {name: b}, spec: {replicas: 1, storage: {size: 1Gi}}}
- {apiVersion: pgop.dev/v1alpha1, kind: PgBackup, metadata: {name: c}, spec: {source: {kind: PgCluster, name: b}}}
";
        let text = text.replacen("metadata: {name: a}", "metadata: {name: a}\nspec: {}", 1);
        let all = read(&text).unwrap();
        assert!(
            matches!(&all[..], [Resource::Database(_), Resource::Cluster(c), Resource::Backup(_)] if c.spec.replicas == 1)
        );
    }

    #[test]
    fn a_typo_is_named_with_its_path() {
        let of = |spec: &str| {
            read(&format!(
                "{{apiVersion: pgop.dev/v1alpha1, kind: PgDatabase, metadata: {{name: a}}, spec: {spec}}}"
            ))
            .map(|_| ())
        };
        assert_eq!(
            of("{postgres: {prot: 1}}").unwrap_err(),
            "x.yaml, document 1: there is no field `spec.postgres.prot`"
        );
        assert!(of("{postgres: {parameters: {}}, pod: {labels: {}}, restore: null}").is_ok());
        assert!(
            of("{postgres: {port: x}}")
                .unwrap_err()
                .starts_with("x.yaml, document 1: ")
        );
    }

    #[test]
    fn other_kinds_are_left_to_kubectl() {
        let error = read("{apiVersion: v1, kind: Pod, metadata: {name: a}}").unwrap_err();
        assert!(
            error.starts_with("x.yaml, document 1: has v1 Pod, and pgo creates pgop.dev/v1alpha1 PgDatabase"),
            "{error}"
        );
        assert_eq!(read("").unwrap_err(), "x.yaml holds no resource");
        assert!(read("{").unwrap_err().starts_with("x.yaml is no YAML or JSON: "));
        assert!(read("a: 1").unwrap_err().contains("has no kind"));
    }
}
