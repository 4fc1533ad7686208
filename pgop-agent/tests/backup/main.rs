//! `pgop-agent backup` and `pgop-agent restore` with real servers, beginning with what a person does and then with all that disturbs it.

#![allow(clippy::unwrap_used, reason = "clippy knows the tests, not what they share")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use ground::{Ended, Pod, Server, Small, folder, names, postgres, stranger, wait_until};

mod ground;

const PATH: &str = "hippo-backups/one";
/// A fraction of a second for `pg_basebackup` to send what a new server has, or some seconds.
const SLOW: &str = "8M";

fn message(ended: &Ended, code: i32, part: &str) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert!(ended.message.contains(part), "{ended:?}");
}

/// Waits until the copy is under way.
fn copies(claim: &Path, uid: &str) {
    let data = claim.join(format!("hippo-backups/.partial-{uid}/data/base"));
    wait_until("the copy is under way", || data.is_dir());
}

#[test]
fn what_was_committed_before_is_there_after_a_restore() {
    let server = Server::new();
    server.sql("create table item as select generate_series(1, 1000) as id");
    server.sql("alter system set work_mem = '5MB'");
    let (claim, volume) = (folder(stranger()), folder(postgres()));
    let pod = Pod::backup(&server, claim.path(), "6f1c", PATH);
    let first = pod.run();
    message(&first, 0, "\"path\":\"hippo-backups/one\",\"bytes\":");
    message(&first, 0, "\"timeline\":1,\"serverVersion\":\"15.");
    assert_eq!(
        names(&claim.path().join("hippo-backups")),
        [".finished-6f1c", ".lock", "one"]
    );

    // The same once more: nothing is copied.
    assert_eq!(pod.run(), first);
    assert!(!pod.log().contains("copying"), "{}", pod.log());

    // The data of the server is made by another user, as pods of different images may have.
    let shelf = folder(postgres());
    copy_for(claim.path(), shelf.path());
    let pod = Pod::restore(shelf.path(), PATH, volume.path());
    assert_eq!(pod.run().code, Some(0), "{}", pod.log());
    assert!(
        pod.log().contains("ALTER SYSTEM are not restored: work_mem"),
        "{}",
        pod.log()
    );
    let data = volume.path().join("orders/data");
    let lineage = fs::read_to_string(data.join("pgop.lineage")).unwrap();
    let restored = fs::read_to_string(volume.path().join("orders/restored")).unwrap();
    assert_eq!(restored, format!("{} 1a2b shelf {PATH}\n", lineage.trim()));
    let restored = Server::restored(&data);
    assert_eq!(restored.sql("select count(*) from item"), "1000");
    assert_eq!(restored.sql("show work_mem"), "4MB");
    restored.sql("insert into item values (0)");
    drop(restored);

    // What the server has written since stays.
    assert_eq!(pod.run().code, Some(0));
    assert!(pod.log().contains("has been restored already"), "{}", pod.log());
    let made_again = pod.with("PGOP_OWNER_UID", "3c4d");
    message(&made_again.run(), 3, "already holds a database");
    let other = made_again.with("PGOP_OWNER", "PgDatabase/shop/other");
    message(
        &other.run(),
        3,
        "belongs to PgDatabase/shop/orders, not to PgDatabase/shop/other",
    );
    assert_eq!(Server::restored(&data).sql("select count(*) from item"), "1001");
}

fn copy_for(from: &Path, into: &Path) {
    let script = format!("cp -R {}/. {}", from.display(), into.display());
    let done = std::process::Command::new("sh").args(["-c", &script]).status().unwrap();
    assert!(done.success());
    if let Some((uid, gid)) = postgres() {
        let owner = format!("{uid}:{gid}");
        let done = std::process::Command::new("chown")
            .args(["-R", &owner])
            .arg(into)
            .status();
        assert!(done.unwrap().success());
    }
}

#[test]
fn a_source_that_is_down_and_a_password_that_arrives_are_waited_for() {
    let mut server = Server::new();
    server.crash();
    let claim = folder(stranger());
    let pod = Pod::backup(&server, claim.path(), "6f1c", PATH);
    pod.lose_secret("password");
    let agent = pod.begin();
    wait_until("the agent waits", || pod.log().contains("waiting: 127.0.0.1:"));
    assert!(pod.log().contains("lacks `password`"), "{}", pod.log());
    pod.secret("password", ground::PASSWORD);
    server.start();
    message(&agent.end(), 0, "\"startLsn\":\"0/");
}

#[test]
fn patience_ends_with_the_reason() {
    let server = Server::new();
    let claim = folder(stranger());
    let pod = Pod::backup(&server, claim.path(), "6f1c", PATH).with("PGOP_PATIENCE", "1");
    pod.secret("password", "wrong");
    message(&pod.run(), 1, "password authentication failed for user \"replicator\"");
    assert_eq!(names(claim.path()), Vec::<String>::new());
    let nowhere = pod.with("PGOP_SOURCE_HOST", "nowhere.invalid");
    message(&nowhere.run(), 1, "there is no host nowhere.invalid");
}

