//! `persistentVolumeClaim`: the folder of the volume that the claim is bound to.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimVolumeSource};
use kube::Api;

use super::{Ready, VolumeError, Volumes, make};

fn api(error: kube::Error) -> VolumeError {
    VolumeError::Api(Box::new(error))
}

impl Volumes<'_> {
    pub(super) async fn claim(&self, source: &PersistentVolumeClaimVolumeSource) -> Result<Ready, VolumeError> {
        let name = &source.claim_name;
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or("default");
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.shared.client.clone(), namespace);
        let missing = |kind, name: &String| VolumeError::NoObject {
            kind,
            name: name.clone(),
        };
        let claim = claims
            .get_opt(name)
            .await
            .map_err(api)?
            .ok_or_else(|| missing("persistentvolumeclaim", name))?;
        let bound = claim.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
        let Some(volume) = claim.spec.and_then(|s| s.volume_name).filter(|_| bound) else {
            return Err(VolumeError::Unbound(name.clone()));
        };
        let volumes: Api<PersistentVolume> = Api::all(self.shared.client.clone());
        let found = volumes
            .get_opt(&volume)
            .await
            .map_err(api)?
            .ok_or_else(|| missing("persistentvolume", &volume))?;
        let path = path_of(&found).ok_or(VolumeError::Elsewhere(volume))?;
        if !path.exists() {
            fs::create_dir_all(&path).map_err(make(&path))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).map_err(make(&path))?;
        }
        Ok(Ready {
            path,
            read_only: source.read_only == Some(true),
        })
    }
}

fn path_of(volume: &PersistentVolume) -> Option<PathBuf> {
    let spec = volume.spec.as_ref()?;
    let host = spec.host_path.as_ref().map(|h| &h.path);
    host.or(spec.local.as_ref().map(|l| &l.path)).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::path_of;
    use serde_json::{from_value, json};

    #[test]
    fn only_volumes_of_this_machine_have_a_path() {
        for (spec, want) in [
            (json!({"hostPath": {"path": "/a"}}), Some("/a")),
            (json!({"local": {"path": "/b"}}), Some("/b")),
            (json!({"nfs": {"path": "/c", "server": "x"}}), None),
        ] {
            let volume = from_value(json!({"spec": spec})).unwrap();
            assert_eq!(path_of(&volume).as_deref().and_then(|p| p.to_str()), want);
        }
    }
}
