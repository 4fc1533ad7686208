//! Everything that is decided before a container is started.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, Pod};
use thiserror::Error;

use super::identity::{Identity, IdentityError, identity};
use crate::network::GATEWAY;
use crate::pod::downward::Downward;
use crate::pod::env::{EnvError, Sources, service_links};
use crate::pod::expand::expand;
use crate::shared::Shared;
use crate::volumes::{Mount, MountError, Ready, mounts};

/// What most machines have on PATH.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const LAST_WORDS: &str = "/dev/termination-log";

/// Why a container can't be made yet. It is tried again, as what is missing may come.
#[derive(Debug, Error)]
pub(crate) enum PlanError {
    #[error(transparent)]
    Env(#[from] EnvError),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("no command specified: no images are pulled here, so a container must have a command")]
    NoCommand,
    #[error("terminationMessagePath and workingDir must be absolute and without '..'")]
    Path,
}

impl PlanError {
    /// The reason that the kubelet gives.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NoCommand | Self::Path => "CreateContainerError",
            _ => "CreateContainerConfigError",
        }
    }
}

/// The input of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// It has none.
    None,
    /// It stays open whoever comes and goes.
    Open,
    /// It ends with the first who is attached (`stdinOnce`).
    Once,
}

/// A container, decided.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) command: Vec<String>,
    pub(crate) env: HashMap<String, String>,
    pub(crate) identity: Identity,
    pub(crate) directory: PathBuf,
    pub(crate) mounts: Vec<Mount>,
    /// The image's folder; none for the machine's programs.
    pub(crate) image: Option<PathBuf>,
    pub(crate) hostname: String,
    /// It sees the processes of all pods.
    pub(crate) host_pid: bool,
    /// Where the container writes its last words.
    pub(crate) last_words: PathBuf,
    pub(crate) read_only: bool,
    pub(crate) stdin: Input,
    pub(crate) tty: bool,
}

/// The pod's name for itself.
pub(crate) fn hostname(pod: &Pod) -> String {
    let own = pod
        .spec
        .as_ref()
        .and_then(|s| s.hostname.as_deref())
        .filter(|h| !h.is_empty());
    let name = own.or(pod.metadata.name.as_deref()).unwrap_or_default();
    name.chars()
        .take(63)
        .collect::<String>()
        .trim_end_matches(['-', '.'])
        .to_owned()
}

/// Decides.
pub(crate) fn plan(
    shared: &Shared,
    pod: &Pod,
    container: &Container,
    volumes: &BTreeMap<String, Ready>,
    address: Ipv4Addr,
) -> Result<Plan, PlanError> {
    let identity = identity(&shared.users, pod, container)?;
    let hostname = hostname(pod);
    let image = container
        .image
        .as_deref()
        .and_then(|image| shared.images.get(image))
        .cloned();
    let spec = pod.spec.as_ref();
    let wanted = spec.and_then(|s| s.enable_service_links).unwrap_or(true);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let downward = Downward {
        pod,
        address: Some(address),
        host: GATEWAY,
        allocatable: &shared.allocatable,
    };
    let services = service_links(&shared.cluster.services.all(), namespace, wanted);
    let mut env = Sources {
        pod,
        container,
        downward,
        objects: &shared.cluster,
        services,
    }
    .resolve()?;
    let words = container
        .command
        .iter()
        .flatten()
        .chain(container.args.iter().flatten());
    let command: Vec<String> = words.map(|word| expand(word, &env)).collect();
    if container.command.as_ref().is_none_or(Vec::is_empty) {
        return Err(PlanError::NoCommand);
    }
    let mounts = mounts(container, volumes, &env)?;
    env.entry("PATH".to_owned())
        .or_insert_with(|| path(shared, image.is_some()));
    env.entry("HOSTNAME".to_owned()).or_insert_with(|| hostname.clone());
    if container.tty == Some(true) {
        env.entry("TERM".to_owned()).or_insert_with(|| "xterm".to_owned());
    }
    let absolute = |path: Option<&String>, or: &str| {
        let path = PathBuf::from(path.map(String::as_str).filter(|p| !p.is_empty()).unwrap_or(or));
        let plain = path.is_absolute() && !path.components().any(|c| c == std::path::Component::ParentDir);
        if plain { Ok(path) } else { Err(PlanError::Path) }
    };
    Ok(Plan {
        command,
        env,
        identity,
        directory: absolute(container.working_dir.as_ref(), "/")?,
        mounts,
        image,
        hostname,
        host_pid: spec.and_then(|s| s.host_pid) == Some(true),
        last_words: absolute(container.termination_message_path.as_ref(), LAST_WORDS)?,
        read_only: container
            .security_context
            .as_ref()
            .and_then(|c| c.read_only_root_filesystem)
            == Some(true),
        stdin: match (container.stdin, container.stdin_once) {
            (Some(true), Some(true)) => Input::Once,
            (Some(true), _) => Input::Open,
            _ => Input::None,
        },
        tty: container.tty == Some(true),
    })
}

fn path(shared: &Shared, image: bool) -> String {
    if image {
        return PATH.to_owned();
    }
    let own = shared.path.iter().map(|p| p.display().to_string());
    own.chain([PATH.to_owned()]).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::hostname;
    use serde_json::{from_value, json};

    #[test]
    fn a_hostname_is_the_pods_or_its_name_and_short() {
        let of = |value| hostname(&from_value(value).unwrap());
        assert_eq!(of(json!({"metadata": {"name": "orders-0"}})), "orders-0");
        assert_eq!(
            of(json!({"metadata": {"name": "x"}, "spec": {"hostname": "own", "containers": []}})),
            "own"
        );
        assert_eq!(of(json!({"metadata": {"name": "a".repeat(80)}})).len(), 63);
    }
}
