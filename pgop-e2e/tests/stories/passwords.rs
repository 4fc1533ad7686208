//! Passwords: in Secrets, and nowhere else, not even for the moment in which they are set.

use std::thread;
use std::time::Instant;

use pgop_e2e::{Space, api, leak, until};
use serde_json::json;

#[test]
#[ignore = "needs cluster (makes a namespace)"]
fn a_password_is_in_a_secret_and_nowhere_else() {
    let space = Space::new("passwords");
    space.pgo("create cluster vault --replicas=1").ok();
    // While the servers start, roles are made and the replica clones: everything that runs is looked at again and again.
    let seen = thread::scope(|scope| {
        let watch = |pod: &'static str| {
            let space = &space;
            scope.spawn(move || {
                let sample = "end=$((SECONDS + 20)); while [ $SECONDS -lt $end ]; do cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; echo; done | tr '\\0' '\\n' | sort -u";
                until(90, &format!("{pod} to run"), || api::exec(space.name(), pod, &["bash", "-c", sample]))
            })
        };
        let watched = ["vault-0", "vault-replica-0"].map(watch);
        watched.map(|thread| thread.join().unwrap()).concat()
    });
    assert!(
        seen.contains("psql") || seen.contains("pg_basebackup") || seen.contains("initdb"),
        "the start was missed:\n{seen}"
    );
    for (secret, password) in leak::passwords(&space) {
        assert!(
            !seen.contains(&password),
            "the password of Secret {secret} was in a process"
        );
    }
    space.phase_becomes("PgCluster", "vault", "Ready", 180);
    space
        .pgo("create backup vault --name vault-copy --wait --timeout 3m")
        .ok();
    assert_eq!(leak::passwords(&space).len(), 3);
    leak::assert_none(&space);

    // They are of use: the one for applications opens the database over the network, and a wrong one does not.
    let password = leak::passwords(&space).remove("vault-user").unwrap();
    let ask = |password: &str| {
        let script = format!("PGPASSWORD='{password}' psql -w -h vault -U app -d app -XAtc 'select current_user'");
        api::exec(space.name(), "vault-replica-0", &["bash", "-c", &script])
    };
    assert_eq!(ask(&password).unwrap().trim(), "app");
    assert!(ask("wrong").unwrap_err().contains("password authentication failed"));

    // Another one in the Secret is in force long before the kubelet would look by itself, and the former one is not any more.
    let changed = json!({"stringData": {"password": "another-one"}});
    api::patch(space.name(), &api::kind("v1", "Secret"), "vault-user", &changed).unwrap();
    let since = Instant::now();
    until(20, "the new password to be in force", || ask("another-one"));
    eprintln!(
        "a new password was in force after {:.1} s",
        since.elapsed().as_secs_f64()
    );
    assert!(ask(&password).unwrap_err().contains("password authentication failed"));

    // Nor do PostgreSQL's own files or catalogs tell it: they hold a SCRAM verifier.
    let kept = space.sql(
        "vault",
        "select string_agg(left(rolpassword, 13), ' ') from pg_authid where rolpassword is not null",
    );
    assert_eq!(kept, "SCRAM-SHA-256 SCRAM-SHA-256 SCRAM-SHA-256");
}
