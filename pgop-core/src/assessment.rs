//! What the live objects amount to: members, their health, and how Jobs ended. Pure.

use std::cmp::Reverse;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use crate::crd::{Member, Role};
use crate::description::Description;
use crate::kind::Kind;
use crate::observed::Live;
use crate::owner::ResourceKind;
use crate::pod::{agent_image, failure, is_ready, trouble};
use crate::roll::{Roll, is_on_delete};
use crate::validated::Validated;

/// What a strategy makes of the live objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assessment {
    /// The servers that exist.
    pub members: Vec<Member>,
    /// What fails by itself and does not just take its time: containers that crash, images that can't be had.
    pub failing: Vec<String>,
    /// `StatefulSet`s and `Deployment`s that have not rolled out their newest pods, and how far they are.
    pub rolling: Vec<String>,
    /// Which servers have to be restarted, one after the other.
    pub roll: Roll,
    /// The Job that the resource waits for: the restore of a server, or the backup itself.
    pub job: Option<JobState>,
}

/// How far a Job is.
#[derive(Clone, Debug, PartialEq)]
pub enum JobState {
    /// It does not exist yet.
    Absent,
    /// It runs, or waits for something.
    Running {
        /// For what its pod waits, if for anything.
        waits: Option<String>,
        /// When it started.
        started: Option<Time>,
    },
    /// It succeeded.
    Succeeded {
        /// What its container left in the termination log.
        message: Option<String>,
        /// When it started.
        started: Option<Time>,
        /// When it ended.
        finished: Option<Time>,
    },
    /// It failed.
    Failed {
        /// Why, in the words of its container where it left any.
        message: String,
        /// When it started.
        started: Option<Time>,
        /// When it ended.
        finished: Option<Time>,
    },
}

/// The assessment that fits any strategy whose members are pods with honest readiness probes.
pub fn assess<V: Validated>(kind: ResourceKind, description: &Description, validated: &V, live: &Live) -> Assessment {
    let job = match validated.server() {
        Some(server) => server.restore.as_ref().map(|restore| job_state(live, &restore.job)),
        None if kind == ResourceKind::PgBackup => {
            let job = live.objects.keys().find(|(kind, _)| *kind == Kind::Job);
            Some(job.map_or(JobState::Absent, |(_, name)| job_state(live, name)))
        }
        None => None,
    };
    Assessment {
        members: members(description, live),
        failing: failing(live),
        rolling: rolling(live),
        roll: Roll::of(description, live),
        job,
    }
}

fn failing(live: &Live) -> Vec<String> {
    let pods = live
        .pods
        .iter()
        .filter(|pod| !is_ready(pod) && pod.metadata.deletion_timestamp.is_none());
    let told = |pod: &Pod| Some(format!("{}: {}", pod.metadata.name.as_deref()?, failure(pod)?));
    pods.filter(|pod| pod.metadata.labels.as_ref().is_none_or(|l| !l.contains_key("job-name")))
        .filter_map(told)
        .collect()
}

/// What `kubectl rollout status` waits for.
fn rolling(live: &Live) -> Vec<String> {
    let sets = live
        .objects
        .iter()
        .filter(|((kind, _), _)| matches!(kind, Kind::StatefulSet | Kind::Deployment));
    sets.filter_map(|((kind, name), set)| {
        let number = |pointer: &str| set.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
        let text = |pointer: &str| set.pointer(pointer).and_then(Value::as_str);
        let (wanted, updated) = (number("/spec/replicas"), number("/status/updatedReplicas"));
        let seen = number("/status/observedGeneration") >= number("/metadata/generation");
        // A Deployment has no revisions in its status. What is left to us is told by the roll.
        let rolled_out = *kind == Kind::StatefulSet
            && (is_on_delete(set) || text("/status/currentRevision") == text("/status/updateRevision"));
        (!seen || (!rolled_out && updated < wanted))
            .then(|| format!("{name} has {updated} of {wanted} pods up to date"))
    })
    .collect()
}

/// The members that the strategy's labels tell.
pub(crate) fn members(description: &Description, live: &Live) -> Vec<Member> {
    let has = |pod: &Pod, labels: &std::collections::BTreeMap<String, String>| {
        let own = pod.metadata.labels.as_ref();
        !labels.is_empty() && labels.iter().all(|(k, v)| own.and_then(|own| own.get(k)) == Some(v))
    };
    let role = |pod: &Pod| {
        let members = &description.members;
        [(Role::Primary, &members.primary), (Role::Replica, &members.replica)]
            .into_iter()
            .find_map(|(role, labels)| has(pod, labels).then_some(role))
    };
    let mut members: Vec<Member> = live
        .pods
        .iter()
        .filter_map(|pod| role(pod).map(|role| member(pod, role)))
        .collect();
    members.sort_by(|a, b| (a.role, a.name.len(), &a.name).cmp(&(b.role, b.name.len(), &b.name)));
    members
}

/// The members that were known, as their pods are now: for a resource whose spec can't be read any more.
#[cfg(feature = "steps")]
pub(crate) fn refresh(members: &[Member], live: &Live) -> Vec<Member> {
    let now = |old: &Member| {
        let pod = live
            .pods
            .iter()
            .find(|pod| pod.metadata.name.as_ref() == Some(&old.name));
        pod.map_or_else(
            || Member {
                ready: false,
                address: None,
                agent: None,
                older: false,
                message: Some("has no pod".to_owned()),
                ..old.clone()
            },
            |pod| Member {
                older: old.older,
                ..member(pod, old.role)
            },
        )
    };
    members.iter().map(now).collect()
}

