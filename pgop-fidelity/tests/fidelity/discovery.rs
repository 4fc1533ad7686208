//! What a server says about itself. <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api>

use http::{Method, header};
use pgop_fidelity::{Space, Subject};
use serde_json::{Value, json};

pub(crate) fn subject() -> Subject {
    Subject::new("discovery")
        .holds(the_core_versions_are_listed)
        .holds(the_groups_are_listed_with_a_preferred_version)
        .holds(a_group_can_be_asked_for_alone)
        .holds(core_resources_have_kinds_verbs_and_short_names)
        .holds(subresources_are_resources_with_a_slash)
        .holds(every_listed_group_version_answers)
        .holds(what_is_listed_can_be_listed)
        .holds(the_version_is_told)
        .holds(health_is_told_in_plain_text)
        .holds(the_swagger_document_names_groups_versions_and_kinds)
        .holds(openapi_v3_has_a_document_for_each_group_version)
        .holds(discovery_comes_in_one_document)
}

/// <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#unaggregated-discovery>
async fn the_core_versions_are_listed(s: Space) {
    let api = s.get("/api").await.is(200);
    assert_eq!(
        (&api["kind"], &api["versions"]),
        (&json!("APIVersions"), &json!(["v1"]))
    );
}

/// <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#unaggregated-discovery>
async fn the_groups_are_listed_with_a_preferred_version(s: Space) {
    let list = s.get("/apis").await.is(200);
    assert_eq!(list["kind"], "APIGroupList");
    for name in [
        "apps",
        "batch",
        "policy",
        "rbac.authorization.k8s.io",
        "coordination.k8s.io",
        "storage.k8s.io",
        "apiextensions.k8s.io",
        "events.k8s.io",
        "discovery.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
    ] {
        let group = list["groups"]
            .as_array()
            .unwrap()
            .iter()
            .find(|g| g["name"] == name)
            .unwrap_or_else(|| panic!("no {name}"));
        assert!(
            group["versions"]
                .as_array()
                .unwrap()
                .contains(&group["preferredVersion"]),
            "{group}"
        );
    }
}

/// <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#unaggregated-discovery>
async fn a_group_can_be_asked_for_alone(s: Space) {
    let group = s.get("/apis/apps").await.is(200);
    assert_eq!((&group["kind"], &group["name"]), (&json!("APIGroup"), &json!("apps")));
    assert_eq!(
        group["preferredVersion"],
        json!({"groupVersion": "apps/v1", "version": "v1"})
    );
}

fn resource<'a>(list: &'a Value, name: &str) -> &'a Value {
    let found = list["resources"].as_array().unwrap().iter().find(|r| r["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {list}"))
}

/// <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#unaggregated-discovery>
async fn core_resources_have_kinds_verbs_and_short_names(s: Space) {
    let list = s.get("/api/v1").await.is(200);
    assert_eq!(
        (&list["kind"], &list["groupVersion"]),
        (&json!("APIResourceList"), &json!("v1"))
    );
    for (name, kind, namespaced, short) in [
        ("pods", "Pod", true, "po"),
        ("configmaps", "ConfigMap", true, "cm"),
        ("services", "Service", true, "svc"),
        ("persistentvolumeclaims", "PersistentVolumeClaim", true, "pvc"),
        ("namespaces", "Namespace", false, "ns"),
        ("nodes", "Node", false, "no"),
        ("serviceaccounts", "ServiceAccount", true, "sa"),
        ("events", "Event", true, "ev"),
    ] {
        let resource = resource(&list, name);
        assert_eq!(
            (&resource["kind"], &resource["namespaced"]),
            (&json!(kind), &json!(namespaced)),
            "{resource}"
        );
        assert_eq!(resource["shortNames"], json!([short]), "{resource}");
        for verb in ["create", "delete", "get", "list", "patch", "update", "watch"] {
            assert!(
                resource["verbs"].as_array().unwrap().contains(&json!(verb)),
                "{resource}"
            );
        }
    }
    assert_eq!(resource(&list, "pods")["categories"], json!(["all"]));
}

/// <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#unaggregated-discovery>
async fn subresources_are_resources_with_a_slash(s: Space) {
    let core = s.get("/api/v1").await.ok();
    assert_eq!(resource(&core, "pods/log")["verbs"], json!(["get"]));
    assert_eq!(resource(&core, "pods/eviction")["kind"], "Eviction");
    assert_eq!(
        resource(&core, "pods/status")["verbs"],
        json!(["get", "patch", "update"])
    );
    for name in ["pods/exec", "pods/portforward", "pods/attach"] {
        assert!(
            resource(&core, name)["verbs"]
                .as_array()
                .unwrap()
                .contains(&json!("create")),
            "{name}"
        );
    }
    assert_eq!(
        resource(&s.get("/apis/apps/v1").await.ok(), "deployments/scale")["kind"],
        "Scale"
    );
}

