//! `DaemonSets`: one pod on each node that is wanted.

mod plan;

use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, DaemonSet},
    core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod},
};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::{
    context::Context,
    expectations::Expectations,
    ownership::{self, controller_of, controller_reference},
    pod,
    queue::{Key, Next, queue},
    revision,
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
    let Some(spec) = &set.spec else {
        return Ok(Next::OnChange);
    };
    let Some(selector) = ownership::selector(&spec.selector) else {
        return Ok(Next::OnChange);
    };
    let claims = ownership::claims(&set.metadata, &selector, context.cache.pods.within(&key.namespace));
    ownership::settle(&context.client, &*set, &claims).await?;
    let revisions = revision::of_owner(
        &set.uid().unwrap_or_default(),
        context.cache.revisions.within(&key.namespace),
    );
    let Some(hash) = newest_hash(context, key, &set, &revisions).await? else {
        return Ok(Next::OnChange);
    };
    let planned = plan(
        &set,
        &context.cache.nodes.all(),
        &claims.owned,
        &hash,
        expectations.met(key),
        Timestamp::now(),
    );
    if set.status.as_ref() != Some(&planned.status) {
        let api: Api<DaemonSet> = context.namespaced(&key.namespace);
        verbs::put_status(
            &api,
            &DaemonSet {
                status: Some(planned.status),
                ..(*set).clone()
            },
        )
        .await?;
    }
    for action in planned.actions {
        act(context, expectations, key, &set, &hash, action).await?;
    }
    forget_revisions(context, key, &set, &claims.owned, &revisions, &hash).await?;
    Ok(Next::after(planned.again))
}

/// The hash of the present template's revision. `None` when the revision was only made now: its event brings the set again.
async fn newest_hash(
    context: &Context,
    key: &Key,
    set: &DaemonSet,
    revisions: &[Arc<ControllerRevision>],
) -> Result<Option<String>, VerbError> {
    let api: Api<ControllerRevision> = context.namespaced(&key.namespace);
    let Some(spec) = &set.spec else { return Ok(None) };
    let collisions = set.status.as_ref().and_then(|status| status.collision_count);
    match revision::current(
        &set.metadata,
        controller_reference(set),
        &spec.template,
        collisions,
        revisions,
    ) {
        revision::Step::Have(revision) => return Ok(Some(hash_of(set, &revision))),
        revision::Step::Renumber(revision, number) => {
            verbs::merge(&api, &revision.metadata, json!({ "revision": number })).await?;
        }
        revision::Step::Create(revision) => verbs::ensure(&api, &revision).await?,
    }
    Ok(None)
}

fn hash_of(set: &DaemonSet, revision: &ControllerRevision) -> String {
    let name = revision.name_any();
    name.strip_prefix(&format!("{}-", set.name_any()))
        .unwrap_or(&name)
        .to_owned()
}

async fn act(
    context: &Context,
    expectations: &Expectations,
    key: &Key,
    set: &DaemonSet,
    hash: &str,
    action: Action,
) -> Result<(), VerbError> {
    let api: Api<Pod> = context.namespaced(&key.namespace);
    match action {
        Action::Create { node } => {
            let pod = pod_for(set, &node, hash);
            let name = pod.name_any();
            expectations.will_create(key, &name);
            if let Err(error) = verbs::create(&api, &pod).await {
                expectations.did_not_create(key, &name);
                if error.is_namespace_ending() {
                    return Ok(());
                }
                context
                    .recorder
                    .warning(set, "FailedCreate", format!("Error creating: {}", error.message()));
                return Err(error);
            }
            context
                .recorder
                .normal(set, "SuccessfulCreate", format!("Created pod: {name}"));
        }
        Action::Delete(pod) => {
            let uid = pod.uid().unwrap_or_default();
            expectations.will_delete(key, &uid);
            if let Err(error) = verbs::delete(&api, &pod.metadata, None).await {
                expectations.did_not_delete(key, &uid);
                return Err(error);
            }
            context
                .recorder
                .normal(set, "SuccessfulDelete", format!("Deleted pod: {}", pod.name_any()));
        }
    }
    Ok(())
}

/// A pod that the scheduler can only put on this node.
fn pod_for(set: &DaemonSet, node: &str, hash: &str) -> Pod {
    let template = set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
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
    let limit = set
        .spec
        .as_ref()
        .and_then(|spec| spec.revision_history_limit)
        .unwrap_or(10);
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
