//! What is refused, by which rule, and in which words. The operator's rules and those in the CRD are run on one corpus.
#![allow(clippy::unwrap_used, clippy::panic)] // clippy.toml allows it in tests, and sees none in their helpers

use jsonschema::Validator;
use kube::CustomResourceExt;
use pgop_core::crd::{PgBackup, PgCluster, PgDatabase};
use pgop_core::invalid::Invalid;
use pgop_core::kind::Kind;
use pgop_core::observed::{ClaimFacts, Observed, SecretFacts, SourceFacts};
use pgop_core::strategy::Description;
use pgop_core::validated::ValidatedCluster;
use pgop_core::{Managed, name};
use serde_json::{Value, json};

fn strategy() -> Description {
    Description {
        aliases: vec!["1".to_owned()],
        parameters: json!({"type": "object", "additionalProperties": false,
            "properties": {"walKeep": {"type": "string", "default": "1GB"}, "fast": {"type": "boolean"}}}),
        ..Description::new("streaming")
    }
}

fn observed() -> Observed {
    let usable = |username: &str| SecretFacts::Usable {
        username: username.to_owned(),
    };
    Observed {
        claims: [
            ("shared".to_owned(), Some(ClaimFacts::default())),
            (
                "going".to_owned(),
                Some(ClaimFacts {
                    deleting: true,
                    ..ClaimFacts::default()
                }),
            ),
        ]
        .into(),
        secrets: [
            ("good-user".to_owned(), usable("alice")),
            ("for-bob".to_owned(), usable("bob")),
            ("no-password".to_owned(), SecretFacts::NoKey("password")),
            ("two-lines".to_owned(), SecretFacts::UnusablePassword),
        ]
        .into(),
        ..Observed::default()
    }
}

fn cluster(spec: &str) -> PgCluster {
    parse(
        &format!("metadata: {{name: hippo, namespace: zoo, uid: u1}}\nspec: {spec}"),
        "PgCluster",
    )
}

