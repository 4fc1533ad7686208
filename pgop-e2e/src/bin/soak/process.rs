//! Processes of this machine, from /proc.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What one process uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) resident_mib: f64,
    pub(crate) threads: f64,
    pub(crate) descriptors: f64,
}

/// Of that process, while it lives.
pub(crate) fn usage(pid: u32) -> Option<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let number = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let descriptors = u32::try_from(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count()).ok()?;
    Some(Usage {
        resident_mib: number("VmRSS:")? / 1024.0,
        threads: number("Threads:")?,
        descriptors: f64::from(descriptors),
    })
}

/// A process below another.
#[derive(Clone, Debug)]
pub(crate) struct Below {
    pub(crate) pid: u32,
    pub(crate) name: String,
    /// It has ended, and nobody has asked how.
    pub(crate) is_zombie: bool,
}

/// All processes below `root`.
pub(crate) fn below(root: u32) -> Vec<Below> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut children: BTreeMap<u32, Vec<Below>> = BTreeMap::new();
    for pid in pids {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        if let Some((parent, process)) = parse(pid, &stat) {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(parent) = open.pop() {
        let own = children.remove(&parent).unwrap_or_default();
        open.extend(own.iter().map(|process| process.pid));
        found.extend(own);
    }
    found
}

/// `pid (name) state parent …`; a name may hold blanks and parentheses.
fn parse(pid: u32, stat: &str) -> Option<(u32, Below)> {
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let mut rest = rest.split_whitespace();
    let is_zombie = rest.next()? == "Z";
    let parent = rest.next()?.parse().ok()?;
    let name = name.to_owned();
    Some((parent, Below { pid, name, is_zombie }))
}

/// How much is in a folder or a file, in MiB, and how many files.
pub(crate) fn size(path: &Path) -> (f64, u32) {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return (0.0, 0);
    };
    if !metadata.is_dir() {
        #[allow(clippy::cast_precision_loss)] // bytes of files
        return (metadata.len() as f64 / f64::from(1 << 20), 1);
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.fold((0.0, 0), |(mib, files), entry| {
        let (more, others) = size(&entry.path());
        (mib + more, files + others)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_anything() {
        let (parent, process) = parse(7, "7 (a (b) Z 1) S 42 7 7 0").unwrap();
        assert_eq!(
            (parent, process.name.as_str(), process.is_zombie),
            (42, "a (b) Z 1", false)
        );
    }

    #[test]
    fn this_process_uses_something() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.resident_mib > 0.5 && usage.threads > 0.5 && usage.descriptors > 2.0);
    }
}
