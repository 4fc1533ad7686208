//! Which changes restart servers, through the plan: those of the spec, and not those of another pgop.
#![allow(clippy::unwrap_used, clippy::panic)] // clippy.toml allows it in tests, and sees none in their helpers

use pgop_core::Managed;
use pgop_core::crd::PgDatabase;
use pgop_core::hash::short_hash;
use pgop_core::manifest::{Kind, Manifest};
use pgop_core::observed::{Live, Observed};
use pgop_core::plan::{Action, Plan, Why, plan};
use pgop_core::strategy::{Description, Strategy, StrategyError};
use pgop_core::validated::ValidatedDatabase;
use serde_json::{Value, json};

/// One `StatefulSet` with the spec's image, and a word that only this version of it knows.
#[derive(Debug)]
struct Version(Description, &'static str, Vec<Value>);

impl Version {
    fn new(word: &'static str) -> Self {
        Self(Description::new("standalone"), word, Vec::new())
    }
}

impl Strategy<PgDatabase> for Version {
    fn description(&self) -> &Description {
        &self.0
    }

    fn manifests(&self, database: &ValidatedDatabase) -> Result<Vec<Manifest>, StrategyError> {
        let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "orders"},
            "spec": {"replicas": 1, "serviceName": "orders", "updateStrategy": {"type": "OnDelete"},
                "selector": {"matchLabels": {"pgop.dev/database": "orders"}},
                "template": {"spec": {"containers": [{"name": "postgres", "image": database.server.image, "args": [self.1]}]}}}});
        let all = self.2.iter().cloned().chain([set]);
        all.map(|value| Ok(Manifest::from_value(value)?)).collect()
    }
}

/// The whole of a cluster, as far as this is about.
struct World {
    database: PgDatabase,
    observed: Observed,
}

impl World {
    /// A database that runs as that version made it.
    fn running(version: &'static str) -> Self {
        let database = "apiVersion: pgop.dev/v1alpha1\nkind: PgDatabase\nmetadata: {name: orders, namespace: zoo, uid: uid-of-orders, generation: 5}\n\
             spec: {postgres: {image: 'postgres:17'}}\nstatus: {observedGeneration: 5}";
        let mut world = Self {
            database: serde_saphyr::from_str(database).unwrap(),
            observed: Observed::default(),
        };
        let plan = world.plan(&Version::new(version));
        world.carry_out(&plan);
        world.start();
        assert_eq!(
            world.plan(&Version::new(version)),
            Plan {
                unchanged: vec![key()],
                secrets: world.plan(&Version::new(version)).secrets,
                ..Plan::default()
            }
        );
        world
    }

    fn plan(&self, strategy: &Version) -> Plan {
        let validated = self.database.validate(&self.observed, &strategy.0).unwrap();
        plan::<PgDatabase>(strategy, &validated, &self.observed).unwrap()
    }

    fn carry_out(&mut self, plan: &Plan) {
        for secret in &plan.secrets {
            let live = json!({"metadata": secret.metadata});
            self.observed.live.secrets.insert(secret.name.clone(), live);
        }
        for apply in &plan.apply {
            let mut set = apply.manifest.value().clone();
            // A revision is the template by another name.
            let revision = short_hash(&set["spec"]["template"].to_string());
            set["metadata"]["uid"] = json!("uid-of-the-set");
            set["status"] = json!({"updateRevision": revision, "currentRevision": revision});
            self.observed.live.objects.insert(key(), set);
        }
    }

