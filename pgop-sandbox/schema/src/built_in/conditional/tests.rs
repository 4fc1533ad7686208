use super::*;
use crate::Schema;

fn defaulted(group: &str, kind: &str, mut object: Value) -> Value {
    Schema::built_in(group, "v1", kind)
        .expect("served")
        .default(&mut object);
    object
}

#[test]
fn a_pod() {
    let pod = defaulted(
        "",
        "Pod",
        json!({"metadata": {"name": "web"}, "spec": {
            "containers": [{
                "name": "web", "image": "nginx", "ports": [{"containerPort": 80}],
                "resources": {"limits": {"memory": "1Gi"}},
                "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "readinessProbe": {"httpGet": {"port": 80}},
            }],
            "volumes": [{"name": "tmp"}, {"name": "conf", "configMap": {"name": "web"}}],
        }}),
    );
    assert_eq!(
        pod["spec"],
        json!({
            "containers": [{
                "name": "web", "image": "nginx", "imagePullPolicy": "Always",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "resources": {"limits": {"memory": "1Gi"}, "requests": {"memory": "1Gi"}},
                "env": [{"name": "IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}],
                "readinessProbe": {
                    "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
                    "failureThreshold": 3, "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1,
                },
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
            "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always",
            "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30,
            "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "conf", "configMap": {"name": "web", "defaultMode": 420}}],
        })
    );
}

#[test]
fn pull_policy_follows_the_tag() {
    for (image, latest) in [
        ("nginx", true),
        ("nginx:latest", true),
        ("registry:5000/nginx", true),
        ("registry:5000/nginx:1.29", false),
        ("nginx@sha256:0123", false),
    ] {
        assert_eq!(is_latest(image), latest, "{image}");
    }
}

#[test]
fn a_deployment() {
    let spec = json!({"selector": {"matchLabels": {"app": "web"}}, "template": {"spec": {"containers": []}}});
    let deployment = defaulted("apps", "Deployment", json!({"spec": spec}));
    let spec = &deployment["spec"];
    assert_eq!(
        (&spec["replicas"], &spec["progressDeadlineSeconds"]),
        (&json!(1), &json!(600))
    );
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
    assert_eq!(spec["strategy"], rolling);
    assert_eq!(spec["template"]["spec"]["dnsPolicy"], "ClusterFirst");
    assert_eq!(spec["template"]["spec"].get("enableServiceLinks"), None);
}

#[test]
fn recreating_has_no_rolling_parameters() {
    let deployment = defaulted(
        "apps",
        "Deployment",
        json!({"spec": {"strategy": {"type": "Recreate"}}}),
    );
    assert_eq!(deployment["spec"]["strategy"], json!({"type": "Recreate"}));
}

#[test]
fn a_stateful_set() {
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}});
    let set = defaulted(
        "apps",
        "StatefulSet",
        json!({"spec": {"volumeClaimTemplates": [claim]}}),
    );
    assert_eq!(
        set["spec"],
        json!({
            "replicas": 1, "revisionHistoryLimit": 10, "podManagementPolicy": "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "volumeClaimTemplates": [{
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem"}, "status": {"phase": "Pending"},
            }],
        })
    );
}

#[test]
fn jobs() {
    let job = defaulted(
        "batch",
        "Job",
        json!({"spec": {"template": {"spec": {"restartPolicy": "Never"}}}}),
    );
    let spec = &job["spec"];
    assert_eq!(
        (&spec["completions"], &spec["parallelism"], &spec["backoffLimit"]),
        (&json!(1), &json!(1), &json!(6))
    );
    assert_eq!(
        (&spec["completionMode"], &spec["suspend"]),
        (&json!("NonIndexed"), &json!(false))
    );
    assert_eq!(spec["template"]["spec"]["restartPolicy"], "Never");

    let queue = defaulted("batch", "Job", json!({"spec": {"parallelism": 3}}));
    assert_eq!(queue["spec"].get("completions"), None);

    let cron = defaulted(
        "batch",
        "CronJob",
        json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {}}}}}}),
    );
    assert_eq!(
        (
            &cron["spec"]["concurrencyPolicy"],
            &cron["spec"]["failedJobsHistoryLimit"]
        ),
        (&json!("Allow"), &json!(1))
    );
    assert_eq!(cron["spec"]["jobTemplate"]["spec"].get("backoffLimit"), None);
    assert_eq!(
        cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["schedulerName"],
        "default-scheduler"
    );
}

#[test]
fn services() {
    let service = defaulted(
        "",
        "Service",
        json!({"spec": {"ports": [{"port": 5432}, {"port": 80, "targetPort": "http"}]}}),
    );
    assert_eq!(
        service["spec"],
        json!({
            "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "ports": [{"port": 5432, "protocol": "TCP", "targetPort": 5432}, {"port": 80, "protocol": "TCP", "targetPort": "http"}],
        })
    );
    let balanced = defaulted(
        "",
        "Service",
        json!({"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP"}}),
    );
    assert_eq!(balanced["spec"]["externalTrafficPolicy"], "Cluster");
    assert_eq!(balanced["spec"]["allocateLoadBalancerNodePorts"], true);
    assert_eq!(
        balanced["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"],
        10800
    );
}

#[test]
fn the_others() {
    let namespace = defaulted("", "Namespace", json!({"metadata": {"name": "pgop"}}));
    assert_eq!(
        namespace["metadata"]["labels"],
        json!({"kubernetes.io/metadata.name": "pgop"})
    );
    let secret = defaulted(
        "",
        "Secret",
        json!({"stringData": {"password": "pg"}, "data": {"password": "", "user": "YQ=="}}),
    );
    assert_eq!(
        secret,
        json!({"type": "Opaque", "data": {"password": "cGc=", "user": "YQ=="}})
    );
    assert_eq!(
        defaulted("", "PersistentVolumeClaim", json!({"spec": {}}))["spec"]["volumeMode"],
        "Filesystem"
    );
    let crd = json!({"spec": {"names": {"kind": "PostgresCluster", "plural": "postgresclusters"}}});
    let crd = defaulted("apiextensions.k8s.io", "CustomResourceDefinition", crd);
    assert_eq!(crd["spec"]["names"]["listKind"], "PostgresClusterList");
    assert_eq!(crd["spec"]["names"]["singular"], "postgrescluster");
    assert_eq!(crd["spec"]["conversion"], json!({"strategy": "None"}));
    let binding = json!({"roleRef": {"kind": "Role", "name": "a"}, "subjects": [{"kind": "User", "name": "eve"}]});
    let binding = defaulted("rbac.authorization.k8s.io", "RoleBinding", binding);
    assert_eq!(binding["roleRef"]["apiGroup"], "rbac.authorization.k8s.io");
    assert_eq!(binding["subjects"][0]["apiGroup"], "rbac.authorization.k8s.io");
    let policy = defaulted("networking.k8s.io", "NetworkPolicy", json!({"spec": {"egress": [{}]}}));
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    let limits = json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}}]}});
    let limits = defaulted("", "LimitRange", limits);
    assert_eq!(limits["spec"]["limits"][0]["defaultRequest"], json!({"cpu": "2"}));
}

#[test]
fn a_default_is_filled_once() {
    let mut pod = json!({"spec": {"containers": [{"name": "a", "image": "b"}]}});
    let schema = Schema::built_in("", "v1", "Pod").expect("served");
    schema.default(&mut pod);
    let first = pod.clone();
    schema.default(&mut pod);
    assert_eq!(pod, first);
}
