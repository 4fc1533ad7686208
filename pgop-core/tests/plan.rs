//! The plan as a pure function: what is sent, what waits, what goes, and that it is the same each time.
#![allow(clippy::unwrap_used, clippy::panic)] // clippy.toml allows it in tests, and sees none in their helpers

use pgop_core::applied::Applied;
use pgop_core::crd::{PgBackup, PgCluster, PgDatabase};
use pgop_core::manifest::{Kind, Manifest};
use pgop_core::observed::{ClaimFacts, Live, Observed, SecretFacts, SourceFacts};
use pgop_core::plan::{Action, Plan, PlanError, SecretChange, Why, plan};
use pgop_core::strategy::{Description, Step, Strategy, StrategyError};
use pgop_core::validated::{ValidatedBackup, ValidatedCluster, ValidatedDatabase};
use pgop_core::{Managed, Owner};
use serde_json::{Value, json};

/// Makes the manifests that a test gives it.
#[derive(Debug)]
struct Given(Description, Vec<Value>);

impl Given {
    fn new(manifests: Vec<Value>) -> Self {
        let description = Description {
            version: 7,
            ..Description::new("given")
        };
        Self(description, manifests)
    }

    fn all(&self) -> Result<Vec<Manifest>, StrategyError> {
        self.1
            .iter()
            .map(|value| Ok(Manifest::from_value(value.clone())?))
            .collect()
    }
}

macro_rules! given_for {
    ($($resource:ty => $validated:ty),*) => {$(
        impl Strategy<$resource> for Given {
            fn description(&self) -> &Description {
                &self.0
            }

            fn manifests(&self, _: &$validated) -> Result<Vec<Manifest>, StrategyError> {
                self.all()
            }
        }
    )*};
}

given_for!(PgDatabase => ValidatedDatabase, PgCluster => ValidatedCluster, PgBackup => ValidatedBackup);

fn hippo() -> PgCluster {
    serde_saphyr::from_str(
        "apiVersion: pgop.dev/v1alpha1\nkind: PgCluster\nmetadata: {name: hippo, namespace: zoo, uid: uid-of-hippo}\n\
         spec: {pod: {labels: {team: mammals}, nodeSelector: {disk: ssd}, fsGroup: 26}, postgres: {imagePullSecrets: [registry]}}",
    )
    .unwrap()
}

fn observed(objects: Vec<Value>) -> Observed {
    let mut live = Live::default();
    for object in objects {
        let kind = Kind::ALL.into_iter().find(|k| k.as_str() == object["kind"]).unwrap();
        live.objects
            .insert((kind, object["metadata"]["name"].as_str().unwrap().to_owned()), object);
    }
    Observed {
        live,
        ..Observed::default()
    }
}

fn plan_of(manifests: Vec<Value>, observed: &Observed) -> Plan {
    let strategy = Given::new(manifests);
    let cluster = hippo();
    let validated = cluster.validate(observed, &strategy.0).unwrap();
    plan::<PgCluster>(&strategy, &validated, observed).unwrap()
}

fn stateful_set(annotations: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "hippo", "annotations": annotations},
        "spec": {"serviceName": "hippo", "selector": {"matchLabels": {"pgop.dev/cluster": "hippo"}},
            "template": {"metadata": {"labels": {"pgop.dev/cluster": "hippo"}}, "spec": {"containers": [{"name": "postgres", "image": "x"}]}}}})
}

fn job(name: &str) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "restore", "image": "x"}]}}}})
}

fn names(plan: &Plan) -> Vec<String> {
    plan.apply
        .iter()
        .map(|a| format!("{} {}", a.manifest.kind(), a.manifest.name()))
        .collect()
}

/// What the server has after `apply`.
fn as_live(plan: &Plan) -> Vec<Value> {
    plan.apply.iter().map(|a| a.manifest.value().clone()).collect()
}

