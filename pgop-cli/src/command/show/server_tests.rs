use serde_json::{Value, json};

use pgop_core::crd::{ServerSpec, ServerStatus};
use pgop_core::{Owner, ResourceKind};

use super::super::primary::{Primary, Refused};
use super::*;

#[allow(clippy::unnecessary_wraps)] // as facts are read
fn list<T: serde::de::DeserializeOwned>(value: Value) -> Read<Vec<T>> {
    Ok(serde_json::from_value(value).unwrap())
}

fn server_pod(name: &str, role: &str, ready: bool, ip: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"pgop.dev/role": role}},
        "status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    })
}

fn facts() -> Facts {
    let status = json!({
        "phase": "Ready",
        "conditions": [{"type": "Ready", "status": "True", "reason": "Serving", "message": "", "lastTransitionTime": "2026-11-22T12:00:00Z"}],
        "lastBackup": {"name": "hippo-20261122-110000", "claim": "hippo-backup-pvc", "path": "hippo-backups/2026-11-22-11-00-00", "finishedAt": "2026-11-22T11:00:05Z"},
    });
    Facts {
        owner: Owner {
            kind: ResourceKind::PgCluster,
            name: "hippo".into(),
            namespace: "shop".into(),
            uid: "1".into(),
        },
        spec: ServerSpec::default(),
        status: serde_json::from_value(status).unwrap(),
        deleting: false,
        unseen: false,
        sets: list(json!([
            {"metadata": {"name": "hippo"}, "spec": {"replicas": 1, "selector": {}, "serviceName": "x", "template": {}}, "status": {"replicas": 1, "readyReplicas": 1}},
            {"metadata": {"name": "hippo-replica"}, "spec": {"replicas": 2, "selector": {}, "serviceName": "x", "template": {}}, "status": {"replicas": 2, "readyReplicas": 1}},
        ])),
        pods: list(json!([
            server_pod("hippo-0", "primary", true, "10.0.0.4"),
            server_pod("hippo-replica-0", "replica", true, "10.0.0.5"),
            server_pod("hippo-replica-1", "replica", false, "10.0.0.6"),
        ])),
        services: list(json!([
            {"metadata": {"name": "hippo"}, "spec": {"clusterIP": "10.99.3.20", "ports": [{"port": 5432}]}},
            {"metadata": {"name": "hippo-pods"}, "spec": {"clusterIP": "None", "ports": [{"port": 5432}]}},
            {"metadata": {"name": "hippo-replica"}, "spec": {"clusterIP": "fd00::5", "ports": [{"port": 5432}]}},
        ])),
        claims: list(json!([
            {"metadata": {"name": "hippo-pvc"}, "spec": {"resources": {"requests": {"storage": "20Gi"}}}, "status": {"phase": "Bound", "capacity": {"storage": "10Gi"}}},
        ])),
        secrets: Ok(vec!["hippo-superuser".into(), "hippo-user".into()]),
        primary: None,
    }
}

fn drawn(facts: &Facts) -> String {
    tree(facts, false, "2026-11-22T12:00:05Z".parse().unwrap()).render(false)
}

#[test]
fn a_cluster_is_drawn_as_it_stands() {
    let mut facts = facts();
    facts.primary = Some(Err(
        "not allowed to run psql in its pod (get and create on pods/exec)".into()
    ));
    let expected = "\
cluster : hippo (Ready)
├── statefulset : hippo (1/1 ready)
├── statefulset : hippo-replica (1/2 ready)
├── pod : hippo-0 (primary, ready, 10.0.0.4)
├── pod : hippo-replica-0 (replica, ready, lag unknown, 10.0.0.5)
├── pod : hippo-replica-1 (replica, not ready, lag unknown, 10.0.0.6)
├── service : hippo (10.99.3.20:5432)
├── service : hippo-pods (headless)
├── service : hippo-replica ([fd00::5]:5432)
├── claim : hippo-pvc (10Gi, growing to 20Gi, Bound)
├── secret : hippo-superuser (for the superuser)
├── secret : hippo-user (for applications)
├── primary : ? (not allowed to run psql in its pod (get and create on pods/exec))
└── last backup : hippo-20261122-110000 (claim hippo-backup-pvc, path hippo-backups/2026-11-22-11-00-00, 60 min ago)
";
    assert_eq!(drawn(&facts), expected);
}

