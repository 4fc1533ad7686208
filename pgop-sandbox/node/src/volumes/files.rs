//! Volumes that are files made of objects: configMap, secret, downwardAPI, projected.

use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath, SecretProjection,
    ServiceAccountTokenProjection, Volume, VolumeProjection,
};

use super::atomic::Files;
use super::{VolumeError, Volumes};
use crate::pod::downward::Downward;
use crate::pod::env::Objects;

const MODE: u32 = 0o644;

/// A volume of files: the four kinds are all written as the projected one.
pub(super) struct Projection {
    sources: Vec<VolumeProjection>,
    mode: u32,
}

impl Projection {
    /// The volume as one of files, if it is one.
    pub(super) fn of(volume: &Volume) -> Option<Self> {
        let mode = |mode: Option<i32>| mode.and_then(|m| u32::try_from(m).ok()).unwrap_or(MODE);
        if let Some(source) = &volume.projected {
            return Some(Self {
                sources: source.sources.clone().unwrap_or_default(),
                mode: mode(source.default_mode),
            });
        }
        let mut only = VolumeProjection::default();
        let default_mode = if let Some(source) = &volume.config_map {
            only.config_map = Some(ConfigMapProjection {
                name: source.name.clone(),
                items: source.items.clone(),
                optional: source.optional,
            });
            source.default_mode
        } else if let Some(source) = &volume.secret {
            only.secret = Some(SecretProjection {
                name: source.secret_name.clone().unwrap_or_default(),
                items: source.items.clone(),
                optional: source.optional,
            });
            source.default_mode
        } else if let Some(source) = &volume.downward_api {
            only.downward_api = Some(DownwardAPIProjection {
                items: source.items.clone(),
            });
            source.default_mode
        } else {
            return None;
        };
        Some(Self {
            sources: vec![only],
            mode: mode(default_mode),
        })
    }
}

impl Volumes<'_> {
    /// The files of a volume as they are to be now.
    pub(super) async fn collect(&self, projection: &Projection) -> Result<Files, VolumeError> {
        let mut files = Files::new();
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or("default");
        // With fsGroup, the group reads secrets whatever their mode.
        let group = if self.fs_group().is_some() { 0o440 } else { 0 };
        for source in &projection.sources {
            if let Some(from) = &source.config_map {
                match self.shared.cluster.config_map(namespace, &from.name) {
                    Some(map) => {
                        let text = map.data.iter().flatten().map(|(k, v)| (k.as_str(), v.as_bytes()));
                        let binary = map
                            .binary_data
                            .iter()
                            .flatten()
                            .map(|(k, v)| (k.as_str(), v.0.as_slice()));
                        let data: Vec<_> = text.chain(binary).collect();
                        pick(
                            &mut files,
                            "ConfigMap",
                            &data,
                            from.items.as_deref(),
                            projection.mode | group,
                            from.optional,
                        )?;
                    }
                    None if from.optional == Some(true) => {}
                    None => {
                        return Err(VolumeError::NoObject {
                            kind: "configmap",
                            name: from.name.clone(),
                        });
                    }
                }
            }
            if let Some(from) = &source.secret {
                match self.shared.cluster.secret(namespace, &from.name) {
                    Some(secret) => {
                        let data: Vec<_> = secret
                            .data
                            .iter()
                            .flatten()
                            .map(|(k, v)| (k.as_str(), v.0.as_slice()))
                            .collect();
                        pick(
                            &mut files,
                            "Secret",
                            &data,
                            from.items.as_deref(),
                            projection.mode | group,
                            from.optional,
                        )?;
                    }
                    None if from.optional == Some(true) => {}
                    None => {
                        return Err(VolumeError::NoObject {
                            kind: "secret",
                            name: from.name.clone(),
                        });
                    }
                }
            }
            if let Some(from) = &source.downward_api {
                for item in from.items.iter().flatten() {
                    self.add_downward(&mut files, item, projection.mode | group)?;
                }
            }
            if let Some(wanted) = &source.service_account_token {
                self.add_token(&mut files, wanted).await?;
            }
            let known = source.config_map.is_some()
                || source.secret.is_some()
                || source.downward_api.is_some()
                || source.service_account_token.is_some();
            if !known {
                return Err(VolumeError::Unsupported);
            }
        }
        Ok(files)
    }

    fn add_downward(&self, files: &mut Files, item: &DownwardAPIVolumeFile, mode: u32) -> Result<(), VolumeError> {
        let downward = Downward {
            pod: self.pod,
            address: self.address,
            host: crate::network::GATEWAY,
            allocatable: &self.shared.allocatable,
        };
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => downward.field(&field.field_path)?,
            (None, Some(resource)) => downward.resource(None, resource)?,
            (None, None) => String::new(),
        };
        let mode = item.mode.and_then(|m| u32::try_from(m).ok()).unwrap_or(mode);
        files.insert(safe(&item.path)?, (text.into_bytes(), mode));
        Ok(())
    }

    async fn add_token(&self, files: &mut Files, wanted: &ServiceAccountTokenProjection) -> Result<(), VolumeError> {
        let token = self.shared.tokens.get(&self.shared.client, self.pod, wanted).await?;
        // The container's user owns the file, so nobody else need read it; others only if there is no telling who runs.
        let named = self
            .pod
            .spec
            .as_ref()
            .and_then(|s| s.security_context.as_ref())
            .is_some_and(|c| c.run_as_user.is_some());
        files.insert(
            safe(&wanted.path)?,
            (token.into_bytes(), if named { 0o600 } else { 0o644 }),
        );
        Ok(())
    }
}

