//! Volumes, claims, and evictions against a budget. <https://kubernetes.io/docs/concepts/storage/>

use crate::workloads::WAIT;
use pgop_fidelity::{Patch, Space, Subject, config_map, pod, uid, with};
use serde_json::{Value, json};

pub(crate) fn subject() -> Subject {
    Subject::new("storage")
        .holds(a_config_map_becomes_files)
        .holds(a_secret_becomes_files_that_only_readers_read)
        .holds(containers_share_an_empty_directory)
        .holds(a_sub_path_is_a_part_of_a_volume)
        .holds(the_downward_volume_has_labels_and_names)
        .holds(a_projected_volume_joins_sources)
        .holds(the_accounts_token_speaks_to_the_server)
        .holds(a_read_only_mount_cannot_be_written)
        .holds(a_volume_that_is_not_declared_is_invalid)
        .holds(a_claim_is_bound_to_a_volume_of_its_own)
        .holds(a_claim_gets_the_default_class)
        .holds(a_claim_of_an_unknown_class_waits)
        .holds(data_of_a_claim_outlives_its_pod)
        .holds(a_claim_in_use_is_not_deleted)
        .holds(a_claim_can_grow)
        .holds(a_claim_cannot_shrink)
        .holds(the_spec_of_a_claim_is_immutable)
        .holds(an_eviction_deletes_the_pod)
        .holds(an_eviction_against_a_budget_is_refused)
        .holds(an_eviction_can_be_dry)
        .holds(an_eviction_of_a_missing_pod_is_not_found)
        .holds(a_budget_tells_what_it_allows)
}

fn mounted(name: &str, script: &str, volume: Value, mount: Value) -> Value {
    let mut body = pod(name, script);
    body["spec"]["volumes"] = json!([with(json!({"name": "x"}), volume)]);
    body["spec"]["containers"][0]["volumeMounts"] = json!([with(json!({"name": "x", "mountPath": "/x"}), mount)]);
    body
}

/// <https://kubernetes.io/docs/concepts/storage/volumes/#configmap>
async fn a_config_map_becomes_files(s: Space) {
    s.post(
        "configmaps",
        &with(
            config_map("m"),
            json!({"data": {"one": "1", "two": "2\n"}, "binaryData": {"bin": "AAEC"}}),
        ),
    )
    .await
    .ok();
    let volume = json!({"configMap": {"name": "m"}});
    let output = s
        .output(&mounted(
            "a",
            "cd /x; ls; cat one two; wc -c < bin; stat -Lc %a one",
            volume,
            json!({}),
        ))
        .await;
    assert_eq!(output, "bin\nkey\none\ntwo\n12\n3\n644\n");
    let items = json!({"configMap": {"name": "m", "items": [{"key": "one", "path": "sub/uno", "mode": 0o400}]}});
    let output = s
        .output(&mounted(
            "b",
            "cd /x; find -L . -type f -not -path './..*'; stat -Lc %a sub/uno",
            items,
            json!({}),
        ))
        .await;
    assert_eq!(output, "./sub/uno\n400\n");
}

/// <https://kubernetes.io/docs/concepts/storage/volumes/#secret>
async fn a_secret_becomes_files_that_only_readers_read(s: Space) {
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"word": "hush"}});
    s.post("secrets", &secret).await.ok();
    let volume = json!({"secret": {"secretName": "s", "defaultMode": 0o440}});
    let mut body = mounted(
        "a",
        "cat /x/word; echo; stat -Lc '%a %g' /x/word; touch /x/y 2>/dev/null || echo read only",
        volume,
        json!({}),
    );
    body["spec"]["securityContext"] = json!({"runAsUser": 999, "fsGroup": 2345});
    assert_eq!(s.output(&body).await, "hush\n440 2345\nread only\n");
}

/// <https://kubernetes.io/docs/concepts/storage/volumes/#emptydir>
async fn containers_share_an_empty_directory(s: Space) {
    let mut body = mounted(
        "a",
        "until test -f /x/file; do sleep 0.1; done; cat /x/file",
        json!({"emptyDir": {}}),
        json!({}),
    );
    let writer = with(
        body["spec"]["containers"][0].clone(),
        json!({"name": "writer", "command": ["bash", "-c", "ls /x; echo shared > /x/new; mv /x/new /x/file"]}),
    );
    body["spec"]["containers"].as_array_mut().unwrap().push(writer);
    s.finish(&body).await;
    assert_eq!(s.logs("a", "container=main").await, "shared\n");
    assert_eq!(s.logs("a", "container=writer").await, "", "it starts empty");
}

