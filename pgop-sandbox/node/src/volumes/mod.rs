//! The volumes of a pod as folders of this machine: <https://kubernetes.io/docs/concepts/storage/volumes/>.

mod atomic;
mod claim;
mod files;
mod host;
mod mount;
mod owner;
mod token;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Pod, Volume};
use thiserror::Error;

use crate::pod::downward::DownwardError;
use crate::shared::Shared;
use files::Projection;
pub(crate) use mount::{Mount, MountError, mounts};
use owner::Owner;
pub(crate) use token::Tokens;

/// Why a volume is not there yet. The pod waits, and tells in an event `FailedMount`.
#[derive(Debug, Error)]
pub(crate) enum VolumeError {
    #[error("{kind} \"{name}\" not found")]
    NoObject { kind: &'static str, name: String },
    #[error("references non-existent {kind} key: {key}")]
    NoKey { kind: &'static str, key: String },
    #[error("persistentvolumeclaim \"{0}\" is not bound to a volume")]
    Unbound(String),
    #[error("persistentvolume \"{0}\" is not on this machine: only hostPath and local volumes are served here")]
    Elsewhere(String),
    #[error("path {0:?} must be relative and without '..'")]
    Path(String),
    #[error("hostPath {path} is no {kind}")]
    HostPath { path: String, kind: String },
    #[error("volumes of this kind are not served here")]
    Unsupported,
    #[error("could not get a token of service account {account}: {source}")]
    Token {
        account: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("could not ask the API server: {0}")]
    Api(#[source] Box<kube::Error>),
    #[error(transparent)]
    Downward(#[from] DownwardError),
    #[error("could not make {path}: {source}", path = path.display())]
    Make {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A volume that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    /// Where.
    pub(crate) path: PathBuf,
    /// It may not be written to, whatever the mount says.
    pub(crate) read_only: bool,
}

/// The volumes of one pod.
pub(crate) struct Volumes<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) pod: &'a Pod,
    /// The pod's folder.
    pub(crate) folder: &'a Path,
    /// The pod's address, once it has one.
    pub(crate) address: Option<std::net::Ipv4Addr>,
}

impl Volumes<'_> {
    /// Makes them all. The first that can't be made is the error, with its name.
    pub(crate) async fn make(&self) -> Result<BTreeMap<String, Ready>, (String, VolumeError)> {
        let mut made = BTreeMap::new();
        for volume in self.all() {
            let ready = self
                .make_one(volume)
                .await
                .map_err(|error| (volume.name.clone(), error))?;
            made.insert(volume.name.clone(), ready);
        }
        Ok(made)
    }

    /// Brings those that are files of objects up to date. Errors leave them as they are, as they were good once.
    pub(crate) async fn refresh(&self) {
        for volume in self.all() {
            if let Some(projection) = Projection::of(volume) {
                let path = self.path(&volume.name);
                match self.collect(&projection).await {
                    Ok(files) => {
                        if let Err(error) = atomic::write(&path, &files, self.owner()) {
                            tracing::warn!(path = %path.display(), %error, "can't bring a volume up to date");
                        }
                    }
                    Err(error) => tracing::debug!(volume = volume.name, %error, "volume stays as it is"),
                }
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &Volume> {
        self.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join("volumes").join(name)
    }

    async fn make_one(&self, volume: &Volume) -> Result<Ready, VolumeError> {
        let writable = |path| Ready { path, read_only: false };
        if let Some(projection) = Projection::of(volume) {
            let path = self.path(&volume.name);
            let files = self.collect(&projection).await?;
            atomic::write(&path, &files, self.owner()).map_err(make(&path))?;
            return Ok(Ready { path, read_only: true });
        }
        if let Some(empty) = &volume.empty_dir {
            let path = if empty.medium.as_deref() == Some("Memory") {
                let uid = self.pod.metadata.uid.as_deref().unwrap_or_default();
                self.shared.memory.join(uid).join(&volume.name)
            } else {
                self.path(&volume.name)
            };
            if !path.exists() {
                fs::create_dir_all(&path).map_err(make(&path))?;
                self.open_for_all(&path)?;
            }
            return Ok(writable(path));
        }
        if let Some(claim) = &volume.persistent_volume_claim {
            let ready = self.claim(claim).await?;
            self.owner().give_volume(&ready.path).map_err(make(&ready.path))?;
            return Ok(ready);
        }
        if let Some(source) = &volume.host_path {
            host::check(source)?;
            return Ok(writable(PathBuf::from(&source.path)));
        }
        Err(VolumeError::Unsupported)
    }

    /// An empty volume: everybody may write, as the kubelet makes it.
    fn open_for_all(&self, path: &Path) -> Result<(), VolumeError> {
        let owner = self.owner();
        owner.give(path, None).map_err(make(path))?;
        let mode = if owner.group.is_some() { 0o2777 } else { 0o777 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(make(path))
    }

    fn owner(&self) -> Owner {
        Owner::of(self.pod, &self.shared.users)
    }
}

fn make(path: &Path) -> impl FnOnce(io::Error) -> VolumeError {
    move |source| VolumeError::Make {
        path: path.to_owned(),
        source,
    }
}
