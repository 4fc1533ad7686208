//! Deployments and their like, jobs, services.

use crate::kubectl::{Kubectl, until, with_each};

const WEB: &str = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, labels: {app: web}}, spec: {replicas: 2,
  selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {terminationGracePeriodSeconds: 1,
    containers: [{name: main, image: 'x:1', command: [sh, -c, echo started; exec sleep 1000], ports: [{containerPort: 8080}]}]}}}}";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl"]
async fn a_deployment_is_rolled_out_and_back() {
    with_each(async |kubectl| {
        kubectl.apply(WEB).await;
        let status = ["rollout", "status", "deploy/web", "--timeout=180s"];
        kubectl
            .says(&status, &["deployment \"web\" successfully rolled out"])
            .await;
        it_is_shown(&kubectl).await;
        let image = async || {
            kubectl
                .ok(&[
                    "get",
                    "deploy",
                    "web",
                    "-o",
                    "jsonpath={.spec.template.spec.containers[0].image}",
                ])
                .await
        };
        kubectl.ok(&["set", "image", "deploy/web", "main=x:2"]).await;
        kubectl.says(&status, &["successfully rolled out"]).await;
        kubectl
            .ok(&["annotate", "deploy", "web", "kubernetes.io/change-cause=second"])
            .await;
        until("the history has the cause", async || {
            kubectl
                .ok(&["rollout", "history", "deploy/web"])
                .await
                .contains("2         second")
        })
        .await;
        kubectl
            .says(
                &["rollout", "history", "deploy/web", "--revision=2"],
                &["revision #2", "x:2"],
            )
            .await;
        kubectl.says(&["rollout", "undo", "deploy/web"], &["rolled back"]).await;
        assert_eq!(image().await, "x:1");
        kubectl.ok(&["rollout", "restart", "deploy/web"]).await;
        kubectl.says(&status, &["successfully rolled out"]).await;
        kubectl.says(&["rollout", "pause", "deploy/web"], &["paused"]).await;
        kubectl.says(&["rollout", "resume", "deploy/web"], &["resumed"]).await;
        kubectl
            .says(&["scale", "deploy/web", "--replicas=3"], &["scaled"])
            .await;
        kubectl
            .fails(
                &["scale", "deploy/web", "--replicas=1", "--current-replicas=9"],
                &["xpected replicas to be 9, was 3"],
            )
            .await;
        kubectl
            .ok(&["wait", "--for=condition=Available", "deploy/web", "--timeout=180s"])
            .await;
        kubectl.says(&status, &["successfully rolled out"]).await;
        kubectl.ok(&["set", "env", "deploy/web", "A=b"]).await;
        until("a pod of it has said so", async || {
            kubectl.run(&["logs", "deploy/web"]).await.out.contains("started")
        })
        .await;
        kubectl
            .says(&["get", "events"], &["ScalingReplicaSet", "deployment/web"])
            .await;
        kubectl.ok(&["delete", "deploy", "web"]).await;
        kubectl
            .ok(&["wait", "--for=delete", "pod", "-l", "app=web", "--timeout=180s"])
            .await;
    })
    .await;
}

