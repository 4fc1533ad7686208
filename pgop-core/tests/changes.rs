//! Changes of a resource that runs: which would harm its data, and are refused, and that what was accepted stays in force beside them.
#![allow(clippy::unwrap_used, clippy::panic)] // clippy.toml allows it in tests, and sees none in their helpers

use pgop_core::Managed;
use pgop_core::crd::{PgBackup, PgCluster, PgDatabase, ServerStatus};
use pgop_core::invalid::Invalid;
use pgop_core::manifest::Kind;
use pgop_core::observed::{ClaimFacts, Observed, SecretFacts, SourceFacts};
use pgop_core::strategy::{Description, Members};
use serde_json::{Value, json};

fn strategy() -> Description {
    Description {
        members: Members::by_role(),
        ..Description::new("streaming")
    }
}

fn observed() -> Observed {
    let usable = |username: &str| SecretFacts::Usable {
        username: username.to_owned(),
    };
    Observed {
        claims: ["shared", "other", "vault"]
            .map(|claim| (claim.to_owned(), Some(ClaimFacts::default())))
            .into(),
        secrets: [
            ("for-app".to_owned(), usable("app")),
            ("for-boss".to_owned(), usable("boss")),
            ("gone".to_owned(), SecretFacts::Missing),
        ]
        .into(),
        ..Observed::default()
    }
}

fn hippo(spec: &str) -> PgCluster {
    let text = format!(
        "apiVersion: pgop.dev/v1alpha1\nkind: PgCluster\nmetadata: {{name: hippo, namespace: zoo, uid: u1, generation: 2}}\nspec: {spec}"
    );
    serde_saphyr::from_str(&text).unwrap()
}

fn with_status(spec: &str, status: &Value) -> PgCluster {
    let status: ServerStatus = serde_json::from_value(status.clone()).unwrap();
    PgCluster {
        status: Some(status),
        ..hippo(spec)
    }
}

/// One that serves, made with nothing in its spec, after a change to `spec`.
fn changed_to(spec: &str) -> PgCluster {
    with_status(spec, &served(&json!({})))
}

/// The status of one that serves, made with nothing in its spec but `other`.
fn served(other: &Value) -> Value {
    let mut accepted =
        json!({"image": "postgres:17", "version": "17", "user": "app", "database": "app", "runAsUser": 999});
    for (key, value) in other.as_object().unwrap() {
        accepted[key] = value.clone();
    }
    json!({"observedGeneration": 1, "initialized": true, "strategy": {"name": "streaming", "version": 1}, "accepted": accepted})
}

fn refusals(cluster: &PgCluster) -> Vec<Invalid> {
    cluster.validate(&observed(), &strategy()).err().unwrap_or_default()
}

fn image(cluster: &PgCluster) -> String {
    cluster.validate(&observed(), &strategy()).unwrap().server.image
}

/// The spec of one that serves, the field that is named, a part of what is said.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "{postgres: {version: '16'}}",
        "spec.postgres.version",
        "asks for PostgreSQL 16, and the data has the format of 17",
    ),
    ("{postgres: {version: '18'}}", "spec.postgres.version", "set it back"),
    (
        "{postgres: {image: 'lab/postgres:16-alpine'}}",
        "spec.postgres.image",
        "asks for PostgreSQL 16",
    ),
    (
        "{postgres: {image: 'lab/postgres:16', version: '17'}}",
        "spec.postgres.image",
        "asks for PostgreSQL 16",
    ),
    (
        "{postgres: {user: boss}}",
        "spec.postgres.user",
        "the database belongs to `app`",
    ),
    (
        "{credentials: {user: for-boss}}",
        "spec.credentials.user",
        "which is for `boss`, and the database belongs to `app`",
    ),
    (
        "{postgres: {database: second}}",
        "spec.postgres.database",
        "was made with `app`",
    ),
    (
        "{postgres: {database: postgres}}",
        "spec.postgres.database",
        "was made with `app`",
    ),
    ("{pod: {runAsUser: 70}}", "spec.pod.runAsUser", "set it back to 999"),
    (
        "{storage: {claim: shared}}",
        "spec.storage.claim",
        "its data is on a claim that pgop makes",
    ),
    (
        "{restore: {claim: vault, path: a/b}}",
        "spec.restore",
        "a snapshot never replaces data",
    ),
];

