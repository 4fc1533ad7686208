//! The engine may die after any call; the next reconcile finishes the work. Shown on a cluster in memory that fails at the n-th call.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::*;
use crate::crd::PgCluster;
use crate::managed::Managed;
use crate::manifest::{Kind, Manifest};
use crate::observed::{Live, Observed};
use crate::plan::plan;
use crate::strategy::{Description, Members, Strategy, StrategyError};
use crate::validated::ValidatedCluster;

const HIPPO: &str = "
apiVersion: pgop.dev/v1alpha1
kind: PgCluster
metadata: {name: hippo, namespace: zoo, uid: uid-of-hippo, generation: 3}
spec:
  replicas: 1
  postgres: {port: 6543}
  storage: {size: 7Gi}
";

/// A Service, a claim, a `ConfigMap`, and a `StatefulSet` that waits for a Job.
#[derive(Debug)]
struct Small(Description);

impl Small {
    fn new() -> Self {
        Self(Description {
            name: "streaming".to_owned(),
            aliases: vec!["1".to_owned()],
            version: 1,
            summary: String::new(),
            parameters: json!({"type": "object"}),
            members: Members::default(),
        })
    }
}

impl Strategy<PgCluster> for Small {
    fn description(&self) -> &Description {
        &self.0
    }

    fn manifests(&self, cluster: &ValidatedCluster) -> Result<Vec<Manifest>, StrategyError> {
        let name = &cluster.server.owner.name;
        let pod = json!({"metadata": {"labels": {"pgop.dev/cluster": name}}, "spec": {"containers": [{"name": "postgres", "image": cluster.server.image}]}});
        let all = [
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": cluster.server.port}]}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("{name}-config")}, "data": {"replicas": cluster.replicas.to_string()}}),
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": cluster.server.storage.claim},
                   "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": cluster.server.storage.size}}}}),
            json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
                   "spec": {"serviceName": name, "selector": {"matchLabels": {"pgop.dev/cluster": name}}, "template": pod}}),
        ];
        all.into_iter()
            .map(|value| Manifest::from_value(value).map_err(StrategyError::from))
            .collect()
    }
}

/// A cluster in memory: what a real one keeps of a manifest, and a number of calls after which it is gone.
#[derive(Default)]
struct Memory {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<(Option<Kind>, String), Value>,
    writes: usize,
    calls_left: Option<usize>,
}

impl Memory {
    fn call<T>(&self, is_write: bool, run: impl FnOnce(&mut State) -> Result<T, CallError>) -> Result<T, CallError> {
        let mut state = self.state.lock().unwrap();
        if let Some(left) = state.calls_left.as_mut() {
            match left.checked_sub(1) {
                Some(rest) => *left = rest,
                None => return Err(CallError::Timeout),
            }
        }
        state.writes += usize::from(is_write);
        run(&mut state)
    }

    fn put(state: &mut State, kind: Option<Kind>, name: &str, object: &Value) {
        let mut object = object.clone();
        object["metadata"]["uid"] = json!(format!("uid-of-{name}"));
        state.objects.insert((kind, name.to_owned()), object);
    }

    fn live(&self) -> Live {
        let state = self.state.lock().unwrap();
        let mut live = Live::default();
        for ((kind, name), value) in &state.objects {
            match kind {
                Some(kind) => drop(live.objects.insert((*kind, name.clone()), value.clone())),
                None => drop(live.secrets.insert(name.clone(), value.clone())),
            }
        }
        live
    }

    fn writes(&self) -> usize {
        self.state.lock().unwrap().writes
    }
}

#[async_trait]
impl Cluster for Memory {
    async fn metadata(&self, kind: Option<Kind>, _: &str, name: &str) -> Result<Option<Value>, CallError> {
        self.call(false, |state| Ok(state.objects.get(&(kind, name.to_owned())).cloned()))
    }

    async fn apply(&self, kind: Kind, _: &str, name: &str, object: &Value) -> Result<(), CallError> {
        self.call(true, |state| {
            Self::put(state, Some(kind), name, object);
            Ok(())
        })
    }

    async fn create_secret(&self, _: &str, secret: &Value) -> Result<(), CallError> {
        let name = secret["metadata"]["name"].as_str().unwrap().to_owned();
        self.call(true, |state| {
            assert!(
                !state.objects.contains_key(&(None, name.clone())),
                "a password was generated twice"
            );
            Self::put(state, None, &name, secret);
            Ok(())
        })
    }

    async fn apply_secret(&self, _: &str, name: &str, secret: &Value) -> Result<(), CallError> {
        self.call(true, |state| {
            let old = state.objects.get(&(None, name.to_owned())).cloned().unwrap_or_default();
            let mut merged = secret.clone();
            merged["stringData"]["password"] = old["stringData"]["password"].clone();
            Self::put(state, None, name, &merged);
            Ok(())
        })
    }

    async fn delete(&self, kind: Kind, _: &str, name: &str, uid: &str) -> Result<(), CallError> {
        self.call(true, |state| {
            let key = (Some(kind), name.to_owned());
            if state.objects.get(&key).is_some_and(|o| o["metadata"]["uid"] == uid) {
                state.objects.remove(&key);
            }
            Ok(())
        })
    }
}

fn hippo() -> PgCluster {
    serde_saphyr::from_str(HIPPO).unwrap()
}

