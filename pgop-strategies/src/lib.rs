//! Strategies of pgop: the built-in ones, and those that people write as folders of templates.
//!
//! A strategy decides which Kubernetes objects a `PgDatabase`, `PgCluster` or `PgBackup` becomes; its trait is
//! [`pgop_core::strategy::Strategy`]. Most strategies are **bundles**: a folder with a `strategy.yaml` and Handlebars templates.
//!
//! ```
//! use pgop_core::crd::PgCluster;
//! use pgop_core::managed::Managed;
//!
//! let registry = pgop_strategies::builtin()?;
//! let strategy = PgCluster::family(&registry).get("streaming").unwrap();
//! assert_eq!(strategy.description().aliases, ["1"]);
//! # Ok::<(), pgop_strategies::BundleError>(())
//! ```
//!
//! Where to read on:
//! - [`bundle`]: the format of a bundle
//! - [`context`]: what templates see
//! - [`lint`]: what templates may use; values get into the text only through `{{json x}}`, so they can never become structure
//! - [`documents`]: how rendered text becomes manifests; a field that the type does not know is an error
//! - [`conformance`]: rules that every strategy has to keep, and [`conformance::check`], which runs them on yours

use std::path::Path;
use std::sync::Arc;

use pgop_core::crd::{PgBackup, PgCluster, PgDatabase};
use pgop_core::owner::ResourceKind;
use pgop_core::registry::{Family, Registry};

pub mod bundle;
pub mod conformance;
pub mod context;
pub mod documents;
mod folder;
mod helper;
pub mod lint;
mod render;
mod strategy;

pub use bundle::{Bundle, BundleError};
pub use folder::{Folder, FolderError};
pub use render::{RenderFailed, TemplateRefused};
pub use strategy::{BundleStrategy, RenderedError};

/// The built-in strategies, for an agent of this version.
///
/// ```
/// let registry = pgop_strategies::builtin()?;
/// let names: Vec<_> = registry.databases.iter().map(|s| s.description().name.as_str()).collect();
/// assert_eq!(names, ["standalone"]);
/// # Ok::<(), pgop_strategies::BundleError>(())
/// ```
pub fn builtin() -> Result<Registry, BundleError> {
    Loader::default().builtin()
}

/// Adds every bundle below a folder on disk, for an agent of this version: [`Loader::load_dir`].
pub fn load_dir(registry: &mut Registry, path: &Path) -> Result<Vec<(ResourceKind, String)>, BundleError> {
    Loader::default().load_dir(registry, path)
}

/// Makes strategies of bundles.
#[derive(Clone, Debug)]
pub struct Loader {
    /// Image with the agent that runs in the pods: the operator's own.
    pub agent_image: String,
}

impl Default for Loader {
    /// The agent of this version.
    fn default() -> Self {
        Self {
            agent_image: format!("ghcr.io/pgop/operator:{}", env!("CARGO_PKG_VERSION")),
        }
    }
}

impl Loader {
    /// The built-in strategies.
    pub fn builtin(&self) -> Result<Registry, BundleError> {
        let mut registry = Registry::default();
        self.add(&mut registry, &Folder::builtin())?;
        Ok(registry)
    }

    /// Adds every bundle below a folder on disk, laid out as `<bundle>/strategy.yaml` (each bundle may be a mounted `ConfigMap`) or as
    /// `<kind>/<bundle>/strategy.yaml` (like the project's `templates/`). Returns what was added.
    ///
    /// One broken bundle is an error: an operator that started without it would leave its resources alone.
    ///
    /// ```
    /// # let folder = std::env::temp_dir().join(format!("pgop-load-dir-{}", std::process::id()));
    /// # std::fs::create_dir_all(folder.join("tiny")).unwrap();
    /// # std::fs::write(folder.join("tiny/strategy.yaml"), "{name: tiny, kind: PgDatabase, version: 1, summary: Just a Service.}").unwrap();
    /// # std::fs::write(folder.join("tiny/service.yaml.hbs"), "apiVersion: v1\nkind: Service\nmetadata: {name: {{json name}} }\n").unwrap();
    /// let loader = pgop_strategies::Loader::default();
    /// let mut registry = loader.builtin()?;
    /// let added = loader.load_dir(&mut registry, &folder)?;
    /// assert_eq!(added[0].1, "tiny");
    /// assert!(registry.databases.get("tiny").is_ok());
    /// # std::fs::remove_dir_all(folder).unwrap();
    /// # Ok::<(), pgop_strategies::BundleError>(())
    /// ```
    pub fn load_dir(&self, registry: &mut Registry, path: &Path) -> Result<Vec<(ResourceKind, String)>, BundleError> {
        // Added to a copy: after an error the registry is as it was.
        let mut new = registry.clone();
        let added = self.add(&mut new, &Folder::read(path)?)?;
        if added.is_empty() {
            return Err(BundleError::FindBundle {
                folder: path.display().to_string(),
            });
        }
        *registry = new;
        Ok(added)
    }

    fn add(&self, registry: &mut Registry, folder: &Folder) -> Result<Vec<(ResourceKind, String)>, BundleError> {
        let mut added = Vec::new();
        for at in folder.bundles() {
            let bundle = Bundle::read(folder, at)?;
            let file = folder.display(&folder::join(at, bundle::DESCRIPTOR));
            added.push((bundle.kind(), bundle.description().name.clone()));
            let agent = &self.agent_image;
            match bundle.kind() {
                ResourceKind::PgDatabase => add_to::<PgDatabase>(&mut registry.databases, bundle, agent, file)?,
                ResourceKind::PgCluster => add_to::<PgCluster>(&mut registry.clusters, bundle, agent, file)?,
                ResourceKind::PgBackup => add_to::<PgBackup>(&mut registry.backups, bundle, agent, file)?,
            }
        }
        Ok(added)
    }
}

fn add_to<R: context::TemplateContext>(
    family: &mut Family<R>,
    bundle: Bundle,
    agent_image: &str,
    file: String,
) -> Result<(), BundleError> {
    let strategy = BundleStrategy::<R>::new(bundle)?.with_agent(agent_image);
    family
        .add(Arc::new(strategy))
        .map_err(|source| BundleError::Register { file, source })
}