/// <https://kubernetes.io/docs/concepts/storage/volumes/#using-subpath>
async fn a_sub_path_is_a_part_of_a_volume(s: Space) {
    s.post("configmaps", &config_map("m")).await.ok();
    let volume = json!({"configMap": {"name": "m"}});
    let file = json!({"mountPath": "/etc/fidelity.conf", "subPath": "key"});
    assert_eq!(
        s.output(&mounted(
            "a",
            "cat /etc/fidelity.conf; test -d /etc/ssl && echo; ",
            volume,
            file
        ))
        .await,
        "value\n"
    );
    let mut body = mounted(
        "b",
        "echo one > /x/file; cat /y/dir/file",
        json!({"emptyDir": {}}),
        json!({"subPathExpr": "dir"}),
    );
    body["spec"]["containers"][0]["volumeMounts"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "x", "mountPath": "/y"}));
    assert_eq!(s.output(&body).await, "one\n");
}

/// <https://kubernetes.io/docs/concepts/storage/volumes/#downwardapi>
async fn the_downward_volume_has_labels_and_names(s: Space) {
    let items = json!([{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}, {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]);
    let body = mounted(
        "a",
        "cat /x/labels; echo; cat /x/name",
        json!({"downwardAPI": {"items": items}}),
        json!({}),
    );
    let body = with(body, json!({"metadata": {"labels": {"tier": "db"}}}));
    assert_eq!(s.output(&body).await, "app=\"a\"\ntier=\"db\"\na");
}

/// <https://kubernetes.io/docs/concepts/storage/projected-volumes/>
async fn a_projected_volume_joins_sources(s: Space) {
    s.post("configmaps", &config_map("m")).await.ok();
    s.post(
        "secrets",
        &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"word": "hush"}}),
    )
    .await
    .ok();
    let sources = json!([
        {"configMap": {"name": "m"}}, {"secret": {"name": "s", "items": [{"key": "word", "path": "secret/word"}]}},
        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"serviceAccountToken": {"path": "token", "audience": "fidelity", "expirationSeconds": 600}},
    ]);
    let script = "cd /x; cat key; echo; cat secret/word; echo; cat name; echo; tr -cd . < token | wc -c";
    let output = s
        .output(&mounted(
            "a",
            script,
            json!({"projected": {"sources": sources}}),
            json!({}),
        ))
        .await;
    assert_eq!(output, "value\nhush\na\n2\n");
}

/// <https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/#directly-accessing-the-rest-api>
async fn the_accounts_token_speaks_to_the_server(s: Space) {
    let script = "cd /var/run/secrets/kubernetes.io/serviceaccount; cat namespace; echo; head -1 ca.crt; cat token";
    let output = s
        .output(&with(
            pod("a", script),
            json!({"spec": {"automountServiceAccountToken": true}}),
        ))
        .await;
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines[..2], [s.name(), "-----BEGIN CERTIFICATE-----"]);
    let account = s.client_of(lines[2]);
    let status = s
        .ask(http::Method::GET, "configmaps")
        .by(&account)
        .send()
        .await
        .fails(403, "Forbidden");
    let user = format!("User \"system:serviceaccount:{}:default\"", s.name());
    assert!(status["message"].as_str().unwrap().contains(&user), "{status}");
}

/// <https://kubernetes.io/docs/concepts/storage/volumes/#read-only-mounts>
async fn a_read_only_mount_cannot_be_written(s: Space) {
    let body = mounted(
        "a",
        "touch /x/file 2>/dev/null || echo no",
        json!({"emptyDir": {}}),
        json!({"readOnly": true}),
    );
    assert_eq!(s.output(&body).await, "no\n");
}

/// <https://kubernetes.io/docs/concepts/storage/volumes/>
async fn a_volume_that_is_not_declared_is_invalid(s: Space) {
    s.account().await;
    let body = with(
        mounted("a", "true", json!({}), json!({})),
        json!({"spec": {"volumes": []}}),
    );
    s.post("pods", &body).await.fails_with(
        422,
        "Invalid",
        &["spec.containers[0].volumeMounts[0].name: Not found: \"x\""],
    );
}

