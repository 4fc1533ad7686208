//! The schemas of what is served: <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition>.
//! As much as `kubectl explain`, its validation and its dry runs ask for.

mod protobuf;

use serde_json::{Map, Value, json};

use crate::catalog::Catalog;
use crate::resource::{Resource, group_version};

pub(crate) use protobuf::{ASKED as PROTOBUF_ASKED, MEDIA as PROTOBUF, document as protobuf};

/// `/openapi/v3`: where the document of each group version is.
pub(crate) fn index(catalog: &Catalog) -> Value {
    let mut paths = Map::new();
    for (group, versions) in catalog.groups() {
        for version in versions {
            let path = root(group, version);
            let url = format!("/openapi/v3/{path}?hash={}", catalog.generation);
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

/// `/openapi/v3/…` of a group version.
pub(crate) fn version(catalog: &Catalog, group: &str, version: &str) -> Option<Value> {
    let mut paths = Map::new();
    let mut document = Definitions::new("#/components/schemas/");
    for resource in catalog.of_version(group, version) {
        add_paths(&mut paths, resource);
        document.add(resource);
    }
    let schemas = document.whole();
    let told = json!({"openapi": "3.0.0", "info": info(), "paths": paths, "components": {"schemas": schemas}});
    (!schemas.is_empty()).then_some(told)
}

/// `/openapi/v2`: all in one.
pub(crate) fn all(catalog: &Catalog) -> Value {
    let mut paths = Map::new();
    let mut document = Definitions::new("#/definitions/");
    for resource in catalog.resources() {
        add_paths(&mut paths, resource);
        document.add(resource);
    }
    json!({"swagger": "2.0", "info": info(), "paths": paths, "definitions": document.whole()})
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": pgop_sandbox_kubelet::VERSION})
}

/// The definitions of a document, each once, with references between them.
struct Definitions {
    /// What references start with.
    prefix: &'static str,
    schemas: Map<String, Value>,
    /// Referred to and still to be added.
    wanted: Vec<String>,
}

impl Definitions {
    fn new(prefix: &'static str) -> Self {
        Self {
            prefix,
            schemas: Map::new(),
            wanted: Vec::new(),
        }
    }

    fn add(&mut self, resource: &Resource) {
        let name = definition(resource);
        let known = pgop_sandbox_schema::definitions().get(&name);
        let mut schema = match known.filter(|_| resource.custom.is_none()) {
            Some(schema) => self.referring(schema),
            None => resource.schema.openapi().clone(),
        };
        if resource.custom.is_some() {
            let metadata = format!("{}{METADATA}", pgop_sandbox_schema::REFERENCE);
            schema["properties"]["metadata"] = self.referring(&json!({"$ref": metadata}));
        }
        schema["x-kubernetes-group-version-kind"] = json!([kind_of(resource)]);
        self.schemas.insert(name, schema);
    }

    /// A copy of a schema whose references lead into this document.
    fn referring(&mut self, schema: &Value) -> Value {
        match schema {
            Value::Array(items) => items.iter().map(|item| self.referring(item)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(key, value)| {
                    let name = value
                        .as_str()
                        .filter(|_| key == "$ref")
                        .and_then(|reference| reference.strip_prefix(pgop_sandbox_schema::REFERENCE));
                    let value = match name {
                        Some(name) => {
                            self.wanted.push(name.to_owned());
                            format!("{}{name}", self.prefix).into()
                        }
                        None => self.referring(value),
                    };
                    (key.clone(), value)
                })
                .collect(),
            scalar => scalar.clone(),
        }
    }

    /// All of it, with what was referred to.
    fn whole(mut self) -> Map<String, Value> {
        while let Some(name) = self.wanted.pop() {
            if self.schemas.contains_key(&name) {
                continue;
            }
            if let Some(definition) = pgop_sandbox_schema::definitions().get(&name) {
                let schema = self.referring(definition);
                self.schemas.insert(name, schema);
            }
        }
        self.schemas
    }
}

/// The metadata of all objects.
const METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The parameters of writes.
const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];

/// `api/v1`, `apis/apps/v1`
fn root(group: &str, version: &str) -> String {
    let prefix = if group.is_empty() { "api" } else { "apis" };
    format!("{prefix}/{}", group_version(group, version))
}

/// Its name as Kubernetes has it: `io.k8s.api.apps.v1.Deployment`, or the reversed group of a CRD.
fn definition(resource: &Resource) -> String {
    let Resource {
        group, version, kind, ..
    } = resource;
    if resource.custom.is_some() {
        let reversed: Vec<&str> = group.rsplit('.').collect();
        return format!("{}.{version}.{kind}", reversed.join("."));
    }
    if let Some(name) = pgop_sandbox_schema::definition_name(group, version, kind) {
        return name;
    }
    let short = group
        .split('.')
        .next()
        .filter(|group| !group.is_empty())
        .unwrap_or("core");
    format!("io.k8s.api.{short}.{version}.{kind}")
}

fn kind_of(resource: &Resource) -> Value {
    json!({"group": resource.group, "version": resource.version, "kind": resource.kind})
}

fn add_paths(paths: &mut Map<String, Value>, resource: &Resource) {
    let scope = if resource.namespaced {
        "/namespaces/{namespace}"
    } else {
        ""
    };
    let list = format!(
        "/{}{scope}/{}",
        root(&resource.group, &resource.version),
        resource.plural
    );
    let operation = |action: &str, parameters: &[&str]| {
        let parameters: Vec<Value> = parameters
            .iter()
            .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string"}}))
            .collect();
        json!({
            "x-kubernetes-action": action, "x-kubernetes-group-version-kind": kind_of(resource), "parameters": parameters,
            "responses": {"200": {"description": "OK"}},
        })
    };
    if resource.is_virtual() {
        paths.insert(list, json!({"post": operation("post", WRITE)}));
        return;
    }
    let item = json!({
        "get": operation("get", &[]),
        "put": operation("put", WRITE),
        "patch": operation("patch", &["dryRun", "fieldManager", "fieldValidation", "force"]),
        "delete": operation("delete", &["dryRun", "gracePeriodSeconds", "propagationPolicy"]),
    });
    paths.insert(format!("{list}/{{name}}"), item);
    paths.insert(
        list,
        json!({"get": operation("list", &["limit", "continue"]), "post": operation("post", WRITE)}),
    );
}
