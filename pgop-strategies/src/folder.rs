//! The texts that bundles are made of: those in the binary, or those of a folder on disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use include_dir::{Dir, include_dir};
use thiserror::Error;

static BUILTIN: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/templates");

/// How deep a folder is read: `<kind>/<bundle>/files/<file>`.
const DEPTH: usize = 4;

/// The texts below one folder, by their path in it (with `/`, on every platform).
///
/// ```
/// let builtin = pgop_strategies::Folder::builtin();
/// assert!(builtin.text("database/standalone/strategy.yaml").is_some());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folder {
    root: PathBuf,
    texts: BTreeMap<String, String>,
}

/// Why a folder can't be read.
#[derive(Debug, Error)]
pub enum FolderError {
    /// It, or a folder in it, can't be listed.
    #[error("folder {} can't be read: {source}", path.display())]
    ListFolder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file can't be read as text.
    #[error("file {} can't be read as UTF-8 text: {source}; if it is no part of a bundle, move it or start its name with a dot", path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Folder {
    /// The folder in the binary, laid out as the project's `templates/`.
    pub fn builtin() -> Self {
        fn collect(dir: &Dir<'_>, texts: &mut BTreeMap<String, String>) {
            for file in dir.files() {
                if let (Some(path), Some(text)) = (file.path().to_str(), file.contents_utf8()) {
                    texts.insert(path.to_owned(), text.to_owned());
                }
            }
            dir.dirs().for_each(|dir| collect(dir, texts));
        }
        let mut folder = Self::default();
        collect(&BUILTIN, &mut folder.texts);
        folder
    }

    /// Reads a folder on disk. Names that start with a dot are left out: `..data` of a mounted `ConfigMap` holds every file again.
    pub fn read(root: &Path) -> Result<Self, FolderError> {
        let mut folder = Self {
            root: root.to_owned(),
            texts: BTreeMap::new(),
        };
        folder.collect("", DEPTH)?;
        Ok(folder)
    }

    /// One text.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Paths of the folders that hold a `strategy.yaml`; the empty path is this folder itself.
    pub fn bundles(&self) -> impl Iterator<Item = &str> {
        self.texts
            .keys()
            .filter_map(|path| match path.strip_suffix("strategy.yaml")? {
                "" => Some(""),
                folder => folder.strip_suffix('/'),
            })
    }

    /// Names of the texts that lie in `folder` itself, not deeper.
    pub(crate) fn names_in(&self, folder: &str) -> impl Iterator<Item = &str> {
        let prefix = join(folder, "");
        self.texts
            .keys()
            .filter_map(move |path| path.strip_prefix(&prefix).filter(|name| !name.contains('/')))
    }

    /// Paths of all texts, in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.texts.keys().map(String::as_str)
    }

    /// A path as an error names it.
    pub(crate) fn display(&self, path: &str) -> String {
        self.at(path).display().to_string()
    }

    fn at(&self, path: &str) -> PathBuf {
        if path.is_empty() {
            self.root.clone()
        } else {
            self.root.join(path)
        }
    }

    fn collect(&mut self, below: &str, depth: usize) -> Result<(), FolderError> {
        let here = self.at(below);
        let list = |source| FolderError::ListFolder {
            path: here.clone(),
            source,
        };
        for entry in fs::read_dir(&here).map_err(list)? {
            let entry = entry.map_err(list)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let path = entry.path();
            let read = |source| FolderError::ReadFile {
                path: path.clone(),
                source,
            };
            if fs::metadata(&path).map_err(read)?.is_dir() {
                if depth > 1 {
                    self.collect(&join(below, &name), depth - 1)?;
                }
            } else {
                let text = fs::read_to_string(&path).map_err(read)?;
                self.texts.insert(join(below, &name), text);
            }
        }
        Ok(())
    }
}

/// `folder/name`, where the empty folder is the root.
pub(crate) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}