#[test]
fn the_same_input_gives_the_same_bytes_and_a_carried_out_plan_is_empty() {
    let manifests = vec![stateful_set(&json!({})), job("other")];
    let first = plan_of(manifests.clone(), &observed(Vec::new()));
    assert_eq!(first, plan_of(manifests.clone(), &observed(Vec::new())));
    let again = plan_of(manifests, &observed(as_live(&first)));
    assert!(again.apply.is_empty() && again.prune.is_empty() && again.held.is_empty());
    assert_eq!(again.unchanged.len(), 2);
}

#[test]
fn every_object_and_pod_is_completed() {
    let plan = plan_of(vec![stateful_set(&json!({}))], &observed(Vec::new()));
    let set = plan.apply[0].manifest.value();
    let metadata = &set["metadata"];
    assert_eq!(metadata["namespace"], "zoo");
    assert_eq!(metadata["ownerReferences"][0]["uid"], "uid-of-hippo");
    assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], "pgop");
    let pod = &set["spec"]["template"];
    assert_eq!(
        (
            &pod["metadata"]["labels"]["team"],
            &pod["metadata"]["labels"]["pgop.dev/cluster"]
        ),
        (&json!("mammals"), &json!("hippo"))
    );
    assert_eq!(pod["spec"]["nodeSelector"]["disk"], "ssd");
    assert_eq!(pod["spec"]["imagePullSecrets"][0]["name"], "registry");
    assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
    assert_eq!(
        pod["spec"]["securityContext"],
        json!({"runAsNonRoot": true, "runAsUser": 999, "runAsGroup": 999, "fsGroup": 26, "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"}})
    );
    assert_eq!(
        pod["spec"]["containers"][0]["securityContext"],
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true})
    );
}

#[test]
fn every_kind_that_has_pods_is_completed() {
    let pod = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "x", "image": "x"}]}});
    let made = vec![
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "hippo-pooler"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": pod}}),
        json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "hippo-nightly"},
            "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": pod}}}}),
    ];
    let plan = plan_of(made, &observed(Vec::new()));
    assert_eq!(names(&plan), ["CronJob hippo-nightly", "Deployment hippo-pooler"]);
    for apply in &plan.apply {
        let at = apply.manifest.kind().pod_template().unwrap();
        let template = apply.manifest.value().pointer(at).unwrap();
        assert_eq!(template["metadata"]["labels"]["pgop.dev/cluster"], "hippo");
        assert_eq!(template["spec"]["nodeSelector"]["disk"], "ssd");
        assert_eq!(
            template["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"],
            true
        );
    }
    let cron = plan.apply[0].manifest.value();
    assert_eq!(
        cron["spec"]["jobTemplate"]["metadata"]["labels"]["pgop.dev/cluster"],
        "hippo"
    );
}

#[test]
fn what_waits_for_a_job_is_held_until_it_succeeded_and_a_job_runs_once() {
    let gated = || vec![stateful_set(&json!({"pgop.dev/after-job": "restore"})), job("restore")];
    let at_first = plan_of(gated(), &observed(Vec::new()));
    assert_eq!(names(&at_first), ["Job restore"]);
    assert_eq!(at_first.held[0].why, "Job restore has to succeed first");
    let ended = |how: &str, uid: &str| {
        let owner = Owner {
            uid: uid.to_owned(),
            ..Owner::of(&hippo())
        };
        let mut live = job("restore");
        live["metadata"]["uid"] = json!("uid-of-the-job");
        live["metadata"]["ownerReferences"] = json!([owner.reference()]);
        live["status"] = json!({"conditions": [{"type": how, "status": "True"}]});
        plan_of(gated(), &observed(vec![live]))
    };
    let own = "uid-of-hippo";
    assert_eq!(names(&ended("Complete", own)), ["StatefulSet hippo"]);
    let failed = ended("Failed", own);
    assert_eq!((names(&failed).len(), failed.held.len()), (0, 1));
    // The result of a Job that a deleted resource of the same name left says nothing of this one.
    let former = ended("Complete", "uid-of-an-old-hippo");
    assert_eq!((names(&former).len(), former.held.len()), (0, 2));
    // Once it exists it is looked after, whatever became of the Job.
    let mut live = stateful_set(&json!({}));
    live["metadata"]["labels"] = json!({});
    assert_eq!(
        names(&plan_of(gated(), &observed(vec![live]))),
        ["Job restore", "StatefulSet hippo"]
    );
}

