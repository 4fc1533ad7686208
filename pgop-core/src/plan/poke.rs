//! Which servers do not know yet that what they mount has changed.
//!
//! A kubelet brings a changed `ConfigMap` or Secret into a running pod when it looks at the pod again, which is a minute or more
//! (<https://kubernetes.io/docs/tasks/configure-pod-container/configure-pod-configmap/#mounted-configmaps-are-updated-automatically>). It looks at once when
//! the pod itself changes, so an annotation tells of the content that there is now. Where that write is lost, the kubelet's own round mends it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::Poke;
use crate::hash::short_hash;
use crate::kind::Kind;
use crate::label::{MOUNTED, ROLE};
use crate::observed::Live;

/// The servers that are to be told, of these that are the resource's own.
pub(super) fn pokes(own: &Live) -> Vec<Poke> {
    let content = content(own);
    let is_due = |pod: &&Pod| {
        let of = |map: &Option<BTreeMap<String, String>>, key| map.as_ref()?.get(key).cloned();
        of(&pod.metadata.labels, ROLE).is_some()
            && pod.metadata.deletion_timestamp.is_none()
            && of(&pod.metadata.annotations, MOUNTED).as_ref() != Some(&content)
    };
    let due = own.pods.iter().filter(is_due).filter_map(|pod| {
        Some(Poke {
            pod: pod.metadata.name.clone()?,
            uid: pod.metadata.uid.clone()?,
            content: content.clone(),
        })
    });
    due.collect()
}

/// Of all that its servers may mount: which of it they do is nobody's business here, and a look too many costs nothing.
fn content(own: &Live) -> String {
    let maps = own.objects.iter().filter(|((kind, _), _)| *kind == Kind::ConfigMap);
    let maps: Vec<_> = maps
        .map(|((_, name), map)| (name, &map["data"], &map["binaryData"]))
        .collect();
    // Of a Secret only the metadata are known: its version, which every change of its content changes.
    let version = |metadata: &Value| metadata["metadata"]["resourceVersion"].clone();
    let secrets: Vec<_> = own
        .secrets
        .iter()
        .map(|(name, secret)| (name, version(secret)))
        .collect();
    short_hash(&json!([maps, secrets]).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, labels: &Value, annotations: &Value, going: bool) -> Pod {
        let mut metadata =
            json!({"name": name, "uid": format!("uid-of-{name}"), "labels": labels, "annotations": annotations});
        if going {
            metadata["deletionTimestamp"] = json!("2026-11-30T00:00:00Z");
        }
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    fn live(setting: &str, version: &str, pods: Vec<Pod>) -> Live {
        let map = json!({"metadata": {"name": "hippo-config"}, "data": {"postgresql.conf": setting}});
        let secret = json!({"metadata": {"name": "hippo-user", "resourceVersion": version}});
        Live {
            objects: BTreeMap::from([((Kind::ConfigMap, "hippo-config".to_owned()), map)]),
            secrets: BTreeMap::from([("hippo-user".to_owned(), secret)]),
            pods,
        }
    }

    #[test]
    fn a_server_is_told_once_of_each_change_of_what_it_may_mount() {
        let server = json!({ROLE: "replica"});
        let fresh = || vec![pod("hippo-0", &server, &json!({}), false)];
        let told = |setting, version| pokes(&live(setting, version, fresh())).remove(0).content;
        let content = told("a = 1", "7");
        let after = |setting, version| {
            let pods = vec![pod("hippo-0", &server, &json!({MOUNTED: content}), false)];
            pokes(&live(setting, version, pods)).len()
        };
        assert_eq!(after("a = 1", "7"), 0);
        assert_eq!(after("a = 2", "7"), 1, "another setting");
        assert_eq!(after("a = 1", "8"), 1, "another password");
        let [poke] = &pokes(&live("a = 1", "7", fresh()))[..] else {
            panic!("one server")
        };
        assert_eq!((poke.pod.as_str(), poke.uid.as_str()), ("hippo-0", "uid-of-hippo-0"));
    }

    #[test]
    fn who_goes_or_is_no_server_is_left_alone() {
        let server = json!({ROLE: "primary"});
        let pods = vec![
            pod("hippo-0", &server, &json!({}), true),
            pod("hippo-restore-x", &json!({}), &json!({}), false),
        ];
        assert_eq!(pokes(&live("a = 1", "7", pods)), []);
    }
}
