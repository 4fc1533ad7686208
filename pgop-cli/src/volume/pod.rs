//! The pod that looks into a claim. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use pgop_core::Owner;
use pgop_core::name::AGENT_CONTAINER;
use serde_json::{Value, json};

use super::Look;

/// Selects these pods.
pub const SELECTOR: &str = "app.kubernetes.io/name=pgo-browse,app.kubernetes.io/managed-by=pgop";
/// Exit code of `pgop-agent browse` for "there is no such directory".
pub const NO_FOLDER: i32 = 3;
/// Where the agent lies in the pod.
const BIN: &str = "/pgop/bin";
/// Where the claim is mounted.
const VOLUME: &str = "/volume";
/// The `postgres` of the official image.
const DEFAULT_USER: i64 = 999;
/// A pod that ended is anybody's left-over after this time.
const LEFT_OVER_SECONDS: i64 = 600;

/// The pod. Its image may be any: an init container of `agent_image` copies the agent into it, as in every pod of pgop.
pub fn build(look: &Look, agent_image: &str, node: Option<&str>, namespace: &str) -> Pod {
    let user = look.pod.run_as_user.unwrap_or(DEFAULT_USER);
    let group = look.pod.run_as_group.unwrap_or(user);
    // The owning group comes as a supplemental one. As fsGroup, the kubelet would change the files' owners under a running server.
    let mut groups: Vec<i64> = look
        .pod
        .fs_group
        .into_iter()
        .chain(look.pod.supplemental_groups.iter().copied())
        .collect();
    groups.sort_unstable();
    groups.dedup();
    let seconds = look.timeout.as_secs().saturating_add(30);
    let resources = json!({"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}});
    let least =
        json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}});
    let mut command = vec![format!("{BIN}/pgop-agent"), "browse".to_owned()];
    command.extend((!look.folder.is_empty()).then(|| look.folder.clone()));
    let mut spec = json!({
        "restartPolicy": "Never",
        "activeDeadlineSeconds": seconds,
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": user, "runAsGroup": group, "supplementalGroups": groups,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [{
            "name": AGENT_CONTAINER,
            "image": agent_image,
            "command": ["pgop-agent", "install", BIN],
            "resources": resources,
            "securityContext": least,
            "volumeMounts": [{"name": "bin", "mountPath": BIN}],
        }],
        "containers": [{
            "name": "browse",
            "image": look.image,
            "command": command,
            "env": [{"name": "PGOP_VOLUME", "value": VOLUME}],
            "resources": resources,
            "securityContext": least,
            "terminationMessagePolicy": "File",
            "volumeMounts": [
                {"name": "volume", "mountPath": VOLUME, "readOnly": true},
                {"name": "bin", "mountPath": BIN, "readOnly": true},
            ],
        }],
        // Not `readOnly` here: some drivers refuse one volume in both modes, and a server may be using it.
        "volumes": [
            {"name": "volume", "persistentVolumeClaim": {"claimName": look.claim}},
            {"name": "bin", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    });
    if let Some(policy) = &look.image_pull_policy {
        for kind in ["initContainers", "containers"] {
            spec[kind][0]["imagePullPolicy"] = json!(policy);
        }
    }
    if !look.image_pull_secrets.is_empty() {
        spec["imagePullSecrets"] = look
            .image_pull_secrets
            .iter()
            .map(|name| json!({"name": name}))
            .collect();
    }
    spec["tolerations"] = json!(look.pod.tolerations);
    match node {
        Some(node) => {
            // Wherever the volume is attached, even on a node that takes no new pods.
            spec["tolerations"] = json!([{"operator": "Exists"}]);
            spec["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}],
            }}});
        }
        None => spec["nodeSelector"] = json!(look.pod.node_selector),
    }
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "pgo-browse-",
            "namespace": namespace,
            "labels": {"app.kubernetes.io/name": "pgo-browse", "app.kubernetes.io/managed-by": "pgop"},
            "annotations": {"pgop.dev/claim": look.claim},
        },
        "spec": spec,
    });
    from_value(pod)
}