#[test]
fn nothing_is_mixed_with_what_a_former_resource_left() {
    let old = Owner {
        uid: "uid-of-an-old-hippo".to_owned(),
        ..Owner::of(&hippo())
    };
    let mut live = stateful_set(&json!({}));
    live["metadata"]["ownerReferences"] = json!([old.reference()]);
    let plan = plan_of(vec![stateful_set(&json!({})), job("x")], &observed(vec![live]));
    assert!(plan.is_empty() && plan.held.len() == 2);
    assert_eq!(
        plan.held[0].why,
        "what belonged to a former PgCluster hippo is still being deleted"
    );
    let mut going = stateful_set(&json!({}));
    going["metadata"]["deletionTimestamp"] = json!("2026-11-22T00:00:00Z");
    assert_eq!(
        plan_of(vec![stateful_set(&json!({}))], &observed(vec![going])).held[0].why,
        "the old one is still being deleted"
    );
}

#[test]
fn a_workload_waits_for_whoever_still_mounts_its_claim_and_is_about_to_go() {
    let mounting = |name: &str, claim: &str| {
        let mut set = stateful_set(&json!({}));
        set["metadata"]["name"] = json!(name);
        set["spec"]["template"]["spec"]["volumes"] =
            json!([{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]);
        set
    };
    let renamed = || vec![mounting("hippo-db", "hippo-pvc"), mounting("hippo-replica", "other")];
    let waits = |observed: &Observed| {
        let plan = plan_of(renamed(), observed);
        assert_eq!(plan.held.len() + names(&plan).len() + plan.unchanged.len(), 2);
        plan.held.first().map(|held| format!("{}: {}", held.name, held.why))
    };
    let first = plan_of(vec![mounting("hippo", "hippo-pvc")], &observed(Vec::new()));
    let mut old = first.apply[0].manifest.value().clone();
    old["metadata"]["uid"] = json!("uid-of-the-old-set");
    // The old one goes first, ...
    let at_first = observed(vec![old.clone()]);
    assert_eq!(plan_of(renamed(), &at_first).prune[0].name, "hippo");
    let for_the_old = "hippo-db: claim hippo-pvc is still mounted by StatefulSet hippo, which goes";
    assert_eq!(waits(&at_first).as_deref(), Some(for_the_old));
    let mut going = old;
    going["metadata"]["deletionTimestamp"] = json!("2026-11-22T00:00:00Z");
    assert_eq!(waits(&observed(vec![going])).as_deref(), Some(for_the_old));
    // ... then its pod, which may write for as long as it takes to stop.
    let pod = |owner: &str, phase: &str| {
        let mut observed = observed(Vec::new());
        observed.live.pods = vec![
            serde_json::from_value(json!({
                "metadata": {"name": "hippo-0", "deletionTimestamp": "2026-11-22T00:00:00Z",
                    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": owner, "uid": "uid-of-the-old-set", "controller": true}]},
                "spec": {"containers": [], "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "hippo-pvc"}}]},
                "status": {"phase": phase},
            }))
            .unwrap(),
        ];
        observed
    };
    assert_eq!(
        waits(&pod("hippo", "Running")).as_deref(),
        Some("hippo-db: claim hippo-pvc is still mounted by pod hippo-0, which goes")
    );
    assert_eq!(waits(&pod("hippo", "Succeeded")), None);
    assert_eq!(waits(&observed(Vec::new())), None);
    // Kubernetes itself sees to it that a StatefulSet that is made again waits for the pod of its own name.
    assert_eq!(waits(&pod("hippo-db", "Running")), None);
}

#[test]
fn a_job_waits_for_the_pod_of_a_deleted_one_and_those_who_share_a_claim_do_not_wait() {
    let volumes = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "shared"}}]);
    let mut restore = job("restore");
    restore["spec"]["template"]["spec"]["volumes"] = volumes.clone();
    let mut set = stateful_set(&json!({}));
    set["spec"]["template"]["spec"]["volumes"] = volumes.clone();
    let mut observed = observed(Vec::new());
    let pod = |kind: &str, name: &str, uid: &str| {
        let owner = json!({"apiVersion": "x/v1", "kind": kind, "name": name, "uid": uid, "controller": true});
        serde_json::from_value(
            json!({"metadata": {"name": format!("{name}-x"), "ownerReferences": [owner]},
            "spec": {"containers": [], "volumes": volumes}, "status": {"phase": "Running"}}),
        )
        .unwrap()
    };
    observed.live.pods = vec![pod("Job", "restore", "uid-of-the-deleted-job")];
    let plan = plan_of(vec![restore, set.clone()], &observed);
    let why = "claim shared is still mounted by pod restore-x, which goes";
    assert_eq!(
        plan.held.iter().map(|held| held.why.as_str()).collect::<Vec<_>>(),
        [why, why]
    );

    let first = plan_of(vec![set.clone()], &self::observed(Vec::new()));
    let mut live = first.apply[0].manifest.value().clone();
    live["metadata"]["uid"] = json!("uid-of-the-set");
    let mut other = set.clone();
    other["metadata"]["name"] = json!("hippo-replica");
    let mut sharing = self::observed(vec![live]);
    sharing.live.pods = vec![pod("StatefulSet", "hippo", "uid-of-the-set")];
    assert_eq!(
        names(&plan_of(vec![set, other], &sharing)),
        ["StatefulSet hippo-replica"]
    );
}

