//! What a person wants to know when a story failed.

use std::sync::{Mutex, Once, PoisonError};

use crate::api;
use crate::operator;

static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// From now on, the last panic is known: what it says is printed once more below all that explains it, where logs are cut from above.
pub fn remember_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner) = info.to_string();
            before(info);
        }));
    });
}

/// Prints resources, pods, events and the ends of the logs, and why at last.
pub fn print(namespace: &str) {
    eprintln!("=== what is in {namespace}");
    for kind in ["PgDatabase", "PgCluster", "PgBackup"] {
        for object in api::list(namespace, &api::pgop(kind), "").unwrap_or_default() {
            eprintln!(
                "--- {kind} {}: {}",
                api::text(&object, "/metadata/name"),
                object["status"]
            );
        }
    }
    let pods = api::list(namespace, &api::kind("v1", "Pod"), "").unwrap_or_default();
    for pod in &pods {
        let name = api::text(pod, "/metadata/name");
        eprintln!(
            "--- pod {name}: {} {}",
            api::text(pod, "/status/phase"),
            pod["status"]["containerStatuses"]
        );
        eprintln!("{}", api::logs(namespace, &name, Some(25)));
    }
    eprintln!("--- events");
    for event in api::list(namespace, &api::kind("events.k8s.io/v1", "Event"), "").unwrap_or_default() {
        let of = |pointer: &str| api::text(&event, pointer);
        eprintln!(
            "{} {} {}: {}",
            of("/regarding/kind"),
            of("/regarding/name"),
            of("/reason"),
            of("/note")
        );
    }
    for pod in operator::pods() {
        eprintln!("--- operator {pod}");
        let log = api::logs(operator::NAMESPACE, &pod, Some(400));
        let mine: Vec<&str> = log
            .lines()
            .filter(|line| line.contains(namespace) || !line.contains("\"INFO\""))
            .collect();
        eprintln!("{}", mine[mine.len().saturating_sub(40)..].join("\n"));
    }
    eprintln!("=== {}", LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner));
}
