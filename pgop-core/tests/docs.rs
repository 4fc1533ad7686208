//! The field tables of `docs/resources/` and the list of kinds in `docs/strategies.md` are generated. `UPDATE=1 cargo test -p pgop-core --test docs` writes them.
//! What stands outside the two markers is kept by hand.
#![allow(clippy::unwrap_used, clippy::panic)] // a test speaks by panicking

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use pgop_core::crd;
use pgop_core::kind::Kind;
use serde_json::Value;

const BEGIN: &str = "<!-- generated: UPDATE=1 cargo test -p pgop-core --test docs -->";
const END: &str = "<!-- end of what is generated -->";

/// Types of Kubernetes' own that the tables name and don't repeat: the end of the path, and where they are explained.
const KUBERNETES: [(&str, &str); 9] = [
    (
        "affinity",
        "https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#affinity-and-anti-affinity",
    ),
    (
        "tolerations",
        "https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/",
    ),
    (
        "topologySpreadConstraints",
        "https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/",
    ),
    (
        "env",
        "https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/",
    ),
    ("volumes", "https://kubernetes.io/docs/concepts/storage/volumes/"),
    ("volumeMounts", "https://kubernetes.io/docs/concepts/storage/volumes/"),
    ("containers", "https://kubernetes.io/docs/concepts/workloads/pods/"),
    (
        "resources",
        "https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/",
    ),
    (
        "conditions",
        "https://kubernetes.io/docs/reference/using-api/api-concepts/",
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_field_tables_are_current() {
    for definition in crd::all() {
        let file = format!(
            "docs/resources/{}.md",
            definition.spec.names.singular.as_deref().unwrap()
        );
        is_current(&file, &tables(&definition));
    }
}

#[test]
fn the_list_of_kinds_is_current() {
    let mut text = String::from("| kind | `apiVersion` | the operator may |\n|---|---|---|\n");
    for kind in Kind::ALL {
        let _ = writeln!(
            text,
            "| {kind} | `{}` | {} |",
            kind.api_version(),
            kind.verbs().join(", ")
        );
    }
    text.push('\n');
    is_current("docs/strategies.md", &text);
}

/// Whether the part of a page between the two markers is this text; it is written where that is asked for.
fn is_current(file: &str, generated: &str) {
    let path = root().join(file);
    let committed = fs::read_to_string(&path).unwrap();
    let (before, rest) = committed
        .split_once(BEGIN)
        .unwrap_or_else(|| panic!("{file} has no line {BEGIN}"));
    let (_, after) = rest
        .split_once(END)
        .unwrap_or_else(|| panic!("{file} has no line {END}"));
    let text = format!("{before}{BEGIN}\n\n{generated}{END}{after}");
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap();
    assert!(
        committed == text,
        "{file} is stale: UPDATE=1 cargo test -p pgop-core --test docs"
    );
}

/// The pages that people read.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![
        root().join("README.md"),
        root().join("CONTRIBUTING.md"),
        root().join("CHANGELOG.md"),
    ];
    for folder in ["docs", "docs/resources"] {
        let files = fs::read_dir(root().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path());
        pages.extend(files.filter(|path| path.extension().is_some_and(|e| e == "md")));
    }
    pages
}

/// A blank line ends a table: what comes after it is shown as text.
#[test]
fn every_row_of_a_table_stands_below_its_head() {
    let mut alone = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with('|')) {
            let begins = number == 0 || !lines[number - 1].starts_with('|');
            let has_head = lines.get(number + 1).is_some_and(|next| next.starts_with("|---"));
            if begins && !has_head {
                alone.push(format!("{}:{}: {line}", page.display(), number + 1));
            }
        }
    }
    assert!(alone.is_empty(), "{}", alone.join("\n"));
}