    /// Its pod is made anew.
    fn start(&mut self) {
        let set = self.set();
        let pod = json!({"metadata": {"name": "orders-0", "uid": "uid-of-the-pod", "annotations": set["spec"]["template"]["metadata"]["annotations"],
                "labels": {"pgop.dev/database": "orders", "controller-revision-hash": set["status"]["updateRevision"]},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "orders", "uid": "uid-of-the-set", "controller": true}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        self.observed.live.pods = vec![serde_json::from_value(pod).unwrap()];
    }

    fn set(&self) -> Value {
        self.observed.live.get(Kind::StatefulSet, "orders").unwrap().clone()
    }

    /// Somebody changes the spec.
    fn ask_for(&mut self, image: &str) {
        self.database.spec.server.postgres.image = Some(image.to_owned());
        self.database.metadata.generation = self.database.metadata.generation.map(|generation| generation + 1);
    }

    /// Rounds until nothing is sent any more; the pod that is restarted in the end, if one is.
    fn settle(&mut self, strategy: &Version) -> Option<String> {
        for _ in 0..5 {
            let plan = self.plan(strategy);
            if plan.apply.is_empty() {
                let Some(Action::RestartPod { name, uid }) = plan.step.map(|step| step.action) else {
                    return None;
                };
                assert_eq!(uid, "uid-of-the-pod");
                return Some(name);
            }
            assert_eq!(plan.step, None, "what pods start from is on its way");
            self.carry_out(&plan);
            self.database.status.as_mut().unwrap().observed_generation = self.database.metadata.generation;
        }
        panic!("it is sent again and again")
    }
}

fn key() -> (Kind, String) {
    (Kind::StatefulSet, "orders".to_owned())
}

#[test]
fn a_change_of_the_spec_restarts_and_going_back_does_not_restart_what_has_it_still() {
    let (v1, mut world) = (Version::new("v1"), World::running("v1"));
    world.ask_for("postgres:17.2");
    assert_eq!(world.settle(&v1).as_deref(), Some("orders-0"));
    world.ask_for("postgres:17");
    assert_eq!(world.settle(&v1), None);
    world.ask_for("postgres:17.2");
    assert_eq!(world.settle(&v1).as_deref(), Some("orders-0"));
    world.start();
    assert_eq!(world.settle(&v1), None);
}

#[test]
fn another_pgop_restarts_nothing_until_the_spec_changes_or_somebody_asks() {
    let v2 = Version::new("version 2");
    let upgraded = || {
        let mut world = World::running("v1");
        assert_eq!(world.settle(&v2), None);
        assert_eq!(
            world.set()["spec"]["template"]["spec"]["containers"][0]["args"][0],
            "version 2",
            "a pod that is made now is as v2 makes it"
        );
        world
    };
    let older = |world: &World| {
        let validated = world.database.validate(&world.observed, &v2.0).unwrap();
        Strategy::<PgDatabase>::assess(&v2, &validated, &world.observed.live)
            .roll
            .older
    };
    let mut world = upgraded();
    assert_eq!(older(&world), ["orders-0"]);
    world.ask_for("postgres:17.2");
    assert_eq!(world.settle(&v2).as_deref(), Some("orders-0"));

    let mut world = upgraded();
    let annotations = world.database.metadata.annotations.get_or_insert_default();
    annotations.insert("pgop.dev/upgrade".to_owned(), "Mon 30 Nov".to_owned());
    assert_eq!(world.settle(&v2).as_deref(), Some("orders-0"));
    world.start();
    assert_eq!((world.settle(&v2), older(&world)), (None, Vec::new()));
    assert_eq!(
        world.settle(&Version::new("the third")),
        None,
        "that was asked for once"
    );

    let mut world = upgraded();
    world.observed.live.pods.clear();
    world.start();
    assert_eq!((world.settle(&v2), older(&world)), (None, Vec::new()));
}

#[test]
fn a_database_of_a_pgop_that_rolled_otherwise_is_taken_over_without_a_restart() {
    let of_old = || {
        let mut world = World::running("v1");
        let set = world.observed.live.objects.get_mut(&key()).unwrap();
        set["metadata"]["annotations"]
            .as_object_mut()
            .unwrap()
            .remove("pgop.dev/template");
        let pods = set["spec"]["template"]["metadata"]["annotations"]
            .as_object_mut()
            .unwrap();
        pods.remove("pgop.dev/requested");
        set["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
        world.start();
        world
    };
    let v2 = Version::new("version 2");
    let mut world = of_old();
    let first = world.plan(&v2);
    let clear = json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}});
    assert_eq!(
        first.apply[0].clear,
        Some(clear),
        "an apply does not take away what nobody owns"
    );
    assert_eq!(world.settle(&v2), None);
    assert_eq!(world.plan(&v2).apply, []);
    world.ask_for("postgres:17.2");
    assert_eq!(world.settle(&v2).as_deref(), Some("orders-0"));
    // What was on its way when the operator was replaced goes on.
    let mut asked = of_old();
    asked.ask_for("postgres:17.2");
    assert_eq!(asked.settle(&v2).as_deref(), Some("orders-0"));
    let mut rolling = of_old();
    rolling.observed.live.objects.get_mut(&key()).unwrap()["status"]["currentRevision"] = json!("the former");
    assert_eq!(rolling.settle(&v2).as_deref(), Some("orders-0"));
}