const ACCEPTED: &[&str] = &[
    "{}",
    "{postgres: {version: '17'}}",
    "{postgres: {version: '17.2'}}",
    "{postgres: {image: 'lab/postgres:17'}}",
    "{postgres: {image: 'lab/own-postgres'}}",
    "{postgres: {image: 'lab/own-postgres:2026-11', version: '17'}}",
    "{postgres: {user: app, database: app}}",
    "{credentials: {user: for-app}}",
    "{pod: {runAsUser: 999, fsGroup: 26}}",
];

#[test]
fn what_would_harm_data_is_refused_before_anything_is_done_and_what_was_accepted_stays_in_force() {
    let in_force = |cluster: &PgCluster| cluster.in_force(&observed(), &strategy()).map(|valid| valid.server);
    let before = in_force(&changed_to("{}")).unwrap();
    for (spec, field, part) in REFUSED {
        let cluster = changed_to(spec);
        let found = refusals(&cluster);
        assert!(
            found.len() == 1 && found[0].field == *field && found[0].to_string().contains(part),
            "{spec}: {found:?}"
        );
        let server = in_force(&cluster).unwrap_or_else(|| panic!("{spec}"));
        assert_eq!(server.accepted, before.accepted, "{spec}");
        assert_eq!(
            (
                &server.image,
                &server.database,
                &server.storage,
                &server.restore,
                server.initialize
            ),
            (&before.image, &before.database, &before.storage, &None, false),
            "{spec}"
        );
        assert_eq!(server.pod.run_as_user.unwrap_or(999), 999, "{spec}");
    }
    for spec in ACCEPTED {
        assert_eq!(refusals(&changed_to(spec)), [], "{spec}");
    }
}

#[test]
fn a_spec_that_names_no_version_keeps_the_one_of_the_data_whatever_this_pgop_would_choose() {
    let old = json!({"image": "postgres:15", "version": "15"});
    assert_eq!(image(&with_status("{}", &served(&old))), "postgres:15");
    // While nothing serves yet it stays too, but only until somebody changes the spec: that may be the mend.
    let starting = json!({"observedGeneration": 2, "accepted": {"image": "postgres:15", "version": "15"}});
    assert_eq!(image(&with_status("{}", &starting)), "postgres:15");
    let mistyped = json!({"observedGeneration": 1, "accepted": {"image": "postgres:71", "version": "71"}});
    assert_eq!(image(&with_status("{}", &mistyped)), image(&hippo("{}")));
    let unknown = json!({"image": "lab/own-postgres", "version": null});
    let found = refusals(&with_status("{}", &served(&unknown)));
    assert!(
        found[0].to_string().contains("give the major version of the data"),
        "{found:?}"
    );
    assert_eq!(
        refusals(&with_status(
            "{postgres: {image: lab/own-postgres:2}}",
            &served(&unknown)
        )),
        []
    );
}

#[test]
fn a_tag_that_is_no_version_is_none_once_the_spec_says_so() {
    let built = |image: &str, version: &str| served(&json!({"image": image, "version": version}));
    let next = "{postgres: {image: 'own:21', version: '17'}}";
    let found = refusals(&with_status("{postgres: {image: 'own:21'}}", &built("own:20", "20")));
    assert!(found[0].mend.contains("give spec.postgres.version before"), "{found:?}");
    let told = "{postgres: {image: 'own:20', version: '17'}}";
    let told = with_status(told, &built("own:20", "20"))
        .validate(&observed(), &strategy())
        .unwrap();
    assert_eq!(told.server.accepted.version.as_deref(), Some("17"));
    assert_eq!(refusals(&with_status(next, &built("own:20", "17"))), []);
}

#[test]
fn a_first_start_that_fails_can_be_mended_in_the_spec() {
    let mut status = served(&json!({"version": "71", "image": "postgres:71", "user": "typo"}));
    status["initialized"] = json!(false);
    for (spec, ..) in REFUSED
        .iter()
        .filter(|(_, field, _)| !["spec.storage.claim", "spec.restore"].contains(field))
    {
        let found = refusals(&with_status(spec, &status));
        assert!(
            found.is_empty() || spec.contains("database: postgres"),
            "{spec}: {found:?}"
        );
    }
}

