//! Fields that another manager owns.

use std::{collections::BTreeMap, fmt};

use super::{
    fields::FieldSet,
    managed::{Entry, Operation},
};

/// Why a configuration can't be applied.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ApplyError {
    /// Other managers own fields that the configuration would change. Printed as Kubernetes does.
    #[error("{}", sentence(.0))]
    Conflicts(Vec<Conflict>),
    /// Only JSON objects can be applied.
    #[error("the applied configuration must be an object")]
    NotAnObject,
    /// Fields that the schema does not have, each with a dot in front.
    #[error("{}", undeclared(.0))]
    Undeclared(Vec<String>),
    /// Who applies does not say who owns what.
    #[error("metadata.managedFields must be nil")]
    HasManagedFields,
}

fn undeclared(fields: &[String]) -> String {
    let lines: Vec<String> = fields
        .iter()
        .map(|field| format!("{field}: field not declared in schema"))
        .collect();
    match lines.as_slice() {
        [line] => line.clone(),
        lines => format!("errors:\n  {}", lines.join("\n  ")),
    }
}

/// One field that another manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who owns it.
    pub manager: String,
    /// In which version it named the field.
    pub api_version: String,
    /// `Apply` or `Update`.
    pub operation: &'static str,
    /// Through which subresource.
    pub subresource: Option<String>,
    /// Since when, in RFC 3339.
    pub time: Option<String>,
    /// Such as `.spec.template.spec.containers[name="web"].image`.
    pub field: String,
}

impl Conflict {
    /// `"kubectl" using apps/v1`: who it is, for the sentence and for the cause `conflict with …`.
    pub fn owner(&self) -> Owner<'_> {
        Owner(self)
    }
}

/// Prints who owns a field, in Kubernetes' words.
#[derive(Debug)]
pub struct Owner<'a>(&'a Conflict);

impl fmt::Display for Owner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Conflict {
            manager,
            api_version,
            operation,
            subresource,
            ..
        } = self.0;
        write!(f, "{manager:?}")?;
        if let Some(subresource) = subresource {
            write!(f, " with subresource {subresource:?}")?;
        }
        if *operation == Operation::Update.name() {
            write!(f, " using {api_version}")?;
        }
        Ok(())
    }
}

/// The fields of `taken` that the entries own.
pub(super) fn between(entries: &[Entry], taken: &FieldSet) -> Vec<Conflict> {
    let of_entry = |entry: &Entry| {
        let fields = entry.fields.intersection(taken).paths();
        let conflict = |field| Conflict {
            manager: entry.manager.clone(),
            api_version: entry.api_version.clone(),
            operation: entry.operation.name(),
            subresource: entry.subresource.clone(),
            time: entry.time.clone(),
            field,
        };
        fields.into_iter().map(conflict).collect::<Vec<_>>()
    };
    entries.iter().flat_map(of_entry).collect()
}

fn sentence(conflicts: &[Conflict]) -> String {
    if let [conflict] = conflicts {
        return format!(
            "Apply failed with 1 conflict: conflict with {}: {}",
            conflict.owner(),
            conflict.field
        );
    }
    let mut fields = BTreeMap::<String, Vec<&str>>::new();
    for conflict in conflicts {
        fields
            .entry(conflict.owner().to_string())
            .or_default()
            .push(&conflict.field);
    }
    let mut lines = Vec::new();
    for (owner, fields) in fields {
        lines.push(format!("conflicts with {owner}:"));
        lines.extend(fields.iter().map(|field| format!("- {field}")));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}