#[test]
fn a_generation_is_only_noted_and_that_is_no_care() {
    let (v1, mut world) = (Version::new("v1"), World::running("v1"));
    world.database.metadata.generation = Some(6);
    let plan = world.plan(&v1);
    assert!(matches!(plan.apply[0].why, Why::Noted(_)), "{:?}", plan.apply[0].why);
    assert_eq!(plan.only_care().apply, []);
    assert_eq!(world.settle(&v1), None);
    let set = world.observed.live.objects.get_mut(&key()).unwrap();
    set["spec"]["template"]["metadata"]["annotations"]["pgop.dev/requested"] = json!("of a stranger");
    assert!(matches!(&world.plan(&v1).apply[0].why, Why::Drifted(_)));
    assert_eq!(world.settle(&v1), None, "it is put back, and nothing restarts for it");
    let set = world.observed.live.objects.get_mut(&key()).unwrap();
    set["metadata"]["annotations"]
        .as_object_mut()
        .unwrap()
        .remove("pgop.dev/template");
    assert_eq!(world.settle(&v1), None, "the note is made again");
}

#[test]
fn a_claim_that_does_not_grow_holds_no_restart_back_and_a_config_map_does() {
    let beside = |kind: &str, spec: Value| {
        let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "orders-x"}});
        object
            .as_object_mut()
            .unwrap()
            .extend(spec.as_object().unwrap().clone());
        Version(Description::new("standalone"), "v1", vec![object])
    };
    let step = |strategy: &Version| {
        let mut world = World::running("v1");
        world.ask_for("postgres:17.2");
        assert!(world.settle(&Version::new("v1")).is_some());
        let plan = world.plan(strategy);
        assert_eq!(plan.apply.len(), 1);
        plan.step
    };
    let claim = json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    assert!(step(&beside("PersistentVolumeClaim", claim)).is_some());
    assert_eq!(step(&beside("ConfigMap", json!({"data": {"a": "b"}}))), None);
}

#[test]
fn what_kubernetes_restarts_is_not_marked() {
    let live = Live::default();
    let observed = Observed {
        live,
        ..Observed::default()
    };
    let world = World::running("v1");
    let set = world.set();
    assert!(set["spec"]["template"]["metadata"]["annotations"]["pgop.dev/requested"].is_string());
    let validated = world
        .database
        .validate(&observed, &Description::new("standalone"))
        .unwrap();
    let mut other = set;
    other["spec"]["updateStrategy"] = json!({"type": "RollingUpdate"});
    for key in ["annotations", "labels", "ownerReferences", "uid"] {
        other["metadata"].as_object_mut().unwrap().remove(key);
    }
    other["spec"]["template"]["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("annotations");
    other.as_object_mut().unwrap().remove("status");
    let strategy = Kept(Description::new("standalone"), other);
    let made = plan::<PgDatabase>(&strategy, &validated, &observed).unwrap();
    let template = &made.apply[0].manifest.value()["spec"]["template"];
    assert_eq!(template["metadata"].get("annotations"), None);
}

/// Makes what a test gives it.
#[derive(Debug)]
struct Kept(Description, Value);

impl Strategy<PgDatabase> for Kept {
    fn description(&self) -> &Description {
        &self.0
    }

    fn manifests(&self, _: &ValidatedDatabase) -> Result<Vec<Manifest>, StrategyError> {
        Ok(vec![Manifest::from_value(self.1.clone())?])
    }
}