#[test]
fn a_claim_that_is_held_back_is_a_claim_of_the_resource_all_the_same() {
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "hippo-pvc"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}}});
    let mut going = claim.clone();
    going["metadata"]["deletionTimestamp"] = json!("2026-11-22T00:00:00Z");
    let observed = observed(vec![going]);
    let applied = Applied {
        held: plan_of(vec![claim], &observed).held,
        ..Applied::default()
    };
    assert_eq!(
        (applied.held.len(), applied.claims(&observed.live)),
        (1, vec!["hippo-pvc".to_owned()])
    );
}

#[test]
fn what_others_add_to_an_object_is_not_fought() {
    let first = plan_of(vec![stateful_set(&json!({}))], &observed(Vec::new()));
    let mut live = first.apply[0].manifest.value().clone();
    let pod = &mut live["spec"]["template"]["spec"];
    pod["containers"][0]["env"] = json!([{"name": "RELOADER", "value": "1"}]);
    pod["containers"]
        .as_array_mut()
        .unwrap()
        .insert(0, json!({"name": "sidecar", "image": "y"}));
    pod["imagePullSecrets"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "theirs"}));
    let again = plan_of(vec![stateful_set(&json!({}))], &observed(vec![live]));
    assert_eq!(names(&again), [""; 0]);
}

#[test]
fn a_generated_secret_that_is_not_used_any_more_is_told_and_stays() {
    let mut observed = observed(Vec::new());
    let owned = |name: &str, uid: &str| {
        let owner = Owner {
            uid: uid.to_owned(),
            ..Owner::of(&hippo())
        };
        (
            name.to_owned(),
            json!({"metadata": {"name": name, "ownerReferences": [owner.reference()]}}),
        )
    };
    observed.live.secrets = [
        owned("hippo-user", "uid-of-hippo"),
        owned("hippo-superuser", "uid-of-hippo"),
    ]
    .into();
    observed.secrets = [(
        "own".to_owned(),
        SecretFacts::Usable {
            username: "app".to_owned(),
        },
    )]
    .into();
    let strategy = Given::new(Vec::new());
    let mut cluster = hippo();
    let unused = |cluster: &PgCluster| {
        let validated = cluster.validate(&observed, &strategy.0).unwrap();
        plan::<PgCluster>(&strategy, &validated, &observed)
            .unwrap()
            .unused_secrets
    };
    assert_eq!(unused(&cluster), [""; 0]);
    cluster.spec.server.credentials.user = Some("own".to_owned());
    assert_eq!(unused(&cluster), ["hippo-user"]);
}

