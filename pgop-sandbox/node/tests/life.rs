//! The node's own life: stopping, being killed, starting again; and a database on it.
#![allow(clippy::unwrap_used)] // a test ends where it can not go on

mod cluster;

use cluster::{Cluster, PATIENCE, at};
use k8s_openapi::api::core::v1::{Node as NodeObject, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use pgop_sandbox_kubelet::LogOptions;
use serde_json::{from_value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Numbers of processes that have a word in their command line, but ourselves.
fn processes(word: &str) -> Vec<u32> {
    let has = |pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(word))
    };
    all().filter(|pid| *pid != std::process::id()).filter(has).collect()
}

/// Networks of a process and of all below it.
fn networks(root: u32) -> BTreeSet<PathBuf> {
    let parent = |pid: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let below = |pid: &u32| std::iter::successors(Some(*pid), |pid| parent(*pid)).any(|pid| pid == root);
    all().filter(below).filter_map(network).collect()
}

fn network(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

/// Asks again until it is so.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A number of seconds that no other process on this machine sleeps.
fn nap(process: u32) -> String {
    format!("31557{process:08}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_is_known_and_ready() {
    let cluster = Cluster::start().await;
    let nodes: Api<NodeObject> = Api::all(cluster.client.clone());
    let node = nodes.get("sandbox").await.unwrap();
    assert_eq!(node.metadata.labels.unwrap()["kubernetes.io/os"], "linux");
    let conditions = node.status.unwrap().conditions.unwrap();
    assert!(conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True"));
    let leases: Api<k8s_openapi::api::coordination::v1::Lease> =
        Api::namespaced(cluster.client.clone(), "kube-node-lease");
    assert_eq!(
        leases
            .get("sandbox")
            .await
            .unwrap()
            .spec
            .unwrap()
            .holder_identity
            .as_deref(),
        Some("sandbox")
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_pods_are_started_again_and_jobs_have_failed() {
    let mut cluster = Cluster::start().await;
    let wait = "trap 'exit 0' TERM; echo run; while :; do sleep 0.1; done";
    let container = json!([{"name": "main", "image": "x", "command": ["sh", "-c", wait]}]);
    cluster.pod("server", json!({"containers": container})).await;
    cluster
        .pod("job", json!({"restartPolicy": "Never", "containers": container}))
        .await;
    cluster.script("done", "exit 0").await;
    cluster.ready("server").await;
    cluster.ready("job").await;
    cluster.phase("done", "Succeeded").await;
    cluster.restart().await;
    let again = |pod: Option<&Pod>| {
        pod.is_some_and(|p| at(p, "/containerStatuses/0/restartCount") == 1 && cluster::is_ready(p))
    };
    let pod = cluster.wait("server", "started again", again).await;
    assert_eq!(
        at(&pod, "/containerStatuses/0/lastState/terminated/reason"),
        "ContainerStatusUnknown"
    );
    let pod = cluster.phase("job", "Failed").await;
    assert_eq!(at(&pod, "/containerStatuses/0/state/terminated/exitCode"), 137);
    let pod = cluster.phase("done", "Succeeded").await;
    assert_eq!(at(&pod, "/containerStatuses/0/restartCount"), 0);
    assert_eq!(
        cluster
            .logs(
                "server",
                LogOptions {
                    previous: true,
                    ..LogOptions::default()
                }
            )
            .await,
        "run\n"
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_after_a_stop() {
    let cluster = Cluster::start().await;
    let nap = nap(std::process::id());
    cluster.script("left", &format!("echo up; exec sleep {nap}")).await;
    cluster.ready("left").await;
    assert!(!processes(&nap).is_empty());
    cluster.delete("left", 0).await;
    cluster.gone("left").await; // at once: it was not asked whether the processes have ended
    tokio::task::block_in_place(|| until("no process is left", || processes(&nap).is_empty()));
    cluster.script("left", &format!("exec sleep {nap}")).await;
    cluster.ready("left").await;
    cluster.end().await;
    assert_eq!(processes(&nap), Vec::<u32>::new());
}

/// Not a test of its own: the node that the next one kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by nothing_is_left_after_kill_9"]
async fn a_node_to_be_killed() {
    let cluster = Cluster::start().await;
    cluster
        .script("left", &format!("exec sleep {}", nap(std::process::id())))
        .await;
    cluster.ready("left").await;
    println!("\nfolder {}", cluster.folder.path().display());
    std::future::pending::<()>().await;
}

#[test]
fn nothing_is_left_after_kill_9() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["a_node_to_be_killed", "--ignored", "--exact", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let nap = nap(child.id());
    let lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let folder = lines
        .into_iter()
        .find_map(|line| line.strip_prefix("folder ").map(str::to_owned))
        .expect("the node starts");
    assert!(!processes(&nap).is_empty());
    let mut networks = networks(child.id());
    networks.remove(&network(std::process::id()).unwrap());
    assert!(networks.len() > 1, "that of the node and that of the pod: {networks:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    until("its processes are gone", || processes(&nap).is_empty());
    pgop_sandbox_node::clean(&Path::new(&folder).join("node")).unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&folder));
    until("nothing is left in its networks", || {
        !all().filter_map(network).any(|of| networks.contains(&of))
    });
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_runs_as_its_user_on_a_claim_and_keeps_its_data() {
    let mut cluster = Cluster::start().await;
    let data = cluster.folder.path().join("volumes/data");
    let volumes: Api<PersistentVolume> = Api::all(cluster.client.clone());
    let volume = json!({"metadata": {"name": "pv"}, "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": data}, "claimRef": {"namespace": "default", "name": "data"}}});
    volumes
        .create(&PostParams::default(), &from_value(volume).unwrap())
        .await
        .unwrap();
    cluster
        .create::<PersistentVolumeClaim>(json!({"metadata": {"name": "data"}, "spec": {"volumeName": "pv",
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}))
        .await;
    let script = "set -e; [ -e /pgdata/db/PG_VERSION ] || initdb -D /pgdata/db -U postgres >/dev/null; chmod 0700 /pgdata/db; rm -f /pgdata/db/postmaster.pid; \
        exec postgres -D /pgdata/db -c unix_socket_directories=/run -c listen_addresses='*'";
    let spec = json!({
        "securityContext": {"runAsUser": 999, "runAsGroup": 999, "fsGroup": 999, "runAsNonRoot": true},
        "containers": [{"name": "main", "image": "postgres:15", "command": ["bash", "-c", script],
            "readinessProbe": {"exec": {"command": ["pg_isready", "-h", "/run"]}, "periodSeconds": 1, "timeoutSeconds": 100, "failureThreshold": 1000},
            "volumeMounts": [{"name": "data", "mountPath": "/pgdata"}, {"name": "shm", "mountPath": "/dev/shm"}]}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "shm", "emptyDir": {"medium": "Memory"}}],
    });
    cluster.pod("db", spec).await;
    assert!(cluster.event("db", "FailedMount").await.contains("not bound"));
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client.clone(), "default");
    claims
        .patch_status(
            "data",
            &PatchParams::default(),
            &Patch::Merge(json!({"status": {"phase": "Bound"}})),
        )
        .await
        .unwrap();
    cluster.ready("db").await;
    let psql = |sql: &'static str| ["psql", "-h", "/run", "-U", "postgres", "-XAtc", sql];
    let (code, out, err) = cluster
        .exec("db", &psql("create table t as select 42 as n; select n from t"))
        .await;
    assert_eq!((code, out.lines().last()), (0, Some("42")), "{err}");
    cluster.restart().await;
    let again = |pod: Option<&Pod>| {
        pod.is_some_and(|p| at(p, "/containerStatuses/0/restartCount") == 1 && cluster::is_ready(p))
    };
    cluster.wait("db", "started again", again).await;
    assert_eq!(cluster.exec("db", &psql("select n from t")).await.1, "42\n");
    cluster.delete("db", 10).await;
    cluster.gone("db").await;
    assert!(data.join("db/PG_VERSION").exists());
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_the_nodes_stop_ends_has_not_succeeded() {
    let mut cluster = Cluster::start().await;
    cluster
        .script("polite", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
        .await;
    cluster.ready("polite").await;
    cluster.restart().await;
    let pod = cluster.phase("polite", "Failed").await;
    assert_eq!(at(&pod, "/containerStatuses/0/state/terminated/exitCode"), 137);
    cluster.end().await;
}