/// The shape is fixed above, and a test reads it back.
fn from_value(value: Value) -> Pod {
    serde_json::from_value(value).unwrap_or_default()
}

/// The pod's node, when it is there and mounts the claim.
pub fn node_that_mounts(pod: &Pod, claim: &str) -> Option<String> {
    let ended = matches!(pod.status.as_ref()?.phase.as_deref(), Some("Succeeded" | "Failed"));
    let node = pod.spec.as_ref()?.node_name.clone();
    node.filter(|_| mounts(pod, claim) && !ended)
}

fn mounts(pod: &Pod, claim: &str) -> bool {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mut claims = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
    claims.any(|source| source.claim_name == claim)
}

/// Image of the agent in a pod of the database or cluster `user`, or else in one that mounts the claim, such as a backup's.
pub fn agent_image<'a>(pods: &'a [Pod], user: Option<&Owner>, claim: &str) -> Option<&'a str> {
    let is_of_user = |pod: &Pod| {
        let labels = pod.metadata.labels.as_ref();
        user.is_some_and(|user| labels.and_then(|all| all.get(user.kind.label())) == Some(&user.name))
    };
    let of_user = pods.iter().filter(|pod| is_of_user(pod));
    let mounting = pods.iter().filter(|pod| mounts(pod, claim));
    of_user.chain(mounting).find_map(|pod| {
        let mut containers = pod.spec.as_ref()?.init_containers.iter().flatten();
        containers
            .find(|container| container.name == AGENT_CONTAINER)?
            .image
            .as_deref()
    })
}