#[test]
fn links_between_the_pages_lead_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            if target.contains("://") {
                continue;
            }
            let aim = if file.is_empty() {
                page.clone()
            } else {
                page.parent().unwrap().join(file)
            };
            let is_there = match fs::read_to_string(&aim) {
                Ok(text) => heading.is_empty() || text.lines().filter_map(anchor).any(|a| a == heading),
                Err(_) => aim.is_dir(),
            };
            if !is_there {
                broken.push(format!("{} → {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The anchor that a heading gets on the forges.
fn anchor(line: &str) -> Option<String> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').trim();
    let kept = heading.to_lowercase().replace(' ', "-");
    Some(
        kept.chars()
            .filter(|c| c.is_alphanumeric() || "-_".contains(*c))
            .collect(),
    )
}

fn tables(definition: &CustomResourceDefinition) -> String {
    let definition = serde_json::to_value(definition).unwrap();
    let version = &definition["spec"]["versions"][0];
    let names = &definition["spec"]["names"];
    let mut text = format!(
        "`apiVersion: {}/{}`, `kind: {}`; `kubectl get {}`, short `{}`.\n\n",
        crd::GROUP,
        crd::VERSION,
        names["kind"].as_str().unwrap(),
        names["plural"].as_str().unwrap(),
        names["shortNames"][0].as_str().unwrap()
    );
    for (title, part) in [("Spec", "spec"), ("Status", "status")] {
        let schema = &version["schema"]["openAPIV3Schema"]["properties"][part];
        let mut rows = Rows::default();
        rows.children(part, schema);
        let _ = write!(
            text,
            "## {title}\n\n| field | type | default | meaning |\n|---|---|---|---|\n{}\n",
            rows.fields
        );
        if !rows.rules.is_empty() {
            let _ = write!(
                text,
                "Rules that the API server checks, and the operator and `pgo` too:\n\n{}\n",
                rows.rules
            );
        }
    }
    text.push_str("## Columns of `kubectl get`\n\n| column | field | only with `-o wide` |\n|---|---|---|\n");
    for column in version["additionalPrinterColumns"].as_array().unwrap() {
        let only_wide = if column["priority"].as_i64().unwrap_or(0) > 0 {
            "yes"
        } else {
            ""
        };
        let path = column["jsonPath"].as_str().unwrap().trim_start_matches('.');
        let _ = writeln!(
            text,
            "| {} | `{}` | {only_wide} |",
            column["name"].as_str().unwrap(),
            cell(path)
        );
    }
    text.push('\n');
    text
}

#[derive(Default)]
struct Rows {
    fields: String,
    rules: String,
}

impl Rows {
    fn children(&mut self, path: &str, schema: &Value) {
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let field = rule["fieldPath"].as_str().unwrap_or_default();
            let _ = writeln!(self.rules, "- `{path}{field}`: {}", rule["message"].as_str().unwrap());
        }
        let required: Vec<&str> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            self.field(
                &format!("{path}.{name}"),
                name,
                schema,
                required.contains(&name.as_str()),
            );
        }
    }

    fn field(&mut self, path: &str, name: &str, schema: &Value, is_required: bool) {
        let foreign = KUBERNETES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, link)| *link);
        let mut meaning = schema["description"]
            .as_str()
            .unwrap_or_default()
            .split("\n\n")
            .next()
            .unwrap_or_default()
            .to_owned();
        if let Some(link) = foreign {
            let _ = write!(meaning, " [Kubernetes: {name}]({link})");
        }
        let default = match &schema["default"] {
            // A status is written by the operator: nothing is required of anybody.
            _ if is_required && path.starts_with("spec") => "required".to_owned(),
            // One that the schema can't hold stands in the text.
            Value::Null if meaning.contains("Default: ") => {
                let (text, default) = meaning.split_once("Default: ").unwrap();
                let (default, more) = default.split_once(". ").unwrap_or((default, ""));
                let parts = (
                    format!("{} {more}", text.trim()),
                    default.trim_end_matches('.').to_owned(),
                );
                parts.0.trim().clone_into(&mut meaning);
                parts.1
            }
            // Those of an object are those of its fields.
            Value::Null | Value::Object(_) => String::new(),
            Value::String(word) => format!("`{word}`"),
            other => format!("`{other}`"),
        };
        let _ = writeln!(
            self.fields,
            "| `{path}` | {} | {} | {} |",
            cell(&kind(schema)),
            cell(&default),
            cell(&meaning)
        );
        if foreign.is_none() {
            self.children(path, schema);
            self.children(&format!("{path}[]"), &schema["items"]);
        }
    }
}

/// A type, with the values that it allows.
fn kind(schema: &Value) -> String {
    let whole = |field: &str| schema[field].as_f64().map(|n| format!("{n:.0}"));
    if schema["x-kubernetes-int-or-string"] == true {
        return "quantity".to_owned();
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> = words
            .iter()
            .filter_map(Value::as_str)
            .map(|word| format!("`{word}`"))
            .collect();
        return words.join(", ");
    }
    match schema["type"].as_str().unwrap_or("any") {
        "array" => format!("list of {}", kind(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => {
            format!("map of {}", kind(&schema["additionalProperties"]))
        }
        "string" if schema["format"] == "date-time" => "time".to_owned(),
        "string" => match (schema["pattern"].as_str(), whole("maxLength")) {
            (Some(pattern), _) => words(pattern).unwrap_or_else(|| format!("string `{pattern}`")),
            (None, Some(longest)) => format!("string, at most {longest} characters"),
            (None, None) => "string".to_owned(),
        },
        "integer" => match (whole("minimum"), whole("maximum")) {
            (Some(low), Some(high)) => format!("integer, {low} to {high}"),
            (Some(low), None) => format!("integer, at least {low}"),
            _ => "integer".to_owned(),
        },
        other => other.to_owned(),
    }
}

/// The words of a pattern that is nothing but a choice of words.
fn words(pattern: &str) -> Option<String> {
    let words: Vec<&str> = pattern.strip_prefix("^(")?.strip_suffix(")$")?.split('|').collect();
    let is_word = |word: &&str| word.chars().all(char::is_alphanumeric);
    words.iter().all(is_word).then(|| {
        words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", ")
    })
}

/// Text that may stand in a table.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|").trim().to_owned()
}
