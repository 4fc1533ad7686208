//! From rendered text to manifests: YAML, then the type of each object.

use pgop_core::manifest::{Manifest, ManifestError};
use serde_json::Value;
use serde_saphyr::Spanned;
use thiserror::Error;

/// Why a rendered text is not a list of manifests.
#[derive(Debug, Error)]
pub enum DocumentsError {
    /// It is no YAML.
    #[error("it rendered no valid YAML: {reason}{}", rendered(*.line, .text))]
    ParseYaml {
        /// What the parser says.
        reason: String,
        /// Line of the rendered text, when known.
        line: Option<u64>,
        /// That line.
        text: String,
    },
    /// One document is no manifest.
    #[error("{source}{}", rendered(Some(*.line), .text))]
    ReadManifest {
        /// What is wrong with it.
        source: ManifestError,
        /// Line of the rendered text where the document starts.
        line: u64,
        /// That line.
        text: String,
    },
}

/// Reads each YAML document of `text` as a manifest; empty ones are left out.
///
/// YAML 1.2 is read strictly: `yes` is a text and `0755` is refused as a number, because YAML 1.1 reads them otherwise.
///
/// ```
/// let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: hippo-config}\n---\n---\n# nothing\n";
/// let manifests = pgop_strategies::documents::manifests(text)?;
/// assert_eq!(manifests[0].name(), "hippo-config");
/// assert_eq!(manifests.len(), 1);
/// # Ok::<(), pgop_strategies::documents::DocumentsError>(())
/// ```
pub fn manifests(text: &str) -> Result<Vec<Manifest>, DocumentsError> {
    let documents: Vec<Spanned<Value>> =
        serde_saphyr::from_multiple_with_options(text, yaml_options()).map_err(|error| {
            let line = error.location().map(|at| at.line());
            DocumentsError::ParseYaml {
                reason: one_line(&error),
                line,
                text: line_of(text, line),
            }
        })?;
    documents
        .into_iter()
        .map(|document| {
            let line = document.referenced.line();
            Manifest::from_value(document.value).map_err(|source| DocumentsError::ReadManifest {
                source,
                line,
                text: line_of(text, Some(line)),
            })
        })
        .collect()
}

/// How bundles and what they render are read. A key may be as long as a person typed it.
pub(crate) fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        reject_unsupported_tags: true,
        with_snippet: false,
        budget: serde_saphyr::budget! { simple_key_max_lookahead: 1 << 20 },
    }
}

/// The parser's message without the place, which is told apart.
pub(crate) fn one_line(error: &serde_saphyr::Error) -> String {
    error.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

fn line_of(text: &str, line: Option<u64>) -> String {
    let index = line.and_then(|line| usize::try_from(line).ok()).unwrap_or(0);
    text.lines()
        .nth(index.saturating_sub(1))
        .unwrap_or_default()
        .chars()
        .take(100)
        .collect()
}

fn rendered(line: Option<u64>, text: &str) -> String {
    line.map(|line| format!(" (line {line} of the rendered text: `{}`)", text.trim()))
        .unwrap_or_default()
}
