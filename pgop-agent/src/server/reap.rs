//! As process 1 of a container the agent is the parent of whoever lost their own: sessions of a server that was killed, what `kubectl exec` has left.
//! Nobody else would take in their end, and the container's process numbers would run out.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// Takes in the end of those who were started by others. Whom the agent starts stays in its process group, and is waited for where it was started.
pub fn reap() {
    // One call tells that there is nobody, which is usual.
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    if !matches!(waitid(WaitId::All, look), Ok(Some(_))) {
        return;
    }
    let stat = |process: &Path| fs::read_to_string(process.join("stat")).unwrap_or_default();
    let Some(ours) = Process::read(&stat(Path::new("/proc/self"))) else {
        return;
    };
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let ended = Process::read(&stat(&entry.path())).filter(|process| ours.has_adopted(process));
        if let Some(pid) = ended.and_then(|process| Pid::from_raw(process.pid)) {
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
    }
}

/// As `/proc/PID/stat` has it: <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>.
struct Process {
    pid: i32,
    has_ended: bool,
    parent: i32,
    /// 0 where its first process is outside of the container.
    group: i32,
}

impl Process {
    fn read(stat: &str) -> Option<Self> {
        // The name, in brackets, may hold anything.
        let (begin, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        Some(Self {
            pid: begin.split(' ').next()?.parse().ok()?,
            has_ended: fields.next()? == "Z",
            parent: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
        })
    }

    /// Whether another has ended that is its child and was started by somebody else.
    fn has_adopted(&self, other: &Self) -> bool {
        other.has_ended && other.parent == self.pid && other.group != self.group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_ended_and_was_started_by_others_is_taken_in() {
        let agent = Process::read("1 (pgop-agent) S 0 0 0 0 -1").unwrap();
        let is = |stat| {
            Process::read(stat)
                .filter(|process| agent.has_adopted(process))
                .map(|found| found.pid)
        };
        assert_eq!(is("30 (postgres) Z 1 30 30 0 -1"), Some(30));
        assert_eq!(is("31 (a) Z 9) Z 1 31 31 0 -1"), Some(31));
        assert_eq!(is("32 (postgres) S 1 32 32 0 -1"), None, "it lives");
        assert_eq!(is("33 (initdb) Z 1 0 0 0 -1"), None, "the agent waits for it");
        assert_eq!(is("34 (postgres) Z 20 34 34 0 -1"), None, "another's");
        assert_eq!(is(""), None);
    }
}
