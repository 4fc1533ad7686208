//! Deployments, replica sets and stateful sets. <https://kubernetes.io/docs/concepts/workloads/controllers/>

use pgop_fidelity::{Event, Patch, Space, Subject, deployment, names, pod, service, stateful_set, uid, with};
use serde_json::{Value, json};

pub(crate) fn subject() -> Subject {
    Subject::new("workloads")
        .holds(a_deployment_rolls_out_and_tells_so)
        .holds(a_deployments_pods_belong_to_its_replica_set)
        .holds(a_changed_template_makes_a_new_revision)
        .holds(scaling_makes_no_new_revision)
        .holds(a_paused_deployment_does_not_roll)
        .holds(a_recreate_has_no_two_revisions_at_once)
        .holds(a_replica_set_replaces_a_lost_pod)
        .holds(a_replica_set_adopts_and_releases_by_label)
        .holds(the_selector_of_a_deployment_is_immutable)
        .holds(a_selector_must_fit_the_template)
        .holds(defaults_of_a_deployment_are_written)
        .holds(an_ordered_set_starts_its_pods_one_after_the_other)
        .holds(a_parallel_set_does_not_wait)
        .holds(pods_of_a_set_have_stable_names_and_labels)
        .holds(a_set_shrinks_from_the_highest_ordinal)
        .holds(a_lost_pod_of_a_set_comes_back_by_its_name)
        .holds(a_set_rolls_from_the_highest_ordinal)
        .holds(a_partition_holds_an_update_back)
        .holds(an_on_delete_set_waits_for_the_delete)
        .holds(claims_of_a_set_outlive_its_pods_and_itself)
        .holds(claims_of_a_set_go_when_asked_to)
        .holds(the_spec_of_a_set_is_mostly_immutable)
        .holds(a_set_tells_its_revisions)
}

/// Runs until it is told to end, and then ends at once.
pub(crate) const WAIT: &str = "trap 'exit 0' TERM; sleep infinity & wait";

fn deployments(name: &str) -> String {
    format!("apps/v1:deployments/{name}")
}

fn sets(name: &str) -> String {
    format!("apps/v1:statefulsets/{name}")
}

async fn deploy(s: &Space, body: &Value) -> Value {
    s.account().await;
    s.post("apps/v1:deployments", body).await.is(201);
    let name = body["metadata"]["name"].as_str().unwrap();
    rolled_out(s, name, body["spec"]["replicas"].as_u64().unwrap()).await
}

async fn rolled_out(s: &Space, name: &str, replicas: u64) -> Value {
    let done = |d: &Value| {
        let status = &d["status"];
        status["observedGeneration"] == d["metadata"]["generation"]
            && ["replicas", "updatedReplicas", "availableReplicas"]
                .iter()
                .all(|f| status[f].as_u64().unwrap_or(0) == replicas)
    };
    s.until("it is rolled out", &deployments(name), done).await
}

