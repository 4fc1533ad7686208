//! No panic and no line of level error in any log: of the sandbox with its controllers and its node, of the operator, of the servers.

use std::collections::{BTreeMap, BTreeSet};

/// What servers say when data is in danger. Their other errors are answers to clients; and a server that ended is seen by its container's restart.
const OF_SERVERS: [&str; 4] = [
    "PANIC:",
    "invalid page",
    "could not read block",
    "checksum verification failed",
];

/// Whose log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Text of `tracing_subscriber`, or JSON lines of the operator.
    Ours,
    /// `PostgreSQL`'s, and its agent's.
    Servers,
}

/// Lines that were told.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    told: BTreeSet<String>,
    /// Warnings of our programs, without what differs each time: how often.
    pub(crate) warnings: BTreeMap<String, u32>,
}

impl Lines {
    /// The lines of `text` that are wrong and new. Logs are read with some overlap.
    pub(crate) fn look(&mut self, of: &str, whose: Whose, text: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        for line in text.lines() {
            if is_wrong(whose, line) && self.told.insert(line.to_owned()) {
                wrong.push(format!("{of}: {line}"));
            } else if whose == Whose::Ours && level(line) == Some("WARN") {
                let message = message(line);
                *self.warnings.entry(format!("{of}: {message}")).or_default() += 1;
            }
        }
        wrong
    }
}

fn is_wrong(whose: Whose, line: &str) -> bool {
    match whose {
        Whose::Ours => level(line) == Some("ERROR") || line.contains("panicked at"),
        Whose::Servers => OF_SERVERS.iter().any(|words| line.contains(words)),
    }
}

/// The level of a line, text or JSON.
fn level(line: &str) -> Option<&str> {
    if line.starts_with('{') {
        let (_, rest) = line.split_once("\"level\":\"")?;
        return rest.split_once('"').map(|(level, _)| level);
    }
    line.split_whitespace().nth(1)
}

/// What is said, cut where the values begin.
fn message(line: &str) -> String {
    let text = match line.split_once("\"message\":\"") {
        Some((_, rest)) => rest.split_once('"').map_or(rest, |(message, _)| message),
        None => line.split_once(" WARN ").map_or(line, |(_, rest)| rest),
    };
    text.chars().take(70).filter(|c| !c.is_ascii_digit()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_panics_of_our_programs_are_seen_once() {
        let mut lines = Lines::default();
        let log = "2026-11-29T10:00:00.1Z  INFO pgop_sandbox: fine\n\
                   2026-11-29T10:00:00.2Z ERROR pgop_sandbox_node: not fine\n\
                   thread 'tokio-rt-worker' panicked at pgop-sandbox/node/src/container/probes.rs:90:9:\n\
                   {\"timestamp\":\"2026\",\"level\":\"ERROR\",\"message\":\"bad\"}\n\
                   {\"timestamp\":\"2026\",\"level\":\"WARN\",\"message\":\"odd 17\"}";
        assert_eq!(lines.look("sandbox", Whose::Ours, log).len(), 3);
        assert_eq!(lines.look("sandbox", Whose::Ours, log).len(), 0);
        assert_eq!(lines.warnings, BTreeMap::from([("sandbox: odd ".to_owned(), 2)]));
    }

    #[test]
    fn what_clients_are_told_by_a_server_is_no_finding() {
        let mut lines = Lines::default();
        let log = "FATAL:  terminating connection due to administrator command\nERROR:  relation does not exist\nPANIC:  could not write";
        assert_eq!(
            lines.look("hippo-0", Whose::Servers, log),
            ["hippo-0: PANIC:  could not write"]
        );
    }
}