fn parse<T: serde::de::DeserializeOwned>(body: &str, kind: &str) -> T {
    let text = format!("apiVersion: pgop.dev/v1alpha1\nkind: {kind}\n{body}");
    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn refusals(cluster: &PgCluster) -> Vec<Invalid> {
    cluster.validate(&observed(), &strategy()).err().unwrap_or_default()
}

/// Spec, the field that is named, a part of what is said.
const REFUSED: &[(&str, &str, &str)] = &[
    ("{replicas: -1}", "spec.replicas", "give 0 to 50"),
    ("{replicas: 51}", "spec.replicas", "give 0 to 50"),
    ("{storage: {size: lots}}", "spec.storage.size", "write one such as 10Gi"),
    ("{storage: {size: -1Gi}}", "spec.storage.size", "too small"),
    ("{storage: {size: 1Mi}}", "spec.storage.size", "at least 64Mi"),
    (
        "{storage: {claim: shared, className: fast}}",
        "spec.storage.className",
        "leave out className or claim",
    ),
    (
        "{storage: {claim: nowhere}}",
        "spec.storage.claim",
        "claim nowhere, which does not exist",
    ),
    ("{storage: {claim: ''}}", "spec.storage.claim", "is empty"),
    (
        "{storage: {className: 'a b'}}",
        "spec.storage.className",
        "no name of an object",
    ),
    (
        "{postgres: {imagePullSecrets: ['']}}",
        "spec.postgres.imagePullSecrets[0]",
        "is empty",
    ),
    (
        "{credentials: {user: 'A B'}}",
        "spec.credentials.user",
        "no name of a Secret",
    ),
    ("{storage: {claim: going}}", "spec.storage.claim", "being deleted"),
    (
        "{restore: {claim: nowhere, path: a/b}}",
        "spec.restore.claim",
        "claim nowhere, which does not exist",
    ),
    (
        "{restore: {claim: shared, path: ../etc}}",
        "spec.restore.path",
        "as `pgo show backup` prints it",
    ),
    (
        "{restore: {claim: shared, path: /etc}}",
        "spec.restore.path",
        "is absolute",
    ),
    ("{postgres: {port: 0}}", "spec.postgres.port", "1 to 65535"),
    ("{postgres: {port: 65536}}", "spec.postgres.port", "1 to 65535"),
    ("{postgres: {version: '9.6'}}", "spec.postgres.version", "from 14 on"),
    ("{postgres: {version: 'latest'}}", "spec.postgres.version", "from 14 on"),
    ("{postgres: {image: 'a b'}}", "spec.postgres.image", "no image name"),
    (
        "{postgres: {imagePullPolicy: Sometimes}}",
        "spec.postgres.imagePullPolicy",
        "give Always",
    ),
    ("{postgres: {user: postgres}}", "spec.postgres.user", "PostgreSQL's own"),
    (
        "{postgres: {user: pg_signal_backend}}",
        "spec.postgres.user",
        "PostgreSQL's own",
    ),
    (
        "{postgres: {user: replicator}}",
        "spec.postgres.user",
        "the replication role at once",
    ),
    (
        "{postgres: {replicationUser: app}}",
        "spec.postgres.user",
        "the replication role at once",
    ),
    (
        "{postgres: {database: template1}}",
        "spec.postgres.database",
        "own template",
    ),
    (
        "{postgres: {database: \"a\\nb\"}}",
        "spec.postgres.database",
        "control characters",
    ),
    (
        "{postgres: {parameters: {fsync: 'off'}}}",
        "spec.postgres.parameters.fsync",
        "corrupt",
    ),
    (
        "{postgres: {parameters: {listen_addresses: x}}}",
        "spec.postgres.parameters.listen_addresses",
        "belongs to pgop",
    ),
    (
        "{postgres: {parameters: {'a b': x}}}",
        "spec.postgres.parameters.a b",
        "no name of a setting",
    ),
    (
        "{credentials: {user: missing}}",
        "spec.credentials.user",
        "does not exist",
    ),
    (
        "{credentials: {user: no-password}}",
        "spec.credentials.user",
        "no `password`",
    ),
    (
        "{credentials: {user: two-lines}}",
        "spec.credentials.user",
        "line break",
    ),
    (
        "{credentials: {superuser: for-bob}}",
        "spec.credentials.superuser",
        "is for `bob`",
    ),
    (
        "{pod: {labels: {app.kubernetes.io/name: mine}}}",
        "spec.pod.labels.app.kubernetes.io/name",
        "belongs to pgop or Kubernetes",
    ),
    (
        "{pod: {priorityClassName: 'a b'}}",
        "spec.pod.priorityClassName",
        "no name of an object",
    ),
    (
        "{pod: {terminationGracePeriodSeconds: 0}}",
        "spec.pod.terminationGracePeriodSeconds",
        "less than 10",
    ),
    (
        "{pod: {env: [{name: PGOP_ROLE, value: x}]}}",
        "spec.pod.env[0].name",
        "read by PostgreSQL's programs or by pgop",
    ),
    (
        "{pod: {volumes: [{name: data, emptyDir: {}}]}}",
        "spec.pod.volumes[0].name",
        "another volume of the pod",
    ),
    (
        "{pod: {volumes: [{name: bin, emptyDir: {}}]}}",
        "spec.pod.volumes[0].name",
        "another volume of the pod",
    ),
    (
        "{pod: {volumes: [{name: account, emptyDir: {}}]}}",
        "spec.pod.volumes[0].name",
        "another volume of the pod",
    ),
    (
        "{pod: {volumeMounts: [{name: account, mountPath: /x}]}}",
        "spec.pod.volumeMounts[0].name",
        "not in spec.pod.volumes",
    ),
    (
        "{pod: {volumes: [{name: v, emptyDir: {}}], volumeMounts: [{name: v, mountPath: /pgop/account}]}}",
        "spec.pod.volumeMounts[0].mountPath",
        "hide what pgop has in /pgop",
    ),
    (
        "{pod: {volumes: [{name: v, hostPath: {path: /etc}}]}}",
        "spec.pod.volumes[0].hostPath",
        "a folder of the node",
    ),
    (
        "{pod: {volumes: [{name: v, persistentVolumeClaim: {claimName: hippo-pvc}}]}}",
        "spec.pod.volumes[0].persistentVolumeClaim",
        "which only its server may write",
    ),
    (
        "{pod: {volumes: [{name: v, persistentVolumeClaim: {claimName: data-hippo-replica-7}}]}}",
        "spec.pod.volumes[0].persistentVolumeClaim",
        "which only its server may write",
    ),
    (
        "{pod: {volumeMounts: [{name: data, mountPath: /x}]}}",
        "spec.pod.volumeMounts[0].name",
        "not in spec.pod.volumes",
    ),
    (
        "{pod: {volumes: [{name: v, emptyDir: {}}], volumeMounts: [{name: v, mountPath: /pgop/config}]}}",
        "spec.pod.volumeMounts[0].mountPath",
        "hide what pgop has in /pgop",
    ),
    (
        "{pod: {volumes: [{name: v, emptyDir: {}}], volumeMounts: [{name: v, mountPath: /}]}}",
        "spec.pod.volumeMounts[0].mountPath",
        "hide what pgop has",
    ),
    (
        "{pod: {containers: [{name: postgres, image: x}]}}",
        "spec.pod.containers[0].name",
        "another container of the pod",
    ),
    (
        "{pod: {containers: [{name: agent, image: x}]}}",
        "spec.pod.containers[0].name",
        "another container of the pod",
    ),
    (
        "{pod: {containers: [{name: a}]}}",
        "spec.pod.containers[0].image",
        "is missing",
    ),
    (
        "{pod: {containers: [{name: a, image: x, ports: [{containerPort: 1, hostPort: 1}]}]}}",
        "spec.pod.containers[0].ports[0].hostPort",
        "a port of the node",
    ),
    (
        "{pod: {containers: [{name: a, image: x, volumeMounts: [{name: data, mountPath: /x}]}]}}",
        "spec.pod.containers[0].volumeMounts[0].name",
        "mount it readOnly",
    ),
    (
        "{pod: {containers: [{name: a, image: x, volumeMounts: [{name: account, mountPath: /x, readOnly: true}]}]}}",
        "spec.pod.containers[0].volumeMounts[0].name",
        "for pgop's own container",
    ),
    (
        "{pod: {containers: [{name: a, image: x, securityContext: {privileged: true}}]}}",
        "spec.pod.containers[0].securityContext.privileged",
        "`restricted` Pod Security Standard",
    ),
    (
        "{pod: {containers: [{name: a, image: x, securityContext: {capabilities: {add: [SYS_ADMIN]}}}]}}",
        "spec.pod.containers[0].securityContext.capabilities",
        "adds some",
    ),
    (
        "{service: {annotations: {pgop.dev/x: mine}}}",
        "spec.service.annotations.pgop.dev/x",
        "belongs to pgop or Kubernetes",
    ),
    (
        "{service: {loadBalancerClass: internal}}",
        "spec.service.loadBalancerClass",
        "set spec.service.type to LoadBalancer",
    ),
    (
        "{replicaService: {type: LoadBalancer, loadBalancerSourceRanges: ['192.0.2.0']}}",
        "spec.replicaService.loadBalancerSourceRanges[0]",
        "is no network",
    ),
    (
        "{service: {externalTrafficPolicy: Local}}",
        "spec.service.externalTrafficPolicy",
        "NodePort or LoadBalancer",
    ),
    (
        "{strategyParameters: {walKeap: 1GB}}",
        "spec.strategyParameters",
        "takes: fast, walKeep",
    ),
    (
        "{strategyParameters: {fast: sure}}",
        "spec.strategyParameters.fast",
        "boolean",
    ),
];

const ACCEPTED: &[&str] = &[
    "{}",
    "{replicas: 0}",
    "{replicas: 50, strategy: '1'}",
    "{storage: {size: 1.5Gi, className: fast, accessMode: ReadWriteMany}}",
    "{storage: {claim: shared}}",
    "{restore: {claim: shared, path: orders-backups/2026-11-22-17-57-21}}",
    "{postgres: {version: '18', port: 6432, parameters: {work_mem: 16MB, auto_explain.log_min_duration: '1s'}}}",
    "{postgres: {user: \"o'brien \\\"x\\\" {{y}}\", database: 'ünï €'}}",
    "{credentials: {user: good-user}}",
    "{strategyParameters: {walKeep: 2GB, fast: true}}",
    "{resources: {limits: {cpu: '2', memory: 4Gi}}, pod: {nodeSelector: {disk: ssd}, runAsUser: 70}}",
    "{pod: {priorityClassName: high, serviceAccountName: hippo, schedulerName: mine, runtimeClassName: gvisor, terminationGracePeriodSeconds: 600}}",
    "{pod: {env: [{name: TZ, value: UTC}], volumes: [{name: ca, secret: {secretName: ca}}], volumeMounts: [{name: ca, mountPath: /etc/ca}]}}",
    "{pod: {containers: [{name: exporter, image: x, volumeMounts: [{name: data, mountPath: /d, readOnly: true}, {name: run, mountPath: /run/pg}]}]}}",
    "{pod: {volumes: [{name: v, persistentVolumeClaim: {claimName: hippo-pvc, readOnly: true}}]}}",
    "{service: {type: LoadBalancer, annotations: {example.com/internal: 'true'}, loadBalancerSourceRanges: [192.0.2.0/24, 'fd00::/8'], externalTrafficPolicy: Local}}",
    "{replicaService: {type: NodePort, labels: {team: blue}}}",
];

#[test]
fn each_bad_field_is_named_with_what_mends_it() {
    for (spec, field, part) in REFUSED {
        let found = refusals(&cluster(spec));
        let one = found.iter().find(|invalid| invalid.field == *field);
        assert!(
            one.is_some_and(|one| one.to_string().contains(part)),
            "{spec}: {found:?}"
        );
        assert!(
            found.iter().all(|invalid| !invalid.mend.is_empty()),
            "{spec}: {found:?}"
        );
    }
}

/// One that serves, made with nothing in its spec, after a change to `spec`.
fn changed_to(spec: &str) -> PgCluster {
    let status = json!({"initialized": true, "accepted": {"image": "postgres:17", "version": "17", "user": "app", "database": "app"}});
    PgCluster {
        status: serde_json::from_value(status).unwrap(),
        ..cluster(spec)
    }
}

fn in_force(spec: &str) -> Option<ValidatedCluster> {
    changed_to(spec).in_force(&observed(), &strategy())
}

#[test]
fn a_setting_of_pods_or_services_refuses_the_change_and_what_is_left_of_them_is_in_force_and_valid() {
    let of_these = [
        "spec.pod.",
        "spec.service.",
        "spec.replicaService.",
        "spec.postgres.imagePullSecrets",
    ];
    let mut seen = 0;
    for (spec, field, _) in REFUSED {
        if !of_these.iter().any(|prefix| field.starts_with(prefix)) {
            continue;
        }
        seen += 1;
        let left = in_force(spec).unwrap_or_else(|| panic!("{spec} ends the care for what runs"));
        let mut again = changed_to("{}");
        again.spec.replica_service = left.replica_service;
        again.spec.server.service = left.server.service;
        again.spec.server.pod = left.server.pod;
        again.spec.server.postgres.image_pull_secrets = left.server.image_pull_secrets;
        assert_eq!(refusals(&again), [], "{spec}");
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn with_a_volume_that_is_refused_goes_what_mounts_it_and_the_rest_stays() {
    let pod = in_force(
        "{pod: {nodeSelector: {disk: ssd}, priorityClassName: 'a b', labels: {team: blue, pgop.dev/role: x},
            env: [{name: TZ, value: UTC}, {name: PGDATA, value: /x}],
            volumes: [{name: node, hostPath: {path: /}}, {name: ca, secret: {secretName: ca}}],
            volumeMounts: [{name: node, mountPath: /node}, {name: ca, mountPath: /etc/ca}],
            containers: [{name: spy, image: x, volumeMounts: [{name: node, mountPath: /n}]},
                {name: exporter, image: x, volumeMounts: [{name: ca, mountPath: /ca}, {name: data, mountPath: /d, readOnly: true}]}]}}",
    )
    .unwrap()
    .server
    .pod;
    let left = serde_json::to_value(pod).unwrap();
    assert_eq!(
        left,
        json!({"nodeSelector": {"disk": "ssd"}, "labels": {"team": "blue"}, "env": [{"name": "TZ", "value": "UTC"}],
            "volumes": [{"name": "ca", "secret": {"secretName": "ca"}}],
            "volumeMounts": [{"name": "ca", "mountPath": "/etc/ca"}],
            "containers": [{"name": "exporter", "image": "x", "volumeMounts": [
                {"name": "ca", "mountPath": "/ca"}, {"name": "data", "mountPath": "/d", "readOnly": true}]}]})
    );
}

#[test]
fn a_service_is_never_open_to_more_than_its_spec_says() {
    let service = |ranges: &str| {
        let spec = format!(
            "{{service: {{type: LoadBalancer, externalTrafficPolicy: Local, annotations: {{a: b}}, loadBalancerSourceRanges: [{ranges}]}}}}"
        );
        serde_json::to_value(in_force(&spec).unwrap().server.service).unwrap()
    };
    let narrow = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "annotations": {"a": "b"}, "loadBalancerSourceRanges": ["192.0.2.0/24"]});
    assert_eq!(service("192.0.2.0/24, 192.0.2.0/33"), narrow);
    assert_eq!(
        service("192.0.2.0/33"),
        json!({"type": "ClusterIP", "annotations": {"a": "b"}})
    );
}