fn member(pod: &Pod, role: Role) -> Member {
    let ready = is_ready(pod) && pod.metadata.deletion_timestamp.is_none();
    Member {
        name: pod.metadata.name.clone().unwrap_or_default(),
        role,
        ready,
        address: pod
            .status
            .as_ref()
            .and_then(|s| s.pod_ip.clone())
            .filter(|ip| !ip.is_empty()),
        agent: agent_image(pod).map(str::to_owned),
        older: false,
        message: if ready { None } else { trouble(pod) },
    }
}

/// How far a Job is, with the words of its pod. Pods and Jobs are watched apart: while a pod is not seen to have ended, the Job is not over.
pub fn job_state(live: &Live, name: &str) -> JobState {
    let Some(job) = live.get(Kind::Job, name) else {
        return JobState::Absent;
    };
    let time = |pointer: &str| {
        let text = job.pointer(pointer).and_then(Value::as_str)?;
        text.parse().ok().map(Time)
    };
    let started = time("/status/startTime").or_else(|| time("/metadata/creationTimestamp"));
    let mut pods: Vec<&Pod> = live.pods.iter().filter(|pod| is_of_job(pod, name)).collect();
    // Of several tries the last one tells.
    pods.sort_by_key(|pod| Reverse(pod.metadata.creation_timestamp.as_ref().map(|time| time.0)));
    match live.job_result(name).filter(|_| pods.iter().all(|pod| has_ended(pod))) {
        Some(true) => {
            let message = pods.iter().find_map(|pod| success_words(pod));
            JobState::Succeeded {
                message,
                started,
                finished: time("/status/completionTime"),
            }
        }
        Some(false) => {
            let failed = condition(job, "Failed");
            let field = |key: &str| failed.and_then(|c| c.get(key)).and_then(Value::as_str);
            let message = pods.iter().find_map(|pod| trouble(pod)).unwrap_or_else(|| {
                let why = field("message").unwrap_or("its pod is gone");
                format!("Job {name} failed: {why}")
            });
            let finished = field("lastTransitionTime").and_then(|text| text.parse().ok()).map(Time);
            JobState::Failed {
                message,
                started,
                finished,
            }
        }
        None => JobState::Running {
            waits: pods.iter().find_map(|pod| trouble(pod)),
            started,
        },
    }
}

fn condition<'a>(job: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = job.pointer("/status/conditions")?.as_array()?;
    conditions
        .iter()
        .find(|c| c.get("type").and_then(Value::as_str) == Some(kind))
}

fn is_of_job(pod: &Pod, job: &str) -> bool {
    pod.metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get("job-name"))
        .is_some_and(|name| name == job)
}

fn has_ended(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    let terminated = |c: &ContainerStatus| c.state.as_ref().is_some_and(|state| state.terminated.is_some());
    matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
        || (!containers.is_empty() && containers.iter().all(terminated))
}

fn success_words(pod: &Pod) -> Option<String> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find_map(|c| {
        c.state
            .as_ref()?
            .terminated
            .as_ref()
            .filter(|t| t.exit_code == 0)?
            .message
            .clone()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: &Value) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"name": "hippo-0", "labels": {"job-name": "hippo-restore-1"}}, "status": status}),
        )
        .unwrap()
    }

    #[test]
    fn of_several_tries_the_last_one_tells() {
        let mut live = Live::default();
        let job = json!({"status": {"conditions": [{"type": "Failed", "status": "True"}]}});
        live.objects.insert((Kind::Job, "hippo-restore-1".to_owned()), job);
        for (second, words) in [(1, "first"), (3, "last"), (2, "second")] {
            let mut pod = pod(
                &json!({"phase": "Failed", "containerStatuses": [{"name": "restore", "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "state": {"terminated": {"exitCode": 1, "message": words}}}]}),
            );
            let made = format!("2026-11-22T10:00:0{second}Z");
            pod.metadata.creation_timestamp = Some(Time(made.parse().unwrap()));
            live.pods.push(pod);
        }
        match job_state(&live, "hippo-restore-1") {
            JobState::Failed { message, .. } => assert_eq!(message, "last"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_failed_job_speaks_with_its_pods_words() {
        let mut live = Live::default();
        let job = json!({"status": {"conditions": [{"type": "Failed", "status": "True", "message": "BackoffLimitExceeded"}]}});
        live.objects.insert((Kind::Job, "hippo-restore-1".to_owned()), job);
        let message = |live: &Live| match job_state(live, "hippo-restore-1") {
            JobState::Failed { message, .. } => message,
            other => panic!("{other:?}"),
        };
        assert_eq!(message(&live), "Job hippo-restore-1 failed: BackoffLimitExceeded");
        live.pods.push(pod(&json!({"phase": "Running", "containerStatuses": [{"name": "restore", "image": "", "imageID": "", "ready": true,
            "restartCount": 0, "state": {"running": {}}}]})));
        let unseen = job_state(&live, "hippo-restore-1");
        assert!(
            matches!(unseen, JobState::Running { .. }),
            "its pod's end was not seen yet: {unseen:?}"
        );
        live.pods.clear();
        live.pods.push(pod(&json!({"containerStatuses": [{"name": "restore", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 1, "message": "claim c has no x"}}}]})));
        assert_eq!(message(&live), "claim c has no x");
        assert_eq!(job_state(&live, "other"), JobState::Absent);
    }
}
