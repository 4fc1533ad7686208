//! A bundle: a strategy as a folder of templates, read and checked.
//!
//! The format is described in one place, `docs/strategies.md`, section "A bundle".

use std::collections::{BTreeMap, BTreeSet};

use pgop_core::owner::ResourceKind;
use pgop_core::registry::NameClash;
use pgop_core::strategy::{Description, Members, Names};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use thiserror::Error;

use crate::documents::{one_line, yaml_options};
use crate::folder::{Folder, FolderError, join};
use crate::render::{Renderer, Source, TemplateRefused};

/// The file that makes a folder a bundle.
pub const DESCRIPTOR: &str = "strategy.yaml";
/// How the name of a template ends.
pub const TEMPLATE: &str = ".yaml.hbs";
/// How the name of a partial ends that lies beside the templates.
pub const FLAT_PARTIAL: &str = ".partial.hbs";
/// Longest name of a strategy, as in the schema of `spec.strategy`.
const MAX_NAME: usize = 63;

/// A bundle, read and checked.
#[derive(Clone, Debug)]
pub struct Bundle {
    pub(crate) kind: ResourceKind,
    pub(crate) description: Description,
    pub(crate) files: BTreeMap<String, String>,
    pub(crate) renderer: Renderer,
}

/// `strategy.yaml`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Descriptor {
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(deserialize_with = "resource_kind")]
    kind: ResourceKind,
    version: i64,
    summary: String,
    #[serde(default = "no_parameters")]
    parameters: Value,
    #[serde(default)]
    files: Vec<String>,
    #[serde(default)]
    partials: Vec<String>,
    #[serde(default)]
    members: Members,
    #[serde(default)]
    names: Names,
}

/// Why a bundle can't be loaded. Every message names the file, the line where that is known, and what to do.
#[derive(Debug, Error)]
pub enum BundleError {
    /// The folder can't be read.
    #[error(transparent)]
    ReadFolder(#[from] FolderError),
    /// There is no bundle in a folder.
    #[error(
        "{folder} holds no {DESCRIPTOR}: a bundle is a folder with one, at <folder>/<bundle>/ or <folder>/<kind>/<bundle>/"
    )]
    FindBundle {
        /// The folder.
        folder: String,
    },
    /// `strategy.yaml` is wrong.
    #[error("{file} can't be read: {reason}")]
    ReadDescriptor {
        /// The file.
        file: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// A field of `strategy.yaml` has a value that can't be used.
    #[error("{file}: {field} {problem}")]
    CheckDescriptor {
        /// The file.
        file: String,
        /// The field.
        field: &'static str,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A file or partial is listed and nowhere to be found.
    #[error("{file} lists {name} under {field}, and there is no such file; looked for {}", looked.join(", "))]
    FindFile {
        /// The descriptor.
        file: String,
        /// `files` or `partials`.
        field: &'static str,
        /// The name.
        name: String,
        /// Where it could have been.
        looked: Vec<String>,
    },
    /// A file that looks like a template and is not used.
    #[error(
        "{file} is not used: name it <name>{TEMPLATE} if it is a template, list it in {DESCRIPTOR} under files or partials, or remove it"
    )]
    UseFile {
        /// The file.
        file: String,
    },
    /// A template is refused.
    #[error(transparent)]
    CompileTemplate(#[from] TemplateRefused),
    /// Another strategy has the name.
    #[error("{file}: {source}; choose another name")]
    Register {
        /// The descriptor.
        file: String,
        /// The clash.
        source: NameClash,
    },
    /// A bundle of one kind was asked for as another.
    #[error("strategy {name} is for a {}, not for a {}", is.as_str(), wanted.as_str())]
    UseAs {
        /// Its name.
        name: String,
        /// Its kind.
        is: ResourceKind,
        /// What was asked for.
        wanted: ResourceKind,
    },
}