#[test]
fn a_restore_that_is_not_done_is_neither_left_nor_changed() {
    let asked = "{restore: {claim: vault, path: a/b}}";
    let new = hippo(asked).validate(&observed(), &strategy()).unwrap().server;
    assert!(!new.initialize && new.restore.is_some());
    let status = json!({"observedGeneration": 1, "accepted": new.accepted});
    assert_eq!(refusals(&with_status(asked, &status)), []);
    for (spec, part) in [
        (
            "{}",
            "was removed before a/b of claim vault was restored, and an empty database would be served",
        ),
        (
            "{restore: {claim: vault, path: c/d}}",
            "the restore of a/b of claim vault is not done",
        ),
    ] {
        let cluster = with_status(spec, &status);
        let found = refusals(&cluster);
        assert!(found.len() == 1 && found[0].problem.contains(part), "{found:?}");
        let server = cluster.in_force(&observed(), &strategy()).unwrap().server;
        assert_eq!(
            (server.restore, server.initialize),
            (new.restore.clone(), false),
            "it goes on"
        );
    }
    // Once it is done the field may go; and an empty volume is a loss from then on, not only once the server has served.
    let done =
        json!({"observedGeneration": 1, "accepted": new.accepted, "restoredFrom": {"claim": "vault", "path": "a/b"}});
    let server = with_status("{}", &done)
        .validate(&observed(), &strategy())
        .unwrap()
        .server;
    assert_eq!(
        (server.restore, server.accepted.restore, server.initialize),
        (None, None, false)
    );
}

#[test]
fn a_restore_that_has_a_job_and_no_status_yet_is_not_left_either() {
    let mut observed = observed();
    let owner = json!({"apiVersion": "pgop.dev/v1alpha1", "kind": "PgCluster", "name": "hippo", "uid": "u1", "controller": true});
    let job = json!({"metadata": {"name": "hippo-restore-01234567", "ownerReferences": [owner]}});
    observed
        .live
        .objects
        .insert((Kind::Job, "hippo-restore-01234567".to_owned()), job);
    let found = hippo("{}").validate(&observed, &strategy()).unwrap_err();
    assert!(
        found[0]
            .problem
            .contains("Job hippo-restore-01234567 restores a snapshot"),
        "{found:?}"
    );
}

#[test]
fn a_claim_that_is_being_deleted_or_has_another_name_does_not_refuse_the_spec() {
    // A list that lacks the primary's claim while that one is held back; and claims as a bundle of others calls them.
    for claims in [
        json!(["data-hippo-replica-0"]),
        json!(["hippo-data", "hippo-data-1"]),
        json!([]),
    ] {
        let mut status = served(&json!({}));
        status["claims"] = claims;
        assert_eq!(refusals(&with_status("{}", &status)), []);
    }
    let shared = served(&json!({"claim": "shared"}));
    assert_eq!(refusals(&with_status("{storage: {claim: shared}}", &shared)), []);
    for spec in ["{storage: {claim: other}}", "{}"] {
        let found = refusals(&with_status(spec, &shared));
        assert!(found[0].problem.contains("its data is on claim shared"), "{found:?}");
    }
}

