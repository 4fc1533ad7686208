//! Volumes that are files made of objects: configMap, secret, downwardAPI, projected.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath, SecretProjection,
    ServiceAccountTokenProjection, Volume, VolumeProjection,
};

use super::atomic::{File, Files};
use super::owner::Owner;
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
        for source in &projection.sources {
            let Some((kind, name, items, optional)) = object_of(source) else {
                self.collect_own(&mut files, source, projection.mode).await?;
                continue;
            };
            match self.data(kind, name) {
                Some(data) => pick(&mut files, kind, &data, items, projection.mode, optional)?,
                None if optional => {}
                None => {
                    return Err(VolumeError::NoObject {
                        kind: kind.lower(),
                        name: name.to_owned(),
                    });
                }
            }
        }
        if self.owner().group.is_some() {
            // With fsGroup, the group reads them whatever their mode.
            for file in files.values_mut() {
                file.mode |= 0o440;
            }
        }
        Ok(files)
    }

    /// What an object of the pod's namespace holds.
    fn data(&self, kind: ObjectKind, name: &str) -> Option<Data> {
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or("default");
        match kind {
            ObjectKind::ConfigMap => {
                let map = self.shared.cluster.config_map(namespace, name)?;
                let text = map
                    .data
                    .iter()
                    .flatten()
                    .map(|(k, v)| (k.clone(), v.clone().into_bytes()));
                let binary = map.binary_data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone()));
                Some(text.chain(binary).collect())
            }
            ObjectKind::Secret => {
                let secret = self.shared.cluster.secret(namespace, name)?;
                let data = secret.data.iter().flatten();
                Some(data.map(|(k, v)| (k.clone(), v.0.clone())).collect())
            }
        }
    }

    /// What is made for this pod: facts about it, a token of its account.
    async fn collect_own(&self, files: &mut Files, source: &VolumeProjection, mode: u32) -> Result<(), VolumeError> {
        if let Some(from) = &source.downward_api {
            for item in from.items.iter().flatten() {
                self.add_downward(files, item, mode)?;
            }
            return Ok(());
        }
        match &source.service_account_token {
            Some(wanted) => self.add_token(files, wanted, mode).await,
            None => Err(VolumeError::Unsupported),
        }
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
        add(files, &item.path, text.into_bytes(), item.mode, mode)
    }

    /// Nobody but the pod's user reads its token, and its group, where there is one; where there are several users all do.
    async fn add_token(
        &self,
        files: &mut Files,
        wanted: &ServiceAccountTokenProjection,
        mode: u32,
    ) -> Result<(), VolumeError> {
        let content = self.shared.tokens.get(&self.shared.client, self.pod, wanted).await?;
        let Owner { user, group, .. } = self.owner();
        let file = File {
            content: content.into_bytes(),
            mode: if user.is_some() || group.is_some() { 0o600 } else { mode },
            user,
        };
        files.insert(safe(&wanted.path)?, file);
        Ok(())
    }
}

/// What objects hold, by key.
type Data = BTreeMap<String, Vec<u8>>;

/// Objects that become files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ObjectKind {
    ConfigMap,
    Secret,
}

impl ObjectKind {
    fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    fn lower(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
        }
    }
}

/// The object that a source names, the keys it wants of it, and whether it may be missing.
fn object_of(source: &VolumeProjection) -> Option<(ObjectKind, &str, Option<&[KeyToPath]>, bool)> {
    if let Some(from) = &source.config_map {
        let optional = from.optional == Some(true);
        return Some((ObjectKind::ConfigMap, &from.name, from.items.as_deref(), optional));
    }
    let from = source.secret.as_ref()?;
    Some((
        ObjectKind::Secret,
        &from.name,
        from.items.as_deref(),
        from.optional == Some(true),
    ))
}

/// Adds a file, with its own mode or that of the volume.
fn add(files: &mut Files, path: &str, content: Vec<u8>, own: Option<i32>, mode: u32) -> Result<(), VolumeError> {
    let file = File {
        content,
        mode: own.and_then(|m| u32::try_from(m).ok()).unwrap_or(mode),
        user: None,
    };
    files.insert(safe(path)?, file);
    Ok(())
}

/// Takes all keys, or those named by `items`, under the names they give.
fn pick(
    files: &mut Files,
    kind: ObjectKind,
    data: &Data,
    items: Option<&[KeyToPath]>,
    mode: u32,
    optional: bool,
) -> Result<(), VolumeError> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return data
            .iter()
            .try_for_each(|(key, value)| add(files, key, value.clone(), None, mode));
    };
    for item in items {
        match data.get(&item.key) {
            Some(value) => add(files, &item.path, value.clone(), item.mode, mode)?,
            None if optional => {}
            None => {
                return Err(VolumeError::NoKey {
                    kind: kind.name(),
                    key: item.key.clone(),
                });
            }
        }
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
    use super::{Data, ObjectKind, Projection, pick, safe};
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
        let data = Data::from([("a".to_owned(), b"1".to_vec()), ("b".to_owned(), b"2".to_vec())]);
        let kind = ObjectKind::Secret;
        let mut files = Files::new();
        let items = from_value::<Vec<_>>(json!([{"key": "b", "path": "sub/x", "mode": 256}])).unwrap();
        pick(&mut files, kind, &data, Some(&items), 0o440, false).unwrap();
        assert_eq!(files.len(), 1);
        let file = &files[Path::new("sub/x")];
        assert_eq!((&file.content[..], file.mode), (&b"2"[..], 0o400));
        let missing = from_value::<Vec<_>>(json!([{"key": "c", "path": "c"}])).unwrap();
        let error = pick(&mut files, kind, &data, Some(&missing), 0o440, false).unwrap_err();
        assert_eq!(error.to_string(), "references non-existent Secret key: c");
        assert!(pick(&mut files, kind, &data, Some(&missing), 0o440, true).is_ok());
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
