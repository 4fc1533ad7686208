//! What is done to a backup while it is made.

use std::thread::sleep;
use std::time::Duration;

use pgop_e2e::{api, patiently};

use crate::kind::{Case, Kind, Moment};
use crate::run::{Made, Run};
use crate::small;

/// Fills a claim to the last byte.
const FILL: &str = "dd if=/dev/zero of=/claim/junk bs=1M 2>/dev/null || true";
const FREE: &str = "rm -f /claim/junk";

/// What has to be so before a backup is made. True: it was disturbed by that.
pub(crate) fn before(run: &Run<'_>, case: &Case) -> Result<bool, String> {
    match case.kind {
        Kind::Filled | Kind::StaysFull => {
            patiently("the snapshots on claim small to go", || {
                match run.shelves.count(small::SMALL) {
                    0 => Ok(()),
                    left => Err(format!("{left} are there")),
                }
            })?;
            let is_now = case.moment == Moment::AtOnce;
            if is_now {
                run.shelves.bash(small::SMALL, FILL)?;
            }
            Ok(is_now)
        }
        Kind::TooSmall => Ok(true),
        _ => Ok(false),
    }
}

/// Does it. True: it was done before the backup had ended.
pub(crate) fn carry_out(run: &Run<'_>, case: &Case, made: &Made) -> Result<bool, String> {
    if matches!(case.kind, Kind::Plain | Kind::SameSecond | Kind::TooSmall) {
        return Ok(true);
    }
    match case.moment {
        Moment::AtOnce if case.kind != Kind::AgentKilled => {}
        Moment::AtOnce => wait_until_copying(run, made)?,
        Moment::Copying(after) => {
            wait_until_copying(run, made)?;
            sleep(Duration::from_millis(after));
        }
    }
    let (namespace, pods) = (run.space.name(), api::kind("v1", "Pod"));
    let primary = format!("{}-0", made.source.name);
    match case.kind {
        Kind::SourceKilled => run.space.kill_postmaster(&primary)?,
        Kind::SourceDeleted => api::delete(namespace, &pods, &primary, true),
        Kind::SourceRestarted => api::delete(namespace, &pods, &primary, false),
        Kind::PodDeleted => match run.job_pod(made)? {
            Some(pod) => api::delete(namespace, &pods, &pod, case.now),
            None => return Ok(false),
        },
        Kind::AgentKilled => match run.job_pod(made)? {
            Some(pod) => return run.killer.end("pgop-agent", &pod).map(|killed| killed > 0),
            None => return Ok(false),
        },
        Kind::JobDeleted => api::delete(namespace, &api::kind("batch/v1", "Job"), &made.name, false),
        // Before the last thing was written: what comes later may well succeed.
        Kind::Filled | Kind::StaysFull if case.moment != Moment::AtOnce => {
            let copy = partial(made);
            // The manifest is written last; what is left then is to read.
            let script =
                format!("{FILL}; [ -d '/claim/{copy}' ] && [ ! -e '/claim/{copy}/backup_manifest' ] || echo late");
            return Ok(run.shelves.bash(made.claim, &script)?.trim() != "late");
        }
        Kind::Plain | Kind::SameSecond | Kind::TooSmall | Kind::Filled | Kind::StaysFull => {}
        Kind::NameTaken => return plant(run, made, "mkdir /claim/.plant; echo mine >/claim/.plant/keep"),
        Kind::LabelForged => {
            let like = run.first(made.source.name)?;
            let script = format!(
                "cp -a '/claim/{like}' /claim/.plant; sed -i 's/^LABEL: .*/LABEL: pgop {} 15.18/' /claim/.plant/backup_label",
                made.uid
            );
            return plant(run, made, &script);
        }
    }
    Ok(!run.has_ended(made))
}

/// Gives what a script makes the name of the snapshot, if nothing has it.
fn plant(run: &Run<'_>, made: &Made, script: &str) -> Result<bool, String> {
    let script = format!(
        "rm -rf /claim/.plant; {script}; mv -nT /claim/.plant '/claim/{}'; [ ! -e /claim/.plant ] || {{ rm -r /claim/.plant; echo late; }}",
        made.path
    );
    Ok(run.shelves.bash(made.claim, &script)?.trim() != "late")
}

/// What has to be undone while the backup waits for it.
pub(crate) fn meanwhile(run: &Run<'_>, case: &Case, made: &Made) -> Result<(), String> {
    if case.kind != Kind::Filled {
        return Ok(());
    }
    patiently(&format!("{} to tell that it waits for room", made.name), || {
        if run.has_ended(made) || run.job_logs(made).contains("waiting: ") {
            return Ok(());
        }
        Err(run.job_logs(made))
    })?;
    run.shelves.bash(made.claim, FREE).map(drop)
}

/// Undoes what is left of it. What was in the way of a backup is untouched.
pub(crate) fn after(run: &Run<'_>, case: &Case, made: &Made, is_disturbed: bool) -> Result<(), String> {
    match case.kind {
        Kind::StaysFull => run.shelves.bash(made.claim, FREE).map(drop),
        Kind::NameTaken | Kind::LabelForged if is_disturbed => {
            let file = if case.kind == Kind::NameTaken {
                "keep"
            } else {
                "backup_manifest"
            };
            let script = format!("cd '/claim/{}'; ls {file}; rm -r '/claim/{}'", made.path, made.path);
            run.shelves.bash(made.claim, &script).map(drop)
        }
        _ => Ok(()),
    }
}

/// Path of the unfinished snapshot.
fn partial(made: &Made) -> String {
    let folder = made.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{folder}/.partial-{}/data", made.uid)
}

/// Until something of the copy is there, or the backup has ended.
fn wait_until_copying(run: &Run<'_>, made: &Made) -> Result<(), String> {
    let script = format!("[ ! -d '/claim/{}/base' ] || echo yes", partial(made));
    patiently(&format!("{} to copy", made.name), || {
        if run.shelves.bash(made.claim, &script)?.trim() == "yes" || run.has_ended(made) {
            return Ok(());
        }
        Err(run.status(made))
    })
}