#[test]
fn while_a_spec_is_refused_what_is_missing_is_made_and_nothing_is_changed() {
    let named = |name: &str, service: &str| {
        let mut set = stateful_set(&json!({}));
        set["metadata"]["name"] = json!(name);
        set["spec"]["serviceName"] = json!(service);
        set
    };
    let first = plan_of(
        vec![named("changed", "a"), named("drifted", "a"), named("old", "a")],
        &observed(Vec::new()),
    );
    let mut live = as_live(&first);
    for it in &mut live {
        it["metadata"]["uid"] = json!("some-uid");
    }
    live[1]["spec"]["serviceName"] = json!("of somebody else");
    let claim = |size: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "claim"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}})
    };
    live.push(claim("1Gi"));
    let wanted = vec![
        named("changed", "b"),
        named("drifted", "a"),
        named("new", "a"),
        claim("2Gi"),
    ];
    let mut observed = observed(live);
    observed.live.secrets = [("hippo-user".to_owned(), json!({"metadata": {"name": "hippo-user"}}))].into();
    let whole = plan_of(wanted, &observed);
    assert_eq!((names(&whole).len(), whole.prune.len()), (4, 1));
    let care = whole.only_care();
    assert_eq!(names(&care), ["StatefulSet drifted", "StatefulSet new"]);
    assert!(care.prune.is_empty() && care.unchanged.len() == 2);
    let secrets: Vec<SecretChange> = care.secrets.iter().map(|secret| secret.change).collect();
    assert_eq!(
        secrets,
        [SecretChange::Generate, SecretChange::Generate, SecretChange::None]
    );
}

#[test]
fn a_removed_field_is_sent_though_live_has_all_that_is_asked_for() {
    let service = |labels: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hippo", "labels": labels}, "spec": {"ports": [{"port": 1}]}});
    let before = plan_of(vec![service(json!({"team": "mammals"}))], &observed(Vec::new()));
    let after = plan_of(vec![service(json!({}))], &observed(as_live(&before)));
    assert_eq!(after.apply[0].why, Why::Changed);
}

#[test]
fn a_stateful_set_keeps_its_claim_templates_and_they_are_known_as_ours() {
    let with = |size: &str| {
        let mut set = stateful_set(&json!({}));
        set["spec"]["volumeClaimTemplates"] =
            json!([{"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": size}}}}]);
        set
    };
    let before = plan_of(vec![with("1Gi")], &observed(Vec::new()));
    let template = &before.apply[0].manifest.value()["spec"]["volumeClaimTemplates"][0];
    assert_eq!(template["metadata"]["labels"]["app.kubernetes.io/managed-by"], "pgop");
    let after = plan_of(vec![with("2Gi")], &observed(as_live(&before)));
    let sent =
        &after.apply[0].manifest.value()["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"];
    assert_eq!(sent, "1Gi", "the field can't be changed: the claims themselves grow");
}

