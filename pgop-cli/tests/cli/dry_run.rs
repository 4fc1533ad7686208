//! `--dry-run`: the operator's own checks and plan, without a cluster.

use crate::harness::Test;

#[test]
fn it_names_what_would_be_made() {
    Test::new("create database orders --dry-run").run().code(0).quiet().out(
        "\
PgDatabase orders is valid; with strategy standalone it would make:
  secret/orders-superuser
  secret/orders-replication
  secret/orders-user
  serviceaccount/orders-agent
  role.rbac.authorization.k8s.io/orders-agent
  rolebinding.rbac.authorization.k8s.io/orders-agent
  configmap/orders-config
  service/orders
  service/orders-pods
  persistentvolumeclaim/orders-pvc
  statefulset.apps/orders
",
    );
}

#[test]
fn manifests_can_be_piped() {
    let ran = Test::new("create cluster hippo --replicas 3 --dry-run -n shop -o yaml --parameter work_mem=8MB")
        .run()
        .code(0)
        .quiet();
    let kinds: Vec<&str> = ran.out.lines().filter_map(|line| line.strip_prefix("kind: ")).collect();
    assert!(
        kinds.contains(&"StatefulSet") && kinds.contains(&"Service"),
        "{kinds:?}"
    );
    assert_eq!(
        ran.out.matches("  namespace: shop\n").count(),
        // The subject of the RoleBinding has one too.
        kinds.len() + 1,
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("replicas: 3\n") && ran.out.contains("8MB"),
        "{}",
        ran.out
    );
}

#[test]
fn flags_reach_the_manifests() {
    let line = "create database orders --dry-run -o json --image img:1 --port 6000 --storage-size 7Gi --storage-class fast --cpu 500m \
                --memory 1Gi --node-selector disk=ssd --fs-group 26 --image-pull-policy Never --image-pull-secret registry";
    let ran = Test::new(line).run().code(0).quiet();
    for text in [
        "\"img:1\"",
        "6000",
        "\"7Gi\"",
        "\"fast\"",
        "\"500m\"",
        "\"1Gi\"",
        "\"disk\": \"ssd\"",
        "\"fsGroup\": 26",
        "\"Never\"",
        "\"registry\"",
    ] {
        assert!(ran.out.contains(text), "no {text} in {}", ran.out);
    }
}

#[test]
fn a_restore_waits_for_its_job() {
    let ran =
        Test::new("create database copy --dry-run -o name -p orders-backup-pvc -x orders-backups/2026-11-22-17-57-21")
            .run()
            .code(0);
    assert!(ran.out.contains("job.batch/copy-restore-"), "{ran:#?}");
    assert!(!ran.out.contains("statefulset"), "{ran:#?}");
    assert!(
        ran.err.contains("StatefulSet copy is made later: Job copy-restore-"),
        "{ran:#?}"
    );
}

#[test]
fn each_name_is_judged_on_its_own() {
    let ran = Test::new("create database good Bad_Name good --dry-run").run().code(1);
    assert!(ran.out.starts_with("PgDatabase good is valid"), "{ran:#?}");
    assert_eq!(ran.out.matches("is valid").count(), 1, "{ran:#?}");
    assert_eq!(ran.err.lines().count(), 1, "{ran:#?}");
    assert!(
        ran.err
            .starts_with("pgo: error: PgDatabase Bad_Name is not valid: metadata.name `Bad_Name` must be lower-case"),
        "{ran:#?}"
    );
}

#[test]
fn what_the_operator_would_refuse_is_refused_here() {
    let refused = |line: &str, field: &str| {
        Test::new(line).run().code(1).out("").err_has(field);
    };
    refused("create database x --dry-run --user postgres", "spec.postgres.user");
    refused(
        "create database x --dry-run --parameter data_directory=/x",
        "spec.postgres.parameters.data_directory",
    );
    refused(
        "create database x --dry-run --strategy nope",
        "there is no strategy `nope` for a PgDatabase; there is: standalone",
    );
    refused("create database x --dry-run --strategy-param colour=red", "colour");
    let name = "a".repeat(41);
    refused(&format!("create cluster {name} --dry-run"), "at most 40");
}

#[test]
fn files_are_checked_too() {
    let good = "{apiVersion: pgop.dev/v1alpha1, kind: PgCluster, metadata: {name: hippo}, spec: {replicas: 1}}";
    Test::new("create -f x.yaml --dry-run")
        .file("x.yaml", good)
        .run()
        .code(0)
        .quiet()
        .out_has("PgCluster hippo is valid");
    Test::new("create -f - --dry-run")
        .stdin(good)
        .run()
        .code(0)
        .out_has("PgCluster hippo is valid");
    let typo = good.replace("replicas", "replica");
    Test::new("create -f - --dry-run")
        .stdin(&typo)
        .run()
        .code(2)
        .out("")
        .err("pgo: error: -, document 1: there is no field `spec.replica`\n");
    Test::new("create -f nope.yaml")
        .run()
        .code(2)
        .err_has("nope.yaml can't be read");
    let elsewhere = good.replace("name: hippo", "name: hippo, namespace: shop");
    Test::new("create -f - --dry-run -n bank")
        .stdin(&elsewhere)
        .run()
        .code(1)
        .err_has("is of namespace shop and --namespace");
}

#[test]
fn a_backup_needs_its_kind_when_nobody_can_be_asked() {
    let ran = Test::new("create backup orders --kind database --dry-run -o name")
        .run()
        .code(0);
    assert!(
        ran.out.contains("persistentvolumeclaim/orders-backup-pvc\n"),
        "{ran:#?}"
    );
    Test::new("create backup orders --dry-run")
        .run()
        .code(3)
        .err_has("no cluster to talk to");
}