#[test]
fn what_stays_so_ends_at_once() {
    let server = Server::new();
    let claim = folder(stranger());
    let pod = || Pod::backup(&server, claim.path(), "6f1c", PATH);
    message(&pod().with("PGOP_BACKUP_PATH", "../one").run(), 3, "PGOP_BACKUP_PATH");
    message(&pod().with("PGOP_MAX_RATE", "20000").run(), 3, "with their unit");

    server.sql("alter role replicator set pgop.owner_uid = 'u2'");
    let of = |uid: &str| {
        let pod = pod().with("PGOP_SOURCE_UID", uid);
        pod.secret("password", ground::PASSWORD);
        pod.run()
    };
    message(&of("u1"), 3, "is the server of another resource by now");
    assert_eq!(names(claim.path()), Vec::<String>::new());
    server.sql("alter role replicator reset pgop.owner_uid");

    let other = folder(None);
    let program = other.path().join("postgres");
    fs::write(&program, "#!/bin/sh\necho 'postgres (PostgreSQL) 16.4'\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    message(&pod().with_programs(other.path()).run(), 3, "this Job's image has 16");

    let place = server.directory().join("fast");
    fs::create_dir(&place).unwrap();
    if let Some((uid, gid)) = postgres() {
        std::os::unix::fs::chown(&place, Some(uid), Some(gid)).unwrap();
    }
    server.sql(&format!("create tablespace fast location '{}'", place.display()));
    message(&pod().run(), 3, "has tablespaces (fast)");
    assert_eq!(names(claim.path()), Vec::<String>::new());
    if stranger().is_some() {
        let closed = folder(None);
        let server = Server::new();
        let ended = Pod::backup(&server, closed.path(), "6f1c", PATH).run();
        message(&ended, 3, "check the volume's permissions (fsGroup)");
    }

    let volume = folder(postgres());
    let ended = Pod::restore(claim.path(), PATH, volume.path()).run();
    message(&ended, 3, "no snapshot hippo-backups/one on claim shelf (there: none)");
}

#[test]
fn a_source_that_crashes_amid_is_copied_again() {
    let mut server = Server::new();
    let claim = folder(stranger());
    let pod = Pod::backup(&server, claim.path(), "6f1c", PATH).with("PGOP_MAX_RATE", SLOW);
    let agent = pod.begin();
    copies(claim.path(), "6f1c");
    server.crash();
    server.start();
    message(&agent.end(), 0, "\"serverVersion\":\"15.");
    assert_eq!(pod.log().matches("copying 127.0.0.1").count(), 2, "{}", pod.log());
}

#[test]
fn what_is_stopped_amid_leaves_nothing_and_says_so() {
    let server = Server::new();
    let claim = folder(stranger());
    let pod = Pod::backup(&server, claim.path(), "6f1c", PATH).with("PGOP_MAX_RATE", SLOW);
    let agent = pod.begin();
    copies(claim.path(), "6f1c");
    message(
        &agent.terminate(),
        1,
        "was stopped before it was complete; nothing of it is left",
    );
    assert_eq!(names(&claim.path().join("hippo-backups")), [".lock"]);
    message(&pod.with("PGOP_MAX_RATE", "").run(), 0, "\"path\":");
}

/// A series that is the same at every run.
struct Seed(u64);

impl Seed {
    fn milliseconds(&mut self, below: u64) -> Duration {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis((self.0 >> 33) % below)
    }
}

#[test]
fn killed_anywhere_it_is_whole_or_absent_and_the_next_one_completes() {
    let server = Server::new();
    server.sql("create table item as select generate_series(1, 1000) as id");
    let mut seed = Seed(11);
    let claim = folder(stranger());
    for round in 0..4 {
        let (uid, path) = (format!("uid-{round}"), format!("hippo-backups/{round}"));
        let pod = Pod::backup(&server, claim.path(), &uid, &path);
        for _ in 0..3 {
            let agent = pod.begin();
            std::thread::sleep(seed.milliseconds(1500));
            agent.kill();
        }
        message(&pod.run(), 0, &format!("\"path\":\"{path}\""));
    }
    let left = names(&claim.path().join("hippo-backups"));
    assert!(left.iter().all(|name| !name.starts_with(".partial")), "{left:?}");

    let shelf = folder(postgres());
    copy_for(claim.path(), shelf.path());
    let volume = folder(postgres());
    for round in 0..4 {
        let instance = format!("orders-{round}");
        let path = format!("hippo-backups/{round}");
        let pod = Pod::restore(shelf.path(), &path, volume.path()).with("PGOP_INSTANCE", &instance);
        for _ in 0..3 {
            let agent = pod.begin();
            std::thread::sleep(seed.milliseconds(800));
            agent.kill();
        }
        assert_eq!(pod.run().code, Some(0), "{}", pod.log());
        let directory = volume.path().join(&instance);
        assert_eq!(names(&directory), ["data", "lock", "owner", "restored"]);
        let restored = Server::restored(&directory.join("data"));
        assert_eq!(restored.sql("select count(*) from item"), "1000");
    }
}

#[test]
fn a_label_that_somebody_forged_makes_no_backup() {
    let server = Server::new();
    let claim = folder(stranger());
    let target = claim.path().join(PATH);
    fs::create_dir(claim.path().join("hippo-backups")).unwrap();
    if let Some((uid, gid)) = stranger() {
        std::os::unix::fs::chown(claim.path().join("hippo-backups"), Some(uid), Some(gid)).unwrap();
    }
    server.forge("pgop 6f1c 15.18", &target, stranger());
    let pod = Pod::backup(&server, claim.path(), "6f1c", PATH);
    message(&pod.run(), 3, "has this backup's label, but not the seal");
    assert!(target.join("PG_VERSION").exists());

    // While the copy is under way, as in KC09.
    fs::remove_dir_all(&target).unwrap();
    let pod = pod.with("PGOP_MAX_RATE", SLOW);
    let agent = pod.begin();
    copies(claim.path(), "6f1c");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("backup_manifest"), "hello").unwrap();
    message(&agent.end(), 3, "exists already on claim shelf and isn't overwritten");
    assert_eq!(names(&claim.path().join("hippo-backups")), [".lock", "one"]);
    assert_eq!(names(&target), ["backup_manifest"]);
}

