//! Pods: what the server adds to them, and how containers are reached.
#![allow(clippy::unwrap_used)] // a test that can't go on has failed

mod echo;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{Api, AttachParams, DeleteParams, EvictParams, LogParams, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use self::echo::{client, pod, running};

#[tokio::test]
async fn a_new_pod_gets_its_defaults_and_credentials() {
    let client = client().await;
    let pods: Api<Pod> = Api::default_namespaced(client);
    let made = pods.create(&PostParams::default(), &pod("a")).await.unwrap();
    let spec = made.spec.unwrap();
    let status = made.status.unwrap();
    assert_eq!(
        (status.phase.as_deref(), status.qos_class.as_deref()),
        (Some("Pending"), Some("BestEffort"))
    );
    assert_eq!(spec.service_account_name.as_deref(), Some("default"));
    assert_eq!(spec.restart_policy.as_deref(), Some("Always"));
    let volume = spec.volumes.unwrap().remove(0);
    assert!(volume.name.starts_with("kube-api-access-"));
    assert_eq!(
        spec.containers[0].volume_mounts.as_ref().unwrap()[0].mount_path,
        "/var/run/secrets/kubernetes.io/serviceaccount"
    );
    let mut stranger = pod("b");
    stranger.spec.as_mut().unwrap().service_account_name = Some("nobody".into());
    let refused = pods.create(&PostParams::default(), &stranger).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.is_forbidden()));
}

#[tokio::test]
async fn a_bound_pod_waits_for_its_node() {
    let client = client().await;
    let pods = running(&client, "a").await;
    let marked = pods
        .delete("a", &DeleteParams::default())
        .await
        .unwrap()
        .left()
        .unwrap();
    assert_eq!(marked.metadata.deletion_grace_period_seconds, Some(30));
    let hastened = pods
        .delete("a", &DeleteParams::default().grace_period(5))
        .await
        .unwrap()
        .left()
        .unwrap();
    assert_eq!(hastened.metadata.deletion_grace_period_seconds, Some(5));
    assert!(hastened.metadata.deletion_timestamp < marked.metadata.deletion_timestamp);
    pods.delete("a", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    assert!(pods.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn logs_are_streamed() {
    let client = client().await;
    let pods = running(&client, "a").await;
    let params = LogParams {
        tail_lines: Some(3),
        ..LogParams::default()
    };
    assert_eq!(pods.logs("a", &params).await.unwrap(), "main Some(3)\ntwo\n");
    let stream = pods
        .log_stream("a", &LogParams { follow: true, ..params })
        .await
        .unwrap();
    let mut text = String::new();
    futures::AsyncReadExt::read_to_string(&mut Box::pin(stream), &mut text)
        .await
        .unwrap();
    assert_eq!(text, "main Some(3)\ntwo\n");
    let error = pods
        .logs(
            "a",
            &LogParams {
                previous: true,
                ..LogParams::default()
            },
        )
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("previous terminated container main in pod a not found"),
        "{error}"
    );
    let error = pods
        .logs(
            "a",
            &LogParams {
                container: Some("x".into()),
                ..LogParams::default()
            },
        )
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("container x is not valid for pod a"),
        "{error}"
    );
}

#[tokio::test]
async fn a_command_runs_with_its_streams() {
    let client = client().await;
    let pods = running(&client, "a").await;
    let params = AttachParams::default().stdin(true).stdout(true).stderr(false);
    let mut process = pods.exec("a", ["cat", "-"], &params).await.unwrap();
    let mut stdin = process.stdin().unwrap();
    stdin.write_all(b"hello").await.unwrap();
    stdin.shutdown().await.unwrap();
    let mut output = String::new();
    process.stdout().unwrap().read_to_string(&mut output).await.unwrap();
    assert_eq!(output, "main:cat - hello");
    let status = process.take_status().unwrap().await.unwrap();
    assert_eq!(status.status.as_deref(), Some("Success"));

    let mut process = pods
        .exec("a", ["fail"], &AttachParams::default().stderr(false))
        .await
        .unwrap();
    let status = process.take_status().unwrap().await.unwrap();
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));
    assert_eq!(status.details.unwrap().causes.unwrap()[0].message.as_deref(), Some("7"));
    let mut process = pods
        .exec("a", ["missing"], &AttachParams::default().stderr(false))
        .await
        .unwrap();
    assert_eq!(
        process.take_status().unwrap().await.unwrap().reason.as_deref(),
        Some("InternalError")
    );
}

#[tokio::test]
async fn ports_are_forwarded() {
    let client = client().await;
    let pods = running(&client, "a").await;
    let mut forwarder = pods.portforward("a", &[5432, 9]).await.unwrap();
    let mut stream = forwarder.take_stream(5432).unwrap();
    stream.write_all(b"ping").await.unwrap();
    let mut answer = [0; 15];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"port 5432: ping");
    let error = forwarder.take_error(9).unwrap().await.unwrap();
    assert!(
        error.contains("error forwarding port 9 to pod a, uid ") && error.contains("connection refused"),
        "{error}"
    );
}

#[tokio::test]
async fn an_eviction_asks_the_budget() {
    let client = client().await;
    let pods = running(&client, "a").await;
    let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    pods.patch_status("a", &PatchParams::default(), &Patch::Merge(ready))
        .await
        .unwrap();
    let budgets: Api<PodDisruptionBudget> = Api::default_namespaced(client.clone());
    let budget =
        json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "db"}}}});
    budgets
        .create(&PostParams::default(), &serde_json::from_value(budget).unwrap())
        .await
        .unwrap();
    let status = json!({"status": {"observedGeneration": 1, "currentHealthy": 1, "desiredHealthy": 1, "disruptionsAllowed": 0, "expectedPods": 1}});
    budgets
        .patch_status("b", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
    let refused = pods.evict("a", &EvictParams::default()).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("would violate the pod's disruption budget"),
        "{refused}"
    );
    let status = json!({"status": {"disruptionsAllowed": 1}});
    budgets
        .patch_status("b", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
    pods.evict("a", &EvictParams::default()).await.unwrap();
    let evicted = pods.get("a").await.unwrap();
    assert!(evicted.metadata.deletion_timestamp.is_some());
    assert!(
        evicted
            .status
            .unwrap()
            .conditions
            .unwrap()
            .iter()
            .any(|condition| condition.type_ == "DisruptionTarget")
    );
    let budget = budgets.get("b").await.unwrap();
    assert_eq!(
        (budget.name_any().as_str(), budget.status.unwrap().disruptions_allowed),
        ("b", Some(0))
    );
}
