//! Namespaces, events and leases. <https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/>

use pgop_fidelity::{Patch, Space, Subject, config_map, version, with};
use serde_json::{Value, json};

pub(crate) fn subject() -> Subject {
    Subject::new("namespaces")
        .holds(a_namespace_starts_active_with_its_finalizer)
        .holds(a_namespace_gets_an_account_and_the_root_certificate)
        .holds(a_namespace_is_labelled_with_its_name)
        .holds(deleting_a_namespace_deletes_what_is_in_it)
        .holds(a_terminating_namespace_takes_nothing_new)
        .holds(a_terminating_namespace_waits_for_finalizers)
        .holds(the_systems_namespaces_cannot_be_deleted)
        .holds(the_name_of_a_namespace_is_a_label)
        .holds(a_deleted_account_comes_back)
        .holds(an_event_is_seen_through_both_apis)
        .holds(an_event_must_be_in_its_objects_namespace)
        .holds(a_lease_keeps_microseconds)
        .holds(only_one_of_two_holders_gets_a_lease)
}

/// A second namespace, which the assertion deletes itself; gives its path.
async fn second(s: &Space) -> String {
    let name = format!("{}-b", s.name());
    let path = format!("/api/v1/namespaces/{name}");
    s.also_delete(&path);
    s.post(
        "/api/v1/namespaces",
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
    )
    .await
    .is(201);
    path
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/>
async fn a_namespace_starts_active_with_its_finalizer(s: Space) {
    let namespace = s.get(&second(&s).await).await.is(200);
    assert_eq!(namespace["status"]["phase"], "Active");
    assert_eq!(namespace["spec"]["finalizers"], json!(["kubernetes"]));
}

/// <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/>
async fn a_namespace_gets_an_account_and_the_root_certificate(s: Space) {
    s.until("it has an account", "serviceaccounts/default", |_| true).await;
    let root = s
        .until("it has the certificate", "configmaps/kube-root-ca.crt", |_| true)
        .await;
    assert!(
        root["data"]["ca.crt"]
            .as_str()
            .unwrap()
            .starts_with("-----BEGIN CERTIFICATE-----"),
        "{root}"
    );
}

/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-metadata-name>
async fn a_namespace_is_labelled_with_its_name(s: Space) {
    let namespace = s.get(&format!("/api/v1/namespaces/{}", s.name())).await.is(200);
    assert_eq!(namespace["metadata"]["labels"]["kubernetes.io/metadata.name"], s.name());
}

/// <https://kubernetes.io/docs/tasks/administer-cluster/namespaces/#deleting-a-namespace>
async fn deleting_a_namespace_deletes_what_is_in_it(s: Space) {
    s.widgets().await;
    let path = second(&s).await;
    s.post(&format!("{path}/configmaps"), &config_map("a")).await.is(201);
    let widgets = s.at("widgets").replace(s.name(), &format!("{}-b", s.name()));
    s.post(&widgets, &crate::crds::widget(&s, "a", json!({"size": 1})))
        .await
        .is(201);
    let answer = s.delete(&path).await.is(200);
    assert_eq!(answer["status"]["phase"], "Terminating", "{answer}");
    s.gone(&path).await;
    assert_eq!(s.get(&format!("{path}/configmaps")).await.ok()["items"], json!([]));
    assert_eq!(s.get(&widgets).await.ok()["items"], json!([]));
}

async fn terminating(s: &Space) -> String {
    let path = second(s).await;
    let held = with(
        config_map("a"),
        json!({"metadata": {"finalizers": ["example.com/hold"]}}),
    );
    s.post(&format!("{path}/configmaps"), &held).await.is(201);
    s.delete(&path).await.is(200);
    path
}

async fn release(s: &Space, path: &str) {
    let none = json!({"metadata": {"finalizers": null}});
    s.patch(Patch::Merge, &format!("{path}/configmaps/a"), &none)
        .await
        .is(200);
    s.gone(path).await;
}

/// <https://kubernetes.io/docs/tasks/administer-cluster/namespaces/#deleting-a-namespace>
async fn a_terminating_namespace_takes_nothing_new(s: Space) {
    let path = terminating(&s).await;
    let status = s
        .post(&format!("{path}/configmaps"), &config_map("b"))
        .await
        .fails(403, "Forbidden");
    let name = format!("{}-b", s.name());
    let message = format!(
        "configmaps \"b\" is forbidden: unable to create new content in namespace {name} because it is being terminated"
    );
    assert_eq!(status["message"], message);
    assert_eq!(status["details"]["causes"][0]["reason"], "NamespaceTerminating");
    release(&s, &path).await;
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/>
async fn a_terminating_namespace_waits_for_finalizers(s: Space) {
    let path = terminating(&s).await;
    let told = |n: &Value| {
        let conditions = n["status"]["conditions"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        conditions
            .iter()
            .any(|c| c["type"] == "NamespaceFinalizersRemaining" && c["status"] == "True")
    };
    let namespace = s.until("it tells what it waits for", &path, told).await;
    assert_eq!(namespace["status"]["phase"], "Terminating");
    s.patch(
        Patch::Merge,
        &format!("{path}/configmaps/a"),
        &json!({"data": {"key": "still writable"}}),
    )
    .await
    .is(200);
    release(&s, &path).await;
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/#initial-namespaces>
async fn the_systems_namespaces_cannot_be_deleted(s: Space) {
    for name in ["default", "kube-system", "kube-public"] {
        let status = s
            .delete(&format!("/api/v1/namespaces/{name}?dryRun=All"))
            .await
            .fails(403, "Forbidden");
        assert_eq!(
            status["message"],
            format!("namespaces \"{name}\" is forbidden: this namespace may not be deleted")
        );
    }
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names>
async fn the_name_of_a_namespace_is_a_label(s: Space) {
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "with.dot"}});
    s.post("/api/v1/namespaces", &body).await.fails_with(
        422,
        "Invalid",
        &["metadata.name: Invalid value: \"with.dot\": must not contain dots"],
    );
}

/// <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#serviceaccount-controller>
async fn a_deleted_account_comes_back(s: Space) {
    let first = s.until("it has an account", "serviceaccounts/default", |_| true).await;
    s.delete("serviceaccounts/default").await.is(200);
    s.until("it is back", "serviceaccounts/default", |a| {
        a["metadata"]["uid"] != first["metadata"]["uid"]
    })
    .await;
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>
async fn an_event_is_seen_through_both_apis(s: Space) {
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "a"},
        "eventTime": "2026-01-02T03:04:05.123456Z", "reportingController": "example.com/fidelity", "reportingInstance": "one",
        "action": "Speak", "reason": "Said", "type": "Normal", "note": "hello",
        "regarding": {"kind": "ConfigMap", "name": "x", "namespace": s.name()}});
    s.post("events.k8s.io/v1:events", &event).await.is(201);
    let core = s.get("events/a").await.is(200);
    assert_eq!(core["message"], "hello");
    assert_eq!(core["involvedObject"]["name"], "x");
    assert_eq!(core["reportingComponent"], "example.com/fidelity");
    assert_eq!(core["eventTime"], "2026-01-02T03:04:05.123456Z");
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>
async fn an_event_must_be_in_its_objects_namespace(s: Space) {
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "a"}, "involvedObject": {"namespace": "other"}});
    s.post("events", &event).await.fails_with(
        422,
        "Invalid",
        &["involvedObject.namespace", "does not match event.namespace"],
    );
}

