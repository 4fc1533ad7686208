//! What a template may use. Everything else is refused when the bundle is loaded.
//!
//! The one rule that matters: a value gets into the text only through `{{json x}}`. What a person typed is then always one JSON
//! scalar, list or object, which is YAML too, and can never become structure.

use std::collections::{BTreeMap, BTreeSet};

use handlebars::Template;
use handlebars::template::{HelperTemplate, Parameter, TemplateElement, TemplateMapping};
use thiserror::Error;

/// Blocks that a template may use.
pub const BLOCKS: [&str; 4] = ["if", "unless", "each", "with"];
/// Helpers that give a value, for use in `(…)`.
pub const VALUES: [&str; 13] = [
    "json", "concat", "lookup", "eq", "ne", "gt", "gte", "lt", "lte", "and", "or", "not", "len",
];

/// What a template does and may not do. Every message says what to write instead.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LintError {
    /// `{{x}}`, `{{{x}}}`, `{{&x}}` or `{{lookup …}}`.
    #[error("`{what}` is printed as it is, so a value could become structure: write {{{{json …}}}} around it")]
    PrintsBareValue {
        /// What is printed.
        what: String,
    },
    /// `{{json}}` takes one value.
    #[error("json takes exactly one value, such as {{{{json name}}}}")]
    CallsJsonWrongly,
    /// There is no such helper.
    #[error("there is no helper `{name}`; there is {{{{json …}}}}, the blocks {}, and, in parentheses, {}", BLOCKS.join(", "), VALUES.join(", "))]
    CallsUnknownHelper {
        /// Its name.
        name: String,
    },
    /// A partial that `strategy.yaml` does not list.
    #[error("there is no partial `{name}`; strategy.yaml lists {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") })]
    IncludesUnknownPartial {
        /// Its name.
        name: String,
        /// Those that are listed.
        known: Vec<String>,
    },
    /// A partial that includes itself, if only through others.
    #[error("the partial `{name}` includes itself")]
    IncludesItself {
        /// Its name.
        name: String,
    },
    /// Decorators, inline partials and partial blocks.
    #[error("`{what}` can't be used: write a file of its own under partials/ and include it with {{{{> name}}}}")]
    UsesDecorator {
        /// What is used.
        what: String,
    },
}

/// Checks a template. `partials` are the names that it may include. An error comes with its line, when known.
pub fn check(template: &Template, partials: &[String]) -> Result<(), (Option<usize>, LintError)> {
    let mut includes = BTreeSet::new();
    walk(template, None, partials, &mut includes)
}

/// Refuses partials that include each other in a circle: rendering would never end.
pub(crate) fn check_circles(partials: &BTreeMap<String, &Template>) -> Result<(), LintError> {
    let known: Vec<String> = partials.keys().cloned().collect();
    let includes: BTreeMap<&str, BTreeSet<String>> = partials
        .iter()
        .map(|(name, template)| {
            let mut includes = BTreeSet::new();
            let _ = walk(template, None, &known, &mut includes); // its errors were told by `check`
            (name.as_str(), includes)
        })
        .collect();
    for name in partials.keys() {
        let mut reached: BTreeSet<&str> = BTreeSet::new();
        let mut next: Vec<&str> = vec![name];
        while let Some(at) = next.pop() {
            for include in includes.get(at).into_iter().flatten() {
                if include == name {
                    return Err(LintError::IncludesItself { name: name.clone() });
                }
                if reached.insert(include) {
                    next.push(include);
                }
            }
        }
    }
    Ok(())
}

fn walk(
    template: &Template,
    line: Option<usize>,
    partials: &[String],
    includes: &mut BTreeSet<String>,
) -> Result<(), (Option<usize>, LintError)> {
    for (index, element) in template.elements.iter().enumerate() {
        let line = template.mapping.get(index).map(|at: &TemplateMapping| at.0).or(line);
        let at = |error| (line, error);
        match element {
            TemplateElement::RawString(_) | TemplateElement::Comment(_) => {}
            TemplateElement::Expression(call) => check_printed(call).map_err(at)?,
            TemplateElement::HtmlExpression(call) => {
                return Err(at(LintError::PrintsBareValue {
                    what: name_of(&call.name),
                }));
            }
            TemplateElement::HelperBlock(block) => {
                let name = name_of(&block.name);
                if !BLOCKS.contains(&name.as_str()) {
                    return Err(at(LintError::CallsUnknownHelper { name }));
                }
                check_values(block.params.iter().chain(block.hash.values())).map_err(at)?;
                for inner in block.template.iter().chain(&block.inverse) {
                    walk(inner, line, partials, includes)?;
                }
            }
            TemplateElement::PartialExpression(include) => {
                let name = name_of(&include.name);
                if !partials.contains(&name) {
                    return Err(at(LintError::IncludesUnknownPartial {
                        name,
                        known: partials.to_vec(),
                    }));
                }
                includes.insert(name);
                check_values(include.params.iter().chain(include.hash.values())).map_err(at)?;
            }
            TemplateElement::PartialBlock(block)
            | TemplateElement::DecoratorExpression(block)
            | TemplateElement::DecoratorBlock(block) => {
                return Err(at(LintError::UsesDecorator {
                    what: name_of(&block.name),
                }));
            }
            // A later Handlebars may have more: refused until somebody looked at it.
            _ => {
                return Err(at(LintError::UsesDecorator {
                    what: "an unknown tag".to_owned(),
                }));
            }
        }
    }
    Ok(())
}

/// `{{…}}`: nothing but `{{json x}}`.
fn check_printed(call: &HelperTemplate) -> Result<(), LintError> {
    let name = name_of(&call.name);
    if name == "json" {
        return check_call(&name, &call.params, call.hash.values());
    }
    let is_call = !call.params.is_empty() || !call.hash.is_empty();
    if is_call && !VALUES.contains(&name.as_str()) {
        return Err(LintError::CallsUnknownHelper { name });
    }
    Err(LintError::PrintsBareValue { what: name })
}

fn check_values<'a>(values: impl Iterator<Item = &'a Parameter>) -> Result<(), LintError> {
    for value in values {
        if let Parameter::Subexpression(inner) = value {
            let TemplateElement::Expression(call) = inner.as_element() else {
                continue;
            };
            check_call(&name_of(&call.name), &call.params, call.hash.values())?;
        }
    }
    Ok(())
}

fn check_call<'a>(
    name: &str,
    params: &'a [Parameter],
    hash: impl ExactSizeIterator<Item = &'a Parameter>,
) -> Result<(), LintError> {
    if !VALUES.contains(&name) {
        return Err(LintError::CallsUnknownHelper { name: name.to_owned() });
    }
    if name == "json" && (params.len() != 1 || hash.len() != 0) {
        return Err(LintError::CallsJsonWrongly);
    }
    check_values(params.iter().chain(hash))
}

fn name_of(name: &Parameter) -> String {
    name.as_name().map_or_else(|| "(…)".to_owned(), str::to_owned)
}