#[test]
fn a_resource_of_an_older_pgop_is_judged_by_what_its_primary_was_made_with() {
    let mut observed = observed();
    let set = json!({"metadata": {"name": "hippo"}, "spec": {"template": {"metadata": {"labels": {"pgop.dev/role": "primary"}},
        "spec": {"securityContext": {"runAsUser": 70}, "containers": [{"name": "postgres", "image": "postgres:15"}]}}}});
    observed
        .live
        .objects
        .insert((Kind::StatefulSet, "hippo".to_owned()), set);
    let status = json!({"observedGeneration": 1, "initialized": true, "claims": ["hippo-pvc"], "strategy": {"name": "streaming", "version": 1}});
    let check = |spec: &str, status: &Value| with_status(spec, status).validate(&observed, &strategy());
    let server = check("{pod: {runAsUser: 70}}", &status).unwrap().server;
    assert_eq!(
        (server.image.as_str(), server.accepted.version.as_deref()),
        ("postgres:15", Some("15"))
    );
    assert_eq!(
        server.accepted.user.as_deref(),
        Some("app"),
        "recorded as it is first seen"
    );
    let found = check(
        "{postgres: {version: '17'}, restore: {claim: vault, path: a/b}, storage: {claim: shared}}",
        &status,
    )
    .unwrap_err();
    let fields: Vec<&str> = found.iter().map(|it| it.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "spec.postgres.version",
            "spec.storage.claim",
            "spec.restore",
            "spec.pod.runAsUser"
        ]
    );
    let mut shared = status;
    shared["claims"] = json!(["shared"]);
    assert!(check("{pod: {runAsUser: 70}, storage: {claim: shared}}", &shared).is_ok());
    assert!(check("{pod: {runAsUser: 70}}", &shared).is_err());
}

#[test]
fn what_vanished_beside_a_resource_does_not_end_its_care_and_a_new_one_is_not_begun() {
    let spec = "{credentials: {user: gone}, postgres: {parameters: {fsync: 'off', work_mem: 1MB}}}";
    assert!(
        hippo(spec).in_force(&observed(), &strategy()).is_none(),
        "nothing was accepted"
    );
    let cluster = changed_to(spec);
    assert_eq!(refusals(&cluster).len(), 2);
    let server = cluster.in_force(&observed(), &strategy()).unwrap().server;
    assert_eq!(server.secrets.user.name(), "gone");
    assert_eq!(server.parameters.keys().collect::<Vec<_>>(), ["work_mem"]);
    let mut other = changed_to("{}");
    other.status.as_mut().unwrap().storage_size = serde_json::from_value(json!("9Gi")).unwrap();
    other.spec.server.storage.size = serde_json::from_value(json!("1Gi")).unwrap();
    assert_eq!(
        other.in_force(&observed(), &strategy()).unwrap().server.storage.size,
        "9Gi"
    );
    other.spec.server.postgres.port = 0;
    assert!(
        other.in_force(&observed(), &strategy()).is_none(),
        "nobody knows which port it had"
    );
}

#[test]
fn a_database_called_postgres_is_refused_where_it_is_not_in_use_already() {
    let found = refusals(&hippo("{postgres: {database: postgres}}"));
    assert!(
        found[0]
            .to_string()
            .contains("in which the ordinary role may make nothing"),
        "{found:?}"
    );
    let old = served(&json!({"database": "postgres"}));
    assert_eq!(refusals(&with_status("{postgres: {database: postgres}}", &old)), []);
}

#[test]
fn senders_and_slots_are_enough_for_the_replicas_and_a_backup() {
    let with = |settings: &str, replicas: i32| {
        refusals(&hippo(&format!(
            "{{replicas: {replicas}, postgres: {{parameters: {{{settings}}}}}}}"
        )))
    };
    assert_eq!(with("max_wal_senders: '7', max_replication_slots: '6'", 5), []);
    assert_eq!(with("max_wal_senders: '3', max_replication_slots: '2'", 1), []);
    let found = with("MAX_WAL_SENDERS: '3', max_replication_slots: '4'", 5);
    let said: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "spec.postgres.parameters.MAX_WAL_SENDERS = 3 is too few for 5 replicas and a backup, which need at least 7: raise it, leave it out, or ask for fewer replicas",
            "spec.postgres.parameters.max_replication_slots = 4 is too few for 5 replicas and a backup, which need at least 6: raise it, leave it out, or ask for fewer replicas",
        ]
    );
}

fn backup(spec: &str) -> PgBackup {
    let text = format!(
        "apiVersion: pgop.dev/v1alpha1\nkind: PgBackup\nmetadata: {{name: b, namespace: zoo, uid: u9, creationTimestamp: 2026-11-22T17:57:21Z}}\nspec: {spec}"
    );
    serde_saphyr::from_str(&text).unwrap()
}

