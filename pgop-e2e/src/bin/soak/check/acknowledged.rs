//! Every acknowledged write is there, on each server, and nothing but writes.

use pgop_e2e::acknowledged::ask;
use pgop_e2e::writer::Progress;
use pgop_e2e::{Space, patiently};

use crate::state::Server;

/// The primary has all acknowledged numbers now, and each replica has them soon.
pub(crate) fn check(space: &Space, server: &Server, progress: Progress) -> Result<(), String> {
    let up_to = progress.acknowledged;
    for (i, pod) in server.pods().iter().enumerate() {
        let found = patiently(&format!("{pod} to have {up_to} numbers"), || {
            let found = ask(space, pod, up_to)?;
            let is_replica = i > 0;
            if is_replica && found.up_to < up_to {
                return Err(format!("it has {}", found.up_to)); // what it streams comes later
            }
            Ok(found)
        })?;
        if found.up_to != up_to || !found.is_whole() {
            return Err(format!(
                "{pod} does not have what was acknowledged, up to {up_to}: {found:?}"
            ));
        }
    }
    Ok(())
}
