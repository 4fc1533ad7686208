//! Tables, as `kubectl get` asks for them: <https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables>.

mod built_in;
mod cell;
mod pod;
mod time;

use serde_json::{Value, json};

use crate::jsonpath;
use crate::read::partial;
use crate::resource::{Custom, Resource};

/// A column of a built-in kind.
struct Column {
    name: &'static str,
    kind: &'static str,
    /// Only shown with `-o wide`.
    wide: bool,
    cell: fn(&Value) -> Value,
}

/// The table of some objects.
pub(crate) fn table(resource: &Resource, objects: &[&Value], metadata: &Value, include: Option<&str>) -> Value {
    let columns = match &resource.custom {
        Some(custom) => custom_columns(custom),
        None => built_in::columns(&resource.group, &resource.plural)
            .iter()
            .map(built_in_column)
            .collect(),
    };
    let cells = |object: &Value| -> Vec<Value> {
        if let Some(custom) = &resource.custom {
            return custom_cells(custom, object);
        }
        let columns = built_in::columns(&resource.group, &resource.plural);
        columns.iter().map(|column| (column.cell)(object)).collect()
    };
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut row = json!({"cells": cells(object)});
            match include {
                Some("None") => {}
                Some("Object") => row["object"] = (*object).clone(),
                _ => row["object"] = partial(object),
            }
            row
        })
        .collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": columns, "rows": rows})
}

fn built_in_column(column: &Column) -> Value {
    let format = if column.name == "Name" { "name" } else { "" };
    describe(column.name, column.kind, format, "", i64::from(column.wide))
}

fn describe(name: &str, kind: &str, format: &str, description: &str, priority: i64) -> Value {
    json!({"name": name, "type": kind, "format": format, "description": description, "priority": priority})
}

fn custom_columns(custom: &Custom) -> Vec<Value> {
    let text = |column: &Value, field: &str| column[field].as_str().unwrap_or_default().to_owned();
    let mut columns = vec![describe("Name", "string", "name", "", 0)];
    columns.extend(custom.columns.iter().map(|column| {
        let priority = column["priority"].as_i64().unwrap_or(0);
        describe(
            &text(column, "name"),
            &text(column, "type"),
            &text(column, "format"),
            &text(column, "description"),
            priority,
        )
    }));
    if custom.columns.is_empty() {
        columns.push(describe("Age", "date", "", "", 0));
    }
    columns
}

fn custom_cells(custom: &Custom, object: &Value) -> Vec<Value> {
    let mut cells = vec![object["metadata"]["name"].clone()];
    cells.extend(custom.columns.iter().map(|column| {
        let found = jsonpath::all(object, column["jsonPath"].as_str().unwrap_or_default());
        cell(column["type"].as_str().unwrap_or_default(), &found)
    }));
    if custom.columns.is_empty() {
        cells.push(time::since(&object["metadata"]["creationTimestamp"]).into());
    }
    cells
}

/// What was found, as the column's type has it.
fn cell(kind: &str, found: &[Value]) -> Value {
    let Some(first) = found.first() else { return Value::Null };
    match (kind, first) {
        ("integer", Value::Number(number)) => number.as_i64().map_or(Value::Null, Value::from),
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => first.clone(),
        ("date", Value::String(_)) => time::since(first).into(),
        ("string", Value::String(_)) if found.len() == 1 => first.clone(),
        ("string", Value::Null) => Value::Null,
        ("string", _) if found.len() == 1 => first.to_string().into(),
        ("string", _) => {
            let texts = found
                .iter()
                .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            texts.collect::<Vec<_>>().join(",").into()
        }
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::table;

    fn rows(plural: &str, object: &serde_json::Value) -> Vec<String> {
        let resources = crate::resource::built_in();
        let resource = resources.iter().find(|resource| resource.plural == plural).unwrap();
        let table = table(resource, &[object], &json!({}), None);
        let columns = table["columnDefinitions"].as_array().unwrap();
        assert_eq!(columns.len(), table["rows"][0]["cells"].as_array().unwrap().len());
        let cells = table["rows"][0]["cells"].as_array().unwrap();
        let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        columns
            .iter()
            .zip(cells)
            .map(|(column, cell)| format!("{}={}", text(&column["name"]), text(cell)))
            .collect()
    }

    #[test]
    fn pods_are_told_as_kubectl_prints_them() {
        let pod = json!({"metadata": {"name": "db-0"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}], "nodeName": "sandbox"},
            "status": {"phase": "Running", "podIP": "10.244.0.3", "containerStatuses": [
                {"name": "a", "ready": true, "restartCount": 2, "state": {"running": {}}},
                {"name": "b", "ready": false, "restartCount": 0, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}});
        let row = rows("pods", &pod);
        for cell in [
            "Name=db-0",
            "Ready=1/2",
            "Status=CrashLoopBackOff",
            "Restarts=2",
            "IP=10.244.0.3",
            "Node=sandbox",
        ] {
            assert!(row.iter().any(|told| told == cell), "{cell} in {row:?}");
        }
    }

    #[test]
    fn every_kind_has_columns_for_an_empty_object() {
        for resource in crate::resource::built_in() {
            let row = rows(&resource.plural, &json!({"metadata": {"name": "x"}}));
            assert!(
                row.contains(&"Name=x".to_owned()) || resource.plural == "events",
                "{row:?}"
            );
        }
    }
}