/// <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#unaggregated-discovery>
async fn every_listed_group_version_answers(s: Space) {
    let list = s.get("/apis").await.ok();
    for group in list["groups"].as_array().unwrap() {
        // Other assertions' own groups come and go.
        if group["name"].as_str().unwrap().ends_with("example.com") {
            continue;
        }
        for version in group["versions"].as_array().unwrap() {
            let version = version["groupVersion"].as_str().unwrap();
            assert_eq!(
                s.get(&format!("/apis/{version}")).await.is(200)["groupVersion"],
                version
            );
        }
    }
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#api-verbs>
async fn what_is_listed_can_be_listed(s: Space) {
    for group in [
        "/api/v1",
        "/apis/apps/v1",
        "/apis/batch/v1",
        "/apis/rbac.authorization.k8s.io/v1",
        "/apis/coordination.k8s.io/v1",
    ] {
        for resource in s.get(group).await.ok()["resources"].as_array().unwrap() {
            if !resource["verbs"].as_array().unwrap().contains(&json!("list")) {
                continue;
            }
            let path = format!("{group}/{}?limit=1", resource["name"].as_str().unwrap());
            let list = s.get(&path).await.is(200);
            assert_eq!(
                list["kind"],
                format!("{}List", resource["kind"].as_str().unwrap()),
                "{path}"
            );
        }
    }
}

/// <https://kubernetes.io/docs/concepts/overview/kubernetes-api/>
async fn the_version_is_told(s: Space) {
    let version = s.get("/version").await.is(200);
    for field in ["major", "minor", "gitVersion", "gitCommit", "platform"] {
        assert!(
            version[field].as_str().is_some_and(|v| !v.is_empty()),
            "{field}: {version}"
        );
    }
    let start = format!("v{}.{}.", version["major"].as_str().unwrap(), s.minor());
    assert!(version["gitVersion"].as_str().unwrap().starts_with(&start), "{version}");
}

/// <https://kubernetes.io/docs/reference/using-api/health-checks/>
async fn health_is_told_in_plain_text(s: Space) {
    for path in ["/healthz", "/livez", "/readyz"] {
        let reply = s.get(path).await;
        assert_eq!((reply.status, reply.text.as_str()), (200, "ok"), "{reply:?}");
        assert!(reply.header("content-type").starts_with("text/plain"), "{reply:?}");
    }
}

/// <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-v2>
async fn the_swagger_document_names_groups_versions_and_kinds(s: Space) {
    let document = s.get("/openapi/v2").await.is(200);
    assert_eq!(document["swagger"], "2.0");
    let deployment = &document["definitions"]["io.k8s.api.apps.v1.Deployment"];
    let kinds = &deployment["x-kubernetes-group-version-kind"];
    assert_eq!(
        kinds,
        &json!([{"group": "apps", "kind": "Deployment", "version": "v1"}])
    );
    assert_eq!(
        deployment["properties"]["spec"]["$ref"],
        "#/definitions/io.k8s.api.apps.v1.DeploymentSpec"
    );
}

/// <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-v3>
async fn openapi_v3_has_a_document_for_each_group_version(s: Space) {
    let index = s.get("/openapi/v3").await.is(200);
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .expect("where apps/v1 is")
        .to_owned();
    let document = s.get(&url).await.is(200);
    assert!(
        document["openapi"].as_str().unwrap().starts_with("3."),
        "{}",
        document["openapi"]
    );
    assert!(document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"].is_object());
}

/// <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#aggregated-discovery>
async fn discovery_comes_in_one_document(s: Space) {
    let version = if s.minor() >= 30 { "v2" } else { "v2beta1" };
    let accept =
        format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList,application/json");
    let list = s
        .ask(Method::GET, "/apis")
        .header(header::ACCEPT, &accept)
        .send()
        .await
        .is(200);
    assert_eq!(list["kind"], "APIGroupDiscoveryList");
    let apps = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|g| g["metadata"]["name"] == "apps")
        .expect("apps");
    let resources = apps["versions"][0]["resources"].as_array().unwrap();
    let deployments = resources
        .iter()
        .find(|r| r["resource"] == "deployments")
        .expect("deployments");
    assert_eq!(deployments["responseKind"]["kind"], "Deployment");
    assert_eq!(deployments["scope"], "Namespaced");
    let subresources = deployments["subresources"].as_array().unwrap();
    assert!(
        subresources.iter().any(|r| r["subresource"] == "scale"),
        "{deployments}"
    );
}