impl Bundle {
    /// Reads the bundle in `at`, a path of `folder` (the empty path is the folder itself).
    ///
    /// ```
    /// use pgop_strategies::{Bundle, Folder};
    /// let bundle = Bundle::read(&Folder::builtin(), "cluster/streaming")?;
    /// assert_eq!(bundle.description().name, "streaming");
    /// # Ok::<(), pgop_strategies::BundleError>(())
    /// ```
    pub fn read(folder: &Folder, at: &str) -> Result<Self, BundleError> {
        let file = folder.display(&join(at, DESCRIPTOR));
        let text = folder.text(&join(at, DESCRIPTOR));
        let text = text.ok_or_else(|| BundleError::FindBundle {
            folder: folder.display(at),
        })?;
        let descriptor: Descriptor =
            serde_saphyr::from_str_with_options(text, yaml_options()).map_err(|error| BundleError::ReadDescriptor {
                file: file.clone(),
                reason: one_line(&error),
            })?;
        check(&descriptor).map_err(|(field, problem)| BundleError::CheckDescriptor {
            file: file.clone(),
            field,
            problem,
        })?;

        let builtin = Folder::builtin();
        let find = |field: &'static str, name: &str, ending: &str, flat: &str| {
            let shared = join(field, &format!("{name}{ending}"));
            let own = [join(at, &shared), join(at, &format!("{name}{flat}"))];
            let places = [
                (folder, &own[0]),
                (folder, &own[1]),
                (folder, &shared),
                (&builtin, &shared),
            ];
            let found = places
                .iter()
                .find_map(|(folder, path)| Some((*folder, (*path).clone(), folder.text(path)?)));
            found.ok_or_else(|| BundleError::FindFile {
                file: file.clone(),
                field,
                name: name.to_owned(),
                looked: places.iter().map(|(folder, path)| folder.display(path)).collect(),
            })
        };
        let mut files = BTreeMap::new();
        let mut used = BTreeSet::from([join(at, DESCRIPTOR)]);
        for name in &descriptor.files {
            let (_, path, text) = find("files", name, "", "")?;
            files.insert(name.clone(), text.to_owned());
            used.insert(path);
        }
        let mut partials = BTreeMap::new();
        for name in &descriptor.partials {
            let (owner, path, text) = find("partials", name, TEMPLATE, FLAT_PARTIAL)?;
            partials.insert(
                name.clone(),
                Source {
                    file: owner.display(&path),
                    text: text.to_owned(),
                },
            );
            used.insert(path);
        }
        let mut templates = Vec::new();
        for name in folder.names_in(at) {
            let path = join(at, name);
            if name.ends_with(TEMPLATE) && !used.contains(&path) {
                let text = folder.text(&path).unwrap_or_default().to_owned();
                templates.push(Source {
                    file: folder.display(&path),
                    text,
                });
                used.insert(path);
            }
        }
        if templates.is_empty() {
            let problem = format!("describes no templates: add <name>{TEMPLATE} beside it");
            return Err(BundleError::CheckDescriptor {
                file,
                field: "the bundle",
                problem,
            });
        }
        if let Some(unused) = unused(folder, at, &used) {
            return Err(BundleError::UseFile {
                file: folder.display(unused),
            });
        }
        Ok(Self {
            kind: descriptor.kind,
            renderer: Renderer::compile(templates, partials)?,
            files,
            description: Description {
                name: descriptor.name,
                aliases: descriptor.aliases,
                version: descriptor.version,
                summary: descriptor.summary,
                parameters: descriptor.parameters,
                members: descriptor.members,
                names: descriptor.names,
            },
        })
    }

    /// For which kind of resource it is.
    pub fn kind(&self) -> ResourceKind {
        self.kind
    }

    /// What it is.
    pub fn description(&self) -> &Description {
        &self.description
    }
}

/// A template or YAML file below the bundle that nothing uses: most likely a name was spelled wrongly.
fn unused<'a>(folder: &'a Folder, at: &str, used: &BTreeSet<String>) -> Option<&'a str> {
    if at.is_empty() {
        return None; // other bundles may lie below
    }
    let prefix = join(at, "");
    let looks_used = |path: &str| [".hbs", ".yaml", ".yml"].iter().any(|ending| path.ends_with(ending));
    folder
        .paths()
        .find(|path| path.starts_with(&prefix) && looks_used(path) && !used.contains(*path))
}

fn check(descriptor: &Descriptor) -> Result<(), (&'static str, String)> {
    let names =
        std::iter::once(("name", &descriptor.name)).chain(descriptor.aliases.iter().map(|alias| ("aliases", alias)));
    for (field, name) in names {
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err((
                field,
                format!("has `{name}`: give 1 to {MAX_NAME} characters without spaces"),
            ));
        }
    }
    if descriptor.version < 1 {
        return Err(("version", format!("is {}: count from 1", descriptor.version)));
    }
    for (field, names) in [("files", &descriptor.files), ("partials", &descriptor.partials)] {
        if let Some(name) = names
            .iter()
            .find(|name| name.is_empty() || name.contains('/') || name.starts_with('.'))
        {
            return Err((field, format!("has `{name}`: give plain file names")));
        }
    }
    descriptor
        .names
        .check()
        .map_err(|(field, problem)| (field, problem.to_owned()))?;
    check_schema(&descriptor.parameters).map_err(|problem| ("parameters", problem))
}

/// The schema has to be one of an object, and its defaults have to fit it.
fn check_schema(schema: &Value) -> Result<(), String> {
    if schema.get("type") != Some(&json!("object")) {
        return Err("is no schema of an object: start it with `type: object`".to_owned());
    }
    jsonschema::validator_for(schema).map_err(|error| format!("is no JSON schema: {error}"))?;
    for (name, property) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let Some(default) = property.get("default") else {
            continue;
        };
        // A property that refers to other parts of the schema can't be checked alone.
        let Ok(validator) = jsonschema::validator_for(property) else {
            continue;
        };
        if let Some(error) = validator.iter_errors(default).next() {
            return Err(format!(
                "has a default for `{name}` that its own schema refuses: {error}"
            ));
        }
    }
    Ok(())
}

fn no_parameters() -> Value {
    json!({"type": "object", "additionalProperties": false})
}

fn resource_kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ResourceKind, D::Error> {
    let text = String::deserialize(deserializer)?;
    ResourceKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| {
            let known = ResourceKind::ALL.map(ResourceKind::as_str).join(", ");
            serde::de::Error::custom(format!("kind `{text}` is none of {known}"))
        })
}
