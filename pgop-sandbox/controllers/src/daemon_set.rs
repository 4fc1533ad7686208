//! `DaemonSets`: one pod on each node that is wanted.

mod plan;

use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus},
    core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod},
};
use kube::{Api, ResourceExt};

use crate::{
    context::Context,
    expectations::Expectations,
    ownership::{self, controller_of, controller_reference},
    pod,
    pod_control::PodControl,
    queue::{Key, Next, queue},
    revision::{self, Newest},
    verbs::{self, VerbError},
};
use plan::{Action, HASH_LABEL, plan, tolerations};

/// Runs pods of `DaemonSets`.
pub(crate) fn run(context: &Context) -> BoxFuture<'static, ()> {
    let (queue, requests) = queue();
    let cache = &context.cache;
    let expectations = Arc::new(Expectations::new("DaemonSet"));
    let on_set = queue.clone();
    cache
        .daemon_sets
        .listen(move |change| change.new.iter().for_each(|set| on_set.add(Key::of(&**set))));
    let owner_key = |meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
        let owner = controller_of(meta).filter(|owner| owner.kind == "DaemonSet")?;
        Some(Key::new(meta.namespace.clone().unwrap_or_default(), &owner.name))
    };
    let (seen, on_pod) = (expectations.clone(), queue.clone());
    cache.pods.listen(move |change| {
        seen.observe(change);
        change
            .versions()
            .filter_map(|pod| owner_key(&pod.metadata))
            .for_each(|key| on_pod.add(key));
    });
    let on_revision = queue.clone();
    cache.revisions.listen(move |change| {
        change
            .versions()
            .filter_map(|revision| owner_key(&revision.metadata))
            .for_each(|key| on_revision.add(key));
    });
    let weak = Arc::downgrade(cache);
    cache.nodes.listen(move |_| {
        let Some(cache) = weak.upgrade() else { return };
        cache
            .daemon_sets
            .all()
            .iter()
            .for_each(|set| queue.add(Key::of(&**set)));
    });
    context.work("daemonset-controller", requests, move |context, key| {
        let expectations = expectations.clone();
        async move { reconcile(&context, &expectations, &key).await }
    })
}

async fn reconcile(context: &Context, expectations: &Expectations, key: &Key) -> Result<Next, VerbError> {
    let Some(set) = context.cache.daemon_sets.get(key) else {
        return Ok(Next::OnChange);
    };
    let Some(selector) = ownership::selector(&set.spec.selector) else {
        return Ok(Next::OnChange);
    };
    let claims = ownership::claims(&set.metadata, &selector, context.cache.pods.within(&key.namespace));
    let owned = ownership::settle(&context.client, &*set, claims).await?;
    let revisions = revision::of_owner(
        &set.uid().unwrap_or_default(),
        context.cache.revisions.within(&key.namespace),
    );
    let collisions = set.status.as_ref().and_then(|status| status.collision_count);
    let api = context.namespaced(&key.namespace);
    let hash = match revision::newest(&api, &*set, &set.spec.template, collisions, &revisions).await? {
        Newest::Have(revision) => hash_of(&set, &revision),
        Newest::Made => return Ok(Next::OnChange),
        Newest::Collision => {
            let mut status = set.status.clone().unwrap_or_default();
            status.collision_count = Some(collisions.unwrap_or(0) + 1);
            put_status(context, &set, status).await?;
            return Ok(Next::OnChange);
        }
    };
    let planned = plan(
        &set,
        &context.cache.nodes.all(),
        &owned,
        &hash,
        expectations.met(key),
        pgop_sandbox_tasks::now(),
    );
    if set.status.as_ref() != Some(&planned.status) {
        put_status(context, &set, planned.status).await?;
    }
    let control = PodControl {
        context,
        expectations,
        key,
        owner: &*set,
    };
    for action in planned.actions {
        match action {
            Action::Create { node } => control.create(&pod_for(&set, &node, &hash)).await?,
            Action::Delete(pod) => control.delete(&pod).await?,
        }
    }
    forget_revisions(context, key, &set, &owned, &revisions, &hash).await?;
    Ok(Next::after(planned.again))
}

