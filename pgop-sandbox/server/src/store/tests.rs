#![allow(clippy::disallowed_methods)] // a test sees a panic of its own tasks
use std::sync::Arc;

use serde_json::{Value, json};

use super::{ChangeKind, Expect, JournalError, Key, RevisionError, Store, WriteError};

fn object(name: &str, data: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "a"}, "data": {"x": data}})
}

fn key(name: &str) -> Key {
    Key::new("a", name)
}

fn put(store: &Store, name: &str, data: &str) -> u64 {
    let expect = store
        .get("configmaps", &key(name))
        .map_or(Expect::Absent, |object| Expect::Revision(object.revision));
    store
        .put("configmaps", &key(name), expect, object(name, data))
        .unwrap()
        .revision
}

fn names(objects: &super::Objects) -> Vec<String> {
    objects
        .values()
        .map(|object| format!("{}={}", object.value()["metadata"]["name"], object.value()["data"]["x"]))
        .collect()
}

#[test]
fn a_write_takes_the_next_revision_and_puts_it_into_the_object() {
    let store = Store::in_memory();
    let first = put(&store, "one", "1");
    let second = put(&store, "two", "1");
    assert_eq!(second, first + 1);
    let stored = store.get("configmaps", &key("two")).unwrap();
    assert_eq!(stored.value()["metadata"]["resourceVersion"], second.to_string());
    assert_eq!(&serde_json::from_slice::<Value>(&stored.json).unwrap(), stored.value());
}

#[test]
fn a_write_that_believes_wrongly_is_refused() {
    let store = Store::in_memory();
    let revision = put(&store, "one", "1");
    let again = store.put("configmaps", &key("one"), Expect::Absent, object("one", "2"));
    assert!(matches!(again, Err(WriteError::Exists)));
    let stale = store.put(
        "configmaps",
        &key("one"),
        Expect::Revision(revision - 1),
        object("one", "2"),
    );
    assert!(matches!(stale, Err(WriteError::Changed)));
    assert!(matches!(
        store.remove("configmaps", &key("two"), 1, None),
        Err(WriteError::Missing)
    ));
    assert_eq!(store.revision(), revision, "a refused write takes no revision");
}