/// KC09: each said that it was complete, and two had been thrown away.
#[test]
fn of_two_with_one_path_in_one_second_one_is_made_and_the_other_told() {
    let server = Server::new();
    let claim = folder(stranger());
    let pods = ["1", "2"].map(|uid| Pod::backup(&server, claim.path(), uid, PATH));
    let agents = pods.each_ref().map(Pod::begin);
    let ended = agents.map(ground::Agent::end);
    let mut codes = ended.each_ref().map(|ended| ended.code.unwrap());
    let winner = if codes[0] == 0 { "1" } else { "2" };
    codes.sort_unstable();
    assert_eq!(codes, [0, 3], "{ended:?}");
    let label = fs::read_to_string(claim.path().join(PATH).join("backup_label")).unwrap();
    assert!(label.contains(&format!("LABEL: pgop {winner} 15.")), "{label}");
    let seal = format!(".finished-{winner}");
    assert_eq!(
        names(&claim.path().join("hippo-backups")),
        [seal.as_str(), ".lock", "one"]
    );
}

#[test]
fn a_damaged_snapshot_is_not_restored() {
    let server = Server::new();
    let claim = folder(postgres());
    let backup = folder(stranger());
    message(&Pod::backup(&server, backup.path(), "6f1c", PATH).run(), 0, "\"path\":");
    copy_for(backup.path(), claim.path());
    let volume = folder(postgres());
    let pod = Pod::restore(claim.path(), PATH, volume.path());
    let file = claim.path().join(PATH).join("base/1/1259");
    let mut bytes = fs::read(&file).unwrap();
    bytes[100] ^= 1;
    fs::write(&file, bytes).unwrap();
    message(&pod.run(), 3, "is damaged (");
    fs::remove_file(&file).unwrap();
    message(&pod.run(), 3, "is damaged (");
    assert_eq!(names(&volume.path().join("orders")), ["lock", "owner"]);

    // The one that made it finds it damaged too, and does not call it verified.
    let file = backup.path().join(PATH).join("base/1/1259");
    fs::remove_file(&file).unwrap();
    let again = Pod::backup(&server, backup.path(), "6f1c", PATH).run();
    message(&again, 3, "was finished by this backup, and is not as it was");
}

#[test]
fn a_claim_that_is_full_is_waited_for_and_one_that_is_too_small_is_not() {
    let Some(small) = Small::mount(20, stranger()) else {
        eprintln!("skipped: no file system may be mounted here");
        return;
    };
    let server = Server::new();
    let pod = Pod::backup(&server, small.path(), "6f1c", PATH);
    message(&pod.run(), 3, "MiB are needed, and it has 20 MiB in all");
    drop(small);

    let small = Small::mount(150, stranger()).unwrap();
    let filler = small.path().join("filler");
    fs::write(&filler, vec![0; 120 << 20]).unwrap();
    let pod = Pod::backup(&server, small.path(), "6f1c", PATH);
    let agent = pod.begin();
    wait_until("the agent waits", || {
        pod.log().contains("MiB free and the snapshot of 127.0.0.1")
    });
    assert!(!agent.has_started_something());
    fs::remove_file(&filler).unwrap();
    message(&agent.end(), 0, "\"path\":");
    fs::write(&filler, vec![0; 60 << 20]).unwrap();
    let impatient = Pod::backup(&server, small.path(), "7a2d", "hippo-backups/two").with("PGOP_PATIENCE", "1");
    message(&impatient.run(), 1, "remove old snapshots, or enlarge the claim");
}
