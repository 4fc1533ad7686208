//! `pgo strategies`

use pgop_core::owner::{Kinded, ResourceKind};
use pgop_core::strategy::Description;
use serde_json::{Value, json};

use super::Context;
use super::create::registry;
use crate::args::Output;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::output;
use crate::tree::Tree;

/// The built-in strategies, each with its parameters.
pub fn run(context: &mut Context<'_>) -> Result<ExitCode, Error> {
    let registry = registry()?;
    let mut all: Vec<(ResourceKind, Description)> = Vec::new();
    all.extend(
        registry
            .databases
            .iter()
            .map(|s| (pgop_core::crd::PgDatabase::KIND, s.description().clone())),
    );
    all.extend(
        registry
            .clusters
            .iter()
            .map(|s| (pgop_core::crd::PgCluster::KIND, s.description().clone())),
    );
    all.extend(
        registry
            .backups
            .iter()
            .map(|s| (pgop_core::crd::PgBackup::KIND, s.description().clone())),
    );
    match context.config.output {
        Some(Output::Name) => all
            .iter()
            .for_each(|(kind, d)| context.screen.line(format!("{}/{}", kind.component(), d.name))),
        Some(format @ (Output::Json | Output::Yaml)) => {
            let values: Vec<Value> = all.iter().map(|(kind, d)| as_value(*kind, d)).collect();
            context.screen.raw(output::values(format, &values).as_bytes());
        }
        _ => {
            for (kind, description) in &all {
                let text = as_tree(*kind, description).render(context.screen.colour());
                context.screen.raw(text.as_bytes());
            }
        }
    }
    Ok(ExitCode::Ok)
}

fn as_value(kind: ResourceKind, d: &Description) -> Value {
    json!({
        "for": kind.as_str(), "name": d.name, "aliases": d.aliases, "version": d.version, "summary": d.summary,
        "parameters": d.parameters,
    })
}

fn as_tree(kind: ResourceKind, d: &Description) -> Tree {
    let also = if d.aliases.is_empty() {
        String::new()
    } else {
        format!(" (also {})", d.aliases.join(", "))
    };
    let mut tree = Tree::new(format!("{} : {}{also}: {}", kind.component(), d.name, d.summary));
    let parameters = d.parameters.get("properties").and_then(Value::as_object);
    for (name, schema) in parameters.into_iter().flatten() {
        let text = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let default = schema
            .get("default")
            .map(|value| format!(" [{value}]"))
            .unwrap_or_default();
        tree.push(format!("{name}{default}: {}", text("description")));
    }
    tree
}
