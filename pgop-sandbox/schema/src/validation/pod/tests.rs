use serde_json::{Value, json};

use crate::{Schema, validation::built_in};

/// A good pod with a change to its spec.
fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut pod = json!({"metadata": {"name": "db", "namespace": "default"}, "spec": {
        "containers": [{
            "name": "postgres", "image": "postgres:18", "ports": [{"name": "pg", "containerPort": 5432}],
            "env": [{"name": "PGDATA", "value": "/data"}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            "resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "2Gi"}},
            "readinessProbe": {"exec": {"command": ["pg_isready"]}},
        }],
        "initContainers": [{"name": "init", "image": "postgres:18"}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}, {"name": "tmp"}],
        "tolerations": [{"key": "a", "operator": "Exists"}],
    }});
    Schema::built_in("", "v1", "Pod").expect("served").default(&mut pod);
    change(&mut pod["spec"]);
    pod
}

type Change = fn(&mut Value);

fn lines(pod: &Value, old: Option<&Value>) -> Vec<String> {
    built_in("", "Pod", pod, old).iter().map(ToString::to_string).collect()
}

#[test]
fn a_good_pod() {
    let pod = changed(|_| {});
    assert_eq!(lines(&pod, None), [""; 0]);
    assert_eq!(lines(&pod, Some(&pod)), [""; 0]);
}

/// Sets one field of a good pod's spec, by JSON pointer, and expects one violation that starts with `line`.
#[track_caller]
fn expect(pointer: &str, value: Value, line: &str) {
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
    let pod = changed(|spec| {
        let parent = spec.pointer_mut(parent).expect("the parent is there");
        match field.parse::<usize>() {
            Ok(number) => parent[number] = value,
            Err(_) => parent[field] = value,
        }
    });
    let lines = lines(&pod, None);
    assert!(
        lines.len() == 1 && lines[0].starts_with(line),
        "{lines:#?} is not {line}"
    );
}

#[test]
fn containers() {
    let at = "spec.containers[0]";
    let name = json!("Postgres");
    expect("/containers", json!([]), "spec.containers: Required value");
    expect(
        "/containers/0/name",
        name,
        &format!("{at}.name: Invalid value: \"Postgres\": a lowercase RFC 1123 label"),
    );
    expect(
        "/initContainers/0/name",
        json!("postgres"),
        "spec.initContainers[0].name: Duplicate value: \"postgres\"",
    );
    expect("/containers/0/image", json!(""), &format!("{at}.image: Required value"));
    expect(
        "/containers/0/image",
        json!(" a"),
        &format!("{at}.image: Invalid value: \" a\": must not have leading"),
    );
    expect(
        "/containers/0/ports/0/containerPort",
        json!(70000),
        &format!("{at}.ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"),
    );
    expect(
        "/containers/0/ports/0/name",
        json!("a-name-that-is-long"),
        &format!("{at}.ports[0].name: Invalid value: \"a-name-that-is-long\": must be no more than 15 characters"),
    );
    expect(
        "/containers/0/env/0/name",
        json!("A=B"),
        &format!("{at}.env[0].name: Invalid value: \"A=B\": a valid env"),
    );
    expect(
        "/containers/0/env/0/valueFrom",
        json!({"secretKeyRef": {"key": "a"}}),
        &format!("{at}.env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"),
    );
    expect(
        "/containers/0/resources/requests/memory",
        json!("3Gi"),
        &format!("{at}.resources.requests: Invalid value: \"3Gi\": must be less than or equal to memory limit of 2Gi"),
    );
    expect(
        "/containers/0/resources/limits/cpu",
        json!("much"),
        &format!("{at}.resources.limits[cpu]: Invalid value: \"much\": quantities must match the regular expression"),
    );
}