#[test]
fn what_is_fine_is_accepted() {
    for spec in ACCEPTED {
        assert_eq!(refusals(&cluster(spec)), [], "{spec}");
    }
}

/// What the API server itself checks: the schema and its CEL rules.
fn api_server_refuses(cluster: &PgCluster) -> bool {
    let definition = serde_json::to_value(PgCluster::crd()).unwrap();
    let schema = definition.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap();
    let by_schema = !Validator::new(schema)
        .unwrap()
        .is_valid(&serde_json::to_value(cluster).unwrap());
    by_schema || kube::core::cel::validate_cel(cluster).is_err()
}

#[test]
fn the_api_server_refuses_nothing_that_the_operator_accepts() {
    for spec in ACCEPTED {
        assert!(!api_server_refuses(&cluster(spec)), "{spec}");
    }
    for (spec, ..) in REFUSED {
        let cluster = cluster(spec);
        assert!(
            !api_server_refuses(&cluster) || !refusals(&cluster).is_empty(),
            "{spec}"
        );
    }
}

#[test]
fn where_there_is_cel_the_api_server_refuses_these_at_once() {
    for spec in [
        "{replicas: -1}",
        "{replicas: 51}",
        "{storage: {claim: shared, className: fast}}",
        "{postgres: {port: 0}}",
        "{postgres: {version: latest}}",
        "{postgres: {user: postgres}}",
        "{postgres: {user: pg_signal_backend}}",
        "{postgres: {database: template1}}",
        "{postgres: {imagePullPolicy: Sometimes}}",
    ] {
        assert!(api_server_refuses(&cluster(spec)), "{spec}");
    }
}

