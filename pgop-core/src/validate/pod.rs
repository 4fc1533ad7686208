//! Validation of what people add to pods: nothing of pgop's is replaced by it, and no container gets out of its pod.
//!
//! Whoever may create a resource can't get more by it than the `restricted` Pod Security Standard gives, also where a namespace does not enforce it.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, EnvVar, SecurityContext, Volume, VolumeMount};

use crate::crd::PodSettings;
use crate::invalid::Invalid;
use crate::label;
use crate::name;

/// Names of the containers of pgop's own Jobs, and of the one that brings the agent.
const CONTAINERS: [&str; 3] = ["restore", "backup", "agent"];
/// Names of the volumes of pgop's own pods that a container beside the server's may mount.
const VOLUMES: [&str; 10] = [
    DATA,
    "backup",
    "config",
    "superuser",
    "replication",
    "user",
    "run",
    "bin",
    "tmp",
    "shm",
];
/// The one with the token of the servers' account, which is for the agent alone.
const ACCOUNT: &str = "account";
/// The one with the data directory.
const DATA: &str = "data";
/// Where pgop's own containers mount them.
const PATHS: [&str; 5] = ["/pgop", "/pgdata", "/backup", "/tmp", "/dev"];

/// Why one setting is refused.
struct Refusal {
    part: String,
    problem: String,
    mend: &'static str,
}

impl Refusal {
    fn new(part: impl Into<String>, problem: impl Into<String>, mend: &'static str) -> Self {
        Self {
            part: part.into(),
            problem: problem.into(),
            mend,
        }
    }
}

/// Checks the settings. `server` is the name of the server's container; `has_data` tells of a claim whether the resource's own data lies there.
///
/// Gives the settings without what is refused of them: these stay in force beside it.
pub(super) fn check(
    pod: &PodSettings,
    server: &str,
    invalid: &mut Vec<Invalid>,
    has_data: impl Fn(&str) -> bool,
) -> PodSettings {
    let mut fine = pod.clone();
    check_words(&mut fine, invalid);
    fine.env = kept("env", &pod.env, invalid, |variable| {
        let problem = of_variable(variable);
        problem.into_iter().collect()
    });
    let mut names = BTreeSet::from(VOLUMES);
    names.insert(ACCOUNT);
    fine.volumes = kept("volumes", &pod.volumes, invalid, |volume| {
        let taken = (!names.insert(&volume.name)).then(|| {
            let problem = format!("`{}` is the name of another volume of the pod", volume.name);
            Refusal::new("name", problem, "use another name")
        });
        taken.into_iter().chain(of_volume(volume, &has_data)).collect()
    });
    let added: BTreeSet<&str> = pod.volumes.iter().map(|volume| volume.name.as_str()).collect();
    fine.volume_mounts = kept("volumeMounts", &pod.volume_mounts, invalid, |mount| {
        of_mount(mount, &added)
    });
    let mut containers = BTreeSet::from(CONTAINERS);
    containers.insert(server);
    fine.containers = kept("containers", &pod.containers, invalid, |container| {
        let taken = (!containers.insert(&container.name)).then(|| {
            let problem = format!("`{}` is the name of another container of the pod", container.name);
            Refusal::new("name", problem, "use another name")
        });
        taken.into_iter().chain(of_container(container, &names)).collect()
    });
    leave_out_mounts(&mut fine);
    fine
}

/// The items of a list that are not refused.
fn kept<'a, T: Clone>(
    list: &str,
    given: &'a [T],
    invalid: &mut Vec<Invalid>,
    mut problems: impl FnMut(&'a T) -> Vec<Refusal>,
) -> Vec<T> {
    let mut kept = Vec::new();
    for (i, item) in given.iter().enumerate() {
        let found = problems(item);
        if found.is_empty() {
            kept.push(item.clone());
        }
        let refused = found
            .into_iter()
            .map(|it| Invalid::change(format!("spec.pod.{list}[{i}].{}", it.part), it.problem, it.mend));
        invalid.extend(refused);
    }
    kept
}