#[test]
fn claims_are_owned_only_when_they_go_with_the_resource() {
    let claim = || {
        vec![
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "hippo-pvc"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}}}),
        ]
    };
    let strategy = Given::new(claim());
    let mut cluster = hippo();
    let make = |cluster: &PgCluster, observed: &Observed| {
        let validated = cluster.validate(observed, &strategy.0).unwrap();
        plan::<PgCluster>(&strategy, &validated, observed).unwrap()
    };
    let retained = make(&cluster, &observed(Vec::new()));
    assert!(
        retained.apply[0].manifest.value()["metadata"]
            .get("ownerReferences")
            .is_none()
    );
    cluster.spec.server.deletion_policy = pgop_core::crd::DeletionPolicy::Delete;
    let deleted = make(&cluster, &observed(as_live(&retained)));
    assert_eq!(
        deleted.apply[0].manifest.value()["metadata"]["ownerReferences"][0]["kind"],
        "PgCluster"
    );
    cluster.spec.server.deletion_policy = pgop_core::crd::DeletionPolicy::Retain;
    assert_eq!(
        make(&cluster, &observed(as_live(&deleted))).apply[0].why,
        Why::Changed,
        "and back again"
    );
}

#[test]
fn with_delete_the_claims_of_replicas_that_were_scaled_away_get_the_owner_and_nothing_else_does() {
    let claim = |name: &str, change: Value| {
        let mut claim = json!({"kind": "PersistentVolumeClaim", "metadata": {"name": name, "uid": format!("uid-of-{name}"),
            "creationTimestamp": "2026-11-22T10:00:05Z",
            "labels": {"app.kubernetes.io/managed-by": "pgop", "pgop.dev/cluster": "hippo"}}});
        for (key, value) in change.as_object().unwrap() {
            claim["metadata"][key] = value.clone();
        }
        claim
    };
    let mut cluster = hippo();
    cluster.metadata.creation_timestamp = serde_json::from_value(json!("2026-11-22T10:00:00Z")).unwrap();
    let observed = observed(vec![
        claim("data-hippo-replica-1", json!({})),
        claim("hippo-pvc", json!({})),
        claim("of-a-former-one", json!({"creationTimestamp": "2026-11-22T09:59:59Z"})),
        claim(
            "own-claim-of-a-person",
            json!({"labels": {"pgop.dev/cluster": "hippo"}}),
        ),
        claim(
            "of-another",
            json!({"labels": {"app.kubernetes.io/managed-by": "pgop", "pgop.dev/cluster": "rhino"}}),
        ),
        claim(
            "with-an-owner",
            json!({"ownerReferences": [{"uid": "other", "controller": true}]}),
        ),
        claim("going", json!({"deletionTimestamp": "2026-11-22T10:00:09Z"})),
    ]);
    let wanted = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "hippo-pvc"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}}});
    let strategy = Given::new(vec![wanted]);
    let adopted = |cluster: &PgCluster| {
        let validated = cluster.validate(&observed, &strategy.0).unwrap();
        let plan = plan::<PgCluster>(&strategy, &validated, &observed).unwrap();
        assert!(
            plan.clone().only_care().adopt.is_empty(),
            "not by a spec that is refused"
        );
        let adopted: Vec<String> = plan
            .adopt
            .into_iter()
            .map(|it| format!("{} {}", it.claim, it.uid))
            .collect();
        adopted
    };
    assert_eq!(adopted(&cluster), [""; 0], "with Retain");
    cluster.spec.server.deletion_policy = pgop_core::crd::DeletionPolicy::Delete;
    assert_eq!(adopted(&cluster), ["data-hippo-replica-1 uid-of-data-hippo-replica-1"]);
    cluster.metadata.creation_timestamp = None;
    assert_eq!(adopted(&cluster), [""; 0], "nobody knows what is older");
}

#[test]
fn a_plan_names_no_password_and_asks_for_the_secrets_that_are_missing() {
    let plan = plan_of(Vec::new(), &observed(Vec::new()));
    let secrets: Vec<(&str, SecretChange)> = plan.secrets.iter().map(|s| (s.name.as_str(), s.change)).collect();
    let generate = SecretChange::Generate;
    assert_eq!(
        secrets,
        [
            ("hippo-superuser", generate),
            ("hippo-replication", generate),
            ("hippo-user", generate)
        ]
    );
    let user = &plan.secrets[2].public;
    assert_eq!(
        (user["username"].as_str(), user["host"].as_str(), user["port"].as_str()),
        ("app", "hippo.zoo.svc", "5432")
    );
    assert!(
        plan.secrets
            .iter()
            .all(|secret| !secret.public.contains_key("password"))
    );
}