#[test]
fn who_runs_which_agent_and_is_as_another_version_made_it_is_shown() {
    let mut facts = facts();
    facts.status.members = serde_json::from_value(json!([
        {"name": "hippo-0", "role": "primary", "ready": true, "agent": "op:1", "older": true},
        {"name": "hippo-replica-0", "role": "replica", "ready": true, "agent": "op:2"},
        {"name": "hippo-replica-1", "role": "replica", "ready": true, "agent": "op:1", "older": true},
    ]))
    .unwrap();
    let text = drawn(&facts);
    let expected = "\
├── agent : op:1 (hippo-0, hippo-replica-1)
├── agent : op:2 (hippo-replica-0)
├── older : hippo-0, hippo-replica-1 (as another version of pgop made them; `pgo upgrade servers hippo` restarts them, one at a time)
";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_setting_that_is_not_in_force_is_shown() {
    let mut facts = facts();
    facts.primary = Some(Ok(Primary {
        refused: vec![Refused {
            name: "work_mem".into(),
            value: "banana".into(),
            why: "setting could not be applied".into(),
        }],
        ..Primary::default()
    }));
    let text = drawn(&facts);
    assert!(
        text.contains("├── setting : work_mem = banana is not in force: setting could not be applied\n"),
        "{text}"
    );
}

#[test]
fn what_is_wrong_stands_out() {
    let mut facts = facts();
    facts.pods = list(json!([server_pod("hippo-0", "primary", false, "10.0.0.4")]));
    facts.status = serde_json::from_value::<ServerStatus>(json!({
        "phase": "Degraded",
        "members": [{"name": "hippo-0", "role": "primary", "ready": false, "message": "no space left on claim hippo-pvc"}],
        "conditions": [
            {"type": "Accepted", "status": "True", "reason": "Valid", "message": "", "lastTransitionTime": "2026-11-22T12:00:00Z"},
            {"type": "Ready", "status": "False", "reason": "PrimaryDown", "message": "hippo-0 does not serve", "lastTransitionTime": "2026-11-22T12:00:00Z"},
            {"type": "Degraded", "status": "True", "reason": "PrimaryDown", "message": "writes fail", "lastTransitionTime": "2026-11-22T12:00:00Z"},
        ],
    }))
    .unwrap();
    let text = drawn(&facts);
    assert!(text.starts_with("cluster : hippo (Degraded)\n"), "{text}");
    assert!(
        text.contains("├── pod : hippo-0 (primary, not ready, 10.0.0.4)\n│   └── no space left on claim hippo-pvc\n"),
        "{text}"
    );
    assert!(text.ends_with("├── condition : not Ready (PrimaryDown): hippo-0 does not serve\n└── condition : Degraded (PrimaryDown): writes fail\n"), "{text}");
    assert!(!text.contains("Accepted"), "{text}");
}

#[test]
fn what_may_not_be_read_is_said_in_its_place() {
    let mut facts = facts();
    facts.secrets = Err("not allowed to list secrets in namespace shop".into());
    assert!(drawn(&facts).contains("├── secrets : ? (not allowed to list secrets in namespace shop)\n"));
    assert!(!drawn(&facts).contains("secret : "));
}

#[test]
fn a_resource_that_nobody_has_seen_says_so() {
    let mut facts = facts();
    facts.status = ServerStatus::default();
    assert!(drawn(&facts).starts_with("cluster : hippo (not seen by the operator yet)\n"));
    facts.deleting = true;
    assert!(drawn(&facts).starts_with("cluster : hippo (being deleted)\n"));
}

#[test]
fn a_claim_that_is_being_deleted_or_goes_with_it_says_so() {
    let mut facts = facts();
    facts.claims = Ok(vec![
        crate::claim::tests::claim("hippo-pvc", None, true),
        crate::claim::tests::claim("data-hippo-replica-0", Some("1"), false),
    ]);
    let text = drawn(&facts);
    assert!(text.contains("claim : hippo-pvc (?, Bound, being deleted)\n"), "{text}");
    assert!(
        text.contains("claim : data-hippo-replica-0 (?, Bound, goes with PgDatabase hippo)\n"),
        "{text}"
    );
}

#[test]
fn the_secret_that_applications_use_is_told_from_one_that_is_left_behind() {
    let mut facts = facts();
    facts.spec.credentials.user = Some("shop-login".into());
    facts.secrets = Ok(vec!["hippo-user".into(), "shop-login".into(), "other".into()]);
    let text = drawn(&facts);
    assert!(text.contains("secret : shop-login (for applications)\n"), "{text}");
    assert!(
        text.contains("secret : hippo-user (not in use: spec.credentials.user names shop-login)\n"),
        "{text}"
    );
    assert!(text.contains("secret : other\n"), "{text}");
}
