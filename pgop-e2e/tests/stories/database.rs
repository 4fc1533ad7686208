//! A database: loaded, backed up twice, restored into a database and a cluster, deleted, made again.

use pgop_e2e::{Space, api, leak};

#[test]
#[ignore = "needs cluster (makes a namespace)"]
fn a_database_is_backed_up_restored_and_outlived_by_its_data() {
    let space = Space::new("database");
    space.pgo("create database orders --wait --timeout 4m").ok();
    space.sql(
        "orders",
        "create table o as select i, md5(i::text) as t from generate_series(1, 20000) i",
    );

    space
        .pgo("create backup orders --name orders-first --wait --timeout 3m")
        .ok();
    space.sql(
        "orders",
        "insert into o select i, 'later' from generate_series(1, 500) i",
    );
    space
        .pgo("create backup orders --name orders-second --wait --timeout 3m")
        .ok();
    let paths = ["orders-first", "orders-second"].map(|name| {
        let backup = space.resource("PgBackup", name);
        assert_eq!(api::text(&backup, "/status/claim"), "orders-backup-pvc");
        assert!(backup.pointer("/status/sizeBytes").and_then(serde_json::Value::as_i64) > Some(1_000_000));
        api::text(&backup, "/status/path")
    });
    let shown = space.pgo("show backup orders").ok();
    for path in &paths {
        assert_eq!(shown.matches(path.as_str()).count(), 1, "{path} in\n{shown}");
    }
    let claim = space.pgo("show pvc orders-backup-pvc").ok();
    assert!(claim.contains("orders-backups"), "{claim}");
    space.pgo("show pvc nothing").fails(1, &["nothing"]);

    let [first, second] = &paths;
    space
        .pgo(&format!(
            "create database myrestore --backup-pvc=orders-backup-pvc --backup-path={first} --wait --timeout 4m"
        ))
        .ok();
    assert_eq!(
        space.sql(
            "myrestore",
            "select count(*), count(*) filter (where t = 'later') from o"
        ),
        "20000|0"
    );
    space.sql("myrestore", "insert into o values (0, 'its own')");
    space
        .pgo(&format!(
            "create cluster herd --replicas=1 -p orders-backup-pvc -x {second} --wait --timeout 4m"
        ))
        .ok();
    assert_eq!(space.sql("herd", "select count(*) from o"), "20500");
    space.sql_becomes("herd-replica-0", "select count(*) from o", "20500");
    assert_eq!(
        space.sql("orders", "select count(*) from o"),
        "20500",
        "a restore does not touch the source"
    );
    leak::assert_none(&space);

    // The restored servers go, so that the machine has less to do; so does the source, and comes back.
    space.pgo("delete cluster herd --yes").ok();
    space.pgo("delete database orders --yes --wait --timeout 3m").ok();
    let claims = space.names("v1", "PersistentVolumeClaim");
    assert!(
        claims.contains(&"orders-pvc".to_owned()) && claims.contains(&"orders-backup-pvc".to_owned()),
        "{claims:?}"
    );
    let again = space.pgo("create database orders --wait --timeout 4m");
    assert!(again.code == 0 && again.stderr.contains("orders-pvc"), "{again}");
    assert_eq!(space.sql("orders", "select count(*) from o"), "20500");
    let (_, reason, message) = api::condition(&space.resource("PgDatabase", "orders"), "Accepted");
    assert!(
        reason == "AdoptedClaims" && message.contains("orders-pvc"),
        "{reason}: {message}"
    );
}