#[test]
fn a_backup_waits_for_its_source_and_its_claim_is_nobodys() {
    let backup: PgBackup = serde_saphyr::from_str(
        "apiVersion: pgop.dev/v1alpha1\nkind: PgBackup\nmetadata: {name: hippo-1, namespace: zoo, uid: u9}\nspec: {source: {kind: PgCluster, name: hippo}}",
    )
    .unwrap();
    let strategy = Given::new(vec![
        job("hippo-1"),
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "hippo-backup-pvc"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}}),
    ]);
    let observed = Observed {
        source: Some(SourceFacts::Cluster(Box::new(hippo()))),
        ..observed(Vec::new())
    };
    let validated = backup.validate(&observed, &strategy.0).unwrap();
    let plan = plan::<PgBackup>(&strategy, &validated, &observed).unwrap();
    assert_eq!(plan.held[0].why, "PgCluster hippo does not serve yet");
    let claim = plan.apply[0].manifest.value();
    assert!(claim["metadata"].get("ownerReferences").is_none());
    assert_eq!(claim["metadata"]["labels"]["pgop.dev/backups-of"], "hippo");
    assert!(
        claim["metadata"]["labels"].get("pgop.dev/backup").is_none(),
        "each backup would relabel it"
    );
}

/// A Job's worth of nothing, and one step.
#[derive(Debug)]
struct Stepping(Given, Step);

impl Strategy<PgCluster> for Stepping {
    fn description(&self) -> &Description {
        &self.0.0
    }

    fn manifests(&self, _: &ValidatedCluster) -> Result<Vec<Manifest>, StrategyError> {
        self.0.all()
    }

    fn next(&self, _: &ValidatedCluster, _: &Live) -> Option<Step> {
        Some(self.1.clone())
    }
}

/// The plan of a strategy with a step, where all Secrets are made already and `live` is there.
fn plan_with(step: Step, manifests: Vec<Value>, live: Vec<Value>) -> Result<Plan, PlanError> {
    plan_beside(step, manifests, live, ClaimFacts::default())
}

/// The same, where that is known of the claim `named`, which the pod mounts.
fn plan_beside(step: Step, manifests: Vec<Value>, live: Vec<Value>, named: ClaimFacts) -> Result<Plan, PlanError> {
    let strategy = Stepping(Given::new(manifests), step);
    let mut observed = observed(live);
    observed.claims.insert("named".to_owned(), Some(named));
    let cluster = hippo();
    let validated = cluster.validate(&observed, &strategy.0.0).unwrap();
    for secret in plan::<PgCluster>(&Given::new(Vec::new()), &validated, &observed)
        .unwrap()
        .secrets
    {
        let live = json!({"metadata": secret.metadata});
        observed.live.secrets.insert(secret.name, live);
    }
    let pod = json!({"metadata": {"name": "hippo-0", "uid": "uid-of-the-pod", "labels": {"pgop.dev/cluster": "hippo"},
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "hippo", "uid": "uid-of-the-set", "controller": true}]},
        "spec": {"containers": [], "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "named"}}]}});
    observed.live.pods = vec![serde_json::from_value(pod).unwrap()];
    plan::<PgCluster>(&strategy, &validated, &observed)
}

fn live_set() -> Value {
    let mut set = as_live(&plan_of(vec![stateful_set(&json!({}))], &observed(Vec::new()))).remove(0);
    set["metadata"]["uid"] = json!("uid-of-the-set");
    set
}

#[test]
fn a_step_is_taken_when_everything_else_is_as_it_should_be_and_says_why() {
    let restart = |pod: &str| Step::RestartPod {
        pod: pod.to_owned(),
        why: "takes over new settings".to_owned(),
    };
    let sets = || vec![stateful_set(&json!({}))];
    assert_eq!(
        plan_with(restart("hippo-0"), sets(), Vec::new()).unwrap().step,
        None,
        "its StatefulSet is missing"
    );
    let step = plan_with(restart("hippo-0"), sets(), vec![live_set()])
        .unwrap()
        .step
        .unwrap();
    assert_eq!(step.why, "takes over new settings");
    let (name, uid) = ("hippo-0".to_owned(), "uid-of-the-pod".to_owned());
    assert_eq!(step.action, Action::RestartPod { name, uid });
    let leaves = ClaimFacts {
        deleting: true,
        ..ClaimFacts::default()
    };
    let beside = plan_beside(restart("hippo-0"), sets(), vec![live_set()], leaves).unwrap();
    assert_eq!(beside.step, None, "a claim that is being deleted goes with its pod");
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "named", "deletionTimestamp": "2026-11-30T00:00:00Z"}});
    let beside = plan_with(restart("hippo-0"), sets(), vec![live_set(), claim]).unwrap();
    assert_eq!(beside.step, None, "so does one of the resource's own");
    let error = plan_with(restart("rhino-0"), sets(), vec![live_set()]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "strategy given: wants to restart pod rhino-0, which is none of this resource's"
    );
}

