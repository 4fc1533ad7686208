//! Which strategies there are.

use std::sync::Arc;

use thiserror::Error;

use crate::crd::{PgBackup, PgCluster, PgDatabase};
use crate::description::Description;
use crate::strategy::{Strategy, UnknownStrategy};
use crate::validated::Checked;

/// The strategies of each kind.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// Those for [`PgDatabase`].
    pub databases: Family<PgDatabase>,
    /// Those for [`PgCluster`].
    pub clusters: Family<PgCluster>,
    /// Those for [`PgBackup`].
    pub backups: Family<PgBackup>,
}

/// The strategies for one kind, in the order in which they were added.
#[derive(Debug)]
pub struct Family<R: Checked>(Vec<Arc<dyn Strategy<R>>>);

/// Two strategies want one name.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("two strategies for a {kind} have the name or alias `{name}`")]
pub struct NameClash {
    /// For what kind.
    pub kind: &'static str,
    /// The name.
    pub name: String,
}

impl<R: Checked> Default for Family<R> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<R: Checked> Clone for Family<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R: Checked> Family<R> {
    /// Adds a strategy. Its name and aliases must be new.
    pub fn add(&mut self, strategy: Arc<dyn Strategy<R>>) -> Result<(), NameClash> {
        let new = strategy.description();
        if let Some(name) = names(new).find(|name| self.find(name).is_some()) {
            return Err(NameClash {
                kind: R::KIND.as_str(),
                name: name.to_owned(),
            });
        }
        self.0.push(strategy);
        Ok(())
    }

    /// The strategy of that name or alias.
    pub fn get(&self, name: &str) -> Result<&Arc<dyn Strategy<R>>, UnknownStrategy> {
        self.find(name).ok_or_else(|| UnknownStrategy {
            name: name.to_owned(),
            kind: R::KIND,
            known: self.0.iter().map(|s| s.description().name.clone()).collect(),
        })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Strategy<R>>> {
        self.0.iter()
    }

    fn find(&self, name: &str) -> Option<&Arc<dyn Strategy<R>>> {
        self.0
            .iter()
            .find(|s| names(s.description()).any(|known| known == name))
    }
}

fn names(description: &Description) -> impl Iterator<Item = &str> {
    std::iter::once(&description.name)
        .chain(&description.aliases)
        .map(String::as_str)
}