/// A pod of this kind that ended long ago.
pub fn is_left_over(pod: &Pod, now: Timestamp) -> bool {
    let ended = pod
        .status
        .as_ref()
        .and_then(|s| s.phase.as_deref())
        .is_some_and(|p| p == "Succeeded" || p == "Failed");
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0.as_second());
    ended && created.is_some_and(|second| now.as_second() - second > LEFT_OVER_SECONDS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pgop_core::ResourceKind;
    use pgop_core::crd::PodSettings;

    use super::*;

    fn look() -> Look {
        Look {
            claim: "orders-backup-pvc".into(),
            folder: "orders-backups".into(),
            user: None,
            image: "postgres:17".into(),
            image_pull_policy: Some("Never".into()),
            image_pull_secrets: vec!["registry".into()],
            pod: PodSettings {
                fs_group: Some(26),
                supplemental_groups: vec![65534, 26],
                ..PodSettings::default()
            },
            timeout: Duration::from_secs(60),
        }
    }

    #[test]
    fn it_reads_and_never_changes_the_volume() {
        let pod = serde_json::to_value(build(&look(), "a", None, "shop")).unwrap();
        assert_eq!(
            pod.pointer("/spec/containers/0/volumeMounts/0/readOnly"),
            Some(&json!(true))
        );
        assert_eq!(pod.pointer("/spec/securityContext/fsGroup"), None);
        assert_eq!(
            pod.pointer("/spec/securityContext/supplementalGroups"),
            Some(&json!([26, 65534]))
        );
        assert_eq!(pod.pointer("/spec/activeDeadlineSeconds"), Some(&json!(90)));
        assert_eq!(pod.pointer("/spec/imagePullSecrets/0/name"), Some(&json!("registry")));
        assert!(
            pod["metadata"]["labels"]
                .as_object()
                .unwrap()
                .keys()
                .all(|key| !key.starts_with("pgop.dev/"))
        );
    }

    #[test]
    fn it_goes_where_the_volume_is() {
        let pod = build(&look(), "a", Some("node-7"), "shop");
        let text = serde_json::to_string(&pod).unwrap();
        assert!(
            text.contains(r#""matchFields":[{"key":"metadata.name","operator":"In","values":["node-7"]}]"#),
            "{text}"
        );
        let user: Pod = serde_json::from_value(json!({
            "metadata": {}, "status": {"phase": "Running"},
            "spec": {"containers": [], "nodeName": "node-7", "volumes": [{"name": "a", "persistentVolumeClaim": {"claimName": "c"}}]}
        }))
        .unwrap();
        assert_eq!(node_that_mounts(&user, "c").as_deref(), Some("node-7"));
        assert_eq!(node_that_mounts(&user, "d"), None);
    }

    #[test]
    fn only_old_pods_that_ended_are_left_overs() {
        let pod = |phase: &str| -> Pod {
            serde_json::from_value(
                json!({"metadata": {"creationTimestamp": "2026-11-22T12:00:00Z"}, "status": {"phase": phase}}),
            )
            .unwrap()
        };
        let (soon, late) = (
            "2026-11-22T12:05:00Z".parse().unwrap(),
            "2026-11-22T12:11:00Z".parse().unwrap(),
        );
        assert!(is_left_over(&pod("Succeeded"), late));
        assert!(!is_left_over(&pod("Succeeded"), soon));
        assert!(!is_left_over(&pod("Running"), late));
    }

    #[test]
    fn the_agent_comes_with_a_container_of_its_own() {
        let pod = serde_json::to_value(build(&look(), "registry.test/pgop:1", None, "shop")).unwrap();
        let (first, then) = (&pod["spec"]["initContainers"][0], &pod["spec"]["containers"][0]);
        assert_eq!(first["image"], "registry.test/pgop:1");
        assert_eq!(first["command"], json!(["pgop-agent", "install", "/pgop/bin"]));
        assert_eq!(
            then["command"],
            json!(["/pgop/bin/pgop-agent", "browse", "orders-backups"])
        );
        assert_eq!(then["env"], json!([{"name": "PGOP_VOLUME", "value": "/volume"}]));
        assert_eq!(then["image"], "postgres:17");
        assert_eq!(
            then["volumeMounts"][1],
            json!({"name": "bin", "mountPath": "/pgop/bin", "readOnly": true})
        );
        // What a namespace with the restricted standard asks of every container.
        for container in [first, then] {
            let least = &container["securityContext"];
            assert_eq!(least["allowPrivilegeEscalation"], false);
            assert_eq!(least["capabilities"], json!({"drop": ["ALL"]}));
            assert_eq!(container["imagePullPolicy"], "Never");
        }
        let root = Look {
            folder: String::new(),
            ..look()
        };
        let pod = serde_json::to_value(build(&root, "a", None, "shop")).unwrap();
        assert_eq!(
            pod["spec"]["containers"][0]["command"],
            json!(["/pgop/bin/pgop-agent", "browse"])
        );
    }

    #[test]
    fn the_agent_is_that_of_the_claims_user() {
        let pod = |labels: Value, claim: &str, container: &str, image: &str| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [], "initContainers": [{"name": container, "image": image}],
                    "volumes": [{"name": "a", "persistentVolumeClaim": {"claimName": claim}}],
                },
            }))
            .unwrap()
        };
        let user = Owner {
            kind: ResourceKind::PgCluster,
            name: "hippo".into(),
            namespace: "shop".into(),
            uid: "1".into(),
        };
        let pods = [
            pod(json!({"pgop.dev/backup": "b"}), "vault", "agent", "of-a-backup"),
            pod(json!({"pgop.dev/cluster": "rhino"}), "c", "agent", "of-another"),
            pod(json!({"pgop.dev/cluster": "hippo"}), "d", "setup", "no-agent"),
            pod(json!({"pgop.dev/cluster": "hippo"}), "e", "agent", "of-the-user"),
        ];
        assert_eq!(agent_image(&pods, Some(&user), "vault"), Some("of-the-user"));
        assert_eq!(agent_image(&pods, None, "vault"), Some("of-a-backup"));
        assert_eq!(agent_image(&pods[..3], Some(&user), "nobodys"), None);
    }
}
