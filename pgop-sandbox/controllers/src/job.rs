//! Jobs: pods that run to their end.

mod account;
mod indexes;
mod plan;
mod policy;

use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod},
};
use kube::{Api, ResourceExt, api::PropagationPolicy};

use crate::{
    context::Context,
    expectations::Expectations,
    ownership::{self, controller_of, controller_reference},
    pod,
    pod_control::PodControl,
    queue::{Key, Next, queue},
    verbs::{self, VerbError},
};
use account::{TRACKED, is_tracked};
use plan::{Action, INDEX, plan};
pub(crate) use plan::{end_of, is_finished};

/// Runs Jobs, and deletes those whose time after their end is over.
pub(crate) fn run(context: &Context) -> BoxFuture<'static, ()> {
    let (queue, requests) = queue();
    let expectations = Arc::new(Expectations::new("Job"));
    let on_job = queue.clone();
    context
        .cache
        .jobs
        .listen(move |change| change.versions().for_each(|job| on_job.add(Key::of(&**job))));
    let seen = expectations.clone();
    context.cache.pods.listen(move |change| {
        seen.observe(change);
        for pod in change.versions() {
            let namespace = pod.namespace().unwrap_or_default();
            match controller_of(&pod.metadata) {
                Some(owner) if owner.kind == "Job" => queue.add(Key::new(namespace, &owner.name)),
                // A pod whose Job let go of it still has the finalizer that only this controller takes away.
                None if is_tracked(pod) => queue.add(Key::new(
                    namespace,
                    pod.labels().get("job-name").cloned().unwrap_or_default(),
                )),
                _ => {}
            }
        }
    });
    context.work("job-controller", requests, move |context, key| {
        let expectations = expectations.clone();
        async move { reconcile(&context, &expectations, &key).await }
    })
}

async fn reconcile(context: &Context, expectations: &Expectations, key: &Key) -> Result<Next, VerbError> {
    release_orphans(context, key).await?;
    let Some(job) = context.cache.jobs.get(key) else {
        return Ok(Next::OnChange);
    };
    let pods = pods_of(context, &job).await?;
    let now = pgop_sandbox_tasks::now();
    let control = PodControl {
        context,
        expectations,
        key,
        owner: &*job,
    };
    if let Some(remaining) = plan::remaining_life(&job, now).filter(|_| job.metadata.deletion_timestamp.is_none()) {
        if remaining.is_zero() {
            let jobs: Api<Job> = context.namespaced(&key.namespace);
            verbs::delete(&jobs, &job.metadata, Some(PropagationPolicy::Foreground)).await?;
            return Ok(Next::OnChange);
        }
        act(&control, plan(&job, &pods, false, now).actions).await?;
        return Ok(Next::After(remaining));
    }
    let planned = plan(&job, &pods, expectations.met(key), now);
    // The status first: what it says is the ground on which finalizers are taken away and the end is told.
    if job.status.as_ref() != Some(&planned.status) {
        let api: Api<Job> = context.namespaced(&key.namespace);
        verbs::put_status(
            &api,
            &Job {
                status: Some(planned.status),
                ..(*job).clone()
            },
        )
        .await?;
    }
    act(&control, planned.actions).await?;
    Ok(Next::after(planned.again))
}

/// The Job's pods. A server that fills in no selector leaves the owner reference.
async fn pods_of(context: &Context, job: &Job) -> Result<Vec<Arc<Pod>>, VerbError> {
    let mut pods = context.cache.pods.within(&job.namespace().unwrap_or_default());
    let selector = job
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref())
        .and_then(ownership::selector);
    let Some(selector) = selector else {
        let uid = job.uid().unwrap_or_default();
        pods.retain(|pod| ownership::is_controlled_by(&pod.metadata, &uid));
        return Ok(pods);
    };
    let claims = ownership::claims(&job.metadata, &selector, pods);
    let owned = ownership::settle(&context.client, job, claims).await?;
    Ok(owned)
}

async fn act(control: &PodControl<'_, Job>, actions: Vec<Action>) -> Result<(), VerbError> {
    let PodControl {
        context,
        key,
        owner: job,
        ..
    } = *control;
    let pods: Api<Pod> = context.namespaced(&key.namespace);
    for action in actions {
        match action {
            Action::Create(index) => control.create(&pod_for(job, index)).await?,
            Action::Delete { pod, uncounted } => {
                if uncounted && is_tracked(&pod) {
                    release(&pods, &pod).await?;
                }
                control.delete(&pod).await?;
            }
            Action::Release(pod) => release(&pods, &pod).await?,
            Action::Tell {
                warning: true,
                reason,
                message,
            } => context.recorder.warning(job, known_reason(&reason), message),
            Action::Tell {
                warning: false,
                reason,
                message,
            } => context.recorder.normal(job, known_reason(&reason), message),
        }
    }
    Ok(())
}