#[test]
fn a_strategy_cannot_be_changed_under_a_resource() {
    let (old, new) = (cluster("{strategy: streaming}"), cluster("{strategy: ha}"));
    assert!(kube::core::cel::validate_cel_update(&new, &old).is_err());
    let mut running = cluster("{}");
    running.status = serde_json::from_value(json!({"strategy": {"name": "ha", "version": 1}})).unwrap();
    let found = refusals(&running);
    assert_eq!(
        found[0].to_string(),
        "spec.strategy was `ha` and can't be changed to `streaming`: set it back, or create a new resource from a backup of this one"
    );
}

#[test]
fn storage_never_shrinks() {
    let mut running = cluster("{storage: {size: 2Gi}}");
    running.status = serde_json::from_value(json!({"storageSize": "3Gi"})).unwrap();
    assert_eq!(
        refusals(&running)[0].to_string(),
        "spec.storage.size is 2Gi, and the claims have 3Gi; a claim never shrinks: set it to 3Gi or more"
    );
    running.spec.server.storage.size = serde_json::from_value(json!("3072Mi")).unwrap();
    assert_eq!(refusals(&running), []);
}

/// cloudnative-pg #8369: beyond what the provider has, and no way back.
#[test]
fn a_growth_that_does_not_come_about_can_be_asked_for_smaller() {
    let mut running = cluster("{storage: {size: 20Ti}}");
    running.status = serde_json::from_value(json!({"storageSize": "20Ti"})).unwrap();
    let mut observed = observed();
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "hippo-pvc", "namespace": "a"},
        "spec": {"resources": {"requests": {"storage": "20Ti"}}}, "status": {"capacity": {"storage": "15Ti"}},
    });
    observed
        .live
        .objects
        .insert((Kind::PersistentVolumeClaim, "hippo-pvc".to_owned()), claim);
    let mut refused = |size: &str| {
        running.spec.server.storage.size = serde_json::from_value(json!(size)).unwrap();
        let found = running.validate(&observed, &strategy()).err().unwrap_or_default();
        found.iter().map(ToString::to_string).collect::<String>()
    };
    assert_eq!(refused("16Ti"), "");
    assert_eq!(
        refused("15Ti"),
        "spec.storage.size is 15Ti, and the claims have 15Ti, of 20Ti that were asked for; a claim never shrinks: set it to more than 15Ti"
    );
}

