//! Tables, JSON, YAML and names.

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use crate::args::Output;
use crate::screen::one_line;

/// Columns that line up.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self {
            rows: vec![headings.iter().map(|h| (*h).to_owned()).collect()],
        }
    }

    /// Adds a row.
    pub fn push(&mut self, cells: &[String]) {
        self.rows
            .push(cells.iter().map(|cell| one_line(cell).into_owned()).collect());
    }

    /// The lines.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.width())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| cell.clone() + &" ".repeat(width.saturating_sub(cell.width())))
                .collect();
            text.push_str(cells.join("   ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// Values as JSON (one: itself; several: a `List`) or as YAML documents.
pub fn values(format: Output, values: &[Value]) -> String {
    match (format, values) {
        (Output::Yaml, values) => {
            let documents: Vec<String> = values.iter().map(yaml).collect();
            documents.join("---\n")
        }
        (_, [one]) => pretty(one),
        (_, several) if several.iter().all(|v| v.get("kind").is_some()) => {
            pretty(&json!({"apiVersion": "v1", "kind": "List", "items": several}))
        }
        (_, several) => pretty(&Value::from(several.to_vec())),
    }
}

/// Resources in a format for programs; `None` when the format is one for people.
pub fn resources(format: Option<Output>, resources: &[Value], always_list: bool) -> Option<String> {
    let resources: Vec<Value> = resources.iter().cloned().map(without_bookkeeping).collect();
    let resources = resources.as_slice();
    match format {
        Some(Output::Json) if always_list => {
            Some(pretty(&json!({"apiVersion": "v1", "kind": "List", "items": resources})))
        }
        Some(format @ (Output::Json | Output::Yaml)) => Some(values(format, resources)),
        Some(Output::Name) => Some(resources.iter().map(|value| name(value) + "\n").collect()),
        Some(Output::Wide) | None => None,
    }
}

/// Who set which field last is nothing that people ask for; kubectl leaves it out too.
fn without_bookkeeping(mut resource: Value) -> Value {
    if let Some(metadata) = resource.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    resource
}

/// `pgdatabase.pgop.dev/orders`, as kubectl takes it.
pub fn name(value: &Value) -> String {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let kind = text("/kind").to_ascii_lowercase();
    match text("/apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{}", text("/metadata/name")),
        None => format!("{kind}/{}", text("/metadata/name")),
    }
}

fn pretty(value: &Value) -> String {
    // Serialising a `Value` to a string can't fail.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

fn yaml(value: &Value) -> String {
    let text = serde_saphyr::to_string(value).unwrap_or_default();
    if text.ends_with('\n') { text } else { text + "\n" }
}

/// `1.4 GB`, `12 kB`.
pub fn bytes(count: u64) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let (mut unit, mut size) = (0, 1000_u128);
    while u128::from(count) >= size * 1000 && unit + 1 < units.len() {
        size *= 1000;
        unit += 1;
    }
    let tenths = (u128::from(count) * 10 + size / 2) / size;
    if tenths >= 1000 || tenths % 10 == 0 {
        format!("{} {}", (u128::from(count) + size / 2) / size, units[unit])
    } else {
        format!("{}.{} {}", tenths / 10, tenths % 10, units[unit])
    }
}

/// `3 d`, `2 h`, `5 min`, `8 s`.
pub fn age(since: jiff::Timestamp, now: jiff::Timestamp) -> String {
    let seconds = (now.as_second() - since.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_tail() {
        let mut table = Table::new(&["NAME", "STATUS"]);
        table.push(&["hippo".into(), "Ready".into()]);
        table.push(&["é".into(), String::new()]);
        assert_eq!(table.render(), "NAME    STATUS\nhippo   Ready\né\n");
        // Wide characters take two columns of a terminal, combining ones none.
        let mut table = Table::new(&["NAME", "STATUS"]);
        table.push(&["数据".into(), "Ready".into()]);
        table.push(&["e\u{301}".into(), "Ready".into()]);
        assert_eq!(table.render(), "NAME   STATUS\n数据   Ready\ne\u{301}      Ready\n");
    }

    #[test]
    fn sizes_are_short() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1 kB"),
            (1400, "1.4 kB"),
            (31_457_280, "31.5 MB"),
            (123_456_789, "123 MB"),
            (2_000_000_000, "2 GB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(bytes(u64::MAX), "18.4 EB");
    }

    #[test]
    fn ages_have_one_unit() {
        let at = |second| jiff::Timestamp::from_second(second).unwrap();
        for (seconds, text) in [
            (5, "5 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7200, "2 h"),
            (172_800, "2 d"),
        ] {
            assert_eq!(age(at(0), at(seconds)), text);
        }
        assert_eq!(age(at(10), at(0)), "0 s");
    }

    #[test]
    fn names_are_what_kubectl_takes() {
        let of = |api, kind| name(&json!({"apiVersion": api, "kind": kind, "metadata": {"name": "a"}}));
        assert_eq!(of("pgop.dev/v1alpha1", "PgDatabase"), "pgdatabase.pgop.dev/a");
        assert_eq!(of("v1", "Service"), "service/a");
        assert_eq!(of("apps/v1", "StatefulSet"), "statefulset.apps/a");
    }

    #[test]
    fn yaml_reads_back_as_the_same_value() {
        let value = json!({"a": "yes", "b": ["1", 1, null], "c": "line\nline", "d": "0x1F", "e": {}, "f": "- x: y"});
        let text = values(Output::Yaml, std::slice::from_ref(&value));
        assert_eq!(serde_saphyr::from_str::<Value>(&text).unwrap(), value);
    }
}
