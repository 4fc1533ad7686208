//! From a container's `volumeMounts` to what is put where.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, VolumeMount};
use thiserror::Error;

use super::Ready;
use crate::pod::expand::expand;

/// One folder or file of a container that is one of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// On this machine.
    pub(crate) from: PathBuf,
    /// In the container.
    pub(crate) to: PathBuf,
    pub(crate) read_only: bool,
}

/// Why a mount can't be made: `CreateContainerConfigError`.
#[derive(Debug, Error)]
pub(crate) enum MountError {
    #[error("volumeMount {0:?} names no volume of the pod")]
    NoVolume(String),
    #[error("mountPath {0:?} must be absolute and without '..'")]
    Path(String),
    #[error("subPath {0:?} must be relative and stay in its volume")]
    SubPath(String),
    #[error("could not make subPath {path}: {source}", path = path.display())]
    Make {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The mounts of a container, outer ones first. `subPath`s that are not there are made.
pub(crate) fn mounts(
    container: &Container,
    volumes: &BTreeMap<String, Ready>,
    env: &HashMap<String, String>,
) -> Result<Vec<Mount>, MountError> {
    let mut all = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let volume = volumes
            .get(&mount.name)
            .ok_or_else(|| MountError::NoVolume(mount.name.clone()))?;
        let to = PathBuf::from(&mount.mount_path);
        let inside = to
            .components()
            .all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
        if !to.is_absolute() || !inside || to == Path::new("/") {
            return Err(MountError::Path(mount.mount_path.clone()));
        }
        let from = sub_path(volume, mount, env)?;
        all.push(Mount {
            from,
            to,
            read_only: volume.read_only || mount.read_only == Some(true),
        });
    }
    all.sort_by_key(|m| m.to.components().count());
    Ok(all)
}

fn sub_path(volume: &Ready, mount: &VolumeMount, env: &HashMap<String, String>) -> Result<PathBuf, MountError> {
    let below = match (&mount.sub_path_expr, &mount.sub_path) {
        (Some(expression), _) if !expression.is_empty() => expand(expression, env),
        (_, Some(path)) => path.clone(),
        _ => String::new(),
    };
    if below.is_empty() {
        return Ok(volume.path.clone());
    }
    let outside = || MountError::SubPath(below.clone());
    if !Path::new(&below)
        .components()
        .all(|c| matches!(c, Component::Normal(_) | Component::CurDir))
        || below.contains("$(")
    {
        return Err(outside());
    }
    let path = volume.path.join(&below);
    let failed = |source| MountError::Make {
        path: path.clone(),
        source,
    };
    if !path.exists() {
        // A link that leads out must not be followed, not even to make something.
        let mut parent = volume.path.clone();
        for part in Path::new(&below).components() {
            parent.push(part);
            if fs::symlink_metadata(&parent).is_ok_and(|m| m.is_symlink()) {
                return Err(outside());
            }
        }
        fs::create_dir_all(&path).map_err(failed)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).map_err(failed)?;
    }
    let (real, root) = (
        path.canonicalize().map_err(failed)?,
        volume.path.canonicalize().map_err(failed)?,
    );
    if real.starts_with(&root) {
        Ok(real)
    } else {
        Err(outside())
    }
}

#[cfg(test)]
mod tests {
    use super::{Ready, mounts};
    use serde_json::{Value, from_value, json};
    use std::collections::{BTreeMap, HashMap};
    use std::path::Path;

    fn volumes(path: &Path) -> BTreeMap<String, Ready> {
        let ready = |read_only| Ready {
            path: path.to_owned(),
            read_only,
        };
        [("data".to_owned(), ready(false)), ("config".to_owned(), ready(true))].into()
    }

    fn ask(path: &Path, list: &Value) -> Result<Vec<super::Mount>, super::MountError> {
        let env = HashMap::from([("NAME".to_owned(), "orders-0".to_owned())]);
        mounts(
            &from_value(json!({"name": "main", "volumeMounts": list})).unwrap(),
            &volumes(path),
            &env,
        )
    }

    #[test]
    fn outer_ones_come_first_and_files_of_objects_are_read_only() {
        let folder = tempfile::tempdir().unwrap();
        let found = ask(
            folder.path(),
            &json!([{"name": "config", "mountPath": "/a/b"}, {"name": "data", "mountPath": "/a"}]),
        )
        .unwrap();
        let short: Vec<_> = found.iter().map(|m| (m.to.to_str().unwrap(), m.read_only)).collect();
        assert_eq!(short, [("/a", false), ("/a/b", true)]);
    }

    #[test]
    fn sub_paths_are_made_and_may_be_expressions() {
        let folder = tempfile::tempdir().unwrap();
        let found = ask(
            folder.path(),
            &json!([{"name": "data", "mountPath": "/a", "subPathExpr": "x/$(NAME)"}]),
        )
        .unwrap();
        assert!(found[0].from.ends_with("x/orders-0") && found[0].from.is_dir());
    }

    #[test]
    fn nothing_leads_out_of_a_volume() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", folder.path().join("out")).unwrap();
        std::os::unix::fs::symlink("/nowhere-at-all", folder.path().join("broken")).unwrap();
        for sub in ["../x", "/etc", "out", "out/ssl", "broken/x"] {
            let found = ask(
                folder.path(),
                &json!([{"name": "data", "mountPath": "/a", "subPath": sub}]),
            );
            assert!(found.is_err(), "{sub}: {found:?}");
        }
        for path in ["relative", "/a/../b", "/"] {
            assert!(
                ask(folder.path(), &json!([{"name": "data", "mountPath": path}])).is_err(),
                "{path}"
            );
        }
        assert!(ask(folder.path(), &json!([{"name": "none", "mountPath": "/a"}])).is_err());
    }
}
