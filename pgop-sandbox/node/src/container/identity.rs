//! As whom a container runs, and what is refused. Pure.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use thiserror::Error;

/// User and group inside the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Why a container can't run as asked: `CreateContainerConfigError`.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum IdentityError {
    #[error("container has runAsNonRoot and image will run as root (pod: \"{pod}\", container: {container})")]
    Root { pod: String, container: String },
    #[error("{0} is not an id")]
    Id(i64),
    #[error("{0} is not served by this node: its containers have no rights on the machine")]
    Refused(&'static str),
}

/// Who the container runs as: its own words, then the pod's, then root as with an image that names nobody.
pub(crate) fn identity(pod: &Pod, container: &Container) -> Result<Identity, IdentityError> {
    let spec = pod.spec.as_ref();
    refuse(spec, container)?;
    let (of_pod, own) = (
        spec.and_then(|s| s.security_context.as_ref()),
        container.security_context.as_ref(),
    );
    let user = own
        .and_then(|c| c.run_as_user)
        .or(of_pod.and_then(|c| c.run_as_user))
        .unwrap_or(0);
    let group = own
        .and_then(|c| c.run_as_group)
        .or(of_pod.and_then(|c| c.run_as_group))
        .unwrap_or(0);
    let not_root = own
        .and_then(|c| c.run_as_non_root)
        .or(of_pod.and_then(|c| c.run_as_non_root))
        .unwrap_or(false);
    if not_root && user == 0 {
        let name = format!(
            "{}_{}",
            pod.metadata.name.as_deref().unwrap_or_default(),
            pod.metadata.namespace.as_deref().unwrap_or_default()
        );
        return Err(IdentityError::Root {
            pod: name,
            container: container.name.clone(),
        });
    }
    let id = |id: i64| {
        u32::try_from(id)
            .ok()
            .filter(|id| *id < u32::MAX)
            .ok_or(IdentityError::Id(id))
    };
    Ok(Identity {
        uid: id(user)?,
        gid: id(group)?,
    })
}

fn refuse(spec: Option<&PodSpec>, container: &Container) -> Result<(), IdentityError> {
    let own = container.security_context.as_ref();
    let asked = [
        (own.and_then(|c| c.privileged), "securityContext.privileged"),
        (spec.and_then(|s| s.host_network), "hostNetwork"),
        (spec.and_then(|s| s.host_pid), "hostPID"),
        (spec.and_then(|s| s.host_ipc), "hostIPC"),
        (spec.and_then(|s| s.share_process_namespace), "shareProcessNamespace"),
    ];
    match asked.iter().find(|(asked, _)| *asked == Some(true)) {
        Some((_, what)) => Err(IdentityError::Refused(what)),
        None if container.volume_devices.as_ref().is_some_and(|d| !d.is_empty()) => {
            Err(IdentityError::Refused("volumeDevices"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Identity, identity};
    use serde_json::{Value, from_value, json};

    fn ask(pod: &Value, container: Value) -> Result<Identity, String> {
        let pod = from_value(json!({"metadata": {"name": "p", "namespace": "n"}, "spec": pod})).unwrap();
        identity(&pod, &from_value(container).unwrap()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_container_wins_over_the_pod_and_root_is_the_default() {
        let pod = json!({"containers": [], "securityContext": {"runAsUser": 999, "runAsGroup": 998}});
        assert_eq!(ask(&pod, json!({"name": "c"})), Ok(Identity { uid: 999, gid: 998 }));
        assert_eq!(
            ask(&pod, json!({"name": "c", "securityContext": {"runAsUser": 7}})),
            Ok(Identity { uid: 7, gid: 998 })
        );
        assert_eq!(
            ask(&json!({"containers": []}), json!({"name": "c"})),
            Ok(Identity { uid: 0, gid: 0 })
        );
    }

    #[test]
    fn root_is_refused_where_it_must_not_be() {
        let pod = json!({"containers": [], "securityContext": {"runAsNonRoot": true}});
        let error = ask(&pod, json!({"name": "c"})).unwrap_err();
        assert_eq!(
            error,
            "container has runAsNonRoot and image will run as root (pod: \"p_n\", container: c)"
        );
        assert!(ask(&pod, json!({"name": "c", "securityContext": {"runAsUser": 7}})).is_ok());
    }

    #[test]
    fn what_needs_rights_on_the_machine_is_refused() {
        for (pod, container, want) in [
            (
                json!({"containers": [], "hostNetwork": true}),
                json!({"name": "c"}),
                "hostNetwork",
            ),
            (
                json!({"containers": [], "hostPID": true}),
                json!({"name": "c"}),
                "hostPID",
            ),
            (
                json!({"containers": []}),
                json!({"name": "c", "securityContext": {"privileged": true}}),
                "securityContext.privileged",
            ),
        ] {
            let error = ask(&pod, container).unwrap_err();
            assert!(error.starts_with(want), "{error}");
        }
    }
}