async fn replica_sets(s: &Space) -> Vec<Value> {
    s.get("apps/v1:replicasets").await.ok()["items"]
        .as_array()
        .unwrap()
        .clone()
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status>
async fn a_deployment_rolls_out_and_tells_so(s: Space) {
    let done = deploy(&s, &deployment("a", 1, WAIT)).await;
    assert_eq!(done["status"]["readyReplicas"], 1);
    assert_eq!(
        done["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "1"
    );
    let complete = |d: &Value| {
        let conditions = d["status"]["conditions"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let has = |kind: &str, reason: &str| {
            conditions
                .iter()
                .any(|c| c["type"] == kind && c["status"] == "True" && c["reason"] == reason)
        };
        has("Available", "MinimumReplicasAvailable") && has("Progressing", "NewReplicaSetAvailable")
    };
    s.until("its conditions tell it", &deployments("a"), complete).await;
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#pod-template-hash-label>
async fn a_deployments_pods_belong_to_its_replica_set(s: Space) {
    let done = deploy(&s, &deployment("a", 1, WAIT)).await;
    let sets = replica_sets(&s).await;
    assert_eq!(sets.len(), 1);
    let owner = &sets[0]["metadata"]["ownerReferences"][0];
    assert_eq!(
        (&owner["kind"], &owner["uid"]),
        (&json!("Deployment"), &json!(uid(&done)))
    );
    assert_eq!(
        (&owner["controller"], &owner["blockOwnerDeletion"]),
        (&json!(true), &json!(true))
    );
    let hash = sets[0]["metadata"]["labels"]["pod-template-hash"]
        .as_str()
        .expect("a hash");
    let name = sets[0]["metadata"]["name"].as_str().unwrap();
    assert_eq!(name, format!("a-{hash}"));
    let pods = s.get("pods").await.ok();
    let pod = &pods["items"][0]["metadata"];
    assert_eq!(pod["labels"], json!({"app": "a", "pod-template-hash": hash}));
    assert_eq!(pod["ownerReferences"][0]["kind"], "ReplicaSet");
    assert_eq!(pod["generateName"], format!("{name}-"));
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#updating-a-deployment>
async fn a_changed_template_makes_a_new_revision(s: Space) {
    deploy(&s, &deployment("a", 1, WAIT)).await;
    let change = json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}});
    s.patch(Patch::Merge, &deployments("a"), &change).await.ok();
    let done = rolled_out(&s, "a", 1).await;
    assert_eq!(
        done["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "2"
    );
    let mut replicas: Vec<_> = replica_sets(&s)
        .await
        .iter()
        .map(|r| r["spec"]["replicas"].as_u64().unwrap())
        .collect();
    replicas.sort_unstable();
    assert_eq!(replicas, [0, 1], "the old one stays, empty");
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#scaling-a-deployment>
async fn scaling_makes_no_new_revision(s: Space) {
    deploy(&s, &deployment("a", 1, WAIT)).await;
    s.patch(
        Patch::Merge,
        &format!("{}/scale", deployments("a")),
        &json!({"spec": {"replicas": 0}}),
    )
    .await
    .ok();
    let done = rolled_out(&s, "a", 0).await;
    assert_eq!(
        done["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "1"
    );
    assert_eq!(replica_sets(&s).await.len(), 1);
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#pausing-and-resuming-a-deployment>
async fn a_paused_deployment_does_not_roll(s: Space) {
    deploy(&s, &deployment("a", 0, WAIT)).await;
    let change = json!({"spec": {"paused": true, "template": {"metadata": {"annotations": {"a": "b"}}}}});
    let changed = s.patch(Patch::Merge, &deployments("a"), &change).await.ok();
    let generation = changed["metadata"]["generation"].clone();
    s.until("it is seen", &deployments("a"), |d| {
        d["status"]["observedGeneration"] == generation
    })
    .await;
    assert_eq!(replica_sets(&s).await.len(), 1);
    s.patch(Patch::Merge, &deployments("a"), &json!({"spec": {"paused": false}}))
        .await
        .ok();
    s.eventually("the new revision is there", async || replica_sets(&s).await.len() == 2)
        .await;
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#recreate-deployment>
async fn a_recreate_has_no_two_revisions_at_once(s: Space) {
    let body = with(
        deployment("a", 1, WAIT),
        json!({"spec": {"strategy": {"type": "Recreate"}}}),
    );
    deploy(&s, &body).await;
    let mut watch = s.watch_from_now("pods").await;
    let change = json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}});
    s.patch(Patch::Merge, &deployments("a"), &change).await.ok();
    let first = watch.until("a pod comes or goes", |e| e.kind != "MODIFIED").await;
    assert_eq!(first.kind, "DELETED");
    watch.until("the new pod comes", |e| e.kind == "ADDED").await;
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#how-a-replicaset-works>
async fn a_replica_set_replaces_a_lost_pod(s: Space) {
    deploy(&s, &deployment("a", 1, WAIT)).await;
    let lost = names(&s.get("pods").await.ok()).remove(0);
    s.delete(&format!("pods/{lost}")).await.ok();
    let replaced = |l: &Value| {
        l["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|p| p["metadata"]["name"] != lost.as_str())
    };
    s.until("another pod is there", "pods", replaced).await;
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#non-template-pod-acquisitions>
async fn a_replica_set_adopts_and_releases_by_label(s: Space) {
    let unscheduled = json!({"spec": {"schedulerName": "nobody", "restartPolicy": "Always"}});
    s.create_pod(&with(pod("a", WAIT), unscheduled)).await;
    let mut set = deployment("a", 1, WAIT);
    set["kind"] = json!("ReplicaSet");
    let set = s.post("apps/v1:replicasets", &set).await.is(201);
    let adopted = s
        .until("it is adopted", "pods/a", |p| {
            p["metadata"]["ownerReferences"][0].is_object()
        })
        .await;
    assert_eq!(adopted["metadata"]["ownerReferences"][0]["uid"], uid(&set));
    assert_eq!(names(&s.get("pods").await.ok()), ["a"]);
    s.patch(
        Patch::Merge,
        "pods/a",
        &json!({"metadata": {"labels": {"app": "free"}}}),
    )
    .await
    .ok();
    s.until("it is released", "pods/a", |p| {
        p["metadata"]["ownerReferences"].is_null()
    })
    .await;
    s.eventually("another pod takes its place", async || {
        names(&s.get("pods").await.ok()).len() == 2
    })
    .await;
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#label-selector-updates>
async fn the_selector_of_a_deployment_is_immutable(s: Space) {
    s.post("apps/v1:deployments", &deployment("a", 0, WAIT)).await.ok();
    let change = json!({"spec": {"selector": {"matchLabels": {"app": "b"}}, "template": {"metadata": {"labels": {"app": "b"}}}}});
    let reply = s.patch(Patch::Merge, &deployments("a"), &change).await;
    reply.fails_with(422, "Invalid", &["spec.selector: Invalid value:", "field is immutable"]);
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#selector>
async fn a_selector_must_fit_the_template(s: Space) {
    let other = json!({"spec": {"template": {"metadata": {"labels": {"app": "b"}}}}});
    let words = [
        "spec.template.metadata.labels: Invalid value:",
        "`selector` does not match template `labels`",
    ];
    s.post("apps/v1:deployments", &with(deployment("a", 0, WAIT), other.clone()))
        .await
        .fails_with(422, "Invalid", &words);
    s.post("apps/v1:statefulsets", &with(stateful_set("a", 0, WAIT), other))
        .await
        .fails_with(422, "Invalid", &words);
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/deployment-v1/>
async fn defaults_of_a_deployment_are_written(s: Space) {
    let body = with(
        deployment("a", 0, WAIT),
        json!({"spec": {"replicas": null, "paused": true}}),
    );
    let spec = s.post("apps/v1:deployments", &body).await.is(201)["spec"].take();
    assert_eq!(spec["replicas"], 1);
    assert_eq!(spec["revisionHistoryLimit"], 10);
    assert_eq!(spec["progressDeadlineSeconds"], 600);
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
    );
    let pod = &spec["template"]["spec"];
    assert_eq!(
        (&pod["restartPolicy"], &pod["dnsPolicy"]),
        (&json!("Always"), &json!("ClusterFirst"))
    );
    assert_eq!(pod["schedulerName"], "default-scheduler");
}

async fn set(s: &Space, body: &Value) {
    s.account().await;
    s.post("apps/v1:statefulsets", body).await.is(201);
}

async fn set_ready(s: &Space, name: &str, replicas: u64) -> Value {
    let done = |d: &Value| {
        let status = &d["status"];
        status["observedGeneration"] == d["metadata"]["generation"]
            && ["replicas", "readyReplicas"]
                .iter()
                .all(|f| status[f].as_u64().unwrap_or(0) == replicas)
    };
    s.until("the set is ready", &sets(name), done).await
}

fn became_ready(event: &Event, name: &str) -> bool {
    let conditions = event.object["status"]["conditions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    event.name() == name && conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#deployment-and-scaling-guarantees>
async fn an_ordered_set_starts_its_pods_one_after_the_other(s: Space) {
    let mut watch = s.watch_from_now("pods").await;
    set(&s, &stateful_set("a", 2, WAIT)).await;
    assert_eq!(watch.until("a first pod", |e| e.kind == "ADDED").await.name(), "a-0");
    let next = watch
        .until("the first is ready, or the second comes", |e| {
            became_ready(e, "a-0") || e.kind == "ADDED"
        })
        .await;
    assert_eq!(next.name(), "a-0", "the second waits for the first");
    assert_eq!(watch.until("a second pod", |e| e.kind == "ADDED").await.name(), "a-1");
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#parallel-pod-management>
async fn a_parallel_set_does_not_wait(s: Space) {
    let body = with(
        stateful_set("a", 3, "true"),
        json!({"spec": {"podManagementPolicy": "Parallel"}}),
    );
    let never = json!({"spec": {"template": {"spec": {"schedulerName": "nobody"}}}});
    set(&s, &with(body, never)).await;
    s.eventually("all pods are there", async || {
        names(&s.get("pods").await.ok()) == ["a-0", "a-1", "a-2"]
    })
    .await;
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#pod-identity>
async fn pods_of_a_set_have_stable_names_and_labels(s: Space) {
    let never = json!({"spec": {"template": {"spec": {"schedulerName": "nobody"}}}});
    set(&s, &with(stateful_set("a", 1, "true"), never)).await;
    let pod = s.until("its pod is there", "pods/a-0", |_| true).await;
    let labels = &pod["metadata"]["labels"];
    assert_eq!(
        (&labels["app"], &labels["statefulset.kubernetes.io/pod-name"]),
        (&json!("a"), &json!("a-0"))
    );
    let revision = labels["controller-revision-hash"].as_str().expect("a revision");
    assert!(revision.starts_with("a-"), "{revision}");
    assert_eq!(
        (&pod["spec"]["hostname"], &pod["spec"]["subdomain"]),
        (&json!("a-0"), &json!("a"))
    );
    let owner = &pod["metadata"]["ownerReferences"][0];
    assert_eq!(
        (&owner["kind"], &owner["controller"]),
        (&json!("StatefulSet"), &json!(true))
    );
    s.get(&format!("apps/v1:controllerrevisions/{revision}")).await.is(200);
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#deployment-and-scaling-guarantees>
async fn a_set_shrinks_from_the_highest_ordinal(s: Space) {
    let body = with(
        stateful_set("a", 2, WAIT),
        json!({"spec": {"podManagementPolicy": "Parallel"}}),
    );
    set(&s, &body).await;
    set_ready(&s, "a", 2).await;
    s.patch(Patch::Merge, &sets("a"), &json!({"spec": {"replicas": 1}}))
        .await
        .ok();
    s.gone("pods/a-1").await;
    assert!(s.get("pods/a-0").await.is(200)["metadata"]["deletionTimestamp"].is_null());
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#pod-identity>
async fn a_lost_pod_of_a_set_comes_back_by_its_name(s: Space) {
    set(&s, &stateful_set("a", 1, WAIT)).await;
    let first = s.ready("a-0").await;
    s.delete("pods/a-0").await.ok();
    s.until("another pod of the name is there", "pods/a-0", |p| {
        uid(p) != uid(&first)
    })
    .await;
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#rolling-updates>
async fn a_set_rolls_from_the_highest_ordinal(s: Space) {
    let body = with(
        stateful_set("a", 2, WAIT),
        json!({"spec": {"podManagementPolicy": "Parallel"}}),
    );
    set(&s, &body).await;
    set_ready(&s, "a", 2).await;
    let mut watch = s.watch_from_now("pods").await;
    let change = json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}});
    s.patch(Patch::Merge, &sets("a"), &change).await.ok();
    let mut order = Vec::new();
    while order.len() < 2 {
        let event = watch
            .until("a pod goes", |e| e.kind == "DELETED" || became_ready(e, "a-1"))
            .await;
        match event.kind.as_str() {
            "DELETED" => order.push(event.name().to_owned()),
            _ if order == ["a-1"] => order.push("a-1 is ready".to_owned()),
            _ => {}
        }
    }
    assert_eq!(
        order,
        ["a-1", "a-1 is ready"],
        "the next one waits until the last one is ready"
    );
    watch
        .until("the lowest goes last", |e| e.kind == "DELETED" && e.name() == "a-0")
        .await;
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#partitions>
async fn a_partition_holds_an_update_back(s: Space) {
    let strategy = json!({"spec": {"podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}}});
    set(&s, &with(stateful_set("a", 2, WAIT), strategy)).await;
    set_ready(&s, "a", 2).await;
    let (old0, old1) = (uid(&s.get("pods/a-0").await.ok()), uid(&s.get("pods/a-1").await.ok()));
    let change = json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}});
    s.patch(Patch::Merge, &sets("a"), &change).await.ok();
    s.until("the highest is new", "pods/a-1", |p| uid(p) != old1).await;
    s.ready("a-1").await;
    let done = s
        .until("one is updated", &sets("a"), |d| d["status"]["updatedReplicas"] == 1)
        .await;
    assert_ne!(done["status"]["currentRevision"], done["status"]["updateRevision"]);
    assert_eq!(
        uid(&s.get("pods/a-0").await.ok()),
        old0,
        "below the partition nothing changes"
    );
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#on-delete>
async fn an_on_delete_set_waits_for_the_delete(s: Space) {
    set(
        &s,
        &with(
            stateful_set("a", 1, WAIT),
            json!({"spec": {"updateStrategy": {"type": "OnDelete"}}}),
        ),
    )
    .await;
    let old = s.ready("a-0").await;
    let change = json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}});
    let changed = s.patch(Patch::Merge, &sets("a"), &change).await.ok();
    let generation = changed["metadata"]["generation"].clone();
    s.until("it is seen", &sets("a"), |d| {
        d["status"]["observedGeneration"] == generation
    })
    .await;
    assert_eq!(uid(&s.get("pods/a-0").await.ok()), uid(&old));
    s.delete("pods/a-0").await.ok();
    let new = s.until("it is made anew", "pods/a-0", |p| uid(p) != uid(&old)).await;
    assert_eq!(new["metadata"]["annotations"]["a"], "b");
}

fn claimed(replicas: u32) -> Value {
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}}});
    let mut body = stateful_set("a", replicas, WAIT);
    body["spec"]["volumeClaimTemplates"] = json!([claim]);
    body["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    body
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#stable-storage>
async fn claims_of_a_set_outlive_its_pods_and_itself(s: Space) {
    set(&s, &claimed(1)).await;
    s.ready("a-0").await;
    assert_eq!(
        s.exec("a-0", &["bash", "-c", "echo kept > /data/file"], None)
            .await
            .code(),
        0
    );
    let claim = s.get("persistentvolumeclaims/data-a-0").await.is(200);
    assert_eq!(claim["status"]["phase"], "Bound");
    assert_eq!(claim["metadata"]["labels"]["app"], "a");
    s.delete(&sets("a")).await.is(200);
    s.gone("pods/a-0").await;
    let left = s.get("persistentvolumeclaims/data-a-0").await.is(200);
    assert!(left["metadata"]["deletionTimestamp"].is_null() && left["metadata"]["ownerReferences"].is_null());
    set(&s, &claimed(1)).await;
    s.ready("a-0").await;
    assert_eq!(s.exec("a-0", &["cat", "/data/file"], None).await.out, "kept\n");
    assert_eq!(uid(&s.get("persistentvolumeclaims/data-a-0").await.ok()), uid(&claim));
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#persistentvolumeclaim-retention>
async fn claims_of_a_set_go_when_asked_to(s: Space) {
    let policy =
        json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"}}});
    set(&s, &with(claimed(1), policy)).await;
    s.ready("a-0").await;
    s.get("persistentvolumeclaims/data-a-0").await.is(200);
    s.delete(&sets("a")).await.is(200);
    s.gone("persistentvolumeclaims/data-a-0").await;
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#limitations>
async fn the_spec_of_a_set_is_mostly_immutable(s: Space) {
    s.post("services", &service("a")).await.ok();
    let never = json!({"spec": {"replicas": 0}});
    s.post("apps/v1:statefulsets", &with(claimed(0), never)).await.ok();
    let words = ["spec: Forbidden: updates to statefulset spec for fields other than 'replicas'"];
    for change in [
        json!({"spec": {"serviceName": "b"}}),
        json!({"spec": {"podManagementPolicy": "Parallel"}}),
        json!({"spec": {"volumeClaimTemplates": null}}),
    ] {
        s.patch(Patch::Merge, &sets("a"), &change)
            .await
            .fails_with(422, "Invalid", &words);
    }
}

/// <https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#revision-history>
async fn a_set_tells_its_revisions(s: Space) {
    set(&s, &stateful_set("a", 0, WAIT)).await;
    let seen = s
        .until("it is seen", &sets("a"), |d| d["status"]["updateRevision"].is_string())
        .await;
    assert_eq!(seen["status"]["currentRevision"], seen["status"]["updateRevision"]);
    let change = json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}});
    s.patch(Patch::Merge, &sets("a"), &change).await.ok();
    let old = seen["status"]["updateRevision"].clone();
    s.until("it has another revision", &sets("a"), |d| {
        d["status"]["updateRevision"] != old
    })
    .await;
    let list = s.get("apps/v1:controllerrevisions").await.ok();
    assert_eq!(names(&list).len(), 2);
}
