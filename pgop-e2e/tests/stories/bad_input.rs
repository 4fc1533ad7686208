//! Input that makes no sense: each is refused with words that name the field, and nothing is created.

use pgop_e2e::{Space, api, hold, until};
use serde_json::{Value, json};

/// A command line, and what its error has to name.
#[rustfmt::skip] // a table
const LINES: &[(&str, &[&str])] = &[
    ("create database Orders", &["metadata.name", "lower-case"]),
    ("create database 1orders", &["metadata.name"]),
    ("create cluster a-name-that-is-much-too-long-for-what-is-derived", &["metadata.name", "40"]),
    ("create cluster hippo --replicas=-1", &["--replicas"]),
    ("create cluster hippo --replicas=51", &["--replicas"]),
    ("create database orders --storage-size=lots", &["storage.size", "lots"]),
    ("create database orders --storage-size=1Mi", &["storage.size", "1Mi"]),
    ("create database orders --access-mode=Sometimes", &["access", "Sometimes"]),
    ("create database orders --port=0", &["--port"]),
    ("create database orders --user=postgres", &["user", "postgres"]),
    ("create database orders --database=template1", &["spec.postgres.database"]),
    ("create database orders --parameter=nonsense", &["--parameter"]),
    ("create database orders --parameter=port=1", &["parameters", "port"]),
    ("create database orders --strategy-param=nope=1", &["strategyParameters", "nope"]),
    ("create database orders --backup-pvc=x", &["--backup-path"]),
    ("create database orders --backup-pvc=x --backup-path=../../etc", &["--backup-path", "../../etc"]),
    ("create database orders --claim=nothing", &["nothing"]),
    ("create database orders --memory=much", &["memory", "much"]),
    ("create backup nothing", &["nothing"]),
    ("create database all", &["all"]),
    ("scale cluster nothing --replicas=2", &["nothing"]),
    ("show database nothing", &["nothing"]),
    ("delete database nothing --yes", &["nothing"]),
    ("psql nothing -- -c select", &["nothing"]),
];

#[test]
#[ignore = "needs cluster (makes a namespace)"]
fn senseless_input_is_refused_by_name_and_makes_nothing() {
    let space = Space::new("input");
    let mut wrong = Vec::new();
    for (line, words) in LINES {
        let done = space.pgo(line);
        let missing: Vec<&str> = words
            .iter()
            .copied()
            .filter(|word| !done.stderr.contains(word))
            .collect();
        if done.code == 0 || done.stderr.contains("panicked") || !missing.is_empty() {
            wrong.push(format!("{done}, and these words are missing: {missing:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for kind in ["PgDatabase", "PgCluster", "PgBackup"] {
        assert_eq!(space.names("pgop.dev/v1alpha1", kind), Vec::<String>::new());
    }

    // What comes past pgo is refused by the API server or by the operator.
    let mut wrong = Vec::new();
    for (name, spec, field) in BY_HAND {
        let spec: Value = serde_json::from_str(spec).unwrap();
        let database =
            json!({"apiVersion": "pgop.dev/v1alpha1", "kind": "PgDatabase", "metadata": {"name": name}, "spec": spec});
        if let Err(refusal) = api::create(space.name(), database) {
            if !refusal.contains(field) {
                wrong.push(format!("{name}: {refusal}"));
            }
            continue;
        }
        let refused = space.phase_becomes("PgDatabase", name, "Invalid", 30);
        let (status, reason, message) = api::condition(&refused, "Accepted");
        let events = until(10, "its event", || match space.events(name) {
            none if none.is_empty() => Err(name.to_string()),
            events => Ok(events),
        });
        let is_told = status == "False" && reason == "Invalid" && message.contains(field);
        if !is_told || !events.iter().any(|event| event.contains(field)) {
            wrong.push(format!("{name}: {status} {reason} {message}; {events:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    space
        .pgo("create database elsewhere --strategy=nope --wait --timeout 1m")
        .fails(1, &["spec.strategy", "nope", "standalone"]);
    hold(3, "nothing is created", || {
        let made = [space.made(), space.names("v1", "PersistentVolumeClaim")].concat();
        if made.is_empty() {
            Ok(())
        } else {
            Err(format!("{made:?}"))
        }
    });
}

/// Name, spec and the field that has to be named.
#[rustfmt::skip] // a table
const BY_HAND: &[(&str, &str, &str)] = &[
    ("unknown-strategy", r#"{"strategy": "nope"}"#, "strategy"),
    ("tiny", r#"{"storage": {"size": "1Mi"}}"#, "spec.storage.size"),
    ("both", r#"{"storage": {"claim": "x", "className": "y"}}"#, "storage"),
    ("negative", r#"{"postgres": {"port": -1}}"#, "port"),
    ("owner", r#"{"postgres": {"user": "pg_owner"}}"#, "spec.postgres.user"),
    ("unsafe", r#"{"postgres": {"parameters": {"data_directory": "/tmp"}}}"#, "data_directory"),
    ("no-claim", r#"{"storage": {"claim": "nothing"}}"#, "spec.storage.claim"),
    ("no-secret", r#"{"credentials": {"user": "nothing"}}"#, "spec.credentials.user"),
    ("outside", r#"{"restore": {"claim": "x", "path": "../y"}}"#, "spec.restore.path"),
    ("parameter", r#"{"strategyParameters": {"nope": true}}"#, "strategyParameters"),
    ("label", r#"{"pod": {"labels": {"pgop.dev/role": "primary"}}}"#, "spec.pod.labels"),
];
