//! A namespace of the benchmark.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, PartialObjectMeta, PostParams};
use pgop_e2e::api::kind;
use rand::RngExt;
use serde_json::json;

const PAUSE: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(1800);

/// What a cluster is made of, and the claims and pods.
const KINDS: [(&str, &str); 6] = [
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("v1", "PersistentVolumeClaim"),
    ("policy/v1", "PodDisruptionBudget"),
    ("apps/v1", "StatefulSet"),
];

pub struct Space {
    pub client: Client,
    name: String,
}

impl Space {
    pub async fn new(prefix: &str) -> Self {
        let client = Client::try_default()
            .await
            .unwrap_or_else(|error| panic!("no cluster: {error}; set KUBECONFIG"));
        let name = format!("{prefix}-{:05x}", rand::rng().random_range(0..0x10_0000_u32));
        let namespace = json!({"metadata": {"name": name}});
        let all: Api<DynamicObject> = Api::all_with(client.clone(), &kind("v1", "Namespace"));
        all.create(&PostParams::default(), &serde_json::from_value(namespace).unwrap())
            .await
            .unwrap();
        Self { client, name }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn api(&self, kind: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.name, kind)
    }

    /// How many of a kind there are. Two are asked for, the server counts the rest.
    async fn count(&self, api_version: &str, name: &str) -> usize {
        let api: Api<DynamicObject> = self.api(&kind(api_version, name));
        let page = api.list_metadata(&ListParams::default().limit(2)).await.unwrap();
        let rest = page.metadata.remaining_item_count.unwrap_or(0);
        page.items.len() + usize::try_from(rest).unwrap()
    }

    /// Waits until there are that many.
    pub async fn has(&self, name: &str, count: usize) {
        let api_version = KINDS
            .iter()
            .find(|(_, known)| *known == name)
            .map_or("v1", |(version, _)| version);
        let started = Instant::now();
        loop {
            let found = self.count(api_version, name).await;
            if found >= count {
                return;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{found} of {count} {name} in {}",
                self.name
            );
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Names of all that was made here, by kind.
    pub async fn objects(&self) -> BTreeMap<&'static str, Vec<String>> {
        let mut all = BTreeMap::new();
        for (api_version, name) in KINDS {
            let api: Api<DynamicObject> = self.api(&kind(api_version, name));
            let ours = ListParams::default().labels("app.kubernetes.io/managed-by=pgop");
            let list: Vec<PartialObjectMeta<DynamicObject>> = api.list_metadata(&ours).await.unwrap().items;
            let mut names: Vec<String> = list.into_iter().filter_map(|object| object.metadata.name).collect();
            names.sort();
            all.insert(name, names);
        }
        all
    }

    /// Waits until Kubernetes' own controllers have made all pods.
    pub async fn settled(&self, pods: usize) {
        self.has("Pod", pods).await;
    }

    /// Deletes it, and waits until it is gone.
    pub async fn delete(self) {
        let all: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind("v1", "Namespace"));
        all.delete(&self.name, &DeleteParams::default()).await.unwrap();
        let started = Instant::now();
        while all.get_opt(&self.name).await.unwrap().is_some() {
            if started.elapsed() > PATIENCE {
                eprintln!("{} is still being deleted", self.name);
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
