use super::*;
use crate::{Schema, validation::built_in};

fn workload(group: &str, kind: &str, spec: &Value) -> Value {
    let base = json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "nginx"}]}},
    }});
    let mut object = crate::merge::merge(&base, &json!({"spec": spec}));
    Schema::built_in(group, "v1", kind)
        .expect("served")
        .default(&mut object);
    object
}

fn lines(group: &str, kind: &str, object: &Value, old: Option<&Value>) -> Vec<String> {
    built_in(group, kind, object, old)
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn good_workloads() {
    for kind in ["Deployment", "ReplicaSet", "DaemonSet", "StatefulSet"] {
        let object = workload("apps", kind, &json!({}));
        assert_eq!(lines("apps", kind, &object, Some(&object)), [""; 0], "{kind}");
    }
    let never = json!({"template": {"spec": {"restartPolicy": "Never"}}});
    let job = workload("batch", "Job", &never);
    assert_eq!(lines("batch", "Job", &job, Some(&job)), [""; 0]);
}

#[test]
fn a_stateful_sets_claims_can_be_mounted() {
    let mounted = |name: &str| {
        let container =
            json!({"name": "web", "image": "nginx", "volumeMounts": [{"name": name, "mountPath": "/data"}]});
        let claims = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]);
        let spec = json!({"volumeClaimTemplates": claims, "template": {"spec": {"containers": [container]}}});
        lines("apps", "StatefulSet", &workload("apps", "StatefulSet", &spec), None)
    };
    assert_eq!(mounted("data"), [""; 0]);
    assert_eq!(
        mounted("other"),
        ["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"other\""]
    );
}

#[test]
fn selectors_select_the_template() {
    let other = workload(
        "apps",
        "Deployment",
        &json!({"selector": {"matchLabels": {"app": "db"}}}),
    );
    assert_eq!(
        lines("apps", "Deployment", &other, None),
        [r#"spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`"#]
    );
    let empty = workload("apps", "StatefulSet", &json!({"selector": {"matchLabels": null}}));
    assert_eq!(
        lines("apps", "StatefulSet", &empty, None),
        ["spec.selector: Invalid value: {}: empty selector is invalid for statefulset"]
    );
}

#[test]
fn pods_of_workloads_run_always_and_those_of_jobs_end() {
    let never = workload(
        "apps",
        "Deployment",
        &json!({"template": {"spec": {"restartPolicy": "Never"}}}),
    );
    assert_eq!(
        lines("apps", "Deployment", &never, None),
        [r#"spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always""#]
    );
    let always = workload("batch", "Job", &json!({}));
    assert_eq!(
        lines("batch", "Job", &always, None),
        [r#"spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never""#]
    );
}

#[test]
fn deployments() {
    let broken = json!({
        "replicas": -1, "progressDeadlineSeconds": 5, "minReadySeconds": 10,
        "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}},
    });
    assert_eq!(
        lines("apps", "Deployment", &workload("apps", "Deployment", &broken), None),
        [
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            r#"spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0"#,
            "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds",
        ]
    );
    let old = workload("apps", "Deployment", &json!({}));
    let labels = json!({"app": "db"});
    let moved = json!({"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}});
    assert_eq!(
        lines(
            "apps",
            "Deployment",
            &workload("apps", "Deployment", &moved),
            Some(&old)
        ),
        [r#"spec.selector: Invalid value: {"matchLabels":{"app":"db"}}: field is immutable"#]
    );
}

#[test]
fn most_of_a_stateful_set_stays() {
    let claim = |size: &str| {
        json!({"volumeClaimTemplates": [{"metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}}]})
    };
    let old = workload("apps", "StatefulSet", &claim("1Gi"));
    let allowed = json!({"replicas": 3, "ordinals": {"start": 1}, "minReadySeconds": 5, "revisionHistoryLimit": 3,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"},
        "template": {"spec": {"terminationGracePeriodSeconds": 60}}});
    let mut object = workload("apps", "StatefulSet", &crate::merge::merge(&claim("1Gi"), &allowed));
    assert_eq!(lines("apps", "StatefulSet", &object, Some(&old)), [""; 0]);
    object["spec"]["serviceName"] = json!("other");
    let forbidden = "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                     'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    assert_eq!(lines("apps", "StatefulSet", &object, Some(&old)), [forbidden]);
    let bigger = workload("apps", "StatefulSet", &claim("2Gi"));
    assert_eq!(lines("apps", "StatefulSet", &bigger, Some(&old)), [forbidden]);
}

#[test]
fn the_template_of_a_job_stays() {
    let never = |image: &str| json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": image}]}}});
    let old = workload("batch", "Job", &never("a:1"));
    let fields = |object: &Value, old: &Value| -> Vec<String> {
        built_in("batch", "Job", object, Some(old))
            .into_iter()
            .map(|cause| cause.field)
            .collect()
    };
    assert_eq!(
        fields(&workload("batch", "Job", &never("a:2")), &old),
        ["spec.template"]
    );
    let mut more = old.clone();
    more["spec"]["completions"] = json!(2);
    more["spec"]["parallelism"] = json!(2);
    assert_eq!(fields(&more, &old), ["spec.completions"]);
    let mut held_back = old.clone();
    held_back["spec"]["suspend"] = json!(true);
    let mut moved = held_back.clone();
    moved["spec"]["template"]["spec"]["nodeSelector"] = json!({"zone": "a"});
    assert_eq!(fields(&moved, &held_back), [""; 0]);
}

#[test]
fn schedules() {
    let cron = |schedule: &str| {
        let template = json!({"spec": {"containers": [{"name": "a", "image": "b"}], "restartPolicy": "Never"}});
        json!({"metadata": {"name": "backup"}, "spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": template}}}})
    };
    for good in ["*/5 * * * *", "0 3 * * MON-FRI", "@daily", "@every 1h"] {
        assert_eq!(lines("batch", "CronJob", &cron(good), None), [""; 0], "{good}");
    }
    assert_eq!(
        lines("batch", "CronJob", &cron("* * *"), None),
        [r#"spec.schedule: Invalid value: "* * *": expected exactly 5 fields, found 3: [* * *]"#]
    );
    for bad in ["", "@sometimes", "TZ=UTC * * * * *", "! * * * *"] {
        assert_eq!(lines("batch", "CronJob", &cron(bad), None).len(), 1, "{bad}");
    }
}

#[test]
fn percentages() {
    for (value, good) in [
        (json!("25%"), true),
        (json!(3), true),
        (json!("x%"), false),
        (json!("25"), false),
        (json!(-1), false),
    ] {
        let mut causes = Vec::new();
        int_or_percent(&json!({"a": value}), "a", "spec", &mut causes);
        assert_eq!(causes.is_empty(), good, "{value}");
    }
}
