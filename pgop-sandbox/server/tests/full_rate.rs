//! A thousand watched objects that change as fast as the server lets them.
#![allow(clippy::disallowed_methods)] // a test sees a panic of its own tasks
#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on has failed

use std::collections::HashMap;

use futures::{StreamExt as _, future::join_all};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Client, ResourceExt};
use pgop_sandbox_server::{Config, Server};
use serde_json::json;

const OBJECTS: usize = 1_000;
const WRITERS: usize = 4;
const CHANGES: usize = 16;
/// Of an object's life: it is created, changed, deleted.
const EVENTS: usize = OBJECTS * (CHANGES + 2);
/// More than one event of each object, so that every resumption is in the middle of something.
const RESUMED_AFTER: usize = 1_500;
/// A megabyte is 2^20 bytes. Told to five watchers, the changes are 180 MB of JSON, and several times that as values: they are not kept for each.
const MEMORY_MB: usize = 256;

/// No event is lost, told twice or out of order, also across resumptions; who does not read costs nothing and is told that it fell behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_objects_are_watched_at_full_rate() {
    let client = Server::open(Config::default()).unwrap().client();
    let before = peak_megabytes();
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let start = maps
        .list(&kube::api::ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    let mut asleep = maps.watch(&WatchParams::default(), &start).await.unwrap().boxed();
    let steady: Vec<_> = (0..3)
        .map(|_| tokio::spawn(follow(client.clone(), start.clone(), usize::MAX)))
        .collect();
    let resuming = tokio::spawn(follow(client.clone(), start.clone(), RESUMED_AFTER));

    let writers = (0..WRITERS).map(|writer| tokio::spawn(write(client.clone(), writer)));
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    for watcher in join_all(steady.into_iter().chain([resuming])).await {
        let lives = watcher.unwrap();
        assert_eq!(lives.len(), OBJECTS);
        assert!(lives.values().all(|life| *life == Life::Deleted));
    }

    let WatchEvent::Error(gone) = asleep.next().await.unwrap().unwrap() else {
        panic!("a watcher that slept through {EVENTS} changes is told some of them")
    };
    assert_eq!((gone.code, gone.reason.as_str()), (410, "Expired"), "{gone:?}");
    assert!(asleep.next().await.is_none(), "it goes on after its end");

    let grown = peak_megabytes() - before;
    assert!(
        grown < MEMORY_MB,
        "{grown} MB for {EVENTS} events of 2 KB and five watchers"
    );
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Changed(usize),
    Deleted,
}

async fn write(client: Client, writer: usize) {
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let names: Vec<String> = (writer..OBJECTS).step_by(WRITERS).map(|n| format!("m{n}")).collect();
    let data = |change: usize| json!({"change": change.to_string(), "text": "x".repeat(2_000)});
    for name in &names {
        let map = serde_json::from_value(json!({"metadata": {"name": name}, "data": data(0)})).unwrap();
        maps.create(&PostParams::default(), &map).await.unwrap();
    }
    for change in 1..=CHANGES {
        for name in &names {
            let patch = Patch::Merge(json!({"data": data(change)}));
            maps.patch(name, &PatchParams::default(), &patch).await.unwrap();
        }
    }
    for name in &names {
        maps.delete(name, &DeleteParams::default()).await.unwrap();
    }
}

/// Follows all events, and takes up the watch anew after each `pause` of them.
async fn follow(client: Client, mut version: String, pause: usize) -> HashMap<String, Life> {
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let mut lives = HashMap::new();
    let (mut told, mut last) = (0, 0);
    while told < EVENTS {
        let watch = maps.watch(&WatchParams::default(), &version).await.unwrap();
        let mut events = watch.take(pause).boxed();
        while told < EVENTS
            && let Some(event) = events.next().await
        {
            told += 1;
            let map = step(&mut lives, event.unwrap());
            version = map.resource_version().unwrap();
            let revision: u64 = version.parse().unwrap();
            assert!(revision > last, "{revision} after {last}");
            last = revision;
        }
    }
    lives
}

/// One event must be the next in its object's life.
fn step(lives: &mut HashMap<String, Life>, event: WatchEvent<ConfigMap>) -> ConfigMap {
    let change = |map: &ConfigMap| map.data.as_ref().unwrap()["change"].parse::<usize>().unwrap();
    let (map, before, after) = match event {
        WatchEvent::Added(map) => (map, None, Life::Changed(0)),
        WatchEvent::Modified(map) => {
            let change = change(&map);
            (map, change.checked_sub(1).map(Life::Changed), Life::Changed(change))
        }
        WatchEvent::Deleted(map) => (map, Some(Life::Changed(CHANGES)), Life::Deleted),
        other => panic!("{other:?}"),
    };
    let was = lives.insert(map.name_any(), after);
    assert_eq!(was, before, "{} became {after:?}", map.name_any());
    map
}

/// The most memory that this process has used so far, in megabytes.
fn peak_megabytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() >> 10
}
