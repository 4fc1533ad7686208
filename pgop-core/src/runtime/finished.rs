//! What becomes of the Job of a backup that is over: its result is in the status, and its log is of use for a while.
//!
//! Kubernetes deletes a Job and its pods when its `ttlSecondsAfterFinished` is over, whether or not anybody has read what they told. So it is set here, of
//! a resource whose status holds the result, and by no template.

use kube::Client;
use kube::api::Patch;
use serde_json::{Value, json};

use super::cluster::{CallError, api, as_manager, call, gone};
use crate::kind::Kind;
use crate::observed::Live;
use crate::owner::Owner;

/// For how long somebody may want to read the log of a Job: from one night to the next.
const KEPT_SECONDS: i64 = 86_400;

/// Name and uid of each Job of the resource that would stay for as long as the resource does. Pure.
fn lasting(owner: &Owner, live: &Live) -> Vec<(String, String)> {
    let own = live.own(&owner.uid);
    let jobs = own.objects.iter().filter(|((kind, _), _)| *kind == Kind::Job);
    let lasting = jobs.filter(|(_, job)| {
        let at = |pointer: &str| job.pointer(pointer).is_some_and(|at| !at.is_null());
        !at("/spec/ttlSecondsAfterFinished") && !at("/metadata/deletionTimestamp")
    });
    lasting
        .filter_map(|((_, name), job)| {
            let uid = job.pointer("/metadata/uid").and_then(Value::as_str)?;
            Some((name.clone(), uid.to_owned()))
        })
        .collect()
}

/// Lets Kubernetes delete the Jobs of a resource that is over. The error has the name of the Job.
pub(crate) async fn let_go(client: &Client, owner: &Owner, live: &Live) -> Result<(), (String, CallError)> {
    for (name, uid) in lasting(owner, live) {
        let change = json!({"metadata": {"uid": uid}, "spec": {"ttlSecondsAfterFinished": KEPT_SECONDS}});
        let jobs = api(client, Kind::Job, &owner.namespace);
        let told = call(jobs.patch(&name, &as_manager(), &Patch::Merge(change))).await;
        gone(told.map(drop)).map_err(|error| (name, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::ResourceKind;

    #[test]
    fn only_own_jobs_that_would_stay_are_told_to_go() {
        let owner = Owner {
            kind: ResourceKind::PgBackup,
            name: "copy".into(),
            namespace: "shop".into(),
            uid: "u1".into(),
        };
        let mut live = Live::default();
        let owners = |uid: &str| json!([{"uid": uid, "controller": true, "kind": "PgBackup", "name": "copy"}]);
        for (name, of, spec, gone) in [
            ("copy", "u1", json!({}), Value::Null),
            ("former", "u0", json!({}), Value::Null),
            ("told", "u1", json!({"ttlSecondsAfterFinished": 60}), Value::Null),
            ("going", "u1", json!({}), json!("2026-11-30T07:00:00Z")),
        ] {
            let meta = json!({"name": name, "uid": format!("of-{name}"), "ownerReferences": owners(of), "deletionTimestamp": gone});
            let job = json!({"metadata": meta, "spec": spec});
            live.objects.insert((Kind::Job, name.to_owned()), job);
        }
        let claim = json!({"metadata": {"name": "c", "uid": "c", "ownerReferences": owners("u1")}});
        live.objects
            .insert((Kind::PersistentVolumeClaim, "c".to_owned()), claim);
        assert_eq!(lasting(&owner, &live), [("copy".to_owned(), "of-copy".to_owned())]);
    }
}