#[test]
fn a_restore_that_was_done_is_not_done_again_and_its_claim_may_be_gone() {
    let mut running = cluster("{restore: {claim: nowhere, path: a/b}}");
    running.status = serde_json::from_value(json!({"restoredFrom": {"claim": "nowhere", "path": "a/b"}})).unwrap();
    let valid = running.validate(&observed(), &strategy()).unwrap();
    assert_eq!((valid.server.restore, valid.server.initialize), (None, false));
    running.status = serde_json::from_value(json!({"restoredFrom": {"claim": "nowhere", "path": "other"}})).unwrap();
    assert_eq!(refusals(&running)[0].field, "spec.restore");
}

#[test]
fn names_leave_room_for_what_is_made_of_them() {
    for (name, part) in [
        ("Hippo", "lower-case"),
        ("9lives", "start with a letter"),
        (&"a".repeat(41), "at most 40"),
    ] {
        let database: PgDatabase = parse(
            &format!("metadata: {{name: {name}, namespace: zoo}}\nspec: {{}}"),
            "PgDatabase",
        );
        let found = database.validate(&observed(), &strategy()).unwrap_err();
        assert!(
            found[0].field == "metadata.name" && found[0].to_string().contains(part),
            "{found:?}"
        );
    }
}

#[test]
fn a_backup_takes_its_settings_from_its_source() {
    let backup: PgBackup = parse(
        "metadata: {name: hippo-1, namespace: zoo, uid: u9, creationTimestamp: 2026-11-22T17:57:21Z}\nspec: {source: {kind: PgCluster, name: hippo}}",
        "PgBackup",
    );
    let found = backup.validate(&Observed::default(), &strategy()).unwrap_err();
    assert_eq!(
        found[0].to_string(),
        "spec.source names PgCluster hippo, which does not exist: create it, or name one that `kubectl get pgclusters` lists"
    );
    let mut source = cluster(
        "{postgres: {image: registry/pg:16, port: 6000}, storage: {size: 3Gi}, credentials: {replication: own-repl}, pod: {fsGroup: 26}}",
    );
    let observe = |source: &PgCluster| Observed {
        source: Some(SourceFacts::Cluster(Box::new(source.clone()))),
        ..Observed::default()
    };
    let valid = backup.validate(&observe(&source), &strategy()).unwrap();
    assert_eq!(
        (valid.image.as_str(), valid.port, valid.replication_secret.as_str()),
        ("registry/pg:16", 6000, "own-repl")
    );
    assert_eq!(
        (valid.storage.claim.as_str(), valid.storage.size.as_str()),
        ("hippo-backup-pvc", "6Gi")
    );
    assert_eq!(valid.path, "hippo-backups/2026-11-22-17-57-21-u9");
    assert_eq!((valid.pod.fs_group, valid.source_serves), (Some(26), false));
    source.status = serde_json::from_value(json!({"accepted": {"image": "registry/pg:16"},
        "members": [{"name": "hippo-0", "role": "primary", "ready": true}]}))
    .unwrap();
    assert!(backup.validate(&observe(&source), &strategy()).unwrap().source_serves);
}

