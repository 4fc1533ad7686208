//! Backups and restores that fail: loudly, and with nothing left that looks like success.

use pgop_e2e::{Space, api, until};
use serde_json::{Value, json};

const CLAIM: &str = "src-backup-pvc";

#[test]
#[ignore = "needs cluster (makes a namespace)"]
fn a_failed_backup_leaves_nothing_and_a_failed_restore_starts_nothing() {
    let space = Space::new("failures");
    space.pgo("create database src --wait --timeout 4m").ok();
    space.sql("src", "create table s as select generate_series(1, 1000) i");
    space.pgo("create backup src --name good --wait --timeout 3m").ok();
    let good = api::text(&space.resource("PgBackup", "good"), "/status/path");

    let hand = space.hand(CLAIM);
    spoil(&space, &hand, &good);
    refused(&space, "missing", "src-backups/2001-01-01-00-00-00", "no snapshot");
    refused(&space, "partial", "src-backups/partial", "backup_manifest");
    refused(&space, "corrupt", "src-backups/corrupt", "damaged");
    refused(&space, "truncated", "src-backups/truncated", "damaged");

    space
        .pgo("create backup src --name late --strategy-param maxRate=nonsense")
        .fails(1, &["maxRate"]);
    let late = the_source_is_away(&space, &hand);
    the_source_goes(&space, &hand);
    another_gets_its_name(&space, &hand);
    let mut snapshots: Vec<String> = space
        .bash(&hand, "cd /claim && ls -d src-backups/2*")
        .lines()
        .map(str::to_owned)
        .collect();
    snapshots.sort();
    assert_eq!(
        snapshots,
        [good, late],
        "a failed backup left a snapshot, or one that was good is gone"
    );
}

/// Copies the good snapshot and breaks the copies: one that was never finished, one with a flipped byte, one cut short.
fn spoil(space: &Space, hand: &str, good: &str) {
    let script = format!(
        "set -e; cd /claim/src-backups; for kind in partial corrupt truncated; do cp -a /claim/{good} $kind; done
         rm partial/backup_manifest
         file=$(ls -S corrupt/base/1/* | head -1); size=$(stat -c %s $file)
         printf '\\377\\377\\377\\377' | dd of=$file bs=1 seek=$((size / 2)) conv=notrunc status=none
         file=$(ls -S truncated/base/1/* | head -1); truncate -s -8192 $file"
    );
    space.bash(hand, &script);
}

/// The restore ends with an error that names the path; the condition and an event do too; no server was started.
fn refused(space: &Space, name: &str, path: &str, why: &str) {
    let done = space.pgo(&format!(
        "create database {name} --backup-pvc={CLAIM} --backup-path={path} --wait --timeout 2m"
    ));
    done.fails(1, &[path, why]);
    let database = space.resource("PgDatabase", name);
    assert_eq!(api::text(&database, "/status/phase"), "Failed");
    let (status, _, message) = api::condition(&database, "Restored");
    assert!(
        status == "False" && message.contains(path) && message.contains(why),
        "{status}: {message}"
    );
    until(20, &format!("an event about {name} that names {path}"), || {
        let events = space.events(name);
        if events.iter().any(|event| event.contains(path)) {
            Ok(())
        } else {
            Err(format!("{events:?}"))
        }
    });
    assert!(
        !space.names("apps/v1", "StatefulSet").contains(&name.to_owned()),
        "a server of {name} was started"
    );
    space.pgo(&format!("delete database {name} --yes")).ok();
}

const UNFINISHED: &str = "ls -d /claim/src-backups/.partial-*/data/base 2>/dev/null | wc -l";

/// A backup that is slow enough for what is done to it while it copies.
fn under_way(space: &Space, hand: &str, name: &str, more: &str) {
    space
        .pgo(&format!(
            "create backup src --name {name} --strategy-param maxRate=4M {more}"
        ))
        .ok();
    until(60, "a backup that is under way", || {
        match space.bash(hand, UNFINISHED).trim() {
            "0" => Err("nothing is being written".to_owned()),
            _ => Ok(()),
        }
    });
}

/// What a backup that goes on says of itself.
fn tells(space: &Space, name: &str, words: &str) {
    until(60, &format!("{name} to tell that its source {words}"), || {
        let backup = space.resource("PgBackup", name);
        let (status, _, message) = api::condition(&backup, "Complete");
        assert_eq!(api::text(&backup, "/status/phase"), "Running", "{message}");
        if status == "False" && message.contains("PgDatabase src") && message.contains(words) {
            return Ok(());
        }
        Err(message)
    });
}

/// The source dies while it is being copied, and has nowhere to run for a while. The path of the snapshot that was made in the end.
fn the_source_is_away(space: &Space, hand: &str) -> String {
    under_way(space, hand, "patient", "");
    let nowhere = |value: Value| {
        let change = json!({"spec": {"pod": {"nodeSelector": {"pgop-e2e/nowhere": value}}}});
        api::patch(space.name(), &api::pgop("PgDatabase"), "src", &change).unwrap();
    };
    nowhere(json!("yes"));
    api::delete(space.name(), &api::kind("v1", "Pod"), "src-0", true);
    tells(space, "patient", "does not serve");
    nowhere(Value::Null);
    let backup = space.phase_becomes("PgBackup", "patient", "Succeeded", 180);
    assert_eq!(space.bash(hand, UNFINISHED).trim(), "0", "something unfinished is left");
    api::text(&backup, "/status/path")
}

/// The source is deleted for good while it is being copied. How long it is waited for has a bound.
fn the_source_goes(space: &Space, hand: &str) {
    under_way(space, hand, "doomed", "--strategy-param patience=3");
    space.pgo("delete database src --yes").ok();
    tells(space, "doomed", "does not exist");
    let backup = space.phase_becomes("PgBackup", "doomed", "Failed", 180);
    let (status, _, message) = api::condition(&backup, "Complete");
    assert!(
        status == "False" && message.contains("src:5432") && message.contains("PgDatabase src, which does not exist"),
        "{status}: {message}"
    );
    assert_eq!(api::text(&backup, "/status/path"), "", "a failed backup has no path");
    assert_eq!(space.bash(hand, UNFINISHED).trim(), "0", "something unfinished is left");
}

/// While it is being copied the source is deleted, and its name used again. A snapshot of the new one would not hold what the old one had.
fn another_gets_its_name(space: &Space, hand: &str) {
    space.pgo("create database src --wait --timeout 4m").ok();
    under_way(space, hand, "mistaken", "");
    space.pgo("delete database src --yes").ok();
    until(60, "src to go", || {
        let done = space.pgo("create database src");
        if done.code == 0 { Ok(()) } else { Err(done.to_string()) }
    });
    let backup = space.phase_becomes("PgBackup", "mistaken", "Failed", 180);
    let (_, _, message) = api::condition(&backup, "Complete");
    assert!(
        message.contains("src:5432 is the server of another resource"),
        "{message}"
    );
    assert_eq!(space.bash(hand, UNFINISHED).trim(), "0", "something unfinished is left");
}
