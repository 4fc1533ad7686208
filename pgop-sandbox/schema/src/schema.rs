//! A type of object.

use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value, json};

use crate::{Cause, built_in, check, decode, defaulting, encode, node::Node, prune, structural};

/// One type of object: what its fields are, mean and may hold.
#[derive(Debug)]
pub struct Schema {
    pub(crate) root: Node,
    pub(crate) openapi: Value,
    pub(crate) origin: Origin,
    /// Fields below `status` belong to the subresource, so the main resource can't apply them.
    pub(crate) status_subresource: bool,
}

/// Where a schema comes from. Kubernetes treats the three differently in small ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Go structs in Kubernetes: `null` means "not set", and some structs are never absent.
    BuiltIn {
        group: &'static str,
        kind: &'static str,
    },
    Crd,
    Unknown,
}

impl Schema {
    /// From a CRD version's `schema.openAPIV3Schema`. With a property `status` the type is taken to have the status subresource;
    /// [`Schema::with_status_subresource`] says otherwise.
    ///
    /// # Errors
    /// Everything that keeps the schema from being structural, or its rules from compiling. Fields start with `openAPIV3Schema`.
    /// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema>
    pub fn from_crd(schema: &Value) -> Result<Self, Vec<Cause>> {
        let causes = structural::check(schema);
        if !causes.is_empty() {
            return Err(causes);
        }
        let openapi = with_envelope(schema);
        let root = Node::parse(&openapi);
        Ok(Self::new(root, openapi, Origin::Crd))
    }

    /// Of a built-in type, made at the first call and kept. `None`: not a type that the sandbox serves.
    pub fn built_in(group: &str, version: &str, kind: &str) -> Option<Arc<Self>> {
        built_in::schema(group, version, kind)
    }

    /// Accepts and keeps everything: no schema is known.
    pub fn any() -> Arc<Self> {
        static ANY: OnceLock<Arc<Schema>> = OnceLock::new();
        Arc::clone(ANY.get_or_init(|| {
            let openapi = with_envelope(&json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
            Arc::new(Self::new(Node::parse(&openapi), openapi, Origin::Unknown))
        }))
    }

    /// The same schema, for a type with or without the status subresource.
    #[must_use]
    pub fn with_status_subresource(mut self, has: bool) -> Self {
        self.status_subresource = has;
        self
    }

    /// Removes the fields that the schema does not know and returns their paths, like `spec.foo` or `spec.list[0].bar`.
    ///
    /// Of built-in types it also drops every `null`, which there means "not set".
    /// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#field-pruning>
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        prune::prune(self, object)
    }

    /// Fills defaults in place, also in the items of lists. A `null` in a field that can't be null counts as missing.
    /// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#defaulting>
    pub fn default(&self, object: &mut Value) {
        defaulting::default(&self.root, object);
        if let Origin::BuiltIn { group, kind } = self.origin {
            built_in::default(group, kind, object);
        }
    }

    /// Of a built-in type: the first value that can't be read as the type of its field, in the words of Go's decoder. `kind` is what
    /// paths start with. Types of CRDs are not decoded: [`Schema::validate`] tells of theirs.
    pub fn mistyped(&self, object: &Value, kind: &str) -> Option<String> {
        self.is_built_in()
            .then(|| decode::mistyped(&self.root, object, kind))
            .flatten()
    }

    /// Writes a built-in type as Kubernetes does: quantities in their canonical form (`1000m` as `1`), without empty maps and lists.
    pub fn normalize(&self, object: &mut Value) {
        if self.is_built_in() {
            encode::normalize(&self.root, object);
        }
    }

    /// Checks types, value rules and CEL rules. With `old`, rules about the transition are checked too.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<Cause> {
        check::validate(self, object, old)
    }

    /// The schema as `OpenAPI` v3 JSON, with descriptions and `x-kubernetes-*`, self-contained (no `$ref`).
    pub fn openapi(&self) -> &Value {
        &self.openapi
    }

    pub(crate) fn is_built_in(&self) -> bool {
        matches!(self.origin, Origin::BuiltIn { .. })
    }

    pub(crate) fn new(root: Node, openapi: Value, origin: Origin) -> Self {
        let status_subresource = root.properties.contains_key("status");
        Self {
            root,
            openapi,
            origin,
            status_subresource,
        }
    }
}

/// Adds apiVersion, kind and metadata, which every object has, to a CRD's schema.
fn with_envelope(schema: &Value) -> Value {
    let mut whole = schema.clone();
    let Some(fields) = whole.as_object_mut() else {
        return schema.clone();
    };
    let properties = fields.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    if let Some(properties) = properties.as_object_mut() {
        for (name, description) in built_in::TYPE_META {
            properties.insert(name.to_owned(), json!({"type": "string", "description": description}));
        }
        let declared = properties.remove("metadata");
        properties.insert("metadata".to_owned(), metadata(declared.as_ref()));
    }
    whole
}

/// The schema of `metadata`, with what a CRD asks of the name beyond.
fn metadata(declared: Option<&Value>) -> Value {
    let mut metadata = built_in::object_meta().clone();
    for field in ["name", "generateName"] {
        let rules = declared.and_then(|declared| declared.get("properties")?.get(field)?.as_object());
        for (rule, value) in rules.into_iter().flatten() {
            metadata["properties"][field][rule] = value.clone();
        }
    }
    metadata
}
