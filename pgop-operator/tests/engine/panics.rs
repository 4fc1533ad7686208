//! A strategy that panics.

use std::sync::Arc;

use pgop_core::Registry;
use pgop_core::crd::PgDatabase;
use pgop_core::manifest::Manifest;
use pgop_core::strategy::{Description, Strategy, StrategyError};
use pgop_core::validated::Checked;
use serde_json::json;

use crate::cluster::{Cluster, Running, until};

/// The built-in strategy for a database, but not for every database.
#[derive(Debug)]
struct Faulty {
    description: Description,
    sound: Arc<dyn Strategy<PgDatabase>>,
}

impl Strategy<PgDatabase> for Faulty {
    fn description(&self) -> &Description {
        &self.description
    }

    fn manifests(&self, validated: &<PgDatabase as Checked>::Validated) -> Result<Vec<Manifest>, StrategyError> {
        assert!(validated.server.owner.name != "broken", "a strategy's own fault");
        self.sound.manifests(validated)
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_the_failure_of_one_resource_and_is_tried_again() {
    let cluster = Cluster::start().await;
    for name in ["broken", "sound"] {
        let spec = json!({"strategy": "faulty"});
        let meta = json!({"name": name});
        let database = json!({"apiVersion": "pgop.dev/v1alpha1", "kind": "PgDatabase", "metadata": meta, "spec": spec});
        cluster.create(database).await;
    }
    let builtin = pgop_strategies::builtin().unwrap();
    let sound = builtin.databases.get("1").unwrap().clone();
    let description = Description {
        name: "faulty".to_owned(),
        aliases: Vec::new(),
        ..sound.description().clone()
    };
    let mut registry = Registry::default();
    registry.databases.add(Arc::new(Faulty { description, sound })).unwrap();
    let operator = Running::start(cluster.client.clone(), registry);
    let phase = async |name: &str| {
        let all = cluster
            .list("pgop.dev/v1alpha1", "PgDatabase", &Default::default())
            .await;
        let found = all.into_iter().find(|it| it.metadata.name.as_deref() == Some(name));
        found.unwrap().data["status"]["phase"].as_str().map(str::to_owned)
    };
    until(async || phase("sound").await.as_deref() == Some("Ready")).await;
    until(async || operator.panics() >= 3).await;
    assert!(operator.is_at_work());
}
