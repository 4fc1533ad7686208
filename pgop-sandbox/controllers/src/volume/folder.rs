//! The folders behind volumes: one for each, open to every user as containers run as any.

use std::{
    collections::BTreeMap,
    fs::Permissions,
    io::ErrorKind,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use k8s_openapi::{
    api::{
        core::v1::{
            HostPathVolumeSource, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, ObjectReference,
            PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, VolumeNodeAffinity,
        },
        storage::v1::StorageClass,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;

use super::{PROVISIONER, release};
use crate::verbs::VerbError;

/// Where volumes are: the folder that holds theirs, and the node it is on.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) node: String,
}

impl Place {
    /// Only pods on this node reach the volumes.
    fn affinity(&self) -> VolumeNodeAffinity {
        let here = NodeSelectorRequirement {
            key: "kubernetes.io/hostname".into(),
            operator: "In".into(),
            values: Some(vec![self.node.clone()]),
        };
        let term = NodeSelectorTerm {
            match_expressions: Some(vec![here]),
            match_fields: None,
        };
        VolumeNodeAffinity {
            required: Some(NodeSelector {
                node_selector_terms: vec![term],
            }),
        }
    }
}

/// The volume for a claim, with the folder it is to have.
pub(crate) fn volume(claim: &PersistentVolumeClaim, class: &StorageClass, place: &Place) -> PersistentVolume {
    let uid = claim.uid().unwrap_or_default();
    let name = format!("pvc-{uid}");
    let namespace = claim.namespace().unwrap_or_default();
    let folder = place.folder.join(format!("{name}_{namespace}_{}", claim.name_any()));
    let wanted = claim.spec.clone().unwrap_or_default();
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(name),
            annotations: Some(BTreeMap::from([(release::PROVISIONED_BY.into(), PROVISIONER.into())])),
            finalizers: Some(vec![release::PROTECTION.into()]),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: wanted.access_modes,
            capacity: wanted.resources.and_then(|resources| resources.requests),
            claim_ref: Some(ObjectReference {
                api_version: Some("v1".into()),
                kind: Some("PersistentVolumeClaim".into()),
                name: Some(claim.name_any()),
                namespace: Some(namespace),
                uid: Some(uid),
                resource_version: claim.resource_version(),
                ..ObjectReference::default()
            }),
            host_path: Some(HostPathVolumeSource {
                path: folder.to_string_lossy().into_owned(),
                type_: Some("DirectoryOrCreate".into()),
            }),
            mount_options: class.mount_options.clone(),
            node_affinity: Some(place.affinity()),
            persistent_volume_reclaim_policy: Some(class.reclaim_policy.clone().unwrap_or_else(|| "Delete".into())),
            storage_class_name: Some(class.name_any()),
            volume_mode: Some(wanted.volume_mode.unwrap_or_else(|| "Filesystem".into())),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    }
}

/// The folder of a volume that was made here. `None` for a path outside of `volumes`: it is not ours to remove, whatever the object says.
pub(crate) fn of_volume(volume: &PersistentVolume, volumes: &Path) -> Option<PathBuf> {
    let path = PathBuf::from(&volume.spec.as_ref()?.host_path.as_ref()?.path);
    let name = path.file_name()?.to_str()?;
    (path.parent() == Some(volumes) && name.starts_with(&format!("{}_", volume.name_any()))).then_some(path)
}

pub(crate) async fn make(folder: &Path) -> Result<(), VerbError> {
    let failed = |source| VerbError::Local {
        action: format!("make the folder {}", folder.display()),
        source,
    };
    tokio::fs::create_dir_all(folder).await.map_err(failed)?;
    // The mode given to mkdir would be cut by the umask.
    tokio::fs::set_permissions(folder, Permissions::from_mode(0o777))
        .await
        .map_err(failed)
}

pub(crate) async fn remove(folder: &Path) -> Result<(), VerbError> {
    match tokio::fs::remove_dir_all(folder).await {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(VerbError::Local {
            action: format!("remove the folder {}", folder.display()),
            source,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn made(volumes: &Path) -> PersistentVolume {
        let claim = serde_json::from_value(json!({
            "metadata": { "name": "data-db-0", "namespace": "shop", "uid": "c-1", "resourceVersion": "7" },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
        }))
        .unwrap();
        let class =
            serde_json::from_value(json!({ "metadata": { "name": "standard" }, "provisioner": PROVISIONER })).unwrap();
        volume(
            &claim,
            &class,
            &Place {
                folder: volumes.to_owned(),
                node: "sandbox".into(),
            },
        )
    }

    #[test]
    fn a_volume_is_made_for_its_claim() {
        let volume = made(Path::new("/state/volumes"));
        let spec = volume.spec.unwrap();
        assert_eq!(volume.metadata.name.as_deref(), Some("pvc-c-1"));
        assert_eq!(spec.host_path.unwrap().path, "/state/volumes/pvc-c-1_shop_data-db-0");
        assert_eq!(spec.claim_ref.unwrap().uid.as_deref(), Some("c-1"));
        assert_eq!(spec.capacity.unwrap()["storage"].0, "1Gi");
        assert_eq!(spec.persistent_volume_reclaim_policy.as_deref(), Some("Delete"));
    }

    #[test]
    fn only_folders_made_here_are_removed() {
        let volumes = Path::new("/state/volumes");
        let mut volume = made(volumes);
        assert!(of_volume(&volume, volumes).is_some());
        for path in [
            "/etc",
            "/state/volumes",
            "/state/volumes/../pvc-c-1_x",
            "/state/volumes/pvc-other_shop_data",
            "/",
        ] {
            volume.spec.as_mut().unwrap().host_path.as_mut().unwrap().path = path.into();
            assert_eq!(of_volume(&volume, volumes), None, "{path}");
        }
    }

    #[tokio::test]
    async fn a_folder_is_open_to_all_and_removed_with_its_content() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("volumes/pvc-c-1_shop_data");
        make(&folder).await.unwrap();
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o777);
        std::fs::write(folder.join("PG_VERSION"), "17").unwrap();
        make(&folder).await.unwrap();
        assert!(
            folder.join("PG_VERSION").exists(),
            "making it again keeps what is in it"
        );
        remove(&folder).await.unwrap();
        assert!(!folder.exists());
        remove(&folder).await.unwrap();
    }
}