/// Takes all keys, or those named by `items`, under the names they give.
fn pick(
    files: &mut Files,
    kind: &'static str,
    data: &[(&str, &[u8])],
    items: Option<&[KeyToPath]>,
    mode: u32,
    optional: Option<bool>,
) -> Result<(), VolumeError> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        for (key, value) in data {
            files.insert(safe(key)?, (value.to_vec(), mode));
        }
        return Ok(());
    };
    for item in items {
        let Some((_, value)) = data.iter().find(|(key, _)| *key == item.key) else {
            if optional == Some(true) {
                continue;
            }
            return Err(VolumeError::NoKey {
                kind,
                key: item.key.clone(),
            });
        };
        let mode = item.mode.and_then(|m| u32::try_from(m).ok()).unwrap_or(mode);
        files.insert(safe(&item.path)?, (value.to_vec(), mode));
    }
    Ok(())
}

/// A path that stays below where it begins.
pub(super) fn safe(path: &str) -> Result<PathBuf, VolumeError> {
    let found = Path::new(path);
    let plain = found.components().all(|c| matches!(c, Component::Normal(_)));
    if plain && !path.is_empty() {
        Ok(found.to_owned())
    } else {
        Err(VolumeError::Path(path.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Projection, pick, safe};
    use crate::volumes::atomic::Files;
    use serde_json::{from_value, json};
    use std::path::Path;

    #[test]
    fn paths_stay_inside() {
        for good in ["a", "a/b.txt", "..a"] {
            assert!(safe(good).is_ok(), "{good}");
        }
        for bad in ["", "/etc/passwd", "../a", "a/../../b"] {
            assert!(safe(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn items_choose_names_and_modes() {
        let data: Vec<(&str, &[u8])> = vec![("a", b"1"), ("b", b"2")];
        let mut files = Files::new();
        let items = from_value::<Vec<_>>(json!([{"key": "b", "path": "sub/x", "mode": 256}])).unwrap();
        pick(&mut files, "Secret", &data, Some(&items), 0o440, None).unwrap();
        assert_eq!(files.len(), 1);
        assert_eq!(files[Path::new("sub/x")], (b"2".to_vec(), 0o400));
        let missing = from_value::<Vec<_>>(json!([{"key": "c", "path": "c"}])).unwrap();
        let error = pick(&mut files, "Secret", &data, Some(&missing), 0o440, None).unwrap_err();
        assert_eq!(error.to_string(), "references non-existent Secret key: c");
        assert!(pick(&mut files, "Secret", &data, Some(&missing), 0o440, Some(true)).is_ok());
    }

    #[test]
    fn the_four_kinds_are_known_and_others_are_not() {
        let volume = |source: serde_json::Value| {
            let mut volume = source;
            volume["name"] = json!("v");
            Projection::of(&from_value(volume).unwrap())
        };
        assert_eq!(
            volume(json!({"configMap": {"name": "a", "defaultMode": 292}}))
                .unwrap()
                .mode,
            0o444
        );
        assert_eq!(volume(json!({"secret": {"secretName": "a"}})).unwrap().mode, 0o644);
        assert!(volume(json!({"projected": {"sources": []}})).is_some());
        assert!(volume(json!({"downwardAPI": {"items": []}})).is_some());
        assert!(volume(json!({"emptyDir": {}})).is_none());
    }
}
