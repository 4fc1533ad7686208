//! Validation of what people add to pods: nothing of pgop's is replaced by it, and no container gets out of its pod.
//!
//! Whoever may create a resource can't get more by it than the `restricted` Pod Security Standard gives, also where a namespace does not enforce it.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, EnvVar, SecurityContext, Volume, VolumeMount};

use crate::crd::PodSettings;
use crate::invalid::Invalid;
use crate::name;

/// Names of pgop's own containers.
const CONTAINERS: [&str; 3] = ["postgres", "restore", "backup"];
/// Names of the volumes of pgop's own pods.
const VOLUMES: [&str; 9] = [
    DATA,
    "backup",
    "config",
    "superuser",
    "replication",
    "user",
    "run",
    "tmp",
    "shm",
];
/// The one with the data directory.
const DATA: &str = "data";
/// Where pgop's own containers mount them.
const PATHS: [&str; 5] = ["/pgop", "/pgdata", "/backup", "/tmp", "/dev"];

/// Checks the settings. `has_data` tells of a claim whether the resource's own data lies there.
pub(super) fn check(pod: &PodSettings, invalid: &mut Vec<Invalid>, has_data: impl Fn(&str) -> bool) {
    let mut refuse = |field: String, problem: String, mend: &str| {
        invalid.push(Invalid::new(format!("spec.pod.{field}"), problem, mend));
    };
    for (field, given) in [
        ("priorityClassName", &pod.priority_class_name),
        ("serviceAccountName", &pod.service_account_name),
        ("schedulerName", &pod.scheduler_name),
        ("runtimeClassName", &pod.runtime_class_name),
    ] {
        if let Some(Err(error)) = given.as_deref().map(name::check_object) {
            refuse(field.to_owned(), error.to_string(), "give the name of one that exists");
        }
    }
    if pod
        .termination_grace_period_seconds
        .is_some_and(|seconds| !(10..=86_400).contains(&seconds))
    {
        let field = "terminationGracePeriodSeconds".to_owned();
        refuse(
            field,
            "is less than 10 or more than 86400".to_owned(),
            "give a server time to stop",
        );
    }
    for (i, variable) in pod.env.iter().enumerate() {
        if let Some(problem) = of_variable(variable) {
            refuse(format!("env[{i}].name"), problem, "use another name");
        }
    }
    let mut names = BTreeSet::from(VOLUMES);
    for (i, volume) in pod.volumes.iter().enumerate() {
        let field = format!("volumes[{i}]");
        if !names.insert(&volume.name) {
            let problem = format!("`{}` is the name of another volume of the pod", volume.name);
            refuse(format!("{field}.name"), problem, "use another name");
        }
        if let Some((part, problem)) = of_volume(volume, &has_data) {
            refuse(format!("{field}.{part}"), problem, "use another volume");
        }
    }
    let added: BTreeSet<&str> = pod.volumes.iter().map(|volume| volume.name.as_str()).collect();
    for (i, mount) in pod.volume_mounts.iter().enumerate() {
        if !added.contains(mount.name.as_str()) {
            let problem = format!("`{}` is not in spec.pod.volumes", mount.name);
            refuse(
                format!("volumeMounts[{i}].name"),
                problem,
                "name a volume that you add there",
            );
        }
        if let Some(path) = PATHS.iter().find(|path| overlap(path, &mount.mount_path)) {
            let problem = format!("`{}` would hide what pgop has in {path}", mount.mount_path);
            refuse(format!("volumeMounts[{i}].mountPath"), problem, "use another path");
        }
        if let Some(problem) = of_mount(mount) {
            refuse(format!("volumeMounts[{i}].mountPropagation"), problem, "leave it out");
        }
    }
    let mut containers = BTreeSet::from(CONTAINERS);
    for (i, container) in pod.containers.iter().enumerate() {
        let field = format!("containers[{i}]");
        if !containers.insert(&container.name) {
            let problem = format!("`{}` is the name of another container of the pod", container.name);
            refuse(format!("{field}.name"), problem, "use another name");
        }
        for (part, problem) in of_container(container, &names) {
            refuse(format!("{field}.{part}"), problem, "leave it out or change it");
        }
    }
}

fn of_variable(variable: &EnvVar) -> Option<String> {
    let name = variable.name.as_str();
    let is_ours = name.starts_with("PG") || name == "PATH";
    is_ours.then(|| format!("`{name}` is read by PostgreSQL's programs or by pgop"))
}

fn of_volume(volume: &Volume, has_data: impl Fn(&str) -> bool) -> Option<(&'static str, String)> {
    if volume.host_path.is_some() {
        return Some(("hostPath", "is a folder of the node".to_owned()));
    }
    let claim = volume.persistent_volume_claim.as_ref()?;
    let is_written = claim.read_only != Some(true);
    (is_written && has_data(&claim.claim_name)).then(|| {
        let problem = format!(
            "`{}` holds this resource's data, which only its server may write; mount it readOnly",
            claim.claim_name
        );
        ("persistentVolumeClaim", problem)
    })
}

fn of_mount(mount: &VolumeMount) -> Option<String> {
    let shared = mount.mount_propagation.as_deref() == Some("Bidirectional");
    shared.then(|| "`Bidirectional` changes the node, and takes a privileged container".to_owned())
}

/// What a container that people add may not have, by its field.
fn of_container(container: &Container, volumes: &BTreeSet<&str>) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut refuse = |field: &str, problem: String| problems.push((field.to_owned(), problem));
    if container.image.as_deref().unwrap_or_default().is_empty() {
        refuse("image", "is missing".to_owned());
    }
    for (i, port) in container.ports.iter().flatten().enumerate() {
        if port.host_port.is_some_and(|port| port != 0) {
            refuse(&format!("ports[{i}].hostPort"), "is a port of the node".to_owned());
        }
    }
    for (i, mount) in container.volume_mounts.iter().flatten().enumerate() {
        if !volumes.contains(mount.name.as_str()) {
            refuse(
                &format!("volumeMounts[{i}].name"),
                format!("`{}` is no volume of the pod", mount.name),
            );
        }
        if mount.name == DATA && mount.read_only != Some(true) {
            let problem = "is the server's data, which only the server may write; mount it readOnly".to_owned();
            refuse(&format!("volumeMounts[{i}].name"), problem);
        }
        if let Some(problem) = of_mount(mount) {
            refuse(&format!("volumeMounts[{i}].mountPropagation"), problem);
        }
    }
    if let Some(security) = &container.security_context {
        for (field, problem) in of_security(security) {
            refuse(
                &format!("securityContext.{field}"),
                format!("{problem}, which the `restricted` Pod Security Standard does not allow"),
            );
        }
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
            "/pgop/config/start.sh",
            "/etc/../pgop",
        ] {
            assert!(overlap("/pgop", path), "{path}");
        }
        for path in ["/pgopx", "/etc/pgop", "/var"] {
            assert!(!overlap("/pgop", path), "{path}");
        }
    }
}
