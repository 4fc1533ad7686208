//! Templates: compiled and checked when a bundle is loaded, rendered for each resource.

use std::collections::BTreeMap;

use handlebars::{Context, Handlebars, RenderError, RenderErrorReason, TemplateError, no_escape};
use serde_json::Value;
use thiserror::Error;

use crate::helper;
use crate::lint::{self, LintError};

/// The compiled templates of one bundle.
#[derive(Clone, Debug)]
pub(crate) struct Renderer {
    handlebars: Handlebars<'static>,
    /// Files of the templates, in the order in which they are rendered.
    templates: Vec<String>,
    /// Text of every template and partial, with its file, by the name Handlebars knows it by.
    sources: BTreeMap<String, Source>,
}

/// A template or partial.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Its file, as an error names it.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// Why a template is refused when its bundle is loaded.
#[derive(Debug, Error)]
pub enum TemplateRefused {
    /// It is no Handlebars.
    #[error("{}: {reason}", place(.file, *.line))]
    ParseTemplate {
        /// Its file.
        file: String,
        /// Line, when known.
        line: Option<usize>,
        /// What the parser says.
        reason: String,
    },
    /// It uses something that it may not use.
    #[error("{}: {source}", place(.file, *.line))]
    CheckTemplate {
        /// Its file.
        file: String,
        /// Line, when known.
        line: Option<usize>,
        /// What it uses, and what to write instead.
        source: LintError,
    },
}

/// Why a template could not be rendered for one resource.
#[derive(Debug, Error)]
#[error("{}{reason}", line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct RenderFailed {
    /// File of the template, or of the partial that it includes.
    pub file: String,
    /// Line, when known.
    pub line: Option<usize>,
    /// Why.
    pub reason: String,
}

impl Renderer {
    /// Compiles and checks templates, and the partials that they may include (by name).
    pub(crate) fn compile(templates: Vec<Source>, partials: BTreeMap<String, Source>) -> Result<Self, TemplateRefused> {
        let mut handlebars = Handlebars::new();
        handlebars.set_strict_mode(true);
        handlebars.register_escape_fn(no_escape);
        helper::register(&mut handlebars);
        let names: Vec<String> = partials.keys().cloned().collect();
        let files = templates.iter().map(|template| template.file.clone()).collect();
        let mut sources = partials;
        sources.extend(templates.into_iter().map(|template| (template.file.clone(), template)));
        for (name, Source { file, text }) in &sources {
            handlebars
                .register_template_string(name, text)
                .map_err(|error| parse_error(file, &error))?;
            if let Some(template) = handlebars.get_template(name) {
                lint::check(template, &names).map_err(|(line, source)| TemplateRefused::CheckTemplate {
                    file: file.clone(),
                    line,
                    source,
                })?;
            }
        }
        let compiled = names
            .iter()
            .filter_map(|name| Some((name.clone(), handlebars.get_template(name)?)))
            .collect();
        lint::check_circles(&compiled).map_err(|source| {
            let LintError::IncludesItself { name } = &source else {
                unreachable!("the one error of check_circles")
            };
            TemplateRefused::CheckTemplate {
                file: sources[name].file.clone(),
                line: None,
                source,
            }
        })?;
        Ok(Self {
            handlebars,
            templates: files,
            sources,
        })
    }

    /// Renders every template: its file and the text.
    pub(crate) fn render(&self, context: Value) -> Result<Vec<(&str, String)>, RenderFailed> {
        let context = Context::from(context);
        self.templates
            .iter()
            .map(|file| {
                let text = self
                    .handlebars
                    .render_with_context(file, &context)
                    .map_err(|error| self.failed(file, &error))?;
                Ok((file.as_str(), text))
            })
            .collect()
    }

    /// Where a key is written, as `file:line`, if that is in one place only.
    pub(crate) fn place_of_key(&self, key: &str) -> Option<String> {
        let mut places = self.sources.values().flat_map(|source| {
            let lines = source
                .text
                .lines()
                .enumerate()
                .filter(|(_, line)| writes_key(line, key));
            lines.map(|(index, _)| place(&source.file, Some(index + 1)))
        });
        let first = places.next()?;
        places.next().is_none().then_some(first)
    }

    fn failed(&self, template: &str, error: &RenderError) -> RenderFailed {
        let name = error.template_name.as_deref().unwrap_or(template);
        let file = self.sources.get(name).map_or(name, |source| &source.file);
        let reason = match error.reason() {
            RenderErrorReason::MissingVariable(Some(path)) => format!("there is no value `{path}`"),
            RenderErrorReason::MissingVariable(None) => {
                "a value that is looked up or compared does not exist".to_owned()
            }
            other => other.to_string(),
        };
        RenderFailed {
            file: file.to_owned(),
            line: error.line_no,
            reason,
        }
    }
}

fn parse_error(file: &str, error: &TemplateError) -> TemplateRefused {
    TemplateRefused::ParseTemplate {
        file: file.to_owned(),
        line: error.pos().map(|(line, _)| line),
        reason: error
            .reason()
            .to_string()
            .lines()
            .map(str::trim)
            .collect::<Vec<_>>()
            .join(" "),
    }
}

fn place(file: &str, line: Option<usize>) -> String {
    line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"))
}

/// Whether a line has `key:` as a word of its own.
fn writes_key(line: &str, key: &str) -> bool {
    line.match_indices(key).any(|(at, _)| {
        let is_word = |c: char| c.is_alphanumeric() || c == '-' || c == '.' || c == '/';
        let rest = line[at + key.len()..].trim_start_matches(['"', '\'']);
        !line[..at].ends_with(is_word) && rest.starts_with(':')
    })
}
