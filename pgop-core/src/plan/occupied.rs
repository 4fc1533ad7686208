//! Claims that somebody may still write to who is about to go: nobody else may mount them meanwhile. An access mode does not see to that, as
//! `ReadWriteOnce` lets two pods of one node write.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use crate::kind::Kind;
use crate::manifest::Manifest;
use crate::observed::{Live, controller_uid};
use crate::pod::claims_of;

/// The claims of workloads and pods that are about to go.
#[derive(Debug, Default)]
pub(super) struct Occupied(Vec<Occupant>);

#[derive(Debug)]
struct Occupant {
    claims: BTreeSet<String>,
    /// Who it is, for people.
    title: String,
    /// The `StatefulSet` whose pod it is: a new one of that name can't have a pod of that name before this one is gone.
    stateful_set: Option<String>,
}

impl Occupied {
    /// Looks through the workloads of one resource (`own`), and all pods and Jobs that carry its labels (`live`); `wanted` are the objects that
    /// stay.
    pub(super) fn of(own: &Live, live: &Live, wanted: &BTreeSet<(Kind, String)>) -> Self {
        let is_going = |(key, workload): &(&(Kind, String), &Value)| {
            let is_over = key.0 == Kind::Job && own.job_result(&key.1).is_some();
            !is_over && (!wanted.contains(*key) || workload.pointer("/metadata/deletionTimestamp").is_some())
        };
        let going = own.objects.iter().filter(is_going);
        let workloads = going.map(|((kind, name), workload)| Occupant {
            claims: mounted(workload),
            title: format!("{kind} {name}"),
            stateful_set: (*kind == Kind::StatefulSet).then(|| name.clone()),
        });
        let staying = staying(own, live, wanted);
        let pods = live.pods.iter().filter(|pod| !has_ended(pod));
        let pods = pods.filter_map(|pod| occupant(pod, &staying, wanted));
        Self(
            workloads
                .chain(pods)
                .filter(|occupant| !occupant.claims.is_empty())
                .collect(),
        )
    }

    /// For whom a workload has to wait; `existing` is what there is of it, whose claims it mounts already.
    pub(super) fn holds(&self, manifest: &Manifest, existing: Option<&Value>) -> Option<String> {
        let has = existing.map(mounted).unwrap_or_default();
        let mut new: BTreeSet<String> = mounted(manifest.value());
        new.retain(|claim| !has.contains(claim));
        let is_itself = |occupant: &Occupant| {
            manifest.kind() == Kind::StatefulSet && occupant.stateful_set.as_deref() == Some(manifest.name())
        };
        let mut others = self.0.iter().filter(|occupant| !is_itself(occupant));
        others.find_map(|other| {
            let claim = other.claims.intersection(&new).next()?;
            Some(format!("claim {claim} is still mounted by {}, which goes", other.title))
        })
    }
}

/// Uids of the workloads that stay, and of the Jobs that a `CronJob` among them made.
fn staying<'a>(own: &'a Live, live: &'a Live, wanted: &BTreeSet<(Kind, String)>) -> BTreeSet<&'a str> {
    let uid = |value: &'a Value| value.pointer("/metadata/uid")?.as_str();
    let stay = own.objects.iter().filter(|(key, _)| wanted.contains(*key));
    let mut uids: BTreeSet<&str> = stay.filter_map(|(_, workload)| uid(workload)).collect();
    let jobs = live.objects.iter().filter(|((kind, _), _)| *kind == Kind::Job);
    let made = jobs.filter(|(_, job)| controller_uid(job).is_some_and(|uid| uids.contains(uid)));
    let made: Vec<&str> = made.filter_map(|(_, job)| uid(job)).collect();
    uids.extend(made);
    uids
}

/// A pod that no workload which stays looks after. One that nobody controls is taken over by the workload that selects it.
fn occupant(pod: &Pod, staying: &BTreeSet<&str>, wanted: &BTreeSet<(Kind, String)>) -> Option<Occupant> {
    let mut owners = pod.metadata.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.controller == Some(true))?;
    // A Deployment's pods belong to its ReplicaSets, `<name>-<hash>`, which nobody watches.
    let deployment = owner.name.rsplit_once('-').filter(|_| owner.kind == "ReplicaSet");
    let is_wanted = |(name, _)| {
        wanted
            .iter()
            .any(|(kind, it)| kind.as_str() == "Deployment" && it == name)
    };
    if staying.contains(owner.uid.as_str()) || deployment.is_some_and(is_wanted) {
        return None;
    }
    Some(Occupant {
        claims: claims_of(pod).map(str::to_owned).collect(),
        title: format!("pod {}", pod.metadata.name.as_deref().unwrap_or_default()),
        stateful_set: (owner.kind == "StatefulSet").then(|| owner.name.clone()),
    })
}

/// Names of the claims that the pods of a workload mount.
fn mounted(workload: &Value) -> BTreeSet<String> {
    let list = |pointer: &str| {
        workload
            .pointer(pointer)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let text = |value: &Value, pointer: &str| Some(value.pointer(pointer)?.as_str()?.to_owned());
    let templates = [
        "/spec/template/spec/volumes",
        "/spec/jobTemplate/spec/template/spec/volumes",
    ];
    let volumes = templates.into_iter().flat_map(list);
    let mut claims: BTreeSet<String> = volumes
        .filter_map(|volume| text(volume, "/persistentVolumeClaim/claimName"))
        .collect();
    let name = text(workload, "/metadata/name").unwrap_or_default();
    let replicas = workload.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
    for template in list("/spec/volumeClaimTemplates").filter_map(|claim| text(claim, "/metadata/name")) {
        claims.extend((0..replicas).map(|ordinal| format!("{template}-{name}-{ordinal}")));
    }
    claims
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
