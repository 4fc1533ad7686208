//! A bundle as a strategy.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use pgop_core::managed::Managed;
use pgop_core::manifest::{Kind, Manifest, ManifestError};
use pgop_core::strategy::{Description, Strategy, StrategyError};
use serde_json::Value;
use thiserror::Error;

use crate::Loader;
use crate::bundle::{Bundle, BundleError};
use crate::context::TemplateContext;
use crate::documents::{self, DocumentsError};

/// A bundle for the resources of one kind.
#[derive(Clone, Debug)]
pub struct BundleStrategy<R> {
    bundle: Bundle,
    agent_image: String,
    kind: PhantomData<fn() -> R>,
}

/// Why what a template rendered is refused.
#[derive(Debug, Error)]
pub enum RenderedError {
    /// It is no list of manifests.
    #[error("{source}{}", place.as_ref().map(|place| format!("; it is written at {place}")).unwrap_or_default())]
    ReadDocuments {
        /// Where the field is written, when known.
        place: Option<String>,
        /// What is wrong.
        source: DocumentsError,
    },
    /// Two templates made one object.
    #[error("{kind} {name} was already made by {first}")]
    MakeOnce {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// The template that made it first.
        first: String,
    },
}

impl<R: Managed> BundleStrategy<R> {
    /// Refuses a bundle of another kind.
    ///
    /// ```
    /// use pgop_core::crd::{PgBackup, PgCluster};
    /// use pgop_strategies::{Bundle, BundleStrategy, Folder};
    /// let bundle = Bundle::read(&Folder::builtin(), "cluster/streaming")?;
    /// assert!(BundleStrategy::<PgCluster>::new(bundle.clone()).is_ok());
    /// assert!(BundleStrategy::<PgBackup>::new(bundle).is_err());
    /// # Ok::<(), pgop_strategies::BundleError>(())
    /// ```
    pub fn new(bundle: Bundle) -> Result<Self, BundleError> {
        if bundle.kind != R::KIND {
            return Err(BundleError::UseAs {
                name: bundle.description.name,
                is: bundle.kind,
                wanted: R::KIND,
            });
        }
        Ok(Self {
            bundle,
            agent_image: Loader::default().agent_image,
            kind: PhantomData,
        })
    }

    /// With another image for the agent than that of this version.
    #[must_use]
    pub fn with_agent(mut self, image: &str) -> Self {
        image.clone_into(&mut self.agent_image);
        self
    }
}

impl<R: TemplateContext> Strategy<R> for BundleStrategy<R> {
    fn description(&self) -> &Description {
        &self.bundle.description
    }

    fn manifests(&self, validated: &R::Validated) -> Result<Vec<Manifest>, StrategyError> {
        let Bundle { files, renderer, .. } = &self.bundle;
        let mut context = serde_json::to_value(R::context(validated, &self.bundle.description.names, files))
            .map_err(|error| StrategyError::Other(format!("the templates' context can't be made: {error}")))?;
        if let Some(context) = context.as_object_mut() {
            context.insert("agentImage".to_owned(), self.agent_image.as_str().into());
        }
        self.declare_parameters(&mut context);
        let texts = renderer.render(context).map_err(|error| StrategyError::Render {
            template: error.file.clone(),
            source: Box::new(error),
        })?;
        let mut all = Vec::new();
        let mut made: BTreeMap<(Kind, String), &str> = BTreeMap::new();
        for (file, text) in texts {
            let wrong = |source| StrategyError::Rendered {
                template: file.to_owned(),
                source: Box::new(source),
            };
            let manifests = documents::manifests(&text).map_err(|source| {
                wrong(RenderedError::ReadDocuments {
                    place: self.place(&source),
                    source,
                })
            })?;
            for manifest in manifests {
                let (kind, name) = (manifest.kind(), manifest.name().to_owned());
                if let Some(first) = made.insert((kind, name.clone()), file) {
                    return Err(wrong(RenderedError::MakeOnce {
                        kind,
                        name,
                        first: first.to_owned(),
                    }));
                }
                all.push(manifest);
            }
        }
        Ok(all)
    }
}

impl<R> BundleStrategy<R> {
    /// Parameters without a value are null: a template can ask for them, and a wrong name is still an error.
    fn declare_parameters(&self, context: &mut Value) {
        let declared = self
            .bundle
            .description
            .parameters
            .get("properties")
            .and_then(Value::as_object);
        if let Some(parameters) = context.get_mut("parameters").and_then(Value::as_object_mut) {
            for (name, _) in declared.into_iter().flatten() {
                parameters.entry(name.clone()).or_insert(Value::Null);
            }
        }
    }

    /// Where an unknown field is written.
    fn place(&self, error: &DocumentsError) -> Option<String> {
        let DocumentsError::ReadManifest {
            source: ManifestError::UnknownField { path, .. },
            ..
        } = error
        else {
            return None;
        };
        let key = path.rsplit('.').next()?;
        self.bundle.renderer.place_of_key(key.split('[').next()?)
    }
}
