//! A restore is asked for when a resource is made, and is done once.

use serde_json::Value;

use super::before::Before;
use super::storage::check_claim;
use crate::crd::Restore;
use crate::invalid::Invalid;
use crate::kind::Kind;
use crate::name;
use crate::observed::{Live, Observed, controller_uid};
use crate::validated::RestoreFrom;

const FIELD: &str = "spec.restore";

/// The restore that is still to be done. One that was done is not done again, and its claim may be gone.
pub(super) fn check_restore(
    asked: Option<&Restore>,
    before: &Before<'_>,
    observed: &Observed,
    invalid: &mut Vec<Invalid>,
) -> Option<Restore> {
    if let Some(done) = before.status.and_then(|status| status.restored_from.as_ref()) {
        if let Some(asked) = asked.filter(|asked| *asked != done) {
            let problem = format!(
                "names {}, and the data was restored from {}",
                snapshot(asked),
                snapshot(done)
            );
            let mend = "set it back or leave it out, or create a new resource to restore that snapshot";
            invalid.push(Invalid::change(FIELD, problem, mend));
        }
        return None;
    }
    if let Some(under_way) = before.accepted.as_ref().and_then(|accepted| accepted.restore.as_ref()) {
        check_under_way(under_way, asked, observed, invalid);
        return Some(under_way.clone());
    }
    // The status is written after the Job is made, so it may know nothing of it.
    let job = job_of(before, &observed.live);
    let Some(asked) = asked else {
        if let Some(job) = job.filter(|_| before.accepted.is_none()) {
            let problem = format!(
                "was removed while Job {job} restores a snapshot, and an empty database would be served in its place"
            );
            invalid.push(Invalid::change(FIELD, problem, "put it back, or delete this resource"));
        }
        return None;
    };
    let is_new = before.accepted.is_none() && !before.has_served();
    if !is_new && job != Some(name::restore_job(before.name(), &asked.claim, &asked.path)) {
        let problem = "was added to a resource that was made without it, and a snapshot never replaces data";
        let mend = "leave it out, and create a new resource to restore that snapshot";
        invalid.push(Invalid::change(FIELD, problem, mend));
        return None;
    }
    check_claim("spec.restore.claim", &asked.claim, observed, invalid);
    if let Err(problem) = name::check_snapshot_path(&asked.path) {
        let mend = "give a path as `pgo show backup` prints it";
        invalid.push(Invalid::change("spec.restore.path", problem, mend));
    }
    Some(asked.clone())
}

/// Nothing that was asked to be restored is ever served empty, and no second Job writes where one may still do.
fn check_under_way(under_way: &Restore, asked: Option<&Restore>, observed: &Observed, invalid: &mut Vec<Invalid>) {
    let of = snapshot(under_way);
    match asked {
        Some(asked) if asked == under_way => check_claim("spec.restore.claim", &asked.claim, observed, invalid),
        Some(asked) => invalid.push(Invalid::change(
            FIELD,
            format!("names {}, and the restore of {of} is not done", snapshot(asked)),
            "set it back, or delete this resource and create it with the other snapshot",
        )),
        None => invalid.push(Invalid::change(
            FIELD,
            format!("was removed before {of} was restored, and an empty database would be served in its place"),
            "put it back, or delete this resource and create it without a restore",
        )),
    }
}

/// What strategies are told of it.
pub(super) fn job(server: &str, restore: Restore) -> RestoreFrom {
    RestoreFrom {
        job: name::restore_job(server, &restore.claim, &restore.path),
        claim: restore.claim,
        path: restore.path,
    }
}

/// A Job of this very resource that restores a snapshot.
fn job_of(before: &Before<'_>, live: &Live) -> Option<String> {
    let uid = before.meta.uid.as_deref()?;
    let is_own = |job: &Value| controller_uid(job) == Some(uid);
    let mut jobs = live.objects.iter().filter(|((kind, _), _)| *kind == Kind::Job);
    let found = jobs.find(|((_, job), value)| name::is_restore_job(before.name(), job) && is_own(value));
    found.map(|((_, job), _)| job.clone())
}

fn snapshot(restore: &Restore) -> String {
    format!("{} of claim {}", restore.path, restore.claim)
}