#[test]
fn the_past_can_be_listed() {
    let store = Store::in_memory();
    put(&store, "one", "1");
    let then = put(&store, "two", "1");
    put(&store, "one", "2");
    let two = store.get("configmaps", &key("two")).unwrap();
    store.remove("configmaps", &key("two"), two.revision, None).unwrap();
    put(&store, "three", "1");
    assert_eq!(
        names(&store.list_at("configmaps", then).unwrap()),
        [r#""one"="1""#, r#""two"="1""#]
    );
    assert_eq!(names(&store.list("configmaps").1), [r#""one"="2""#, r#""three"="1""#]);
    let future = store.list_at("configmaps", 100).unwrap_err();
    assert!(matches!(future, RevisionError::Future { asked: 100, .. }));
}

#[tokio::test]
async fn a_watcher_sees_every_change_in_order() {
    let store = Arc::new(Store::in_memory());
    let mut follower = store.follow("configmaps", store.revision()).unwrap();
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..1000 {
                put(&store, &format!("o{}", round % 7), &round.to_string());
                if round % 10 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        })
    };
    let mut seen = Vec::new();
    while seen.len() < 1000 {
        seen.extend(follower.next().await.unwrap());
    }
    writer.await.unwrap();
    let data: Vec<usize> = seen
        .iter()
        .map(|change| change.object.value()["data"]["x"].as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(data, (0..1000).collect::<Vec<_>>());
    assert_eq!(seen.iter().filter(|change| change.kind == ChangeKind::Added).count(), 7);
}

#[test]
fn a_watcher_that_is_too_slow_is_told() {
    let store = Arc::new(Store::in_memory());
    let start = store.revision();
    let mut follower = store.follow("configmaps", start).unwrap();
    for round in 0..=super::table::HISTORY_CHANGES {
        put(&store, "one", &round.to_string());
    }
    assert!(matches!(follower.take(), Err(RevisionError::Expired { .. })));
    assert!(matches!(
        store.follow("configmaps", start),
        Err(RevisionError::Expired { .. })
    ));
    assert!(matches!(
        store.list_at("configmaps", start),
        Err(RevisionError::Expired { .. })
    ));
    let mut other = store.follow("secrets", start).unwrap();
    assert!(other.take().unwrap().is_empty(), "another table has its own history");
}

#[test]
fn big_changes_are_forgotten_sooner() {
    let store = Arc::new(Store::in_memory());
    let start = store.revision();
    let big = "x".repeat(super::table::HISTORY_BYTES / 4);
    for _ in 0..6 {
        put(&store, "one", &big);
    }
    assert!(store.follow("configmaps", start).is_err());
    assert!(store.follow("configmaps", store.revision() - 1).is_ok());
}

/// Watchers that sleep for less are not told to begin anew, and no store grows for hours: also not by a table in which nothing happens any more.
#[tokio::test(start_paused = true)]
async fn changes_are_forgotten_after_five_minutes() {
    let store = Arc::new(Store::in_memory());
    let in_quiet = |name| {
        store
            .put("secrets", &key(name), Expect::Absent, object(name, "0"))
            .unwrap()
            .revision
    };
    let (start, quiet, last) = (put(&store, "one", "0"), in_quiet("one"), in_quiet("two"));
    tokio::time::advance(super::table::HISTORY_AGE).await;
    let then = put(&store, "one", "1");
    assert_eq!(store.follow("configmaps", start).unwrap().take().unwrap().len(), 1);
    assert_eq!(store.follow("secrets", quiet).unwrap().take().unwrap().len(), 1);
    tokio::time::advance(super::SWEEP).await;
    put(&store, "one", "2");
    assert!(store.follow("configmaps", start - 1).is_err());
    assert_eq!(store.follow("configmaps", then).unwrap().take().unwrap().len(), 1);
    assert!(store.follow("secrets", quiet - 1).is_err());
    assert!(store.follow("secrets", last).is_ok());
}

/// Who looks at an object or a change after a sweep sees what was there before it.
#[tokio::test(start_paused = true)]
async fn a_sweep_takes_nothing_but_memory() {
    let store = Arc::new(Store::in_memory());
    let start = store.revision();
    let rounds = 512; // a watcher takes 256 at once
    for round in 0..rounds {
        put(&store, "one", &round.to_string());
    }
    let written = store.get("configmaps", &key("one")).unwrap();
    tokio::time::advance(super::SWEEP).await;
    store
        .put("secrets", &key("one"), Expect::Absent, object("one", "0"))
        .unwrap();
    let swept = store.get("configmaps", &key("one")).unwrap();
    assert_eq!((&*swept.glance(), &swept.json), (written.value(), &written.json));
    assert!(swept.cooled().is_none(), "a glance keeps nothing");
    assert_eq!(swept.value(), written.value());
    assert!(swept.cooled().is_some());
    let mut follower = store.follow("configmaps", start).unwrap();
    let mut changes = follower.take().unwrap();
    changes.extend(follower.take().unwrap());
    assert_eq!(changes.len(), rounds);
    for (round, change) in changes.iter().enumerate() {
        let revision = start + 1 + round as u64;
        assert_eq!(change.object.revision, revision);
        assert_eq!(
            change.object.value()["metadata"]["resourceVersion"],
            revision.to_string()
        );
        assert_eq!(change.object.value()["data"]["x"], round.to_string());
        assert_eq!(
            &serde_json::from_slice::<Value>(&change.object.json).unwrap(),
            change.object.value()
        );
        let before = change.before.as_ref().map(|before| before.value()["data"]["x"].clone());
        assert_eq!(before, round.checked_sub(1).map(|before| before.to_string().into()));
    }
    assert_eq!(
        names(&store.list_at("configmaps", start + 10).unwrap()),
        [r#""one"="9""#]
    );
}

#[test]
fn a_folder_keeps_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let last = {
        let store = Store::in_folder(folder.path()).unwrap();
        put(&store, "one", "1");
        put(&store, "one", "2");
        let gone = put(&store, "two", "1");
        store.remove("configmaps", &key("two"), gone, None).unwrap();
        store.revision()
    };
    let store = Arc::new(Store::in_folder(folder.path()).unwrap());
    assert_eq!(names(&store.list("configmaps").1), [r#""one"="2""#]);
    assert_eq!(store.revision(), last);
    assert!(matches!(
        store.follow("configmaps", last - 1),
        Err(RevisionError::Expired { .. })
    ));
}

#[test]
fn a_folder_is_for_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let _store = Store::in_folder(folder.path()).unwrap();
    assert!(matches!(
        Store::in_folder(folder.path()),
        Err(JournalError::InUse { .. })
    ));
}

#[test]
fn a_journal_cut_at_any_byte_loses_only_its_end() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = Store::in_folder(folder.path()).unwrap();
        for round in 0..4 {
            put(&store, &format!("o{round}"), "1");
        }
    }
    let whole = std::fs::read(folder.path().join("journal")).unwrap();
    let mut counts = Vec::new();
    for length in 0..=whole.len() {
        let torn = tempfile::tempdir().unwrap();
        std::fs::write(torn.path().join("journal"), &whole[..length]).unwrap();
        let store = Store::in_folder(torn.path()).unwrap();
        counts.push(store.list("configmaps").1.len());
        // It goes on from there.
        put(&store, "more", "1");
        drop(store);
        let again = Store::in_folder(torn.path()).unwrap();
        assert_eq!(again.list("configmaps").1.len(), counts[length] + 1);
    }
    assert!(counts.is_sorted());
    assert_eq!((counts[0], counts[whole.len()]), (0, 4));
}

#[test]
fn a_flipped_bit_ends_the_journal_there() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = Store::in_folder(folder.path()).unwrap();
        put(&store, "one", "1");
        put(&store, "two", "1");
    }
    let path = folder.path().join("journal");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 5;
    bytes[last] ^= 4;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(
        names(&Store::in_folder(folder.path()).unwrap().list("configmaps").1),
        [r#""one"="1""#]
    );
}

#[test]
fn a_long_journal_is_rewritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let big = "x".repeat(1 << 20);
    let last = {
        let store = Store::in_folder(folder.path()).unwrap();
        for _ in 0..40 {
            put(&store, "one", &big);
        }
        let gone = put(&store, "two", "1");
        store.remove("configmaps", &key("two"), gone, None).unwrap();
        store.revision()
    };
    assert!(std::fs::metadata(&path).unwrap().len() < 20 << 20);
    let store = Store::in_folder(folder.path()).unwrap();
    assert_eq!(store.list("configmaps").1.len(), 1);
    assert_eq!(store.revision(), last);
}
