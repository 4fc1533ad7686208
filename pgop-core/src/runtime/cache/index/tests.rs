use serde_json::json;

use super::*;
use crate::kind::Kind;

const CLUSTER: What = What::Resource(ResourceKind::PgCluster);
const BACKUP: What = What::Resource(ResourceKind::PgBackup);
const SET: What = What::Object(Kind::StatefulSet);

fn seen(value: &Value) -> Seen {
    serde_json::from_value(value.clone()).unwrap()
}

/// An object that was made for the cluster `of`.
fn made(name: &str, of: &str, version: u32, status: &Value) -> Seen {
    let labels = json!({"pgop.dev/cluster": of});
    let metadata = json!({"name": name, "namespace": "a", "resourceVersion": version.to_string(), "labels": labels});
    seen(&json!({"metadata": metadata, "status": status}))
}

fn resource(name: &str, version: u32, generation: u32, status: &Value) -> Seen {
    let metadata =
        json!({"name": name, "namespace": "a", "resourceVersion": version.to_string(), "generation": generation});
    seen(&json!({"metadata": metadata, "spec": {"replicas": generation}, "status": status}))
}

fn backup(name: &str, version: u32, status: &Value) -> Seen {
    let metadata = json!({"name": name, "namespace": "a", "resourceVersion": version.to_string(), "generation": 1});
    seen(&json!({"metadata": metadata, "spec": {"source": {"kind": "PgCluster", "name": "hippo"}}, "status": status}))
}

fn around(name: &str) -> (Key, Cause) {
    (
        (ResourceKind::PgCluster, "a".to_owned(), name.to_owned()),
        Cause::Around,
    )
}

fn changed(name: &str) -> (Key, Cause) {
    (
        (ResourceKind::PgCluster, "a".to_owned(), name.to_owned()),
        Cause::Changed,
    )
}

fn of_backup(name: &str, cause: Cause) -> (Key, Cause) {
    ((ResourceKind::PgBackup, "a".to_owned(), name.to_owned()), cause)
}

fn listing(what: What, epoch: u32) -> Listing {
    let namespace = None;
    Listing { what, namespace, epoch }
}

#[test]
fn what_was_made_concerns_its_owner_and_noise_concerns_nobody() {
    let mut index = Index::default();
    let status = |ready: u32| json!({"updateRevision": "a", "availableReplicas": ready});
    assert_eq!(
        index.apply(SET, made("hippo", "hippo", 1, &status(0)), 0),
        [around("hippo")]
    );
    assert_eq!(index.apply(SET, made("hippo", "hippo", 2, &status(1)), 0), []);
    let rolled = json!({"updateRevision": "b"});
    assert_eq!(
        index.apply(SET, made("hippo", "hippo", 3, &rolled), 0),
        [around("hippo")]
    );
    assert_eq!(index.delete(SET, "a", "hippo"), [around("hippo")]);
    assert_eq!(index.delete(SET, "a", "hippo"), []);
    assert!(index.is_empty());
}

#[test]
fn another_label_concerns_both_owners() {
    let mut index = Index::default();
    index.apply(SET, made("x", "hippo", 1, &json!({})), 0);
    assert_eq!(
        index.apply(SET, made("x", "rhino", 2, &json!({})), 0),
        [around("hippo"), around("rhino")]
    );
    let of = |index: &Index, owner: &str| index.tied("a", &Tie::Made(ResourceKind::PgCluster, owner.into())).len();
    assert_eq!((of(&index, "hippo"), of(&index, "rhino")), (0, 1));
}

#[test]
fn our_own_status_is_no_news_to_the_resource_and_what_people_write_is() {
    let mut index = Index::default();
    assert_eq!(
        index.apply(CLUSTER, resource("hippo", 1, 1, &json!(null)), 0),
        [changed("hippo")]
    );
    for version in 2..100 {
        let refused = json!({"conditions": [{"message": format!("refused by request {version}")}]});
        assert_eq!(index.apply(CLUSTER, resource("hippo", version, 1, &refused), 0), []);
    }
    let known = index.get(CLUSTER, "a", "hippo").unwrap().value();
    assert_eq!(
        known["metadata"]["resourceVersion"], "99",
        "a status is written on top of the newest version"
    );
    assert_eq!(
        index.apply(CLUSTER, resource("hippo", 100, 2, &json!(null)), 0),
        [changed("hippo")]
    );
    for (field, value) in [
        ("labels", json!({"a": "b"})),
        ("annotations", json!({"a": "b"})),
        ("deletionTimestamp", json!("2026-01-01T00:00:00Z")),
        ("uid", json!("another of the same name")),
    ] {
        let mut object = json!({"metadata": {"name": "hippo", "namespace": "a", "generation": 2}});
        object["metadata"][field] = value;
        assert_eq!(index.apply(CLUSTER, seen(&object), 0), [changed("hippo")], "{field}");
    }
    assert_eq!(index.delete(CLUSTER, "a", "hippo"), [changed("hippo")]);
}

