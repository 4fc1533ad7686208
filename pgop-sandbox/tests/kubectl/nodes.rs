//! The node: what it is, and how it is emptied.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::kubectl::{LIMIT, with_each};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl"]
async fn a_node_is_emptied_and_used_again() {
    with_each(async |kubectl| {
        kubectl.says(&["get", "nodes"], &["sandbox   Ready "]).await;
        kubectl.says(&["describe", "node", "sandbox"], &["Ready            True", "Allocated resources:"]).await;
        kubectl.ok(&["create", "deployment", "web", "--image=x", "--dry-run=client", "-o", "yaml"]).await;
        kubectl.apply(
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {selector: {matchLabels: {app: web}}, template: {
              metadata: {labels: {app: web}}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: x, command: [sleep, '1000']}]}}}}",
        )
        .await;
        kubectl.ok(&["rollout", "status", "deploy/web", "--timeout=180s"]).await;
        assert_eq!(kubectl.ok(&["cordon", "sandbox"]).await, "node/sandbox cordoned\n");
        kubectl.says(&["get", "nodes"], &["Ready,SchedulingDisabled"]).await;
        let drain = ["drain", "sandbox", "--force", "--ignore-daemonsets", "--pod-selector=app=web"];
        kubectl.says(&[&drain[..], &["--timeout=180s"]].concat(), &["evicted"]).await;
        // Its successor waits for a node.
        let pending = ["get", "pods", "--field-selector=status.phase=Pending", "-o", "name"];
        crate::kubectl::until("a pod waits", async || kubectl.ok(&pending).await.contains("pod/web-")).await;
        assert_eq!(kubectl.ok(&["uncordon", "sandbox"]).await, "node/sandbox uncordoned\n");
        kubectl.ok(&["rollout", "status", "deploy/web", "--timeout=180s"]).await;
        let budget = "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: b}, spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}}";
        kubectl.apply(budget).await;
        let counted = ["get", "pdb", "b", "-o", "jsonpath={.status.currentHealthy}"];
        crate::kubectl::until("the budget counts the pod", async || kubectl.ok(&counted).await == "1").await;
        // It tries again and again; to hear why is enough.
        let mut refused = kubectl.command(&drain);
        let mut refused = refused.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(refused.stderr.take().unwrap()).lines();
        let told = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains("would violate the pod's disruption budget") {
                    return;
                }
            }
            panic!("the pod was evicted against its budget");
        };
        tokio::time::timeout(LIMIT, told).await.expect("a refusal");
        refused.kill().await.unwrap();
        kubectl.ok(&["uncordon", "sandbox"]).await;
        assert_eq!(kubectl.ok(&["taint", "nodes", "sandbox", "a=b:NoSchedule"]).await, "node/sandbox tainted\n");
        kubectl.ok(&["taint", "nodes", "sandbox", "a-"]).await;
        // A node is emptied of all namespaces.
        kubectl.ok(&["delete", "deploy,pdb", "--all"]).await;
    })
    .await;
}