#[test]
fn mounts() {
    let at = "spec.containers[0].volumeMounts";
    expect(
        "/containers/0/volumeMounts/0/name",
        json!("gone"),
        &format!("{at}[0].name: Not found: \"gone\""),
    );
    expect(
        "/containers/0/volumeMounts",
        json!([{"name": "data", "mountPath": "/a"}, {"name": "tmp", "mountPath": "/a"}]),
        &format!("{at}[1].mountPath: Invalid value: \"/a\": must be unique"),
    );
    expect(
        "/containers/0/volumeMounts/0/subPath",
        json!("../x"),
        &format!("{at}[0].subPath: Invalid value: \"../x\": must not contain '..'"),
    );
    expect(
        "/containers/0/volumeDevices",
        json!([{"name": "tmp", "devicePath": "/dev/x"}]),
        "spec.containers[0].volumeDevices[0].name: Invalid value: \"tmp\": can only use volume source type",
    );
}

#[test]
fn probes() {
    let at = "spec.containers[0]";
    let exec = json!({"exec": {"command": ["pg_isready"]}});
    expect(
        "/containers/0/readinessProbe",
        json!({}),
        &format!("{at}.readinessProbe: Required value: must specify a h"),
    );
    expect(
        "/containers/0/livenessProbe",
        json!({"tcpSocket": {"port": 0}}),
        &format!("{at}.livenessProbe.tcpSocket.port: Invalid value: 0: must be between 1 and 65535, inclusive"),
    );
    expect(
        "/containers/0/livenessProbe",
        json!({"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}),
        &format!("{at}.livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"),
    );
    expect(
        "/initContainers/0/livenessProbe",
        exec.clone(),
        "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
    );
    let sidecar = changed(|spec| {
        spec["initContainers"][0]["restartPolicy"] = json!("Always");
        spec["initContainers"][0]["livenessProbe"] = exec;
    });
    assert_eq!(lines(&sidecar, None), [""; 0]);
}

#[test]
fn volumes_and_the_pod_itself() {
    expect(
        "/volumes/1/secret",
        json!({"secretName": "a"}),
        "spec.volumes[1].secret: Forbidden: may not specify more than 1 volume type",
    );
    expect(
        "/volumes",
        json!([{"name": "data", "emptyDir": {}}, {"name": "data", "emptyDir": {}}]),
        "spec.volumes[1].name: Duplicate value: \"data\"",
    );
    expect(
        "/volumes/1",
        json!({"name": "c", "configMap": {"name": "c", "defaultMode": 1000}}),
        "spec.volumes[1].configMap.defaultMode: Invalid value: 1000: must be a number between 0 and 0777 (octal)",
    );
    expect(
        "/terminationGracePeriodSeconds",
        json!(-1),
        "spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0",
    );
    expect(
        "/hostname",
        json!("a.b"),
        "spec.hostname: Invalid value: \"a.b\": must not contain dots",
    );
    expect(
        "/tolerations",
        json!([{"value": "x"}]),
        "spec.tolerations[0].operator: Invalid value: null: operator must be Exists when `key` is empty",
    );
}

#[test]
fn little_of_a_pod_may_change() {
    let old = changed(|_| {});
    let allowed: [Change; 4] = [
        |spec| spec["containers"][0]["image"] = json!("postgres:19"),
        |spec| spec["activeDeadlineSeconds"] = json!(60),
        |spec| spec["tolerations"] = json!([{"key": "b", "operator": "Exists"}, {"key": "a", "operator": "Exists"}]),
        |spec| spec["ephemeralContainers"] = json!([{"name": "debug", "image": "busybox"}]),
    ];
    for change in allowed {
        assert_eq!(lines(&changed(change), Some(&old)), [""; 0]);
    }
    let forbidden: [Change; 4] = [
        |spec| spec["containers"][0]["env"][0]["value"] = json!("/other"),
        |spec| spec["nodeName"] = json!("sandbox"),
        |spec| spec["tolerations"] = json!([]),
        |spec| spec["schedulingGates"] = json!([{"name": "pgop.dev/wait"}]),
    ];
    for change in forbidden {
        let lines = lines(&changed(change), Some(&old));
        assert!(
            lines.len() == 1
                && lines[0].starts_with(
                    "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
                ),
            "{lines:?}"
        );
    }
}

#[test]
fn broken_objects_do_not_panic() {
    for pod in [
        json!({}),
        json!({"spec": []}),
        json!({"spec": {"containers": [1, {"ports": [null], "env": "x"}], "volumes": {}}}),
    ] {
        assert!(!lines(&pod, Some(&pod)).is_empty());
    }
}
