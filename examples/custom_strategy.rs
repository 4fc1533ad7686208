//! Two strategies of one's own, both run through the conformance suite: a folder of templates, and one in Rust.
//!
//! ```text
//! cargo run --example custom_strategy
//! ```

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use pgop_core::crd::PgDatabase;
use pgop_core::manifest::Manifest;
use pgop_core::quantity::milli;
use pgop_core::registry::Registry;
use pgop_core::strategy::{Description, Strategy, StrategyError};
use pgop_core::validated::ValidatedDatabase;
use pgop_strategies::conformance;
#[cfg(test)]
use {pgop_core::managed::Managed, pgop_strategies::conformance::Conformant};

/// The standalone strategy with `shared_buffers` made from the memory limit: a template can't compute.
#[derive(Debug)]
struct Tuned {
    description: Description,
    standalone: Arc<dyn Strategy<PgDatabase>>,
}

impl Tuned {
    fn new(standalone: Arc<dyn Strategy<PgDatabase>>) -> Self {
        let description = Description {
            name: "tuned".to_owned(),
            aliases: Vec::new(),
            summary: "One server that uses a quarter of its memory for shared buffers.".to_owned(),
            ..standalone.description().clone()
        };
        Self {
            description,
            standalone,
        }
    }
}

impl Strategy<PgDatabase> for Tuned {
    fn description(&self) -> &Description {
        &self.description
    }

    fn manifests(&self, database: &ValidatedDatabase) -> Result<Vec<Manifest>, StrategyError> {
        let mut database = database.clone();
        let limits = database
            .server
            .resources
            .as_ref()
            .and_then(|resources| resources.limits.as_ref());
        if let Some(thousandths) = limits.and_then(|limits| milli(&limits.get("memory")?.0)) {
            let quarter = thousandths / 1000 / 4 / 1024 / 1024;
            // What a person asked for wins.
            let parameters = &mut database.server.parameters;
            parameters
                .entry("shared_buffers".to_owned())
                .or_insert_with(|| format!("{}MB", quarter.max(16)));
        }
        self.standalone.manifests(&database)
    }
}

/// The built-in strategies, the one above, and those of the folder `strategies/`.
fn build() -> Result<Registry, Box<dyn Error>> {
    let mut registry = pgop_strategies::builtin()?;
    let standalone = registry.databases.get("standalone")?.clone();
    registry.databases.add(Arc::new(Tuned::new(standalone)))?;
    pgop_strategies::load_dir(&mut registry, &Path::new(env!("CARGO_MANIFEST_DIR")).join("strategies"))?;
    Ok(registry)
}

#[allow(clippy::print_stdout)] // printing is what it is for
fn main() -> Result<(), Box<dyn Error>> {
    for strategy in build()?.databases.iter() {
        let Description { name, summary, .. } = strategy.description();
        println!("{name}: {summary}");
        for violation in conformance::check::<PgDatabase>(strategy.as_ref()) {
            println!("  {violation}");
        }
    }
    Ok(())
}

#[test]
fn every_strategy_conforms() {
    let registry = build().unwrap();
    let names: Vec<_> = registry
        .databases
        .iter()
        .map(|strategy| strategy.description().name.as_str())
        .collect();
    assert_eq!(names, ["standalone", "tuned", "exposed"]);
    for strategy in registry.databases.iter() {
        assert_eq!(conformance::check::<PgDatabase>(strategy.as_ref()), []);
    }
}

#[test]
fn a_quarter_of_the_memory_is_shared_buffers() {
    let registry = build().unwrap();
    let strategy = registry.databases.get("tuned").unwrap();
    let fixture = PgDatabase::fixtures().pop().unwrap(); // its limit is 600Mi
    let database = fixture
        .resource
        .validate(&fixture.observed, strategy.description())
        .unwrap();
    let manifests = strategy.manifests(&database).unwrap();
    let config = manifests
        .iter()
        .find_map(|manifest| manifest.value().pointer("/data/postgresql.conf")?.as_str());
    assert!(config.unwrap().contains("shared_buffers = '150MB'"), "{config:?}");
}
