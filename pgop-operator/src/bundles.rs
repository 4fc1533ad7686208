//! The strategies: those that are built in, and those in the folders that were named.

use std::path::PathBuf;

use pgop_core::Registry;
use pgop_strategies::{BundleError, Loader};
use thiserror::Error;

/// Why the strategies can't be used.
#[derive(Debug, Error)]
pub enum BundlesError {
    /// One of ours is broken.
    #[error("a built-in strategy is broken, which is a fault of pgop: {0}")]
    BuiltIn(#[source] BundleError),
    /// One of theirs is.
    #[error("--strategies {}: {source}; resources of a strategy that is missing would be left alone, so nothing is started", folder.display())]
    Load {
        /// The folder.
        folder: PathBuf,
        /// File, line and problem.
        source: BundleError,
    },
}

/// All strategies. One broken bundle is an error.
pub fn load(loader: &Loader, folders: &[PathBuf]) -> Result<Registry, BundlesError> {
    let mut registry = loader.builtin().map_err(BundlesError::BuiltIn)?;
    for folder in folders.iter().filter(|folder| !folder.as_os_str().is_empty()) {
        let added = loader
            .load_dir(&mut registry, folder)
            .map_err(|source| BundlesError::Load {
                folder: folder.clone(),
                source,
            })?;
        for (kind, name) in added {
            tracing::info!(kind = kind.as_str(), name, folder = %folder.display(), "strategy");
        }
    }
    Ok(registry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_strategies_are_there() {
        let registry = load(&Loader::default(), &[PathBuf::new()]).unwrap();
        assert!(
            registry.databases.get("1").is_ok()
                && registry.clusters.get("1").is_ok()
                && registry.backups.get("1").is_ok()
        );
    }

    #[test]
    fn a_broken_bundle_names_its_folder_and_the_flag() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("mine")).unwrap();
        std::fs::write(folder.path().join("mine/strategy.yaml"), "name: mine\nkind: PgTable\n").unwrap();
        let error = load(&Loader::default(), &[folder.path().to_owned()])
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("--strategies /") && error.contains("strategy.yaml"),
            "{error}"
        );
    }
}
