//! How much memory there is for a server.

use std::fs;
use std::path::Path;

/// Bytes that a process here may have at most: what the machine has, or less where the container is limited. Nothing where nobody tells.
pub fn limit() -> Option<u64> {
    let of_machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| line(&text, "MemTotal"));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let of_groups = limit_files(&groups).into_iter().filter_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        // `max`: none of its own.
        text.trim().parse().ok()
    });
    of_groups.chain(of_machine).min()
}

/// Huge pages of this size, in bytes, that the machine has; 0 for its usual size.
pub fn huge_pages(bytes: u64) -> u64 {
    let usual = || {
        fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| line(&text, "Hugepagesize"))
    };
    let bytes = if bytes == 0 { usual().unwrap_or(0) } else { bytes };
    let file = Path::new("/sys/kernel/mm/hugepages").join(format!("hugepages-{}kB/nr_hugepages", bytes >> 10));
    let count = fs::read_to_string(file).ok();
    count.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Bytes that a line of `/proc/meminfo` tells.
fn line(text: &str, name: &str) -> Option<u64> {
    let kilobytes = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    kilobytes
        .trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

/// Where the kernel tells the limits of the groups that a process is in, and of those around them: a container sees its own as the root.
/// <https://docs.kernel.org/admin-guide/cgroup-v2.html>
fn limit_files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for group in groups.lines() {
        let mut fields = group.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let around = Path::new(path).ancestors();
        files.extend(around.map(|path| format!("{root}{}/{file}", path.display().to_string().trim_end_matches('/'))));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_tells_kilobytes() {
        let text = "MemTotal:       24683920 kB\nMemFree:        17288428 kB\nHugepagesize:       2048 kB\n";
        assert_eq!(line(text, "MemTotal"), Some(24_683_920 << 10));
        assert_eq!(line(text, "Hugepagesize"), Some(2 << 20));
        assert_eq!(line(text, "Mem"), None);
    }

    #[test]
    fn limits_are_found_in_both_versions_of_groups() {
        assert_eq!(
            limit_files("0::/kubepods/pod1\n"),
            [
                "/sys/fs/cgroup/kubepods/pod1/memory.max",
                "/sys/fs/cgroup/kubepods/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(
            limit_files("9:name=systemd:/\n4:memory:/a\n3:cpu,cpuacct:/b\n"),
            [
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
        assert!(limit_files("").is_empty());
    }

    #[test]
    fn this_machine_has_some() {
        assert!(limit().is_some_and(|bytes| bytes > 1 << 26));
        assert_eq!(huge_pages(3 << 10), 0, "there is no such size");
    }
}
