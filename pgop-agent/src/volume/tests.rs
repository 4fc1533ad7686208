//! Every change is cut off after each of its steps, and finished by whoever looks next.

use super::*;

/// A directory, with what is in its databases.
struct Place {
    _folder: tempfile::TempDir,
    directory: Directory,
}

impl Place {
    fn with(content: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in content {
            let path = folder.path().join(name);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("PG_VERSION"), text).unwrap();
        }
        Self {
            directory: Directory::new(folder.path()),
            _folder: folder,
        }
    }

    fn mark(self) -> Self {
        fs::write(self.directory.complete(), "").unwrap();
        self
    }

    /// Which database is the data, and what else is there.
    fn seen(&self) -> (Option<String>, Vec<String>) {
        let data = fs::read_to_string(self.directory.data().join("PG_VERSION")).ok();
        let names = fs::read_dir(&self.directory.0).unwrap();
        let mut names: Vec<String> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        (data, names)
    }

    /// What the supervisor does with what it sees, until nothing is left to do; the first change is cut off after so many steps.
    fn settle(&self, steps: usize) {
        let mut steps = Some(steps);
        for _ in 0..5 {
            let names = self.directory.names();
            let ops = if names.copy() {
                self.directory.finish_clone(names)
            } else if names.leftovers() {
                self.directory.clean(names)
            } else {
                return;
            };
            for op in ops.iter().take(steps.take().unwrap_or(usize::MAX)) {
                op.run().unwrap();
            }
        }
        panic!("not settled: {:?}", self.seen());
    }
}

fn settled(make: impl Fn() -> Place, data: Option<&str>) {
    for steps in 0..12 {
        let place = make();
        place.settle(steps);
        let names: Vec<String> = data.iter().map(|_| "data".to_owned()).collect();
        assert_eq!(
            place.seen(),
            (data.map(str::to_owned), names),
            "cut off after {steps} steps"
        );
    }
}

#[test]
fn a_whole_copy_takes_the_place_of_the_data() {
    settled(
        || Place::with(&[("data", "old"), ("data.clone", "new")]).mark(),
        Some("new"),
    );
    settled(|| Place::with(&[("data.clone", "new")]).mark(), Some("new"));
    let after_another = || Place::with(&[("data", "old"), ("data.clone", "new"), (".pgop-replaced", "older")]).mark();
    settled(after_another, Some("new"));
}

#[test]
fn half_a_copy_goes_and_the_data_stays() {
    settled(|| Place::with(&[("data", "old"), ("data.clone", "half")]), Some("old"));
    settled(|| Place::with(&[("data.clone", "half")]), None);
}

#[test]
fn a_mark_without_its_copy_is_not_the_next_ones() {
    settled(
        || Place::with(&[("data", "new"), (".pgop-replaced", "old")]).mark(),
        Some("new"),
    );
    let place = Place::with(&[("data", "new")]).mark();
    place.settle(1);
    assert!(!place.directory.names().complete);
}

#[test]
fn what_the_scripts_of_before_left_is_finished() {
    settled(
        || Place::with(&[(".pgop-replaced", "old"), ("data.clone", "new")]),
        Some("new"),
    );
    settled(|| Place::with(&[(".pgop-replaced", "old")]), Some("old"));
    settled(
        || Place::with(&[("data", "old"), ("data.init", "half"), ("data.restore", "half")]),
        Some("old"),
    );
}

#[test]
fn an_empty_mount_point_is_no_data() {
    let place = Place::with(&[("data.clone", "new")]).mark();
    fs::create_dir(place.directory.data()).unwrap();
    assert!(!place.directory.names().data);
    place.settle(usize::MAX);
    assert_eq!(place.seen().0.as_deref(), Some("new"));
}

#[test]
fn a_rename_takes_nobodys_place() {
    let place = Place::with(&[("data", "old"), ("data.clone", "new")]);
    let error = Op::Rename(place.directory.copy(), place.directory.data())
        .run()
        .unwrap_err();
    assert!(error.to_string().starts_with("could not rename "), "{error}");
    assert_eq!(place.seen().0.as_deref(), Some("old"));
}

#[test]
fn a_directory_is_taken_whole_or_not_at_all() {
    for steps in 0..4 {
        let place = Place::with(&[]);
        for op in place.directory.take("PgCluster/shop/hippo").iter().take(steps) {
            op.run().unwrap();
        }
        let before = fs::read_to_string(place.directory.0.join("owner"));
        assert!(before.is_err() || before.unwrap() == "PgCluster/shop/hippo\n");
        if place.directory.0.join("owner").exists() {
            continue;
        }
        for op in place.directory.take("PgCluster/shop/hippo") {
            op.run().unwrap();
        }
        assert_eq!(place.seen().1, ["owner"]);
    }
}
