//! As whom a container runs, and what is refused. Pure.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use thiserror::Error;

use crate::holder::{Ids, Users};

/// Who a container is inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The other groups.
    pub(crate) groups: Vec<u32>,
    /// It may do to the sandbox what it likes.
    pub(crate) privileged: bool,
    /// Its rights (capabilities), where it is root.
    pub(crate) rights: Vec<String>,
}

impl Identity {
    /// A privileged root: nothing of the sandbox is out of reach.
    pub(crate) fn is_almighty(&self) -> bool {
        self.privileged && self.uid == 0
    }

    /// The numbers.
    pub(crate) fn ids(&self) -> Ids {
        Ids {
            uid: self.uid,
            gid: self.gid,
            groups: self.groups.clone(),
        }
    }
}

/// The rights of root in a container, as container engines give them; those that user namespaces have no use for are left out.
const RIGHTS: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Why a container can't run as asked: `CreateContainerConfigError`.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum IdentityError {
    #[error("container has runAsNonRoot and image will run as root (pod: \"{pod}\", container: {container})")]
    ImageRoot { pod: String, container: String },
    #[error("container's runAsUser breaks non-root policy (pod: \"{pod}\", container: {container})")]
    Root { pod: String, container: String },
    #[error("{0} is not an id")]
    Id(i64),
    #[error(
        "there is no {kind} {id} here: the sandbox runs in a container, which has only some of the machine's users"
    )]
    Nobody { kind: &'static str, id: u32 },
    #[error("{0} is not served by this node: its containers have no rights on the machine")]
    Refused(&'static str),
    #[error("{0} is not served by this node")]
    Unserved(&'static str),
}

/// Who the container runs as: its own words, then the pod's, then root as with an image that names nobody.
pub(crate) fn identity(users: &Users, pod: &Pod, container: &Container) -> Result<Identity, IdentityError> {
    let spec = pod.spec.as_ref();
    refuse(spec, container)?;
    let (of_pod, own) = (
        spec.and_then(|s| s.security_context.as_ref()),
        container.security_context.as_ref(),
    );
    let user = own.and_then(|c| c.run_as_user).or(of_pod.and_then(|c| c.run_as_user));
    let group = own
        .and_then(|c| c.run_as_group)
        .or(of_pod.and_then(|c| c.run_as_group))
        .unwrap_or(0);
    let not_root = own
        .and_then(|c| c.run_as_non_root)
        .or(of_pod.and_then(|c| c.run_as_non_root))
        .unwrap_or(false);
    if not_root && user.unwrap_or(0) == 0 {
        return Err(as_root(pod, container, user.is_some()));
    }
    let uid = id(user.unwrap_or(0))?;
    if !users.has_user(uid) {
        return Err(IdentityError::Nobody { kind: "user", id: uid });
    }
    let gid = id(group)?;
    let groups = groups(pod)?;
    if let Some(&id) = groups.iter().chain([&gid]).find(|id| !users.has_group(**id)) {
        return Err(IdentityError::Nobody { kind: "group", id });
    }
    Ok(Identity {
        uid,
        gid,
        groups,
        privileged: own.and_then(|c| c.privileged) == Some(true),
        rights: if uid == 0 { rights(container) } else { Vec::new() },
    })
}

/// The groups of a pod beside the one it runs as: its supplemental ones, and that of its volumes.
pub(crate) fn groups(pod: &Pod) -> Result<Vec<u32>, IdentityError> {
    let context = pod.spec.as_ref().and_then(|s| s.security_context.as_ref());
    let named = context.iter().flat_map(|c| c.supplemental_groups.iter().flatten());
    named
        .chain(context.and_then(|c| c.fs_group.as_ref()))
        .map(|group| id(*group))
        .collect()
}

/// The groups that a pod asks for and can't have where there is one user.
pub(crate) fn groups_not_given(pod: &Pod) -> Vec<u32> {
    let context = pod.spec.as_ref().and_then(|s| s.security_context.as_ref());
    let own = context.and_then(|c| c.run_as_group).unwrap_or(0);
    let asked = groups(pod).unwrap_or_default();
    asked.into_iter().filter(|group| i64::from(*group) != own).collect()
}

fn id(id: i64) -> Result<u32, IdentityError> {
    u32::try_from(id)
        .ok()
        .filter(|id| *id < u32::MAX)
        .ok_or(IdentityError::Id(id))
}

fn as_root(pod: &Pod, container: &Container, asked: bool) -> IdentityError {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (pod, container) = (
        format!("{}_{}", text(&pod.metadata.name), text(&pod.metadata.namespace)),
        container.name.clone(),
    );
    if asked {
        IdentityError::Root { pod, container }
    } else {
        IdentityError::ImageRoot { pod, container }
    }
}

/// <https://kubernetes.io/docs/tasks/configure-pod-container/security-context/#set-capabilities-for-a-container>
fn rights(container: &Container) -> Vec<String> {
    let asked = container
        .security_context
        .as_ref()
        .and_then(|c| c.capabilities.as_ref());
    let named = |list: Option<&Vec<String>>| -> Vec<String> {
        let names = list.into_iter().flatten().map(|name| name.to_ascii_uppercase());
        names.map(|name| name.trim_start_matches("CAP_").to_owned()).collect()
    };
    let (add, drop) = (
        named(asked.and_then(|c| c.add.as_ref())),
        named(asked.and_then(|c| c.drop.as_ref())),
    );
    let dropped = |name: &str| drop.iter().any(|d| d == name || d == "ALL");
    let kept = RIGHTS.iter().filter(|name| !dropped(name)).map(ToString::to_string);
    kept.chain(add).collect()
}

fn refuse(spec: Option<&PodSpec>, container: &Container) -> Result<(), IdentityError> {
    let asked = [
        (spec.and_then(|s| s.host_network), "hostNetwork"),
        (spec.and_then(|s| s.host_ipc), "hostIPC"),
        (spec.and_then(|s| s.share_process_namespace), "shareProcessNamespace"),
    ];
    match asked.iter().find(|(asked, _)| *asked == Some(true)) {
        Some((_, what)) => Err(IdentityError::Refused(what)),
        None if container.volume_devices.as_ref().is_some_and(|d| !d.is_empty()) => {
            Err(IdentityError::Refused("volumeDevices"))
        }
        None => unserved(spec, container).map_or(Ok(()), |what| Err(IdentityError::Unserved(what))),
    }
}

/// What the types have and this node lacks, where leaving it out would change what runs.
fn unserved(spec: Option<&PodSpec>, container: &Container) -> Option<&'static str> {
    let is_main = spec.is_some_and(|s| s.containers.iter().any(|main| main.name == container.name));
    let mut sources = container.env.iter().flatten().filter_map(|v| v.value_from.as_ref());
    let asked = [
        (spec.is_some_and(|s| s.hostname_override.is_some()), "hostnameOverride"),
        (
            is_main && container.restart_policy.is_some(),
            "restartPolicy of a container",
        ),
        (container.restart_policy_rules.is_some(), "restartPolicyRules"),
        (sources.any(|source| source.file_key_ref.is_some()), "fileKeyRef"),
    ];
    asked.iter().find(|(asked, _)| *asked).map(|(_, what)| *what)
}

#[cfg(test)]
mod tests {
    use super::{Identity, groups_not_given, identity};
    use crate::holder::Users;
    use serde_json::{Value, from_value, json};

    fn ask_of(users: &Users, pod: &Value, container: Value) -> Result<Identity, String> {
        let pod = from_value(json!({"metadata": {"name": "p", "namespace": "n"}, "spec": pod})).unwrap();
        identity(users, &pod, &from_value(container).unwrap()).map_err(|e| e.to_string())
    }

    fn ask(pod: &Value, container: Value) -> Result<Identity, String> {
        ask_of(&Users::One, pod, container)
    }

    fn ids(pod: &Value, container: Value) -> (u32, u32) {
        let found = ask(pod, container).unwrap();
        (found.uid, found.gid)
    }

    #[test]
    fn the_container_wins_over_the_pod_and_root_is_the_default() {
        let pod = json!({"containers": [], "securityContext": {"runAsUser": 999, "runAsGroup": 998}});
        assert_eq!(ids(&pod, json!({"name": "c"})), (999, 998));
        assert_eq!(
            ids(&pod, json!({"name": "c", "securityContext": {"runAsUser": 7}})),
            (7, 998)
        );
        assert_eq!(ids(&json!({"containers": []}), json!({"name": "c"})), (0, 0));
    }

    #[test]
    fn root_is_refused_where_it_must_not_be() {
        let pod = json!({"containers": [], "securityContext": {"runAsNonRoot": true}});
        let error = ask(&pod, json!({"name": "c"})).unwrap_err();
        assert_eq!(
            error,
            "container has runAsNonRoot and image will run as root (pod: \"p_n\", container: c)"
        );
        let error = ask(&pod, json!({"name": "c", "securityContext": {"runAsUser": 0}})).unwrap_err();
        assert_eq!(
            error,
            "container's runAsUser breaks non-root policy (pod: \"p_n\", container: c)"
        );
        assert!(ask(&pod, json!({"name": "c", "securityContext": {"runAsUser": 7}})).is_ok());
    }

    #[test]
    fn groups_are_the_supplemental_ones_and_that_of_the_volumes() {
        let context = json!({"runAsUser": 999, "runAsGroup": 998, "supplementalGroups": [4321, 998], "fsGroup": 2345});
        let pod = json!({"containers": [], "securityContext": context});
        assert_eq!(ask(&pod, json!({"name": "c"})).unwrap().groups, [4321, 998, 2345]);
        assert_eq!(
            groups_not_given(&from_value(json!({"spec": pod})).unwrap()),
            [4321, 2345]
        );
    }

    #[test]
    fn who_is_not_there_is_refused() {
        let few = Users::Real {
            uids: vec![(0, 1000)],
            gids: vec![(0, 1000)],
        };
        let pod =
            |user: i64, group: i64| json!({"containers": [], "securityContext": {"runAsUser": user, "fsGroup": group}});
        assert!(ask_of(&few, &pod(999, 999), json!({"name": "c"})).is_ok());
        for (user, group, want) in [(1000, 0, "there is no user 1000"), (0, 1000, "there is no group 1000")] {
            let error = ask_of(&few, &pod(user, group), json!({"name": "c"})).unwrap_err();
            assert!(error.starts_with(want), "{error}");
        }
        assert_eq!(
            ask(&pod(-1, 0), json!({"name": "c"})),
            Err("-1 is not an id".to_owned())
        );
    }

    #[test]
    fn root_has_some_rights_and_others_none() {
        let pod = json!({"containers": []});
        let of = |context: Value| {
            ask(&pod, json!({"name": "c", "securityContext": context}))
                .unwrap()
                .rights
        };
        assert!(of(json!({})).contains(&"CHOWN".to_owned()));
        assert!(of(json!({"runAsUser": 1})).is_empty());
        let few = json!({"capabilities": {"drop": ["all"], "add": ["CAP_SYS_PTRACE", "kill"]}});
        assert_eq!(of(few), ["SYS_PTRACE", "KILL"]);
    }

    #[test]
    fn what_needs_rights_on_the_machine_is_refused() {
        for (what, pod) in [
            ("hostNetwork", json!({"containers": [], "hostNetwork": true})),
            ("hostIPC", json!({"containers": [], "hostIPC": true})),
            ("hostnameOverride", json!({"containers": [], "hostnameOverride": "x"})),
        ] {
            let error = ask(&pod, json!({"name": "c"})).unwrap_err();
            assert!(error.starts_with(what), "{error}");
        }
    }

    #[test]
    fn what_would_change_what_runs_is_refused() {
        let file = json!({"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}}});
        for (what, container) in [
            ("restartPolicy", json!({"name": "c", "restartPolicy": "Never"})),
            ("restartPolicyRules", json!({"name": "c", "restartPolicyRules": []})),
            ("fileKeyRef", json!({"name": "c", "env": [file]})),
        ] {
            let error = ask(&json!({"containers": [container]}), container.clone()).unwrap_err();
            assert!(
                error.starts_with(what) && error.ends_with("not served by this node"),
                "{error}"
            );
        }
        let sidecar = json!({"name": "c", "restartPolicy": "Always"});
        assert!(ask(&json!({"containers": [], "initContainers": [sidecar]}), sidecar.clone()).is_ok());
    }
}