fn lease(holder: &str) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a"}, "spec": {
        "holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "2026-01-02T03:04:05.123456Z"}})
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/lease-v1/>
async fn a_lease_keeps_microseconds(s: Space) {
    s.post("coordination.k8s.io/v1:leases", &lease("one")).await.is(201);
    assert_eq!(
        s.get("coordination.k8s.io/v1:leases/a").await.ok()["spec"]["renewTime"],
        "2026-01-02T03:04:05.123456Z"
    );
    let zero = json!({"spec": {"leaseDurationSeconds": 0}});
    s.patch(Patch::Merge, "coordination.k8s.io/v1:leases/a", &zero)
        .await
        .fails_with(422, "Invalid", &["must be greater than 0"]);
}

/// <https://kubernetes.io/docs/concepts/architecture/leases/>
async fn only_one_of_two_holders_gets_a_lease(s: Space) {
    let path = "coordination.k8s.io/v1:leases/a";
    let seen = s.post("coordination.k8s.io/v1:leases", &lease("nobody")).await.is(201);
    let take = |holder: &str| with(lease(holder), json!({"metadata": {"resourceVersion": version(&seen)}}));
    let (one, two) = (take("one"), take("two"));
    let (one, two) = tokio::join!(s.put(path, &one), s.put(path, &two));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let holder = if one.status == 200 { "one" } else { "two" };
    assert_eq!(s.get(path).await.ok()["spec"]["holderIdentity"], holder);
}