#[test]
fn a_backup_cannot_be_changed() {
    let old: PgBackup = parse(
        "metadata: {name: b}\nspec: {source: {kind: PgCluster, name: hippo}}",
        "PgBackup",
    );
    let mut new = old.clone();
    new.spec.source.name = "rhino".to_owned();
    assert!(kube::core::cel::validate_cel_update(&new, &old).is_err());
    assert!(kube::core::cel::validate_cel_update(&old, &old).is_ok());
}

#[test]
fn every_field_of_a_schema_is_described() {
    fn walk(path: &str, schema: &Value, missing: &mut Vec<String>) {
        for (name, property) in schema
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let path = format!("{path}.{name}");
            if property.get("description").is_none() {
                missing.push(path.clone());
            }
            walk(&path, property, missing);
        }
    }
    for definition in pgop_core::crd::all() {
        let value = serde_json::to_value(&definition).unwrap();
        let mut missing = Vec::new();
        for part in ["spec", "status"] {
            let schema = value
                .pointer(&format!("/spec/versions/0/schema/openAPIV3Schema/properties/{part}"))
                .unwrap();
            walk(part, schema, &mut missing);
        }
        assert!(missing.is_empty(), "{missing:?}");
    }
}

proptest::proptest! {
    #[test]
    fn whatever_people_type_is_judged_and_never_panics(name in ".{0,70}", size in ".{0,12}", parameter in ".{0,20}", value in ".{0,20}", path in ".{0,40}") {
        let mut cluster = cluster("{restore: {claim: shared, path: x}}");
        cluster.metadata.name = Some(name.clone());
        cluster.spec.server.storage.size = Some(k8s_openapi::apimachinery::pkg::api::resource::Quantity(size));
        cluster.spec.server.postgres.parameters = [(parameter, value)].into();
        cluster.spec.server.restore.as_mut().unwrap().path = path;
        let found = refusals(&cluster);
        let named = found.iter().any(|invalid| invalid.field == "metadata.name");
        proptest::prop_assert_eq!(named, name::check(&name, name::MAX_SERVER_NAME).is_err());
    }
}
