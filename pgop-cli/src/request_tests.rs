use proptest::prelude::*;

use super::*;
use crate::args::Global;
use crate::env::Env;

fn settings(variables: &[(&str, &str)]) -> Settings {
    let dir = tempfile::tempdir().unwrap();
    let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    crate::config::resolve(&Global::default(), &Env::of(variables, dir.path()))
        .unwrap()
        .settings
}

#[test]
fn without_flags_it_is_what_the_api_server_would_fill_in() {
    let built = cluster("hippo", "shop", None, &Server::default(), &Settings::default()).unwrap();
    let text = r#"{"apiVersion": "pgop.dev/v1alpha1", "kind": "PgCluster", "metadata": {"name": "hippo", "namespace": "shop"}, "spec": {}}"#;
    assert_eq!(built, serde_json::from_str(text).unwrap());
}

#[test]
fn the_configuration_of_v1_keeps_its_meaning() {
    let dir = tempfile::tempdir().unwrap();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/fixture/v1.pgo.yaml");
    let global = Global {
        config: Some(file.into()),
        ..Global::default()
    };
    let settings = crate::config::resolve(&global, &Env::of([], dir.path()))
        .unwrap()
        .settings;
    let built = cluster("hippo", "shop", None, &Server::default(), &settings).unwrap();
    let spec = &built.spec.server;
    assert_eq!((built.spec.strategy.as_str(), built.spec.replicas), ("1", 2));
    assert_eq!(
        spec.storage,
        Storage {
            claim: Some("shared-pg".into()),
            ..Storage::default()
        }
    );
    assert_eq!(spec.postgres.replication_user.as_deref(), Some("master"));
    assert_eq!(
        (spec.postgres.user.as_deref(), spec.postgres.database.as_deref()),
        (Some("testuser"), Some("userdb"))
    );
    assert_eq!(
        (spec.pod.fs_group, spec.pod.supplemental_groups.as_slice()),
        (Some(26), &[65534][..])
    );
    let made: Vec<_> = passwords("hippo", spec, &settings)
        .into_iter()
        .map(|p| (p.secret, p.username, p.password))
        .collect();
    let expected = [
        ("hippo-user", "testuser", "wombat2"),
        ("hippo-superuser", "postgres", "wombat3"),
        ("hippo-replication", "master", "wombat1"),
    ]
    .map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
    assert_eq!(made, expected);
    assert!(!serde_json::to_string(&built).unwrap().contains("wombat"));
}

#[test]
fn flags_beat_the_configuration() {
    let settings = settings(&[
        ("PGO_DB_PORT", "6000"),
        ("PGO_DB_PVC_NAME", "shared"),
        ("PGO_DB_PG_USER", "ann"),
    ]);
    let flags = Server {
        port: Some(7000),
        user: Some("bob".into()),
        ..Server::default()
    };
    let spec = database("db", "shop", &flags, &settings).unwrap().spec.server;
    assert_eq!((spec.postgres.port, spec.postgres.user.as_deref()), (7000, Some("bob")));
    assert_eq!(spec.storage.claim.as_deref(), Some("shared"));
    let sized = Server {
        storage_size: Some("9Gi".into()),
        ..Server::default()
    };
    let spec = database("db", "shop", &sized, &settings).unwrap().spec.server;
    assert_eq!(
        (spec.storage.claim, spec.storage.size),
        (None, Some(Quantity("9Gi".into())))
    );
}

#[test]
fn a_named_secret_needs_no_password() {
    let settings = settings(&[("PGO_DB_PG_PASSWORD", "x")]);
    let flags = Server {
        user_secret: Some("mine".into()),
        ..Server::default()
    };
    let built = database("db", "shop", &flags, &settings).unwrap();
    assert!(passwords("db", &built.spec.server, &settings).is_empty());
}

