//! The tree of a database or cluster. Pure.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use pgop_core::crd::DeletionPolicy;
use pgop_core::name::{replication_secret, superuser_secret, user_secret};

use super::facts::{Facts, Read, role};
use crate::claim::remark;
use crate::output::age;
use crate::screen::Style;
use crate::tree::Tree;
use crate::wait::older;

/// The tree.
pub fn tree(facts: &Facts, with_namespace: bool, now: Timestamp) -> Tree {
    let mut root = root(facts, with_namespace);
    branches(&mut root, "statefulsets", &facts.sets, |root, set| {
        root.push(statefulset(set));
    });
    branches(&mut root, "pods", &facts.pods, |root, one| root.push(pod(one, facts)));
    branches(&mut root, "services", &facts.services, |root, one| {
        root.push(service(one));
    });
    branches(&mut root, "claims", &facts.claims, |root, one| {
        root.push(claim(one, &facts.owner.uid));
    });
    branches(&mut root, "secrets", &facts.secrets, |root, name| {
        root.push(secret(name, facts));
    });
    agents(&mut root, facts);
    settings(&mut root, facts);
    last_backup(&mut root, facts, now);
    restored(&mut root, facts);
    conditions(&mut root, facts);
    root
}

fn root(facts: &Facts, with_namespace: bool) -> Tree {
    let phase = match (&facts.status.phase, facts.deleting, facts.unseen) {
        (_, true, _) => "being deleted".to_owned(),
        (Some(phase), _, false) => phase.clone(),
        (Some(phase), _, true) => format!("{phase}, and the last change was not seen by the operator yet"),
        (None, ..) => "not seen by the operator yet".to_owned(),
    };
    let style = match phase.as_str() {
        "Ready" => Style::Good,
        "Invalid" | "Failed" => Style::Bad,
        _ => Style::Warn,
    };
    let place = if with_namespace {
        format!("{}/", facts.owner.namespace)
    } else {
        String::new()
    };
    Tree::styled(
        format!(
            "{} : {place}{} ({phase})",
            facts.owner.kind.component(),
            facts.owner.name
        ),
        style,
    )
}

/// One line each, or why there is none.
fn branches<T>(root: &mut Tree, what: &str, read: &Read<Vec<T>>, draw: impl Fn(&mut Tree, &T)) {
    match read {
        Ok(all) => all.iter().for_each(|one| draw(root, one)),
        Err(problem) => root.push(Tree::styled(format!("{what} : ? ({problem})"), Style::Warn)),
    }
}

fn text(value: Option<&String>) -> &str {
    value.map_or("?", String::as_str)
}

fn statefulset(set: &StatefulSet) -> Tree {
    let status = set.status.clone().unwrap_or_default();
    let (ready, wanted) = (status.ready_replicas.unwrap_or(0), set.spec.replicas.unwrap_or(1));
    let style = if ready == wanted { Style::Plain } else { Style::Warn };
    Tree::styled(
        format!(
            "statefulset : {} ({ready}/{wanted} ready)",
            text(set.metadata.name.as_ref())
        ),
        style,
    )
}

fn pod(pod: &Pod, facts: &Facts) -> Tree {
    let name = text(pod.metadata.name.as_ref());
    let role = role(pod).unwrap_or("?");
    let status = pod.status.clone().unwrap_or_default();
    let is_true = |kind: &str| {
        status
            .conditions
            .iter()
            .flatten()
            .any(|c| c.type_ == kind && c.status == "True")
    };
    let ready = is_true("Ready");
    let mut words = vec![role.to_owned()];
    words.push(match (ready, status.phase.as_deref()) {
        (true, _) => "ready".to_owned(),
        (false, Some("Running")) => "not ready".to_owned(),
        (false, phase) => phase.unwrap_or("unknown").to_owned(),
    });
    match (role, &facts.primary) {
        ("replica", Some(Ok(primary))) => words.push(primary.lag_of(name)),
        ("replica", _) => words.push("lag unknown".to_owned()),
        _ => {}
    }
    words.extend(status.pod_ip.clone());
    let restarts: i32 = status
        .container_statuses
        .iter()
        .flatten()
        .map(|c| c.restart_count)
        .sum();
    if restarts > 0 {
        words.push(format!("{restarts} restart{}", if restarts == 1 { "" } else { "s" }));
    }
    let mut line = Tree::styled(
        format!("pod : {name} ({})", words.join(", ")),
        if ready { Style::Plain } else { Style::Warn },
    );
    // Why it is not ready, as the operator read it from the kubelet or the supervisor.
    let message = facts
        .status
        .members
        .iter()
        .find(|m| m.name == name && !m.ready)
        .and_then(|m| m.message.clone());
    if let Some(message) = message.filter(|_| !ready) {
        line.push(Tree::styled(message, Style::Warn));
    }
    line
}

fn service(service: &Service) -> Tree {
    let spec = service.spec.clone().unwrap_or_default();
    let port = spec.ports.iter().flatten().next().map_or(0, |port| port.port);
    let address = match spec.cluster_ip.as_deref() {
        Some("None") => "headless".to_owned(),
        Some(ip) if ip.contains(':') => format!("[{ip}]:{port}"),
        Some(ip) => format!("{ip}:{port}"),
        None => "no address yet".to_owned(),
    };
    Tree::new(format!(
        "service : {} ({address})",
        text(service.metadata.name.as_ref())
    ))
}

