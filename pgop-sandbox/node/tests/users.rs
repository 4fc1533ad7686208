//! As whom containers run, and to whom their files belong: real users where the node is root's, one user elsewhere.
#![allow(clippy::unwrap_used)] // a test ends where it can not go on

mod cluster;

use cluster::{Cluster, at};
use k8s_openapi::api::core::v1::{Pod, Secret};
use pgop_sandbox_kubelet::LogOptions;
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;

/// Does this test run as root, who has all users of the machine?
fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

fn pod(script: &str, context: &Value) -> Value {
    json!({
        "restartPolicy": "Never", "securityContext": context,
        "volumes": [{"name": "x", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "s", "defaultMode": 0o400}}],
        "containers": [{
            "name": "main", "image": "x", "command": ["sh", "-c", script],
            "volumeMounts": [{"name": "x", "mountPath": "/x"}, {"name": "s", "mountPath": "/s"}],
        }],
    })
}

async fn output(cluster: &Cluster, name: &str, script: &str, context: Value) -> String {
    cluster.pod(name, pod(script, &context)).await;
    cluster.phase(name, "Succeeded").await;
    cluster.logs(name, LogOptions::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_has_its_user_and_groups_or_is_told_what_it_lacks() {
    let cluster = Cluster::start().await;
    cluster
        .create::<Secret>(json!({"metadata": {"name": "s"}, "stringData": {"word": "hush"}}))
        .await;
    let context = json!({"runAsUser": 999, "runAsGroup": 998, "supplementalGroups": [4321], "fsGroup": 2345});
    let script = "id -u; id -g; id -G; stat -c '%g %A' /x; touch /x/f; stat -c '%u %g' /x/f; stat -Lc '%g %a' /s/word; cat /s/word";
    let said = output(&cluster, "a", script, context).await;
    if is_root() {
        assert_eq!(
            said,
            "999\n998\n998 2345 4321\n2345 drwxrwsrwx\n999 2345\n2345 440\nhush"
        );
    } else {
        assert_eq!(said, "999\n998\n998\n998 drwxrwsrwx\n999 998\n998 440\nhush");
        let told = cluster.event("a", "GroupsNotGiven").await;
        assert!(told.contains("4321, 2345"), "{told}");
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_has_the_containers_user_and_rights() {
    let cluster = Cluster::start().await;
    cluster
        .create::<Secret>(json!({"metadata": {"name": "s"}, "stringData": {"word": "hush"}}))
        .await;
    let rights = "grep CapEff /proc/self/status";
    let who = "id -u; id -g; grep CapEff /proc/self/status";
    for (name, context) in [
        ("user", json!({"runAsUser": 999, "runAsGroup": 998})),
        ("root", json!({})),
    ] {
        cluster
            .pod(name, pod(&format!("{rights}; exec sleep 1000"), &context))
            .await;
        cluster.ready(name).await;
        let own = cluster.exec(name, &["grep", "CapEff", "/proc/1/status"]).await.1;
        let (code, out, err) = cluster.exec(name, &["sh", "-c", who]).await;
        let ids = if name == "user" { "999\n998\n" } else { "0\n0\n" };
        assert_eq!((code, out, err), (0, format!("{ids}{own}"), String::new()));
        assert_eq!(
            own.contains("\t0000000000000000\n"),
            name == "user",
            "only root has rights: {own}"
        );
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn root_in_a_container_may_what_root_may_there() {
    let cluster = Cluster::start().await;
    cluster
        .create::<Secret>(json!({"metadata": {"name": "s"}, "stringData": {"word": "hush"}}))
        .await;
    let script = "touch /x/f; chown 999:998 /x/f 2>/dev/null && stat -c '%u %g' /x/f; hostname other 2>/dev/null || echo no host";
    let said = output(&cluster, "a", script, json!({})).await;
    // One user can't give a file away: there is nobody else.
    assert_eq!(said, if is_root() { "999 998\nno host\n" } else { "no host\n" });
    let refused = json!({"runAsNonRoot": true, "runAsUser": 0});
    cluster.pod("b", pod("true", &refused)).await;
    let waits = |pod: Option<&Pod>| {
        pod.is_some_and(|p| at(p, "/containerStatuses/0/state/waiting/reason") == "CreateContainerConfigError")
    };
    cluster.wait("b", "refused", waits).await;
    assert!(cluster.event("b", "Failed").await.contains("non-root policy"));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_privileged_pod_on_the_hosts_processes_ends_those_of_others() {
    let cluster = Cluster::start().await;
    cluster
        .pod(
            "victim",
            json!({"restartPolicy": "Never", "securityContext": {"runAsUser": 999}, "containers": [{
                "name": "main", "image": "x", "command": ["sh", "-c", "exec sleep 31559"], "env": [{"name": "MARK", "value": "here"}],
            }]}),
        )
        .await;
    let killer = |privileged: bool| {
        json!({"hostPID": true, "containers": [{
            "name": "main", "image": "x", "command": ["sh", "-c", "sleep 31560 & exec sleep 31560"],
            "securityContext": {"runAsUser": 0, "privileged": privileged},
        }]})
    };
    cluster.pod("plain", killer(false)).await;
    cluster.pod("killer", killer(true)).await;
    for name in ["victim", "plain", "killer"] {
        cluster.ready(name).await;
    }
    // They are ready when their shells have begun.
    let counted = "grep -lz '^31560$' /proc/[0-9]*/cmdline 2>/dev/null | wc -l";
    cluster.exec_until("victim", &["cat", "/proc/1/comm"], "sleep\n").await;
    cluster.exec_until("killer", &["sh", "-c", counted], "4\n").await;
    // What ends meanwhile can't be read.
    let find = "for p in /proc/[0-9]*; do { read -r name <$p/comm; } 2>/dev/null; [ \"$name\" = sleep ] || continue; if grep -qz '^MARK=here$' $p/environ 2>/dev/null; then kill -9 ${p#/proc/} && echo killed; fi; done; true";
    let (_, out, err) = cluster.exec("plain", &["sh", "-c", find]).await;
    assert_eq!(out, "", "who is not privileged does not look into others: {err}");
    let (code, out, err) = cluster.exec("killer", &["sh", "-c", find]).await;
    assert_eq!((code, out.as_str(), err.as_str()), (0, "killed\n", ""));
    let pod = cluster.phase("victim", "Failed").await;
    assert_eq!(at(&pod, "/containerStatuses/0/state/terminated/exitCode"), 137);
    // It has no process numbers of its own; what it started ends with it all the same.
    cluster.delete("plain", 0).await;
    cluster.gone("plain").await;
    cluster.exec_until("killer", &["sh", "-c", counted], "2\n").await;
    cluster.end().await;
}