#[test]
fn what_a_step_applies_is_completed_and_not_removed_as_unwanted() {
    let failover = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hippo-failover"}, "data": {"leader": "hippo-0"}});
    let step = || Step::Apply {
        manifest: Box::new(Manifest::from_value(failover.clone()).unwrap()),
        why: "switches over".to_owned(),
    };
    let made = plan_with(step(), Vec::new(), Vec::new()).unwrap().step.unwrap();
    let Action::Apply(manifest) = made.action else {
        panic!("{made:?}")
    };
    let mut live = manifest.value().clone();
    assert_eq!(live["metadata"]["ownerReferences"][0]["uid"], "uid-of-hippo");
    live["metadata"]["uid"] = json!("uid-of-the-map");
    assert_eq!(plan_with(step(), Vec::new(), vec![live]).unwrap().prune, []);
}

/// Of a growth that did not come about a smaller one is sent, never less than what the claim has.
#[test]
fn a_claim_is_asked_for_less_only_where_it_did_not_grow() {
    let claim = |labels: &Value, size: &str, has: Option<&str>| {
        let mut claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "hippo-pvc", "labels": labels},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}});
        if let Some(has) = has {
            claim["status"] = json!({"capacity": {"storage": has}});
        }
        claim
    };
    let sent_of = |labels: &Value, wanted: &str, asked: &str, has: Option<&str>| {
        let first = plan_of(vec![claim(labels, asked, None)], &observed(Vec::new()));
        let mut live = as_live(&first);
        live[0]["status"] = claim(labels, asked, has)["status"].clone();
        let plan = plan_of(vec![claim(labels, wanted, None)], &observed(live));
        let size =
            |apply: &pgop_core::plan::Apply| apply.manifest.value()["spec"]["resources"]["requests"]["storage"].clone();
        plan.apply.iter().map(size).collect::<Vec<_>>()
    };
    let sent = |wanted: &str, asked: &str, has: Option<&str>| sent_of(&json!({}), wanted, asked, has);
    assert_eq!(sent("16Ti", "20Ti", Some("15Ti")), ["16Ti"]);
    assert_eq!(sent("14Ti", "20Ti", Some("15Ti")), [""; 0]);
    assert_eq!(sent("16Ti", "20Ti", Some("20Ti")), [""; 0]);
    assert_eq!(sent("16Ti", "20Ti", None), [""; 0]);
    assert_eq!(sent("21Ti", "20Ti", Some("15Ti")), ["21Ti"]);
    // A claim for several backups, each of which asks for another size.
    let of_backups = json!({"pgop.dev/backups-of": "hippo"});
    assert_eq!(sent_of(&of_backups, "16Ti", "20Ti", Some("15Ti")), [""; 0]);
}
