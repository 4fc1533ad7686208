//! What a container says at its end:
//! <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>.

use std::fs;
use std::path::Path;

use k8s_openapi::api::core::v1::Container;

const NOTE: usize = 4096;
const LOG: usize = 2048;
const LINES: usize = 80;

/// Its last words: what it wrote to its file, or else, where it asks for that and has failed, the end of its log.
pub(crate) fn message(container: &Container, note: &Path, log: &Path, code: i32) -> Option<String> {
    let note = fs::read(note).unwrap_or_default();
    if !note.is_empty() {
        return Some(String::from_utf8_lossy(note.get(..NOTE).unwrap_or(&note)).into_owned());
    }
    let from_log = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError") && code != 0;
    if !from_log {
        return None;
    }
    let text = fs::read(log).unwrap_or_default();
    Some(tail(&String::from_utf8_lossy(&text))).filter(|text| !text.is_empty())
}

/// The last lines of a log file, as they were written by the container.
fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).collect();
    let from = lines.len().saturating_sub(LINES);
    let mut text = lines
        .get(from..)
        .unwrap_or_default()
        .iter()
        .fold(String::new(), |text, line| text + line + "\n");
    if text.len() > LOG {
        let mut start = text.len() - LOG;
        while !text.is_char_boundary(start) {
            start += 1;
        }
        text.drain(..start);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::message;
    use serde_json::{from_value, json};
    use std::fs;

    #[test]
    fn the_file_comes_first_then_the_log_of_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let (note, log) = (folder.path().join("note"), folder.path().join("log"));
        let plain = from_value(json!({"name": "a"})).unwrap();
        let fallback = from_value(json!({"name": "a", "terminationMessagePolicy": "FallbackToLogsOnError"})).unwrap();
        let lines: Vec<_> = (0..100)
            .map(|n| format!("2026-11-22T10:00:00Z stdout F line {n}\n"))
            .collect();
        fs::write(&log, lines.concat()).unwrap();
        assert_eq!(message(&plain, &note, &log, 1), None);
        assert_eq!(message(&fallback, &note, &log, 0), None);
        let tail = message(&fallback, &note, &log, 1).unwrap();
        assert!(tail.starts_with("line 20\n") && tail.ends_with("line 99\n"), "{tail}");
        fs::write(&note, "because").unwrap();
        assert_eq!(message(&fallback, &note, &log, 1).as_deref(), Some("because"));
        fs::write(&note, "x".repeat(9000)).unwrap();
        assert_eq!(message(&plain, &note, &log, 0).unwrap().len(), 4096);
    }

    #[test]
    fn long_lines_are_cut_in_front() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        fs::write(&log, format!("2026-11-22T10:00:00Z stdout F {}\n", "ü".repeat(3000))).unwrap();
        let fallback = from_value(json!({"name": "a", "terminationMessagePolicy": "FallbackToLogsOnError"})).unwrap();
        assert!(message(&fallback, &folder.path().join("none"), &log, 1).unwrap().len() <= 2048);
    }
}