async fn it_is_shown(kubectl: &Kubectl) {
    kubectl
        .says(
            &["get", "deploy,rs,pods", "-o", "wide"],
            &[
                "deployment.apps/web   2/2     2            2",
                "x:1",
                "app=web",
                "10.244.0.",
            ],
        )
        .await;
    kubectl
        .says(&["get", "all"], &["pod/web-", "replicaset.apps/web-"])
        .await;
    assert_eq!(
        kubectl.ok(&["get", "deploy", "web", "-o", "name"]).await,
        "deployment.apps/web\n"
    );
    assert_eq!(
        kubectl
            .ok(&["get", "deploy", "web", "-o", "custom-columns=R:.spec.replicas"])
            .await,
        "R\n2\n"
    );
    kubectl
        .says(
            &["get", "deploy", "web", "-o", "yaml"],
            &["kind: Deployment", "availableReplicas: 2", "maxSurge: 25%"],
        )
        .await;
    kubectl
        .says(
            &["describe", "deploy", "web"],
            &["2 desired | 2 updated | 2 total | 2 available", "ScalingReplicaSet"],
        )
        .await;
    let describe = ["describe", "pods", "-l", "app=web", "--show-events=true"];
    kubectl
        .says(&describe, &["Controlled By:  ReplicaSet/web-", "Ready:          True"])
        .await;
    // Events are written beside the work.
    until("the events are told", async || {
        kubectl.ok(&describe).await.contains("Started container")
    })
    .await;
    let described = kubectl.ok(&describe).await;
    let at = |reason: &str| {
        described
            .find(&format!("  Normal  {reason}"))
            .unwrap_or_else(|| panic!("no {reason}: {described}"))
    };
    assert!(
        at("Scheduled") < at("Created") && at("Created") < at("Started"),
        "{described}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl"]
async fn sets_are_rolled_out() {
    with_each(async |kubectl| {
        let template = "template: {metadata: {labels: {app: s}}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: x, command: [sleep, '1000']}]}}";
        kubectl.apply(&format!("{{apiVersion: apps/v1, kind: StatefulSet, metadata: {{name: s}}, spec: {{replicas: 2, serviceName: s, selector: {{matchLabels: {{app: s}}}}, {template}}}}}")).await;
        let template = template.replace("app: s", "app: d");
        kubectl.apply(&format!("{{apiVersion: apps/v1, kind: DaemonSet, metadata: {{name: d}}, spec: {{selector: {{matchLabels: {{app: d}}}}, {template}}}}}")).await;
        kubectl.ok(&["rollout", "status", "sts/s", "--timeout=180s"]).await;
        kubectl.ok(&["rollout", "status", "ds/d", "--timeout=180s"]).await;
        kubectl.ok(&["set", "image", "sts/s", "main=y"]).await;
        kubectl.ok(&["rollout", "status", "sts/s", "--timeout=180s"]).await;
        kubectl.says(&["rollout", "history", "sts/s"], &["1         <none>", "2         <none>"]).await;
        kubectl.ok(&["rollout", "undo", "sts/s"]).await;
        kubectl.ok(&["rollout", "status", "sts/s", "--timeout=180s"]).await;
        assert_eq!(kubectl.ok(&["get", "pod", "s-0", "-o", "jsonpath={.spec.containers[0].image}"]).await, "x");
        kubectl.says(&["get", "sts,ds"], &["statefulset.apps/s   2/2", "daemonset.apps/d   1         1         1"]).await;
        kubectl.says(&["describe", "sts", "s"], &["2 Running", "create Pod s-0 in StatefulSet s successful"]).await;
        kubectl.ok(&["delete", "sts,ds", "--all"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl"]
async fn jobs_and_services_are_made() {
    with_each(async |kubectl| {
        kubectl
            .ok(&["create", "job", "once", "--image=x", "--", "echo", "hi"])
            .await;
        kubectl
            .ok(&["wait", "--for=condition=complete", "job/once", "--timeout=180s"])
            .await;
        assert_eq!(kubectl.ok(&["logs", "job/once"]).await, "hi\n");
        kubectl.says(&["get", "jobs"], &["once", "1/1"]).await;
        if kubectl.minor >= 21 {
            // Those before know only a version that is no longer served, as on any Kubernetes since 1.25.
            kubectl
                .ok(&[
                    "create",
                    "cronjob",
                    "cj",
                    "--image=x",
                    "--schedule=0 0 1 1 *",
                    "--",
                    "echo",
                    "from cron",
                ])
                .await;
            kubectl.ok(&["create", "job", "--from=cronjob/cj", "manual"]).await;
            kubectl
                .ok(&["wait", "--for=condition=complete", "job/manual", "--timeout=180s"])
                .await;
            assert_eq!(kubectl.ok(&["logs", "job/manual"]).await, "from cron\n");
            kubectl.says(&["describe", "cronjob", "cj"], &["0 0 1 1 *"]).await;
            kubectl
                .ok(&["create", "ingress", "i", "--rule=example.com/=web:80"])
                .await;
            kubectl.says(&["get", "ingress"], &["example.com"]).await;
        }
        kubectl
            .ok(&[
                "run",
                "web",
                "--image=x",
                "--labels=app=web",
                "--port=8080",
                "--command",
                "--",
                "sleep",
                "1000",
            ])
            .await;
        kubectl
            .ok(&["wait", "--for=condition=Ready", "pod/web", "--timeout=180s"])
            .await;
        kubectl
            .ok(&["expose", "pod", "web", "--port=80", "--target-port=8080"])
            .await;
        until("the service has its endpoint", async || {
            kubectl.ok(&["get", "endpoints", "web"]).await.contains(":8080")
        })
        .await;
        kubectl
            .says(&["describe", "service", "web"], &["Type:", "ClusterIP", ":8080"])
            .await;
        kubectl
            .ok(&["delete", "pod", "web", "--grace-period=0", "--force"])
            .await;
    })
    .await;
}