/// What is no list.
fn check_words(pod: &mut PodSettings, invalid: &mut Vec<Invalid>) {
    let mut refuse = |field: String, problem: String, mend: &str| {
        invalid.push(Invalid::change(format!("spec.pod.{field}"), problem, mend));
    };
    for (field, map) in [("labels", &mut pod.labels), ("annotations", &mut pod.annotations)] {
        map.retain(|key, _| {
            if label::is_reserved(key) {
                let problem = "belongs to pgop or Kubernetes".to_owned();
                refuse(format!("{field}.{key}"), problem, "use another key");
            }
            !label::is_reserved(key)
        });
    }
    for (field, given) in [
        ("priorityClassName", &mut pod.priority_class_name),
        ("serviceAccountName", &mut pod.service_account_name),
        ("schedulerName", &mut pod.scheduler_name),
        ("runtimeClassName", &mut pod.runtime_class_name),
    ] {
        if let Some(Err(error)) = given.as_deref().map(name::check_object) {
            refuse(field.to_owned(), error.to_string(), "give the name of one that exists");
            *given = None;
        }
    }
    let grace = &mut pod.termination_grace_period_seconds;
    if grace.is_some_and(|seconds| !(10..=86_400).contains(&seconds)) {
        let problem = "is less than 10 or more than 86400".to_owned();
        let field = "terminationGracePeriodSeconds".to_owned();
        refuse(field, problem, "give a server time to stop");
        *grace = None;
    }
}

/// With a volume that is refused goes what mounts it.
fn leave_out_mounts(pod: &mut PodSettings) {
    let added: BTreeSet<&str> = pod.volumes.iter().map(|volume| volume.name.as_str()).collect();
    pod.volume_mounts.retain(|mount| added.contains(mount.name.as_str()));
    let is_there = |mount: &VolumeMount| added.contains(mount.name.as_str()) || VOLUMES.contains(&mount.name.as_str());
    pod.containers
        .retain(|container| container.volume_mounts.iter().flatten().all(is_there));
}

fn of_variable(variable: &EnvVar) -> Option<Refusal> {
    let name = variable.name.as_str();
    let is_ours = name.starts_with("PG") || name == "PATH";
    is_ours.then(|| {
        let problem = format!("`{name}` is read by PostgreSQL's programs or by pgop");
        Refusal::new("name", problem, "use another name")
    })
}

fn of_volume(volume: &Volume, has_data: impl Fn(&str) -> bool) -> Option<Refusal> {
    const MEND: &str = "use another volume";
    if volume.host_path.is_some() {
        return Some(Refusal::new("hostPath", "is a folder of the node", MEND));
    }
    let claim = volume.persistent_volume_claim.as_ref()?;
    let is_written = claim.read_only != Some(true);
    (is_written && has_data(&claim.claim_name)).then(|| {
        let problem = format!(
            "`{}` holds this resource's data, which only its server may write; mount it readOnly",
            claim.claim_name
        );
        Refusal::new("persistentVolumeClaim", problem, MEND)
    })
}

fn of_mount(mount: &VolumeMount, added: &BTreeSet<&str>) -> Vec<Refusal> {
    let mut problems = Vec::new();
    if !added.contains(mount.name.as_str()) {
        let problem = format!("`{}` is not in spec.pod.volumes", mount.name);
        problems.push(Refusal::new("name", problem, "name a volume that you add there"));
    }
    if let Some(path) = PATHS.iter().find(|path| overlap(path, &mount.mount_path)) {
        let problem = format!("`{}` would hide what pgop has in {path}", mount.mount_path);
        problems.push(Refusal::new("mountPath", problem, "use another path"));
    }
    if let Some(problem) = of_propagation(mount) {
        problems.push(Refusal::new("mountPropagation", problem, "leave it out"));
    }
    problems
}

