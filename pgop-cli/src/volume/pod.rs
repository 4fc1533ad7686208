//! The pod that looks into a claim. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::Look;

/// Selects these pods.
pub const SELECTOR: &str = "app.kubernetes.io/name=pgo-browse,app.kubernetes.io/managed-by=pgop";
/// Exit code for "there is no such folder".
pub const NO_FOLDER: i32 = 44;
/// The `postgres` of the official image.
const DEFAULT_USER: i64 = 999;
/// A pod that ended is anybody's left-over after this time.
const LEFT_OVER_SECONDS: i64 = 600;

/// One line an entry: kind, kilobytes, seconds since 1970, whether it is a whole snapshot, name. Needs bash and coreutils, busybox's will do.
/// What goes wrong is written to the termination log, apart from the listing.
const SCRIPT: &str = r#"
exec 2>/dev/termination-log
export LC_ALL=C
cd /volume || exit 1
if [ -n "$FOLDER" ]; then
  [ -d "$FOLDER" ] || exit 44
  cd "$FOLDER" || exit 1
fi
shopt -s nullglob dotglob
for entry in *; do
  kind=f
  [ ! -d "$entry" ] || kind=d
  [ ! -L "$entry" ] || kind=l
  whole=-
  [ ! -f "$entry/backup_manifest" ] || [ ! -f "$entry/PG_VERSION" ] || whole=s
  size=''
  read -r size _ < <(du -sk -- "./$entry" 2>/dev/null)
  time=$(stat -c %Y -- "./$entry" 2>/dev/null)
  printf '%s %s %s %s %s\n' "$kind" "${size:--}" "${time:--}" "$whole" "${entry//[[:cntrl:]]/?}"
done
printf 'end\n'
"#;

/// The pod.
pub fn build(look: &Look, node: Option<&str>, namespace: &str) -> Pod {
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
        "containers": [{
            "name": "browse",
            "image": look.image,
            "command": ["bash", "-c", SCRIPT],
            "env": [{"name": "FOLDER", "value": look.folder}],
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
            },
            "terminationMessagePolicy": "File",
            "volumeMounts": [{"name": "volume", "mountPath": "/volume", "readOnly": true}],
        }],
        // Not `readOnly` here: some drivers refuse one volume in both modes, and a server may be using it.
        "volumes": [{"name": "volume", "persistentVolumeClaim": {"claimName": look.claim}}],
    });
    if let Some(policy) = &look.image_pull_policy {
        spec["containers"][0]["imagePullPolicy"] = json!(policy);
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
    let spec = pod.spec.as_ref()?;
    let ended = matches!(pod.status.as_ref()?.phase.as_deref(), Some("Succeeded" | "Failed"));
    let mounts = spec.volumes.iter().flatten().any(|volume| {
        volume
            .persistent_volume_claim
            .as_ref()
            .is_some_and(|source| source.claim_name == claim)
    });
    if mounts && !ended { spec.node_name.clone() } else { None }
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

    use pgop_core::crd::PodSettings;

    use super::*;

    fn look() -> Look {
        Look {
            claim: "orders-backup-pvc".into(),
            folder: "orders-backups".into(),
            image: "postgres:17".into(),
            image_pull_policy: None,
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
        let pod = serde_json::to_value(build(&look(), None, "shop")).unwrap();
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
        let pod = build(&look(), Some("node-7"), "shop");
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
    fn the_script_lists_a_real_folder() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = dir.path().join("orders-backups");
        std::fs::create_dir_all(shelf.join("2026-11-22-17-57-21")).unwrap();
        std::fs::create_dir_all(shelf.join("2026-11-22-18-00-00")).unwrap();
        std::fs::create_dir_all(shelf.join(".partial-1")).unwrap();
        std::fs::write(shelf.join("2026-11-22-17-57-21/backup_manifest"), "x").unwrap();
        std::fs::write(shelf.join("2026-11-22-17-57-21/PG_VERSION"), "17").unwrap();
        std::fs::write(shelf.join("odd\nname $(id) '"), "x").unwrap();
        let run = |folder: &str| {
            let script = SCRIPT
                .replace("/volume", dir.path().to_str().unwrap())
                .replace("/dev/termination-log", dir.path().join("words").to_str().unwrap());
            let output = std::process::Command::new("bash")
                .arg("-c")
                .arg(script)
                .env("FOLDER", folder)
                .output()
                .unwrap();
            (output.status.code(), String::from_utf8(output.stdout).unwrap())
        };
        let (code, text) = run("orders-backups");
        assert_eq!(code, Some(0));
        let entries = super::super::listing::parse(&text).unwrap();
        let seen: Vec<_> = entries
            .iter()
            .map(|e| (e.name.as_str(), e.is_directory, e.is_snapshot))
            .collect();
        assert_eq!(
            seen,
            [
                (".partial-1", true, false),
                ("2026-11-22-17-57-21", true, true),
                ("2026-11-22-18-00-00", true, false),
                ("odd?name $(id) '", false, false),
            ]
        );
        assert!(entries.iter().all(|e| e.bytes.is_some() && e.modified.is_some()));
        assert_eq!(run("nothing"), (Some(NO_FOLDER), String::new()));
    }
}