fn claim(claim: &PersistentVolumeClaim, uid: &str) -> Tree {
    let status = claim.status.clone().unwrap_or_default();
    let phase = status.phase.unwrap_or_else(|| "unknown".to_owned());
    let asked = claim
        .spec
        .as_ref()
        .and_then(|s| s.resources.as_ref()?.requests.as_ref()?.get("storage").cloned());
    let has = status.capacity.as_ref().and_then(|c| c.get("storage").cloned());
    let size = match (&has, &asked) {
        (Some(has), Some(asked)) if has.0 != asked.0 && grows(&has.0, &asked.0) => {
            format!("{}, growing to {}", has.0, asked.0)
        }
        (Some(has), _) => has.0.clone(),
        (None, Some(asked)) => asked.0.clone(),
        (None, None) => "?".to_owned(),
    };
    let remark = remark(claim, Some(uid));
    let style = if phase == "Bound" && remark.is_none() {
        Style::Plain
    } else {
        Style::Warn
    };
    let words: Vec<String> = [size, phase].into_iter().chain(remark).collect();
    Tree::styled(
        format!("claim : {} ({})", text(claim.metadata.name.as_ref()), words.join(", ")),
        style,
    )
}

/// A Secret and what it is for. Where the spec names another, the generated one stays behind with a password that may not log in.
fn secret(name: &str, facts: &Facts) -> Tree {
    let (given, owner) = (&facts.spec.credentials, &facts.owner.name);
    let roles = [
        (&given.user, user_secret(owner), "user", "for applications"),
        (
            &given.superuser,
            superuser_secret(owner),
            "superuser",
            "for the superuser",
        ),
        (
            &given.replication,
            replication_secret(owner),
            "replication",
            "for replicas and backups",
        ),
    ];
    let used: Vec<&str> = roles
        .iter()
        .filter(|(given, own, ..)| given.as_deref().unwrap_or(own) == name)
        .map(|(.., purpose)| *purpose)
        .collect();
    if !used.is_empty() {
        return Tree::new(format!("secret : {name} ({})", used.join(", ")));
    }
    let replaced = roles
        .iter()
        .find_map(|(given, own, field, _)| given.as_ref().filter(|_| own == name).map(|other| (*field, other)));
    match replaced {
        Some((field, other)) => Tree::styled(
            format!("secret : {name} (not in use: spec.credentials.{field} names {other})"),
            Style::Warn,
        ),
        None => Tree::new(format!("secret : {name}")),
    }
}

fn grows(has: &str, asked: &str) -> bool {
    pgop_core::quantity::milli(has) < pgop_core::quantity::milli(asked)
}

/// Which agent each server runs, and which servers another version of pgop made.
fn agents(root: &mut Tree, facts: &Facts) {
    let members = &facts.status.members;
    let mut images: Vec<&String> = members.iter().filter_map(|member| member.agent.as_ref()).collect();
    images.sort();
    images.dedup();
    for image in images {
        let with = members.iter().filter(|member| member.agent.as_ref() == Some(image));
        let names: Vec<&str> = with.map(|member| member.name.as_str()).collect();
        root.push(format!("agent : {image} ({})", names.join(", ")));
    }
    let older = older(&facts.status).join(", ");
    if !older.is_empty() {
        let name = &facts.owner.name;
        root.push(Tree::styled(
            format!("older : {older} (as another version of pgop made them; `pgo upgrade servers {name}` restarts them, one at a time)"),
            Style::Dim,
        ));
    }
}

/// Settings that are not in force.
fn settings(root: &mut Tree, facts: &Facts) {
    match &facts.primary {
        Some(Ok(primary)) => {
            for refused in &primary.refused {
                let line = format!(
                    "setting : {} = {} is not in force: {}",
                    refused.name, refused.value, refused.why
                );
                root.push(Tree::styled(line, Style::Bad));
            }
        }
        Some(Err(problem)) => root.push(Tree::styled(format!("primary : ? ({problem})"), Style::Warn)),
        None => {}
    }
}

fn last_backup(root: &mut Tree, facts: &Facts, now: Timestamp) {
    match &facts.status.last_backup {
        Some(last) => {
            let when = last
                .finished_at
                .as_ref()
                .map(|time| format!(", {} ago", age(time.0, now)))
                .unwrap_or_default();
            root.push(format!(
                "last backup : {} (claim {}, path {}{when})",
                last.name, last.claim, last.path
            ));
        }
        None => root.push(Tree::styled(
            format!("last backup : none (pgo create backup {})", facts.owner.name),
            Style::Dim,
        )),
    }
}

fn restored(root: &mut Tree, facts: &Facts) {
    if let Some(from) = &facts.status.restored_from {
        root.push(format!("restored from : {} (claim {})", from.path, from.claim));
    }
    if facts.spec.deletion_policy == DeletionPolicy::Delete {
        root.push(Tree::styled(
            "deletion policy : Delete (its claims go with it)",
            Style::Warn,
        ));
    }
}

/// Conditions that aren't as they should be, with their message.
fn conditions(root: &mut Tree, facts: &Facts) {
    let mut said: Vec<&str> = Vec::new();
    for condition in &facts.status.conditions {
        let good = match condition.type_.as_str() {
            "Degraded" | "Progressing" => "False",
            _ => "True",
        };
        // One cause shows in several conditions; its message is needed once.
        if condition.status != good && !said.iter().any(|before| before.contains(&condition.message)) {
            said.push(&condition.message);
            let style = match (condition.type_.as_str(), condition.status.as_str()) {
                ("Progressing", _) => Style::Dim,
                (_, "Unknown") => Style::Warn,
                _ => Style::Bad,
            };
            let word = match condition.status.as_str() {
                "True" => condition.type_.clone(),
                "False" => format!("not {}", condition.type_),
                _ => format!("{} unknown", condition.type_),
            };
            root.push(Tree::styled(
                format!("condition : {word} ({}): {}", condition.reason, condition.message),
                style,
            ));
        }
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