fn claim(name: &str, size: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}})
}

fn using(name: &str, script: &str) -> Value {
    mounted(
        name,
        script,
        json!({"persistentVolumeClaim": {"claimName": "c"}}),
        json!({}),
    )
}

/// Creates a claim `c` and a pod that uses it, so that it is bound even where classes wait for the first consumer.
async fn bound(s: &Space) -> Value {
    s.post("persistentvolumeclaims", &claim("c", "16Mi")).await.is(201);
    s.start(&using("user", WAIT)).await;
    s.until("it is bound", "persistentvolumeclaims/c", |c| {
        c["status"]["phase"] == "Bound"
    })
    .await
}

/// <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#binding>
async fn a_claim_is_bound_to_a_volume_of_its_own(s: Space) {
    let claim = bound(&s).await;
    assert_eq!(claim["status"]["capacity"]["storage"], "16Mi");
    assert_eq!(claim["status"]["accessModes"], json!(["ReadWriteOnce"]));
    let name = claim["spec"]["volumeName"].as_str().expect("a volume");
    let volume = s.get(&format!("/api/v1/persistentvolumes/{name}")).await.is(200);
    assert_eq!(volume["status"]["phase"], "Bound");
    let reference = &volume["spec"]["claimRef"];
    assert_eq!(
        (&reference["name"], &reference["namespace"], &reference["uid"]),
        (&json!("c"), &json!(s.name()), &json!(uid(&claim)))
    );
}

/// <https://kubernetes.io/docs/concepts/storage/storage-classes/#default-storageclass>
async fn a_claim_gets_the_default_class(s: Space) {
    let classes = s.get("/apis/storage.k8s.io/v1/storageclasses").await.ok();
    let is_default = |c: &&Value| c["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true";
    let default = classes["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(is_default)
        .expect("a default class");
    let made = s.post("persistentvolumeclaims", &claim("c", "16Mi")).await.is(201);
    assert_eq!(made["spec"]["storageClassName"], default["metadata"]["name"]);
    assert_eq!(made["spec"]["volumeMode"], "Filesystem");
    assert_eq!(made["status"]["phase"], "Pending");
    assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
}

/// <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#class-1>
async fn a_claim_of_an_unknown_class_waits(s: Space) {
    s.post(
        "persistentvolumeclaims",
        &with(claim("c", "16Mi"), json!({"spec": {"storageClassName": "nope"}})),
    )
    .await
    .is(201);
    s.create_pod(&using("user", "true")).await;
    let unscheduled = |p: &Value| {
        let conditions = p["status"]["conditions"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        conditions
            .iter()
            .any(|c| c["type"] == "PodScheduled" && c["status"] == "False" && c["reason"] == "Unschedulable")
    };
    s.until("its pod waits", "pods/user", unscheduled).await;
    assert_eq!(
        s.get("persistentvolumeclaims/c").await.ok()["status"]["phase"],
        "Pending"
    );
}

/// <https://kubernetes.io/docs/concepts/storage/persistent-volumes/>
async fn data_of_a_claim_outlives_its_pod(s: Space) {
    s.post("persistentvolumeclaims", &claim("c", "16Mi")).await.is(201);
    s.finish(&using("one", "echo kept > /x/file")).await;
    s.delete("pods/one").await.ok();
    s.gone("pods/one").await;
    assert_eq!(s.output(&using("two", "cat /x/file")).await, "kept\n");
}

/// <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection>
async fn a_claim_in_use_is_not_deleted(s: Space) {
    let claim = bound(&s).await;
    s.delete("persistentvolumeclaims/c").await.is(200);
    let dying = s.get("persistentvolumeclaims/c").await.is(200);
    assert!(dying["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(s.exec("user", &["touch", "/x/still-there"], None).await.code(), 0);
    s.delete("pods/user").await.ok();
    s.gone("persistentvolumeclaims/c").await;
    s.gone(&format!(
        "/api/v1/persistentvolumes/{}",
        claim["spec"]["volumeName"].as_str().unwrap()
    ))
    .await;
}

/// <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#expanding-persistent-volumes-claims>
async fn a_claim_can_grow(s: Space) {
    bound(&s).await;
    let larger = json!({"spec": {"resources": {"requests": {"storage": "32Mi"}}}});
    s.patch(Patch::Merge, "persistentvolumeclaims/c", &larger).await.is(200);
    s.until("it has grown", "persistentvolumeclaims/c", |c| {
        c["status"]["capacity"]["storage"] == "32Mi"
    })
    .await;
}

/// <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#expanding-persistent-volumes-claims>
async fn a_claim_cannot_shrink(s: Space) {
    bound(&s).await;
    let smaller = json!({"spec": {"resources": {"requests": {"storage": "8Mi"}}}});
    let reply = s.patch(Patch::Merge, "persistentvolumeclaims/c", &smaller).await;
    reply.fails_with(
        422,
        "Invalid",
        &["spec.resources.requests.storage: Forbidden: field can not be less than"],
    );
}

/// <https://kubernetes.io/docs/concepts/storage/persistent-volumes/#persistentvolumeclaims>
async fn the_spec_of_a_claim_is_immutable(s: Space) {
    bound(&s).await;
    let change = json!({"spec": {"accessModes": ["ReadWriteMany"]}});
    let words = ["spec: Forbidden:", "immutable after creation except resources.requests"];
    s.patch(Patch::Merge, "persistentvolumeclaims/c", &change)
        .await
        .fails_with(422, "Invalid", &words);
}

fn eviction(options: Value) -> Value {
    json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}, "deleteOptions": options})
}

async fn guarded(s: &Space, at_least: u32) -> String {
    s.start(&pod("a", WAIT)).await;
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": {
        "minAvailable": at_least, "selector": {"matchLabels": {"app": "a"}}}});
    s.post("policy/v1:poddisruptionbudgets", &budget).await.is(201);
    let path = "policy/v1:poddisruptionbudgets/b".to_owned();
    s.until("the budget is computed", &path, |b| b["status"]["currentHealthy"] == 1)
        .await;
    path
}