#[test]
fn a_backup_has_the_image_and_user_of_what_runs_also_where_the_source_asks_for_another() {
    let mut source = with_status("{postgres: {version: '18'}, pod: {runAsUser: 26}}", &served(&json!({})));
    let check = |source: &PgCluster| {
        let observed = Observed {
            source: Some(SourceFacts::Cluster(Box::new(source.clone()))),
            ..observed()
        };
        backup("{source: {kind: PgCluster, name: hippo}}")
            .validate(&observed, &strategy())
            .unwrap()
    };
    let valid = check(&source);
    assert_eq!(
        (valid.image.as_str(), valid.pod.run_as_user),
        ("postgres:17", Some(999))
    );
    // A source that serves and was not looked at by this pgop yet: with which image is not known.
    let ready = json!([{"name": "hippo-0", "role": "primary", "ready": true}]);
    source.status = serde_json::from_value(json!({"members": ready})).unwrap();
    assert!(!check(&source).source_serves);
    source.status = serde_json::from_value(json!({"members": ready, "accepted": {"image": "postgres:17"}})).unwrap();
    assert!(check(&source).source_serves);
    assert_eq!((check(&source).host.as_str(), check(&source).port), ("hippo", 5432));
    // What its strategy calls the Service, and the port that is in force.
    let endpoints = json!({"readWrite": "hippo-rw.zoo.svc:6432"});
    source.status =
        serde_json::from_value(json!({"endpoints": endpoints, "accepted": {"image": "postgres:17"}})).unwrap();
    assert_eq!((check(&source).host.as_str(), check(&source).port), ("hippo-rw", 6432));
}

#[test]
fn a_backup_does_not_go_into_a_claim_that_holds_a_database() {
    let check = |spec: &str, source: &str| {
        let labels = json!({"labels": {"pgop.dev/database": "orders"}});
        let made = ClaimFacts::of(&serde_json::from_value(labels).unwrap());
        let mut observed = observed();
        observed.claims.insert("orders-pvc".to_owned(), Some(made));
        observed.source = Some(SourceFacts::Cluster(Box::new(hippo(source))));
        backup(spec).validate(&observed, &strategy()).err().unwrap_or_default()
    };
    let to = |claim: &str| format!("{{source: {{kind: PgCluster, name: hippo}}, storage: {{claim: {claim}}}}}");
    assert_eq!(check(&to("shared"), "{}"), []);
    let found = check(&to("orders-pvc"), "{}");
    assert!(
        found[0]
            .problem
            .contains("claim orders-pvc, which holds the data of PgDatabase orders"),
        "{found:?}"
    );
    let found = check(&to("shared"), "{storage: {claim: shared}}");
    assert!(found[0].problem.contains("the data of PgCluster hippo"), "{found:?}");
}

#[test]
fn equal_quantities_give_equal_objects() {
    let with = |memory: &str, cpu: &str, size: &str| {
        let spec =
            format!("{{resources: {{limits: {{memory: '{memory}', cpu: '{cpu}'}}}}, storage: {{size: '{size}'}}}}");
        let server = hippo(&spec).validate(&observed(), &strategy()).unwrap().server;
        (serde_json::to_value(server.resources).unwrap(), server.storage.size)
    };
    let one = with("1.5Gi", "0.5", "1Gi");
    assert_eq!(one, with("1610612736", "500m", "1024Mi"));
    assert_eq!(one.0, json!({"limits": {"memory": "1536Mi", "cpu": "500m"}}));
    assert_ne!(one, with("1537Mi", "0.5", "1Gi"));
}

#[test]
fn databases_are_judged_as_clusters_are() {
    let text = "apiVersion: pgop.dev/v1alpha1\nkind: PgDatabase\nmetadata: {name: orders, namespace: zoo, uid: u2}\nspec: {postgres: {version: '16'}}";
    let mut orders: PgDatabase = serde_saphyr::from_str(text).unwrap();
    orders.status = serde_json::from_value(served(&json!({}))).unwrap();
    assert_eq!(
        orders.validate(&observed(), &strategy()).unwrap_err()[0].field,
        "spec.postgres.version"
    );
    assert_eq!(
        orders.in_force(&observed(), &strategy()).unwrap().server.image,
        "postgres:17"
    );
}
