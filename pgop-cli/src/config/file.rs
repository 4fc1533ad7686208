//! The configuration file: found, read, and every key in it known.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer, MapAccess, Visitor};
use thiserror::Error;

use super::key::Key;

/// Why a configuration file can't be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// It was named and is not there, or can't be read.
    #[error("configuration file {path} can't be read: {source}; check --config")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its name tells no format.
    #[error("configuration file {path} ends in none of .yaml, .yml, .json, .toml")]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// It is not what its name says, or has an unknown key.
    #[error("configuration file {path}{}: {problem}", at(*line))]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, where it is known.
        line: Option<usize>,
        /// What is wrong.
        problem: String,
    },
}

fn at(line: Option<usize>) -> String {
    line.map(|n| format!(", line {n}")).unwrap_or_default()
}

/// A configuration file that was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Where it lies.
    pub path: PathBuf,
    /// Value and line of each key that is set.
    pub values: BTreeMap<&'static str, (String, usize)>,
}

const ENDINGS: [&str; 4] = ["yaml", "yml", "json", "toml"];

/// The first `.pgo.*` in these directories.
pub fn find(directories: &[PathBuf]) -> Option<PathBuf> {
    directories
        .iter()
        .flat_map(|dir| ENDINGS.map(|end| dir.join(format!(".pgo.{end}"))))
        .find(|path| path.is_file())
}

/// Reads a file by the format that its name tells.
pub fn read(path: &Path) -> Result<File, FileError> {
    let text = std::fs::read_to_string(path).map_err(|source| FileError::Read {
        path: path.to_owned(),
        source,
    })?;
    let ending = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    // A file named `pgo` or `config` by --config is taken for YAML, of which JSON is a part.
    match ending.as_deref() {
        Some("toml") => parse_toml(path, &text),
        Some("yaml" | "yml" | "json") | None => parse_yaml(path, &text),
        Some(_) => Err(FileError::Format { path: path.to_owned() }),
    }
}

fn parse_yaml(path: &Path, text: &str) -> Result<File, FileError> {
    let content = |line, problem| FileError::Content {
        path: path.to_owned(),
        line,
        problem,
    };
    // `Option`: an empty file is no mapping, and that is fine.
    let keys: Option<Keys<YamlValue>> = serde_saphyr::from_str(text).map_err(|error| {
        let line = error
            .location()
            .and_then(|at| usize::try_from(at.line()).ok())
            .filter(|line| *line > 0);
        content(line, plain(&error.without_snippet().to_string()))
    })?;
    collect(path, text, keys.unwrap_or_default())
}

fn parse_toml(path: &Path, text: &str) -> Result<File, FileError> {
    let keys: Keys<TomlValue> = toml::from_str(text).map_err(|error| FileError::Content {
        path: path.to_owned(),
        line: error.span().map(|span| line_of(text, span.start)),
        problem: plain(error.message()),
    })?;
    collect(path, text, keys)
}

/// The parser's message in one line, without the place that we give ourselves.
fn plain(message: &str) -> String {
    let message = message.lines().next().unwrap_or_default();
    let cut = message
        .find(" at line ")
        .or_else(|| message.find(" (line "))
        .unwrap_or(message.len());
    let message = &message[..cut];
    match message.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
        Some((_, rest)) => rest.to_owned(),
        None => message.to_owned(),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1)
}

fn collect<V: Value>(path: &Path, text: &str, keys: Keys<V>) -> Result<File, FileError> {
    let mut file = File {
        path: path.to_owned(),
        values: BTreeMap::new(),
    };
    for (key, value) in keys.0 {
        let (value, line) = value.get(text);
        let Some(value) = value else { continue }; // `PVC_NAME:` with nothing after it is not set
        if file.values.insert(key.name, (value, line)).is_some() {
            let problem = format!("{} is set twice (case does not matter)", key.name);
            return Err(FileError::Content {
                path: path.to_owned(),
                line: Some(line),
                problem,
            });
        }
    }
    Ok(file)
}

/// A scalar as it was written, and where.
trait Value: DeserializeOwned {
    fn get(self, text: &str) -> (Option<String>, usize);
}

/// Read as text, so that `0123`, `15.10` and `yes` stay what they are.
#[derive(Debug, Deserialize)]
struct YamlValue(serde_saphyr::Spanned<Option<String>>);

impl Value for YamlValue {
    fn get(self, _: &str) -> (Option<String>, usize) {
        (self.0.value, usize::try_from(self.0.referenced.line()).unwrap_or(0))
    }
}

#[derive(Debug, Deserialize)]
struct TomlValue(toml::Spanned<TomlScalar>);

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum TomlScalar {
    Text(String),
    Number(i64),
    Switch(bool),
}

impl Value for TomlValue {
    fn get(self, text: &str) -> (Option<String>, usize) {
        let line = line_of(text, self.0.span().start);
        let value = match self.0.into_inner() {
            TomlScalar::Text(text) => text,
            TomlScalar::Number(number) => number.to_string(),
            TomlScalar::Switch(switch) => switch.to_string(),
        };
        (Some(value), line)
    }
}

/// Known keys and their values; `DB: {PORT: 1}` is `DB.PORT`.
struct Keys<V>(Vec<(&'static Key, V)>);

impl<V> Default for Keys<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, V: Value> Deserialize<'de> for Keys<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Section {
            name: None,
            value: std::marker::PhantomData,
        })
    }
}

/// The top level, or one section.
struct Section<V> {
    name: Option<String>,
    value: std::marker::PhantomData<V>,
}

impl<'de, V: Value> Visitor<'de> for Section<V> {
    type Value = Keys<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            None => f.write_str("keys and sections (DB, CLUSTER, BACKUP, PGO)"),
            Some(name) => write!(f, "the keys of section {name}"),
        }
    }

    fn visit_none<E: de::Error>(self) -> Result<Keys<V>, E> {
        Ok(Keys::default()) // `DB:` with nothing below it
    }

    fn visit_unit<E: de::Error>(self) -> Result<Keys<V>, E> {
        Ok(Keys::default())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Keys<V>, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys<V>, A::Error> {
        let mut keys = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let name = self
                .name
                .as_ref()
                .map_or_else(|| key.clone(), |section| format!("{section}.{key}"));
            if let Some(key) = Key::find(&name) {
                keys.push((key, map.next_value()?));
            } else if self.name.is_none() && is_section(&key) {
                let section = Section {
                    name: Some(key),
                    value: std::marker::PhantomData,
                };
                keys.extend(map.next_value_seed(Seed(section))?.0);
            } else {
                let hint = Key::nearest(&name).map_or_else(
                    || "`pgo config` lists the keys".to_owned(),
                    |key| format!("did you mean {}?", key.name),
                );
                return Err(de::Error::custom(format!("there is no key {name}; {hint}")));
            }
        }
        Ok(Keys(keys))
    }
}

fn is_section(name: &str) -> bool {
    ["DB", "CLUSTER", "BACKUP", "PGO"]
        .iter()
        .any(|section| section.eq_ignore_ascii_case(name))
}

struct Seed<V>(Section<V>);

impl<'de, V: Value> de::DeserializeSeed<'de> for Seed<V> {
    type Value = Keys<V>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Keys<V>, D::Error> {
        deserializer.deserialize_option(self.0)
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