/// <https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/>
async fn an_eviction_deletes_the_pod(s: Space) {
    s.start(&pod("a", WAIT)).await;
    let answer = s.post("pods/a/eviction", &eviction(json!({}))).await.is(201);
    assert_eq!(
        (&answer["kind"], &answer["status"]),
        (&json!("Status"), &json!("Success"))
    );
    s.gone("pods/a").await;
}

/// <https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/#how-api-initiated-eviction-works>
async fn an_eviction_against_a_budget_is_refused(s: Space) {
    let budget = guarded(&s, 1).await;
    let status = s
        .post("pods/a/eviction", &eviction(json!({})))
        .await
        .fails(429, "TooManyRequests");
    assert_eq!(
        status["message"],
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
    assert_eq!(status["details"]["causes"][0]["reason"], "DisruptionBudget");
    assert!(s.get("pods/a").await.ok()["metadata"]["deletionTimestamp"].is_null());
    s.delete(&budget).await.ok();
    let gone = async || s.post("pods/a/eviction", &eviction(json!({}))).await.status != 429;
    s.eventually("without the budget it goes", gone).await;
    s.gone("pods/a").await;
}

/// <https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/>
async fn an_eviction_can_be_dry(s: Space) {
    s.start(&pod("a", WAIT)).await;
    s.post("pods/a/eviction", &eviction(json!({"dryRun": ["All"]})))
        .await
        .is(201);
    assert!(s.get("pods/a").await.is(200)["metadata"]["deletionTimestamp"].is_null());
}

/// <https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/>
async fn an_eviction_of_a_missing_pod_is_not_found(s: Space) {
    s.post("pods/a/eviction", &eviction(json!({})))
        .await
        .fails(404, "NotFound");
}

/// <https://kubernetes.io/docs/tasks/run-application/configure-pdb/>
async fn a_budget_tells_what_it_allows(s: Space) {
    let path = guarded(&s, 1).await;
    let told = s.get(&path).await.ok();
    let status = &told["status"];
    assert_eq!(
        (
            &status["disruptionsAllowed"],
            &status["desiredHealthy"],
            &status["expectedPods"]
        ),
        (&json!(0), &json!(1), &json!(1))
    );
    let more = with(pod("b", WAIT), json!({"metadata": {"labels": {"app": "a"}}}));
    s.start(&more).await;
    s.until("one may go", &path, |b| b["status"]["disruptionsAllowed"] == 1)
        .await;
}