#[test]
fn a_backup_concerns_its_source_when_it_ended_and_the_source_its_waiting_backups() {
    let mut index = Index::default();
    index.apply(CLUSTER, resource("hippo", 1, 1, &json!(null)), 0);
    assert_eq!(
        index.apply(BACKUP, backup("b1", 2, &json!(null)), 0),
        [around("hippo"), of_backup("b1", Cause::Changed)]
    );
    assert_eq!(
        index.apply(BACKUP, backup("b1", 3, &json!({"phase": "Running"})), 0),
        []
    );
    let ready = json!({"phase": "Ready"});
    assert_eq!(
        index.apply(CLUSTER, resource("hippo", 4, 1, &ready), 0),
        [of_backup("b1", Cause::Around)]
    );
    let ended = json!({"path": "x", "finishedAt": "2026-01-01T00:00:00Z"});
    assert_eq!(index.apply(BACKUP, backup("b1", 5, &ended), 0), [around("hippo")]);
    assert_eq!(
        index.apply(CLUSTER, resource("hippo", 6, 1, &json!({"phase": "Degraded"})), 0),
        []
    );
    assert_eq!(
        index
            .tied("a", &Tie::Source(ResourceKind::PgCluster, "hippo".into()))
            .len(),
        1
    );
}

#[test]
fn the_claim_of_all_backups_concerns_those_that_wait() {
    let mut index = Index::default();
    index.apply(BACKUP, backup("b1", 1, &json!(null)), 0);
    let claim = json!({"metadata": {"name": "c", "namespace": "a", "labels": {"pgop.dev/backups-of": "hippo"}}});
    let what = What::Object(Kind::PersistentVolumeClaim);
    assert_eq!(index.apply(what, seen(&claim), 0), [of_backup("b1", Cause::Around)]);
    assert_eq!(index.tied("a", &Tie::BackupsOf("hippo".into())).len(), 1);
}

#[test]
fn what_vanished_while_nobody_watched_is_told_when_the_list_is_complete() {
    let mut index = Index::default();
    for name in ["hippo", "rhino"] {
        index.apply(CLUSTER, resource(name, 1, 1, &json!(null)), 0);
        index.apply(SET, made(name, name, 1, &json!({})), 0);
    }
    assert_eq!(
        index.apply(SET, made("hippo", "hippo", 1, &json!({})), 1),
        [],
        "it is as it was"
    );
    assert_eq!(index.listed(&listing(SET, 1)), [around("rhino")]);
    assert!(index.get(SET, "a", "rhino").is_none());
    let mut told = index.listed(&listing(CLUSTER, 1));
    told.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(told, [changed("hippo"), changed("rhino")]);
    // Another namespace's list says nothing about this one.
    let of_b = Listing {
        namespace: Some("b".to_owned()),
        ..listing(SET, 2)
    };
    assert_eq!(index.listed(&of_b), []);
    assert!(index.get(SET, "a", "hippo").is_some());
}

#[test]
fn a_look_costs_what_its_own_resource_has() {
    let mut index = Index::default();
    for number in 0..1000 {
        let name = format!("c{number}");
        index.apply(SET, made(&name, &name, 1, &json!({})), 0);
        index.apply(What::Pod, made(&format!("{name}-0"), &name, 1, &json!({})), 0);
    }
    let mine = index.tied("a", &Tie::Made(ResourceKind::PgCluster, "c7".into()));
    let names: Vec<&str> = mine.iter().map(|(_, name, _)| name.as_ref()).collect();
    assert_eq!(names, ["c7", "c7-0"]);
}
