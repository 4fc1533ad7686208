//! `pgo config`

use super::Context;
use crate::args::Output;
use crate::config::key::{KEYS, Key, Kind};
use crate::exit_code::ExitCode;
use crate::output;
use serde_json::{Value, json};

struct Row {
    key: &'static Key,
    value: String,
    origin: String,
}

/// Every key, its value, and where the value came from.
pub fn run(context: &mut Context<'_>) -> ExitCode {
    let rows: Vec<Row> = KEYS.iter().map(|key| row(key, context)).collect();
    match context.config.output {
        Some(format @ (Output::Json | Output::Yaml)) => {
            let text = output::values(format, &rows.iter().map(as_value).collect::<Vec<_>>());
            context.screen.raw(text.as_bytes());
        }
        Some(Output::Name) => rows.iter().for_each(|row| context.screen.line(row.key.name)),
        wide => print(context, &rows, wide.is_some()),
    }
    for name in context.config.unknown_variables.clone() {
        context
            .screen
            .warn(format!("environment variable {name} is no key of pgo; it is not used"));
    }
    ExitCode::Ok
}

fn row(key: &'static Key, context: &Context<'_>) -> Row {
    let set = context
        .config
        .settings
        .entry(key.name)
        .filter(|(value, _)| !value.is_empty());
    let (value, origin) = match set {
        Some((value, source)) => {
            let value = if key.kind == Kind::Secret {
                "(set)".to_owned()
            } else {
                value.clone()
            };
            (value, source.to_string())
        }
        None if key.kind == Kind::Past => (String::new(), "not set".to_owned()),
        None => (key.default.to_owned(), "default".to_owned()),
    };
    Row { key, value, origin }
}

fn as_value(row: &Row) -> Value {
    json!({
        "key": row.key.name,
        "value": row.value,
        "from": row.origin,
        "variable": row.key.variable(),
        "about": row.key.about,
        "used": row.key.kind != Kind::Past,
    })
}

fn print(context: &mut Context<'_>, rows: &[Row], wide: bool) {
    match context.config.file.clone() {
        Some(path) => context.screen.line(format!("configuration file: {}", path.display())),
        None => context
            .screen
            .line("configuration file: none (.pgo.{yaml,yml,json,toml} in ., $HOME, /etc/pgo)"),
    }
    let mut table = output::Table::new(if wide {
        &["KEY", "VALUE", "FROM", "VARIABLE", "ABOUT"]
    } else {
        &["KEY", "VALUE", "FROM"]
    });
    for row in rows {
        // Keys of the past matter only to those who have them.
        if row.key.kind == Kind::Past && row.origin == "not set" && !wide {
            continue;
        }
        let note = if row.key.kind == Kind::Past {
            format!(" ({})", row.key.about)
        } else {
            String::new()
        };
        let mut cells = vec![
            row.key.name.to_owned(),
            row.value.clone(),
            format!("{}{note}", row.origin),
        ];
        if wide {
            cells.extend([row.key.variable(), row.key.about.to_owned()]);
        }
        table.push(&cells);
    }
    let text = table.render();
    context.screen.raw(text.as_bytes());
}
