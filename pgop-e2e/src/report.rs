//! What a person wants to know when a story failed.

use crate::api;
use crate::operator;

/// Prints resources, pods, events and the ends of the logs.
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
}