fn of_propagation(mount: &VolumeMount) -> Option<&'static str> {
    let shared = mount.mount_propagation.as_deref() == Some("Bidirectional");
    shared.then_some("`Bidirectional` changes the node, and takes a privileged container")
}

/// What a container that people add may not have, by its field.
fn of_container(container: &Container, volumes: &BTreeSet<&str>) -> Vec<Refusal> {
    let mut problems = Vec::new();
    let mut refuse = |field: String, problem: String| {
        problems.push(Refusal::new(field, problem, "leave it out or change it"));
    };
    if container.image.as_deref().unwrap_or_default().is_empty() {
        refuse("image".to_owned(), "is missing".to_owned());
    }
    for (i, port) in container.ports.iter().flatten().enumerate() {
        if port.host_port.is_some_and(|port| port != 0) {
            refuse(format!("ports[{i}].hostPort"), "is a port of the node".to_owned());
        }
    }
    for (i, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let field = |part: &str| format!("volumeMounts[{i}].{part}");
        if !volumes.contains(mount.name.as_str()) {
            refuse(field("name"), format!("`{}` is no volume of the pod", mount.name));
        }
        if mount.name == ACCOUNT {
            let problem = "holds a token that is for pgop's own container".to_owned();
            refuse(field("name"), problem);
        }
        if mount.name == DATA && mount.read_only != Some(true) {
            let problem = "is the server's data, which only the server may write; mount it readOnly";
            refuse(field("name"), problem.to_owned());
        }
        if let Some(problem) = of_propagation(mount) {
            refuse(field("mountPropagation"), problem.to_owned());
        }
    }
    for (field, problem) in container.security_context.iter().flat_map(of_security) {
        refuse(
            format!("securityContext.{field}"),
            format!("{problem}, which the `restricted` Pod Security Standard does not allow"),
        );
    }
    problems
}

fn of_security(security: &SecurityContext) -> Vec<(&'static str, &'static str)> {
    let added = security.capabilities.iter().flat_map(|c| c.add.iter().flatten());
    let profile = |profile: Option<&str>| profile == Some("Unconfined");
    [
        ("privileged", security.privileged == Some(true), "is true"),
        (
            "allowPrivilegeEscalation",
            security.allow_privilege_escalation == Some(true),
            "is true",
        ),
        ("runAsNonRoot", security.run_as_non_root == Some(false), "is false"),
        ("runAsUser", security.run_as_user == Some(0), "is root"),
        (
            "procMount",
            security.proc_mount.as_deref().is_some_and(|mount| mount != "Default"),
            "is not `Default`",
        ),
        (
            "seccompProfile",
            profile(security.seccomp_profile.as_ref().map(|p| p.type_.as_str())),
            "is `Unconfined`",
        ),
        (
            "appArmorProfile",
            profile(security.app_armor_profile.as_ref().map(|p| p.type_.as_str())),
            "is `Unconfined`",
        ),
        (
            "capabilities",
            added.into_iter().any(|name| name != "NET_BIND_SERVICE"),
            "adds some",
        ),
    ]
    .into_iter()
    .filter(|(_, is_so, _)| *is_so)
    .map(|(field, _, problem)| (field, problem))
    .collect()
}

/// Whether one path is the other or lies below it.
fn overlap(ours: &str, given: &str) -> bool {
    let parts = |path: &str| -> Vec<String> {
        let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
        parts.map(str::to_owned).collect()
    };
    let (ours, given) = (parts(ours), parts(given));
    // Where `..` leads is not looked at: no mount needs it.
    given.iter().any(|part| part == "..") || ours.iter().zip(&given).all(|(a, b)| a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_would_hide_ours_overlaps_however_it_is_written() {
        for path in [
            "/pgop",
            "/pgop/",
            "//pgop/./x",
            "/",
            "/pgop/config/pg_hba.conf",
            "/etc/../pgop",
        ] {
            assert!(overlap("/pgop", path), "{path}");
        }
        for path in ["/pgopx", "/etc/pgop", "/var"] {
            assert!(!overlap("/pgop", path), "{path}");
        }
    }
}
