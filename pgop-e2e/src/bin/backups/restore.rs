//! A snapshot becomes a server, by the product, which is asked what it has, and goes again.

use pgop_e2e::acknowledged::{self, Found};
use pgop_e2e::{Space, pgo};

/// What a server has that is made of a snapshot.
pub(crate) fn restore(space: &Space, name: &str, claim: &str, path: &str, up_to: u64) -> Result<Found, String> {
    let run = |words: &[&str]| {
        let all = [&["-n", space.name()], words, &["--wait", "--timeout", "15m"]].concat();
        let done = pgo::pgo(&all);
        if done.code == 0 { Ok(()) } else { Err(done.to_string()) }
    };
    let (claim, path) = (format!("--backup-pvc={claim}"), format!("--backup-path={path}"));
    run(&["create", "database", name, &claim, &path])?;
    let found = acknowledged::ask(space, &format!("{name}-0"), up_to)?;
    run(&["delete", "database", name, "--yes"])?;
    space.leave_nothing(name)?;
    Ok(found)
}