async fn put_status(context: &Context, set: &DaemonSet, status: DaemonSetStatus) -> Result<(), VerbError> {
    let api: Api<DaemonSet> = context.namespaced(&set.namespace().unwrap_or_default());
    let changed = DaemonSet {
        status: Some(status),
        ..set.clone()
    };
    verbs::put_status(&api, &changed).await.map(drop)
}

fn hash_of(set: &DaemonSet, revision: &ControllerRevision) -> String {
    let name = revision.name_any();
    name.strip_prefix(&format!("{}-", set.name_any()))
        .unwrap_or(&name)
        .to_owned()
}

/// A pod that the scheduler can only put on this node.
fn pod_for(set: &DaemonSet, node: &str, hash: &str) -> Pod {
    let template = set.spec.template.clone();
    let base = format!("{}-", set.name_any());
    let namespace = set.namespace().unwrap_or_default();
    let mut made = pod::from_template(
        &template,
        &namespace,
        pod::generated_name(&base),
        controller_reference(set),
    );
    made.metadata.generate_name = Some(base);
    made.labels_mut().insert(HASH_LABEL.into(), hash.to_owned());
    let generation = set.metadata.generation.unwrap_or(1).to_string();
    made.labels_mut().insert("pod-template-generation".into(), generation);
    let Some(spec) = &mut made.spec else { return made };
    spec.tolerations = Some(tolerations(spec));
    let here = NodeSelectorRequirement {
        key: "metadata.name".into(),
        operator: "In".into(),
        values: Some(vec![node.to_owned()]),
    };
    let affinity = spec
        .affinity
        .get_or_insert_default()
        .node_affinity
        .get_or_insert_default();
    // The pod goes to this node or nowhere; what else was required of nodes was looked at when this one was chosen.
    affinity.required_during_scheduling_ignored_during_execution = Some(NodeSelector {
        node_selector_terms: vec![NodeSelectorTerm {
            match_fields: Some(vec![here]),
            match_expressions: None,
        }],
    });
    made
}

async fn forget_revisions(
    context: &Context,
    key: &Key,
    set: &DaemonSet,
    pods: &[Arc<Pod>],
    revisions: &[Arc<ControllerRevision>],
    hash: &str,
) -> Result<(), VerbError> {
    let limit = set.spec.revision_history_limit.unwrap_or(10);
    let hashes = pods
        .iter()
        .filter_map(|pod| pod.labels().get(HASH_LABEL).cloned())
        .chain([hash.to_owned()]);
    let used: Vec<String> = hashes.map(|hash| format!("{}-{hash}", set.name_any())).collect();
    let used: Vec<&str> = used.iter().map(String::as_str).collect();
    let api: Api<ControllerRevision> = context.namespaced(&key.namespace);
    for revision in revision::surplus(revisions, &used, limit) {
        verbs::delete(&api, &revision.metadata, None).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_is_meant_for_its_node() {
        let set = serde_json::from_value(json!({
            "metadata": { "name": "agent", "namespace": "shop", "uid": "ds-1", "generation": 3 },
            "spec": { "selector": {}, "template": { "spec": { "containers": [] } } },
        }))
        .unwrap();
        let pod = pod_for(&set, "sandbox", "abc");
        assert_eq!(
            (
                pod.labels()[HASH_LABEL].as_str(),
                pod.labels()["pod-template-generation"].as_str()
            ),
            ("abc", "3")
        );
        let node = |name: &str| serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
        let spec = pod.spec.unwrap();
        assert!(crate::node_fit::is_wanted(&spec, &node("sandbox")));
        assert!(!crate::node_fit::is_wanted(&spec, &node("other")));
        assert_eq!(spec.tolerations.unwrap().len(), 6);
    }
}