async fn round(cluster: &Memory, resource: &PgCluster) -> Result<Plan, ApplyError> {
    let observed = Observed {
        live: cluster.live(),
        ..Observed::default()
    };
    let strategy = Small::new();
    let validated = resource.validate(&observed, strategy.description()).unwrap();
    let plan = plan::<PgCluster>(&strategy, &validated, &observed).unwrap();
    apply(cluster, &Owner::of(resource), &plan).await.map(|()| plan)
}

#[tokio::test]
async fn whenever_it_dies_the_next_rounds_finish_and_then_nothing_is_sent() {
    let undisturbed = Memory::default();
    round(&undisturbed, &hippo()).await.unwrap();
    let expected = undisturbed.live().objects;
    assert_eq!(expected.len(), 4);
    for calls in 0.. {
        let cluster = Memory::default();
        cluster.state.lock().unwrap().calls_left = Some(calls);
        let died = round(&cluster, &hippo()).await.is_err();
        cluster.state.lock().unwrap().calls_left = None;
        round(&cluster, &hippo()).await.unwrap();
        assert_eq!(cluster.live().objects, expected, "died after {calls} calls");
        let writes = cluster.writes();
        assert!(round(&cluster, &hippo()).await.unwrap().is_empty());
        assert_eq!(cluster.writes(), writes, "an idle resource wrote");
        if !died {
            assert!(calls > 8, "the test never let it die late");
            return;
        }
    }
}

#[tokio::test]
async fn a_password_is_made_once() {
    let cluster = Memory::default();
    round(&cluster, &hippo()).await.unwrap();
    let password = |cluster: &Memory| cluster.live().secrets["hippo-user"]["stringData"]["password"].clone();
    let first = password(&cluster);
    assert!(first.as_str().is_some_and(|p| p.len() >= 16));
    let mut moved = hippo();
    moved.spec.server.postgres.port = 7777;
    round(&cluster, &moved).await.unwrap();
    assert_eq!(password(&cluster), first);
    assert_eq!(cluster.live().secrets["hippo-user"]["stringData"]["port"], "7777");
}

#[tokio::test]
async fn drift_and_removal_are_mended_and_claims_only_grow() {
    let cluster = Memory::default();
    round(&cluster, &hippo()).await.unwrap();
    let claim = (Some(Kind::PersistentVolumeClaim), "hippo-pvc".to_owned());
    let service = (Some(Kind::Service), "hippo".to_owned());
    {
        let mut state = cluster.state.lock().unwrap();
        state.objects.get_mut(&service).unwrap()["spec"]["ports"][0]["port"] = json!(1);
        state.objects.get_mut(&claim).unwrap()["spec"]["resources"]["requests"]["storage"] = json!("9Gi");
    }
    let plan = round(&cluster, &hippo()).await.unwrap();
    let sent: Vec<&str> = plan.apply.iter().map(|a| a.manifest.kind().as_str()).collect();
    assert_eq!(sent, ["Service"], "a bigger claim is left alone");
    assert_eq!(plan.apply[0].why, Why::Drifted("spec.ports[0]".to_owned()));
    let mut grown = hippo();
    grown.spec.server.storage.size = serde_json::from_value(json!("11Gi")).unwrap();
    round(&cluster, &grown).await.unwrap();
    assert_eq!(
        cluster.live().objects[&(Kind::PersistentVolumeClaim, "hippo-pvc".to_owned())]["spec"]["resources"]["requests"]
            ["storage"],
        "11Gi"
    );
}

#[tokio::test]
async fn a_strangers_object_is_never_taken_over() {
    let cluster = Memory::default();
    Memory::put(
        &mut cluster.state.lock().unwrap(),
        Some(Kind::Service),
        "hippo",
        &json!({"metadata": {"name": "hippo", "labels": {"team": "billing"}}}),
    );
    // The caches hold only what is labelled as ours.
    let observed = Observed::default();
    let strategy = Small::new();
    let validated = hippo().validate(&observed, strategy.description()).unwrap();
    let plan = plan::<PgCluster>(&strategy, &validated, &observed).unwrap();
    let error = apply(&cluster, &Owner::of(&hippo()), &plan).await.unwrap_err();
    assert_eq!(error.reason(), "NameTaken");
    assert!(
        error
            .to_string()
            .starts_with("Service hippo exists and belongs to somebody else"),
        "{error}"
    );
    assert_eq!(cluster.writes(), 0, "nothing is made when one name is taken");
}

#[tokio::test]
async fn what_is_not_wanted_any_more_is_deleted_but_for_claims() {
    let cluster = Memory::default();
    let owned = |kind: Kind, name: &str, whose: &str| {
        let owner = Owner {
            name: whose.to_owned(),
            uid: format!("uid-of-{whose}"),
            ..Owner::of(&hippo())
        };
        let object = json!({"metadata": {"name": name, "ownerReferences": [owner.reference()]}});
        Memory::put(&mut cluster.state.lock().unwrap(), Some(kind), name, &object);
    };
    owned(Kind::ConfigMap, "old", "hippo");
    owned(Kind::ConfigMap, "anothers", "rhino");
    owned(Kind::PersistentVolumeClaim, "old-claim", "hippo");
    round(&cluster, &hippo()).await.unwrap();
    let left: Vec<String> = cluster.live().objects.keys().map(|(_, name)| name.clone()).collect();
    assert_eq!(
        left,
        ["anothers", "hippo-config", "hippo-pvc", "old-claim", "hippo", "hippo"]
    );
}