#[test]
fn memory_is_limited_and_cpu_is_not() {
    let of = |cpu: &str, memory: &str| {
        let flags = Server {
            cpu: Some(cpu.into()),
            memory: Some(memory.into()),
            ..Server::default()
        };
        let resources = resources(&flags).unwrap().unwrap();
        let text =
            |map: Option<BTreeMap<String, Quantity>>, key: &str| map.and_then(|m| m.get(key).map(|q| q.0.clone()));
        [
            text(resources.requests.clone(), "cpu"),
            text(resources.limits.clone(), "cpu"),
            text(resources.requests, "memory"),
            text(resources.limits, "memory"),
        ]
        .map(Option::unwrap_or_default)
    };
    assert_eq!(of("500m", "1Gi"), ["500m", "", "1Gi", "1Gi"]);
    assert_eq!(of("500m:2", "1Gi:2Gi"), ["500m", "2", "1Gi", "2Gi"]);
    let flags = Server {
        cpu: Some("lots".into()),
        ..Server::default()
    };
    assert_eq!(
        resources(&flags).unwrap_err().to_string(),
        "--cpu lots: give a quantity such as 500m or 2Gi"
    );
}

#[test]
fn words_are_read_in_any_case_and_typos_are_named() {
    let of = |mode: &str, policy: &str| {
        let flags = Server {
            access_mode: Some(mode.into()),
            deletion_policy: Some(policy.into()),
            ..Server::default()
        };
        server(&flags, &Settings::default()).map(|s| (s.storage.access_mode, s.deletion_policy))
    };
    assert_eq!(
        of("readwritemany", "delete"),
        Ok((Some(AccessMode::ReadWriteMany), DeletionPolicy::Delete))
    );
    assert_eq!(
        of("RWX", "Delete").unwrap_err().to_string(),
        "--access-mode RWX: give ReadWriteOnce, ReadWriteOncePod or ReadWriteMany"
    );
    assert_eq!(
        of("ReadWriteOnce", "keep").unwrap_err().to_string(),
        "--deletion-policy keep: give Retain or Delete"
    );
}

#[test]
fn a_path_is_taken_as_it_is_pasted() {
    let path = |path: &str| {
        let flags = Server {
            backup_pvc: Some("c".into()),
            backup_path: Some(path.into()),
            ..Server::default()
        };
        server(&flags, &Settings::default()).map(|s| s.restore.unwrap().path)
    };
    assert_eq!(
        path("a-backups/2026-11-22-17-57-21/").unwrap(),
        "a-backups/2026-11-22-17-57-21"
    );
    assert!(path("/etc").is_err());
    assert!(path("../x").is_err());
}

#[test]
fn parameters_of_a_strategy_keep_their_type() {
    let pairs = [("a", "1"), ("b", "true"), ("c", "fast"), ("d", "[1]")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let map = parameters(&pairs).unwrap();
    assert_eq!(
        Value::Object(map),
        serde_json::json!({"a": 1, "b": true, "c": "fast", "d": [1]})
    );
    let twice = [("a", "1"), ("a", "2")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(
        parameters(&twice).unwrap_err().to_string(),
        "--strategy-param a is given twice"
    );
}

proptest! {
    /// Whatever is typed, the resource is one that can be read back, and holds what was typed.
    #[test]
    fn anything_typed_survives(name in ".{0,50}", user in ".{0,30}", value in ".{0,50}", key in "[a-z_.]{1,20}") {
        let flags = Server {
            user: Some(user.clone()),
            parameters: vec![(key.clone(), value.clone())],
            ..Server::default()
        };
        let built = database(&name, "ns", &flags, &Settings::default()).unwrap();
        let back: PgDatabase = serde_json::from_value(serde_json::to_value(&built).unwrap()).unwrap();
        prop_assert_eq!(&back.spec.server.postgres.parameters[&key], &value);
        prop_assert_eq!(back.spec.server.postgres.user.as_deref(), Some(user.as_str()));
    }
}