/// The reasons under which Jobs are spoken of.
fn known_reason(reason: &str) -> &'static str {
    const KNOWN: [&str; 6] = [
        "Completed",
        "Suspended",
        "Resumed",
        "BackoffLimitExceeded",
        "DeadlineExceeded",
        "PodFailurePolicy",
    ];
    KNOWN
        .iter()
        .find(|known| **known == reason)
        .copied()
        .unwrap_or("Failed")
}

fn pod_for(job: &Job, index: Option<i32>) -> Pod {
    let template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let job_name = job.name_any();
    let base = index.map_or_else(|| format!("{job_name}-"), |index| format!("{job_name}-{index}-"));
    let namespace = job.namespace().unwrap_or_default();
    let mut made = pod::from_template(
        &template,
        &namespace,
        pod::generated_name(&base),
        controller_reference(job),
    );
    made.metadata.generate_name = Some(base);
    made.finalizers_mut().push(TRACKED.into());
    let uid = job.uid().unwrap_or_default();
    for prefix in ["", "batch.kubernetes.io/"] {
        made.labels_mut().insert(format!("{prefix}controller-uid"), uid.clone());
        made.labels_mut().insert(format!("{prefix}job-name"), job_name.clone());
    }
    if let Some(index) = index {
        index_pod(&mut made, &job_name, index);
    }
    made
}

/// Tells the pod its index: as annotation, label, host name and in the environment.
fn index_pod(made: &mut Pod, job: &str, index: i32) {
    made.annotations_mut().insert(INDEX.into(), index.to_string());
    made.labels_mut().insert(INDEX.into(), index.to_string());
    let Some(spec) = &mut made.spec else { return };
    spec.hostname = Some(format!("{job}-{index}"));
    let variable = EnvVar {
        name: "JOB_COMPLETION_INDEX".into(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: None,
                field_path: format!("metadata.annotations['{INDEX}']"),
            }),
            ..EnvVarSource::default()
        }),
        value: None,
    };
    for container in spec
        .containers
        .iter_mut()
        .chain(spec.init_containers.iter_mut().flatten())
    {
        let variables = container.env.get_or_insert_default();
        if variables.iter().all(|known| known.name != variable.name) {
            variables.push(variable.clone());
        }
    }
}

async fn release(pods: &Api<Pod>, pod: &Pod) -> Result<(), VerbError> {
    let finalizers: Vec<_> = pod
        .finalizers()
        .iter()
        .filter(|name| *name != TRACKED)
        .cloned()
        .collect();
    match verbs::merge(pods, &pod.metadata, verbs::finalizers_patch(&finalizers)).await {
        Err(error) if error.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}

/// Takes the finalizer away from pods whose Job is gone or let go of them: nobody counts them any more.
async fn release_orphans(context: &Context, key: &Key) -> Result<(), VerbError> {
    let pods: Api<Pod> = context.namespaced(&key.namespace);
    let jobs: Api<Job> = context.namespaced(&key.namespace);
    for pod in context.cache.pods.within(&key.namespace) {
        if !is_tracked(&pod) {
            continue;
        }
        let owner = controller_of(&pod.metadata).filter(|owner| owner.kind == "Job");
        if let Some(owner) = owner {
            let of_key = owner.name == key.name;
            let cached = context
                .cache
                .jobs
                .get(key)
                .is_some_and(|job| job.uid().as_deref() == Some(&owner.uid));
            if !of_key
                || cached
                || verbs::get(&jobs, &owner.name)
                    .await?
                    .is_some_and(|job| job.uid().as_deref() == Some(&owner.uid))
            {
                continue;
            }
        }
        release(&pods, &pod).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job() -> Job {
        serde_json::from_value(json!({
            "metadata": { "name": "backup", "namespace": "shop", "uid": "job-1" },
            "spec": { "template": {
                "metadata": { "labels": { "app": "db" } },
                "spec": { "containers": [{ "name": "main", "env": [{ "name": "A", "value": "1" }] }] },
            } },
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_is_marked_as_its_jobs() {
        let pod = pod_for(&job(), None);
        assert!(pod.name_any().starts_with("backup-"));
        assert!(is_tracked(&pod));
        for (name, value) in [
            ("job-name", "backup"),
            ("batch.kubernetes.io/controller-uid", "job-1"),
            ("app", "db"),
        ] {
            assert_eq!(pod.labels()[name], value);
        }
        assert_eq!(pod.owner_references()[0].uid, "job-1");
        assert!(pod.spec.unwrap().hostname.is_none());
    }

    #[test]
    fn an_indexed_pod_knows_its_index() {
        let pod = pod_for(&job(), Some(3));
        assert!(pod.name_any().starts_with("backup-3-"));
        assert_eq!(pod.annotations()[INDEX], "3");
        let spec = pod.spec.unwrap();
        assert_eq!(spec.hostname.as_deref(), Some("backup-3"));
        assert_eq!(spec.containers[0].env.as_ref().unwrap()[1].name, "JOB_COMPLETION_INDEX");
    }
}
