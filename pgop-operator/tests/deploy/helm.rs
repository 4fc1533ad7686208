//! What real Helm makes of the chart.

use std::collections::BTreeMap;
use std::process::Command;
use std::{env, fs};

use k8s_openapi::api::core::v1::ResourceRequirements;
use pgop_core::install::{self, Options};
use serde_json::{Value, json};

use crate::{chart, root};

/// Runs `helm`, whose path the variable `HELM` names.
fn helm(args: &[&str]) -> String {
    let program = env::var("HELM").unwrap_or_else(|_| "helm".to_owned());
    let output = Command::new(program)
        .args(args)
        .current_dir(root().join("charts"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "helm {args:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

fn template(namespace: &str, values: &Value) -> BTreeMap<String, Value> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), values.to_string()).unwrap();
    let path = file.path().to_str().unwrap();
    let text = helm(&[
        "template",
        "blue",
        "pgop",
        "--namespace",
        namespace,
        "--values",
        path,
        "--kube-version",
        "1.36.0",
    ]);
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    by_name(documents.into_iter().filter(|document| !document.is_null()))
}

fn by_name(objects: impl IntoIterator<Item = Value>) -> BTreeMap<String, Value> {
    let mut named = BTreeMap::new();
    for object in objects {
        let meta = &object["metadata"];
        let name = format!(
            "{} {}/{}",
            object["kind"].as_str().unwrap(),
            meta["namespace"],
            meta["name"]
        );
        assert!(named.insert(name.clone(), object).is_none(), "{name} is there twice");
    }
    named
}

/// What `pgo install` makes, without what a chart has no part in: the namespace, and what is told to a later `pgo install`.
fn installed(options: &Options) -> BTreeMap<String, Value> {
    let mut manifests = install::manifests(options);
    manifests.retain(|manifest| manifest["kind"] != "Namespace");
    for manifest in manifests.iter_mut().filter(|manifest| manifest["kind"] == "Deployment") {
        manifest["metadata"].as_object_mut().unwrap().remove("annotations");
    }
    by_name(manifests)
}

#[track_caller]
#[allow(clippy::needless_pass_by_value)] // it is written in the call
fn same(values: &Value, options: Options) {
    let mut expected = installed(&Options {
        crds: false,
        ..options.clone()
    });
    if values["crds"]["enabled"] != false {
        expected.extend(by_name(chart::kept_definitions()));
    }
    let rendered = template(&options.namespace, values);
    assert_eq!(rendered.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, object) in rendered {
        assert_eq!(object, expected[&name], "{name}");
    }
}

#[test]
#[ignore = "needs helm: make chart"]
fn the_chart_makes_what_pgo_installs() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let map = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    same(&json!({}), Options::default());
    // A namespace that YAML takes for a number.
    same(
        &json!({"watchNamespaces": ["shop", "123", "shop"], "crds": {"enabled": false}, "aggregatedRoles": false}),
        Options {
            namespace: "42".to_owned(),
            watch_namespaces: names(&["123", "shop"]),
            aggregated_roles: false,
            ..Options::default()
        },
    );
    same(
        &json!({
            "image": {"repository": "registry.test:5000/pgop", "tag": "1", "pullPolicy": "Always"},
            "imagePullSecrets": [{"name": "registry"}],
            "replicas": 2,
            "strategies": ["team.blue", "exposed", "exposed"],
            "logFormat": "text",
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
            "podLabels": {"team": "blue", "app.kubernetes.io/name": "other"},
            "podAnnotations": {"note": "true", "prometheus.io/port": "1"},
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"key": "dedicated", "operator": "Exists"}],
            "priorityClassName": "high",
        }),
        Options {
            image: "registry.test:5000/pgop:1".to_owned(),
            image_pull_policy: "Always".to_owned(),
            image_pull_secrets: vec!["registry".to_owned()],
            replicas: 2,
            strategies: names(&["exposed", "team.blue"]),
            log_format: "text".to_owned(),
            // Helm puts what is given over what is there.
            resources: serde_json::from_value(
                json!({"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}),
            )
            .unwrap(),
            pod_labels: map("team", "blue"),
            pod_annotations: map("note", "true"),
            node_selector: map("disk", "fast"),
            tolerations: serde_json::from_value(json!([{"key": "dedicated", "operator": "Exists"}])).unwrap(),
            priority_class: Some("high".to_owned()),
            ..Options::default()
        },
    );
    same(
        &json!({"resources": {"requests": null, "limits": null}}),
        Options {
            resources: ResourceRequirements::default(),
            ..Options::default()
        },
    );
}

#[test]
#[ignore = "needs helm: make chart"]
fn pod_monitors_are_made_where_they_are_asked_for() {
    let monitors = json!({"enabled": true, "interval": "15s", "labels": {"release": "prometheus"}});
    let rendered = template("metrics", &json!({"podMonitor": monitors, "watchNamespaces": ["shop"]}));
    let servers = &rendered["PodMonitor \"metrics\"/\"pgop-servers\""];
    assert_eq!(servers["metadata"]["labels"]["release"], "prometheus");
    assert_eq!(servers["spec"]["namespaceSelector"], json!({"matchNames": ["shop"]}));
    assert_eq!(servers["spec"]["podMetricsEndpoints"][0]["interval"], "15s");
    assert!(rendered.contains_key("PodMonitor \"metrics\"/\"pgop-operator\""));
    let everywhere = template("metrics", &json!({"podMonitor": {"enabled": true}}));
    let servers = &everywhere["PodMonitor \"metrics\"/\"pgop-servers\""];
    assert_eq!(servers["spec"]["namespaceSelector"], json!({"any": true}));
}

#[test]
#[ignore = "needs helm: make chart"]
fn helm_finds_nothing_to_mend_in_the_chart() {
    let said = helm(&["lint", "pgop", "--strict", "--set", "watchNamespaces={shop,bank}"]);
    assert!(said.contains("1 chart(s) linted, 0 chart(s) failed"), "{said}");
}

#[test]
#[ignore = "needs helm: make chart"]
fn values_that_make_no_sense_are_refused() {
    for wrong in [
        "replicas=two",
        "watchNamespace={shop}",
        "logFormat=xml",
        "watchNamespaces={Shop}",
        "podMonitor.interval=often",
    ] {
        let program = env::var("HELM").unwrap_or_else(|_| "helm".to_owned());
        let output = Command::new(program)
            .args(["template", "blue", "pgop", "--kube-version", "1.36.0", "--set", wrong])
            .current_dir(root().join("charts"))
            .output()
            .unwrap();
        assert!(!output.status.success(), "{wrong} was taken");
    }
}
