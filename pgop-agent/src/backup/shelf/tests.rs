//! Every change is cut off after each of its steps, and finished by whoever comes next.

use super::*;

const SEALED: &str = r#"{"Files": [], "WAL-Ranges": [{"Timeline": 1, "Start-LSN": "0/2", "End-LSN": "0/3"}], "Manifest-Checksum": "CHECK"}"#;

struct Claim(tempfile::TempDir);

impl Claim {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn shelf(&self, uid: &str) -> Shelf {
        Shelf::of(&environment::Target {
            volume: self.0.path().to_owned(),
            claim: "shelf".to_owned(),
            path: "hippo-backups/one".to_owned(),
            uid: uid.to_owned(),
        })
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path().join("hippo-backups")).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn snapshot(at: &Path, uid: &str, checksum: &str) {
    fs::create_dir_all(at).unwrap();
    fs::write(
        at.join("backup_label"),
        format!("START TIME: now\nLABEL: pgop {uid} 15.18\n"),
    )
    .unwrap();
    fs::write(at.join("backup_manifest"), SEALED.replace("CHECK", checksum)).unwrap();
}

fn run(ops: &[Op]) {
    for op in ops {
        op.run().unwrap();
    }
}

/// The steps of a backup, whose copy has this checksum, up to that one.
fn backup(shelf: &Shelf, uid: &str, checksum: &str, steps: usize) {
    let mut left = steps;
    let mut cut = |ops: &[Op]| {
        let now = left.min(ops.len());
        left -= now;
        run(&ops[..now]);
        now == ops.len()
    };
    if !cut(&shelf.make()) || shelf.look().unwrap() != Target::Absent || !cut(&shelf.begin(Vec::new())) {
        return;
    }
    snapshot(&shelf.data(), uid, checksum);
    let manifest = Manifest::read(&shelf.data()).unwrap();
    if cut(&shelf.publish(&manifest)) {
        cut(&shelf.clear());
    }
}

#[test]
fn cut_off_anywhere_it_is_whole_or_absent_and_the_next_one_finishes() {
    for steps in 0..14 {
        let claim = Claim::new();
        let shelf = claim.shelf("6f1c");
        backup(&shelf, "6f1c", "first", steps);
        let found = shelf.look().unwrap();
        assert!(
            matches!(found, Target::Absent | Target::Ours),
            "cut off after {steps} steps: {found:?}"
        );
        let published = found == Target::Ours;
        backup(&shelf, "6f1c", "second", usize::MAX);
        if published {
            run(&shelf.clear());
        }
        assert_eq!(shelf.look().unwrap(), Target::Ours, "cut off after {steps} steps");
        assert_eq!(claim.names(), [".finished-6f1c", "one"], "cut off after {steps} steps");
        let checksum = Manifest::read(shelf.target()).unwrap().checksum;
        assert_eq!(checksum, if published { "first" } else { "second" });
    }
}

#[test]
fn a_label_alone_makes_nothing_ours() {
    let claim = Claim::new();
    let shelf = claim.shelf("6f1c");
    snapshot(shelf.target(), "6f1c", "theirs");
    assert_eq!(shelf.look().unwrap(), Target::Forged);
    // Neither does a seal of something else, or none.
    fs::write(&shelf.seal, "ours\n").unwrap();
    assert_eq!(shelf.look().unwrap(), Target::Forged);
    fs::write(shelf.target().join("backup_manifest"), "hello").unwrap();
    assert_eq!(shelf.look().unwrap(), Target::Forged);
    for label in [
        "LABEL: pgop 6f1c2 15.18",
        "LABEL: pgop 6f1c",
        "x LABEL: pgop 6f1c 15.18",
        "",
    ] {
        fs::write(shelf.target().join("backup_label"), label).unwrap();
        assert_eq!(shelf.look().unwrap(), Target::Others, "{label}");
    }
    fs::remove_dir_all(shelf.target()).unwrap();
    fs::write(shelf.target(), "a file").unwrap();
    assert_eq!(shelf.look().unwrap(), Target::Others);
}

#[test]
fn of_two_with_one_path_the_second_takes_nothing() {
    let claim = Claim::new();
    let (first, second) = (claim.shelf("1"), claim.shelf("2"));
    for (shelf, uid) in [(&first, "1"), (&second, "2")] {
        run(&shelf.make());
        run(&shelf.begin(Vec::new()));
        snapshot(&shelf.data(), uid, uid);
    }
    run(&first.publish(&Manifest::read(&first.data()).unwrap()));
    let ops = second.publish(&Manifest::read(&second.data()).unwrap());
    let failed = ops.iter().find_map(|op| op.run().err()).unwrap();
    assert_eq!(failed.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(
        (first.look().unwrap(), second.look().unwrap()),
        (Target::Ours, Target::Others)
    );
}

#[test]
fn what_nobody_works_on_is_removed_and_what_somebody_does_stays() {
    let claim = Claim::new();
    let (dead, alive, ours) = (claim.shelf("dead"), claim.shelf("alive"), claim.shelf("ours"));
    for shelf in [&dead, &alive] {
        run(&shelf.make());
        run(&shelf.begin(Vec::new()));
        fs::create_dir(shelf.data()).unwrap();
    }
    let held = take(&alive.partial_lock()).unwrap();
    assert!(matches!(held, Lock::Held(Some(_))));
    assert!(alive.is_taken().unwrap() && !dead.is_taken().unwrap() && !ours.is_taken().unwrap());
    assert!(matches!(take(&alive.partial_lock()).unwrap(), Lock::Others));
    let stale = ours.stale().unwrap();
    assert_eq!(stale, std::slice::from_ref(&dead.partial));
    run(&ours.begin(stale));
    assert_eq!(claim.names(), [".partial-alive", ".partial-ours"]);
}

/// R37: a file system without locks is not one where somebody holds them.
#[test]
fn where_there_are_no_locks_it_goes_on() {
    let none = Taken::Unsupported(io::Error::other("no locks available"));
    assert!(matches!(Lock::of(none, Path::new("lock")), Lock::Held(None)));
    assert!(matches!(Lock::of(Taken::Others, Path::new("lock")), Lock::Others));
}
