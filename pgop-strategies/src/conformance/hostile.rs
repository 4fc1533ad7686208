//! Texts that people could type, and what they must not do.

use std::collections::BTreeSet;

use pgop_core::manifest::{Kind, Manifest};
use pgop_core::strategy::{Strategy, StrategyError};
use pgop_core::validate::strategy_parameters;
use serde_json::Value;

use super::fixture::{Conformant, PARAMETER};

/// Texts that break a strategy which puts values into a text without quoting them.
pub const TEXTS: [&str; 14] = [
    "\"",
    "'",
    "\\",
    "\"}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: stolen}\n",
    "x\n  injected: true",
    "x, injected: true",
    "x: y # z",
    "[1, {a: b}]",
    "{{name}} {{{name}}} {{#each files}}{{/each}} {{{{raw}}}}",
    "true",
    "0o17",
    "&a *a !!int <<",
    "\u{202e}\u{feff}\u{2028}\u{85}é日🐘",
    "a\u{0}b\tc\r\nd\u{7f}\u{1b}[31m",
];

/// What every text is compared with.
const PLAIN: &str = "plain";

/// Which objects and fields there are, without their values: kind, name and JSON path of everything.
pub fn shape(manifests: &[Manifest]) -> BTreeSet<(Kind, String, String)> {
    let mut shape = BTreeSet::new();
    for manifest in manifests {
        let mut paths = Vec::new();
        collect(manifest.value(), String::new(), &mut paths);
        shape.extend(
            paths
                .into_iter()
                .map(|path| (manifest.kind(), manifest.name().to_owned(), path)),
        );
    }
    shape
}

fn collect(value: &Value, at: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(map) => map
            .iter()
            .for_each(|(key, value)| collect(value, format!("{at}/{key}"), paths)),
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, value)| collect(value, format!("{at}/{index}"), paths));
        }
        _ => {}
    }
    paths.push(at);
}

/// Tries each text in all fields at once, and in each field alone when that shows a difference.
pub(super) fn check<R: Conformant>(strategy: &dyn Strategy<R>, validated: &R::Validated) -> Vec<String> {
    let long = "\"\\: {{x}}\n".repeat(64 * 1024 / 10);
    let texts: Vec<&str> = TEXTS.iter().copied().chain([long.as_str()]).collect();
    let together = differences(strategy, validated, &texts, None);
    let count = R::texts(&mut validated.clone()).len();
    let mut problems = Vec::new();
    for (text, problem) in together {
        let alone = (0..count).find_map(|field| differences(strategy, validated, &[text], Some(field)).pop());
        problems.push(alone.map_or(problem, |(_, problem)| problem));
    }
    problems
}

/// What each text changes beside values, in all fields or in one.
fn differences<'a, R: Conformant>(
    strategy: &dyn Strategy<R>,
    validated: &R::Validated,
    texts: &[&'a str],
    only: Option<usize>,
) -> Vec<(&'a str, String)> {
    let (plain, _) = with_text(strategy, validated, PLAIN, only);
    let Ok(plain) = render(strategy, &plain) else {
        return Vec::new();
    };
    let problem = |text: &str| {
        let (hostile, field) = with_text(strategy, validated, text, only);
        let shown: String = text.chars().take(40).collect();
        match render(strategy, &hostile) {
            Err(error) => Some(format!("{shown:?} in {field} can't be rendered: {error}")),
            Ok(hostile) => {
                let (kind, name, path) = plain.symmetric_difference(&hostile).next()?;
                Some(format!(
                    "{shown:?} in {field} changes which fields there are: {kind} {name} {path}"
                ))
            }
        }
    };
    texts.iter().filter_map(|text| Some((*text, problem(text)?))).collect()
}

/// The resource with `text` in its fields, or in one of them, and the name of that one. A parameter takes what its schema lets it take, and
/// the plain text otherwise, or stays as it is when it can't take that either.
fn with_text<R: Conformant>(
    strategy: &dyn Strategy<R>,
    validated: &R::Validated,
    text: &str,
    only: Option<usize>,
) -> (R::Validated, String) {
    let mut changed = validated.clone();
    let parameters = R::parameters(&mut changed).clone();
    let takes = |parameter: &str, text: &str| {
        let mut parameters = parameters.clone();
        parameters.insert(parameter.to_owned(), Value::from(text));
        strategy_parameters(strategy.description(), &parameters).is_ok()
    };
    let mut field = "every field".to_owned();
    for (index, (name, value)) in R::texts(&mut changed).into_iter().enumerate() {
        if only.is_some_and(|only| only != index) {
            continue;
        }
        match name.strip_prefix(PARAMETER) {
            Some(parameter) if !takes(parameter, PLAIN) => {}
            Some(parameter) if !takes(parameter, text) => PLAIN.clone_into(value),
            _ => text.clone_into(value),
        }
        if only.is_some() {
            field = name;
        }
    }
    (changed, field)
}

fn render<R: Conformant>(
    strategy: &dyn Strategy<R>,
    validated: &R::Validated,
) -> Result<BTreeSet<(Kind, String, String)>, StrategyError> {
    strategy.manifests(validated).map(|manifests| shape(&manifests))
}
